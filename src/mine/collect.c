#include "base/mem.h"
#include "mine_int.h"
#include <stdlib.h>
#include <string.h>

bool mine_is_excluded(const struct mine_query *query, uint32_t doc)
{
    size_t low = 0, high = query->n_excluded;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (query->excluded[middle] < doc)
            low = middle + 1;
        else
            high = middle;
    }
    return low < query->n_excluded && query->excluded[low] == doc;
}

/* Places of the raw ranking that are needed: those asked for, and all that a shift may have to walk over. */
static size_t raw_depth(const struct mine_query *query, const struct mine_plan *plan)
{
    size_t depth = plan->depth;
    for (size_t r = 0; r < plan->n_rules; r++) {
        size_t walk = plan->rules[r].shift + plan->keep + query->n_excluded;
        if (plan->rules[r].rule == MINE_SHIFTED && walk > depth)
            depth = walk;
    }
    return depth;
}

enum trawl_status collector_init(struct collector *c, const struct mine_query *query, const struct mine_plan *plan)
{
    *c = (struct collector){.query = query, .plan = plan};
    c->positives = mem_array(query->n_positives, sizeof *c->positives);
    if (!c->positives)
        return mem_status();
    TRY(topk_init(&c->raw, raw_depth(query, plan)));
    for (size_t r = 0; r < plan->n_rules; r++)
        if (plan->rules[r].rule != MINE_SHIFTED)
            TRY(topk_init(&c->kept[r], plan->keep));
    return TRAWL_OK;
}

double mine_anchor_of(const float *scores, size_t n, enum mine_anchor anchor)
{
    double least = NAN, most = NAN, sum = 0.0;
    size_t scored = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(scores[i]))
            continue;
        least = fmin(least, (double)scores[i]);
        most = fmax(most, (double)scores[i]);
        sum += (double)scores[i];
        scored++;
    }
    if (!scored)
        return NAN;
    return anchor == MINE_ANCHOR_MIN ? least : anchor == MINE_ANCHOR_MAX ? most : sum / (double)scored;
}

static void set_floor(struct collector *c)
{
    c->floor = c->raw.k ? topk_floor(&c->raw) : INFINITY;
    for (size_t r = 0; r < c->plan->n_rules; r++)
        if (c->kept[r].k)
            c->floor = fminf(c->floor, topk_floor(&c->kept[r]));
}

void collector_begin(struct collector *c)
{
    c->anchor = mine_anchor_of(c->positives, c->query->n_positives, c->plan->anchor);
    for (size_t r = 0; r < c->plan->n_rules; r++) {
        double threshold = mine_threshold(&c->plan->rules[r], c->anchor);
        c->thresholds[r] = isnan(threshold) ? -INFINITY : threshold; /* nothing to compare with: nothing is kept */
    }
    set_floor(c);
}

void collector_push(struct collector *c, uint32_t doc, float score)
{
    bool changed = topk_push(&c->raw, score, doc, doc), excluded = false, asked = false;
    for (size_t r = 0; r < c->plan->n_rules; r++) {
        struct topk *kept = &c->kept[r];
        if (!kept->k || (double)score > c->thresholds[r] || score < topk_floor(kept))
            continue;
        if (!asked)
            excluded = mine_is_excluded(c->query, doc);
        asked = true;
        if (excluded)
            break;
        changed |= topk_push(kept, score, doc, doc);
    }
    if (changed)
        set_floor(c);
}

bool collector_is_full(const struct collector *c)
{
    bool full = c->raw.n == c->raw.k;
    for (size_t r = 0; r < c->plan->n_rules; r++)
        full &= c->kept[r].n == c->kept[r].k;
    return full;
}

void collector_clear(struct collector *c)
{
    topk_reset(&c->raw, c->raw.k);
    for (size_t r = 0; r < c->plan->n_rules; r++)
        topk_reset(&c->kept[r], c->kept[r].k);
}

void collector_sort(struct collector *c)
{
    topk_sort(&c->raw);
    for (size_t r = 0; r < c->plan->n_rules; r++)
        topk_sort(&c->kept[r]);
}

void collector_release(struct collector *c)
{
    topk_release(&c->raw);
    for (size_t r = 0; r < MINE_RULES; r++)
        topk_release(&c->kept[r]);
    free(c->positives);
    *c = (struct collector){0};
}
