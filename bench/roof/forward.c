/*
 * Forward pass of a model over documents as long as scifact's cut to 256 tokens, beside its roof: the matrix products
 * alone, on the same packed weights and the same tiles. Both are repeated in turn and the best of each is printed.
 *
 *   forward MODEL [f32|bf16|int8] [DOCUMENTS] [REPEATS]
 *
 * Columns: tokens a second; GFLOP/s of the products inside the forward pass; the roof; their ratio; seconds spent in
 * attention and in tiles (the rest is the products).
 */
#include "base/mem.h"
#include "base/pool.h"
#include "model/model.h"
#include "nn/nn_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(getenv("CPU_TIME") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void roof_tiles(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct nn_run *run = ctx;
    const struct nn_model *m = run->model;
    struct worker *w = &run->workers[worker];
    for (size_t i = begin; i < end; i++)
        for (int role = 0; role < NN_ROLES; role++)
            for (size_t s = 0; s < m->shape[role].n; s++) {
                const void *x = role != NN_DOWN ? w->in : w->mid;
                if (matmul_run(w->exec[role], w->out, x, m->layers[run->layer].linear[role].slices[s], NN_TILE))
                    exit(1);
            }
}

static double roof(struct nn_run *run, size_t T)
{
    double begin = now();
    for (size_t done = 0; done < T; done += NN_GROUP)
        for (run->layer = 0; run->layer < run->model->config.L; run->layer++)
            pool_run(((T - done < NN_GROUP ? T - done : NN_GROUP) + NN_TILE - 1) / NN_TILE, 1, roof_tiles, run);
    return now() - begin;
}

int main(int argc, char **argv)
{
    const char *names[] = {"f32", "bf16", "int8"};
    enum nn_precision precision = NN_F32;
    if (argc < 2)
        return 2;
    for (int p = 0; argc > 2 && p < 3; p++)
        if (!strcmp(argv[2], names[p]))
            precision = (enum nn_precision)p;
    size_t B = argc > 3 ? (size_t)atoi(argv[3]) : 64, repeats = argc > 4 ? (size_t)atoi(argv[4]) : 5;
    struct model_files *files;
    struct nn_model *model;
    struct nn_run *run;
    double begin = now();
    if (model_files_open(&files, argv[1]) || nn_model_new(&model, model_files_source(files), precision)) {
        fprintf(stderr, "%s\n", trawl_message());
        return 1;
    }
    printf("loaded in %.2f s\n", now() - begin);
    const struct nn_config *c = nn_model_config(model);
    uint32_t *at = mem_array(B + 1, sizeof *at);
    for (size_t b = 0; b < B; b++)
        at[b + 1] = at[b] + (b % 3 == 0 ? 256 : (uint32_t)(90 + b * 53 % 167));
    size_t T = at[B];
    uint32_t *ids = mem_array(T, sizeof *ids);
    for (size_t i = 0; i < T; i++)
        ids[i] = (uint32_t)((i * 2654435761u >> 5) % (c->V < 20000 ? c->V : 20000));
    float *hidden = mem_array(T * c->C, sizeof *hidden);
    struct nn_batch batch = {.ids = ids, .begin = at, .B = B, .attention = c->encoder ? NN_BIDIRECTIONAL : NN_CAUSAL};
    if (nn_run_new(&run, model, T))
        return 1;
    double flop = 0, best = 1e30, best_roof = 1e30;
    for (int r = 0; r < NN_ROLES; r++)
        flop += 2.0 * (double)c->L * (double)(model->shape[r].n * model->shape[r].N * model->shape[r].K);
    for (size_t i = 0; i < repeats; i++) {
        begin = now();
        if (nn_forward(run, hidden, &batch)) {
            fprintf(stderr, "%s\n", trawl_message());
            return 1;
        }
        double seconds = now() - begin, limit = roof(run, T);
        best = seconds < best ? seconds : best;
        best_roof = limit < best_roof ? limit : best_roof;
        if (i == repeats - 1 || getenv("VERBOSE"))
            printf("%s %s %zu threads: %.0f tokens/s, %.0f GFLOP/s, roof %.0f, share %.3f (attention %.3f of time)\n",
                   argv[1], names[precision], pool_threads(), (double)T / best, flop * (double)T / best * 1e-9,
                   flop * (double)T / best_roof * 1e-9, best_roof / best, run->attention_seconds / seconds);
        run->attention_seconds = 0;
    }
    nn_run_free(run);
    nn_model_free(model);
    model_files_close(files);
    free(at), free(ids), free(hidden);
    return 0;
}
