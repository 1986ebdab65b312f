/*
 * The texts of a stage, whatever they come from: a corpus or queries in any format of `data`, JSON lines without ids,
 * plain lines, standard input. Streamed in order; title and text already joined.
 */
#ifndef STAGE_TEXTS_H
#define STAGE_TEXTS_H
#include "data/data.h"

struct texts_options {
    const char *format; /* of the corpus readers, or "lines": one text a line; NULL, "auto": by content */
    const char *join;   /* as in struct corpus_options */
    bool strict;        /* invalid UTF-8 is refused */
    bool queries;       /* a folder's queries, not its corpus */
};
struct text_item {
    const char *id, *text; /* id is NULL at the end; valid until the next call */
    size_t id_bytes, text_bytes;
};
struct texts;
MUST_USE enum trawl_status texts_open(struct texts **t, const char *path, const struct texts_options *options);
MUST_USE enum trawl_status texts_next(struct texts *t, struct text_item *item);
const struct corpus_counts *texts_counts(const struct texts *t);
/* How far the input is read, in any unit; total 0: unknown. */
void texts_position(const struct texts *t, uint64_t *done, uint64_t *total);
void texts_close(struct texts *t);

#endif
