/*
 * Using a language model: a session of model files, packed weights, tokenizer and scratch, with the log-likelihood of
 * token sequences and greedy generation over K/V. A session belongs to one thread at a time; what it computes for a
 * sequence does not depend on the other sequences of the call or on the number of threads.
 */
#ifndef LM_H
#define LM_H
#include "model/model.h"

struct lm_options {
    const char *precision; /* "auto", "f32", "bf16", "int8"; NULL: "auto" */
    size_t batch_tokens;   /* tokens of one packed forward pass; 0: default */
};
struct lm;
/* UNSUPPORTED for a model without an LM head; MISMATCH when the files hold no tokenizer is left to lm_text. */
MUST_USE enum trawl_status lm_open(struct lm **lm, const char *path_or_name, const struct lm_options *options);
void lm_close(struct lm *lm);

struct model_files *lm_files(const struct lm *lm);
const struct nn_model *lm_model(const struct lm *lm);

/* "auto", "f32", "bf16" or "int8" (NULL: auto) as a precision of this processor. */
MUST_USE enum trawl_status lm_precision(enum nn_precision *precision, const char *name);
const char *lm_precision_name(enum nn_precision precision);

/* Appends the ids of a text, BOS in front where the model wants one. Special-looking strings are text unless
 * parse_special; then a BOS that the text begins with is not put a second time. */
MUST_USE enum trawl_status lm_text(struct lm *lm, struct ids *out, const char *text, size_t n, bool parse_special);

struct lm_tokens {
    const uint32_t *ids;
    size_t n;
};
/* LIMIT when a sequence is longer than the model's positions, FORMAT for an id outside the vocabulary. */
MUST_USE enum trawl_status lm_check(const struct lm *lm, const struct lm_tokens *seq);

/*
 * Log-probabilities of token sequences, each after the same prefix (n 0: none), which is computed once.
 *   out[s] (seqs[s].n, one less without a prefix, none for an empty sequence): log p(token | all before it),
 * log-softmax in double of the f32 logits LIMIT when prefix and sequence are longer than the model's positions, FORMAT
 * for an id outside the vocabulary. Logits exist for a tile of rows at a time only.
 */
MUST_USE enum trawl_status lm_score(struct lm *lm, double *const *out, const struct lm_tokens *prefix,
                                    const struct lm_tokens *seqs, size_t n);

struct lm_generate_options {
    size_t max_tokens;
    const uint32_t *stop; /* (n_stop) ids that end a continuation; they are not part of it */
    size_t n_stop;
};
struct lm_continuation {
    struct ids ids;
    bool stopped; /* by a stop id; else by max_tokens or the model's positions */
};
/*
 * Greedy continuations of many prompts, decoded together; among equal logits the lowest id wins. What all prompts of
 * the call begin with is computed once. out (n): zeroed by the caller, released with ids_release. FORMAT for a prompt
 * without tokens, LIMIT for one that fills the model's positions.
 */
MUST_USE enum trawl_status lm_generate(struct lm *lm, struct lm_continuation *out, const struct lm_tokens *prompts,
                                       size_t n, const struct lm_generate_options *options);

/* Ids that end a text: the tokenizer's EOS, with `chat` the ends of a turn too. Returns how many (at most LM_STOP_MAX).
 */
enum { LM_STOP_MAX = 8 };
size_t lm_stop_ids(const struct lm *lm, uint32_t out[LM_STOP_MAX], bool chat);

#endif
