/*
 * Text to vector under a contract: tokenise, cut, pack without padding, forward, pool, Dense modules, truncate
 * dimensions, normalise. An encoder belongs to one thread at a time; its memory is fixed at creation and does not grow
 * with the corpus.
 */
#ifndef ENCODE_H
#define ENCODE_H
#include "model/model.h"

struct encoder_options {
    const char *precision; /* "auto", "f32", "bf16", "int8" */
    size_t batch_tokens;   /* tokens of one packed batch; 0: default */
    bool refuse_long;      /* a text beyond the contract's maximum is LIMIT instead of cut */
};
struct encoder;
/* Opens model `path_or_name`; the contract for documents or queries starts as the model's default (encoder_contract)
 * and may be changed with encoder_set_contract before the first text. */
MUST_USE enum trawl_status encoder_open(struct encoder **e, const char *path_or_name,
                                        const struct encoder_options *options);
void encoder_close(struct encoder *e);
enum encoder_side { ENCODER_DOCUMENT, ENCODER_QUERY };
const struct contract *encoder_contract(const struct encoder *e, enum encoder_side side);
/* UNSUPPORTED or LIMIT when the model cannot do what the contract says (dims, max_length, attention). */
MUST_USE enum trawl_status encoder_set_contract(struct encoder *e, enum encoder_side side, const struct contract *c);

struct encoder_counts {
    uint64_t texts, tokens, cut, empty;
};
struct text_view {
    const char *text;
    size_t n;
};
/* out (n, dims): vectors in the order of the texts, whatever the batching. A text without tokens gives a zero vector.
 */
MUST_USE enum trawl_status encoder_encode(struct encoder *e, float *out, const struct text_view *texts, size_t n,
                                          enum encoder_side side);
const struct encoder_counts *encoder_counts(const struct encoder *e);
size_t encoder_workspace_bytes(const struct encoder *e);

#endif
