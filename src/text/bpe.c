/*
 * Byte-pair encoding of one piece: single symbols, then always the merge of lowest rank, the leftmost of equals.
 *
 * Short pieces are merged in an array by scanning for the lowest rank; long ones in a linked list with a heap, so that
 * a megabyte without a space costs n log n. Ids of short pieces are remembered in the scratch's cache (direct-mapped,
 * bounded; since ids depend on the piece alone, results do not depend on what the cache holds).
 *
 * SentencePiece vocabularies (Gemma, Llama 2) have no pre-tokenizer: the whole text is one piece. No merge reaches
 * across two neighbouring code points that are neighbours in no merged token, so cutting there changes nothing;
 * bpe_stretch finds these places, most of which lie before a U+2581.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer_int.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>

enum { SHORT_SYMBOLS = 64 };

/* ---- merges ---- */

static inline size_t hash_pair(uint64_t key)
{
    key *= 0x9e3779b97f4a7c15u;
    return (size_t)(key ^ key >> 32);
}

enum trawl_status bpe_merges_begin(struct bpe *bpe, size_t n)
{
    size_t slots = 64;
    while (slots < n * 2)
        slots *= 2;
    bpe->merges = mem_aligned(slots, sizeof *bpe->merges);
    if (!bpe->merges)
        return mem_status();
    memset(bpe->merges, 0xff, slots * sizeof *bpe->merges);
    bpe->merge_mask = slots - 1;
    return TRAWL_OK;
}

void bpe_merge_add(struct bpe *bpe, uint32_t left, uint32_t right, uint32_t id)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t slot = hash_pair(key) & bpe->merge_mask;
    while (bpe->merges[slot].key != UINT64_MAX && bpe->merges[slot].key != key)
        slot = (slot + 1) & bpe->merge_mask;
    bpe->merges[slot] = (struct merge){key, (uint32_t)bpe->n_merges++, id};
}

const struct merge *bpe_merge_find(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t slot = hash_pair(key) & bpe->merge_mask;
    for (; bpe->merges[slot].key != UINT64_MAX; slot = (slot + 1) & bpe->merge_mask)
        if (bpe->merges[slot].key == key)
            return &bpe->merges[slot];
    return NULL;
}

/* ---- single symbols ---- */

struct symbols {
    struct tokenizer_scratch *s;
    size_t n;
    bool unk_pending;
};

static enum trawl_status add_symbol(struct symbols *symbols, uint32_t id)
{
    struct tokenizer_scratch *s = symbols->s;
    TRY(mem_grow((void **)&s->symbols, &s->symbols_cap, symbols->n + 1, sizeof *s->symbols));
    s->symbols[symbols->n++] = id;
    return TRAWL_OK;
}

/* A code point (with its prefix or suffix) that is no token: its bytes, or the unknown token, or nothing. */
static enum trawl_status add_unknown(const struct bpe *bpe, struct symbols *symbols, const char *text, size_t n)
{
    bool all = bpe->byte_fallback;
    for (size_t i = 0; i < n && all; i++)
        all = bpe->fallback[(unsigned char)text[i]] != ID_NONE;
    if (all) {
        for (size_t i = 0; i < n; i++)
            TRY(add_symbol(symbols, bpe->fallback[(unsigned char)text[i]]));
        return TRAWL_OK;
    }
    if (bpe->unk == ID_NONE)
        return TRAWL_OK;
    if (symbols->unk_pending && !bpe->fuse_unk)
        TRY(add_symbol(symbols, bpe->unk));
    symbols->unk_pending = true;
    return TRAWL_OK;
}

static uint32_t find_symbol(const struct tokenizer *t, const char *text, size_t n)
{
    unsigned length;
    uint32_t c = utf8_at(text, &length);
    return c < 65536 && length == n ? t->bpe.char_ids[c] : model_find(&t->vocab, text, n);
}

/* The code point text[i, i + length) with the prefix or suffix that its place asks for. */
static enum trawl_status with_affixes(const struct bpe *bpe, struct buf *out, const char *text, size_t n, size_t i,
                                      unsigned length)
{
    buf_reset(out);
    if (i > 0 && bpe->prefix)
        TRY(buf_text(out, bpe->prefix));
    TRY(buf_append(out, text + i, length));
    if (i + length == n && bpe->suffix)
        TRY(buf_text(out, bpe->suffix));
    return TRAWL_OK;
}

