/* JSON through jansson, with messages that name file and line. Duplicate keys are refused, nesting is limited. */
#ifndef BASE_JSON_H
#define BASE_JSON_H
#include "buf.h"
#include <jansson.h>
#include <stdbool.h>

/* `where` names the source in messages, e.g. "'corpus.jsonl' line 12". The result is json_decref()ed by the caller. */
MUST_USE enum trawl_status json_parse(json_t **out, const char *text, size_t n, const char *where);
MUST_USE enum trawl_status json_read(json_t **out, const char *path, size_t max_bytes);
/* Members with type checks; absent is NULL / the given default, another type is FORMAT naming `where` and the key. */
MUST_USE enum trawl_status json_get_text(const char **out, size_t *n, const json_t *object, const char *key,
                                         const char *where);
MUST_USE enum trawl_status json_get_number(double *out, const json_t *object, const char *key, double preset,
                                           const char *where);
MUST_USE enum trawl_status json_get_count(size_t *out, const json_t *object, const char *key, size_t preset,
                                          const char *where);
MUST_USE enum trawl_status json_get_bool(bool *out, const json_t *object, const char *key, bool preset,
                                         const char *where);
/* Appends text as a JSON string with quotes (input is UTF-8; invalid bytes become U+FFFD). */
MUST_USE enum trawl_status json_quote(struct buf *out, const char *text, size_t n);

#endif
