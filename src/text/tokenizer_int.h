/*
 * Inside of a tokenizer. Encoding is a pipeline, the same as the reference's:
 *
 *   text -> segments between added tokens -> normaliser steps -> segments between "normalized" added tokens
 *        -> pre-tokenizer steps: pieces -> model: ids per piece (BPE, Unigram or WordPiece) -> ids around them
 *
 * Everything in struct tokenizer is fixed once it is open; what changes while encoding is in struct tokenizer_scratch.
 * Byte-level BPE works on the raw bytes of a piece: the printable letters that stand for bytes in vocabularies are
 * undone once, in the table of single bytes, instead of being written out for every text.
 */
#ifndef TEXT_TOKENIZER_INT_H
#define TEXT_TOKENIZER_INT_H
#include "base/buf.h"
#include "tokenizer.h"
#include "trie.h"
#include <jansson.h>
#include <stdbool.h>

#define ID_NONE TOKENIZER_NONE
enum {
    MAX_STEPS = 64,
    MAX_TOKENS = 1 << 24,
    MAX_TOKEN_BYTES = 1 << 20,
    TEXT_PAD = 32, /* readable bytes behind every text that pieces point into */
};

/* ---- vocabulary ---- */
enum token_kind {
    TOKEN_HOLE,
    TOKEN_NORMAL,
    TOKEN_ADDED,
    TOKEN_SPECIAL,
    TOKEN_KIND = 7,
    TOKEN_IN_MODEL = 8, /* or'ed: the model itself may produce it */
};
struct slice {
    uint32_t at, n;
};
struct vocab {
    char *bytes; /* literals one after the other */
    size_t used, cap;
    struct slice *tokens; /* (n) by id */
    uint8_t *kinds;       /* (n) one of enum token_kind, with or without TOKEN_IN_MODEL */
    size_t n, tokens_cap, kinds_cap;
    uint32_t *slots; /* id + 1 by hash of the literal, 0: free; built by vocab_index */
    size_t slot_mask;
    size_t n_used;
};
MUST_USE enum trawl_status vocab_set(struct vocab *v, uint32_t id, const char *literal, size_t n, unsigned kind,
                                     const char *where);
/* Builds the hash over all tokens but holes. Of equal literals the later id is found, or it is FORMAT when `unique`. */
MUST_USE enum trawl_status vocab_index(struct vocab *v, bool unique, const char *where);
MUST_USE enum trawl_status vocab_insert(struct vocab *v, uint32_t id, const char *where); /* after vocab_index */
uint32_t vocab_find(const struct vocab *v, const char *literal, size_t n);
/* The same for what the model may produce. */
static inline uint32_t model_find(const struct vocab *v, const char *literal, size_t n)
{
    uint32_t id = vocab_find(v, literal, n);
    return id != ID_NONE && (v->kinds[id] & TOKEN_IN_MODEL) ? id : ID_NONE;
}
static inline const char *vocab_text(const struct vocab *v, uint32_t id, size_t *n)
{
    *n = v->tokens[id].n;
    return v->bytes + v->tokens[id].at;
}
void vocab_release(struct vocab *v);

/* ---- byte-level letters: the printable code points that stand for bytes in GPT-2's vocabularies ---- */
extern const uint16_t byte_letter[256];
int byte_of_letter(uint32_t code_point); /* -1: stands for no byte */
MUST_USE enum trawl_status byte_letters_append(struct buf *out, const char *bytes, size_t n);
/* Appends the bytes that a literal stands for; false (and nothing appended) when some letter stands for none. */
MUST_USE enum trawl_status byte_letters_undo(struct buf *out, const char *literal, size_t n, bool *undone);
/* 0..255 for a literal such as <0x0A>, else -1. */
int byte_fallback_value(const char *literal, size_t n);

/* ---- regular expressions (PCRE2) ---- */
struct regex;
MUST_USE enum trawl_status regex_new(struct regex **re, const char *pattern, size_t n, bool literal, const char *where);
void regex_free(struct regex *re);
/* Next match at or after `from`; *begin == SIZE_MAX: none. */
MUST_USE enum trawl_status regex_next(const struct regex *re, const char *text, size_t n, size_t from, size_t *begin,
                                      size_t *end);

/* ---- steps: normalisers, pre-tokenizers, decoders ---- */
enum behaviour { SPLIT_REMOVED, SPLIT_ISOLATED, SPLIT_MERGED_PREVIOUS, SPLIT_MERGED_NEXT, SPLIT_CONTIGUOUS };
enum prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };
struct tokenizer_scratch;
struct words;
struct step;
/* Emits the pieces of text[begin,end) by scratch_push; one per known pattern. */
typedef MUST_USE enum trawl_status (*scan_fn)(struct tokenizer_scratch *s, const char *text, uint32_t begin,
                                              uint32_t end, unsigned parameter);
