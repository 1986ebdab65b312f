/*
 * Added tokens: looked for in the text before the model sees it, the longest of those that begin leftmost. Those with
 * `normalized` are looked for in the normalised text, by their own normalised form; the others in the text as given.
 */
#include "added.h"
#include "base/mem.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>

enum trawl_status tokenizer_add(struct tokenizer *t, const struct added *added)
{
    TRY(mem_grow((void **)&t->added, &t->added_cap, t->n_added + 1, sizeof *t->added));
    t->added[t->n_added++] = *added;
    return TRAWL_OK;
}

/* Trie over the added tokens of one kind; special ones come first, as in the reference, and the first of equals wins.
 */
static enum trawl_status build_matcher(struct tokenizer *t, struct matcher *m, bool normalized,
                                       struct tokenizer_scratch *s)
{
    enum trawl_status status = TRAWL_OK;
    struct buf texts = {0};
    struct trie_key *keys = mem_array(t->n_added, sizeof *keys);
    size_t *at = mem_array(t->n_added + 1, sizeof *at), n_keys = 0;
    if (!keys || !at) {
        status = mem_status();
        goto out;
    }
    for (uint32_t i = 0; i < t->n_added; i++) {
        size_t n;
        const char *text = vocab_text(&t->vocab, t->added[i].id, &n);
        if (t->added[i].normalized != normalized)
            continue;
        if (normalized) {
            TRY_OUT(normalize_text(t, s, text, n, &text, &n));
            t->added[i].normal = (struct slice){(uint32_t)t->normal_texts.n, (uint32_t)n};
            TRY_OUT(buf_append(&t->normal_texts, text, n));
        }
        at[n_keys] = texts.n;
        TRY_OUT(buf_append(&texts, text, n));
        keys[n_keys].n = (uint32_t)n;
        keys[n_keys++].value = i + (t->added[i].special ? 0 : (uint32_t)t->n_added);
    }
    for (size_t i = 0; i < n_keys; i++)
        keys[i].bytes = texts.data + at[i];
    TRY_OUT(trie_build(&m->trie, keys, n_keys, 1));
    for (size_t i = 0; i < m->trie.n_nodes; i++)
        if (m->trie.nodes[i].value != TRIE_NONE) {
            m->trie.nodes[i].value %= (uint32_t)t->n_added;
            m->any = true;
            m->any_plain = m->any_plain || !t->added[m->trie.nodes[i].value].special;
        }
    for (int b = 0; b < 256; b++)
        m->first[b] = m->trie.root[b] != TRIE_NONE;
out:
    buf_release(&texts);
    free(keys);
    free(at);
    return status;
}

enum trawl_status added_finish(struct tokenizer *t)
{
    struct tokenizer_scratch *s;
    TRY(tokenizer_scratch_new(&s));
    enum trawl_status status = build_matcher(t, &t->raw, false, s);
    if (!status)
        status = build_matcher(t, &t->normalized, true, s);
    tokenizer_scratch_free(s);
    return status;
}

/* Longest token at text[at], -1: none. */
static int64_t longest_at(const struct matcher *m, const char *text, size_t n, size_t at, size_t *end)
{
    int64_t found = -1;
    uint32_t node = 0;
    for (size_t i = at; i < n;) {
        node = trie_next(&m->trie, node, (unsigned char)text[i++]);
        if (node == TRIE_NONE)
            break;
        if (m->trie.nodes[node].value != TRIE_NONE) {
            found = m->trie.nodes[node].value;
            *end = i;
        }
    }
    return found;
}

static bool stands_alone(const char *text, size_t n, size_t begin, size_t end)
{
    unsigned length;
    return (begin == 0 || !unicode_is(utf8_before(text, begin, &length), U_WORD)) &&
           (end == n || !unicode_is(utf8_at(text + end, &length), U_WORD));
}

bool added_next(const struct tokenizer *t, const struct matcher *m, const char *text, size_t n, bool parse_special,
                size_t *from, struct added_match *match)
{
    if (!m->any || (!parse_special && !m->any_plain))
        return false;
    size_t floor = match->end, at = *from;
    while (at < n) {
        size_t end = 0;
        if (!m->first[(unsigned char)text[at]]) {
            at++;
            continue;
        }
        int64_t found = longest_at(m, text, n, at, &end);
        if (found < 0) {
            at++;
            continue;
        }
        const struct added *added = &t->added[found];
        size_t begin = at;
        unsigned length;
        *from = at = end;
        if ((added->special && !parse_special) || (added->single_word && !stands_alone(text, n, begin, end)))
            continue;
        while (added->lstrip && begin > floor && unicode_is(utf8_before(text, begin, &length), U_SPACE))
            begin -= length;
        while (added->rstrip && end < n && unicode_is(utf8_at(text + end, &length), U_SPACE))
            end += length;
        *match = (struct added_match){begin, end, added->id};
        return true;
    }
    return false;
}
