/* A token's bits are its own: whatever else is in the batch, however many threads, in every precision. */
#include "../heap_calls.h"
#include "random_model.h"
#include "base/pool.h"
#include "math/isa.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS = 64 };
struct texts {
    uint32_t *ids, begin[ROWS + 1];
};

/* Lengths from 0 to 330, mixed; some longer than a tile, one empty. */
static struct texts texts_new(size_t V)
{
    struct texts t = {0};
    for (uint32_t b = 0; b < ROWS; b++)
        t.begin[b + 1] = t.begin[b] + (b == 5 ? 0 : b % 9 == 0 ? 130 + 3 * b + b / 6 : 1 + b * 37 % 90);
    t.ids = malloc(t.begin[ROWS] * sizeof *t.ids);
    for (uint32_t i = 0; i < t.begin[ROWS]; i++)
        t.ids[i] = (uint32_t)((i * 2654435761u >> 7) % V);
    return t;
}

static float *forward(const struct nn_model *model, const struct nn_batch *batch)
{
    struct nn_run *run;
    size_t T = batch->begin[batch->B] - batch->begin[0], C = nn_model_config(model)->C;
    float *hidden = malloc((T + 1) * C * sizeof *hidden);
    assert_int_equal(nn_run_new(&run, model, T), TRAWL_OK);
    if (nn_forward(run, hidden, batch))
        fail_msg("%s", trawl_message());
    nn_run_free(run);
    return hidden;
}

static void check_batching(struct nn_config config, enum nn_precision precision, enum nn_attention attention)
{
    struct nn_source source = random_model(&config);
    struct texts t = texts_new(config.V);
    struct nn_model *model;
    if (nn_model_new(&model, &source, precision)) {
        assert_int_equal(precision, NN_BF16); /* the one that a processor may lack */
        free(t.ids);
        return;
    }
    pool_set_threads(2);
    struct nn_batch batch = {.ids = t.ids, .begin = t.begin, .B = ROWS, .attention = attention};
    float *together = forward(model, &batch);
    pool_set_threads(1);
    float *one_thread = forward(model, &batch);
    size_t C = config.C, bytes = t.begin[ROWS] * C * sizeof(float);
    assert_memory_equal(one_thread, together, bytes);
    for (int threads = 1; threads <= 2; threads++) {
        pool_set_threads((size_t)threads);
        for (size_t b = 0; b < ROWS; b += (size_t)(threads == 2 ? 7 : 3)) {
            struct nn_batch alone = {.ids = t.ids, .begin = t.begin + b, .B = 1, .attention = attention};
            float *row = forward(model, &alone);
            assert_memory_equal(row, together + t.begin[b] * C, (t.begin[b + 1] - t.begin[b]) * C * sizeof *row);
            free(row);
        }
    }
    free(together), free(one_thread), free(t.ids);
    nn_model_free(model);
}

static void decoder_rows_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    for (int precision = NN_F32; precision <= NN_INT8; precision++) {
        check_batching(random_decoder(), (enum nn_precision)precision, NN_CAUSAL);
        check_batching(random_decoder(), (enum nn_precision)precision, NN_BIDIRECTIONAL);
    }
}

static void encoder_rows_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    for (int precision = NN_F32; precision <= NN_INT8; precision++)
        check_batching(random_encoder(), (enum nn_precision)precision, NN_BIDIRECTIONAL);
}

/* Rows begin at their own token 0, so the shared prefix is computed once and each continuation alone. */
static void check_prefix(enum nn_precision precision, size_t n_prefix)
{
    struct nn_config config = random_decoder();
    struct nn_source source = random_model(&config);
    struct nn_model *model;
    struct nn_kv *kv;
    enum { TAILS = 3, N = 300 };
    uint32_t ids[TAILS][N], whole_begin[2] = {0, N}, prefix_begin[2] = {0, (uint32_t)n_prefix}, begin[TAILS + 1] = {0};
    uint32_t tails[TAILS * N];
    if (nn_model_new(&model, &source, precision))
        return;
    for (size_t t = 0, n = 0; t < TAILS; t++, begin[t] = (uint32_t)n)
        for (size_t i = 0; i < N; i++) {
            ids[t][i] = (uint32_t)((i < n_prefix ? i * 31 : i * 17 + t * 101) % config.V);
            if (i >= n_prefix)
                tails[n++] = ids[t][i];
        }
    assert_int_equal(nn_kv_new(&kv, model, N), TRAWL_OK);
    struct nn_kv *one[1] = {kv}, *shared[TAILS] = {kv, kv, kv};
    struct nn_batch prefix = {.ids = ids[0], .begin = prefix_begin, .B = 1, .kv = one, .kv_append = true};
    float *head = forward(model, &prefix);
    assert_int_equal(nn_kv_tokens(kv), n_prefix);
    struct nn_batch rest = {.ids = tails, .begin = begin, .B = TAILS, .kv = shared};
    float *tail = forward(model, &rest);
    assert_int_equal(nn_kv_tokens(kv), n_prefix);
    for (size_t t = 0; t < TAILS; t++) {
        struct nn_batch alone = {.ids = ids[t], .begin = whole_begin, .B = 1};
        float *whole = forward(model, &alone);
        assert_memory_equal(whole, head, n_prefix * config.C * sizeof *head);
        assert_memory_equal(whole + n_prefix * config.C, tail + begin[t] * config.C,
                            (N - n_prefix) * config.C * sizeof *tail);
        free(whole);
    }
    for (size_t i = n_prefix; i < n_prefix + 20; i++) { /* and token by token, as generation does */
        uint32_t step_begin[2] = {0, 1};
        struct nn_batch step = {.ids = &ids[0][i], .begin = step_begin, .B = 1, .kv = one, .kv_append = true};
        float *state = forward(model, &step);
        assert_memory_equal(state, tail + (i - n_prefix) * config.C, config.C * sizeof *state);
        free(state);
    }
    free(head), free(tail);
    nn_kv_free(kv);
    nn_model_free(model);
}

