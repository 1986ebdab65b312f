/*
 * The roof of the forward pass: the matrix product alone, at the shapes of the models that we measure, over tiles of
 * packed rows, one primitive a thread. What a whole forward pass reaches is stated as a share of this.
 *
 *   roof [ROWS] [THREADS] [SECONDS]     rows of a tile (64), threads (2), seconds a figure (0.5)
 */
#include "base/mem.h"
#include "math/matmul.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct shape {
    const char *name;
    size_t N, K;
};
struct model {
    const char *name;
    size_t layers;
    struct shape shapes[4];
};
static const struct model models[] = {
    {"smollm2-135m", 30, {{"qkv", 960, 576}, {"o", 576, 576}, {"gate-up", 3072, 576}, {"down", 576, 1536}}},
    {"gemma3-270m", 18, {{"qkv", 1536, 640}, {"o", 640, 1024}, {"gate-up", 4096, 640}, {"down", 640, 2048}}},
    {"minilm", 6, {{"qkv", 1152, 384}, {"o", 384, 384}, {"up", 1536, 384}, {"down", 384, 1536}}},
};
static const struct {
    const char *name;
    size_t x, w;
} kinds[] = {{"f32", 4, 4}, {"bf16", 2, 2}, {"int8", 1, 1}};

enum { COPIES = 8 }; /* so many layers of weights, so that they do not stay in the nearest cache */
struct job {
    struct matmul_plan *plan[4];
    struct matmul_weights *weights[4][COPIES];
    size_t rows, K[4], N[4], x_bytes;
    int only; /* one shape, or -1: all in turn */
    double seconds, rate;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *worker(void *arg)
{
    struct job *job = arg;
    struct matmul_exec *exec[4];
    void *x[4], *y[4];
    double flop = 0, begin, end;
    for (int s = 0; s < 4; s++) {
        if (matmul_exec_new(&exec[s], job->plan[s]))
            exit(1);
        x[s] = mem_aligned(job->rows * job->K[s], job->x_bytes);
        y[s] = mem_aligned(job->rows * job->N[s], 4);
        memset(x[s], 0, job->rows * job->K[s] * job->x_bytes);
    }
    for (int warm = 1; warm >= 0; warm--) {
        flop = 0, begin = end = now();
        for (size_t i = 0; end - begin < (warm ? job->seconds / 5 : job->seconds); i++, end = now())
            for (int s = 0; s < 4; s++) {
                if (job->only >= 0 && s != job->only)
                    continue;
                if (matmul_run(exec[s], y[s], x[s], job->weights[s][i % COPIES], job->rows))
                    exit(1);
                flop += 2.0 * (double)job->rows * (double)job->K[s] * (double)job->N[s];
            }
    }
    job->rate = flop / (end - begin) * 1e-9;
    for (int s = 0; s < 4; s++) {
        matmul_exec_free(exec[s]);
        free(x[s]), free(y[s]);
    }
    return NULL;
}

static double measure(struct job *job, size_t threads, int only)
{
    struct job jobs[64];
    pthread_t ids[64];
    double sum = 0;
    job->only = only;
    for (size_t t = 0; t < threads; t++) {
        jobs[t] = *job;
        if (pthread_create(&ids[t], NULL, worker, &jobs[t]))
            exit(1);
    }
    for (size_t t = 0; t < threads; t++) {
        pthread_join(ids[t], NULL);
        sum += jobs[t].rate;
    }
    return sum;
}

int main(int argc, char **argv)
{
    size_t rows = argc > 1 ? (size_t)atoi(argv[1]) : 64, threads = argc > 2 ? (size_t)atoi(argv[2]) : 2;
    double seconds = argc > 3 ? atof(argv[3]) : 0.5;
    printf("GFLOP/s, %zu rows a tile, %zu threads\nmodel\tprecision\tall\tby shape\n", rows, threads);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        for (int kind = MATMUL_F32; kind <= MATMUL_INT8; kind++) {
            struct job job = {.rows = rows, .seconds = seconds, .x_bytes = kinds[kind].x};
            if (!matmul_supports((enum matmul_kind)kind))
                continue;
            for (int s = 0; s < 4; s++) {
                const struct shape *shape = &models[m].shapes[s];
                job.K[s] = shape->K, job.N[s] = shape->N;
                void *W = mem_array(shape->N * shape->K, kinds[kind].w);
                if (!W || matmul_plan_new(&job.plan[s], (enum matmul_kind)kind, rows, shape->N, shape->K))
                    return 1;
                for (int c = 0; c < COPIES; c++)
                    if (matmul_weights_new(&job.weights[s][c], job.plan[s], W))
                        return 1;
                free(W);
            }
            printf("%s\t%s\t%.0f\t", models[m].name, kinds[kind].name, measure(&job, threads, -1));
            for (int s = 0; s < 4; s++)
                printf("%s %.0f  ", models[m].shapes[s].name, measure(&job, threads, s));
            printf("\n");
            fflush(stdout);
            for (int s = 0; s < 4; s++) {
                for (int c = 0; c < COPIES; c++)
                    matmul_weights_free(job.weights[s][c]);
                matmul_plan_free(job.plan[s]);
            }
        }
    return 0;
}
