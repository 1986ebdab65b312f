/*
 * Real models against values computed outside in f32 (test/golden/forward): hidden and pooled rows, logits, token
 * log-probabilities, greedy continuations; and how far bf16 and int8 are from them. A model that is not installed is
 * skipped by name.
 */
#include "tiny.h"
#include "model/model.h"
#include "../golden.h"

struct subject {
    const char *folder, *model;
    float bf16_cosine, int8_cosine; /* least cosine of mean-pooled rows, from below what was measured */
};
static const struct subject subjects[] = {
    {"smol", "smollm2-135m", 0.999f, 0.99f},
    {"gemma", "gemma3-270m", 0.999f, 0.99f},
    {"qwen", "qwen2.5-coder-0.5b", 0.999f, 0.99f},
    {"minilm", "minilm", 0.999f, 0.99f},
};

struct text {
    uint32_t *ids;
    size_t n;
    json_t *line;
};

struct fixture {
    const struct subject *subject;
    struct model_files *files;
    struct nn_model *model;
    const struct nn_config *c;
    struct nn_run *run;
    struct text texts[64];
    size_t n_texts, longest, n_tokens;
};

static float *golden_npy(const struct fixture *f, const char *name, size_t *n)
{
    char path[4096], file[256];
    snprintf(file, sizeof file, "forward/%s/%s.npy", f->subject->folder, name);
    return tiny_npy(golden_path(path, file), n);
}

static void read_texts(struct fixture *f)
{
    char path[4096], file[256];
    size_t bytes;
    snprintf(file, sizeof file, "forward/%s/texts.jsonl", f->subject->folder);
    char *all = tiny_slurp(golden_path(path, file), &bytes);
    for (char *line = strtok(all, "\n"); line; line = strtok(NULL, "\n")) {
        struct text *t = &f->texts[f->n_texts++];
        assert_true(f->n_texts <= 64);
        t->line = json_loads(line, 0, NULL);
        json_t *ids = json_object_get(t->line, "ids");
        t->n = json_array_size(ids);
        t->ids = malloc((t->n + 1) * sizeof *t->ids);
        for (size_t i = 0; i < t->n; i++)
            t->ids[i] = (uint32_t)json_integer_value(json_array_get(ids, i));
        f->longest = t->n > f->longest ? t->n : f->longest;
        f->n_tokens += t->n;
    }
    free(all);
}

static bool fixture_open(struct fixture *f, const struct subject *subject, enum nn_precision precision)
{
    *f = (struct fixture){.subject = subject};
    if (model_files_open(&f->files, subject->model)) {
        print_message("skipped %s: %s\n", subject->model, trawl_message());
        return false;
    }
    if (nn_model_new(&f->model, model_files_source(f->files), precision)) {
        print_message("skipped %s: %s\n", subject->model, trawl_message());
        model_files_close(f->files);
        return false;
    }
    f->c = nn_model_config(f->model);
    read_texts(f);
    assert_int_equal(nn_run_new(&f->run, f->model, f->n_tokens), TRAWL_OK);
    return true;
}

static void fixture_close(struct fixture *f)
{
    for (size_t t = 0; t < f->n_texts; t++) {
        json_decref(f->texts[t].line);
        free(f->texts[t].ids);
    }
    nn_run_free(f->run);
    nn_model_free(f->model);
    model_files_close(f->files);
}

static float *forward(struct fixture *f, const struct text *t, enum nn_attention attention)
{
    uint32_t begin[2] = {0, (uint32_t)t->n};
    struct nn_batch batch = {.ids = t->ids, .begin = begin, .B = 1, .attention = attention};
    float *hidden = malloc(t->n * f->c->C * sizeof *hidden);
    if (nn_forward(f->run, hidden, &batch))
        fail_msg("%s", trawl_message());
    return hidden;
}

/* max |got - want| / max |want| */
static float apart(const float *got, const float *want, size_t n)
{
    float top = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        top = fmaxf(top, fabsf(want[i]));
        worst = fmaxf(worst, isfinite(got[i]) ? fabsf(got[i] - want[i]) : INFINITY);
    }
    return worst / top;
}

/* Rows mean, last, first (3,C) of hidden (T,C). */
static void pool(float *out, const float *hidden, size_t T, size_t C)
{
    for (size_t c = 0; c < C; c++) {
        double sum = 0;
        for (size_t t = 0; t < T; t++)
            sum += (double)hidden[t * C + c];
        out[c] = (float)(sum / (double)T);
    }
    memcpy(out + C, hidden + (T - 1) * C, C * sizeof *out);
    memcpy(out + 2 * C, hidden, C * sizeof *out);
}

