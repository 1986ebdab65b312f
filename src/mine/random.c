/* A teacher that knows nothing: uniform scores below 1, drawn by query and document; positives score 1. */
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "mine_int.h"
#include <stdlib.h>

enum { PURPOSE = 0x72616e64 };

struct random_teacher {
    struct mine_teacher base;
    uint64_t seed;
    /* of the block under way */
    struct collector *collectors;
    size_t begin;
};

static float draw(const struct random_teacher *t, size_t query, uint32_t doc)
{
    struct rng rng = rng_stream(t->seed, (uint32_t)query, PURPOSE);
    rng.counter = doc;
    return (float)(rng_next(&rng) >> 40) * 0x1p-24f;
}

static void rank_queries(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct random_teacher *t = ctx;
    size_t n_docs = doc_set_n(t->base.set->docs);
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct collector *c = &t->collectors[i];
        for (size_t p = 0; p < c->query->n_positives; p++)
            c->positives[p] = 1.0f;
        collector_begin(c);
        for (uint32_t doc = 0; doc < n_docs; doc++) {
            float score = draw(t, t->begin + i, doc);
            if (score >= c->floor)
                collector_push(c, doc, score);
        }
    }
}

static enum trawl_status rank(struct mine_teacher *base, struct collector *collectors, size_t begin, size_t n,
                              void (*step)(void *ctx, double share), void *ctx)
{
    struct random_teacher *t = (struct random_teacher *)base;
    t->collectors = collectors;
    t->begin = begin;
    pool_run(n, 16, rank_queries, t);
    step(ctx, 1.0);
    return TRAWL_OK;
}

static enum trawl_status score(struct mine_teacher *base, float *out, size_t query, const uint32_t *docs, size_t n)
{
    const struct mine_query *q = &base->set->items[query];
    for (size_t i = 0; i < n; i++) {
        out[i] = draw((const struct random_teacher *)base, query, docs[i]);
        for (size_t p = 0; p < q->n_positives; p++)
            if (q->positives[p] == docs[i])
                out[i] = 1.0f;
    }
    return TRAWL_OK;
}

static void close_teacher(struct mine_teacher *base)
{
    free(base);
}

enum trawl_status mine_teacher_random(struct mine_teacher **out, const struct mine_set *set, const char *name,
                                      uint64_t seed)
{
    struct random_teacher *t = mem_array(1, sizeof *t);
    *out = NULL;
    if (!t)
        return mem_status();
    t->base.rank = rank;
    t->base.score = score;
    t->base.close = close_teacher;
    t->seed = seed;
    enum trawl_status status = mine_teacher_begin(&t->base, set, name);
    if (status == TRAWL_OK)
        *out = &t->base;
    else
        mine_teacher_close(&t->base);
    return status;
}
