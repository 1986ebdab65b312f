/* The public functions of tokenizers: the pipeline of tokenizer_int.h from text to ids, and back. */
#include "tokenizer.h"
#include "added.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer_int.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- scratch ---- */

enum trawl_status tokenizer_scratch_new(struct tokenizer_scratch **scratch)
{
    *scratch = mem_array(1, sizeof **scratch);
    return *scratch ? TRAWL_OK : mem_status();
}

void tokenizer_scratch_free(struct tokenizer_scratch *s)
{
    if (!s)
        return;
    buf_release(&s->repaired);
    for (int i = 0; i < 2; i++) {
        buf_release(&s->normal[i]);
        buf_release(&s->work[i]);
    }
    buf_release(&s->rewritten);
    buf_release(&s->letters);
    free(s->in.items);
    free(s->out.items);
    free(s->cache);
    free(s->symbols);
    free(s->list);
    free(s->heap);
    free(s->best);
    free(s->best_start);
    free(s->best_id);
    free(s);
}

/* Makes the scratch this tokenizer's: the cache of another is forgotten. */
static enum trawl_status scratch_claim(struct tokenizer_scratch *s, const struct tokenizer *t)
{
    if (s->cache && s->owner == t->fingerprint)
        return TRAWL_OK;
    if (!s->cache)
        s->cache = mem_aligned(CACHE_SLOTS, sizeof *s->cache);
    if (!s->cache)
        return mem_status();
    memset(s->cache, 0, CACHE_SLOTS * sizeof *s->cache); /* an entry of no bytes is no piece's */
    s->owner = t->fingerprint;
    return TRAWL_OK;
}

/* ---- ids ---- */

enum trawl_status ids_reserve(struct ids *ids, size_t more)
{
    return mem_grow((void **)&ids->ids, &ids->cap, ids->n + more, sizeof *ids->ids);
}

enum trawl_status ids_append(struct ids *ids, uint32_t id)
{
    return ids_push(ids, id);
}

void ids_release(struct ids *ids)
{
    free(ids->ids);
    *ids = (struct ids){0};
}

/* ---- encoding ---- */

static enum trawl_status model_piece(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                                     const char *piece, size_t n)
{
    switch (t->kind) {
    case MODEL_BPE:
        return bpe_piece(t, s, out, piece, n);
    case MODEL_UNIGRAM:
        return unigram_piece(t, s, out, piece, n);
    case MODEL_WORDPIECE:
        break;
    }
    return wordpiece_piece(t, out, piece, n);
}

/* The piece's bytes, zero beyond its end, its length in the last byte. TEXT_PAD lets us read past the end. */
static inline void cache_key(uint64_t key[4], const char *piece, size_t n)
{
    memcpy(key, piece, 32);
    for (size_t i = 0; i < 4; i++) {
        size_t have = n > 8 * i ? n - 8 * i : 0;
        key[i] = have >= 8 ? key[i] : have ? key[i] & (UINT64_MAX >> (64 - 8 * have)) : 0;
    }
    key[3] = (key[3] & (UINT64_MAX >> 8)) | (uint64_t)n << 56;
}

static inline size_t cache_slot(const uint64_t key[4])
{
    uint64_t h = (key[0] ^ key[2] << 1) * 0x9e3779b97f4a7c15u + (key[1] ^ key[3]) * 0xc2b2ae3d27d4eb4fu;
    return (size_t)((h ^ h >> 29) * 0xbf58476d1ce4e5b9u >> 40) & (CACHE_SLOTS - 1);
}

static enum trawl_status cached_piece(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                                      const char *piece, size_t n)
{
    uint64_t key[4];
    if (n > CACHE_PIECE || !s->cache)
        return model_piece(t, s, out, piece, n);
    cache_key(key, piece, n);
    struct cached *entry = &s->cache[cache_slot(key)];
    if (((entry->key[0] ^ key[0]) | (entry->key[1] ^ key[1]) | (entry->key[2] ^ key[2]) | (entry->key[3] ^ key[3])) ==
        0) {
        if (out->cap - out->n < CACHE_IDS)
            TRY(ids_reserve(out, CACHE_IDS));
        memcpy(out->ids + out->n, entry->ids, sizeof entry->ids);
        out->n += entry->n;
        return TRAWL_OK;
    }
    size_t before = out->n;
    TRY(model_piece(t, s, out, piece, n));
    if (out->n - before <= CACHE_IDS) {
        memcpy(entry->key, key, sizeof key);
        entry->n = (uint32_t)(out->n - before);
        if (entry->n)
            memcpy(entry->ids, out->ids + before, entry->n * sizeof *entry->ids);
    }
    return TRAWL_OK;
}

