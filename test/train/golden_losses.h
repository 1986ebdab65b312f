/* Cases of test/golden/losses: arrays, parameters, checks, and a loop over the cases of a kind. */
#ifndef TEST_TRAIN_GOLDEN_LOSSES_H
#define TEST_TRAIN_GOLDEN_LOSSES_H
#include "data/vectors.h"
#include "../golden.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static char folder[512];

/* An array of the case as floats; exits the test when it must be there and is not. */
struct array {
    float *x;
    size_t rows, cols;
};

static inline bool has(const char *name)
{
    char path[4096], file[640];
    snprintf(file, sizeof file, "losses/%s/%s.npy", folder, name);
    FILE *f = fopen(golden_path(path, file), "rb");
    if (f)
        fclose(f);
    return f != NULL;
}

static inline struct array load(const char *name)
{
    char path[4096], file[640];
    struct npy npy;
    snprintf(file, sizeof file, "losses/%s/%s.npy", folder, name);
    assert_int_equal(npy_open(&npy, golden_path(path, file)), TRAWL_OK);
    struct array a = {calloc(npy.n, sizeof *a.x), npy.shape[0], npy.n / npy.shape[0]};
    assert_non_null(a.x);
    for (size_t i = 0; i < npy.n; i++)
        a.x[i] = (float)npy_get(&npy, i);
    npy_close(&npy);
    return a;
}

static inline uint64_t *load_ids(const char *name)
{
    char path[4096], file[640];
    struct npy npy;
    snprintf(file, sizeof file, "losses/%s/%s.npy", folder, name);
    assert_int_equal(npy_open(&npy, golden_path(path, file)), TRAWL_OK);
    uint64_t *ids = calloc(npy.n, sizeof *ids);
    for (size_t i = 0; i < npy.n; i++)
        ids[i] = (uint64_t)npy_get(&npy, i);
    npy_close(&npy);
    return ids;
}

static inline bool find_value(double *value, const char *file_name, const char *name)
{
    char path[4096], file[640], key[128];
    snprintf(file, sizeof file, "losses/%s/%s", folder, file_name);
    FILE *f = fopen(golden_path(path, file), "r");
    bool found = false;
    assert_non_null(f);
    while (!found && fscanf(f, "%127s %127s", key, path) == 2)
        if (strcmp(key, name) == 0) {
            *value = strtod(path, NULL);
            found = true;
        }
    fclose(f);
    return found;
}

static inline double param(const char *name)
{
    double value = 0.0;
    assert_true(find_value(&value, "params.tsv", name));
    return value;
}

/* The README's tolerances: loss 1e-5 relative + 1e-6, gradients 1e-4 of the largest entry + 1e-6. */
static inline void check_loss(double loss)
{
    double wanted = 0.0;
    assert_true(find_value(&wanted, "loss.tsv", "loss"));
    if (!(fabs(loss - wanted) <= 1e-5 * fabs(wanted) + 1e-6))
        fail_msg("%s: loss %.9g, wanted %.9g", folder, loss, wanted);
}

static inline void check_grad(const char *name, const float *grad)
{
    char file[64];
    double largest = 0.0;
    snprintf(file, sizeof file, "grad.%s", name);
    struct array wanted = load(file);
    size_t n = wanted.rows * wanted.cols;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)wanted.x[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)grad[i] - (double)wanted.x[i]) <= 1e-4 * largest + 1e-6))
            fail_msg("%s: grad.%s[%zu] is %g, wanted %g", folder, name, i, (double)grad[i], (double)wanted.x[i]);
    free(wanted.x);
}

/* Runs `run` on every case of all.tsv whose name begins so; at least one must be there. */
static inline void each_case(const char *prefix, void (*run)(void))
{
    char path[4096], line[1024];
    size_t n = 0;
    FILE *f = fopen(golden_path(path, "losses/all.tsv"), "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, prefix, strlen(prefix)) == 0) {
            snprintf(folder, sizeof folder, "%.*s", (int)strcspn(line, "\t\n"), line);
            run();
            n++;
        }
    fclose(f);
    assert_true(n > 0);
}

#endif
