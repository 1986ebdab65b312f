/*
 * Text to vector under a contract: tokenise, cut, pack without padding, forward, pool, Dense modules, truncate
 * dimensions, normalise. An encoder belongs to one thread at a time; its memory is fixed by the model, the contract and
 * batch_tokens, and does not grow with the number of texts: no heap calls per batch once the first was encoded.
 *
 * A text's tokens are: special tokens in front (BOS, [CLS]), the prompt and the text tokenised as one string, special
 * tokens behind ([SEP]), EOS where the contract appends it. What is beyond max_length is cut from prompt and text; the
 * others stay. Special-looking strings are text.
 */
#ifndef ENCODE_H
#define ENCODE_H
#include "model/model.h"
#include "pooling.h"

struct encoder_options {
    const char *precision; /* "auto", "f32", "bf16", "int8" */
    size_t batch_tokens;   /* tokens of one packed batch; 0: default */
    bool refuse_long;      /* a text beyond the contract's maximum is LIMIT instead of cut */
    bool tokens_only;      /* weights are not read: for encoder_tokenize, encoder_encode is refused */
};
struct encoder;
/* Opens model `path_or_name`; the contract for documents or queries starts as the model's default (encoder_contract)
 * and may be changed with encoder_set_contract before the first text. */
MUST_USE enum trawl_status encoder_open(struct encoder **e, const char *path_or_name,
                                        const struct encoder_options *options);
void encoder_close(struct encoder *e);
enum encoder_side { ENCODER_DOCUMENT, ENCODER_QUERY };
const struct contract *encoder_contract(const struct encoder *e, enum encoder_side side);
/* UNSUPPORTED or LIMIT when the model cannot do what the contract says (dims, max_length, attention). Fingerprints,
 * precision and instruction set are the encoder's own, whatever the given record says. */
MUST_USE enum trawl_status encoder_set_contract(struct encoder *e, enum encoder_side side, const struct contract *c);

/* What a caller asks of a contract, over the model's default; NULL, 0 and -1: as the default. */
struct encoder_choices {
    const char *pooling, *attention, *normalize, *join, *prompt;
    int prompt_pooled, special_pooled, append_eos;
    size_t max_length, dims;
};
/* The default of a side with the choices put in; USAGE for unknown names or a prompt that the record cannot hold. */
MUST_USE enum trawl_status encoder_choose(struct contract *out, const struct encoder *e, enum encoder_side side,
                                          const struct encoder_choices *choices);

struct encoder_counts {
    uint64_t texts, tokens, cut, empty;
};
struct text_view {
    const char *text;
    size_t n;
};
/* out (n, dims): vectors in the order of the texts, whatever the batching. A text without tokens of its own gives a
 * zero vector. */
MUST_USE enum trawl_status encoder_encode(struct encoder *e, float *out, const struct text_view *texts, size_t n,
                                          enum encoder_side side);
/*
 * The row that a text becomes under a side's contract, for those who run the model themselves: ids (max_length of the
 * contract) out, and what is pooled of its states. n 0: the text has no tokens of its own.
 */
struct encoder_row {
    size_t n;
    struct pool_shape shape;
    bool cut;
};
MUST_USE enum trawl_status encoder_tokenize(struct encoder *e, struct encoder_row *row, uint32_t *ids,
                                            const struct text_view *text, enum encoder_side side);
/* The text (its place in the call) that the last failing call to encoder_encode failed on, SIZE_MAX: none of them. */
size_t encoder_failed_text(const struct encoder *e);
const struct encoder_counts *encoder_counts(const struct encoder *e);
/* Bytes beside the weights, all that encoding will take; 0 before the first text. */
size_t encoder_workspace_bytes(const struct encoder *e);
const struct nn_model *encoder_model(const struct encoder *e);
struct model_files *encoder_files(const struct encoder *e);

#endif