static enum trawl_status encode_pieces(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out)
{
    for (size_t i = 0; i < s->in.n; i++) {
        size_t begin = s->in.items[i].begin, end = s->in.items[i].end;
        while (begin < end) {
            size_t stop = t->bpe.pairs ? bpe_stretch(&t->bpe, s->text, begin, end) : end;
            TRY(cached_piece(t, s, out, s->text + begin, stop - begin));
            begin = stop;
        }
    }
    return TRAWL_OK;
}

/* Normalised text without added tokens in it. */
static enum trawl_status encode_plain(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                                      const char *text, size_t n, bool at_start)
{
    if (n == 0)
        return TRAWL_OK;
    s->text = text;
    s->at_start = at_start;
    TRY(split_text(t, s, (uint32_t)n));
    return encode_pieces(t, s, out);
}

/* A segment of the text between added tokens. */
static enum trawl_status encode_segment(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                                        const char *text, size_t n, bool at_start, bool parse_special)
{
    if (n == 0)
        return TRAWL_OK;
    TRY(normalize_text(t, s, text, n, &text, &n));
    if (n > INT32_MAX / 2)
        return fail(TRAWL_LIMIT, "a text of more than 1 GiB cannot be tokenised at once (split it)");
    struct added_match match = {0};
    size_t from = 0, at = 0;
    while (added_next(t, &t->normalized, text, n, parse_special, &from, &match)) {
        if (match.begin > at)
            TRY(encode_plain(t, s, out, text + at, match.begin - at, at_start && at == 0));
        TRY(ids_push(out, match.id));
        at = match.end;
    }
    return at < n ? encode_plain(t, s, out, text + at, n - at, at_start && at == 0) : TRAWL_OK;
}

static enum trawl_status encode_text(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                                     const char *text, size_t n, bool parse_special)
{
    struct added_match match = {0};
    size_t from = 0, at = 0;
    while (added_next(t, &t->raw, text, n, parse_special, &from, &match)) {
        if (match.begin > at)
            TRY(encode_segment(t, s, out, text + at, match.begin - at, at == 0, parse_special));
        TRY(ids_push(out, match.id));
        at = match.end;
    }
    return at < n ? encode_segment(t, s, out, text + at, n - at, at == 0, parse_special) : TRAWL_OK;
}

static enum trawl_status encode(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                                const char *text, size_t n, unsigned flags)
{
    if (utf8_invalid(text, n) < n) {
        buf_reset(&s->repaired);
        TRY(utf8_repair(&s->repaired, text, n));
        text = s->repaired.data;
        n = s->repaired.n;
    }
    for (size_t i = 0; (flags & TOKENIZER_ADD_SPECIAL) && i < t->n_before; i++)
        TRY(ids_push(out, t->before[i]));
    TRY(encode_text(t, s, out, text, n, (flags & TOKENIZER_PARSE_SPECIAL) != 0));
    for (size_t i = 0; (flags & TOKENIZER_ADD_SPECIAL) && i < t->n_after; i++)
        TRY(ids_push(out, t->after[i]));
    return TRAWL_OK;
}

enum trawl_status tokenizer_encode(const struct tokenizer *t, struct tokenizer_scratch *scratch, struct ids *out,
                                   const char *text, size_t n, unsigned flags)
{
    struct tokenizer_scratch *own = NULL;
    size_t before = out->n;
    if (scratch)
        TRY(scratch_claim(scratch, t));
    else /* for one text, without a cache */
        TRY(tokenizer_scratch_new(&own));
    enum trawl_status status = encode(t, scratch ? scratch : own, out, n ? text : "", n, flags);
    if (status)
        out->n = before;
    tokenizer_scratch_free(own);
    return status;
}

/* ---- decoding ---- */

