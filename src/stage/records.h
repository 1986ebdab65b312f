/*
 * Lines of JSON that hold a text or token ids, as `tokenize`, `score`, `generate` and `encode` take them from a file or
 * from standard input: {"text": "..."} or {"ids": [...]}, with "id" and "title" where there are any. Blank lines are
 * passed over.
 */
#ifndef STAGE_RECORDS_H
#define STAGE_RECORDS_H
#include "data/data.h"
#include "text/tokenizer.h"

struct record {
    bool has_id, has_text, has_ids;
    struct buf id, title, text; /* valid UTF-8 */
    struct ids ids;
};
struct records;
/* strict: invalid UTF-8 is refused instead of replaced. */
MUST_USE enum trawl_status records_open(struct records **r, const char *path, bool strict);
/* *rec is NULL at the end; valid until the next call. FORMAT when a line has neither text nor ids. */
MUST_USE enum trawl_status records_next(struct records *r, const struct record **rec);
uint64_t records_line(const struct records *r);
const char *records_path(const struct records *r);
const struct corpus_counts *records_counts(const struct records *r);
void records_position(const struct records *r, uint64_t *done, uint64_t *total);
void records_close(struct records *r);

/* Whether the first line of a file is JSON with a text but no id, which the readers of corpora refuse. */
MUST_USE enum trawl_status records_are_bare(bool *bare, const char *path);

#endif