struct step_row {
    const char *name;
    enum trawl_status (*parse)(struct step *step, const json_t *object, const char *where); /* NULL: no parameters */
    enum trawl_status (*normalize)(const struct step *step, struct buf *out, const char *text, size_t n);
    enum trawl_status (*split)(const struct step *step, struct tokenizer_scratch *s);
    enum trawl_status (*decode)(const struct step *step, struct words *words);
};
struct step {
    const struct step_row *row;
    struct buf text, with; /* pattern, prefix or replaced text; what replaces it */
    struct regex *regex;
    scan_fn scan; /* hand-written scanner of the pattern, NULL: the regex */
    unsigned scan_parameter;
    bool flag[4];       /* meaning by step */
    size_t start, stop; /* decoder Strip */
    enum behaviour behaviour;
    enum prepend prepend;
};
void step_release(struct step *step);
extern const struct step_row normalizer_rows[], pretokenizer_rows[], decoder_rows[]; /* end with name NULL */
MUST_USE enum trawl_status step_bert_normalizer(struct step *step, bool lowercase);
MUST_USE enum trawl_status step_charsmap(struct step *step, const void *map, size_t n, const char *where);
enum bert_flag { BERT_CLEAN, BERT_CHINESE, BERT_STRIP, BERT_LOWER };
enum byte_level_flag { BYTE_LEVEL_PREFIX, BYTE_LEVEL_REGEX, BYTE_LEVEL_WRITE /* write letters for later steps */ };

/* Scanner for a pattern known by heart, NULL: none. */
scan_fn scan_find(const char *pattern, size_t n, unsigned *parameter);
scan_fn scan_gpt2(void);
extern const char pattern_gpt2[], pattern_llama3[], pattern_qwen2[];

/* ---- models ---- */
struct merge {
    uint64_t key; /* left << 32 | right; UINT64_MAX: free */
    uint32_t rank, id;
};
struct bpe {
    bool bytes; /* pieces are raw bytes, single symbols from byte_ids; else code points from char_ids and the vocabulary
                 */
    bool ignore_merges, byte_fallback, fuse_unk, fallback_complete;
    uint32_t unk;
    uint32_t byte_ids[256];
    uint32_t fallback[256];
    uint32_t *char_ids;    /* (65536) */
    char *prefix, *suffix; /* continuing_subword_prefix, end_of_word_suffix; NULL: none */
    struct merge *merges;
    size_t merge_mask, n_merges;
    uint64_t *pairs; /* neighbouring code points inside some merged token; NULL: pieces are not cut further */
    size_t pair_mask;
    uint64_t ascii_pairs[128][2];
};
struct unigram {
    struct trie trie;
    double *scores; /* (n_tokens) */
    double unk_score;
    uint32_t unk;
    bool byte_fallback, fallback_complete;
    uint32_t fallback[256];
};
struct wordpiece {
    struct trie trie;
    uint32_t continuing; /* node of the prefix, TRIE_NONE: no token has it */
    size_t max_chars;
    uint32_t unk;
};
enum model_kind { MODEL_BPE, MODEL_UNIGRAM, MODEL_WORDPIECE };

/* ---- added tokens ---- */
struct added {
    uint32_t id;
    struct slice normal; /* its normalised form in tokenizer.normal_texts, for `normalized` ones */
    bool special, single_word, lstrip, rstrip, normalized;
};
struct matcher {
    struct trie trie; /* values are indexes into tokenizer.added */
    bool first[256];
    bool any, any_plain; /* at all; one that is not special */
};

struct tokenizer {
    char *where;
    struct vocab vocab;
    enum model_kind kind;
    struct bpe bpe;
    struct unigram unigram;
    struct wordpiece wordpiece;
    struct added *added;
    size_t n_added, added_cap;
    struct buf normal_texts;
    struct matcher raw, normalized; /* added tokens looked for before and after normalising */
    struct step *normalizers, *pretokenizers, *decoders;
    size_t n_normalizers, n_pretokenizers, n_decoders;
    bool unmap;               /* pieces are byte-level letters when the steps are done: back to bytes */
    uint32_t *before, *after; /* ids that the post-processor puts around */
    size_t n_before, n_after;
    uint32_t special[TOKENIZER_MASK + 1];
    bool wants_bos;
    uint64_t fingerprint;
};