/* What a token stands for when decoded: its literal, or the normalised form of an added token that has one. */
static const char *decoded_text(const struct tokenizer *t, uint32_t id, size_t *n)
{
    unsigned kind = t->vocab.kinds[id] & TOKEN_KIND;
    for (size_t i = 0; t->normalized.any && kind != TOKEN_NORMAL && i < t->n_added; i++)
        if (t->added[i].id == id && t->added[i].normalized) {
            *n = t->added[i].normal.n;
            return t->normal_texts.data + t->added[i].normal.at;
        }
    return vocab_text(&t->vocab, id, n);
}

static enum trawl_status collect_words(const struct tokenizer *t, struct words *w, const uint32_t *ids, size_t n,
                                       bool skip_special)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= t->vocab.n || t->vocab.kinds[ids[i]] == TOKEN_HOLE)
            return fail(TRAWL_FORMAT, "id %u at place %zu is no token of %s, which has %zu", ids[i], i, t->where,
                        t->vocab.n);
        size_t text_n;
        const char *text = decoded_text(t, ids[i], &text_n);
        if (!skip_special || (t->vocab.kinds[ids[i]] & TOKEN_KIND) != TOKEN_SPECIAL)
            TRY(words_push(w, text, text_n));
    }
    return TRAWL_OK;
}

static enum trawl_status append_words(const struct tokenizer *t, struct buf *out, const struct words *w)
{
    for (size_t i = 0; i < w->n; i++) {
        if (i && t->n_decoders == 0)
            TRY(buf_append(out, " ", 1));
        TRY(buf_append(out, w->text.data + w->items[i].begin, w->items[i].end - w->items[i].begin));
    }
    return TRAWL_OK;
}

enum trawl_status tokenizer_decode(const struct tokenizer *t, struct buf *out, const uint32_t *ids, size_t n,
                                   bool skip_special)
{
    enum trawl_status status = TRAWL_OK;
    struct words w = {0};
    TRY_OUT(collect_words(t, &w, ids, n, skip_special));
    for (size_t i = 0; i < t->n_decoders && w.n; i++)
        TRY_OUT(t->decoders[i].row->decode(&t->decoders[i], &w));
    status = append_words(t, out, &w);
out:
    buf_release(&w.text);
    free(w.items);
    return status;
}

static bool has_byte_letters(const struct tokenizer *t)
{
    for (size_t i = 0; i < t->n_decoders; i++)
        if (strcmp(t->decoders[i].row->name, "ByteLevel") == 0)
            return true;
    return t->kind == MODEL_BPE && t->bpe.bytes;
}

enum trawl_status tokenizer_piece(const struct tokenizer *t, struct buf *out, uint32_t id)
{
    if (id >= t->vocab.n || t->vocab.kinds[id] == TOKEN_HOLE)
        return fail(TRAWL_FORMAT, "id %u is no token of %s", id, t->where);
    size_t n;
    const char *text = vocab_text(&t->vocab, id, &n);
    bool undone = false;
    if ((t->vocab.kinds[id] & TOKEN_KIND) != TOKEN_NORMAL)
        return buf_append(out, text, n);
    if (has_byte_letters(t)) {
        TRY(byte_letters_undo(out, text, n, &undone));
        return undone ? TRAWL_OK : buf_append(out, text, n);
    }
    char byte = (char)byte_fallback_value(text, n);
    if (byte_fallback_value(text, n) >= 0)
        return buf_append(out, &byte, 1);
    for (size_t i = 0; i < n;) {
        bool mark = n - i >= 3 && memcmp(text + i, "\xe2\x96\x81", 3) == 0;
        TRY(buf_append(out, mark ? " " : text + i, 1));
        i += mark ? 3 : 1;
    }
    return TRAWL_OK;
}

/* ---- facts ---- */

uint32_t tokenizer_special_id(const struct tokenizer *t, enum tokenizer_special which)
{
    return t->special[which];
}

bool tokenizer_wants_bos(const struct tokenizer *t)
{
    return t->wants_bos;
}

size_t tokenizer_vocab(const struct tokenizer *t)
{
    return t->vocab.n;
}

uint32_t tokenizer_id(const struct tokenizer *t, const char *literal, size_t n)
{
    return vocab_find(&t->vocab, literal, n);
}

size_t tokenizer_n_added(const struct tokenizer *t)
{
    return t->n_before + t->n_after;
}

uint64_t tokenizer_fingerprint(const struct tokenizer *t)
{
    return t->fingerprint;
}
