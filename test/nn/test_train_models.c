/*
 * Gradients of a real model in bf16 beside those in f32: LoRA on every projection, next-token loss of two short rows.
 * Rounding to 8 bits of mantissa turns each product by some parts in a thousand; over 30 layers the gradients must
 * still point the same way.
 */
#include "math/matmul.h"
#include "model/model.h"
#include "nn/train.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { TOKENS = 60 };
static const uint32_t begins[] = {0, 24, TOKENS};

static float *gradients(const struct nn_source *source, enum nn_precision precision, size_t *n, double *loss)
{
    const struct nn_lora lora = {.rank = 8,
                                 .alpha = 16,
                                 .targets = 1u << NN_T_Q | 1u << NN_T_K | 1u << NN_T_V | 1u << NN_T_O |
                                            1u << NN_T_GATE | 1u << NN_T_UP | 1u << NN_T_DOWN};
    struct nn_train_options options = {precision, &lora, false, TOKENS, 7};
    struct nn_train *t;
    uint32_t ids[TOKENS];
    if (nn_train_new(&t, source, &options))
        fail_msg("%s", trawl_message());
    size_t C = nn_train_config(t)->C;
    float *hidden = malloc(TOKENS * C * sizeof *hidden), *d_hidden = malloc(TOKENS * C * sizeof *d_hidden);
    for (uint32_t i = 0; i < TOKENS; i++)
        ids[i] = 1000 + i * 37 % 4000;
    struct nn_batch batch = {.ids = ids, .begin = begins, .B = 2};
    struct nn_params p = nn_train_params(t);
    for (size_t i = 0; i < p.n_table; i++) /* B away from zero */
        for (size_t j = 0; p.table[i].part == NN_LORA_B && j < p.table[i].rows * p.table[i].cols; j++)
            p.values[p.table[i].offset + j] = 0.02f * sinf((float)(i * 131 + j * 7));
    assert_int_equal(nn_train_update(t), TRAWL_OK);
    assert_int_equal(nn_train_forward(t, hidden, &batch, 0), TRAWL_OK);
    assert_int_equal(nn_train_next_token(t, loss, d_hidden, hidden, &batch), TRAWL_OK);
    assert_int_equal(nn_train_backward(t, d_hidden), TRAWL_OK);
    float *grads = malloc(p.n * sizeof *grads);
    memcpy(grads, p.grads, p.n * sizeof *grads);
    *n = p.n;
    free(hidden), free(d_hidden);
    nn_train_free(t);
    return grads;
}

static void bf16_gradients_point_where_f32_ones_do(void **state)
{
    (void)state;
    struct model_files *files;
    double loss32, loss16, dot = 0, a = 0, b = 0;
    size_t n;
    if (!matmul_supports(MATMUL_BF16) || model_files_open(&files, "smollm2-135m")) {
        print_message("skipped: no bf16 here, or no model smollm2-135m in TRAWL_MODELS\n");
        skip();
    }
    float *f32 = gradients(model_files_source(files), NN_F32, &n, &loss32);
    float *bf16 = gradients(model_files_source(files), NN_BF16, &n, &loss16);
    for (size_t i = 0; i < n; i++) {
        dot += (double)f32[i] * (double)bf16[i];
        a += (double)f32[i] * (double)f32[i];
        b += (double)bf16[i] * (double)bf16[i];
    }
    print_message("cosine %.5f, length %.4f, loss %.5f and %.5f\n", dot / sqrt(a * b), sqrt(b / a), loss32, loss16);
    assert_true(dot / sqrt(a * b) > 0.99);
    assert_true(fabs(loss16 - loss32) < 0.02 * loss32);
    free(f32), free(bf16);
    model_files_close(files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bf16_gradients_point_where_f32_ones_do)};
    return cmocka_run_group_tests_name("nn/train_models", tests, NULL, NULL);
}
