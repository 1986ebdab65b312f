/*
 * Dense fields of an index that are made by models: rows of texts to vectors, with a checkpoint beside the index
 * ("resume.<field>", docs/formats/part.md), so that an interrupted indexing goes on where it was.
 */
#ifndef STAGE_EMBED_H
#define STAGE_EMBED_H
#include "encode/encode.h"
#include "index/index.h"
#include "part.h"

struct embed {
    struct encoder *encoder;
    struct part *part;
    struct part_block block;
    bool resuming;
    uint64_t resumed; /* texts whose vectors were there */
    uint64_t cut, empty;
};
struct embed_options {
    struct encoder_options encoder;
    struct encoder_choices choices; /* of both sides, but for the prompt: documents */
    const char *query_prompt;
};
/* A new field: sets the dense members of *field but its name and format. */
MUST_USE enum trawl_status embed_open(struct embed *e, const char *model, const struct embed_options *options,
                                      struct index_field *field);
/* More documents for a field that is there. model NULL: the one that the field names; another one is MISMATCH. */
MUST_USE enum trawl_status embed_open_append(struct embed *e, const char *model, const struct encoder_options *options,
                                             const struct index_field *field, const char *where);
/* Opens or makes the checkpoint in the index folder. */
MUST_USE enum trawl_status embed_start(struct embed *e, const char *folder, const char *field);
/* rows (n,D) of the texts, valid until the next call; from the checkpoint where the same texts stand in it. */
MUST_USE enum trawl_status embed_rows(struct embed *e, const float **rows, const struct text_view *texts, size_t n);
/* done: the index holds the vectors and the checkpoint goes; else it stays for the next try. */
void embed_close(struct embed *e, bool done);

#endif
