/*
 * Small tokenizers of every kind (tools/make_tokenizer_values.py made them and the values, with the reference library):
 * ids with special tokens as text and parsed, ids with what the post-processor adds, and decoded texts.
 */
#include "../golden.h"
#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const char *const kinds[] = {
    "gpt2",           "roberta",       "llama3",
    "falcon",         "smollm",        "llama2",
    "mistral",        "gemma",         "bpe-unk",
    "bpe-fused-unk",  "xlmr",          "t5",
    "bert",           "bert-cased",    "clip",
    "continuing",     "split-removed", "split-isolated",
    "split-previous", "split-next",    "split-contiguous",
};

static void ok(enum trawl_status status)
{
    if (status)
        fail_msg("%s", trawl_message());
}

static void data_path(char path[4096], const char *name, const char *suffix)
{
    const char *source = getenv("TRAWL_SOURCE");
    snprintf(path, 4096, "%s/test/text/tokenizers/%s%s", source ? source : ".", name, suffix);
}

static bool same_ids(const struct ids *ids, const json_t *want)
{
    bool same = ids->n == json_array_size(want);
    for (size_t i = 0; same && i < ids->n; i++)
        same = ids->ids[i] == (uint32_t)json_integer_value(json_array_get(want, i));
    return same;
}

static size_t check_row(const struct tokenizer *t, struct tokenizer_scratch *s, const json_t *row, const char *kind)
{
    const json_t *text = json_object_get(row, "text"), *decoded = json_object_get(row, "decoded");
    unsigned parse = strcmp(json_string_value(json_object_get(row, "special")), "parsed") ? 0 : TOKENIZER_PARSE_SPECIAL;
    struct ids ids = {0}, added = {0};
    struct buf out = {0};
    ok(tokenizer_encode(t, s, &ids, json_string_value(text), json_string_length(text), parse));
    ok(tokenizer_encode(t, s, &added, json_string_value(text), json_string_length(text),
                        parse | TOKENIZER_ADD_SPECIAL));
    ok(tokenizer_decode(t, &out, ids.ids, ids.n, false));
    bool ids_same = same_ids(&ids, json_object_get(row, "ids"));
    bool added_same = same_ids(&added, json_object_get(row, "ids_special"));
    bool text_same = out.n == json_string_length(decoded) &&
                     (out.n == 0 || memcmp(out.data, json_string_value(decoded), out.n) == 0);
    bool good = ids_same && added_same && text_same;
    if (!good) {
        char *shown = json_dumps(row, JSON_ENSURE_ASCII);
        print_message("%s: ids %s, with added %s, decoded %s: %s\n", kind, ids_same ? "good" : "BAD",
                      added_same ? "good" : "BAD", text_same ? "good" : "BAD", shown);
        free(shown);
    }
    ids_release(&ids);
    ids_release(&added);
    buf_release(&out);
    return !good;
}

static size_t total_bad;

static void check_kind(const char *kind)
{
    char path[4096];
    struct tokenizer *t;
    struct tokenizer_scratch *s;
    struct line_reader *r;
    const char *line;
    size_t n, rows = 0, bad = 0;
    data_path(path, kind, ".json");
    ok(tokenizer_open(&t, path));
    ok(tokenizer_scratch_new(&s));
    data_path(path, kind, ".jsonl.gz");
    ok(line_reader_open(&r, path));
    for (;; rows++) {
        json_t *row;
        ok(line_next(r, &line, &n));
        if (!line)
            break;
        ok(json_parse(&row, line, n, path));
        bad += check_row(t, s, row, kind);
        json_decref(row);
    }
    line_reader_close(r);
    tokenizer_scratch_free(s);
    tokenizer_free(t);
    assert_true(rows > 100);
    total_bad += bad;
}

static void every_kind_gives_the_ids_and_texts_of_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        check_kind(kinds[i]);
    assert_int_equal(total_bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_kind_gives_the_ids_and_texts_of_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