static double log_probability(const float *logits, size_t V, uint32_t id)
{
    double top = (double)logits[0], sum = 0;
    for (size_t v = 1; v < V; v++)
        top = fmax(top, (double)logits[v]);
    for (size_t v = 0; v < V; v++)
        sum += exp((double)logits[v] - top);
    return (double)logits[id] - top - log(sum);
}

/* Log-probability of every token after the first, and the last row's logits. */
static void check_logits(struct fixture *f, size_t t, const float *hidden, const float *want_last, float *logits)
{
    const struct text *text = &f->texts[t];
    const json_t *expected = json_object_get(text->line, "token_logprobs");
    size_t V = f->c->V;
    double worst = 0, worst_logit = 0;
    assert_int_equal(nn_logits(f->run, logits, hidden, text->n), TRAWL_OK);
    for (size_t v = 0; v < V; v++)
        worst_logit = fmax(worst_logit, fabs((double)logits[(text->n - 1) * V + v] - (double)want_last[t * V + v]));
    for (size_t i = 0; i + 1 < text->n; i++) {
        double reference = json_number_value(json_array_get(expected, i));
        worst = fmax(worst, fabs(log_probability(logits + i * V, V, text->ids[i + 1]) - reference));
    }
    print_message("%s text %zu: logits %.2g, log-probabilities %.2g\n", f->subject->folder, t, worst_logit, worst);
    assert_true(worst <= 2e-3 && worst_logit <= 2e-3);
}

/* All that is known of one attention: every row of the first text, three rows of each text, and (causal) logits. */
static void check_states(struct fixture *f, const char *pooled_name, const char *hidden_name,
                         enum nn_attention attention, bool with_logits)
{
    size_t n, n_hidden, C = f->c->C;
    float *want = golden_npy(f, pooled_name, &n), *want_hidden = golden_npy(f, hidden_name, &n_hidden);
    float *want_logits = with_logits ? golden_npy(f, "logits_last", &(size_t){0}) : NULL;
    float *logits = with_logits ? malloc(f->longest * f->c->V * sizeof *logits) : NULL;
    float *got = malloc(3 * C * sizeof *got), worst = 0, worst_hidden = 0;
    assert_int_equal(n, f->n_texts * 3 * C);
    assert_int_equal(n_hidden, f->texts[0].n * C);
    for (size_t t = 0; t < f->n_texts; t++) {
        float *hidden = forward(f, &f->texts[t], attention);
        for (size_t i = 0; t == 0 && i < f->texts[0].n; i++)
            worst_hidden = fmaxf(worst_hidden, apart(hidden + i * C, want_hidden + i * C, C));
        pool(got, hidden, f->texts[t].n, C);
        for (size_t r = 0; r < 3; r++)
            worst = fmaxf(worst, apart(got + r * C, want + (t * 3 + r) * C, C));
        if (with_logits)
            check_logits(f, t, hidden, want_logits, logits);
        free(hidden);
    }
    print_message("%s %s: %.2g, %s: %.2g of the row's largest\n", f->subject->folder, pooled_name, (double)worst,
                  hidden_name, (double)worst_hidden);
    assert_true(worst <= 1e-4f && worst_hidden <= 1e-4f); /* recommended by the values' own README */
    free(want), free(want_hidden), free(want_logits), free(logits), free(got);
}

static uint32_t best_of(const float *logits, size_t V)
{
    uint32_t best = 0;
    for (uint32_t v = 1; v < V; v++)
        best = logits[v] > logits[best] ? v : best;
    return best;
}

/* All texts are continued together, each with keys and values of its own: the weights are read once a step. A text is
 * done where the reference itself could not tell its best two tokens apart. */
