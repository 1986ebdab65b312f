/*
 * Unigram language model (Kudo 2018): the segmentation of the highest sum of scores, by Viterbi over byte positions
 * with a trie of the vocabulary. Ties and the unknown token follow the reference: a later candidate must be strictly
 * better, a code point that starts no token of its own length costs ten less than the worst score, neighbours of such
 * are fused, and what is not in the vocabulary falls back to bytes where there are tokens for all of them.
 */
#include "base/mem.h"
#include "tokenizer_int.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>

#define FREE UINT32_MAX /* a start that no piece has */

static enum trawl_status reserve(struct tokenizer_scratch *s, size_t n)
{
    TRY(mem_grow((void **)&s->best, &s->best_cap, n + 1, sizeof *s->best));
    TRY(mem_grow((void **)&s->best_start, &s->best_start_cap, n + 1, sizeof *s->best_start));
    TRY(mem_grow((void **)&s->best_id, &s->best_id_cap, n + 1, sizeof *s->best_id));
    memset(s->best_start, 0xff, (n + 1) * sizeof *s->best_start);
    s->best[0] = 0;
    return TRAWL_OK;
}

static inline void offer(struct tokenizer_scratch *s, size_t end, size_t start, double score, uint32_t id)
{
    if (s->best_start[end] != FREE && !(score > s->best[end]))
        return;
    s->best[end] = score;
    s->best_start[end] = (uint32_t)start;
    s->best_id[end] = id;
}

static void forward(const struct unigram *u, struct tokenizer_scratch *s, const char *text, size_t n)
{
    unsigned length;
    for (size_t start = 0; start < n; start += length) {
        utf8_at(text + start, &length);
        double here = s->best[start];
        bool single = false;
        uint32_t node = 0;
        for (size_t end = start; end < n;) {
            node = trie_next(&u->trie, node, (unsigned char)text[end++]);
            if (node == TRIE_NONE)
                break;
            uint32_t id = u->trie.nodes[node].value;
            if (id == TRIE_NONE)
                continue;
            offer(s, end, start, u->scores[id] + here, id);
            single = single || end - start == length;
        }
        if (!single)
            offer(s, start + length, start, u->unk_score + here, u->unk);
    }
}

/* Ids of one stretch of the best path: a token, bytes, or the unknown token. */
static enum trawl_status emit(const struct tokenizer *t, struct ids *out, const char *text, size_t n)
{
    const struct unigram *u = &t->unigram;
    uint32_t id = model_find(&t->vocab, text, n);
    if (id != ID_NONE)
        return ids_push(out, id);
    bool all = u->byte_fallback;
    for (size_t i = 0; i < n && all; i++)
        all = u->fallback[(unsigned char)text[i]] != ID_NONE;
    if (!all)
        return ids_push(out, u->unk);
    for (size_t i = 0; i < n; i++)
        TRY(ids_push(out, u->fallback[(unsigned char)text[i]]));
    return TRAWL_OK;
}

enum trawl_status unigram_piece(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                                const char *piece, size_t n)
{
    TRY(reserve(s, n));
    forward(&t->unigram, s, piece, n);
    /* Turn the back pointers into a chain of ends, so that stretches come in order and unknown ones are fused. */
    size_t end = n, next = FREE;
    while (end > 0) {
        size_t start = s->best_start[end];
        s->best_start[end] = (uint32_t)next;
        next = end;
        end = start;
    }
    for (size_t start = 0; next != FREE;) {
        bool unknown = s->best_id[next] == t->unigram.unk;
        size_t after = s->best_start[next];
        while (unknown && after != FREE && s->best_id[after] == t->unigram.unk) {
            next = after;
            after = s->best_start[next];
        }
        TRY(emit(t, out, piece + start, next - start));
        start = next;
        next = after;
    }
    return TRAWL_OK;
}

enum trawl_status unigram_finish(struct tokenizer *t)
{
    struct unigram *u = &t->unigram;
    struct trie_key *keys = mem_array(t->vocab.n, sizeof *keys);
    if (!keys)
        return mem_status();
    size_t n_keys = 0;
    double lowest = 0;
    bool any = false;
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        size_t n;
        const char *text = vocab_text(&t->vocab, id, &n);
        if (!(t->vocab.kinds[id] & TOKEN_IN_MODEL))
            continue;
        lowest = !any || u->scores[id] < lowest ? u->scores[id] : lowest;
        any = true;
        keys[n_keys++] = (struct trie_key){text, (uint32_t)n, id};
    }
    u->unk_score = lowest - 10.0;
    fill_fallback(&t->vocab, u->fallback, &u->fallback_complete);
    enum trawl_status status = trie_build(&u->trie, keys, n_keys, 0);
    free(keys);
    return status;
}
