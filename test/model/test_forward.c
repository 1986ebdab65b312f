/*
 * Real files through the reader and the transformer: every row of the first text's last hidden state and three rows of
 * each text, causal and bidirectional, against golden/forward. A model that is not installed is skipped by name.
 */
#include "compare.h"
#include "base/json.h"
#include "base/mem.h"
#include "data/vectors.h"

struct real {
    const char *name, *folder;
    bool causal;     /* there are causal references too */
    float tolerance; /* of the largest value of a row; golden/forward/README.md */
};
/* Qwen's bidirectional states of short texts are the least stable: f64 and f32 of the reference differ by 4e-5. */
static const struct real smol = {"smollm2-135m", "smol", true, 1e-4f}, gemma = {"gemma3-270m", "gemma", true, 1e-4f},
                         qwen = {"qwen2.5-coder-0.5b", "qwen", true, 1e-4f},
                         minilm = {"minilm", "minilm", false, 1e-4f};

static void open_golden(struct npy *a, const struct real *r, const char *name)
{
    char path[4096], rest[256];
    snprintf(rest, sizeof rest, "forward/%s/%s.npy", r->folder, name);
    if (npy_open(a, golden_path(path, rest)))
        fail_msg("%s", trawl_message());
}

static void compare_row(const struct real *r, const float *row, const struct npy *a, size_t begin, size_t C,
                        const char *what)
{
    double largest = 0, worst = 0;
    for (size_t c = 0; c < C; c++) {
        double want = npy_get(a, begin + c), error = fabs((double)row[c] - want);
        largest = fmax(largest, fabs(want));
        worst = fmax(worst, error);
    }
    if (!(worst <= (double)r->tolerance * largest))
        fail_msg("%s %s: off by %g of %g", r->name, what, worst, largest);
}

struct session {
    const struct real *real;
    struct model_files *m;
    struct nn_model *model;
    struct nn_run *run;
    float *hidden;
    size_t C;
};

/* Rows of one text: all of the first text's, then mean, last and first of every text's. */
static void check_text(struct session *s, size_t text, const uint32_t *ids, size_t T, enum nn_attention attention,
                       const struct npy *hidden0, const struct npy *pooled)
{
    const uint32_t begin[] = {0, (uint32_t)T};
    const struct nn_batch batch = {.ids = ids, .begin = begin, .B = 1, .attention = attention};
    size_t C = s->C;
    if (nn_forward(s->run, s->hidden, &batch))
        fail_msg("%s", trawl_message());
    for (size_t t = 0; text == 0 && t < T; t++)
        compare_row(s->real, s->hidden + t * C, hidden0, t * C, C, "hidden row");
    float *mean = calloc(C, sizeof *mean);
    for (size_t c = 0; c < C; c++) {
        double sum = 0;
        for (size_t t = 0; t < T; t++)
            sum += (double)s->hidden[t * C + c];
        mean[c] = (float)(sum / (double)T);
    }
    compare_row(s->real, mean, pooled, text * 3 * C, C, "mean");
    compare_row(s->real, s->hidden + (T - 1) * C, pooled, (text * 3 + 1) * C, C, "last row");
    compare_row(s->real, s->hidden, pooled, (text * 3 + 2) * C, C, "first row");
    free(mean);
}

static void check_all(struct session *s, enum nn_attention attention, const char *hidden_name, const char *pooled_name)
{
    char path[4096], rest[256];
    struct npy hidden0, pooled;
    struct line_reader *lines;
    const char *line;
    size_t n, text = 0;
    open_golden(&hidden0, s->real, hidden_name);
    open_golden(&pooled, s->real, pooled_name);
    snprintf(rest, sizeof rest, "forward/%s/texts.jsonl", s->real->folder);
    assert_int_equal(line_reader_open(&lines, golden_path(path, rest)), TRAWL_OK);
    while (!line_next(lines, &line, &n) && line) {
        json_t *o;
        uint32_t ids[8192];
        assert_int_equal(json_parse(&o, line, n, path), TRAWL_OK);
        const json_t *list = json_object_get(o, "ids");
        size_t T = json_array_size(list);
        assert_true(T > 0 && T <= 8192);
        for (size_t t = 0; t < T; t++)
            ids[t] = (uint32_t)json_integer_value(json_array_get(list, t));
        check_text(s, text++, ids, T, attention, &hidden0, &pooled);
        json_decref(o);
    }
    assert_int_equal(text, pooled.shape[0]);
    line_reader_close(lines);
    npy_close(&hidden0);
    npy_close(&pooled);
}

static void check_model(const struct real *r)
{
    struct session s = {.real = r};
    enum trawl_status status = model_files_open(&s.m, r->name);
    if (status == TRAWL_NOT_FOUND) {
        print_message("model '%s' is not installed\n", r->name);
        skip();
    }
    if (status || nn_model_new(&s.model, model_files_source(s.m), NN_F32) || nn_run_new(&s.run, s.model, 8192))
        fail_msg("%s", trawl_message());
    s.C = nn_model_config(s.model)->C;
    s.hidden = calloc(8192 * s.C, sizeof *s.hidden);
    assert_non_null(s.hidden);
    if (r->causal) {
        check_all(&s, NN_CAUSAL, "hidden_text0_causal", "pooled_causal");
        check_all(&s, NN_BIDIRECTIONAL, "hidden_text0_bidir", "pooled_bidir");
    } else {
        check_all(&s, NN_BIDIRECTIONAL, "hidden_text0", "pooled");
    }
    free(s.hidden);
    nn_run_free(s.run);
    nn_model_free(s.model);
    model_files_close(s.m);
}

static void smollm2_states_equal_the_reference(void **state)
{
    (void)state;
    check_model(&smol);
}
static void gemma3_states_equal_the_reference(void **state)
{
    (void)state;
    check_model(&gemma);
}
static void qwen2_states_equal_the_reference(void **state)
{
    (void)state;
    check_model(&qwen);
}
static void minilm_states_equal_the_reference(void **state)
{
    (void)state;
    check_model(&minilm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_states_equal_the_reference),
        cmocka_unit_test(gemma3_states_equal_the_reference),
        cmocka_unit_test(qwen2_states_equal_the_reference),
        cmocka_unit_test(minilm_states_equal_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
