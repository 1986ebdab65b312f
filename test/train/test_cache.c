/*
 * GradCache: a batch taken in many passes gives the embeddings of one pass to the bit, and its gradients up to the
 * rounding of sums; the gradients are those of the loss (by differences of the loss itself).
 */
#include "../encode/fixture.h"
#include "encode/encode.h"
#include "nn/train.h"
#include "train/cache.h"
#include "train/objective.h"
#include <math.h>

enum { B = 5, H = 1, TEXTS = 2 * B + B * H, TOKENS = 400, STEP = 7 };

struct bench {
    char path[4096];
    struct encoder *encoder;
    struct nn_train *train;
    struct cache *cache;
    struct objective_work *work;
    struct text_rows rows;
    struct nn_params params;
    size_t D;
    float *embeddings, *gradients;
};

/* Texts of 1 to 29 tokens; the third negative is absent. */
static void add_texts(struct bench *b)
{
    struct buf text = {0};
    for (uint32_t i = 0; i < TEXTS; i++) {
        fixture_words(&text, NULL, 1 + (i * 7) % 23, 11 + i);
        struct text_view view = {text.data, text.n};
        const struct text_view *given = i == 2 * B + 2 ? NULL : &view;
        assert_int_equal(text_rows_add(&b->rows, b->encoder, given, i < B ? ENCODER_QUERY : ENCODER_DOCUMENT),
                         TRAWL_OK);
    }
    buf_release(&text);
}

static void open_bench(struct bench *b, const char *arch, size_t tokens_max, const struct nn_lora *lora,
                       const char *pooling)
{
    struct encoder_options options = {.precision = "f32", .tokens_only = true};
    struct encoder_choices choices = {.pooling = pooling, .prompt_pooled = -1, .special_pooled = -1, .append_eos = -1};
    struct contract contract;
    memset(b, 0, sizeof *b);
    fixture_model(b->path, arch, "cache");
    assert_int_equal(encoder_open(&b->encoder, b->path, &options), TRAWL_OK);
    assert_int_equal(encoder_choose(&contract, b->encoder, ENCODER_DOCUMENT, &choices), TRAWL_OK);
    assert_int_equal(encoder_set_contract(b->encoder, ENCODER_DOCUMENT, &contract), TRAWL_OK);
    assert_int_equal(encoder_set_contract(b->encoder, ENCODER_QUERY, &contract), TRAWL_OK);
    struct nn_train_options train = {.precision = NN_F32, .lora = lora, .tokens_max = tokens_max, .seed = 3};
    const struct nn_source *source = model_files_source(encoder_files(b->encoder));
    assert_int_equal(nn_train_new(&b->train, source, &train), TRAWL_OK);
    b->params = nn_train_params(b->train);
    for (size_t i = 0; i < b->params.n && lora; i++) /* B is zero in the beginning: nothing to see */
        b->params.values[i] += 0.05f * sinf((float)i);
    assert_int_equal(nn_train_update(b->train), TRAWL_OK);
    b->D = nn_train_config(b->train)->C;
    assert_int_equal(cache_new(&b->cache, b->train, tokens_max, b->D,
                               strcmp(contract.attention, "causal") ? NN_BIDIRECTIONAL : NN_CAUSAL),
                     TRAWL_OK);
    struct objective_options objective = objective_defaults();
    assert_int_equal(objective_work_new(&b->work, &objective, B, H, b->D), TRAWL_OK);
    b->embeddings = calloc(TEXTS * b->D, sizeof(float));
    b->gradients = calloc(TEXTS * b->D, sizeof(float));
    add_texts(b);
}

static void close_bench(struct bench *b)
{
    cache_free(b->cache);
    nn_train_free(b->train);
    objective_work_free(b->work);
    encoder_close(b->encoder);
    text_rows_release(&b->rows);
    free(b->embeddings);
    free(b->gradients);
    fixture_remove(b->path);
}

