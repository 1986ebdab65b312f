/* The kinds of things that inspect explains; each gives an ordered JSON object whose first member is "kind". */
#ifndef STAGE_INSPECT_INT_H
#define STAGE_INSPECT_INT_H
#include "base/json.h"
#include <stdarg.h>

/* Files of texts and judgements (inspect_data.c). `verify` is implied: they are read to the end to be counted. */
MUST_USE enum trawl_status inspect_lines(json_t **out, const char *path);
MUST_USE enum trawl_status inspect_dataset(json_t **out, const char *folder);
MUST_USE enum trawl_status inspect_texts(json_t **out, const char *folder);
MUST_USE enum trawl_status inspect_npy(json_t **out, const char *path, bool verify);
MUST_USE enum trawl_status inspect_vectors(json_t **out, const char *path, bool verify);
/* Trawl's own container (inspect_pack.c): vectors files by their kind, others by their table of contents. */
MUST_USE enum trawl_status inspect_pack(json_t **out, const char *path, const char *kind, bool verify);
MUST_USE enum trawl_status inspect_index(json_t **out, const char *folder, bool verify);

void inspect_put(json_t *o, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
void inspect_count(json_t *o, const char *key, uint64_t n);

#endif
