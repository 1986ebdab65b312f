/*
 * What training promises for every model: results do not depend on threads, recomputing changes no bit, a batch is the
 * sum of its rows, nothing is allocated by a step, dropout is drawn anew from the same stream.
 */
#include "../heap_calls.h"
#include "random_model.h"
#include "base/pool.h"
#include "nn/train.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS = 7 };
/* Over two tiles, an empty row, one longer than a tile. */
static const uint32_t begins[ROWS + 1] = {0, 40, 41, 41, 181, 200, 263, 300};
static uint32_t ids[300];

static struct nn_config small(bool encoder)
{
    struct nn_config c = encoder ? random_encoder() : random_decoder();
    c.V = 700;
    c.F = 200;
    c.C = 96;
    c.H = 6;
    c.K = encoder ? 6 : 2;
    c.D = 16;
    return c;
}

static const struct nn_lora lora = {.rank = 5,
                                    .alpha = 10,
                                    .dropout = 0.2,
                                    .targets =
                                        1u << NN_T_Q | 1u << NN_T_V | 1u << NN_T_O | 1u << NN_T_UP | 1u << NN_T_DOWN};

/* A step over rows [first, last): hidden states, and gradients of a sum with fixed weights, added to. */
static void step(struct nn_train *t, float *hidden, size_t first, size_t last, enum nn_attention attention,
                 uint32_t number)
{
    const struct nn_config *c = nn_train_config(t);
    size_t T = begins[last] - begins[first];
    struct nn_batch batch = {.ids = ids, .begin = begins + first, .B = last - first, .attention = attention};
    float *d = malloc((T + 1) * c->C * sizeof *d);
    for (size_t i = 0; i < T * c->C; i++)
        d[i] = random_value(777000 + begins[first] * c->C + i);
    assert_int_equal(nn_train_forward(t, hidden, &batch, number), TRAWL_OK);
    assert_int_equal(nn_train_backward(t, d), TRAWL_OK);
    free(d);
}

static struct nn_train *train_new(struct nn_config *c, enum nn_precision precision, const struct nn_lora *with,
                                  bool checkpoint)
{
    struct nn_train *t;
    struct nn_source source = random_model(c);
    struct nn_train_options options = {precision, with, checkpoint, 300, 99};
    for (size_t i = 0; i < 300; i++)
        ids[i] = (uint32_t)(i * 2654435761u >> 7) % (uint32_t)c->V;
    if (nn_train_new(&t, &source, &options)) {
        if (precision != NN_BF16)
            fail_msg("%s", trawl_message());
        return NULL;
    }
    struct nn_params p = nn_train_params(t);
    for (size_t i = 0; i < p.n_table; i++) /* B begins at zero: other values let gradients reach A */
        for (size_t j = 0; p.table[i].part == NN_LORA_B && j < p.table[i].rows * p.table[i].cols; j++)
            p.values[p.table[i].offset + j] = 0.3f * random_value(31337 + p.table[i].offset + j);
    assert_int_equal(nn_train_update(t), TRAWL_OK);
    return t;
}

struct result {
    float *hidden, *grads;
    size_t n_hidden, n;
};

static struct result run(struct nn_config c, enum nn_precision precision, const struct nn_lora *with, bool checkpoint,
                         size_t threads, enum nn_attention attention)
{
    struct result r = {0};
    pool_set_threads(threads);
    struct nn_train *t = train_new(&c, precision, with, checkpoint);
    if (t) {
        struct nn_params p = nn_train_params(t);
        r.n_hidden = begins[ROWS] * c.C;
        r.hidden = malloc(r.n_hidden * sizeof *r.hidden);
        step(t, r.hidden, 0, ROWS, attention, 3);
        r.n = p.n;
        r.grads = malloc(p.n * sizeof *r.grads);
        memcpy(r.grads, p.grads, p.n * sizeof *r.grads);
        nn_train_free(t);
    }
    pool_set_threads(0);
    return r;
}

static void assert_same(struct result a, struct result b)
{
    assert_int_equal(a.n, b.n);
    if (a.n) {
        assert_memory_equal(a.hidden, b.hidden, a.n_hidden * sizeof *a.hidden);
        assert_memory_equal(a.grads, b.grads, a.n * sizeof *a.grads);
    }
    free(a.hidden), free(a.grads), free(b.hidden), free(b.grads);
}

/* Each kind of model, precision and set of parameters. */
static void each(void (*check)(struct nn_config c, enum nn_precision precision, const struct nn_lora *with,
                               enum nn_attention attention))
{
    for (int encoder = 0; encoder < 2; encoder++)
        for (int precision = NN_F32; precision <= NN_BF16; precision++)
            for (int with = 0; with < 2; with++)
                check(small(encoder), (enum nn_precision)precision, with ? &lora : NULL,
                      with ? NN_BIDIRECTIONAL : NN_CAUSAL);
}

