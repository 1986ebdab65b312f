/*
 * Flat search on vectors of a size that leaves the cache; bench/flat/run.py drives it next to a peer.
 *
 *   bench_flat make N D ROWS.npy QUERIES.npy   clustered unit vectors, 1,024 queries from the same clusters
 *   bench_flat serve ROWS.npy QUERIES.npy      answers lines "FORMAT BATCH K BEGIN": milliseconds, rows found
 *
 * The f32 rows stay in the mapped file, as in an index.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "data/vectors.h"
#include "math/dot.h"
#include "math/format.h"
#include "search/flat.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CLUSTERS = 4096, QUERIES = 1024, BLOCK = 4096, FORMATS = 3, K_MAX = 1000 };
#define SPREAD 1.0 /* length of a row's distance from its centre, centres having length 1: cosine within about 0.5 */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int die(void)
{
    fprintf(stderr, "bench_flat: %s\n", trawl_message());
    return 1;
}

/* ---- make ---- */

struct maker {
    float *rows, *centres;
    size_t D, first;
    uint32_t purpose;
};

/* Nearly normal, variance 1: the sum of four uniform numbers. */
static float draw(struct rng *rng)
{
    uint64_t bits = rng_next(rng);
    double sum = 0.0;
    for (int i = 0; i < 4; i++, bits >>= 16)
        sum += (double)(bits & 0xffff) / 65536.0;
    return (float)((sum - 2.0) * sqrt(3.0));
}

static void make_rows(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct maker *m = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct rng rng = rng_stream(m->first + i, 0, m->purpose);
        const float *centre = m->centres ? m->centres + rng_below(&rng, CLUSTERS) * m->D : NULL;
        float *row = m->rows + i * m->D;
        double scale = SPREAD / sqrt((double)m->D), length = 0.0;
        for (size_t d = 0; d < m->D; d++) {
            row[d] = draw(&rng) * (float)scale + (centre ? centre[d] : 0.0f);
            length += (double)row[d] * (double)row[d];
        }
        for (size_t d = 0; d < m->D; d++)
            row[d] /= (float)sqrt(length);
    }
}

static enum trawl_status write_rows(struct maker *m, const char *path, size_t N, uint32_t purpose)
{
    struct vectors_writer *w;
    m->purpose = purpose;
    TRY(vectors_create(&w, path, "npy", m->D, NULL, NULL));
    for (m->first = 0; m->first < N; m->first += BLOCK) {
        size_t n = N - m->first < BLOCK ? N - m->first : BLOCK;
        pool_run(n, 64, make_rows, m);
        for (size_t i = 0; i < n; i++)
            TRY(vectors_add(w, "", m->rows + i * m->D));
    }
    return vectors_commit(&w);
}

static enum trawl_status make(size_t N, size_t D, const char *rows, const char *queries)
{
    struct maker m = {.D = D, .rows = mem_array(CLUSTERS * D, sizeof(float)), .purpose = 1};
    float *centres = m.rows;
    if (!centres)
        return mem_status();
    pool_run(CLUSTERS, 64, make_rows, &m);
    m.rows = mem_array(BLOCK * D, sizeof(float));
    m.centres = centres;
    enum trawl_status status = m.rows ? write_rows(&m, rows, N, 2) : mem_status();
    if (status == TRAWL_OK)
        status = write_rows(&m, queries, QUERIES, 3);
    free(centres);
    free(m.rows);
    return status;
}

/* ---- serve ---- */

struct server {
    struct vectors rows, queries;
    int8_t *bytes;
    float *scales;
    uint16_t *halves;
    uint64_t *ordinals;
    struct flat *flat[FORMATS];
    struct index_hit *hits;
};

static void convert(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct server *s = ctx;
    size_t D = s->rows.D;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const float *row = s->rows.rows + i * D;
        s->ordinals[i] = i;
        s->scales[i] = dot_quantise(s->bytes + i * D, row, D);
        for (size_t d = 0; d < D; d++)
            s->halves[i * D + d] = bf16_from_f32(row[d]);
    }
}

static enum trawl_status prepare(struct server *s, const char *rows, const char *queries)
{
    TRY(vectors_open(&s->rows, rows));
    TRY(vectors_open(&s->queries, queries));
    size_t N = s->rows.N, D = s->rows.D;
    s->bytes = mem_aligned(N * D, 1);
    s->halves = mem_aligned(N * D, sizeof *s->halves);
    s->scales = mem_aligned(N, sizeof *s->scales);
    s->ordinals = mem_aligned(N, sizeof *s->ordinals);
    s->hits = mem_array(FLAT_QUERIES * K_MAX, sizeof *s->hits);
    if (!s->bytes || !s->halves || !s->scales || !s->ordinals || !s->hits)
        return mem_status();
    pool_run(N, 1024, convert, s);
    const void *data[FORMATS] = {s->rows.rows, s->halves, s->bytes};
    for (int f = 0; f < FORMATS; f++) {
        struct flat_part part = {.vectors = {.n = N, .D = D, .format = (enum index_vector_format)f, .rows = data[f]},
                                 .ordinals = s->ordinals};
        part.vectors.scales = f == INDEX_VEC_INT8 ? s->scales : NULL;
        part.vectors.rescore = f == INDEX_VEC_F32 ? NULL : s->rows.rows;
        TRY(flat_new(&s->flat[f], &part, 1, D, FLAT_QUERIES, 100));
    }
    return TRAWL_OK;
}

static enum trawl_status answer(struct server *s, const char *line)
{
    static const char *const names[FORMATS] = {"f32", "bf16", "int8"};
    char name[8];
    size_t batch, k, begin, n_hits[FLAT_QUERIES], f = 0;
    if (sscanf(line, "%7s %zu %zu %zu", name, &batch, &k, &begin) != 4 || batch > FLAT_QUERIES || k > K_MAX ||
        begin + batch > s->queries.N)
        return fail(TRAWL_USAGE, "the line '%s' is not FORMAT BATCH K BEGIN", line);
    while (f < FORMATS - 1 && strcmp(name, names[f]) != 0)
        f++;
    double begun = now();
    TRY(flat_search(s->flat[f], s->hits, n_hits, s->queries.rows + begin * s->queries.D, batch, k,
                    flat_default_depth(k)));
    printf("%.4f", (now() - begun) * 1e3);
    for (size_t q = 0; q < batch; q++)
        for (size_t i = 0; i < k; i++)
            printf(" %u", i < n_hits[q] ? s->hits[q * k + i].row : UINT32_MAX);
    putchar('\n');
    fflush(stdout);
    return TRAWL_OK;
}

static enum trawl_status serve(const char *rows, const char *queries)
{
    static struct server s; /* lives as long as the process */
    char line[256];
    TRY(prepare(&s, rows, queries));
    printf("ready %s, %zu threads\n", isa_name(), pool_threads());
    fflush(stdout);
    while (fgets(line, sizeof line, stdin))
        TRY(answer(&s, line));
    return TRAWL_OK;
}

int main(int argc, char **argv)
{
    enum trawl_status status = TRAWL_USAGE;
    if (argc == 6 && !strcmp(argv[1], "make"))
        status = make(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), argv[4], argv[5]);
    else if (argc == 4 && !strcmp(argv[1], "serve"))
        status = serve(argv[2], argv[3]);
    else
        (void)fail(TRAWL_USAGE, "usage: bench_flat make N D ROWS QUERIES | bench_flat serve ROWS QUERIES");
    return status ? die() : 0;
}
