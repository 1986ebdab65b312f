/* Every value that trec_eval gave for the reference runs; the order of ties; the paired tests against SciPy. */
#include "../golden.h"
#include "base/file.h"
#include "eval/eval.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char *const pairs[] = {"graded", "ties", "odd", "deep"};
#define N_PAIRS (sizeof pairs / sizeof *pairs)

struct fixture {
    struct qrels qrels;
    struct run run;
};

static void load(struct fixture *f, const char *pair)
{
    char name[128], path[4096];
    snprintf(name, sizeof name, "eval/%s.qrels", pair);
    if (qrels_read(&f->qrels, golden_path(path, name)) != TRAWL_OK)
        fail_msg("%s", trawl_message());
    snprintf(name, sizeof name, "eval/%s.run", pair);
    if (run_read(&f->run, golden_path(path, name)) != TRAWL_OK)
        fail_msg("%s", trawl_message());
}

static void unload(struct fixture *f)
{
    qrels_release(&f->qrels);
    run_release(&f->run);
}

/* Calls check for every line of a TAB-separated file behind its header. */
static void each_line(const char *name, void (*check)(void *ctx, char **columns), void *ctx)
{
    char path[4096];
    struct line_reader *lines;
    const char *line;
    size_t n;
    assert_int_equal(line_reader_open(&lines, golden_path(path, name)), TRAWL_OK);
    assert_int_equal(line_next(lines, &line, &n), TRAWL_OK);
    for (;;) {
        char copy[1024], *columns[5] = {copy}, *at = copy;
        assert_int_equal(line_next(lines, &line, &n), TRAWL_OK);
        if (!line)
            break;
        assert_true(n < sizeof copy);
        memcpy(copy, line, n);
        copy[n] = '\0';
        for (size_t i = 1; i < 5 && (at = strchr(at, '\t')); i++) {
            *at++ = '\0';
            columns[i] = at;
        }
        check(ctx, columns);
    }
    line_reader_close(lines);
}

/* ---- values ---- */

struct values {
    const struct fixture *f;
    size_t n_checked;
};

static double value_of(const struct fixture *f, const char *measure, const char *query)
{
    struct measures m = {0};
    struct eval_result r;
    double value = NAN;
    bool complete = strcmp(query, "all_complete") == 0;
    if (measures_parse(&m, measure) != TRAWL_OK)
        fail_msg("%s", trawl_message());
    assert_int_equal(m.n, 1);
    assert_string_equal(m.items[0].name, measure);
    assert_int_equal(eval_run(&r, &f->qrels, &f->run, &m, &(struct eval_options){.complete = complete}), TRAWL_OK);
    if (complete || strcmp(query, "all") == 0)
        value = r.all[0];
    for (size_t q = 0; q < r.n_queries; q++) {
        size_t n;
        const char *id = map_key(&f->qrels.queries, r.queries[q], &n);
        if (n == strlen(query) && memcmp(id, query, n) == 0)
            value = r.values[q];
    }
    eval_result_release(&r);
    measures_release(&m);
    return value;
}

static void check_value(void *ctx, char **columns)
{
    struct values *v = ctx;
    char printed[64];
    double wanted = strtod(columns[3], NULL), got = value_of(v->f, columns[0], columns[1]);
    if (!(fabs(got - wanted) <= 1e-9))
        fail_msg("%s of %s: %.17g, wanted %.17g", columns[0], columns[1], got, wanted);
    snprintf(printed, sizeof printed, strchr(columns[2], '.') ? "%.4f" : "%.0f", got);
    if (strcmp(printed, columns[2]) != 0)
        fail_msg("%s of %s: printed %s, wanted %s", columns[0], columns[1], printed, columns[2]);
    v->n_checked++;
}

static void all_values_are_trec_evals(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PAIRS; i++) {
        struct fixture f;
        char name[128];
        struct values v = {.f = &f};
        load(&f, pairs[i]);
        snprintf(name, sizeof name, "eval/%s.expected.tsv", pairs[i]);
        each_line(name, check_value, &v);
        assert_true(v.n_checked > 100);
        unload(&f);
    }
}

/* ---- order ---- */

struct order {
    const struct fixture *f;
    uint32_t list[4096];
    char query[64];
};

static void check_order(void *ctx, char **columns)
{
    struct order *o = ctx;
    uint32_t q = map_find(&o->f->run.queries, columns[0], strlen(columns[0]));
    assert_true(q != MAP_NONE && o->f->run.items[q].n <= 4096);
    if (strcmp(o->query, columns[0]) != 0) {
        assert_int_equal(eval_order(o->list, &o->f->run.items[q], &o->f->run.ids), TRAWL_OK);
        snprintf(o->query, sizeof o->query, "%s", columns[0]);
    }
    const struct doc_entry *hit = &o->f->run.items[q].items[o->list[atoi(columns[1]) - 1]];
    assert_string_equal(run_doc(&o->f->run, hit), columns[2]);
}

