/*
 * WordPiece: the longest token that the rest of the word begins with, again and again; a word that cannot be taken
 * apart so, or that is longer than the model allows, is one unknown token.
 */
#include "base/mem.h"
#include "tokenizer_int.h"
#include "unicode.h"
#include <stdlib.h>

static size_t count_chars(const char *text, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += (text[i] & 0xc0) != 0x80;
    return chars;
}

enum trawl_status wordpiece_piece(const struct tokenizer *t, struct ids *out, const char *piece, size_t n)
{
    const struct wordpiece *w = &t->wordpiece;
    size_t before = out->n;
    if (n > w->max_chars && count_chars(piece, n) > w->max_chars)
        return ids_push(out, w->unk);
    for (size_t begin = 0; begin < n;) {
        uint32_t node = begin ? w->continuing : 0, id = ID_NONE;
        size_t end = begin;
        for (size_t i = begin; i < n && node != TRIE_NONE; i++) {
            node = trie_next(&w->trie, node, (unsigned char)piece[i]);
            if (node != TRIE_NONE && w->trie.nodes[node].value != TRIE_NONE) {
                id = w->trie.nodes[node].value;
                end = i + 1;
            }
        }
        if (id == ID_NONE) {
            out->n = before;
            return ids_push(out, w->unk);
        }
        TRY(ids_push(out, id));
        begin = end;
    }
    return TRAWL_OK;
}

enum trawl_status wordpiece_finish(struct tokenizer *t, const char *prefix, size_t n_prefix)
{
    struct trie_key *keys = mem_array(t->vocab.n, sizeof *keys);
    if (!keys)
        return mem_status();
    size_t n_keys = 0;
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        size_t n;
        const char *text = vocab_text(&t->vocab, id, &n);
        if (t->vocab.kinds[id] & TOKEN_IN_MODEL)
            keys[n_keys++] = (struct trie_key){text, (uint32_t)n, id};
    }
    enum trawl_status status = trie_build(&t->wordpiece.trie, keys, n_keys, 0);
    free(keys);
    if (!status)
        t->wordpiece.continuing = trie_walk(&t->wordpiece.trie, 0, prefix, n_prefix);
    return status;
}