static void check_threads(struct nn_config c, enum nn_precision precision, const struct nn_lora *with,
                          enum nn_attention attention)
{
    assert_same(run(c, precision, with, false, 1, attention), run(c, precision, with, false, 3, attention));
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    each(check_threads);
}

static void check_recomputing(struct nn_config c, enum nn_precision precision, const struct nn_lora *with,
                              enum nn_attention attention)
{
    assert_same(run(c, precision, with, false, 2, attention), run(c, precision, with, true, 2, attention));
}

static void recomputing_changes_no_bit(void **state)
{
    (void)state;
    each(check_recomputing);
}

/* Sums of a few hundred f32 terms in another order: 1e-4 of the largest entry of the parameter is ample. */
static void check_rows(struct nn_config c, enum nn_precision precision, const struct nn_lora *with,
                       enum nn_attention attention)
{
    struct nn_lora dry;
    if (precision != NN_F32)
        return;
    if (with) { /* masks go by the token's place in the batch */
        dry = *with;
        dry.dropout = 0;
        with = &dry;
    }
    struct result all = run(c, precision, with, false, 2, attention);
    struct nn_train *t = train_new(&c, precision, with, false);
    struct nn_params p = nn_train_params(t);
    float *hidden = malloc(all.n_hidden * sizeof *hidden);
    float *whole = malloc(all.n_hidden * sizeof *whole);
    for (size_t i = 0; i < all.n_hidden; i++) /* the same weights as the step over all rows has */
        whole[i] = random_value(777000 + i);
    for (size_t b = 0; b < ROWS; b++) {
        struct nn_batch row = {.ids = ids, .begin = begins + b, .B = 1, .attention = attention};
        assert_int_equal(nn_train_forward(t, hidden + begins[b] * c.C, &row, 3), TRAWL_OK);
        assert_int_equal(nn_train_backward(t, whole + begins[b] * c.C), TRAWL_OK);
    }
    assert_memory_equal(hidden, all.hidden, all.n_hidden * sizeof *hidden);
    for (size_t i = 0; i < p.n_table; i++) {
        float top = 0, worst = 0;
        for (size_t j = 0; j < p.table[i].rows * p.table[i].cols; j++) {
            size_t at = p.table[i].offset + j;
            top = fmaxf(top, fabsf(all.grads[at]));
            worst = fmaxf(worst, fabsf(all.grads[at] - p.grads[at]));
        }
        if (!(worst <= 1e-4f * top))
            fail_msg("%s of layer %zu: differs by %g, largest %g", nn_tensor_name(p.table[i].tensor), p.table[i].layer,
                     (double)worst, (double)top);
    }
    free(hidden), free(whole), free(all.hidden), free(all.grads);
    nn_train_free(t);
}

static void a_batch_is_the_sum_of_its_rows(void **state)
{
    (void)state;
    each(check_rows);
}

static void check_forward(struct nn_config c, enum nn_precision precision, const struct nn_lora *with,
                          enum nn_attention attention)
{
    struct result a = run(c, precision, with, false, 2, attention), b = a;
    struct nn_train *t = train_new(&c, precision, with, false);
    if (!t)
        return;
    struct nn_batch batch = {.ids = ids, .begin = begins, .B = ROWS, .attention = attention};
    b.hidden = malloc(a.n_hidden * sizeof *b.hidden);
    b.grads = malloc(a.n * sizeof *b.grads);
    memcpy(b.grads, a.grads, a.n * sizeof *b.grads);
    assert_int_equal(nn_train_forward_only(t, b.hidden, &batch, 3), TRAWL_OK);
    assert_int_equal(nn_train_backward(t, b.hidden), TRAWL_USAGE);
    nn_train_free(t);
    assert_same(a, b);
}

static void a_forward_pass_alone_has_the_same_bits(void **state)
{
    (void)state;
    each(check_forward);
}

static void check_heap(struct nn_config c, enum nn_precision precision, const struct nn_lora *with,
                       enum nn_attention attention)
{
    static float hidden[300 * 96], d_hidden[300 * 96];
    double loss;
    struct nn_train *t = train_new(&c, precision, with, false);
    struct nn_batch batch = {.ids = ids, .begin = begins, .B = ROWS, .attention = attention};
    size_t before = 0;
    for (uint32_t i = 0; t && i < 3; i++) {
        if (i == 1)
            before = heap_calls;
        assert_int_equal(nn_train_forward(t, hidden, &batch, i), TRAWL_OK);
        if (c.encoder)
            memcpy(d_hidden, hidden, sizeof hidden);
        else
            assert_int_equal(nn_train_next_token(t, &loss, d_hidden, hidden, &batch), TRAWL_OK);
        assert_int_equal(nn_train_backward(t, d_hidden), TRAWL_OK);
        assert_int_equal(nn_train_update(t), TRAWL_OK);
    }
    assert_int_equal(t ? heap_calls - before : 0, 0);
    nn_train_free(t);
}

