/*
 * Tokenizers: text to ids and back, exactly as the reference implementations (Hugging Face tokenizers; llama.cpp agrees
 * where it can). Immutable once opened, shared by threads; encoding keeps its scratch in a struct tokenizer_scratch.
 */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H
#include "base/buf.h"
#include <stdbool.h>

struct tokenizer;

/* From a tokenizer.json (path of the file, or of a folder that holds it). */
MUST_USE enum trawl_status tokenizer_open(struct tokenizer **t, const char *path);

/* What a GGUF file says of its tokenizer; arrays are borrowed during the call only. */
struct tokenizer_gguf {
    const char *where; /* file name for messages */
    const char *model; /* tokenizer.ggml.model: "gpt2", "llama", "bert", "t5" */
    const char *pre;   /* tokenizer.ggml.pre, NULL when absent: "smollm", "qwen2", "llama-bpe", "gpt-2", ... */
    size_t n_tokens;
    const char *const *tokens; /* NUL-terminated copies are not guaranteed: token_bytes counts */
    const size_t *token_bytes;
    const float *scores;  /* NULL when absent */
    const int32_t *types; /* llama.cpp token types, NULL when absent */
    size_t n_merges;
    const char *const *merges;
    const size_t *merge_bytes;
    int64_t bos, eos, unk, sep, pad, cls, mask; /* -1: absent */
    int add_bos, add_eos, add_space_prefix;     /* -1: not said */
    const void *charsmap;                       /* tokenizer.ggml.precompiled_charsmap, NULL when absent */
    size_t charsmap_bytes;
    int remove_extra_spaces; /* tokenizer.ggml.remove_extra_whitespaces; -1 or 0: no */
};
MUST_USE enum trawl_status tokenizer_from_gguf(struct tokenizer **t, const struct tokenizer_gguf *spec);
/* The same from memory; `where` for messages; config_path of its tokenizer_config.json, NULL: none. */
MUST_USE enum trawl_status tokenizer_from_json(struct tokenizer **t, const char *text, size_t n, const char *where,
                                               const char *config_path);
void tokenizer_free(struct tokenizer *t);

enum tokenizer_flags {
    TOKENIZER_PARSE_SPECIAL = 1, /* strings of special tokens in the text become their ids; else they are text */
    TOKENIZER_ADD_SPECIAL = 2,   /* what the post-processor asks: [CLS] .. [SEP], BOS */
};
struct ids {
    uint32_t *ids;
    size_t n, cap;
};
void ids_release(struct ids *ids);
MUST_USE enum trawl_status ids_append(struct ids *ids, uint32_t id);

/* Appends the ids of `text` (n bytes, made valid UTF-8 by replacement) to *out. Scratch may be NULL (then it
 * allocates). */
struct tokenizer_scratch;
MUST_USE enum trawl_status tokenizer_scratch_new(struct tokenizer_scratch **scratch);
void tokenizer_scratch_free(struct tokenizer_scratch *scratch);
MUST_USE enum trawl_status tokenizer_encode(const struct tokenizer *t, struct tokenizer_scratch *scratch,
                                            struct ids *out, const char *text, size_t n, unsigned flags);
/* Appends the text of the ids; ids outside the vocabulary are FORMAT. skip_special leaves special tokens out. */
MUST_USE enum trawl_status tokenizer_decode(const struct tokenizer *t, struct buf *out, const uint32_t *ids, size_t n,
                                            bool skip_special);

/* Ids that the model's conventions name; TOKENIZER_NONE: there is none. */
#define TOKENIZER_NONE UINT32_MAX
enum tokenizer_special {
    TOKENIZER_BOS,
    TOKENIZER_EOS,
    TOKENIZER_UNK,
    TOKENIZER_SEP,
    TOKENIZER_CLS,
    TOKENIZER_PAD,
    TOKENIZER_MASK
};
uint32_t tokenizer_special_id(const struct tokenizer *t, enum tokenizer_special which);
/* Whether the model wants BOS in front (Gemma, Llama: yes; SmolLM2, Qwen: no). */
bool tokenizer_wants_bos(const struct tokenizer *t);
size_t tokenizer_vocab(const struct tokenizer *t);
/* Readable form of one token (decoded bytes, or its literal for specials); for explanations. */
MUST_USE enum trawl_status tokenizer_piece(const struct tokenizer *t, struct buf *out, uint32_t id);
/* Id of a token by its literal vocabulary string, TOKENIZER_NONE when unknown. */
uint32_t tokenizer_id(const struct tokenizer *t, const char *literal, size_t n);
/* Number of special tokens that TOKENIZER_ADD_SPECIAL adds to any text. */
size_t tokenizer_n_added(const struct tokenizer *t);
/* 64-bit fingerprint of everything that decides ids (vocabulary, merges, normaliser, ...). */
uint64_t tokenizer_fingerprint(const struct tokenizer *t);

#endif
