/* Scoring and generation of real models against golden/forward; a model that is not installed is skipped by name. */
#include "../golden.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "lm/lm.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { TEXTS_MAX = 64 };

/* Lines of a texts.jsonl. */
struct texts {
    json_t *lines[TEXTS_MAX];
    struct ids ids[TEXTS_MAX];
    struct lm_tokens tokens[TEXTS_MAX];
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
        const json_t *ids = json_object_get(t->lines[t->n], "ids");
        struct ids *to = &t->ids[t->n];
        to->ids = mem_array(json_array_size(ids), sizeof *to->ids);
        for (; to->n < json_array_size(ids); to->n++)
            to->ids[to->n] = (uint32_t)json_integer_value(json_array_get(ids, to->n));
        t->tokens[t->n++] = (struct lm_tokens){to->ids, to->n};
    }
    line_reader_close(lines);
    assert_true(t->n > 0);
}

static void release_texts(struct texts *t)
{
    for (size_t i = 0; i < t->n; i++) {
        json_decref(t->lines[i]);
        ids_release(&t->ids[i]);
    }
}

static struct lm *open_or_skip(const char *name)
{
    struct lm_options options = {.precision = "f32"};
    struct lm *lm;
    enum trawl_status status = lm_open(&lm, name, &options);
    if (status == TRAWL_NOT_FOUND) {
        print_message("model '%s' is not installed\n", name);
        skip();
    }
    if (status)
        fail_msg("%s", trawl_message());
    return lm;
}

static void check_ids(struct lm *lm, const struct texts *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct ids ids = {0};
        const char *text = json_string_value(json_object_get(t->lines[i], "text"));
        assert_int_equal(lm_text(lm, &ids, text, strlen(text), false), TRAWL_OK);
        assert_int_equal(ids.n, t->ids[i].n);
        assert_memory_equal(ids.ids, t->ids[i].ids, ids.n * sizeof *ids.ids);
        ids_release(&ids);
    }
}

/* Recommended in golden/forward/README.md: 2e-3. */
static void check_scores(struct lm *lm, const struct texts *t)
{
    double *out[TEXTS_MAX];
    for (size_t i = 0; i < t->n; i++)
        out[i] = mem_array(t->ids[i].n, sizeof **out);
    if (lm_score(lm, out, NULL, t->tokens, t->n))
        fail_msg("%s", trawl_message());
    for (size_t i = 0; i < t->n; i++) {
        const json_t *wanted = json_object_get(t->lines[i], "token_logprobs");
        assert_int_equal(json_array_size(wanted), t->ids[i].n - 1);
        for (size_t k = 0; k + 1 < t->ids[i].n; k++) {
            double w = json_number_value(json_array_get(wanted, k));
            if (!(fabs(out[i][k] - w) <= 2e-3))
                fail_msg("text %zu token %zu: %g, expected %g", i, k + 1, out[i][k], w);
        }
        free(out[i]);
    }
}

/* The same tokens, up to a step whose best two logits are too near to tell. */
static void check_greedy(struct lm *lm, const struct texts *t)
{
    struct lm_continuation out[TEXTS_MAX] = {0};
    struct lm_generate_options options = {.max_tokens = json_array_size(json_object_get(t->lines[0], "greedy_ids"))};
    assert_int_equal(lm_generate(lm, out, t->tokens, t->n, &options), TRAWL_OK);
    for (size_t i = 0; i < t->n; i++) {
        const json_t *wanted = json_object_get(t->lines[i], "greedy_ids");
        const json_t *margins = json_object_get(t->lines[i], "greedy_margin");
        assert_int_equal(out[i].ids.n, json_array_size(wanted));
        for (size_t k = 0; k < out[i].ids.n; k++) {
            if (out[i].ids.ids[k] == (uint32_t)json_integer_value(json_array_get(wanted, k)))
                continue;
            if (json_number_value(json_array_get(margins, k)) >= 0.01)
                fail_msg("text %zu: token %zu is %u", i, k, out[i].ids.ids[k]);
            break;
        }
        ids_release(&out[i].ids);
    }
}

static void check_model(const char *name, const char *folder)
{
    struct lm *lm = open_or_skip(name);
    struct texts t;
    read_texts(&t, folder);
    check_ids(lm, &t);
    check_scores(lm, &t);
    check_greedy(lm, &t);
    release_texts(&t);
    lm_close(lm);
}

static void smollm2_is_the_reference(void **state)
{
    (void)state;
    check_model("smollm2-135m", "smol");
}

static void gemma3_is_the_reference(void **state)
{
    (void)state;
    check_model("gemma3-270m", "gemma");
}

static void qwen2_is_the_reference(void **state)
{
    (void)state;
    check_model("qwen2.5-coder-0.5b", "qwen");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_is_the_reference),
        cmocka_unit_test(gemma3_is_the_reference),
        cmocka_unit_test(qwen2_is_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