static void ties_are_ordered_as_in_trec_eval(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PAIRS; i++) {
        struct fixture f;
        char name[128];
        struct order o = {.f = &f};
        load(&f, pairs[i]);
        snprintf(name, sizeof name, "eval/%s.order30.tsv", pairs[i]);
        each_line(name, check_order, &o);
        unload(&f);
    }
}

static void zeros_of_both_signs_tie(void **state)
{
    struct run r = {0};
    uint32_t order[4];
    (void)state;
    assert_int_equal(run_add(&r, "q", "a", -0.0f), TRAWL_OK);
    assert_int_equal(run_add(&r, "q", "b", 0.0f), TRAWL_OK);
    assert_int_equal(run_add(&r, "q", "c", -INFINITY), TRAWL_OK);
    assert_int_equal(run_add(&r, "q", "d", INFINITY), TRAWL_OK);
    assert_int_equal(eval_order(order, &r.items[0], &r.ids), TRAWL_OK);
    assert_int_equal(order[0], 3);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 0);
    assert_int_equal(order[3], 2);
    run_release(&r);
}

/* ---- options ---- */

static double score(const char *measure, const struct eval_options *options)
{
    static const struct {
        const char *doc;
        float score;
    } hits[] = {{"q", 9}, {"x", 8}, {"b", 7}, {"y", 6}, {"a", 5}};
    struct qrels qrels = {0};
    struct run run = {0};
    struct measures m = {0};
    struct eval_result r;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(run_add(&run, "q", hits[i].doc, hits[i].score), TRAWL_OK);
    assert_int_equal(qrels_add(&qrels, "q", "a", 1), TRAWL_OK);
    assert_int_equal(qrels_add(&qrels, "q", "b", 2), TRAWL_OK);
    assert_int_equal(qrels_add(&qrels, "q", "y", 0), TRAWL_OK);
    assert_int_equal(measures_parse(&m, measure), TRAWL_OK);
    assert_int_equal(eval_run(&r, &qrels, &run, &m, options), TRAWL_OK);
    double value = r.values[0];
    eval_result_release(&r);
    measures_release(&m);
    qrels_release(&qrels);
    run_release(&run);
    return value;
}

static void options_change_the_ranking(void **state)
{
    (void)state;
    assert_true(score("recip_rank", NULL) == 1.0 / 3);
    assert_true(score("recip_rank", &(struct eval_options){.drop_self = true}) == 1.0 / 2);
    assert_true(score("recip_rank", &(struct eval_options){.judged_only = true}) == 1.0);
    assert_true(score("recip_rank", &(struct eval_options){.cutoff = 2}) == 0.0);
    assert_true(score("num_rel_ret", &(struct eval_options){.relevance = 2}) == 1.0);
    assert_true(score("num_ret", &(struct eval_options){.drop_self = true, .cutoff = 3}) == 3.0);
}

static void reciprocal_rank_has_a_cutoff(void **state)
{
    (void)state;
    assert_true(score("MRR@2", NULL) == 0.0);
    assert_true(score("RR@3", NULL) == 1.0 / 3);
    assert_true(score("recip_rank_cut_3", NULL) == 1.0 / 3);
}

/* ---- names ---- */

static void other_names_mean_the_same(void **state)
{
    static const char *const same[][2] = {{"nDCG@10", "ndcg_cut_10"},
                                          {"NDCG@10", "ndcg_cut_10"},
                                          {"nDCG", "ndcg"},
                                          {"AP", "map"},
                                          {"AP@100", "map_cut_100"},
                                          {"R@100", "recall_100"},
                                          {"Recall@5", "recall_5"},
                                          {"P@5", "P_5"},
                                          {"RR", "recip_rank"},
                                          {"MRR@10", "recip_rank_cut_10"},
                                          {"Success@1", "success_1"},
                                          {"Rprec", "Rprec"},
                                          {"IPrec@0.1", "iprec_at_recall_0.10"},
                                          {"ndcg_cut.7", "ndcg_cut_7"},
                                          {"SetP", "set_P"},
                                          {"Bpref", "bpref"}};
    struct fixture f;
    (void)state;
    load(&f, "graded");
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct measures m = {0};
        struct eval_result r;
        char both[128];
        snprintf(both, sizeof both, "%s,%s", same[i][0], same[i][1]);
        if (measures_parse(&m, both) != TRAWL_OK)
            fail_msg("%s", trawl_message());
        assert_int_equal(eval_run(&r, &f.qrels, &f.run, &m, NULL), TRAWL_OK);
        if (r.all[0] != r.all[m.n - 1])
            fail_msg("%s is %g, %s is %g", same[i][0], r.all[0], same[i][1], r.all[m.n - 1]);
        eval_result_release(&r);
        measures_release(&m);
    }
    unload(&f);
}

