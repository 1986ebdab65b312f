/* An opened model against tensors read by their names. */
#ifndef TEST_MODEL_COMPARE_H
#define TEST_MODEL_COMPARE_H
#include "scratch.h"
#include "model/model_int.h"
#include <math.h>

static inline const char *tiny_path(char path[4096], const char *arch, const char *rest)
{
    char name[256];
    snprintf(name, sizeof name, "tiny/%s/%s", arch, rest);
    return golden_path(path, name);
}

static inline struct model_files *open_model(const char *path)
{
    struct model_files *m;
    if (model_files_open(&m, path))
        fail_msg("%s", trawl_message());
    return m;
}

/* Every tensor of `m` read in two pieces equals what `expected` holds under the Hugging Face name; Gemma's norms have 1
 * added. `tolerance` is relative to the value, plus absolute. */
static inline void compare_tensors(struct model_files *m, const struct tensor_set *expected, float tolerance)
{
    const struct source *s = &m->source;
    const struct family *f = s->config.family;
    size_t n_compared = 0;
    for (int tensor = 0; tensor < NN_T_COUNT; tensor++) {
        size_t rows, cols;
        bool per_layer;
        nn_tensor_shape(&s->config.nn, (enum nn_tensor)tensor, &rows, &cols, &per_layer);
        for (size_t layer = 0; layer < (per_layer ? s->config.nn.L : 1); layer++) {
            char name[FAMILY_NAME_MAX], plain[FAMILY_NAME_MAX];
            if (!s->nn.has(s->nn.ctx, layer, (enum nn_tensor)tensor))
                continue;
            assert_true(family_tensor_name(name, f->hf_names, "model.", layer, (enum nn_tensor)tensor));
            assert_true(family_tensor_name(plain, f->hf_names, "", layer, (enum nn_tensor)tensor));
            const struct tensor *t = tensor_set_find(expected, name);
            t = t ? t : tensor_set_find(expected, plain);
            assert_non_null(t);
            assert_int_equal(t->rows * t->cols, rows * cols);
            float *a = calloc(rows * cols, sizeof *a), *b = calloc(rows * cols, sizeof *b);
            size_t half = rows / 2;
            assert_int_equal(s->nn.read(s->nn.ctx, a, layer, (enum nn_tensor)tensor, 0, half), TRAWL_OK);
            assert_int_equal(s->nn.read(s->nn.ctx, a + half * cols, layer, (enum nn_tensor)tensor, half, rows),
                             TRAWL_OK);
            assert_int_equal(tensor_read(b, expected, t, 0, t->rows), TRAWL_OK);
            for (size_t i = 0; i < rows * cols; i++) {
                float want = b[i] + (f->norm_plus_one && rows == 1 ? 1.0f : 0.0f);
                if (!(fabsf(a[i] - want) <= tolerance * (1.0f + fabsf(want))))
                    fail_msg("%s[%zu] is %g, expected %g", name, i, (double)a[i], (double)want);
            }
            free(a);
            free(b);
            n_compared++;
        }
    }
    assert_int_equal(n_compared, expected->n);
}

#endif
