#include "rules.h"
#include <assert.h>
#include <math.h>

enum { POOL_MAX = 1024 };

double mine_threshold(const struct mine_rule_options *options, double anchor)
{
    switch (options->rule) {
    case MINE_NAIVE:
    case MINE_SHIFTED:
        return INFINITY;
    case MINE_ABS:
        return options->value;
    case MINE_MARGIN:
        return anchor - options->value;
    case MINE_PERC:
        return anchor - (1.0 - options->value) * fabs(anchor);
    }
    return INFINITY;
}

/* Places in the ranking of the first K kept candidates. */
static size_t keep(uint32_t *places, const struct mine_candidate *ranking, size_t n, size_t K,
                   const struct mine_rule_options *options, double anchor)
{
    const double threshold = mine_threshold(options, anchor);
    size_t kept = 0;
    for (size_t i = options->rule == MINE_SHIFTED ? options->shift : 0; i < n && kept < K; i++)
        if (!ranking[i].excluded && !((double)ranking[i].score > threshold))
            places[kept++] = (uint32_t)i;
    return kept;
}

size_t mine_pick(uint32_t *picks, const struct mine_candidate *ranking, size_t n, size_t K,
                 const struct mine_rule_options *options, double anchor)
{
    size_t kept = keep(picks, ranking, n, K, options, anchor);
    for (size_t i = 0; i < kept; i++)
        picks[i] = ranking[picks[i]].index;
    return kept;
}

size_t mine_sample(uint32_t *picks, const struct mine_candidate *ranking, size_t n, size_t K, size_t best, size_t pool,
                   double temperature, const struct mine_rule_options *options, double anchor, struct rng *rng)
{
    uint32_t places[POOL_MAX];
    double keys[POOL_MAX];
    assert(pool <= POOL_MAX && best <= K && temperature > 0.0);
    size_t kept = keep(places, ranking, n, pool, options, anchor), n_picks = 0;
    for (size_t i = 0; i < kept; i++) {
        double gumbel = -log(-log(rng_uniform(rng) + 0x1p-54));
        keys[i] = i < best ? INFINITY : (double)ranking[places[i]].score / temperature + gumbel;
    }
    for (; n_picks < K && n_picks < kept; n_picks++) {
        size_t top = 0;
        for (size_t i = 1; i < kept; i++)
            if (keys[i] > keys[top])
                top = i;
        picks[n_picks] = ranking[places[top]].index;
        keys[top] = -INFINITY;
    }
    return n_picks;
}
