/* Vectors of real models against golden/forward; a model that is not installed is skipped by name. */
#include "../golden.h"
#include "base/file.h"
#include "base/json.h"
#include "data/vectors.h"
#include "encode/encode.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { TEXTS_MAX = 64, WIDTH_MAX = 8192 };

struct texts {
    json_t *lines[TEXTS_MAX];
    struct text_view views[TEXTS_MAX];
    size_t n;
};

static void read_texts(struct texts *t, const char *folder)
{
    char path[4096], name[256];
    struct line_reader *lines;
    const char *line;
    size_t n;
    *t = (struct texts){0};
    snprintf(name, sizeof name, "forward/%s/texts.jsonl", folder);
    assert_int_equal(line_reader_open(&lines, golden_path(path, name)), TRAWL_OK);
    while (t->n < TEXTS_MAX && !line_next(lines, &line, &n) && line) {
        assert_int_equal(json_parse(&t->lines[t->n], line, n, path), TRAWL_OK);
        const json_t *text = json_object_get(t->lines[t->n], "text");
        t->views[t->n++] = (struct text_view){json_string_value(text), json_string_length(text)};
    }
    line_reader_close(lines);
    assert_true(t->n > 0);
}

static void release_texts(struct texts *t)
{
    for (size_t i = 0; i < t->n; i++)
        json_decref(t->lines[i]);
}

static struct encoder *open_or_skip(const char *name, const char *precision)
{
    struct encoder_options options = {.precision = precision};
    struct encoder *e;
    enum trawl_status status = encoder_open(&e, name, &options);
    if (status == TRAWL_NOT_FOUND) {
        print_message("model '%s' is not installed\n", name);
        skip();
    }
    if (status == TRAWL_UNSUPPORTED && strcmp(precision, "f32") != 0) {
        print_message("%s: %s\n", precision, trawl_message());
        return NULL;
    }
    if (status)
        fail_msg("%s", trawl_message());
    return e;
}

static void open_reference(struct npy *a, const char *folder, const char *file)
{
    char path[4096], name[256];
    snprintf(name, sizeof name, "forward/%s/%s", folder, file);
    if (npy_open(a, golden_path(path, name)))
        fail_msg("%s", trawl_message());
}

static void encode_as(float *out, struct encoder *e, const struct texts *t, struct encoder_choices choices)
{
    struct contract c;
    choices.prompt_pooled = choices.special_pooled = choices.append_eos = -1;
    assert_int_equal(encoder_choose(&c, e, ENCODER_DOCUMENT, &choices), TRAWL_OK);
    if (encoder_set_contract(e, ENCODER_DOCUMENT, &c) || encoder_encode(e, out, t->views, t->n, ENCODER_DOCUMENT))
        fail_msg("%s", trawl_message());
}

/* Row `row` of each text in a reference [n,3,H]; tolerance of golden/forward/README.md. */
static void check_rows(const float *got, const struct npy *reference, size_t row, const char *what)
{
    size_t H = reference->shape[2];
    for (size_t i = 0; i < reference->shape[0]; i++) {
        double most = 0.0;
        for (size_t c = 0; c < H; c++)
            most = fmax(most, fabs(npy_get(reference, (i * 3 + row) * H + c)));
        for (size_t c = 0; c < H; c++) {
            double wanted = npy_get(reference, (i * 3 + row) * H + c);
            if (!(fabs((double)got[i * H + c] - wanted) <= 1e-4 * most))
                fail_msg("%s, text %zu, [%zu]: %g, expected %g", what, i, c, (double)got[i * H + c], wanted);
        }
    }
}

/* The first n of mean, last and first. */
static void check_pooled(struct encoder *e, const struct texts *t, const char *folder, const char *file,
                         const char *attention, size_t max_length, size_t n)
{
    static const char *const poolings[] = {"mean", "last", "first"};
    static float got[TEXTS_MAX * WIDTH_MAX];
    struct npy reference;
    open_reference(&reference, folder, file);
    for (size_t p = 0; p < n; p++) {
        encode_as(got, e, t,
                  (struct encoder_choices){
                      .pooling = poolings[p], .attention = attention, .normalize = "none", .max_length = max_length});
        check_rows(got, &reference, p, poolings[p]);
    }
    npy_close(&reference);
}

static void check_llm(const char *name, const char *folder)
{
    struct encoder *e = open_or_skip(name, "f32");
    struct texts t;
    read_texts(&t, folder);
    check_pooled(e, &t, folder, "pooled_causal.npy", "causal", 0, 3);
    check_pooled(e, &t, folder, "pooled_bidir.npy", "bidirectional", 0, 1); /* the pass is another, pooling the same */
    release_texts(&t);
    encoder_close(e);
}

