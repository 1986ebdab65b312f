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

/* ---- Qwen3's tokenizer.json lies here compressed ---- */

static void read_compressed(struct buf *out, const char *name)
{
    char path[4096];
    struct line_reader *r;
    const char *line, *source = getenv("TRAWL_SOURCE");
    size_t n;
    snprintf(path, sizeof path, "%s/test/text/%s", source ? source : ".", name);
    ok(line_reader_open(&r, path));
    for (;;) {
        ok(line_next(r, &line, &n));
        if (!line)
            break;
        ok(buf_append(out, line, n));
        ok(buf_append(out, "\n", 1));
    }
    line_reader_close(r);
}

static struct tokenizer *open_qwen3(void)
{
    struct buf text = {0};
    struct tokenizer *t;
    read_compressed(&text, "qwen3/tokenizer.json.zst");
    ok(tokenizer_from_json(&t, text.data, text.n, "qwen3", NULL));
    buf_release(&text);
    return t;
}

static void qwen3_is_golden(void **state)
{
    (void)state;
    struct tokenizer *t = open_qwen3();
    each_row("qwen3", t, row_ids);
    tokenizer_free(t);
}

static void row_round_trip(const struct tokenizer *t, struct tokenizer_scratch *s, const json_t *row)
{
    const json_t *text = json_object_get(row, "text");
    const char *want = json_string_value(text);
    struct ids ids = {0}, again = {0};
    struct buf out = {0};
    ok(tokenizer_encode(t, s, &ids, want, json_string_length(text), 0));
    ok(tokenizer_decode(t, &out, ids.ids, ids.n, false));
    ok(tokenizer_encode(t, s, &again, out.data, out.n, 0));
    assert_int_equal(again.n, ids.n);
    if (ids.n)
        assert_memory_equal(again.ids, ids.ids, ids.n * sizeof *ids.ids);
    ids_release(&ids);
    ids_release(&again);
    buf_release(&out);
}

static void decoded_ids_encode_to_themselves(void **state)
{
    (void)state;
    struct tokenizer *t = open_qwen3();
    each_row("qwen3", t, row_round_trip);
    tokenizer_free(t);
}

/* ---- long pieces, scratch, fingerprints ---- */

static void ids_do_not_depend_on_the_scratch(void **state)
{
    (void)state;
    static const char text[] = "papaverine and nitroprusside, papaverine and nitroprusside";
    struct tokenizer *t = open_qwen3();
    struct tokenizer_scratch *s;
    struct ids first = {0}, second = {0}, none = {0};
    ok(tokenizer_scratch_new(&s));
    ok(tokenizer_encode(t, s, &first, text, sizeof text - 1, 0));
    ok(tokenizer_encode(t, s, &second, text, sizeof text - 1, 0));
    ok(tokenizer_encode(t, NULL, &none, text, sizeof text - 1, 0));
    assert_int_equal(first.n, second.n);
    assert_int_equal(first.n, none.n);
    assert_memory_equal(first.ids, second.ids, first.n * sizeof *first.ids);
    assert_memory_equal(first.ids, none.ids, first.n * sizeof *first.ids);
    ids_release(&first);
    ids_release(&second);
    ids_release(&none);
    tokenizer_scratch_free(s);
    tokenizer_free(t);
}

static void a_megabyte_without_a_space_is_no_trouble(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    struct tokenizer *t = open_qwen3();
    struct ids ids = {0};
    struct buf out = {0};
    char *text = malloc(BYTES);
    assert_non_null(text);
    for (size_t i = 0; i < BYTES; i++)
        text[i] = (char)('a' + (i * i / 7 + i / 3) % 26);
    ok(tokenizer_encode(t, NULL, &ids, text, BYTES, 0));
    ok(tokenizer_decode(t, &out, ids.ids, ids.n, false));
    assert_int_equal(out.n, BYTES);
    assert_memory_equal(out.data, text, BYTES);
    free(text);
    ids_release(&ids);
    buf_release(&out);
    tokenizer_free(t);
}

/* ---- foreign bytes ---- */

static const char tiny[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]},"
    "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}],\"normalizer\":{\"type\":\"NFC\"}}";

static void a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct tokenizer *t;
    for (size_t n = 0; n + 1 < sizeof tiny; n++) {
        assert_int_not_equal(tokenizer_from_json(&t, tiny, n, "cut", NULL), TRAWL_OK);
        assert_null(t);
    }
    ok(tokenizer_from_json(&t, tiny, sizeof tiny - 1, "whole", NULL));
    tokenizer_free(t);
}

