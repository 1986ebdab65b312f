/*
 * Tokenizers of GGUF files. A file names a kind of model and, for byte-level BPE, a pre-tokenizer; what that name
 * means is a row here. What GGUF cannot express is put back as the original tokenizers have it: Qwen's NFC, SmolLM2's
 * digits one by one, and for SentencePiece BPE the merges, which follow from the pieces' scores.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer_int.h"
#include "unicode.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum gguf_type { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };
#define MARK "\xe2\x96\x81" /* U+2581, the space of SentencePiece */
enum { MARK_BYTES = 3 };

static int32_t type_of(const struct tokenizer_gguf *g, size_t i)
{
    return g->types ? g->types[i] : TYPE_NORMAL;
}

static enum trawl_status malformed_vocab(const struct tokenizer *t, const char *what)
{
    return fail(TRAWL_FORMAT, "%s: tokenizer metadata: %s", t->where, what);
}

/* A token's literal, as the model's pieces spell it. */
typedef MUST_USE enum trawl_status (*spell_fn)(struct buf *out, const struct tokenizer_gguf *g, size_t i);

static enum trawl_status spell_plain(struct buf *out, const struct tokenizer_gguf *g, size_t i)
{
    return buf_append(out, g->tokens[i], g->token_bytes[i]);
}

static bool only_spaces(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ')
            return false;
    return n > 0;
}

/* Runs of spaces are written as such in SentencePiece files; the pieces are runs of U+2581. */
static enum trawl_status spell_sentencepiece(struct buf *out, const struct tokenizer_gguf *g, size_t i)
{
    if (!only_spaces(g->tokens[i], g->token_bytes[i]))
        return spell_plain(out, g, i);
    for (size_t k = 0; k < g->token_bytes[i]; k++)
        TRY(buf_text(out, MARK));
    return TRAWL_OK;
}

/* WordPiece files mark beginnings of words with U+2581 instead of continuations with ##. */
static enum trawl_status spell_wordpiece(struct buf *out, const struct tokenizer_gguf *g, size_t i)
{
    const char *text = g->tokens[i];
    size_t n = g->token_bytes[i];
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']')
        return spell_plain(out, g, i);
    if (n >= MARK_BYTES && memcmp(text, MARK, MARK_BYTES) == 0)
        return buf_append(out, text + MARK_BYTES, n - MARK_BYTES);
    TRY(buf_text(out, "##"));
    return spell_plain(out, g, i);
}

/* All tokens into the vocabulary; control tokens are special, user-defined ones always match (but for runs of spaces,
 * which the model merges itself). */
static enum trawl_status load_tokens(struct tokenizer *t, const struct tokenizer_gguf *g, spell_fn spell,
                                     bool added_in_model)
{
    struct buf literal = {0};
    enum trawl_status status = TRAWL_OK;
    if (g->n_tokens == 0 || g->n_tokens > MAX_TOKENS) {
        status = malformed_vocab(t, "no tokens, or too many");
        goto out;
    }
    for (size_t i = 0; i < g->n_tokens; i++) {
        int32_t type = type_of(g, i);
        bool spaces = type == TYPE_USER && only_spaces(g->tokens[i], g->token_bytes[i]);
        bool special = type == TYPE_CONTROL || type == TYPE_UNKNOWN, user = type == TYPE_USER && !spaces;
        unsigned kind = special ? TOKEN_SPECIAL : user ? TOKEN_ADDED : TOKEN_NORMAL;
        if (added_in_model || kind == TOKEN_NORMAL)
            kind |= type == TYPE_UNUSED ? 0 : TOKEN_IN_MODEL;
        buf_reset(&literal);
        TRY_OUT(spell(&literal, g, i));
        if (utf8_invalid(literal.data ? literal.data : "", literal.n) < literal.n) {
            status = malformed_vocab(t, "a token is not UTF-8");
            goto out;
        }
        TRY_OUT(vocab_set(&t->vocab, (uint32_t)i, literal.data, literal.n, kind, t->where));
        if ((special || user) && literal.n) {
            struct added added = {.id = (uint32_t)i, .special = special};
            TRY_OUT(tokenizer_add(t, &added));
        }
    }
    status = vocab_index(&t->vocab, true, t->where);
out:
    buf_release(&literal);
    return status;
}

