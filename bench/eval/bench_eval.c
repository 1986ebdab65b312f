/*
 * The evaluator alone, files read beforehand, asked by bench/eval/run.py: bench_eval QRELS RUN MEASURES
 * Answers every line with the seconds that all measures of all queries took.
 */
#include "eval/eval.h"
#include <stdio.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static enum trawl_status serve(const struct qrels *qrels, const struct run *run, const struct measures *measures)
{
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        struct eval_result result;
        struct eval_options options = {0};
        double begin = now();
        TRY(eval_run(&result, qrels, run, measures, &options));
        printf("%.6f %zu\n", now() - begin, result.n_queries);
        fflush(stdout);
        eval_result_release(&result);
    }
    return TRAWL_OK;
}

int main(int argc, char **argv)
{
    struct qrels qrels = {0};
    struct run run = {0};
    struct measures measures = {0};
    enum trawl_status status = argc == 4 ? TRAWL_OK : fail(TRAWL_USAGE, "usage: bench_eval QRELS RUN MEASURES");
    if (!status)
        status = qrels_read(&qrels, argv[1]);
    if (!status)
        status = run_read(&run, argv[2]);
    if (!status)
        status = measures_parse(&measures, argv[3]);
    if (!status)
        status = serve(&qrels, &run, &measures);
    if (status)
        fprintf(stderr, "bench_eval: %s\n", trawl_message());
    measures_release(&measures);
    run_release(&run);
    qrels_release(&qrels);
    return status != TRAWL_OK;
}
