/* inspect tells every kind of file by its content, and counts what other stages will read. */
#include "../model/scratch.h"
#include "base/json.h"
#include "base/pack.h"
#include "data/vectors.h"

/* The description as JSON; NULL when it was refused. */
static json_t *inspect(const char *path, bool verify)
{
    char out[4096];
    json_t *o = NULL;
    struct trawl_inspect_report report;
    struct trawl_inspect_options options = {.size = sizeof options, .path = path, .verify = verify, .json = true};
    options.output = scratch_path(out, (long)getpid(), "inspect.json");
    if (trawl_inspect(&options, &report))
        return NULL;
    assert_int_equal(json_read(&o, out, 1 << 24), TRAWL_OK);
    assert_string_equal(report.kind, json_string_value(json_object_get(o, "kind")));
    unlink(out);
    return o;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "(absent)";
}

static long long number_of(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static void models_are_described(void **state)
{
    (void)state;
    char path[4096];
    json_t *o = inspect(golden_path(path, "tiny/gemma3_text/model"), true);
    assert_non_null(o);
    assert_string_equal(text_of(o, "kind"), "model");
    assert_string_equal(text_of(o, "family"), "gemma3");
    assert_int_equal(number_of(o, "layers"), 4);
    assert_string_equal(text_of(o, "windows"), "3 of 4 layers see the last 8 tokens");
    assert_string_equal(text_of(o, "lm_head"), "the token embedding");
    assert_string_equal(text_of(json_object_get(o, "document_contract"), "pooling"), "mean");
    assert_non_null(strstr(text_of(o, "verified"), "all finite"));
    json_decref(o);
}

static void adapters_are_described(void **state)
{
    (void)state;
    char path[4096];
    json_t *o = inspect(golden_path(path, "tiny/llama/lora"), true);
    assert_non_null(o);
    assert_string_equal(text_of(o, "kind"), "adapter on a model");
    assert_int_equal(number_of(json_object_get(o, "adapter"), "rank"), 4);
    json_decref(o);
}

static void texts_and_judgements_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name, *content, *kind, *key;
        long long count;
    } files[] = {
        {"a.jsonl", "{\"_id\":\"1\",\"title\":\"t\",\"text\":\"x\"}\n{\"_id\":\"2\",\"title\":\"\",\"text\":\"\"}\n",
         "corpus", "documents", 2},
        {"queries.jsonl", "{\"_id\":\"1\",\"text\":\"x\"}\n", "queries", "queries", 1},
        {"b.tsv", "query-id\tcorpus-id\tscore\n1\ta\t1\n1\tb\t0\n2\ta\t2\n", "judgements", "judgements", 3},
        {"c", "1 0 a 1\n1 0 b 0\n", "judgements", "relevant", 1},
        {"d", "1 Q0 a 1 2.5 tag\n1 Q0 b 2 2.0 tag\n2 Q0 b 1 1 tag\n", "run", "hits", 3},
        {"topics.tsv", "1\twhat is this\n2\tand that one\n", "queries", "queries", 2},
        {"collection.tsv", "1\tone passage of text\n2\tanother one\n3\tthird\n", "corpus", "documents", 3},
    };
    char folder[4096];
    scratch_folder(folder, "kinds");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        put_text(folder, files[i].name, files[i].content);
        char *path = file_join(folder, files[i].name);
        json_t *o = inspect(path, false);
        if (!o)
            fail_msg("%s: %s", files[i].name, trawl_message());
        assert_string_equal(text_of(o, "kind"), files[i].kind);
        assert_int_equal(number_of(o, files[i].key), files[i].count);
        json_decref(o);
        free(path);
    }
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void arrays_are_described(void **state)
{
    (void)state;
    char path[4096];
    json_t *o = inspect(golden_path(path, "bm25/scores.npy"), true);
    assert_non_null(o);
    assert_string_equal(text_of(o, "kind"), "array");
    assert_string_equal(text_of(o, "type"), "float32");
    json_decref(o);
}

