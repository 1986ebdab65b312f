/*
 * The encoder on small random models, against a slow twin: every text alone through the model, its ids written by hand,
 * pooled by plain loops.
 */
#include "fixture.h"
#include "../heap_calls.h"
#include "base/mem.h"
#include "base/pool.h"
#include "encode/encode.h"
#include <math.h>

enum { WIDTH = 32, LONGEST = 256 };

static struct encoder *open_encoder(const char *path, size_t batch_tokens)
{
    struct encoder_options options = {.precision = "f32", .batch_tokens = batch_tokens};
    struct encoder *e;
    if (encoder_open(&e, path, &options))
        fail_msg("%s", trawl_message());
    return e;
}

static const struct encoder_choices as_is = {.prompt_pooled = -1, .special_pooled = -1, .append_eos = -1};

static enum trawl_status try_choose(struct encoder *e, struct encoder_choices choices)
{
    struct contract c;
    TRY(encoder_choose(&c, e, ENCODER_DOCUMENT, &choices));
    return encoder_set_contract(e, ENCODER_DOCUMENT, &c);
}

static void choose(struct encoder *e, struct encoder_choices choices)
{
    if (try_choose(e, choices))
        fail_msg("%s", trawl_message());
}

static void encode_one(float *out, struct encoder *e, const char *text)
{
    struct text_view view = {text, strlen(text)};
    if (encoder_encode(e, out, &view, 1, ENCODER_DOCUMENT))
        fail_msg("%s", trawl_message());
}

/* ---- the twin ---- */

/* States (n, WIDTH) of one sequence alone. */
static void states_of(float *hidden, const struct encoder *e, const uint32_t *ids, size_t n,
                      enum nn_attention attention)
{
    struct nn_run *run;
    uint32_t begin[2] = {0, (uint32_t)n};
    struct nn_batch batch = {.ids = ids, .begin = begin, .B = 1, .attention = attention};
    assert_int_equal(nn_run_new(&run, encoder_model(e), n), TRAWL_OK);
    assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_OK);
    nn_run_free(run);
}

static void pool_slowly(double *out, const float *hidden, size_t begin, size_t end, const char *pooling)
{
    double total = 0.0;
    memset(out, 0, WIDTH * sizeof *out);
    for (size_t t = begin; t < end; t++) {
        double w = !strcmp(pooling, "mean") ? 1.0 : 0.0;
        if (!strcmp(pooling, "weighted-mean"))
            w = (double)t + 1.0;
        if ((!strcmp(pooling, "first") && t == begin) || (!strcmp(pooling, "last") && t == end - 1))
            w = 1.0;
        for (size_t c = 0; c < WIDTH; c++)
            out[c] += w * (double)hidden[t * WIDTH + c];
        total += w;
    }
    for (size_t c = 0; c < WIDTH; c++)
        out[c] /= total;
}

static void l2(double *x, size_t n)
{
    double norm = 0.0;
    for (size_t i = 0; i < n; i++)
        norm += x[i] * x[i];
    for (size_t i = 0; i < n; i++)
        x[i] /= sqrt(norm);
}

/* Sums in another order differ in the last bits of a float of about 1. */
static void assert_near(const float *got, const double *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - wanted[i]) <= 1e-6 * (1.0 + fabs(wanted[i]))))
            fail_msg("[%zu] is %.9g, expected %.9g", i, (double)got[i], wanted[i]);
}

/* [CLS] words [SEP] into ids; returns how many. */
static size_t with_special(uint32_t *ids, const uint32_t *words, size_t n)
{
    ids[0] = FIXTURE_CLS;
    memcpy(ids + 1, words, n * sizeof *ids);
    ids[n + 1] = FIXTURE_SEP;
    return n + 2;
}

/* ---- tests ---- */

static void every_pooling_is_the_twins(void **state)
{
    (void)state;
    static const char *const poolings[] = {"mean", "last", "first", "weighted-mean"};
    char path[4096];
    struct buf text = {0};
    uint32_t words[20], ids[22];
    float hidden[22 * WIDTH], got[WIDTH];
    double wanted[WIDTH];
    struct encoder *e = open_encoder(fixture_model(path, "bert", "pooling"), 0);
    fixture_words(&text, words, 20, 1);
    size_t n = with_special(ids, words, 20);
    states_of(hidden, e, ids, n, NN_BIDIRECTIONAL);
    for (size_t p = 0; p < 4; p++)
        for (int special = 0; special < 2; special++) {
            struct encoder_choices c = as_is;
            c.pooling = poolings[p];
            c.normalize = "none";
            c.special_pooled = special;
            choose(e, c);
            encode_one(got, e, text.data);
            pool_slowly(wanted, hidden, special ? 0 : 1, special ? n : n - 1, poolings[p]);
            assert_near(got, wanted, WIDTH);
        }
    encoder_close(e);
    buf_release(&text);
    fixture_remove(path);
}