/* ---- byte-level BPE ---- */

enum scheme { SCHEME_GPT2, SCHEME_DIGITS_GPT2, SCHEME_LLAMA3, SCHEME_QWEN2 };
static const struct pre {
    const char *name;
    enum scheme scheme;
    bool nfc, ignore_merges, add_bos;
} pres[] = {
    {"default", SCHEME_GPT2, false, false, false},
    {"gpt-2", SCHEME_GPT2, false, false, false},
    {"phi-2", SCHEME_GPT2, false, false, false},
    {"olmo", SCHEME_GPT2, true, false, false},
    {"smollm", SCHEME_DIGITS_GPT2, false, false, false},
    {"starcoder", SCHEME_DIGITS_GPT2, false, false, false},
    {"refact", SCHEME_DIGITS_GPT2, false, false, false},
    {"command-r", SCHEME_DIGITS_GPT2, true, false, true},
    {"llama-bpe", SCHEME_LLAMA3, false, true, true},
    {"llama3", SCHEME_LLAMA3, false, true, true},
    {"llama-v3", SCHEME_LLAMA3, false, true, true},
    {"smaug-bpe", SCHEME_LLAMA3, false, true, true},
    {"dbrx", SCHEME_LLAMA3, false, false, false},
    {"qwen2", SCHEME_QWEN2, true, false, false},
    {"deepseek-r1-qwen", SCHEME_QWEN2, true, false, false},
    {"stablelm2", SCHEME_QWEN2, true, false, false},
};

static enum trawl_status find_pre(const struct tokenizer *t, const char *name, const struct pre **pre)
{
    const size_t n = sizeof pres / sizeof *pres;
    name = name ? name : "default";
    for (*pre = pres; *pre < pres + n; (*pre)++)
        if (strcmp((*pre)->name, name) == 0)
            return TRAWL_OK;
    struct buf known = {0};
    enum trawl_status status = TRAWL_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = buf_printf(&known, "%s%s", i ? ", " : "", pres[i].name);
    if (!status)
        status =
            fail(TRAWL_UNSUPPORTED, "%s: pre-tokenizer '%s' is not supported (known: %s)", t->where, name, known.data);
    buf_release(&known);
    return status;
}

static enum trawl_status split_by(struct tokenizer *t, const char *pattern)
{
    json_t *object = json_pack("{s:{s:s},s:s,s:b}", "pattern", "Regex", pattern, "behavior", "Isolated", "invert", 0);
    if (!object)
        return fail(TRAWL_NOMEM, "%s: no memory for its pattern", t->where);
    enum trawl_status status = tokenizer_step(t, LIST_PRETOKENIZERS, "Split", object, NULL);
    json_decref(object);
    return status;
}

static enum trawl_status add_scheme(struct tokenizer *t, const struct pre *pre)
{
    bool gpt2 = pre->scheme == SCHEME_GPT2 || pre->scheme == SCHEME_DIGITS_GPT2;
    struct step *step;
    if (pre->nfc)
        TRY(tokenizer_step(t, LIST_NORMALIZERS, "NFC", NULL, NULL));
    if (pre->scheme == SCHEME_DIGITS_GPT2)
        TRY(tokenizer_step_text(t, LIST_PRETOKENIZERS, "{\"type\":\"Digits\",\"individual_digits\":true}"));
    if (!gpt2)
        TRY(split_by(t, pre->scheme == SCHEME_LLAMA3 ? pattern_llama3 : pattern_qwen2));
    TRY(tokenizer_step(t, LIST_PRETOKENIZERS, "ByteLevel", NULL, &step));
    step->flag[BYTE_LEVEL_REGEX] = gpt2;
    return tokenizer_step(t, LIST_DECODERS, "ByteLevel", NULL, NULL);
}