static void altered_packs_are_found_by_verify(void **state)
{
    (void)state;
    char folder[4096];
    struct vectors_writer *w;
    const float row[3] = {1, 2, 3};
    scratch_folder(folder, "pack");
    char *path = file_join(folder, "v.vecs");
    assert_int_equal(vectors_create(&w, path, "auto", 3, NULL, NULL), TRAWL_OK);
    assert_int_equal(vectors_add(w, "a", row), TRAWL_OK);
    assert_int_equal(vectors_add(w, "b", row), TRAWL_OK);
    assert_int_equal(vectors_commit(&w), TRAWL_OK);
    json_t *o = inspect(path, true);
    assert_non_null(o);
    assert_string_equal(text_of(o, "kind"), "vectors");
    assert_int_equal(number_of(o, "vectors"), 2);
    assert_string_equal(text_of(o, "checksums"), "all right");
    json_decref(o);
    struct buf data;
    get_file(&data, folder, "v.vecs");
    char *at = memmem(data.data, data.n, row, sizeof row);
    assert_non_null(at);
    at[1] ^= 1;
    put_file(folder, "v.vecs", data.data, data.n);
    buf_release(&data);
    assert_null(inspect(path, true));
    assert_message("v.vecs");
    free(path);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void indexes_are_described_and_verified(void **state)
{
    (void)state;
    char folder[4096];
    struct trawl_index_report report;
    struct trawl_index_options options;
    scratch_folder(folder, "index");
    put_text(folder, "c.jsonl", "{\"_id\":\"a\",\"text\":\"one two\"}\n{\"_id\":\"b\",\"text\":\"two three\"}\n");
    char *corpus = file_join(folder, "c.jsonl"), *path = file_join(folder, "ix");
    trawl_options_init(&options, trawl_stage_find("index"));
    options.corpus = corpus;
    options.output = path;
    if (trawl_index(&options, &report))
        fail_msg("%s", trawl_message());
    json_t *o = inspect(path, true);
    assert_non_null(o);
    assert_string_equal(text_of(o, "kind"), "index");
    assert_int_equal(number_of(o, "documents"), 2);
    assert_string_equal(text_of(json_object_iter_value(json_object_iter(json_object_get(o, "fields"))), "kind"),
                        "lexical");
    assert_string_equal(text_of(o, "checksums"), "all right");
    json_decref(o);
    struct buf names = {0}, data;
    size_t n;
    assert_int_equal(file_list(&names, &n, path), TRAWL_OK);
    const char *name = names.data;
    while (!strstr(name, ".lex"))
        name += strlen(name) + 1;
    get_file(&data, path, name);
    data.data[data.n / 2] ^= 1;
    put_file(path, name, data.data, data.n);
    assert_null(inspect(path, true));
    assert_message(name);
    buf_release(&data);
    buf_release(&names);
    trawl_options_release(&options, trawl_stage_find("index"));
    free(corpus);
    free(path);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void other_things_are_refused(void **state)
{
    (void)state;
    char folder[4096];
    scratch_folder(folder, "other");
    assert_null(inspect(folder, false));
    assert_message("of no kind that trawl reads");
    put_text(folder, "x.bin", "lorem ipsum");
    char *path = file_join(folder, "x.bin");
    assert_null(inspect(path, false));
    assert_message("x.bin");
    free(path);
    assert_null(inspect("no-such-model", false));
    assert_message("tools/fetch");
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_described),
        cmocka_unit_test(adapters_are_described),
        cmocka_unit_test(texts_and_judgements_are_told_apart),
        cmocka_unit_test(arrays_are_described),
        cmocka_unit_test(altered_packs_are_found_by_verify),
        cmocka_unit_test(other_things_are_refused),
        cmocka_unit_test(indexes_are_described_and_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