static void smollm2_pools_to_the_reference(void **state)
{
    (void)state;
    check_llm("smollm2-135m", "smol");
}

static void gemma3_pools_to_the_reference(void **state)
{
    (void)state;
    check_llm("gemma3-270m", "gemma");
}

static void qwen2_pools_to_the_reference(void **state)
{
    (void)state;
    check_llm("qwen2.5-coder-0.5b", "qwen");
}

/* Least cosine and largest difference of the default contract's vectors from sentence-transformers'. */
static void compare_minilm(const char *precision, const char *file, size_t max_length, double *least, double *most)
{
    static float got[TEXTS_MAX * WIDTH_MAX];
    *least = 1.0;
    *most = 0.0;
    struct encoder *e = open_or_skip("minilm", precision);
    struct texts t;
    struct npy reference;
    if (!e) /* not on this processor */
        return;
    read_texts(&t, "minilm");
    open_reference(&reference, "minilm", file);
    encode_as(got, e, &t, (struct encoder_choices){.max_length = max_length});
    size_t D = reference.shape[1];
    for (size_t i = 0; i < t.n; i++) {
        double dot = 0.0;
        for (size_t c = 0; c < D; c++) {
            double wanted = npy_get(&reference, i * D + c), x = (double)got[i * D + c];
            dot += wanted * x;
            *most = fmax(*most, fabs(wanted - x));
        }
        *least = fmin(*least, dot);
    }
    npy_close(&reference);
    release_texts(&t);
    encoder_close(e);
}

static void minilm_is_sentence_transformers(void **state)
{
    (void)state;
    double least, most;
    compare_minilm("f32", "embedding_st.npy", 0, &least, &most);
    assert_true(most <= 1e-5);
    compare_minilm("f32", "embedding.npy", 512, &least, &most);
    assert_true(most <= 1e-5);
    compare_minilm("bf16", "embedding_st.npy", 0, &least, &most);
    assert_true(least > 0.999);
    compare_minilm("int8", "embedding_st.npy", 0, &least, &most);
    assert_true(least > 0.99);
}

static void minilm_pools_to_the_reference(void **state)
{
    (void)state;
    struct encoder *e = open_or_skip("minilm", "f32");
    struct texts t;
    read_texts(&t, "minilm");
    check_pooled(e, &t, "minilm", "pooled.npy", "bidirectional", 512, 3);
    release_texts(&t);
    encoder_close(e);
}

/* EOS is a token of its own, pooled by `last`. */
static void eos_is_appended_and_pooled(void **state)
{
    (void)state;
    float with[WIDTH_MAX], by_hand[WIDTH_MAX];
    struct encoder *e = open_or_skip("smollm2-135m", "f32");
    size_t C = nn_model_config(encoder_model(e))->C;
    struct encoder_choices choices = {
        .pooling = "last", .normalize = "none", .prompt_pooled = -1, .special_pooled = -1, .append_eos = 1};
    struct contract c;
    struct text_view view = {"a house", 7};
    struct ids ids = {0};
    const struct tokenizer *t = model_files_tokenizer(encoder_files(e));
    assert_int_equal(encoder_choose(&c, e, ENCODER_DOCUMENT, &choices), TRAWL_OK);
    assert_int_equal(encoder_set_contract(e, ENCODER_DOCUMENT, &c), TRAWL_OK);
    assert_int_equal(encoder_encode(e, with, &view, 1, ENCODER_DOCUMENT), TRAWL_OK);
    assert_int_equal(tokenizer_encode(t, NULL, &ids, view.text, view.n, 0), TRAWL_OK);
    uint32_t all[16], begin[2] = {0, (uint32_t)ids.n + 1};
    assert_true(ids.n < 15);
    memcpy(all, ids.ids, ids.n * sizeof *all);
    all[ids.n] = tokenizer_special_id(t, TOKENIZER_EOS);
    struct nn_batch batch = {.ids = all, .begin = begin, .B = 1, .attention = NN_CAUSAL};
    struct nn_run *run;
    float *hidden = malloc(16 * C * sizeof *hidden);
    assert_int_equal(nn_run_new(&run, encoder_model(e), 16), TRAWL_OK);
    assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_OK);
    memcpy(by_hand, hidden + ids.n * C, C * sizeof *hidden);
    assert_memory_equal(with, by_hand, C * sizeof *with);
    nn_run_free(run);
    free(hidden);
    ids_release(&ids);
    encoder_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_pools_to_the_reference), cmocka_unit_test(gemma3_pools_to_the_reference),
        cmocka_unit_test(qwen2_pools_to_the_reference),   cmocka_unit_test(minilm_is_sentence_transformers),
        cmocka_unit_test(minilm_pools_to_the_reference),  cmocka_unit_test(eos_is_appended_and_pooled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
