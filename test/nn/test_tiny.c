/* The f32 forward pass of every family against hidden states and logits computed outside in float64. */
#include "tiny.h"
#include "math/isa.h"

static const char *const archs[] = {"llama", "llama3", "mistral", "qwen2", "qwen3", "gemma3_text", "bert"};
enum { N_ARCHS = sizeof archs / sizeof *archs };

/* Recommended by the values' own README: 1e-4 absolute plus 1e-4 of the largest entry. */
static void assert_near(const float *got, const float *want, size_t n, const char *what)
{
    float top = 0, worst = 0;
    for (size_t i = 0; i < n; i++)
        top = fmaxf(top, fabsf(want[i]));
    for (size_t i = 0; i < n; i++)
        worst = fmaxf(worst, isfinite(got[i]) ? fabsf(got[i] - want[i]) : INFINITY);
    if (getenv("TRAWL_TEST_VERBOSE"))
        print_message("%s: worst %.2g of %.3g\n", what, (double)worst, (double)top);
    if (!(worst <= 1e-4f + 1e-4f * top))
        fail_msg("%s: differs by %g where the largest value is %g", what, (double)worst, (double)top);
}

struct taps {
    const float *want;
    size_t C, layers;
    const char *what;
};

static void check_tap(void *ctx, size_t layer, const float *states, size_t T)
{
    const struct taps *taps = ctx;
    char what[100];
    snprintf(what, sizeof what, "%s layer %zu", taps->what, layer);
    if (layer < taps->layers) /* the last stored slice is after the final norm */
        assert_near(states, taps->want + layer * T * taps->C, T * taps->C, what);
}

static void check_sequence(struct tiny *t, struct nn_model *model, const char *arch, int k)
{
    size_t T, n;
    uint8_t *types;
    char what[100];
    uint32_t *ids = tiny_ids(arch, k, &T, &types), begin[2] = {0, (uint32_t)T};
    float *want = tiny_values(arch, k, "hidden", &n), *hidden = malloc(T * t->config.C * sizeof *hidden);
    assert_int_equal(n, (t->config.L + 1) * T * t->config.C);
    struct nn_run *run;
    assert_int_equal(nn_run_new(&run, model, T), TRAWL_OK);
    snprintf(what, sizeof what, "%s seq%d", arch, k);
    struct taps taps = {want, t->config.C, t->config.L, what};
    struct nn_batch batch = {.ids = ids, .types = types, .begin = begin, .B = 1, .attention = NN_CAUSAL};
    nn_run_tap(run, check_tap, &taps);
    assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_OK);
    assert_near(hidden, want + t->config.L * T * t->config.C, T * t->config.C, what);
    free(want);
    if (t->config.has_head) {
        float *logits = malloc(T * t->config.V * sizeof *logits);
        want = tiny_values(arch, k, "logits", &n);
        assert_int_equal(nn_logits(run, logits, hidden, T), TRAWL_OK);
        assert_near(logits, want, T * t->config.V, "logits");
        free(want), free(logits);
    }
    if (t->config.has_head && strcmp(arch, "mistral") && strcmp(arch, "gemma3_text")) {
        want = tiny_values(arch, k, "bidir_last_hidden", &n);
        nn_run_tap(run, NULL, NULL);
        batch.attention = NN_BIDIRECTIONAL;
        assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_OK);
        assert_near(hidden, want, T * t->config.C, "bidirectional");
        free(want);
    }
    nn_run_free(run);
    free(ids), free(types), free(hidden);
}

static void check_families(void)
{
    for (size_t a = 0; a < N_ARCHS; a++) {
        struct tiny t;
        struct nn_model *model;
        tiny_open(&t, archs[a]);
        assert_int_equal(nn_model_new(&model, &t.source, NN_F32), TRAWL_OK);
        for (int k = 0; k < 3; k++)
            check_sequence(&t, model, archs[a], k);
        nn_model_free(model);
        tiny_close(&t);
    }
}

static void every_family_agrees_with_float64(void **state)
{
    (void)state;
    check_families();
}

static void every_family_agrees_on_every_instruction_set(void **state)
{
    (void)state;
    static const char *const levels[] = {"ref", "avx2", "avx512-base"};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (isa_select(levels[i]) == TRAWL_OK)
            check_families();
    assert_int_equal(isa_select(NULL), TRAWL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_agrees_with_float64),
        cmocka_unit_test(every_family_agrees_on_every_instruction_set),
    };
    return cmocka_run_group_tests_name("nn/tiny", tests, NULL, NULL);
}
