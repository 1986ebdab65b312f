/*
 * The k best of a stream of (score, ordinal): score descending as float32, ties by ordinal ascending, the order of
 * every search. NaN scores are a bug of the caller.
 */
#ifndef BASE_TOPK_H
#define BASE_TOPK_H
#include "status.h"
#include <math.h>
#include <stdbool.h>

struct topk_hit {
    float score;
    uint32_t id;      /* caller's handle, e.g. row in a segment */
    uint64_t ordinal; /* decides ties, then the lower id */
};
struct topk {
    struct topk_hit *heap; /* worst first */
    size_t n, k;
};
MUST_USE enum trawl_status topk_init(struct topk *t, size_t k);
void topk_reset(struct topk *t, size_t k); /* k at most that of init */
/* A score must reach at least this to enter (equal scores enter by ordinal); -INFINITY while not full. */
static inline float topk_floor(const struct topk *t)
{
    return t->n < t->k ? -INFINITY : t->heap[0].score;
}
bool topk_push(struct topk *t, float score, uint32_t id, uint64_t ordinal);
/* Sorts best first, in place; the heap order is gone until topk_reset. */
size_t topk_sort(struct topk *t);
void topk_release(struct topk *t);

#endif
