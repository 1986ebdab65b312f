/*
 * BM25 search of an index on one thread, asked by bench/bm25/run.py: bench_bm25 IDX QUERIES
 * Answers every line "K" with the milliseconds of each query, in order.
 */
#include "data/data.h"
#include "index/index.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { K_MAX = 10000 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static enum trawl_status answer(struct lexical_searcher *s, const struct index_field *f, const struct queries *q,
                                size_t k)
{
    static struct index_hit hits[K_MAX];
    size_t n = 0;
    if (!k || k > K_MAX)
        return fail(TRAWL_USAGE, "a line is K, from 1 to %d", K_MAX);
    for (size_t i = 0; i < q->n; i++) {
        double begin = now_ms();
        TRY(lexical_search(s, hits, &n, q->items[i].text, q->items[i].text_bytes, k, f->k1, f->b, false));
        printf("%.6f ", now_ms() - begin);
    }
    putchar('\n');
    fflush(stdout);
    return TRAWL_OK;
}

static enum trawl_status serve(const struct index *ix, const struct queries *q)
{
    struct lexical_searcher *s;
    size_t field = 0;
    char line[32];
    enum trawl_status status = TRAWL_OK;
    TRY(index_find_field(ix, &field, INDEX_LEXICAL, NULL));
    TRY(lexical_searcher_new(&s, ix, field, K_MAX));
    while (!status && fgets(line, sizeof line, stdin))
        status = answer(s, index_field(ix, field), q, strtoul(line, NULL, 10));
    lexical_searcher_free(s);
    return status;
}

int main(int argc, char **argv)
{
    struct index *ix = NULL;
    struct queries q = {0};
    enum trawl_status status = argc == 3 ? TRAWL_OK : fail(TRAWL_USAGE, "usage: bench_bm25 IDX QUERIES");
    if (!status)
        status = index_open(&ix, argv[1]);
    if (!status)
        status = queries_read(&q, argv[2], false);
    if (!status)
        status = serve(ix, &q);
    if (status)
        fprintf(stderr, "bench_bm25: %s\n", trawl_message());
    queries_release(&q);
    index_close(ix);
    return status != TRAWL_OK;
}