static enum trawl_status load_merge(struct tokenizer *t, const char *text, size_t n, size_t number)
{
    const char *space = n > 1 ? memchr(text + 1, ' ', n - 1) : NULL;
    size_t left = space ? (size_t)(space - text) : 0;
    if (!space || left + 1 == n)
        return fail(TRAWL_FORMAT, "%s: merge %zu is not two tokens with a space between them", t->where, number);
    struct buf joined = {0};
    enum trawl_status status = TRAWL_OK;
    TRY_OUT(buf_append(&joined, text, left));
    TRY_OUT(buf_append(&joined, space + 1, n - left - 1));
    uint32_t a = vocab_find(&t->vocab, text, left), b = vocab_find(&t->vocab, space + 1, n - left - 1);
    uint32_t id = vocab_find(&t->vocab, joined.data, joined.n);
    if (a == ID_NONE || b == ID_NONE || id == ID_NONE)
        status = fail(TRAWL_FORMAT, "%s: merge %zu, '%.*s', is of tokens that are not in the vocabulary", t->where,
                      number, (int)(n < 100 ? n : 100), text);
    else
        bpe_merge_add(&t->bpe, a, b, id);
out:
    buf_release(&joined);
    return status;
}

static enum trawl_status load_gpt2(struct tokenizer *t, const struct tokenizer_gguf *g)
{
    const struct pre *pre;
    t->kind = MODEL_BPE;
    TRY(find_pre(t, g->pre, &pre));
    TRY(load_tokens(t, g, spell_plain, false));
    TRY(bpe_merges_begin(&t->bpe, g->n_merges));
    if (g->n_merges == 0)
        return malformed_vocab(t, "no merges");
    for (size_t i = 0; i < g->n_merges; i++)
        TRY(load_merge(t, g->merges[i], g->merge_bytes[i], i + 1));
    t->bpe.ignore_merges = pre->ignore_merges;
    t->wants_bos = g->add_bos < 0 ? pre->add_bos : g->add_bos > 0;
    return add_scheme(t, pre);
}

/* ---- SentencePiece BPE ---- */

struct pair {
    float score, left_score, right_score;
    uint32_t left, right, id;
    uint16_t at; /* bytes of the left part: the order of the parts of one piece */
};

