/*
 * The encoding contract: one record of everything that decides what vector a text gets. An index stores the record of
 * its documents and the record that its queries must have; another query encoder is refused, naming the field that
 * differs.
 */
#ifndef DATA_CONTRACT_H
#define DATA_CONTRACT_H
#include "base/json.h"

struct contract {
    char model[17];      /* fingerprint of weights and adapter, 16 hex digits */
    char tokenizer[17];  /* fingerprint of the tokenizer */
    char pooling[16];    /* mean, last, first, weighted-mean */
    char attention[16];  /* causal, bidirectional */
    char normalize[8];   /* l2, none */
    char join[16];       /* documents: how title and text are joined; queries: "" */
    char prompt[1024];   /* text put in front, "" for none */
    bool prompt_pooled;  /* its tokens are pooled too */
    bool special_pooled; /* BOS and other added special tokens are pooled */
    bool add_special;    /* what the tokenizer file asks is added (BOS, [CLS] .. [SEP]) */
    bool append_eos;
    size_t max_length; /* tokens, special ones included */
    size_t dims;       /* dimensions of the vector (after Matryoshka truncation) */
    /* shown, never a reason to refuse */
    char model_name[256]; /* what --model was: search and eval find the model by it */
    char precision[8];    /* f32, bf16, int8 */
    char isa[16];
};
MUST_USE enum trawl_status contract_to_json(json_t **out, const struct contract *c);
MUST_USE enum trawl_status contract_from_json(struct contract *c, const json_t *json, const char *where);
/* MISMATCH names the first deciding field that differs, with both values. */
MUST_USE enum trawl_status contract_check(const struct contract *wanted, const struct contract *given,
                                          const char *where);

#endif
