#include "passages.h"
#include "base/mem.h"
#include <stdlib.h>

static enum trawl_status find_words(struct passages *p, const char *text, size_t n, size_t *n_words)
{
    *n_words = 0;
    for (size_t begin = 0, end = 0;; begin = end) {
        bool found, ascii;
        TRY(words_next(&p->words, text, n, &begin, &end, &found, &ascii));
        if (!found)
            return TRAWL_OK;
        TRY(mem_grow((void **)&p->starts, &p->starts_cap, *n_words + 1, sizeof *p->starts));
        p->starts[(*n_words)++] = begin;
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

enum trawl_status passages_cut(struct passages *p, const char *text, size_t n, size_t split, size_t overlap)
{
    size_t n_words;
    TRY(find_words(p, text, n, &n_words));
    p->n = 0;
    for (size_t first = 0;; first += split - overlap) {
        bool last = n_words - first <= split;
        struct passage passage = {first ? p->starts[first] : 0, last ? n : p->starts[first + split]};
        while (passage.end > passage.begin && is_space(text[passage.end - 1]))
            passage.end--;
        TRY(mem_grow((void **)&p->items, &p->cap, p->n + 1, sizeof *p->items));
        p->items[p->n++] = passage;
        if (last)
            return TRAWL_OK;
    }
}

void passages_release(struct passages *p)
{
    words_release(&p->words);
    free(p->items);
    free(p->starts);
    *p = (struct passages){0};
}