static void attention_is_causal_or_bidirectional(void **state)
{
    (void)state;
    char path[4096];
    struct buf text = {0};
    uint32_t words[15], ids[17];
    float hidden[17 * WIDTH], got[WIDTH];
    double wanted[WIDTH];
    struct encoder *e = open_encoder(fixture_model(path, "llama", "attention"), 0);
    fixture_words(&text, words, 15, 2);
    size_t n = with_special(ids, words, 15);
    for (int both = 0; both < 2; both++) {
        struct encoder_choices c = as_is;
        c.attention = both ? "bidirectional" : "causal";
        c.normalize = "none";
        choose(e, c);
        encode_one(got, e, text.data);
        states_of(hidden, e, ids, n, both ? NN_BIDIRECTIONAL : NN_CAUSAL);
        pool_slowly(wanted, hidden, 0, n, "mean");
        assert_near(got, wanted, WIDTH);
    }
    encoder_close(e);
    buf_release(&text);
    fixture_remove(path);
}

static void a_cut_keeps_the_closing_token(void **state)
{
    (void)state;
    char path[4096];
    struct buf text = {0};
    uint32_t words[50], ids[52];
    float hidden[52 * WIDTH], got[WIDTH];
    double wanted[WIDTH];
    struct encoder *e = open_encoder(fixture_model(path, "bert", "cut"), 0);
    struct encoder_choices c = as_is;
    c.max_length = 12;
    choose(e, c);
    fixture_words(&text, words, 50, 3);
    encode_one(got, e, text.data);
    size_t n = with_special(ids, words, 10);
    states_of(hidden, e, ids, n, NN_BIDIRECTIONAL);
    pool_slowly(wanted, hidden, 0, n, "mean");
    l2(wanted, WIDTH);
    assert_near(got, wanted, WIDTH);
    assert_int_equal(encoder_counts(e)->cut, 1);
    assert_int_equal(encoder_counts(e)->tokens, 12);
    fixture_words(&text, NULL, 10, 3); /* just fits */
    encode_one(got, e, text.data);
    assert_int_equal(encoder_counts(e)->cut, 1);
    encoder_close(e);
    buf_release(&text);
    fixture_remove(path);
}

static void a_long_text_can_be_refused_by_place(void **state)
{
    (void)state;
    char path[4096];
    struct buf text = {0};
    float got[3 * WIDTH];
    struct encoder_options options = {.precision = "f32", .refuse_long = true};
    struct encoder *e;
    assert_int_equal(encoder_open(&e, fixture_model(path, "bert", "refuse"), &options), TRAWL_OK);
    struct encoder_choices c = as_is;
    c.max_length = 12;
    choose(e, c);
    fixture_words(&text, NULL, 11, 3);
    struct text_view views[3] = {{"aa", 2}, {text.data, text.n}, {text.data, text.n}};
    assert_int_equal(encoder_encode(e, got, views, 3, ENCODER_DOCUMENT), TRAWL_LIMIT);
    assert_int_equal(encoder_failed_text(e), 1);
    assert_non_null(strstr(trawl_message(), "13 tokens, the contract allows 12"));
    encoder_close(e);
    buf_release(&text);
    fixture_remove(path);
}

static void a_text_without_tokens_is_a_zero_vector(void **state)
{
    (void)state;
    static const float zero[WIDTH] = {0};
    char path[4096];
    float got[4 * WIDTH], alone[WIDTH];
    struct encoder *e = open_encoder(fixture_model(path, "bert", "empty"), 0);
    struct text_view views[4] = {{"", 0}, {"aa bb", 5}, {" \t\n ", 4}, {NULL, 0}};
    for (int with_prompt = 0; with_prompt < 2; with_prompt++) {
        struct encoder_choices c = as_is;
        c.prompt = with_prompt ? "cc dd " : "";
        choose(e, c);
        uint64_t before = encoder_counts(e)->empty;
        assert_int_equal(encoder_encode(e, got, views, 4, ENCODER_DOCUMENT), TRAWL_OK);
        encode_one(alone, e, "aa bb");
        assert_memory_equal(got, zero, sizeof zero);
        assert_memory_equal(got + WIDTH, alone, sizeof alone);
        assert_memory_equal(got + 2 * WIDTH, zero, sizeof zero);
        assert_memory_equal(got + 3 * WIDTH, zero, sizeof zero);
        assert_int_equal(encoder_counts(e)->empty - before, 3);
    }
    encoder_close(e);
    fixture_remove(path);
}

