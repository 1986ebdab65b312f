/* AdamW trajectories, clipping and schedules against test/golden/optim. */
#include "../golden.h"
#include "base/file.h"
#include "data/vectors.h"
#include "train/optim.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static float *load(size_t *n, const char *format, const char *name)
{
    char file[512], path[4096];
    struct npy npy;
    snprintf(file, sizeof file, format, name);
    assert_int_equal(npy_open(&npy, golden_path(path, file)), TRAWL_OK);
    float *x = calloc(npy.n, sizeof *x);
    for (size_t i = 0; i < npy.n; i++)
        x[i] = (float)npy_get(&npy, i);
    *n = npy.n;
    npy_close(&npy);
    return x;
}

static FILE *open_table(const char *name)
{
    char path[4096], line[1024];
    FILE *f = fopen(golden_path(path, name), "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f)); /* the header */
    return f;
}

static enum schedule_kind kind_of(const char *name)
{
    return strcmp(name, "cosine") == 0   ? SCHEDULE_COSINE
           : strcmp(name, "linear") == 0 ? SCHEDULE_LINEAR
                                         : SCHEDULE_CONSTANT;
}

/* Warm-up ends at the step whose rate is the full one. */
static size_t warmup_of(const char *steps_file, enum schedule_kind kind, double lr)
{
    unsigned step, warmup = 0;
    double rate, norm;
    FILE *steps = open_table(steps_file);
    while (kind != SCHEDULE_CONSTANT && fscanf(steps, "%u %lf %lf", &step, &rate, &norm) == 3 &&
           rate < lr * (1.0 - 1e-12))
        warmup++;
    fclose(steps);
    return warmup;
}

/* README: 1e-5 absolute on parameters and m, 1e-5 relative on v. */
static void run_case(const char *name, double lr, struct adamw adamw, double max_norm, enum schedule_kind kind)
{
    size_t n, total, ignore;
    float *p = load(&n, "optim/%s.param0.npy", name), *g = load(&total, "optim/%s.grads.npy", name);
    float *params = load(&ignore, "optim/%s.params.npy", name), *ms = load(&ignore, "optim/%s.m.npy", name),
          *vs = load(&ignore, "optim/%s.v.npy", name);
    float *m = calloc(n, sizeof *m), *v = calloc(n, sizeof *v);
    char file[512];
    snprintf(file, sizeof file, "optim/%s.steps.tsv", name);
    FILE *steps = open_table(file);
    size_t n_steps = total / n, warmup = warmup_of(file, kind, lr);
    for (size_t t = 0; t < n_steps; t++) {
        unsigned step;
        double wanted_lr, wanted_norm;
        assert_int_equal(fscanf(steps, "%u %lf %lf", &step, &wanted_lr, &wanted_norm), 3);
        struct schedule schedule = {kind, lr, warmup, n_steps};
        double rate = schedule_lr(&schedule, t), norm = sqrt(grad_square_sum(g + t * n, n));
        assert_true(fabs(rate - wanted_lr) <= 1e-6 * lr);
        assert_true(fabs(norm - wanted_norm) <= 1e-5 * (1.0 + wanted_norm));
        adamw_step(p, m, v, g + t * n, n, &adamw, rate, t + 1, clip_factor(norm, max_norm));
        for (size_t i = 0; i < n; i++) {
            assert_true(fabs((double)p[i] - (double)params[t * n + i]) <= 1e-5);
            assert_true(fabs((double)m[i] - (double)ms[t * n + i]) <= 1e-5);
            assert_true(fabs((double)v[i] - (double)vs[t * n + i]) <= 1e-5 * (double)vs[t * n + i] + 1e-12);
        }
    }
    fclose(steps);
    free(p);
    free(g);
    free(params);
    free(ms);
    free(vs);
    free(m);
    free(v);
}

static void trajectories(void **state)
{
    char name[128], schedule[64];
    double lr, clip;
    struct adamw adamw;
    size_t n_cases = 0;
    FILE *cases = open_table("optim/cases.tsv");
    (void)state;
    while (fscanf(cases, "%127s %lf %lf %lf %lf %lf %lf %63s", name, &lr, &adamw.beta1, &adamw.beta2, &adamw.eps,
                  &adamw.weight_decay, &clip, schedule) == 8) {
        run_case(name, lr, adamw, clip, kind_of(schedule));
        n_cases++;
    }
    fclose(cases);
    assert_true(n_cases > 0);
}

/* The norm of the tensors together and the factor for each limit; the clipped tensors are the product. */
static void clipping(void **state)
{
    double limit, norm, factor, sum = 0.0;
    char path[4096], file[64];
    FILE *table = open_table("optim/clip.tsv");
    (void)state;
    for (int i = 0;; i++) {
        size_t n;
        snprintf(file, sizeof file, "optim/clip_in.tensor%d.npy", i);
        FILE *f = fopen(golden_path(path, file), "r");
        if (!f)
            break;
        fclose(f);
        float *g = load(&n, "%s", file);
        sum += grad_square_sum(g, n);
        free(g);
    }
    while (fscanf(table, "%lf %lf %lf", &limit, &norm, &factor) == 3) {
        assert_true(fabs(sqrt(sum) - norm) <= 1e-6 * norm);
        assert_true(fabs(clip_factor(sqrt(sum), limit) - factor) <= 1e-6 * factor);
    }
    fclose(table);
}

/* Settings stand in the files' names. */
static void schedules(void **state)
{
    char path[4096];
    struct buf names = {0};
    size_t n_names, n_tables = 0;
    (void)state;
    assert_int_equal(file_list(&names, &n_names, golden_path(path, "optim")), TRAWL_OK);
    for (const char *name = names.data; n_names--; name += strlen(name) + 1) {
        struct schedule s = {0};
        unsigned warmup, total, step;
        double linear, cosine, constant;
        char file[512];
        if (sscanf(name, "schedule_lr%lf_warm%u_total%u.tsv", &s.lr, &warmup, &total) != 3)
            continue;
        s.warmup = warmup;
        s.total = total;
        snprintf(file, sizeof file, "optim/%s", name);
        FILE *f = open_table(file);
        while (fscanf(f, "%u %lf %lf %lf", &step, &linear, &cosine, &constant) == 4) {
            s.kind = SCHEDULE_LINEAR;
            assert_true(fabs(schedule_lr(&s, step) - linear) <= 1e-6 * s.lr);
            s.kind = SCHEDULE_COSINE;
            assert_true(fabs(schedule_lr(&s, step) - cosine) <= 1e-6 * s.lr);
            s.kind = SCHEDULE_CONSTANT;
            assert_true(fabs(schedule_lr(&s, step) - constant) <= 1e-6 * s.lr);
        }
        fclose(f);
        n_tables++;
    }
    buf_release(&names);
    assert_true(n_tables > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trajectories),
        cmocka_unit_test(clipping),
        cmocka_unit_test(schedules),
    };
    return cmocka_run_group_tests_name("optim", tests, NULL, NULL);
}