static enum trawl_status code_point_symbols(const struct tokenizer *t, struct symbols *symbols, const char *text,
                                            size_t n)
{
    const struct bpe *bpe = &t->bpe;
    unsigned length;
    for (size_t i = 0; i < n; i += length) {
        const char *symbol = text + i;
        utf8_at(symbol, &length);
        size_t symbol_n = length;
        if (bpe->prefix || bpe->suffix) {
            TRY(with_affixes(bpe, &symbols->s->letters, text, n, i, length));
            symbol = symbols->s->letters.data;
            symbol_n = symbols->s->letters.n;
        }
        uint32_t id = find_symbol(t, symbol, symbol_n);
        if (id == ID_NONE) {
            TRY(add_unknown(bpe, symbols, symbol, symbol_n));
            continue;
        }
        if (symbols->unk_pending)
            TRY(add_symbol(symbols, bpe->unk));
        symbols->unk_pending = false;
        TRY(add_symbol(symbols, id));
    }
    return symbols->unk_pending ? add_symbol(symbols, bpe->unk) : TRAWL_OK;
}

static enum trawl_status make_symbols(const struct tokenizer *t, struct symbols *symbols, const char *text, size_t n)
{
    if (!t->bpe.bytes)
        return code_point_symbols(t, symbols, text, n);
    struct tokenizer_scratch *s = symbols->s;
    TRY(mem_grow((void **)&s->symbols, &s->symbols_cap, n, sizeof *s->symbols));
    for (size_t i = 0; i < n; i++) { /* bytes without a token vanish, as in the reference */
        s->symbols[symbols->n] = t->bpe.byte_ids[(unsigned char)text[i]];
        symbols->n += s->symbols[symbols->n] != ID_NONE;
    }
    return TRAWL_OK;
}

/* ---- merging ---- */

static inline const struct merge *merge_or_none(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    static const struct merge none = {UINT64_MAX, UINT32_MAX, ID_NONE};
    const struct merge *found = bpe_merge_find(bpe, left, right);
    return found ? found : &none;
}

static size_t merge_short(const struct bpe *bpe, uint32_t *ids, size_t n)
{
    uint32_t rank[SHORT_SYMBOLS], made[SHORT_SYMBOLS];
    for (size_t i = 0; i + 1 < n; i++) {
        const struct merge *m = merge_or_none(bpe, ids[i], ids[i + 1]);
        rank[i] = m->rank;
        made[i] = m->id;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            best = rank[i] < rank[best] ? i : best;
        if (rank[best] == UINT32_MAX)
            break;
        ids[best] = made[best];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            rank[i - 1] = rank[i]; /* the entry at best is set below */
            made[i - 1] = made[i];
        }
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const struct merge *m = merge_or_none(bpe, ids[i], ids[i + 1]);
            rank[i] = m->rank;
            made[i] = m->id;
        }
    }
    return n;
}

