/* Tokenizers against the golden ids: every row of every file, with special tokens as text and parsed. */
#include "../golden.h"
#include "base/file.h"
#include "base/json.h"
#include "model/model.h"
#include "text/tokenizer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void ok(enum trawl_status status)
{
    if (status)
        fail_msg("%s", trawl_message());
}

/* ---- rows of a golden file ---- */

typedef void (*row_fn)(const struct tokenizer *t, struct tokenizer_scratch *s, const json_t *row);

static void check_ids(const struct ids *ids, const json_t *want, const char *text)
{
    bool same = ids->n == json_array_size(want);
    for (size_t i = 0; same && i < ids->n; i++)
        same = ids->ids[i] == (uint32_t)json_integer_value(json_array_get(want, i));
    if (same)
        return;
    for (size_t i = 0; i < ids->n; i++)
        print_message("%u%s", ids->ids[i], i + 1 < ids->n ? " " : "\n");
    char *wanted = json_dumps(want, 0);
    print_message("wanted %s\n", wanted);
    free(wanted);
    fail_msg("other ids for '%s'", text);
}

static void row_ids(const struct tokenizer *t, struct tokenizer_scratch *s, const json_t *row)
{
    const json_t *text = json_object_get(row, "text");
    bool parsed = strcmp(json_string_value(json_object_get(row, "special")), "parsed") == 0;
    unsigned flags = parsed ? TOKENIZER_PARSE_SPECIAL : 0;
    struct ids ids = {0};
    ok(tokenizer_encode(t, s, &ids, json_string_value(text), json_string_length(text), flags));
    check_ids(&ids, json_object_get(row, "ids"), json_string_value(text));
    const json_t *cls = json_object_get(row, "ids_cls");
    if (cls) {
        ids.n = 0;
        ok(tokenizer_encode(t, s, &ids, json_string_value(text), json_string_length(text),
                            flags | TOKENIZER_ADD_SPECIAL));
        check_ids(&ids, cls, json_string_value(text));
    }
    ids_release(&ids);
}

static size_t each_row(const char *file, const struct tokenizer *t, row_fn fn)
{
    char name[64], path[4096];
    struct line_reader *r;
    struct tokenizer_scratch *s;
    const char *line;
    size_t n, rows = 0;
    snprintf(name, sizeof name, "tokenizers/%s.jsonl", file);
    ok(line_reader_open(&r, golden_path(path, name)));
    ok(tokenizer_scratch_new(&s));
    for (;; rows++) {
        ok(line_next(r, &line, &n));
        if (!line)
            break;
        json_t *row;
        ok(json_parse(&row, line, n, path));
        fn(t, s, row);
        json_decref(row);
    }
    tokenizer_scratch_free(s);
    line_reader_close(r);
    assert_true(rows > 0);
    return rows;
}

static void golden(const char *file, const char *model, row_fn fn)
{
    struct tokenizer *t;
    enum trawl_status status = model_open_tokenizer(&t, NULL, model);
    if (status == TRAWL_NOT_FOUND || status == TRAWL_IO) {
        print_message("skipped: no model %s (tools/fetch gets it): %s\n", model, trawl_message());
        skip();
    }
    ok(status);
    each_row(file, t, fn);
    tokenizer_free(t);
}

static void smollm2_is_golden(void **state)
{
    (void)state;
    golden("smol", "smollm2-135m", row_ids);
}

static void qwen25_is_golden(void **state)
{
    (void)state;
    golden("qwen", "qwen2.5-coder-0.5b", row_ids);
}

static void gemma3_is_golden(void **state)
{
    (void)state;
    golden("gemma", "gemma3-270m", row_ids);
}

static void minilm_is_golden(void **state)
{
    (void)state;
    golden("minilm", "minilm", row_ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_is_golden),
        cmocka_unit_test(qwen25_is_golden),
        cmocka_unit_test(gemma3_is_golden),
        cmocka_unit_test(minilm_is_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
