/*
 * Training steps of a retriever: forward and backward of 32 queries and 64 passages, each of `tokens` tokens, LoRA on
 * all seven projections (or every parameter with rank 0), gradient at each row's last state, update of the weights.
 *
 *   bench_train MODEL f32|bf16 TOKENS RANK keep|recompute STEPS
 *
 * Prints tokens a second of the best step, the rate of the matrix products that a step cannot do without (forward and
 * gradient of the input: 4 operations per weight and token), peak memory, and the seconds of each part.
 */
#include "base/mem.h"
#include "base/pool.h"
#include "model/model.h"
#include "nn/train.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { ROWS = 96 };

static double now(void)
{
    struct timespec t;
    clock_gettime(getenv("CPU_TIME") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double weights_of(const struct nn_config *c)
{
    double attention = (double)(c->C * (2 * c->H + 2 * c->K) * c->D), mlp = (double)((c->gated ? 3 : 2) * c->C * c->F);
    return (double)c->L * (attention + mlp);
}

struct parts {
    double forward, backward, update;
};

static double step(struct nn_train *t, float *hidden, float *d_hidden, const struct nn_batch *batch, uint32_t number,
                   struct parts *parts)
{
    size_t C = nn_train_config(t)->C;
    double begin = now();
    if (nn_train_forward(t, hidden, batch, number))
        return 0;
    double forward = now();
    for (size_t b = 0; b < batch->B; b++) {
        size_t last = (size_t)batch->begin[b + 1] - 1;
        for (size_t i = 0; i < C; i++)
            d_hidden[last * C + i] = 1e-3f * (float)((b * 31 + i * 7) % 13) - 6e-3f;
    }
    if (nn_train_backward(t, d_hidden))
        return 0;
    double backward = now();
    if (nn_train_update(t))
        return 0;
    double end = now();
    *parts = (struct parts){forward - begin, backward - forward, end - backward};
    return end - begin;
}

int main(int argc, char **argv)
{
    struct model_files *files;
    struct nn_train *t;
    if (argc != 7) {
        fprintf(stderr, "usage: bench_train MODEL f32|bf16 TOKENS RANK keep|recompute STEPS\n");
        return 2;
    }
    size_t tokens = (size_t)atoi(argv[3]), T = ROWS * tokens;
    struct nn_lora lora = {.rank = (size_t)atoi(argv[4]),
                           .alpha = 2 * atof(argv[4]),
                           .targets = 1u << NN_T_Q | 1u << NN_T_K | 1u << NN_T_V | 1u << NN_T_O | 1u << NN_T_GATE |
                                      1u << NN_T_UP | 1u << NN_T_DOWN};
    struct nn_train_options options = {.precision = strcmp(argv[2], "f32") ? NN_BF16 : NN_F32,
                                       .lora = lora.rank ? &lora : NULL,
                                       .checkpoint = !strcmp(argv[5], "recompute"),
                                       .tokens_max = T,
                                       .seed = 1};
    if (model_files_open(&files, argv[1]) || nn_train_new(&t, model_files_source(files), &options)) {
        fprintf(stderr, "%s\n", trawl_message());
        return 1;
    }
    const struct nn_config *c = nn_train_config(t);
    uint32_t *ids = mem_array(T, sizeof *ids), begin[ROWS + 1];
    float *hidden = mem_array(T * c->C, sizeof *hidden), *d_hidden = mem_array(T * c->C, sizeof *hidden);
    if (!ids || !hidden || !d_hidden)
        return 1;
    for (size_t i = 0; i < T; i++)
        ids[i] = (uint32_t)((i * 2654435761u >> 5) % (c->V < 20000 ? c->V : 20000));
    for (size_t b = 0; b <= ROWS; b++)
        begin[b] = (uint32_t)(b * tokens);
    struct nn_batch batch = {.ids = ids, .begin = begin, .B = ROWS, .attention = NN_BIDIRECTIONAL};
    double best = 1e30;
    struct parts parts, of_best = {0};
    for (int i = 0; i < atoi(argv[6]); i++) {
        double seconds = step(t, hidden, d_hidden, &batch, (uint32_t)i, &parts);
        if (!(seconds > 0)) {
            fprintf(stderr, "%s\n", trawl_message());
            return 1;
        }
        if (seconds < best) {
            best = seconds;
            of_best = parts;
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%s %s rank %zu %s: %.0f tokens/s, %.0f GFLOP/s, peak %.2f GB (training holds %.2f), forward %.2f s, "
           "backward %.2f s, update %.2f s\n",
           argv[1], argv[2], lora.rank, argv[5], (double)T / best, 4e-9 * weights_of(c) * (double)T / best,
           (double)usage.ru_maxrss / 1048576.0, (double)nn_train_bytes(t) * 0x1p-30, of_best.forward, of_best.backward,
           of_best.update);
    nn_train_free(t);
    model_files_close(files);
    free(ids), free(hidden), free(d_hidden);
    return 0;
}