static double loss_of(struct bench *b)
{
    uint8_t absent[B * H] = {0};
    double loss;
    absent[2] = 1;
    assert_int_equal(cache_forward(b->cache, b->embeddings, &b->rows, STEP), TRAWL_OK);
    struct objective_batch batch = {.B = B,
                                    .H = H,
                                    .D = b->D,
                                    .q = b->embeddings,
                                    .p = b->embeddings + B * b->D,
                                    .n = b->embeddings + 2 * B * b->D,
                                    .dq = b->gradients,
                                    .dp = b->gradients + B * b->D,
                                    .dn = b->gradients + 2 * B * b->D,
                                    .absent = absent};
    assert_int_equal(objective_step(b->work, &loss, NULL, &batch, 0.3), TRAWL_OK);
    return loss;
}

static double loss_and_gradients(struct bench *b)
{
    double loss = loss_of(b);
    memset(b->params.grads, 0, b->params.n * sizeof(float));
    assert_int_equal(cache_backward(b->cache, b->gradients, &b->rows), TRAWL_OK);
    return loss;
}

static const struct nn_lora lora = {
    .rank = 3, .alpha = 6.0, .targets = 1u << NN_T_Q | 1u << NN_T_V | 1u << NN_T_O | 1u << NN_T_UP | 1u << NN_T_DOWN};

static void many_passes_equal_one(void **state)
{
    static const char *const archs[] = {"llama", "gemma3_text", "bert"};
    (void)state;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        for (int full = 0; full < 2; full++) {
            struct bench one, many;
            double largest = 0.0, off = 0.0;
            open_bench(&one, archs[i], TOKENS, full ? NULL : &lora, "mean");
            open_bench(&many, archs[i], 40, full ? NULL : &lora, "mean");
            assert_true(loss_and_gradients(&one) == loss_and_gradients(&many));
            assert_memory_equal(one.embeddings, many.embeddings, TEXTS * one.D * sizeof(float));
            for (size_t k = 0; k < one.params.n; k++) {
                largest = fmax(largest, fabs((double)one.params.grads[k]));
                off = fmax(off, fabs((double)one.params.grads[k] - (double)many.params.grads[k]));
            }
            assert_true(largest > 0.0);
            if (!(off <= 1e-5 * largest)) /* sums of a few hundred terms in another order, f32 */
                fail_msg("%s: gradients are off by %g of %g", archs[i], off, largest);
            close_bench(&one);
            close_bench(&many);
        }
}

/* Along the gradient's own direction the loss must rise by its length; with dropout, under the same masks. */
static void gradients_are_those_of_the_loss(void **state)
{
    static const char *const poolings[] = {"mean", "last", "weighted-mean", "first"};
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        struct bench b;
        struct nn_lora dropped = lora;
        double norm = 0.0, h = 2e-3;
        dropped.dropout = variant & 4 ? 0.25 : 0.0;
        /* under a causal mask the first token is the same for every text */
        open_bench(&b, (variant & 3) == 3 ? "bert" : "llama", 60, &dropped, poolings[variant & 3]);
        loss_and_gradients(&b);
        float *g = calloc(b.params.n, sizeof *g), *x = calloc(b.params.n, sizeof *x);
        memcpy(g, b.params.grads, b.params.n * sizeof *g);
        memcpy(x, b.params.values, b.params.n * sizeof *x);
        for (size_t i = 0; i < b.params.n; i++)
            norm += (double)g[i] * (double)g[i];
        norm = sqrt(norm);
        double value[2];
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < b.params.n; i++)
                b.params.values[i] = (float)((double)x[i] + (side ? h : -h) * (double)g[i] / norm);
            assert_int_equal(nn_train_update(b.train), TRAWL_OK);
            value[side] = loss_of(&b);
        }
        double slope = (value[1] - value[0]) / (2.0 * h);
        if (!(fabs(slope - norm) <= 1e-2 * norm)) /* third-order term of a step of 2e-3, and f32 */
            fail_msg("pooling %s, dropout %g: slope %g, gradient of length %g", poolings[variant & 3], dropped.dropout,
                     slope, norm);
        free(g);
        free(x);
        close_bench(&b);
    }
}

static void a_text_beyond_a_pass_is_refused(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, "llama", 10, &lora, "mean");
    assert_int_equal(cache_embed(b.cache, b.embeddings, &b.rows, STEP), TRAWL_LIMIT);
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_passes_equal_one),
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(a_text_beyond_a_pass_is_refused),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
