/*
 * The order in which a query's hits are evaluated. Most runs come sorted, which one pass finds out; else scores become
 * integers that sort the same way and go through three passes of a radix sort, and only equal scores compare ids.
 */
#include "base/mem.h"
#include "eval.h"
#include <stdlib.h>
#include <string.h>

struct ties {
    const struct doc_entry *items;
    const char *ids;
};

/* Id descending, as strcmp has it. */
static int compare_ids(const void *a, const void *b, void *ctx)
{
    const struct ties *t = ctx;
    return strcmp(t->ids + t->items[*(const uint32_t *)b].id, t->ids + t->items[*(const uint32_t *)a].id);
}

static bool is_sorted(const struct doc_list *list, const struct buf *ids)
{
    for (uint32_t i = 1; i < list->n; i++) {
        const struct doc_entry *a = &list->items[i - 1], *b = &list->items[i];
        if (a->score < b->score || (a->score == b->score && strcmp(ids->data + a->id, ids->data + b->id) < 0))
            return false;
    }
    return true;
}

/* Smaller for greater scores; both zeros are one. */
static uint32_t sort_key(float score)
{
    uint32_t bits;
    if (score == 0.0f)
        score = 0.0f;
    memcpy(&bits, &score, sizeof bits);
    if (score == 0.0f)
        bits = 0;
    return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
}

enum { RADIX_BITS = 11, RADIX = 1 << RADIX_BITS };

static void radix_pass(uint64_t *to, const uint64_t *from, size_t n, int shift)
{
    uint32_t begin[RADIX] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++)
        begin[from[i] >> shift & (RADIX - 1)]++;
    for (size_t d = 0; d < RADIX; d++) {
        uint32_t count = begin[d];
        begin[d] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        to[begin[from[i] >> shift & (RADIX - 1)]++] = from[i];
}

static void sort_ties(uint32_t *order, const uint64_t *keys, const struct doc_list *list, const struct buf *ids)
{
    struct ties ties = {list->items, ids->data};
    for (uint32_t begin = 0, end; begin < list->n; begin = end) {
        for (end = begin + 1; end < list->n && keys[end] >> 32 == keys[begin] >> 32; end++)
            ;
        if (end - begin > 1)
            qsort_r(order + begin, end - begin, sizeof *order, compare_ids, &ties);
    }
}

enum trawl_status eval_order(uint32_t *order, const struct doc_list *list, const struct buf *ids)
{
    if (is_sorted(list, ids)) {
        for (uint32_t i = 0; i < list->n; i++)
            order[i] = i;
        return TRAWL_OK;
    }
    uint64_t *keys = mem_aligned((size_t)list->n * 2, sizeof *keys);
    if (!keys)
        return mem_status();
    uint64_t *other = keys + list->n;
    for (uint32_t i = 0; i < list->n; i++)
        keys[i] = (uint64_t)sort_key(list->items[i].score) << 32 | i;
    radix_pass(other, keys, list->n, 32);
    radix_pass(keys, other, list->n, 32 + RADIX_BITS);
    radix_pass(other, keys, list->n, 32 + 2 * RADIX_BITS);
    for (uint32_t i = 0; i < list->n; i++)
        order[i] = (uint32_t)other[i];
    sort_ties(order, other, list, ids);
    free(keys);
    return TRAWL_OK;
}
