/*
 * Chat templates: the golden conversations with the models' own templates, and conversations rendered by transformers
 * with every published template (tools/make_chat_values.py). Where a template fails, we refuse; where content that is
 * no string would come out as Python's notation of it ("None"), we refuse, too.
 */
#include "../golden.h"
#include "base/file.h"
#include "base/json.h"
#include "model/model.h"
#include "text/chat.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void ok(enum trawl_status status)
{
    if (status)
        fail_msg("%s", trawl_message());
}

static bool all_strings(const json_t *messages)
{
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!json_is_string(json_object_get(json_array_get(messages, i), "content")))
            return false;
    return true;
}

static size_t check_row(const struct chat_template *t, const json_t *row)
{
    const json_t *want = json_object_get(row, "text"), *messages = json_object_get(row, "messages");
    struct buf out = {0};
    enum trawl_status status = chat_render(t, &out, messages, json_object_get(row, "tools"),
                                           json_is_true(json_object_get(row, "add_generation_prompt")));
    bool same = !status && json_is_string(want) && out.n == json_string_length(want) &&
                (out.n == 0 || memcmp(out.data, json_string_value(want), out.n) == 0);
    bool good = status ? json_is_null(want) || !all_strings(messages) : same;
    if (!good) {
        char *shown = json_dumps(row, JSON_ENSURE_ASCII);
        print_message("%s: %s\n  got %s\n", chat_name(t), shown, status ? trawl_message() : out.data);
        free(shown);
    }
    buf_release(&out);
    return !good;
}

static void check_file(const struct chat_template *t, const char *path)
{
    struct line_reader *r;
    const char *line;
    size_t n, rows = 0, bad = 0;
    ok(line_reader_open(&r, path));
    for (;; rows++) {
        json_t *row;
        ok(line_next(r, &line, &n));
        if (!line)
            break;
        ok(json_parse(&row, line, n, path));
        bad += check_row(t, row);
        json_decref(row);
    }
    line_reader_close(r);
    assert_true(rows > 0);
    assert_int_equal(bad, 0);
}

static void templates_render_as_transformers_does(void **state)
{
    (void)state;
    char names[256], path[4096], *rest = names;
    const char *source = getenv("TRAWL_SOURCE");
    snprintf(names, sizeof names, "%s", chat_names());
    for (char *name; (name = strtok_r(rest, "|", &rest));) {
        const struct chat_template *t;
        ok(chat_find_name(&t, name));
        snprintf(path, sizeof path, "%s/test/text/chat/%s.jsonl", source ? source : ".", name);
        check_file(t, path);
    }
}

static void golden(const char *file, const char *model, const char *name)
{
    char path[4096], *text;
    struct tokenizer *tokenizer;
    const struct chat_template *t;
    enum trawl_status status = model_open_tokenizer(&tokenizer, &text, model);
    if (status == TRAWL_NOT_FOUND || status == TRAWL_IO) {
        print_message("skipped: no model %s (tools/fetch gets it): %s\n", model, trawl_message());
        skip();
    }
    ok(status);
    ok(chat_find_text(&t, text, strlen(text)));
    assert_string_equal(chat_name(t), name);
    check_file(t, golden_path(path, file));
    tokenizer_free(tokenizer);
    free(text);
}

static void smollm2_chats_are_golden(void **state)
{
    (void)state;
    golden("tokenizers/chat/smol.jsonl", "smollm2-135m", "smollm2");
}

static void qwen25_chats_are_golden(void **state)
{
    (void)state;
    golden("tokenizers/chat/qwen.jsonl", "qwen2.5-coder-0.5b", "qwen2.5");
}

static void unknown_templates_are_refused_naming_the_known(void **state)
{
    (void)state;
    const struct chat_template *t;
    assert_int_equal(chat_find_name(&t, "vicuna"), TRAWL_UNSUPPORTED);
    assert_non_null(strstr(trawl_message(), "gemma3"));
    assert_int_equal(chat_find_text(&t, "{{ x }}", 7), TRAWL_UNSUPPORTED);
    assert_non_null(strstr(trawl_message(), "gemma3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_render_as_transformers_does),
        cmocka_unit_test(smollm2_chats_are_golden),
        cmocka_unit_test(qwen25_chats_are_golden),
        cmocka_unit_test(unknown_templates_are_refused_naming_the_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
