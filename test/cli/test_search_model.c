/* Dense and hybrid search of texts: the model is found through the index, and another one is refused. */
#include "program.h"
#include <stdbool.h>

static char folder[] = "/tmp/trawl-cli-model-XXXXXX";
static bool have_model;

static int set_up(void **unused)
{
    (void)unused;
    char line[512];
    if (!mkdtemp(folder))
        return -1;
    snprintf(line, sizeof line, "%s/corpus.jsonl", folder);
    FILE *f = fopen(line, "wb");
    if (!f)
        return -1;
    fputs("{\"_id\": \"car\", \"title\": \"\", \"text\": \"The automobile was parked in the garage.\"}\n"
          "{\"_id\": \"bread\", \"title\": \"\", \"text\": \"She baked a loaf with flour, water and yeast.\"}\n"
          "{\"_id\": \"void\", \"title\": \"\", \"text\": \"\"}\n"
          "{\"_id\": \"sea\", \"title\": \"\", \"text\": \"Waves rolled onto the beach at high tide.\"}\n",
          f);
    fclose(f);
    snprintf(line, sizeof line, "index --corpus %s/corpus.jsonl --output %s/idx --bm25 --dense meaning --model minilm",
             folder, folder);
    have_model = program(line) == 0;
    return have_model || strstr(program_err.data, "is not in") ? 0 : -1; /* not installed */
}

static int tear_down(void **unused)
{
    (void)unused;
    return file_remove_tree(folder);
}

static int run(const char *rest)
{
    char line[1024];
    snprintf(line, sizeof line, "search --index %s/idx %s", folder, rest);
    return program(line);
}

static void dense_search_finds_by_meaning(void **unused)
{
    (void)unused;
    if (!have_model)
        skip(); /* minilm is not installed */
    assert_int_equal(run("--mode dense --k 1 --format trec ocean water at the shore"), 0);
    assert_int_equal(strncmp(program_out.data, "1 Q0 sea 1 ", 11), 0);
    assert_int_equal(run("--mode dense --format trec vehicle"), 0);
    assert_int_equal(strncmp(program_out.data, "1 Q0 car 1 ", 11), 0);
    assert_null(strstr(program_out.data, " void ")); /* a document without tokens is never found */
}

static void auto_is_hybrid_where_the_index_holds_both(void **unused)
{
    (void)unused;
    if (!have_model)
        skip(); /* minilm is not installed */
    assert_int_equal(run("automobile"), 0);
    assert_out_has("The **automobile** was parked in the garage.");
    assert_err_has("hybrid, 3 hits");
}

static void another_model_is_refused_by_the_field_that_differs(void **unused)
{
    (void)unused;
    if (!have_model)
        skip(); /* minilm is not installed */
    assert_int_equal(run("--mode dense --model smollm2-135m automobile"), 1);
    if (strstr(program_err.data, "is not in"))
        skip(); /* smollm2-135m is not installed */
    assert_err_has("'meaning'");
    assert_err_has("model is");
    assert_err_has("--force");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_search_finds_by_meaning),
        cmocka_unit_test(auto_is_hybrid_where_the_index_holds_both),
        cmocka_unit_test(another_model_is_refused_by_the_field_that_differs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
