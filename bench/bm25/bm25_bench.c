/*
 * Times BM25 search of an index, one thread: bm25_bench IDX QUERIES K [ROUNDS] [exhaustive] [RUN]. Every query is
 * searched ROUNDS times; the best round of each counts (the machine may be busy), and their mean is printed in ms.
 */
#include "data/data.h"
#include "index/index.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static enum trawl_status bench(const struct index *ix, const struct queries *q, size_t k, size_t rounds, bool full,
                               FILE *run)
{
    struct lexical_searcher *s;
    size_t field = 0;
    TRY(index_find_field(ix, &field, INDEX_LEXICAL, NULL));
    const struct index_field *f = index_field(ix, field);
    TRY(lexical_searcher_new(&s, ix, field, k));
    struct index_hit *hits = calloc(k, sizeof *hits);
    double *times = calloc(q->n, sizeof *times), sum = 0.0;
    enum trawl_status status = TRAWL_OK;
    for (size_t r = 0; !status && r < rounds; r++)
        for (size_t i = 0; !status && i < q->n; i++) {
            size_t n = 0;
            double begin = now_ms();
            status = lexical_search(s, hits, &n, q->items[i].text, q->items[i].text_bytes, k, f->k1, f->b, full);
            double ms = now_ms() - begin;
            times[i] = r == 0 || ms < times[i] ? ms : times[i];
            for (size_t h = 0; run && r == 0 && h < n; h++) {
                const char *id;
                size_t n_id;
                TRY(index_document_id(ix, &id, &n_id, hits[h].segment, hits[h].row));
                fprintf(run, "%s Q0 %s %zu %.9g trawl\n", q->items[i].id, id, h + 1, (double)hits[h].score);
            }
        }
    for (size_t i = 0; i < q->n; i++)
        sum += times[i];
    qsort(times, q->n, sizeof *times, compare);
    printf("%zu queries, k %zu%s: mean %.3f ms, median %.3f, 99th percentile %.3f\n", q->n, k, full ? ", exhaustive" : "",
           sum / (double)q->n, times[q->n / 2], times[q->n * 99 / 100]);
    free(hits);
    free(times);
    lexical_searcher_free(s);
    return status;
}

int main(int argc, char **argv)
{
    struct index *ix = NULL;
    struct queries q = {0};
    if (argc < 4) {
        fputs("usage: bm25_bench IDX QUERIES K [ROUNDS] [exhaustive] [RUN]\n", stderr);
        return 2;
    }
    bool full = argc > 5 && strcmp(argv[5], "exhaustive") == 0;
    FILE *run = argc > 5 + full ? fopen(argv[5 + full], "w") : NULL;
    enum trawl_status status = index_open(&ix, argv[1]);
    if (!status)
        status = queries_read(&q, argv[2], false);
    if (!status)
        status = bench(ix, &q, strtoul(argv[3], NULL, 10), argc > 4 ? strtoul(argv[4], NULL, 10) : 5, full, run);
    if (status)
        fprintf(stderr, "bm25_bench: %s\n", trawl_message());
    if (run)
        fclose(run);
    queries_release(&q);
    index_close(ix);
    return status != TRAWL_OK;
}