static void special_looking_strings_are_text(void **state)
{
    (void)state;
    char path[4096];
    float got[WIDTH];
    struct encoder *e = open_encoder(fixture_model(path, "bert", "special"), 0);
    encode_one(got, e, "[SEP]"); /* bracket, word, bracket */
    assert_int_equal(encoder_counts(e)->tokens, 5);
    encoder_close(e);
    fixture_remove(path);
}

static void invalid_utf8_is_the_replacement_character(void **state)
{
    (void)state;
    char path[4096];
    float broken[WIDTH], whole[WIDTH];
    struct encoder *e = open_encoder(fixture_model(path, "bert", "utf8"), 0);
    encode_one(broken, e, "aa \xff\xc3 bb");
    encode_one(whole, e, "aa \xef\xbf\xbd\xef\xbf\xbd bb");
    assert_memory_equal(broken, whole, sizeof whole);
    encoder_close(e);
    fixture_remove(path);
}

/* As in sentence-transformers: without the prompt's tokens, [CLS] before them is left out as well. */
static void a_prompt_is_pooled_or_not(void **state)
{
    (void)state;
    char path[4096];
    struct buf text = {0};
    uint32_t words[13] = {FIXTURE_WORDS, FIXTURE_WORDS + 1, FIXTURE_WORDS + 2}, ids[15];
    float hidden[15 * WIDTH], got[WIDTH];
    double wanted[WIDTH];
    struct encoder *e = open_encoder(fixture_model(path, "bert", "prompt"), 0);
    fixture_words(&text, words + 3, 10, 4);
    size_t n = with_special(ids, words, 13);
    states_of(hidden, e, ids, n, NN_BIDIRECTIONAL);
    for (int pooled = 0; pooled < 2; pooled++) {
        struct encoder_choices c = as_is;
        c.prompt = "aa ab ac ";
        c.normalize = "none";
        c.prompt_pooled = pooled;
        choose(e, c);
        encode_one(got, e, text.data);
        pool_slowly(wanted, hidden, pooled ? 0 : 4, n, "mean");
        assert_near(got, wanted, WIDTH);
    }
    encoder_close(e);
    buf_release(&text);
    fixture_remove(path);
}

static void dimensions_are_cut_before_normalising(void **state)
{
    (void)state;
    char path[4096];
    float whole[WIDTH], cut[WIDTH];
    double wanted[WIDTH];
    struct encoder *e = open_encoder(fixture_model(path, "bert", "dims"), 0);
    struct encoder_choices c = as_is;
    c.normalize = "none";
    choose(e, c);
    encode_one(whole, e, "aa bb cc");
    c.normalize = "l2";
    c.dims = 10;
    choose(e, c);
    encode_one(cut, e, "aa bb cc");
    for (size_t i = 0; i < 10; i++)
        wanted[i] = (double)whole[i];
    l2(wanted, 10);
    assert_near(cut, wanted, 10);
    encoder_close(e);
    fixture_remove(path);
}

static void modules_of_sentence_transformers_are_applied(void **state)
{
    (void)state;
    enum { OUT = 6 };
    char path[4096];
    float weight[OUT * WIDTH], bias[OUT], hidden[5 * WIDTH], got[OUT];
    double pooled[WIDTH], wanted[OUT];
    uint32_t ids[5] = {FIXTURE_CLS, FIXTURE_WORDS, FIXTURE_WORDS + 27, FIXTURE_WORDS + 54, FIXTURE_SEP};
    for (size_t i = 0; i < OUT * WIDTH; i++)
        weight[i] = 0.1f * sinf((float)i);
    for (size_t i = 0; i < OUT; i++)
        bias[i] = 0.1f * (float)i;
    fixture_model(path, "bert", "modules");
    fixture_sentence_transformer(path, "pooling_mode_cls_token", 40, true, true);
    fixture_dense(path, weight, bias, OUT, "torch.nn.modules.activation.Tanh");
    struct encoder *e = open_encoder(path, 0);
    assert_int_equal(encoder_contract(e, ENCODER_QUERY)->dims, OUT);
    assert_int_equal(encoder_contract(e, ENCODER_QUERY)->max_length, 40);
    encode_one(got, e, "aa bb cc");
    states_of(hidden, e, ids, 5, NN_BIDIRECTIONAL);
    pool_slowly(pooled, hidden, 0, 5, "first");
    for (size_t o = 0; o < OUT; o++) {
        double sum = (double)bias[o];
        for (size_t i = 0; i < WIDTH; i++)
            sum += (double)weight[o * WIDTH + i] * pooled[i];
        wanted[o] = tanh(sum);
    }
    l2(wanted, OUT);
    assert_near(got, wanted, OUT);
    encoder_close(e);
    fixture_remove(path);
}

