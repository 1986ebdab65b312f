/* Inside eval: one query's ranking as the measures see it. */
#ifndef EVAL_INT_H
#define EVAL_INT_H
#include "eval.h"

/*
 * Only judged documents decide any measure, and they are few: a ranking is the list of those that were retrieved, with
 * their places, and the ideal order of all that were judged.
 */
struct ranking {
    size_t n_ret;                   /* hits */
    size_t n_rel, n_nonrel;         /* judged relevant; judged, but not relevant */
    size_t n_rel_ret, n_nonrel_ret; /* of these, retrieved */
    int32_t relevance;
    struct place {
        uint32_t rank; /* from 0 */
        int32_t grade;
    } * judged; /* (n_judged) retrieved and in the pool (grade below 0: pooled, not judged), by rank */
    size_t n_judged;
    const uint32_t *rel_ranks; /* (n_rel_ret) ascending */
    const int32_t *ideal;      /* (n_ideal) grades above 0, descending */
    size_t n_ideal;
    const double *ideal_dcg;  /* (n_ideal + 1) of the first i */
    const double *ideal_cost; /* (n_ideal + 1) sum of the first i grades: all gain there is to be had */
    const double *log2s;      /* log2s[i] = log2(i), for every i up to all ranks + 2 */
};

enum aggregate { AGGREGATE_MEAN, AGGREGATE_SUM, AGGREGATE_GEOMETRIC, AGGREGATE_QUERIES };
enum parameter { PARAMETER_NONE, PARAMETER_CUTOFF, PARAMETER_FRACTION };

struct measure_family {
    const char *name;
    double (*score)(const struct ranking *r, double param);
    enum parameter parameter;
    const double *presets; /* (n_presets): the usual parameters */
    size_t n_presets;
    enum aggregate aggregate;
    bool official; /* in trec_eval's standard output */
    bool own;      /* not trec_eval's */
    const char *help;
};

/* The table of measures.c. */
extern const struct measure_family measure_families[];
extern const size_t n_measure_families;

#define LEAST_GEOMETRIC 1e-5 /* a query's value is taken as at least this in geometric means */

#endif
