/*
 * Effectiveness of runs against judgements: all measures of trec_eval (9.0) with its numbers and its order of ties, MRR
 * with a cutoff, and tests of whether two runs differ.
 *
 * Order: score as float32 descending, then document id descending bytewise, whatever the ranks in the file say.
 */
#ifndef EVAL_H
#define EVAL_H
#include "data/data.h"

/* ---- measures ---- */
struct measure_family;
struct measure {
    const struct measure_family *family;
    double param;  /* cutoff or fraction, 0 where there is none */
    char name[48]; /* as asked for, such as "ndcg_cut_10" or "nDCG@10" */
};
struct measures {
    struct measure *items;
    size_t n, cap;
};
/*
 * Appends the measures of a list separated by commas or spaces. Names are trec_eval's ("map", "ndcg_cut_10",
 * "ndcg_cut.5,10"; a family without its parameter stands for all its usual ones), those of ir_measures ("nDCG@10",
 * "AP", "RR@10", "R@100", "P@5"), and the sets "official" (what trec_eval prints) and "all". USAGE names what is
 * unknown.
 */
MUST_USE enum trawl_status measures_parse(struct measures *m, const char *list);
void measures_release(struct measures *m);
/* Counts are printed without decimals and summed over queries. */
bool measure_is_count(const struct measure *m);
/* False for "num_q", which is a number of the whole run alone. */
bool measure_has_queries(const struct measure *m);
/* The i-th family, for listings: its name, what it measures, NULL past the last. */
const char *measure_family_name(size_t i, const char **help);

/* ---- scoring ---- */
struct eval_options {
    int32_t relevance; /* least grade that is relevant; 0: 1 */
    size_t cutoff;     /* hits of a query that count; 0: all */
    bool drop_self;    /* hits whose id is the query's own are taken out, as BEIR does */
    bool judged_only;  /* hits without judgement are taken out */
    bool complete;     /* averages over all judged queries; missing ones count 0 */
};
struct eval_result {
    size_t n_queries;  /* in both files */
    size_t n_judged;   /* queries with judgements */
    size_t n_unjudged; /* queries of the run without */
    uint32_t *queries; /* (n_queries) numbers in the qrels, ordered bytewise by id */
    double *values;    /* (n_queries, measures) */
    double *all;       /* (measures) over the queries: sum for counts, geometric mean for gm_, else mean */
};
/* Multi-threaded over queries; the result does not depend on how many threads. */
MUST_USE enum trawl_status eval_run(struct eval_result *result, const struct qrels *qrels, const struct run *run,
                                    const struct measures *measures, const struct eval_options *options);
void eval_result_release(struct eval_result *result);

/* Hits of one query in evaluation order: order (list->n) out gets indices of list->items. */
MUST_USE enum trawl_status eval_order(uint32_t *order, const struct doc_list *list, const struct buf *ids);

/* ---- do two runs differ? b minus a, query by query; all two-sided ---- */
struct paired_test {
    double difference; /* mean */
    double t;          /* t-test only */
    double p;
    size_t df;  /* t-test only: n - 1 */
    bool exact; /* randomisation: all sign patterns were counted */
};
/* Student's paired t-test. p is NaN for fewer than two pairs, 1 when there is no difference at all. */
struct paired_test paired_t_test(const double *a, const double *b, size_t n);
/*
 * Randomisation test (Fisher 1935; Smucker et al. 2007): signs of the differences are flipped; p is the share of
 * patterns whose |mean| is at least the observed one. Exact for up to 20 differing pairs, else `draws` patterns of the
 * stream `seed` and (count + 1) / (draws + 1).
 */
MUST_USE enum trawl_status paired_randomisation_test(struct paired_test *test, const double *a, const double *b,
                                                     size_t n, size_t draws, uint64_t seed);

#endif