static int by_rank(const void *x, const void *y)
{
    const struct pair *a = x, *b = y;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    if (a->left_score != b->left_score)
        return a->left_score > b->left_score ? -1 : 1;
    if (a->right_score != b->right_score)
        return a->right_score > b->right_score ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

/* Runs of spaces are merged before anything else, in order of their length. */
static float score_of(const struct tokenizer_gguf *g, uint32_t id)
{
    bool spaces = type_of(g, id) == TYPE_USER && only_spaces(g->tokens[id], g->token_bytes[id]);
    return spaces ? INFINITY : g->scores[id];
}

struct pairs {
    struct pair *items;
    size_t n, cap;
};

/* Every way to put a piece together from two others. */
static enum trawl_status add_pairs(struct pairs *pairs, const struct tokenizer *t, const struct tokenizer_gguf *g,
                                   uint32_t id)
{
    size_t n;
    unsigned length;
    const char *text = vocab_text(&t->vocab, id, &n);
    if (n > UINT16_MAX)
        return TRAWL_OK;
    for (size_t at = 0; at < n; at += length) {
        utf8_at(text + at, &length);
        uint32_t left = at ? vocab_find(&t->vocab, text, at) : ID_NONE;
        uint32_t right = left == ID_NONE ? ID_NONE : vocab_find(&t->vocab, text + at, n - at);
        if (right == ID_NONE)
            continue;
        TRY(mem_grow((void **)&pairs->items, &pairs->cap, pairs->n + 1, sizeof *pairs->items));
        pairs->items[pairs->n++] =
            (struct pair){score_of(g, id), score_of(g, left), score_of(g, right), left, right, id, (uint16_t)at};
    }
    return TRAWL_OK;
}

static enum trawl_status merges_from_scores(struct tokenizer *t, const struct tokenizer_gguf *g)
{
    struct pairs pairs = {0};
    enum trawl_status status = TRAWL_OK;
    for (uint32_t id = 0; id < g->n_tokens; id++) {
        int32_t type = type_of(g, id);
        if (isnan(g->scores[id])) {
            status = malformed_vocab(t, "a score is not a number");
            goto out;
        }
        if (type == TYPE_NORMAL || type == TYPE_USER)
            TRY_OUT(add_pairs(&pairs, t, g, id));
    }
    if (pairs.n)
        qsort(pairs.items, pairs.n, sizeof *pairs.items, by_rank);
    TRY_OUT(bpe_merges_begin(&t->bpe, pairs.n));
    for (size_t i = 0; i < pairs.n; i++)
        bpe_merge_add(&t->bpe, pairs.items[i].left, pairs.items[i].right, pairs.items[i].id);
out:
    free(pairs.items);
    return status;
}

static enum trawl_status add_spaces_as_marks(struct tokenizer *t, bool prefix)
{
    if (prefix)
        TRY(tokenizer_step_text(t, LIST_NORMALIZERS, "{\"type\":\"Prepend\",\"prepend\":\"" MARK "\"}"));
    return tokenizer_step_text(t, LIST_NORMALIZERS,
                               "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}");
}

static enum trawl_status load_llama(struct tokenizer *t, const struct tokenizer_gguf *g)
{
    bool prefix = g->add_space_prefix != 0;
    t->kind = MODEL_BPE;
    if (!g->scores)
        return malformed_vocab(t, "a model 'llama' needs scores");
    TRY(load_tokens(t, g, spell_sentencepiece, true));
    TRY(merges_from_scores(t, g));
    t->bpe.byte_fallback = t->bpe.fuse_unk = true;
    t->bpe.unk = g->unk >= 0 && (size_t)g->unk < g->n_tokens ? (uint32_t)g->unk : ID_NONE;
    t->wants_bos = g->add_bos != 0;
    TRY(add_spaces_as_marks(t, prefix));
    TRY(tokenizer_step_text(t, LIST_DECODERS,
                            "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK "\"},\"content\":\" \"}"));
    TRY(tokenizer_step(t, LIST_DECODERS, "ByteFallback", NULL, NULL));
    TRY(tokenizer_step(t, LIST_DECODERS, "Fuse", NULL, NULL));
    return prefix
               ? tokenizer_step_text(t, LIST_DECODERS, "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}")
               : TRAWL_OK;
}

/* ---- Unigram ---- */

static enum trawl_status load_t5(struct tokenizer *t, const struct tokenizer_gguf *g)
{
    struct step *step;
    t->kind = MODEL_UNIGRAM;
    if (!g->scores || g->unk < 0 || (size_t)g->unk >= g->n_tokens)
        return malformed_vocab(t, "a model 't5' needs scores and an unknown token");
    TRY(load_tokens(t, g, spell_sentencepiece, true));
    t->unigram.scores = mem_array(g->n_tokens, sizeof *t->unigram.scores);
    if (!t->unigram.scores)
        return mem_status();
    for (size_t i = 0; i < g->n_tokens; i++)
        t->unigram.scores[i] = g->scores[i];
    t->unigram.unk = (uint32_t)g->unk;
    if (g->charsmap_bytes) {
        TRY(tokenizer_step(t, LIST_NORMALIZERS, "Precompiled", NULL, &step));
        TRY(step_charsmap(step, g->charsmap, g->charsmap_bytes, t->where));
    }
    if (g->remove_extra_spaces > 0)
        TRY(tokenizer_step_text(t, LIST_NORMALIZERS,
                                "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}"));
    if (g->remove_extra_spaces > 0)
        TRY(tokenizer_step_text(t, LIST_NORMALIZERS, "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}"));
    TRY(tokenizer_step_text(t, LIST_PRETOKENIZERS,
                            g->add_space_prefix != 0 ? "{\"type\":\"Metaspace\",\"replacement\":\"" MARK
                                                       "\",\"prepend_scheme\":\"always\"}"
                                                     : "{\"type\":\"Metaspace\",\"replacement\":\"" MARK
                                                       "\",\"prepend_scheme\":\"never\"}"));
    return tokenizer_step_text(t, LIST_DECODERS,
                               "{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\",\"prepend_scheme\":\"always\"}");
}

/* ---- WordPiece ---- */

static enum trawl_status load_bert(struct tokenizer *t, const struct tokenizer_gguf *g)
{
    struct step *step;
    t->kind = MODEL_WORDPIECE;
    TRY(load_tokens(t, g, spell_wordpiece, true));
    t->wordpiece.unk = vocab_find(&t->vocab, "[UNK]", 5);
    if (g->unk >= 0 && (size_t)g->unk < g->n_tokens)
        t->wordpiece.unk = (uint32_t)g->unk;
    if (t->wordpiece.unk == ID_NONE)
        return malformed_vocab(t, "a model 'bert' needs an unknown token");
    t->wordpiece.max_chars = 100;
    TRY(tokenizer_step(t, LIST_NORMALIZERS, "BertNormalizer", NULL, &step));
    TRY(step_bert_normalizer(step, true));
    TRY(tokenizer_step(t, LIST_PRETOKENIZERS, "BertPreTokenizer", NULL, NULL));
    TRY(tokenizer_step_text(t, LIST_DECODERS, "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}"));
    return wordpiece_finish(t, "##", 2);
}

/* ---- the file ---- */

static enum trawl_status add_around(struct tokenizer *t, uint32_t **list, size_t *n, int64_t id)
{
    if (id < 0)
        return TRAWL_OK;
    *list = mem_array(1, sizeof **list);
    if (!*list)
        return mem_status();
    **list = (uint32_t)id;
    *n = 1;
    (void)t;
    return TRAWL_OK;
}

static enum trawl_status set_specials(struct tokenizer *t, const struct tokenizer_gguf *g)
{
    const int64_t ids[] = {
        [TOKENIZER_BOS] = g->bos, [TOKENIZER_EOS] = g->eos, [TOKENIZER_UNK] = g->unk,  [TOKENIZER_SEP] = g->sep,
        [TOKENIZER_CLS] = g->cls, [TOKENIZER_PAD] = g->pad, [TOKENIZER_MASK] = g->mask};
    for (int i = 0; i <= TOKENIZER_MASK; i++) {
        if (ids[i] >= (int64_t)g->n_tokens)
            return malformed_vocab(t, "a special id is beyond the vocabulary");
        t->special[i] = ids[i] >= 0 ? (uint32_t)ids[i] : TOKENIZER_NONE;
    }
    t->wants_bos = t->wants_bos && g->bos >= 0;
    bool bert = t->kind == MODEL_WORDPIECE;
    bool eos = g->add_eos < 0 ? t->kind == MODEL_UNIGRAM : g->add_eos > 0;
    int64_t cls = g->cls >= 0 ? g->cls : g->bos;
    TRY(add_around(t, &t->before, &t->n_before, bert ? cls : t->wants_bos ? g->bos : -1));
    return add_around(t, &t->after, &t->n_after, bert ? g->sep : eos ? g->eos : -1);
}

static enum trawl_status load(struct tokenizer *t, const struct tokenizer_gguf *g)
{
    static const struct {
        const char *model;
        enum trawl_status (*load)(struct tokenizer *t, const struct tokenizer_gguf *g);
    } rows[] = {{"gpt2", load_gpt2}, {"llama", load_llama}, {"bert", load_bert}, {"t5", load_t5}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].model, g->model) == 0) {
            TRY(rows[i].load(t, g));
            TRY(set_specials(t, g));
            return tokenizer_finish(t);
        }
    return fail(TRAWL_UNSUPPORTED, "%s: tokenizer model '%s' is not supported (known: gpt2, llama, bert, t5)", t->where,
                g->model);
}

enum trawl_status tokenizer_from_gguf(struct tokenizer **t, const struct tokenizer_gguf *spec)
{
    char where[1024];
    snprintf(where, sizeof where, "'%s'", spec->where);
    enum trawl_status status = tokenizer_new(t, where);
    if (!status)
        status = load(*t, spec);
    if (status) {
        tokenizer_free(*t);
        *t = NULL;
    }
    return status;
}