/* Texts of many lengths, some empty, some cut. */
enum { CROWD = 200 };
static struct buf crowd_text[CROWD];
static struct text_view crowd[CROWD];

static void make_crowd(void)
{
    for (size_t i = 0; i < CROWD; i++) {
        fixture_words(&crowd_text[i], NULL, i % 7 ? (i * 31) % 90 : 0, (uint32_t)i);
        crowd[i] = (struct text_view){crowd_text[i].data, crowd_text[i].n};
    }
}

static void release_crowd(void)
{
    for (size_t i = 0; i < CROWD; i++)
        buf_release(&crowd_text[i]);
}

static void company_order_and_threads_change_no_bit(void **state)
{
    (void)state;
    static const char *const archs[] = {"bert", "llama", "gemma3_text"}, *const precisions[] = {"f32", "bf16", "int8"};
    static const size_t batches[] = {80, 333, 100000};
    float *first = mem_array(CROWD * WIDTH, sizeof *first), *other = mem_array(CROWD * WIDTH, sizeof *other);
    size_t threads = pool_threads();
    char path[4096];
    make_crowd();
    for (size_t a = 0; a < 9; a++) {
        struct encoder_options options = {.precision = precisions[a / 3]};
        fixture_model(path, archs[a % 3], "company");
        for (size_t b = 0; b < 3; b++) {
            struct encoder *e;
            struct text_view reversed[CROWD];
            pool_set_threads(b + 1);
            options.batch_tokens = batches[b];
            enum trawl_status status = encoder_open(&e, path, &options);
            if (status == TRAWL_UNSUPPORTED) { /* nothing to compare on this processor */
                print_message("%s: %s\n", precisions[a / 3], trawl_message());
                break;
            }
            if (status)
                fail_msg("%s", trawl_message());
            struct encoder_choices c = as_is;
            c.max_length = 60;
            choose(e, c);
            assert_int_equal(encoder_encode(e, b ? other : first, crowd, CROWD, ENCODER_DOCUMENT), TRAWL_OK);
            if (b)
                assert_memory_equal(first, other, CROWD * WIDTH * sizeof *first);
            for (size_t i = 0; i < CROWD; i++)
                reversed[i] = crowd[CROWD - 1 - i];
            assert_int_equal(encoder_encode(e, other, reversed, CROWD, ENCODER_DOCUMENT), TRAWL_OK);
            for (size_t i = 0; i < CROWD; i++)
                assert_memory_equal(first + i * WIDTH, other + (CROWD - 1 - i) * WIDTH, WIDTH * sizeof *first);
            for (size_t i = 0; i < CROWD; i += 17) {
                assert_int_equal(encoder_encode(e, other, &crowd[i], 1, ENCODER_DOCUMENT), TRAWL_OK);
                assert_memory_equal(first + i * WIDTH, other, WIDTH * sizeof *first);
            }
            encoder_close(e);
        }
    }
    pool_set_threads(threads);
    release_crowd();
    free(first);
    free(other);
    fixture_remove(path);
}

static void a_window_ends_where_it_likes(void **state)
{
    (void)state;
    enum { N = 2500 };
    char path[4096];
    float *got = mem_array(N * WIDTH, sizeof *got), alone[WIDTH];
    struct text_view *views = mem_array(N, sizeof *views);
    struct encoder *e = open_encoder(fixture_model(path, "bert", "window"), 0);
    make_crowd();
    for (size_t i = 0; i < N; i++)
        views[i] = crowd[i * 3 % CROWD];
    assert_int_equal(encoder_encode(e, got, views, N, ENCODER_DOCUMENT), TRAWL_OK);
    for (size_t i = 0; i < N; i += 101) {
        encode_one(alone, e, views[i].n ? views[i].text : "");
        assert_memory_equal(got + i * WIDTH, alone, sizeof alone);
    }
    encoder_close(e);
    release_crowd();
    free(got);
    free(views);
    fixture_remove(path);
}

