/* Picks and thresholds against test/golden/mining; sampling against its own definition. */
#include "../golden.h"
#include "data/vectors.h"
#include "mine/rules.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct npy scores, content;
static bool *positive; /* (Q,N) */
static size_t Q, N;

static void open_npy(struct npy *npy, const char *name)
{
    char path[4096];
    assert_int_equal(npy_open(npy, golden_path(path, name)), TRAWL_OK);
}

static FILE *open_table(const char *name)
{
    char path[4096], line[1024];
    FILE *f = fopen(golden_path(path, name), "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    return f;
}

static int open_all(void **state)
{
    unsigned q, p;
    (void)state;
    open_npy(&scores, "mining/scores.npy");
    open_npy(&content, "mining/content_ids.npy");
    Q = scores.shape[0];
    N = scores.shape[1];
    positive = calloc(Q * N, sizeof *positive);
    FILE *f = open_table("mining/positives.tsv");
    while (fscanf(f, "%u %u", &q, &p) == 2)
        positive[q * N + p] = true;
    fclose(f);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    npy_close(&scores);
    npy_close(&content);
    free(positive);
    return 0;
}

static int better(const void *a, const void *b)
{
    const struct mine_candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* The query's ranking with its positives and their copies marked; returns the least score of its positives. */
static double rank_query(struct mine_candidate *ranking, size_t q)
{
    double anchor = INFINITY;
    for (size_t i = 0; i < N; i++)
        ranking[i] = (struct mine_candidate){(uint32_t)i, (float)npy_get(&scores, q * N + i), false};
    for (size_t p = 0; p < N; p++) {
        if (!positive[q * N + p])
            continue;
        anchor = fmin(anchor, (double)ranking[p].score);
        for (size_t i = 0; i < N; i++)
            if (npy_get(&content, i) == npy_get(&content, p))
                ranking[i].excluded = true;
    }
    qsort(ranking, N, sizeof *ranking, better);
    return anchor;
}

/* Names such as "margin_margin0.05", "shifted_n10", "topk". */
static struct mine_rule_options parse(const char *method)
{
    struct mine_rule_options o = {.rule = MINE_NAIVE};
    if (sscanf(method, "shifted_n%zu", &o.shift) == 1)
        o.rule = MINE_SHIFTED;
    else if (sscanf(method, "absolute_value%lf", &o.value) == 1)
        o.rule = MINE_ABS;
    else if (sscanf(method, "margin_margin%lf", &o.value) == 1)
        o.rule = MINE_MARGIN;
    else if (sscanf(method, "percent_perc%lf", &o.value) == 1)
        o.rule = MINE_PERC;
    else
        assert_string_equal(method, "topk");
    return o;
}

static void picks_equal(void **state)
{
    struct mine_candidate *ranking = calloc(N, sizeof *ranking);
    char method[128], line[1024];
    unsigned q, count;
    size_t n_rows = 0;
    FILE *f = open_table("mining/picks.tsv");
    (void)state;
    while (fgets(line, sizeof line, f)) {
        uint32_t picks[64];
        int at;
        assert_int_equal(sscanf(line, "%127s %u %u%n", method, &q, &count, &at), 3);
        int wanted[64];
        size_t K = 0;
        for (char *rest = line + at, *end; K < 64; rest = end) {
            long pick = strtol(rest, &end, 10);
            if (end == rest)
                break;
            wanted[K++] = (int)pick;
        }
        struct mine_rule_options options = parse(method);
        double anchor = rank_query(ranking, q);
        size_t n = mine_pick(picks, ranking, N, K, &options, anchor);
        for (size_t i = 0; i < K; i++)
            if ((i < n ? (int)picks[i] : -1) != wanted[i])
                fail_msg("%s query %u pick %zu: %d, wanted %d", method, q, i, i < n ? (int)picks[i] : -1, wanted[i]);
        n_rows++;
    }
    fclose(f);
    free(ranking);
    assert_true(n_rows > 0);
}

static void thresholds_equal(void **state)
{
    struct mine_candidate *ranking = calloc(N, sizeof *ranking);
    char method[128];
    unsigned q;
    double anchor, threshold;
    FILE *f = open_table("mining/thresholds.tsv");
    (void)state;
    while (fscanf(f, "%127s %u %lf %lf", method, &q, &anchor, &threshold) == 4) {
        struct mine_rule_options options = parse(method);
        double mine = rank_query(ranking, q), limit = mine_threshold(&options, mine);
        assert_true(fabs(mine - anchor) < 1e-12);
        assert_true(isinf(threshold) ? isinf(limit) : fabs(limit - threshold) < 1e-12);
    }
    fclose(f);
    free(ranking);
}

/* Drawing one of three 60,000 times: frequencies within five standard errors of the softmax of the scores. */
static void samples_follow_softmax(void **state)
{
    const struct mine_candidate ranking[] = {{7, 1.0f, false}, {3, 0.9f, true}, {5, 0.5f, false}, {2, 0.0f, false}};
    const struct mine_rule_options options = {.rule = MINE_NAIVE};
    enum { DRAWS = 60000 };
    size_t seen[8] = {0};
    double sum = exp(2.0) + exp(1.0) + 1.0, p[] = {exp(2.0) / sum, exp(1.0) / sum, 1.0 / sum};
    const uint32_t index[] = {7, 5, 2};
    (void)state;
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct rng rng = rng_stream(1, i, 0);
        uint32_t pick;
        assert_int_equal(mine_sample(&pick, ranking, 4, 1, 0, 10, 0.5, &options, 1.0, &rng), 1);
        seen[pick]++;
    }
    assert_int_equal(seen[3], 0);
    for (int i = 0; i < 3; i++)
        assert_true(fabs((double)seen[index[i]] / DRAWS - p[i]) < 5.0 * sqrt(p[i] * (1.0 - p[i]) / DRAWS));
}

/* The best is always there, and nothing comes twice. */
static void best_and_sampled(void **state)
{
    const struct mine_candidate ranking[] = {{7, 1.0f, false}, {3, 0.9f, false}, {5, 0.5f, false}, {2, 0.0f, false}};
    const struct mine_rule_options options = {.rule = MINE_NAIVE};
    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        struct rng rng = rng_stream(2, i, 0);
        uint32_t picks[3];
        assert_int_equal(mine_sample(picks, ranking, 4, 3, 1, 10, 0.5, &options, 1.0, &rng), 3);
        assert_int_equal(picks[0], 7);
        assert_true(picks[1] != picks[2] && picks[1] != 7 && picks[2] != 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_equal),
        cmocka_unit_test(thresholds_equal),
        cmocka_unit_test(samples_follow_softmax),
        cmocka_unit_test(best_and_sampled),
    };
    return cmocka_run_group_tests_name("mining rules", tests, open_all, close_all);
}
