/* What 'trawl eval' writes: scored runs as a table, trec_eval's lines, JSON or LaTeX. */
#ifndef STAGE_EVAL_PRINT_H
#define STAGE_EVAL_PRINT_H
#include "eval/eval.h"

struct scored_run {
    const char *name;
    struct run run;
    struct eval_result result;
    uint32_t *row; /* (judged queries) the query's row in the result, MAP_NONE: the run lacks it */
    /* (measures) against the first run; NULL for the first itself, and when no test was wanted */
    struct paired_test *t_tests, *randomisations;
};

struct scores {
    const struct qrels *qrels;
    const struct measures *measures;
    struct scored_run *runs;
    size_t n_runs;
    bool per_query;
};

/* The run of searching options->index in a mode with the judged queries of options->dataset (eval_search.c). */
MUST_USE enum trawl_status eval_search(struct run *run, const struct qrels *qrels, const struct queries *queries,
                                       const char *mode, const struct trawl_eval_options *options);

/* format: "table", "trec", "json" or "latex". */
MUST_USE enum trawl_status eval_print(struct buf *out, const struct scores *scores, const char *format);

#endif