static inline bool before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static enum trawl_status heap_push(struct tokenizer_scratch *s, struct heap_entry entry)
{
    TRY(mem_grow((void **)&s->heap, &s->heap_cap, s->heap_n + 1, sizeof *s->heap));
    size_t i = s->heap_n++;
    for (; i && before(&entry, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = entry;
    return TRAWL_OK;
}

static struct heap_entry heap_pop(struct tokenizer_scratch *s)
{
    struct heap_entry top = s->heap[0], last = s->heap[--s->heap_n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < s->heap_n; i = child) {
        child += child + 1 < s->heap_n && before(&s->heap[child + 1], &s->heap[child]);
        if (!before(&s->heap[child], &last))
            break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return top;
}

static enum trawl_status consider(const struct bpe *bpe, struct tokenizer_scratch *s, uint32_t at, uint32_t n)
{
    uint32_t next = s->list[at].next;
    if (next >= n)
        return TRAWL_OK;
    const struct merge *m = bpe_merge_find(bpe, s->list[at].id, s->list[next].id);
    return m ? heap_push(s, (struct heap_entry){m->rank, at, s->list[at].id, s->list[next].id, m->id}) : TRAWL_OK;
}

/* The same result by a heap; the list marks symbols that were merged away with the id ID_NONE. */
static enum trawl_status merge_long(const struct bpe *bpe, struct tokenizer_scratch *s, size_t n_symbols)
{
    uint32_t n = (uint32_t)n_symbols;
    TRY(mem_grow((void **)&s->list, &s->list_cap, n, sizeof *s->list));
    s->heap_n = 0;
    for (uint32_t i = 0; i < n; i++)
        s->list[i] = (struct symbol){s->symbols[i], i + 1, i - 1};
    for (uint32_t i = 0; i + 1 < n; i++)
        TRY(consider(bpe, s, i, n));
    while (s->heap_n) {
        struct heap_entry top = heap_pop(s);
        struct symbol *left = &s->list[top.at];
        if (left->id != top.left || left->next >= n || s->list[left->next].id != top.right)
            continue; /* one of the two was merged since */
        left->id = top.id;
        s->list[left->next].id = ID_NONE;
        left->next = s->list[left->next].next;
        if (left->next < n)
            s->list[left->next].previous = top.at;
        if (left->previous < n)
            TRY(consider(bpe, s, left->previous, n));
        TRY(consider(bpe, s, top.at, n));
    }
    return TRAWL_OK;
}

enum trawl_status bpe_piece(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out, const char *piece,
                            size_t n)
{
    const struct bpe *bpe = &t->bpe;
    struct symbols symbols = {.s = s};
    if (bpe->ignore_merges) {
        const char *literal = piece;
        size_t literal_n = n;
        if (bpe->bytes) {
            buf_reset(&s->letters);
            TRY(byte_letters_append(&s->letters, piece, n));
            literal = s->letters.data;
            literal_n = s->letters.n;
        }
        uint32_t whole = model_find(&t->vocab, literal, literal_n);
        if (whole != ID_NONE)
            return ids_push(out, whole);
    }
    TRY(make_symbols(t, &symbols, piece, n));
    if (symbols.n <= SHORT_SYMBOLS) {
        symbols.n = merge_short(bpe, s->symbols, symbols.n);
        TRY(ids_reserve(out, symbols.n));
        for (size_t i = 0; i < symbols.n; i++)
            out->ids[out->n++] = s->symbols[i];
        return TRAWL_OK;
    }
    TRY(merge_long(bpe, s, symbols.n));
    for (size_t i = 0; i < symbols.n; i = s->list[i].next)
        TRY(ids_push(out, s->list[i].id));
    return TRAWL_OK;
}

/* ---- where a piece may be cut ---- */

static inline bool pair_seen(const struct bpe *bpe, uint32_t a, uint32_t b)
{
    if (a < 128 && b < 128)
        return bpe->ascii_pairs[a][b >> 6] >> (b & 63) & 1;
    uint64_t key = (uint64_t)a << 21 | b;
    size_t slot = hash_pair(key) & bpe->pair_mask;
    for (; bpe->pairs[slot]; slot = (slot + 1) & bpe->pair_mask)
        if (bpe->pairs[slot] == key)
            return true;
    return false;
}

static void pair_note(struct bpe *bpe, uint32_t a, uint32_t b, size_t *n_pairs)
{
    if (a < 128 && b < 128) {
        bpe->ascii_pairs[a][b >> 6] |= (uint64_t)1 << (b & 63);
        return;
    }
    uint64_t key = (uint64_t)a << 21 | b;
    size_t slot = hash_pair(key) & bpe->pair_mask;
    while (bpe->pairs[slot] && bpe->pairs[slot] != key)
        slot = (slot + 1) & bpe->pair_mask;
    *n_pairs += !bpe->pairs[slot];
    bpe->pairs[slot] = key;
}

size_t bpe_stretch(const struct bpe *bpe, const char *text, size_t begin, size_t end)
{
    unsigned length;
    uint32_t last = utf8_at(text + begin, &length);
    size_t i = begin + length;
    for (; i < end; i += length) {
        uint32_t c = utf8_at(text + i, &length);
        if (!pair_seen(bpe, last, c))
            break;
        last = c;
    }
    return i;
}

static enum trawl_status grow_pairs(struct bpe *bpe, size_t slots)
{
    uint64_t *old = bpe->pairs;
    size_t old_slots = old ? bpe->pair_mask + 1 : 0, n = 0;
    bpe->pairs = mem_array(slots, sizeof *bpe->pairs);
    if (!bpe->pairs) {
        bpe->pairs = old;
        return mem_status();
    }
    bpe->pair_mask = slots - 1;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i])
            pair_note(bpe, (uint32_t)(old[i] >> 21), (uint32_t)(old[i] & 0x1fffff), &n);
    free(old);
    return TRAWL_OK;
}

/* Cutting is exact when symbols on both sides of a cut are what they are in the whole: bytes stand in for unknown code
 * points, and no merge is made of such bytes. */
static bool may_cut(const struct bpe *bpe, size_t n_tokens)
{
    if (bpe->bytes || bpe->ignore_merges || !bpe->byte_fallback || !bpe->fallback_complete || bpe->prefix ||
        bpe->suffix)
        return false;
    unsigned char *is_byte = mem_array(n_tokens, 1);
    if (!is_byte)
        return false;
    for (int b = 0; b < 256; b++)
        is_byte[bpe->fallback[b]] = 1;
    bool fine = true;
    for (size_t i = 0; i <= bpe->merge_mask && fine; i++) {
        uint64_t key = bpe->merges[i].key;
        fine = key == UINT64_MAX || !(is_byte[key >> 32] || is_byte[key & UINT32_MAX]);
    }
    free(is_byte);
    return fine;
}

static enum trawl_status note_pairs(struct tokenizer *t)
{
    struct bpe *bpe = &t->bpe;
    size_t n_pairs = 0;
    unsigned length;
    TRY(grow_pairs(bpe, 1 << 16));
    for (size_t i = 0; i <= bpe->merge_mask; i++) {
        if (bpe->merges[i].key == UINT64_MAX)
            continue;
        size_t n;
        const char *text = vocab_text(&t->vocab, bpe->merges[i].id, &n);
        if (n_pairs + n > bpe->pair_mask / 2)
            TRY(grow_pairs(bpe, 2 * (bpe->pair_mask + 1 + n)));
        uint32_t last = utf8_at(text, &length);
        for (size_t at = length; at < n; at += length) {
            uint32_t c = utf8_at(text + at, &length);
            pair_note(bpe, last, c, &n_pairs);
            last = c;
        }
    }
    return TRAWL_OK;
}

/* ---- tables ---- */

static void fill_byte_ids(struct tokenizer *t)
{
    for (int b = 0; b < 256; b++) {
        char letter[4];
        size_t n = utf8_put(letter, byte_letter[b]);
        t->bpe.byte_ids[b] = model_find(&t->vocab, letter, n);
    }
}

static enum trawl_status fill_char_ids(struct tokenizer *t)
{
    t->bpe.char_ids = mem_array(65536, sizeof *t->bpe.char_ids);
    if (!t->bpe.char_ids)
        return mem_status();
    memset(t->bpe.char_ids, 0xff, 65536 * sizeof *t->bpe.char_ids);
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        size_t n, i = 0;
        const char *text = vocab_text(&t->vocab, id, &n);
        if (!(t->vocab.kinds[id] & TOKEN_IN_MODEL) || n == 0 || n > 3)
            continue;
        uint32_t c = utf8_next(text, n, &i);
        if (i == n && c < 65536)
            t->bpe.char_ids[c] = model_find(&t->vocab, text, n);
    }
    return TRAWL_OK;
}

enum trawl_status bpe_finish(struct tokenizer *t, bool bytes)
{
    struct bpe *bpe = &t->bpe;
    bpe->bytes = bytes;
    if (!bpe->merges)
        TRY(bpe_merges_begin(bpe, 0));
    fill_fallback(&t->vocab, bpe->fallback, &bpe->fallback_complete);
    fill_byte_ids(t);
    if (!bytes)
        TRY(fill_char_ids(t));
    return may_cut(bpe, t->vocab.n) ? note_pairs(t) : TRAWL_OK;
}