static void batches_make_no_heap_calls_after_the_first(void **state)
{
    (void)state;
    char path[4096];
    if (!HEAP_CALLS_COUNTED) {
        print_message("heap calls are not counted under AddressSanitizer\n");
        skip();
    }
    float *got = mem_array(CROWD * WIDTH, sizeof *got);
    struct encoder *e = open_encoder(fixture_model(path, "bert", "heap"), 400);
    make_crowd();
    for (int i = 0; i < 3; i++) /* every worker meets the longest text */
        assert_int_equal(encoder_encode(e, got, crowd, CROWD, ENCODER_DOCUMENT), TRAWL_OK);
    size_t workspace = encoder_workspace_bytes(e), before = heap_calls;
    assert_int_equal(encoder_encode(e, got, crowd, CROWD, ENCODER_DOCUMENT), TRAWL_OK);
    assert_int_equal(heap_calls - before, 0);
    assert_true(workspace > 0);
    assert_int_equal(encoder_workspace_bytes(e), workspace);
    encoder_close(e);
    release_crowd();
    free(got);
    fixture_remove(path);
}

static void what_a_model_cannot_do_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct encoder_choices choices;
        enum trawl_status status;
        const char *says;
    } cases[] = {
        {{.dims = 33}, TRAWL_LIMIT, "33 dimensions"},
        {{.max_length = 100000}, TRAWL_LIMIT, "max_length 100000"},
        {{.max_length = 2}, TRAWL_LIMIT, "leave no room"},
        {{.prompt = "aa bb cc", .max_length = 5}, TRAWL_LIMIT, "prompt (3 tokens)"},
        {{.attention = "causal"}, TRAWL_UNSUPPORTED, "bidirectional attention"},
        {{.attention = "sideways"}, TRAWL_USAGE, "sideways"},
        {{.pooling = "median"}, TRAWL_USAGE, "median"},
        {{.pooling = "a name of more than sixteen bytes"}, TRAWL_USAGE, "too long"},
        {{.normalize = "l1"}, TRAWL_USAGE, "l1"},
    };
    char path[4096];
    float before[WIDTH], after[WIDTH];
    struct encoder *e = open_encoder(fixture_model(path, "bert", "refused"), 0);
    encode_one(before, e, "aa bb");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct encoder_choices c = cases[i].choices;
        c.prompt_pooled = c.special_pooled = c.append_eos = -1;
        assert_int_equal(try_choose(e, c), cases[i].status);
        if (!strstr(trawl_message(), cases[i].says))
            fail_msg("message '%s' lacks '%s'", trawl_message(), cases[i].says);
    }
    encode_one(after, e, "aa bb"); /* a refused contract leaves the old one */
    assert_memory_equal(before, after, sizeof after);
    encoder_close(e);
    fixture_remove(path);
}

static void a_model_without_tokenizer_is_refused(void **state)
{
    (void)state;
    char path[4096];
    struct encoder_options options = {0};
    struct encoder *e;
    assert_int_equal(encoder_open(&e, golden_path(path, "tiny/bert/model"), &options), TRAWL_MISMATCH);
    assert_null(e);
    assert_int_equal(encoder_open(&e, "no-such-model", &options), TRAWL_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pooling_is_the_twins),
        cmocka_unit_test(attention_is_causal_or_bidirectional),
        cmocka_unit_test(a_cut_keeps_the_closing_token),
        cmocka_unit_test(a_long_text_can_be_refused_by_place),
        cmocka_unit_test(a_text_without_tokens_is_a_zero_vector),
        cmocka_unit_test(special_looking_strings_are_text),
        cmocka_unit_test(invalid_utf8_is_the_replacement_character),
        cmocka_unit_test(a_prompt_is_pooled_or_not),
        cmocka_unit_test(dimensions_are_cut_before_normalising),
        cmocka_unit_test(modules_of_sentence_transformers_are_applied),
        cmocka_unit_test(company_order_and_threads_change_no_bit),
        cmocka_unit_test(a_window_ends_where_it_likes),
        cmocka_unit_test(batches_make_no_heap_calls_after_the_first),
        cmocka_unit_test(what_a_model_cannot_do_is_refused),
        cmocka_unit_test(a_model_without_tokenizer_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
