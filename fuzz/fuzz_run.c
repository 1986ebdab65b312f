/* Runs and judgements; the run scored against the judgements that the same bytes make. */
#include "fuzz.h"
#include "data/data.h"
#include "eval/eval.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct run run;
    struct qrels qrels = {0};
    struct measures measures = {0};
    struct eval_result result;
    const char *path = fuzz_file(data, n);
    if (!qrels_read(&qrels, path))
        qrels_release(&qrels);
    if (run_read(&run, path))
        return 0;
    for (uint32_t q = 0; q < run.queries.n; q++) {
        size_t m;
        const char *key = map_key(&run.queries, q, &m);
        char *query = strndup(key, m);
        for (uint32_t i = 0; query && i < run.items[q].n; i += 2)
            if (qrels_add(&qrels, query, run_doc(&run, &run.items[q].items[i]), (int32_t)(i % 5) - 1))
                abort(); /* every pair of a run is there once */
        free(query);
    }
    if (measures_parse(&measures, "all") || eval_run(&result, &qrels, &run, &measures, NULL))
        abort();
    eval_result_release(&result);
    measures_release(&measures);
    qrels_release(&qrels);
    run_release(&run);
    return 0;
}