static void a_shared_prefix_gives_the_bits_of_the_whole(void **state)
{
    (void)state;
    for (int precision = NN_F32; precision <= NN_INT8; precision++) {
        check_prefix((enum nn_precision)precision, 16);
        check_prefix((enum nn_precision)precision, 129);
    }
}

#if HEAP_CALLS_COUNTED
/* C++ operator new, that oneDNN makes small objects with for the arguments of each call: not counted. */
__attribute__((visibility("default"))) void *_Znwm(size_t bytes);
void *_Znwm(size_t bytes)
{
    return __libc_malloc(bytes);
}
#endif

static void a_warm_run_makes_no_heap_calls(void **state)
{
    (void)state;
    for (int precision = NN_F32; precision <= NN_INT8; precision++) {
        struct nn_config config = random_decoder();
        struct nn_source source = random_model(&config);
        struct texts t = texts_new(config.V);
        struct nn_model *model;
        struct nn_run *run;
        if (nn_model_new(&model, &source, (enum nn_precision)precision))
            continue;
        float *hidden = malloc(t.begin[ROWS] * config.C * sizeof *hidden);
        struct nn_batch batch = {.ids = t.ids, .begin = t.begin, .B = ROWS};
        assert_int_equal(nn_run_new(&run, model, t.begin[ROWS]), TRAWL_OK);
        assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_OK);
        size_t before = heap_calls;
        assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_OK);
        assert_int_equal(heap_calls - before, 0);
        free(hidden), free(t.ids);
        nn_run_free(run);
        nn_model_free(model);
    }
}

static void bad_batches_are_refused_by_row(void **state)
{
    (void)state;
    struct nn_config config = random_decoder();
    struct nn_source source = random_model(&config);
    struct nn_model *model;
    struct nn_run *run;
    static float hidden[2000 * 576];
    static uint32_t ids[2000];
    uint32_t begin[2] = {0, 3};
    struct nn_batch batch = {.ids = ids, .begin = begin, .B = 1};
    assert_int_equal(nn_model_new(&model, &source, NN_F32), TRAWL_OK);
    assert_int_equal(nn_run_new(&run, model, 1500), TRAWL_OK);
    ids[2] = 5000;
    assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_FORMAT);
    ids[2] = 4999;
    assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_OK);
    begin[1] = 1025;
    assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_LIMIT);
    begin[1] = 1501;
    assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_LIMIT);
    nn_run_free(run);
    nn_model_free(model);
}

static enum trawl_status read_with_nan(void *ctx, float *out, size_t layer, enum nn_tensor tensor, size_t begin,
                                       size_t end)
{
    enum trawl_status status = random_read(ctx, out, layer, tensor, begin, end);
    if (layer == 1 && tensor == NN_T_K)
        out[7] = NAN;
    return status;
}

static void weights_that_are_not_finite_are_refused_by_name(void **state)
{
    (void)state;
    struct nn_config config = random_decoder();
    struct nn_source source = random_model(&config);
    struct nn_model *model;
    source.read = read_with_nan;
    assert_int_equal(nn_model_new(&model, &source, NN_F32), TRAWL_FORMAT);
    assert_non_null(strstr(trawl_message(), "tensor K of layer 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoder_rows_do_not_depend_on_the_batch),
        cmocka_unit_test(encoder_rows_do_not_depend_on_the_batch),
        cmocka_unit_test(a_shared_prefix_gives_the_bits_of_the_whole),
        cmocka_unit_test(a_warm_run_makes_no_heap_calls),
        cmocka_unit_test(bad_batches_are_refused_by_row),
        cmocka_unit_test(weights_that_are_not_finite_are_refused_by_name),
    };
    return cmocka_run_group_tests_name("nn/batching", tests, NULL, NULL);
}