static void steps_make_no_heap_calls_after_the_first(void **state)
{
    (void)state;
    if (!HEAP_CALLS_COUNTED) {
        print_message("heap calls are not counted under AddressSanitizer\n");
        skip();
    }
    each(check_heap);
}

static void dropout_follows_the_step(void **state)
{
    (void)state;
    struct nn_config c = small(false);
    struct nn_train *t = train_new(&c, NN_F32, &lora, false);
    struct nn_batch batch = {.ids = ids, .begin = begins, .B = ROWS};
    static float a[300 * 96], b[300 * 96];
    assert_int_equal(nn_train_forward(t, a, &batch, 1), TRAWL_OK);
    assert_int_equal(nn_train_forward(t, b, &batch, 2), TRAWL_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(nn_train_forward(t, b, &batch, 1), TRAWL_OK);
    assert_memory_equal(a, b, sizeof a);
    nn_train_free(t);
}

/* <hidden, d> at values + scale * grads. */
static double along(struct nn_train *t, const float *values, float scale, const float *d)
{
    static float hidden[300 * 96];
    struct nn_batch batch = {.ids = ids, .begin = begins, .B = ROWS};
    struct nn_params p = nn_train_params(t);
    double sum = 0;
    for (size_t i = 0; i < p.n; i++)
        p.values[i] = values[i] + scale * p.grads[i];
    assert_int_equal(nn_train_update(t), TRAWL_OK);
    assert_int_equal(nn_train_forward(t, hidden, &batch, 3), TRAWL_OK);
    for (size_t i = 0; i < 300 * 96; i++)
        sum += (double)hidden[i] * (double)d[i];
    return sum;
}

/* The slope along the gradient is its squared length; f32 and a finite step leave some parts in a thousand. */
static void dropout_is_differentiated(void **state)
{
    (void)state;
    struct nn_config c = small(false);
    struct nn_train *t = train_new(&c, NN_F32, &lora, false);
    struct nn_params p = nn_train_params(t);
    static float hidden[300 * 96], d[300 * 96];
    double squares = 0;
    step(t, hidden, 0, ROWS, NN_CAUSAL, 3);
    for (size_t i = 0; i < 300 * 96; i++)
        d[i] = random_value(777000 + i);
    for (size_t i = 0; i < p.n; i++)
        squares += (double)p.grads[i] * (double)p.grads[i];
    float *values = malloc(p.n * sizeof *values), h = (float)(1e-3 / sqrt(squares));
    memcpy(values, p.values, p.n * sizeof *values);
    double slope = (along(t, values, h, d) - along(t, values, -h, d)) / (2 * (double)h);
    if (!(fabs(slope / squares - 1) < 1e-2))
        fail_msg("slope %g, squared gradient %g", slope, squares);
    free(values);
    nn_train_free(t);
}

/* The next-token loss at values + scale * grads; with d_hidden, its gradients are added too. */
static double loss_along(struct nn_train *t, const float *values, const float *grads, float scale, float *d_hidden)
{
    static float hidden[300 * 96], unused[300 * 96];
    struct nn_batch batch = {.ids = ids, .begin = begins, .B = ROWS};
    struct nn_params p = nn_train_params(t);
    double loss;
    for (size_t i = 0; i < p.n; i++)
        p.values[i] = values[i] + scale * grads[i];
    assert_int_equal(nn_train_update(t), TRAWL_OK);
    assert_int_equal(nn_train_forward(t, hidden, &batch, 3), TRAWL_OK);
    assert_int_equal(nn_train_next_token(t, &loss, d_hidden ? d_hidden : unused, hidden, &batch), TRAWL_OK);
    if (d_hidden)
        assert_int_equal(nn_train_backward(t, d_hidden), TRAWL_OK);
    return loss;
}

/* Families that no tiny model stands for: caps on scores and logits (Gemma 2), here with every norm there is. */
static void soft_caps_are_differentiated(void **state)
{
    (void)state;
    struct nn_config c = small(false);
    c.attention_cap = 1.5f;
    c.logit_cap = 2;
    c.qk_norm = c.sandwich_norm = true;
    struct nn_train *t = train_new(&c, NN_F32, NULL, true);
    struct nn_params p = nn_train_params(t);
    static float d_hidden[300 * 96];
    float *values = malloc(p.n * sizeof *values), *grads = malloc(p.n * sizeof *grads);
    double squares = 0;
    memcpy(values, p.values, p.n * sizeof *values);
    loss_along(t, values, p.grads, 0, d_hidden);
    memcpy(grads, p.grads, p.n * sizeof *grads);
    for (size_t i = 0; i < p.n; i++)
        squares += (double)grads[i] * (double)grads[i];
    float h = (float)(3e-2 / sqrt(squares));
    double slope = (loss_along(t, values, grads, h, NULL) - loss_along(t, values, grads, -h, NULL)) / (2 * (double)h);
    if (!(fabs(slope / squares - 1) < 1e-2))
        fail_msg("slope %g, squared gradient %g", slope, squares);
    free(values), free(grads);
    nn_train_free(t);
}

/* With B at zero the model is its base: the states of the serving pass, up to sums in another order. */
static void an_untrained_lora_is_the_base_model(void **state)
{
    (void)state;
    struct nn_config c = small(false);
    struct nn_source source = random_model(&c);
    struct nn_train_options options = {NN_F32, &lora, false, 300, 5};
    struct nn_train *t;
    struct nn_model *model;
    struct nn_run *serving;
    static float a[300 * 96], b[300 * 96];
    struct nn_batch batch = {.ids = ids, .begin = begins, .B = ROWS};
    assert_int_equal(nn_train_new(&t, &source, &options), TRAWL_OK);
    assert_int_equal(nn_model_new(&model, &source, NN_F32), TRAWL_OK);
    assert_int_equal(nn_run_new(&serving, model, 300), TRAWL_OK);
    assert_int_equal(nn_train_forward(t, a, &batch, 1), TRAWL_OK);
    assert_int_equal(nn_forward(serving, b, &batch), TRAWL_OK);
    for (size_t i = 0; i < 300 * 96; i++)
        assert_float_equal(a[i], b[i], 1e-4f);
    nn_run_free(serving);
    nn_model_free(model);
    nn_train_free(t);
}

/* Drawn as PEFT draws: A within 1/sqrt(K) with the variance of a uniform number, B zero. */
static void lora_begins_as_peft_begins(void **state)
{
    (void)state;
    struct nn_config c = small(false);
    struct nn_source source = random_model(&c);
    struct nn_train_options options = {NN_F32, &lora, false, 300, 5};
    struct nn_train *t;
    assert_int_equal(nn_train_new(&t, &source, &options), TRAWL_OK);
    struct nn_params p = nn_train_params(t);
    for (size_t i = 0; i < p.n_table; i++) {
        const struct nn_param *row = &p.table[i];
        size_t n = row->rows * row->cols;
        double squares = 0, bound = row->part == NN_LORA_A ? 1 / sqrt((double)row->cols) : 0;
        for (size_t j = 0; j < n; j++) {
            double x = (double)p.values[row->offset + j];
            assert_true(fabs(x) <= bound);
            squares += x * x;
        }
        if (row->part == NN_LORA_A) /* n >= 480 draws: a tenth is over three deviations */
            assert_true(fabs(squares / (double)n / (bound * bound / 3) - 1) < 0.15);
    }
    nn_train_free(t);
}

static void options_without_sense_are_refused(void **state)
{
    (void)state;
    struct nn_config c = small(true);
    struct nn_source source = random_model(&c);
    struct nn_lora bad = lora;
    struct nn_train_options options = {NN_F32, &bad, false, 300, 5};
    struct nn_train *t;
    bad.targets = 1u << NN_T_GATE;
    assert_int_equal(nn_train_new(&t, &source, &options), TRAWL_UNSUPPORTED);
    assert_non_null(strstr(trawl_message(), "GATE"));
    bad.targets = 1u << NN_T_EMBED;
    assert_int_equal(nn_train_new(&t, &source, &options), TRAWL_USAGE);
    bad = lora;
    bad.dropout = 1;
    assert_int_equal(nn_train_new(&t, &source, &options), TRAWL_USAGE);
    options.lora = NULL;
    options.precision = NN_INT8;
    assert_int_equal(nn_train_new(&t, &source, &options), TRAWL_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(recomputing_changes_no_bit),
        cmocka_unit_test(a_batch_is_the_sum_of_its_rows),
        cmocka_unit_test(a_forward_pass_alone_has_the_same_bits),
        cmocka_unit_test(steps_make_no_heap_calls_after_the_first),
        cmocka_unit_test(dropout_follows_the_step),
        cmocka_unit_test(dropout_is_differentiated),
        cmocka_unit_test(soft_caps_are_differentiated),
        cmocka_unit_test(an_untrained_lora_is_the_base_model),
        cmocka_unit_test(lora_begins_as_peft_begins),
        cmocka_unit_test(options_without_sense_are_refused),
    };
    return cmocka_run_group_tests_name("nn/train_properties", tests, NULL, NULL);
}
