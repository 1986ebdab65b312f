#include "trie.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

struct span {
    uint32_t begin, end, depth; /* keys of a node, which share `depth` bytes */
};

static int compare(const void *a, const void *b)
{
    const struct trie_key *x = a, *y = b;
    uint32_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->bytes, y->bytes, n) : 0;
    if (order)
        return order;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* One key per string: the first or last of equal ones; empty ones are dropped. */
static size_t keep_unique(struct trie_key *keys, size_t n, int first_wins)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (keys[i].n == 0)
            continue;
        int same =
            kept > 0 && keys[kept - 1].n == keys[i].n && memcmp(keys[kept - 1].bytes, keys[i].bytes, keys[i].n) == 0;
        if (!same)
            keys[kept++] = keys[i];
        else if (!first_wins)
            keys[kept - 1] = keys[i];
    }
    return kept;
}

static size_t count_nodes(const struct trie_key *keys, size_t n)
{
    size_t total = 1;
    for (size_t i = 0; i < n; i++) {
        uint32_t shared = 0;
        while (i && shared < keys[i - 1].n && shared < keys[i].n && keys[i - 1].bytes[shared] == keys[i].bytes[shared])
            shared++;
        total += keys[i].n - shared;
    }
    return total;
}

/* Gives node `at` its value and its children, which are appended as nodes with their spans. */
static void expand(struct trie *trie, struct span *spans, const struct trie_key *keys, size_t at)
{
    struct trie_node *node = &trie->nodes[at];
    uint32_t depth = spans[at].depth, i = spans[at].begin;
    if (i < spans[at].end && keys[i].n == depth)
        node->value = keys[i++].value;
    node->first = (uint32_t)trie->n_nodes;
    while (i < spans[at].end) {
        unsigned char byte = (unsigned char)keys[i].bytes[depth];
        uint32_t begin = i;
        while (i < spans[at].end && (unsigned char)keys[i].bytes[depth] == byte)
            i++;
        spans[trie->n_nodes] = (struct span){begin, i, depth + 1};
        trie->nodes[trie->n_nodes++] = (struct trie_node){.byte = byte, .value = TRIE_NONE};
        node->n_children++;
    }
}

enum trawl_status trie_build(struct trie *trie, struct trie_key *keys, size_t n, int first_wins)
{
    *trie = (struct trie){0};
    memset(trie->root, 0xff, sizeof trie->root);
    if (n)
        qsort(keys, n, sizeof *keys, compare);
    n = keep_unique(keys, n, first_wins);
    size_t n_nodes = count_nodes(keys, n);
    if (n_nodes >= TRIE_NONE)
        return fail(TRAWL_LIMIT, "a trie of %zu nodes is too large", n_nodes);
    struct span *spans = mem_array(n_nodes, sizeof *spans);
    trie->nodes = mem_array(n_nodes, sizeof *trie->nodes);
    if (!spans || !trie->nodes) {
        free(spans);
        return mem_status();
    }
    trie->nodes[0].value = TRIE_NONE;
    trie->n_nodes = 1;
    spans[0] = (struct span){0, (uint32_t)n, 0};
    for (size_t at = 0; at < trie->n_nodes; at++)
        expand(trie, spans, keys, at);
    free(spans);
    for (uint32_t i = 0; i < trie->nodes[0].n_children; i++)
        trie->root[trie->nodes[trie->nodes[0].first + i].byte] = trie->nodes[0].first + i;
    return TRAWL_OK;
}

void trie_release(struct trie *trie)
{
    free(trie->nodes);
    *trie = (struct trie){0};
}

uint32_t trie_walk(const struct trie *trie, uint32_t node, const char *bytes, size_t n)
{
    if (!trie->nodes)
        return TRIE_NONE;
    for (size_t i = 0; i < n && node != TRIE_NONE; i++)
        node = trie_next(trie, node, (unsigned char)bytes[i]);
    return node;
}
