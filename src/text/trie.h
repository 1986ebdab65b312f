/*
 * A trie over byte strings with values, built once from a sorted list. Nodes are numbered breadth-first, so the
 * children of a node lie side by side; the root has a direct table.
 */
#ifndef TEXT_TRIE_H
#define TEXT_TRIE_H
#include "base/status.h"

#define TRIE_NONE UINT32_MAX
struct trie_key {
    const char *bytes;
    uint32_t n, value;
};
struct trie_node {
    uint32_t first; /* its children are nodes first .. first + n_children - 1, in order of their bytes */
    uint16_t n_children;
    uint8_t byte; /* that leads here */
    uint32_t value;
};
struct trie {
    struct trie_node *nodes; /* node 0 is the root; NULL: empty trie */
    size_t n_nodes;
    uint32_t root[256];
};
/* Sorts keys in place; empty keys are left out; of equal keys the one given last wins, or the first if `first_wins`. */
MUST_USE enum trawl_status trie_build(struct trie *trie, struct trie_key *keys, size_t n, int first_wins);
void trie_release(struct trie *trie);

/* Child of a node by byte, TRIE_NONE: none. */
static inline uint32_t trie_next(const struct trie *trie, uint32_t node, unsigned char byte)
{
    if (node == 0)
        return trie->root[byte];
    const struct trie_node *at = &trie->nodes[node];
    const struct trie_node *child = trie->nodes + at->first;
    uint32_t n = at->n_children;
    while (n > 8) {
        uint32_t half = n / 2;
        child = child[half].byte <= byte ? child + half : child;
        n -= half;
    }
    for (uint32_t i = 0; i < n; i++)
        if (child[i].byte == byte)
            return (uint32_t)(child + i - trie->nodes);
    return TRIE_NONE;
}
/* Node that the bytes lead to from `node`, TRIE_NONE: none. */
uint32_t trie_walk(const struct trie *trie, uint32_t node, const char *bytes, size_t n);

#endif
