/*
 * bench encode: the same texts in each precision, interleaved, against the roof: oneDNN's matrix products alone over as
 * many rows as there are tokens, at the shapes of the model's projections, on all threads. What encoding takes beyond
 * that is attention, norms, conversions, tokenising and pooling.
 */
#include "bench_int.h"
#include "base/mem.h"
#include "base/pool.h"
#include "lm/lm.h"
#include "math/isa.h"
#include "math/matmul.h"
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MAX = 64, TILE_ROWS = 128, SHAPES_MAX = 8 };
#define ROOF_SECONDS 0.25 /* of measuring, a shape */

/* A projection (N,K), `times` in the model. */
struct shape {
    size_t N, K, times;
};

struct candidate {
    const char *name;
    enum matmul_kind kind;
    struct encoder *encoder;
    double seconds[ROUNDS_MAX], roof[ROUNDS_MAX];
    uint64_t tokens;
};

/* ---- the roof ---- */

static size_t model_shapes(struct shape shapes[SHAPES_MAX], const struct nn_config *c)
{
    static const enum nn_tensor tensors[] = {NN_T_Q, NN_T_K, NN_T_V, NN_T_O, NN_T_GATE, NN_T_UP, NN_T_DOWN};
    size_t n = 0;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        size_t rows, cols, k = 0;
        if (nn_tensor_presence(c, tensors[i]) != NN_REQUIRED)
            continue;
        nn_tensor_shape(c, tensors[i], &rows, &cols, NULL);
        while (k < n && (shapes[k].N != rows || shapes[k].K != cols))
            k++;
        if (k == n)
            shapes[n++] = (struct shape){.N = rows, .K = cols};
        shapes[k].times += c->L;
    }
    return n;
}

struct roof {
    struct matmul_plan *plan;
    struct matmul_weights *weights;
    struct worker {
        struct matmul_exec *exec;
        void *x, *y;
        enum trawl_status status;
    } * workers;
    size_t n_workers;
};

static void multiply(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct roof *r = ctx;
    struct worker *w = &r->workers[worker];
    for (size_t i = begin; i < end && w->status == TRAWL_OK; i++)
        w->status = matmul_run(w->exec, w->y, w->x, r->weights, TILE_ROWS);
}

static enum trawl_status roof_open(struct roof *r, enum matmul_kind kind, const struct shape *s)
{
    TRY(matmul_plan_new(&r->plan, kind, TILE_ROWS, s->N, s->K));
    void *W = mem_array(s->N * s->K, sizeof(float)); /* the largest element type; zeros take as long */
    if (!W)
        return mem_status();
    enum trawl_status status = matmul_weights_new(&r->weights, r->plan, W);
    free(W);
    TRY(status);
    r->n_workers = pool_threads();
    r->workers = mem_array(r->n_workers, sizeof *r->workers);
    if (!r->workers)
        return mem_status();
    for (size_t i = 0; i < r->n_workers; i++) {
        struct worker *w = &r->workers[i];
        TRY(matmul_exec_new(&w->exec, r->plan));
        w->x = mem_aligned(TILE_ROWS * s->K, sizeof(float));
        w->y = mem_aligned(TILE_ROWS * s->N, sizeof(float));
        if (!w->x || !w->y)
            return mem_status();
        memset(w->x, 0, TILE_ROWS * s->K * sizeof(float));
    }
    return TRAWL_OK;
}

static void roof_close(struct roof *r)
{
    for (size_t i = 0; r->workers && i < r->n_workers; i++) {
        matmul_exec_free(r->workers[i].exec);
        free(r->workers[i].x);
        free(r->workers[i].y);
    }
    free(r->workers);
    matmul_weights_free(r->weights);
    matmul_plan_free(r->plan);
}

/* Seconds that one row takes on all threads. */
static enum trawl_status roof_measure(struct roof *r, double *seconds)
{
    size_t tiles = 8 * r->n_workers, done = 0;
    pool_run(tiles, 1, multiply, r); /* warm-up */
    double begun = bench_now(), passed;
    do {
        pool_run(tiles, 1, multiply, r);
        done += tiles;
        passed = bench_now() - begun;
    } while (passed < ROOF_SECONDS);
    for (size_t i = 0; i < r->n_workers; i++)
        TRY(r->workers[i].status);
    *seconds = passed / (double)(done * TILE_ROWS);
    return TRAWL_OK;
}

/* Seconds that the products of one token take. */
static enum trawl_status measure_roof(double *seconds, enum matmul_kind kind, const struct nn_config *config)
{
    struct shape shapes[SHAPES_MAX];
    size_t n = model_shapes(shapes, config);
    *seconds = 0.0;
    for (size_t i = 0; i < n; i++) {
        struct roof roof = {0};
        double row = 0.0;
        enum trawl_status status = roof_open(&roof, kind, &shapes[i]);
        if (status == TRAWL_OK)
            status = roof_measure(&roof, &row);
        roof_close(&roof);
        TRY(status);
        *seconds += row * (double)shapes[i].times;
    }
    return TRAWL_OK;
}