/* ---- scratch ---- */
struct piece {
    uint32_t begin, end;
};
struct pieces {
    struct piece *items;
    size_t n, cap;
};
struct cached {
    uint64_t key[4]; /* up to 31 bytes, then their number */
    uint32_t n, ids[7];
};
enum { CACHE_SLOTS = 1 << 14, CACHE_PIECE = 31, CACHE_IDS = 7 };
struct heap_entry {
    uint32_t rank, at, left, right, id;
};
struct symbol {
    uint32_t id, next, previous;
};
struct tokenizer_scratch {
    uint64_t owner; /* fingerprint of the tokenizer that the cache is of */
    struct buf repaired, normal[2], work[2];
    const char *text; /* what pieces are offsets into */
    bool at_start;    /* the text begins where the whole input does */
    struct pieces in, out;
    struct buf rewritten; /* a step that changes the text writes it here */
    bool rewrote;
    struct cached *cache;
    uint32_t *symbols;
    size_t symbols_cap;
    struct symbol *list;
    size_t list_cap;
    struct heap_entry *heap;
    size_t heap_n, heap_cap;
    double *best;
    size_t best_cap;
    uint32_t *best_start, *best_id;
    size_t best_start_cap, best_id_cap;
    struct buf letters;
};
MUST_USE enum trawl_status pieces_grow(struct pieces *pieces);
static inline enum trawl_status scratch_push(struct tokenizer_scratch *s, uint32_t begin, uint32_t end)
{
    if (begin == end)
        return TRAWL_OK;
    if (s->out.n == s->out.cap)
        TRY(pieces_grow(&s->out));
    s->out.items[s->out.n++] = (struct piece){begin, end};
    return TRAWL_OK;
}
MUST_USE enum trawl_status ids_reserve(struct ids *ids, size_t more);
static inline enum trawl_status ids_push(struct ids *ids, uint32_t id)
{
    if (ids->n == ids->cap)
        TRY(ids_reserve(ids, 1));
    ids->ids[ids->n++] = id;
    return TRAWL_OK;
}

/* ---- models: ids of one piece ---- */
MUST_USE enum trawl_status bpe_piece(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                                     const char *piece, size_t n);
/* End of the stretch that begins at `begin` and that no merge reaches across: pieces may be cut there. */
size_t bpe_stretch(const struct bpe *bpe, const char *text, size_t begin, size_t end);
MUST_USE enum trawl_status unigram_piece(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                                         const char *piece, size_t n);
MUST_USE enum trawl_status wordpiece_piece(const struct tokenizer *t, struct ids *out, const char *piece, size_t n);

/* Room for n merges; then one call per merge in order of rank; a pair given twice keeps the later rank. */
MUST_USE enum trawl_status bpe_merges_begin(struct bpe *bpe, size_t n);
void bpe_merge_add(struct bpe *bpe, uint32_t left, uint32_t right, uint32_t id);
const struct merge *bpe_merge_find(const struct bpe *bpe, uint32_t left, uint32_t right);
/* After vocabulary, merges and flags are set: tables of single symbols, and where pieces may be cut. */
MUST_USE enum trawl_status bpe_finish(struct tokenizer *t, bool bytes);
MUST_USE enum trawl_status unigram_finish(struct tokenizer *t);
MUST_USE enum trawl_status wordpiece_finish(struct tokenizer *t, const char *prefix, size_t n);
void fill_fallback(const struct vocab *v, uint32_t fallback[256], bool *complete);

/* ---- normalising, splitting, decoding ---- */
MUST_USE enum trawl_status normalize_text(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text,
                                          size_t n, const char **normal, size_t *normal_n);
/* Runs the pre-tokenizer steps on s->text[0,n): the pieces are in s->in. */
MUST_USE enum trawl_status split_text(const struct tokenizer *t, struct tokenizer_scratch *s, uint32_t n);

struct words {
    struct buf text;     /* words one after the other */
    struct piece *items; /* (n) */
    size_t n, cap;
};
MUST_USE enum trawl_status words_push(struct words *words, const char *text, size_t n);

/* ---- building, by the two loaders ---- */
MUST_USE enum trawl_status tokenizer_new(struct tokenizer **t, const char *where);
MUST_USE enum trawl_status tokenizer_add(struct tokenizer *t, const struct added *added);
/* Adds a step made by its row with parameters from JSON (or none). */
enum step_list { LIST_NORMALIZERS, LIST_PRETOKENIZERS, LIST_DECODERS };
MUST_USE enum trawl_status tokenizer_step(struct tokenizer *t, enum step_list list, const char *type,
                                          const json_t *parameters, struct step **made);
MUST_USE enum trawl_status tokenizer_step_text(struct tokenizer *t, enum step_list list, const char *json);
/* Everything that follows from the parts: model tables, matchers, fingerprint. */
MUST_USE enum trawl_status tokenizer_finish(struct tokenizer *t);

#endif
