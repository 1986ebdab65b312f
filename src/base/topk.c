/* A binary heap with the worst hit on top. */
#include "topk.h"
#include "mem.h"
#include <stdlib.h>

/* Total order of every search: higher score first, then the lower ordinal (rows of one document: the lower id). */
static bool better(const struct topk_hit *a, const struct topk_hit *b)
{
    if (a->score != b->score)
        return a->score > b->score;
    return a->ordinal < b->ordinal || (a->ordinal == b->ordinal && a->id < b->id);
}

static void sift_up(struct topk_hit *heap, size_t i, struct topk_hit hit)
{
    while (i > 0 && better(&heap[(i - 1) / 2], &hit)) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = hit;
}

static void sift_down(struct topk_hit *heap, size_t n, size_t i, struct topk_hit hit)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && better(&heap[child], &heap[child + 1]))
            child++;
        if (!better(&hit, &heap[child]))
            break;
        heap[i] = heap[child];
    }
    heap[i] = hit;
}

enum trawl_status topk_init(struct topk *t, size_t k)
{
    *t = (struct topk){.heap = mem_array(k, sizeof *t->heap), .k = k};
    return t->heap ? TRAWL_OK : mem_status();
}

void topk_reset(struct topk *t, size_t k)
{
    t->n = 0;
    t->k = k;
}

bool topk_push(struct topk *t, float score, uint32_t id, uint64_t ordinal)
{
    struct topk_hit hit = {.score = score, .id = id, .ordinal = ordinal};
    if (t->n < t->k) {
        sift_up(t->heap, t->n++, hit);
        return true;
    }
    if (!t->k || !better(&hit, &t->heap[0]))
        return false;
    sift_down(t->heap, t->n, 0, hit);
    return true;
}

size_t topk_sort(struct topk *t)
{
    for (size_t n = t->n; n > 1; n--) {
        struct topk_hit last = t->heap[n - 1];
        t->heap[n - 1] = t->heap[0];
        sift_down(t->heap, n - 1, 0, last);
    }
    return t->n;
}

void topk_release(struct topk *t)
{
    if (!t)
        return;
    free(t->heap);
    *t = (struct topk){0};
}