static void altered_bytes_do_no_harm(void **state)
{
    (void)state;
    char text[sizeof tiny];
    for (size_t i = 0; i + 1 < sizeof tiny; i++)
        for (int bit = 0; bit < 8; bit++) {
            struct tokenizer *t;
            struct ids ids = {0};
            memcpy(text, tiny, sizeof tiny);
            text[i] = (char)(text[i] ^ 1 << bit);
            if (tokenizer_from_json(&t, text, sizeof tiny - 1, "altered", NULL) == TRAWL_OK)
                ok(tokenizer_encode(t, NULL, &ids, "abba <s>", 8, TOKENIZER_PARSE_SPECIAL));
            ids_release(&ids);
            tokenizer_free(t);
        }
}

static void refused(enum trawl_status status, const char *text, const char *says)
{
    struct tokenizer *t;
    assert_int_equal(tokenizer_from_json(&t, text, strlen(text), "'x'", NULL), status);
    if (!strstr(trawl_message(), says))
        fail_msg("the message '%s' does not say '%s'", trawl_message(), says);
}

#define MODEL(vocab, merges) "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}"

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    refused(TRAWL_UNSUPPORTED, "{\"model\":{\"type\":\"Magic\",\"vocab\":{}}}", "Magic");
    refused(TRAWL_UNSUPPORTED, MODEL("{}", "[]") ",\"normalizer\":{\"type\":\"Odd\"}}", "Odd");
    refused(TRAWL_UNSUPPORTED, MODEL("{}", "[]") ",\"pre_tokenizer\":{\"type\":\"Odd\"}}", "Odd");
    refused(TRAWL_UNSUPPORTED, MODEL("{}", "[]") ",\"decoder\":{\"type\":\"Odd\"}}", "Odd");
    refused(TRAWL_UNSUPPORTED, MODEL("{}", "[]") ",\"post_processor\":{\"type\":\"Odd\"}}", "Odd");
    refused(TRAWL_FORMAT, MODEL("{\"a\":0,\"b\":0}", "[]") "}", "two tokens");
    refused(TRAWL_FORMAT, MODEL("{\"a\":0,\"a\":1}", "[]") "}", "twice");
    refused(TRAWL_FORMAT, MODEL("{\"a\":-1}", "[]") "}", "token id");
    refused(TRAWL_FORMAT, MODEL("{\"a\":1e99}", "[]") "}", "token id");
    refused(TRAWL_LIMIT, MODEL("{\"a\":9999999}", "[]") "}", "too large");
    refused(TRAWL_FORMAT, MODEL("{\"a\":0}", "[\"a b\"]") "}", "vocabulary");
    refused(TRAWL_FORMAT, MODEL("{\"a\":0}", "[\"a a\"]") "}", "vocabulary");
    refused(TRAWL_FORMAT, MODEL("{\"a\":0}", "[\"a\"]") "}", "merge");
    refused(TRAWL_FORMAT, MODEL("[]", "[]") "}", "expected");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    struct buf text = {0};
    struct tokenizer *t;
    ok(buf_text(&text, "{\"x\":"));
    for (int i = 0; i < 100000; i++)
        ok(buf_text(&text, "["));
    assert_int_equal(tokenizer_from_json(&t, text.data, text.n, "deep", NULL), TRAWL_FORMAT);
    buf_release(&text);
}

static void unknown_ids_are_not_decoded(void **state)
{
    (void)state;
    struct tokenizer *t;
    struct buf out = {0};
    uint32_t id = 4;
    ok(tokenizer_from_json(&t, tiny, sizeof tiny - 1, "tiny", NULL));
    assert_int_equal(tokenizer_decode(t, &out, &id, 1, false), TRAWL_FORMAT);
    tokenizer_free(t);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_is_golden),
        cmocka_unit_test(qwen25_is_golden),
        cmocka_unit_test(gemma3_is_golden),
        cmocka_unit_test(minilm_is_golden),
        cmocka_unit_test(qwen3_is_golden),
        cmocka_unit_test(decoded_ids_encode_to_themselves),
        cmocka_unit_test(ids_do_not_depend_on_the_scratch),
        cmocka_unit_test(a_megabyte_without_a_space_is_no_trouble),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(altered_bytes_do_no_harm),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(unknown_ids_are_not_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