static double token_flops(const struct nn_config *config)
{
    struct shape shapes[SHAPES_MAX];
    size_t n = model_shapes(shapes, config);
    double flops = 0.0;
    for (size_t i = 0; i < n; i++)
        flops += 2.0 * (double)shapes[i].N * (double)shapes[i].K * (double)shapes[i].times;
    return flops;
}

/* ---- the rounds ---- */

static enum trawl_status open_candidate(struct candidate *c, const char *name, const struct trawl_bench_options *o)
{
    struct encoder_options options = {.precision = name, .batch_tokens = o->batch_tokens};
    struct encoder_choices choices = {
        .max_length = o->max_length, .prompt_pooled = -1, .special_pooled = -1, .append_eos = -1};
    struct contract contract;
    c->name = name;
    c->kind = !strcmp(name, "f32") ? MATMUL_F32 : !strcmp(name, "bf16") ? MATMUL_BF16 : MATMUL_INT8;
    TRY(encoder_open(&c->encoder, o->model, &options));
    TRY(encoder_choose(&contract, c->encoder, ENCODER_DOCUMENT, &choices));
    return encoder_set_contract(c->encoder, ENCODER_DOCUMENT, &contract);
}

static enum trawl_status run_round(struct candidate *c, float *vectors, const struct bench_texts *texts, size_t round)
{
    uint64_t before = encoder_counts(c->encoder)->tokens;
    TRY(measure_roof(&c->roof[round], c->kind, nn_model_config(encoder_model(c->encoder))));
    double begun = bench_now();
    TRY(encoder_encode(c->encoder, vectors, texts->views, texts->n, ENCODER_DOCUMENT));
    c->seconds[round] = bench_now() - begun;
    c->tokens = encoder_counts(c->encoder)->tokens - before;
    return TRAWL_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2.0;
}

static enum trawl_status print_row(struct candidate *c, const struct trawl_bench_options *o,
                                   const struct bench_texts *texts, size_t rounds, struct file_writer *out)
{
    double seconds = median(c->seconds, rounds), roof = median(c->roof, rounds) * (double)c->tokens;
    double flops = token_flops(nn_model_config(encoder_model(c->encoder))) * (double)c->tokens;
    return file_printf(out, "%s\t%s\t%s\t%zu\t%zu\t%llu\t%.3f\t%.2f\t%.0f\t%.0f\t%.0f\t%.3f\n", o->model, c->name,
                       isa_name(), pool_threads(), texts->n, (unsigned long long)c->tokens, seconds,
                       (double)texts->n / seconds, (double)c->tokens / seconds, flops / seconds * 1e-9,
                       flops / roof * 1e-9, roof / seconds);
}

static enum trawl_status run_all(struct candidate *c, size_t n, const struct trawl_bench_options *o,
                                 const struct bench_texts *texts, struct file_writer *out)
{
    size_t rounds = o->repeat < 1 ? 1 : o->repeat > ROUNDS_MAX ? ROUNDS_MAX : o->repeat;
    size_t dims = encoder_contract(c[0].encoder, ENCODER_DOCUMENT)->dims;
    float *vectors = mem_array(texts->n, dims * sizeof *vectors);
    enum trawl_status status = TRAWL_OK;
    if (!vectors)
        return mem_status();
    struct bench_texts first = {.views = texts->views, .n = texts->n < 8 ? texts->n : 8};
    for (size_t i = 0; i < n; i++) /* warm-up */
        TRY_OUT(encoder_encode(c[i].encoder, vectors, first.views, first.n, ENCODER_DOCUMENT));
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < n; i++)
            TRY_OUT(run_round(&c[i], vectors, texts, round));
    TRY_OUT(file_printf(out, "model\tprecision\tisa\tthreads\ttexts\ttokens\tseconds\ttexts/s\ttokens/s\tGFLOP/s\t"
                             "roof GFLOP/s\tshare of roof\n"));
    for (size_t i = 0; i < n; i++)
        TRY_OUT(print_row(&c[i], o, texts, rounds, out));
out:
    free(vectors);
    return status;
}

static enum trawl_status run(const struct trawl_bench_options *o, struct file_writer *out)
{
    struct candidate candidates[3] = {0};
    struct bench_texts texts = {0};
    const char *names[3], *input = o->corpus ? o->corpus : o->dataset;
    size_t n = 0;
    enum trawl_status status;
    if (!input)
        return fail(TRAWL_USAGE, "give the texts with '--corpus'");
    TRY(bench_precisions(names, &n, o));
    TRY_OUT(bench_texts_read(&texts, input, o->texts));
    for (size_t i = 0; i < n; i++)
        TRY_OUT(open_candidate(&candidates[i], names[i], o));
    TRY_OUT(run_all(candidates, n, o, &texts, out));
out:
    for (size_t i = 0; i < n; i++)
        encoder_close(candidates[i].encoder);
    bench_texts_release(&texts);
    return status;
}

const struct bench bench_encode = {"encode", "texts a second and share of the roof", run};
