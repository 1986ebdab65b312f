/* Inside mine: a teacher and the candidates that it collects. */
#ifndef MINE_INT_H
#define MINE_INT_H
#include "base/topk.h"
#include "mine.h"

/*
 * Candidates of one query as they are scored, in any order: the best of the raw ranking, and for each rule with a
 * threshold the best that it leaves. Positives' scores come first, since thresholds stand on them.
 */
struct collector {
    const struct mine_query *query;
    const struct mine_plan *plan;
    double anchor, thresholds[MINE_RULES];
    struct topk raw, kept[MINE_RULES];
    float *positives; /* (n_positives) */
    float floor;      /* a score below it changes nothing */
};
/* positives are set by the teacher, NaN for those it has no score of; then collector_begin. */
MUST_USE enum trawl_status collector_init(struct collector *c, const struct mine_query *query,
                                          const struct mine_plan *plan);
void collector_begin(struct collector *c);
void collector_push(struct collector *c, uint32_t doc, float score);
/* Every list is full. */
bool collector_is_full(const struct collector *c);
void collector_clear(struct collector *c); /* as after collector_init */
void collector_sort(struct collector *c);
void collector_release(struct collector *c);
bool mine_is_excluded(const struct mine_query *query, uint32_t doc);

enum { MINE_BLOCK = 2048 }; /* queries ranked together: one pass over the documents, one block of the journal */

struct mine_teacher {
    const struct mine_set *set;
    char *name;
    /* Scores documents for queries [begin, begin + n) into collectors (n), which are initialised; n <= MINE_BLOCK. */
    enum trawl_status (*rank)(struct mine_teacher *t, struct collector *collectors, size_t begin, size_t n,
                              void (*step)(void *ctx, double share), void *ctx);
    enum trawl_status (*score)(struct mine_teacher *t, float *out, size_t query, const uint32_t *docs, size_t n);
    void (*close)(struct mine_teacher *t);
};
MUST_USE enum trawl_status mine_teacher_begin(struct mine_teacher *t, const struct mine_set *set, const char *name);

#endif