static void families_and_sets_expand(void **state)
{
    struct measures m = {0};
    (void)state;
    assert_int_equal(measures_parse(&m, "ndcg_cut"), TRAWL_OK);
    assert_int_equal(m.n, 11);
    assert_int_equal(measures_parse(&m, "P.3,7 map"), TRAWL_OK);
    assert_int_equal(m.n, 14);
    assert_string_equal(m.items[12].name, "P_7");
    measures_release(&m);
    assert_int_equal(measures_parse(&m, "all"), TRAWL_OK);
    assert_true(m.n >= 95);
    measures_release(&m);
}

static void unknown_measures_are_refused(void **state)
{
    static const char *const unknown[] = {"",    "nDCG@0", "nDCG@x", "P@", "ndcg_cut_1.5",
                                          "foo", "map@",   "P_-1",   "@",  "Bpref@5"};
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        struct measures m = {0};
        if (measures_parse(&m, unknown[i]) != TRAWL_USAGE)
            fail_msg("'%s' was taken", unknown[i]);
        measures_release(&m);
    }
}

/* ---- tests between runs ---- */

struct scores {
    double a[64], b[64];
    size_t n;
};

static void take_scores(void *ctx, char **columns)
{
    struct scores *s = ctx;
    assert_true(s->n < 64);
    s->a[s->n] = strtod(columns[1], NULL);
    s->b[s->n++] = strtod(columns[2], NULL);
}

struct expected {
    const struct scores *s;
    size_t n_checked;
};

static void check_significance(void *ctx, char **columns)
{
    struct expected *e = ctx;
    const struct scores *s = e->s;
    double wanted = strtod(columns[1], NULL), got = NAN, tolerance = 1e-9;
    bool part = strncmp(columns[0], "subset_q5_to_q16", 16) == 0;
    const double *a = part ? s->a + 4 : s->a, *b = part ? s->b + 4 : s->b;
    size_t n = part ? 12 : s->n;
    struct paired_test t = paired_t_test(a, b, n), r;
    assert_int_equal(paired_randomisation_test(&r, a, b, n, 100000, 1), TRAWL_OK);
    if (strstr(columns[0], "t_statistic"))
        got = t.t;
    else if (strstr(columns[0], "t_pvalue"))
        got = t.p;
    else if (strcmp(columns[0], "df") == 0)
        got = (double)t.df;
    else if (strcmp(columns[0], "mean_difference_b_minus_a") == 0)
        got = t.difference;
    else if (strstr(columns[0], "exact"))
        got = r.p;
    else {
        double draws = strstr(columns[0], "20000") ? 20000 : 100000;
        got = r.p;
        tolerance = 4 * (sqrt(wanted / draws) + sqrt(wanted / 100000));
    }
    if (!(fabs(got - wanted) <= tolerance))
        fail_msg("%s: %.17g, wanted %.17g", columns[0], got, wanted);
    e->n_checked++;
}

static void paired_tests_are_scipys(void **state)
{
    static struct scores s;
    struct expected e = {.s = &s};
    (void)state;
    each_line("eval/sig.scores.tsv", take_scores, &s);
    each_line("eval/sig.expected.tsv", check_significance, &e);
    assert_true(e.n_checked >= 9);
}

static void paired_tests_know_their_limits(void **state)
{
    const double a[3] = {0.1, 0.2, 0.3}, b[3] = {0.1, 0.2, 0.3};
    struct paired_test r;
    (void)state;
    assert_true(paired_t_test(a, b, 3).p == 1.0);
    assert_true(isnan(paired_t_test(a, b, 1).p));
    assert_int_equal(paired_randomisation_test(&r, a, b, 3, 1000, 1), TRAWL_OK);
    assert_true(r.p == 1.0 && r.exact);
    assert_int_equal(paired_randomisation_test(&r, a, b, 0, 1000, 1), TRAWL_OK);
    assert_true(isnan(r.p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_values_are_trec_evals),    cmocka_unit_test(ties_are_ordered_as_in_trec_eval),
        cmocka_unit_test(zeros_of_both_signs_tie),      cmocka_unit_test(options_change_the_ranking),
        cmocka_unit_test(reciprocal_rank_has_a_cutoff), cmocka_unit_test(other_names_mean_the_same),
        cmocka_unit_test(families_and_sets_expand),     cmocka_unit_test(unknown_measures_are_refused),
        cmocka_unit_test(paired_tests_are_scipys),      cmocka_unit_test(paired_tests_know_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
