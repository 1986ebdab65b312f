/*
 * A few members out of one line of JSON, without a tree: the line must be one object and is validated as a whole (RFC
 * 8259), but only the wanted members are kept, as spans of the line. About memory speed on long strings; the readers of
 * corpora, queries and vectors stand on it. Bytes inside strings are not checked to be UTF-8: that is the caller's.
 */
#ifndef DATA_JSONL_H
#define DATA_JSONL_H
#include "base/buf.h"
#include <stdbool.h>

enum jsonl_kind { JSONL_ABSENT, JSONL_STRING, JSONL_NUMBER, JSONL_BOOL, JSONL_NULL, JSONL_OBJECT, JSONL_ARRAY };

struct jsonl_member {
    const char *name; /* in: the key, plain ASCII of at most 32 bytes */
    enum jsonl_kind kind;
    const char *raw; /* the value as written; strings without their quotes */
    size_t n;
    bool escaped; /* a string with backslashes: jsonl_text decodes it */
};

/* Fills kind, raw, n and escaped of every member. FORMAT names path, line number, column and what was wrong; a wanted
 * member that comes twice is refused. */
MUST_USE enum trawl_status jsonl_scan(struct jsonl_member *members, size_t n_members, const char *line, size_t n,
                                      const char *path, uint64_t line_number);
/* Appends the string's text. A lone surrogate becomes the (invalid) bytes ED xx xx that it stands for, so that the
 * caller's check of UTF-8 meets it like any other malformed byte. */
MUST_USE enum trawl_status jsonl_text(struct buf *out, const struct jsonl_member *member);
const char *jsonl_kind_name(enum jsonl_kind kind);

#endif
