/* Documents from rows, and fusion (defined in search.h), over one small hash table that is emptied by a stamp. */
#include "fuse.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

void fuser_init(struct fuser *f, const struct index *ix)
{
    *f = (struct fuser){.ix = ix};
}

void fuser_release(struct fuser *f)
{
    free(f->keys);
    free(f->places);
    free(f->stamps);
    free(f->list);
    topk_release(&f->best);
    *f = (struct fuser){0};
}

static enum trawl_status grow_table(struct fuser *f, size_t n)
{
    size_t slots = 64;
    while (slots < 4 * n) /* two lists, half full at most */
        slots *= 2;
    free(f->keys);
    free(f->places);
    free(f->stamps);
    free(f->list);
    f->keys = mem_array(slots, sizeof *f->keys);
    f->places = mem_array(slots, sizeof *f->places);
    f->stamps = mem_array(slots, sizeof *f->stamps);
    f->list = mem_array(2 * n, sizeof *f->list);
    f->mask = slots - 1;
    f->stamp = 0;
    f->cap = 0;
    if (!f->keys || !f->places || !f->stamps || !f->list)
        return mem_status();
    f->cap = n;
    return TRAWL_OK;
}

enum trawl_status fuser_reserve(struct fuser *f, size_t n, size_t k)
{
    if (n > UINT32_MAX / 8)
        return fail(TRAWL_LIMIT, "lists of %zu hits cannot be put together", n);
    if (n > f->cap)
        TRY(grow_table(f, n));
    if (k <= f->best_cap)
        return TRAWL_OK;
    topk_release(&f->best);
    f->best_cap = 0;
    TRY(topk_init(&f->best, k));
    f->best_cap = k;
    return TRAWL_OK;
}

static void start(struct fuser *f)
{
    if (++f->stamp == 0) { /* wrapped: old stamps would look new */
        memset(f->stamps, 0, (f->mask + 1) * sizeof *f->stamps);
        f->stamp = 1;
    }
}

static uint64_t document_of(const struct index *ix, const struct index_hit *hit)
{
    const struct index_segment *segment = index_segment(ix, hit->segment);
    uint32_t document = segment->documents ? segment->documents[hit->row] : hit->row;
    return (uint64_t)hit->segment << 32 | document;
}

/* Place of the document, which becomes `place` if it has none. */
static uint32_t place_of(struct fuser *f, uint64_t document, uint32_t place)
{
    size_t slot = (size_t)(document * UINT64_C(0x9e3779b97f4a7c15) >> 20) & f->mask;
    for (; f->stamps[slot] == f->stamp; slot = (slot + 1) & f->mask)
        if (f->keys[slot] == document)
            return f->places[slot];
    f->stamps[slot] = f->stamp;
    f->keys[slot] = document;
    f->places[slot] = place;
    return place;
}

size_t fuser_documents(struct fuser *f, struct index_hit *hits, size_t n)
{
    size_t kept = 0;
    start(f);
    for (size_t i = 0; i < n; i++)
        if (place_of(f, document_of(f->ix, &hits[i]), (uint32_t)kept) == kept)
            hits[kept++] = hits[i];
    return kept;
}

struct side {
    const struct index_hit *hits;
    size_t n;
    double weight; /* of this side's scores, weighted fusion */
};

/* What the hit of rank i (from 0) of a side adds to its document. */
static double share(const struct side *side, size_t i, const struct search_options *options)
{
    if (options->fusion == SEARCH_RRF)
        return 1.0 / (options->rrf_k + (double)(i + 1));
    double most = (double)side->hits[0].score, least = (double)side->hits[side->n - 1].score;
    return side->weight * (most > least ? ((double)side->hits[i].score - least) / (most - least) : 1.0);
}

/* The row shown is that of the side which ranks the document higher, the first side's where they agree. */
static size_t add_side(struct fuser *f, size_t n, const struct side *side, const struct search_options *options)
{
    for (size_t i = 0; i < side->n; i++) {
        uint32_t place = place_of(f, document_of(f->ix, &side->hits[i]), (uint32_t)n);
        struct fused *one = &f->list[place];
        if (place == n) {
            *one = (struct fused){.hit = side->hits[i], .rank = i};
            n++;
        } else if (i < one->rank) {
            one->hit = side->hits[i];
            one->rank = i;
        }
        one->score += share(side, i, options);
    }
    return n;
}

size_t fuser_fuse(struct fuser *f, struct index_hit *out, size_t k, const struct index_hit *lexical, size_t n_lexical,
                  const struct index_hit *dense, size_t n_dense, const struct search_options *options)
{
    const struct side sides[2] = {{lexical, n_lexical, 1.0 - options->weight}, {dense, n_dense, options->weight}};
    size_t n = 0;
    start(f);
    for (size_t s = 0; s < 2; s++)
        n = add_side(f, n, &sides[s], options);
    topk_reset(&f->best, k);
    for (size_t i = 0; i < n; i++)
        topk_push(&f->best, (float)f->list[i].score, (uint32_t)i, f->list[i].hit.ordinal);
    topk_sort(&f->best);
    for (size_t i = 0; i < f->best.n; i++) {
        out[i] = f->list[f->best.heap[i].id].hit;
        out[i].score = f->best.heap[i].score;
    }
    return f->best.n;
}