static void check_greedy(struct fixture *f)
{
    size_t V = f->c->V, C = f->c->C, B = f->n_texts, steps = 0;
    struct nn_kv *kv[64];
    uint32_t begin[65] = {0}, next[64], *ids = malloc(f->n_tokens * sizeof *ids);
    bool done[64] = {false};
    float *logits = malloc(B * V * sizeof *logits), *hidden = malloc(f->n_tokens * C * sizeof *hidden);
    for (size_t b = 0; b < B; b++) {
        size_t n = json_array_size(json_object_get(f->texts[b].line, "greedy_ids"));
        assert_int_equal(nn_kv_new(&kv[b], f->model, f->texts[b].n + n), TRAWL_OK);
        memcpy(ids + begin[b], f->texts[b].ids, f->texts[b].n * sizeof *ids);
        begin[b + 1] = begin[b] + (uint32_t)f->texts[b].n;
        steps = b == 0 || n < steps ? n : steps;
    }
    assert_true(steps > 0);
    struct nn_batch batch = {.ids = ids, .begin = begin, .B = B, .kv = kv, .kv_append = true};
    for (size_t i = 0; i < steps; i++) {
        assert_int_equal(nn_forward(f->run, hidden, &batch), TRAWL_OK);
        for (size_t b = 0; b < B; b++) /* the last row of each */
            memmove(hidden + b * C, hidden + (begin[b + 1] - 1) * C, C * sizeof *hidden);
        assert_int_equal(nn_logits(f->run, logits, hidden, B), TRAWL_OK);
        for (size_t b = 0; b < B; b++) {
            const json_t *line = f->texts[b].line;
            json_int_t want = json_integer_value(json_array_get(json_object_get(line, "greedy_ids"), i));
            double margin = json_number_value(json_array_get(json_object_get(line, "greedy_margin"), i));
            next[b] = best_of(logits + b * V, V);
            assert_true(done[b] || next[b] == (uint32_t)want || margin < 0.01);
            done[b] = done[b] || next[b] != (uint32_t)want;
        }
        batch.ids = next;
        for (size_t b = 0; b < B; b++)
            begin[b + 1] = (uint32_t)b + 1;
    }
    for (size_t b = 0; b < B; b++)
        nn_kv_free(kv[b]);
    free(ids), free(logits), free(hidden);
}

static void f32_agrees_with_the_reference(void **state)
{
    struct fixture f;
    if (!fixture_open(&f, *state, NN_F32))
        skip();
    if (f.c->encoder) {
        check_states(&f, "pooled", "hidden_text0", NN_BIDIRECTIONAL, false);
    } else {
        check_states(&f, "pooled_causal", "hidden_text0_causal", NN_CAUSAL, true);
        check_states(&f, "pooled_bidir", "hidden_text0_bidir", NN_BIDIRECTIONAL, false);
        check_greedy(&f);
    }
    fixture_close(&f);
}

/* Least cosine of mean-pooled rows with the f32 reference. */
static void check_precision(const struct subject *subject, enum nn_precision precision, float least)
{
    struct fixture f;
    if (!fixture_open(&f, subject, precision))
        skip();
    size_t n, C = f.c->C;
    double worst[3] = {1, 1, 1};
    float *want = golden_npy(&f, f.c->encoder ? "pooled" : "pooled_causal", &n), *got = malloc(3 * C * sizeof *got);
    for (size_t t = 0; t < f.n_texts; t++) {
        float *hidden = forward(&f, &f.texts[t], NN_CAUSAL);
        pool(got, hidden, f.texts[t].n, C);
        for (size_t r = 0; r < 3; r++) {
            double ab = 0, aa = 0, bb = 0;
            for (size_t c = 0; c < C; c++) {
                double a = (double)got[r * C + c], b = (double)want[(t * 3 + r) * C + c];
                ab += a * b, aa += a * a, bb += b * b;
            }
            worst[r] = fmin(worst[r], ab / sqrt(aa * bb));
        }
        free(hidden);
    }
    print_message("%s %s: cosine of mean %.5f, last %.5f, first %.5f\n", subject->folder,
                  precision == NN_BF16 ? "bf16" : "int8", worst[0], worst[1], worst[2]);
    assert_true(worst[0] >= (double)least);
    free(want), free(got);
    fixture_close(&f);
}

static void bf16_is_near_f32(void **state)
{
    check_precision(*state, NN_BF16, ((const struct subject *)*state)->bf16_cosine);
}

static void int8_is_near_f32(void **state)
{
    check_precision(*state, NN_INT8, ((const struct subject *)*state)->int8_cosine);
}

int main(int argc, char **argv)
{
    if (argc > 1) /* a pattern of test names */
        cmocka_set_test_filter(argv[1]);
#define TESTS(i)                                                                                                       \
    cmocka_unit_test_prestate(f32_agrees_with_the_reference, (void *)&subjects[i]),                                    \
        cmocka_unit_test_prestate(bf16_is_near_f32, (void *)&subjects[i]),                                             \
        cmocka_unit_test_prestate(int8_is_near_f32, (void *)&subjects[i])
    const struct CMUnitTest tests[] = {TESTS(0), TESTS(1), TESTS(2), TESTS(3)};
    return cmocka_run_group_tests_name("nn/models", tests, NULL, NULL);
}
