/* Handles of index and searcher. */
#include "base/file.h"
#include "index/index.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <trawl.h>

static char folder[] = "/tmp/trawl-api-XXXXXX", path[64];

static enum trawl_status add(struct index_writer *w, const char *id, const char *title, const char *text,
                             const float *vector)
{
    struct buf joined = {0};
    struct document doc = {id, title, text, strlen(id), strlen(title), strlen(text)};
    const float *rows[2] = {NULL, vector};
    TRY(document_join(&joined, &doc, "space"));
    enum trawl_status status = index_add(w, &doc, joined.data, joined.n, rows);
    buf_release(&joined);
    return status;
}

static int set_up(void **unused)
{
    (void)unused;
    struct index_field fields[2] = {
        {.name = "words", .kind = INDEX_LEXICAL, .analyzer = "english", .k1 = 0.9, .b = 0.4},
        {.name = "dots", .kind = INDEX_DENSE, .D = 2, .from_vectors = true}};
    struct index_writer_options options = {.settings = {.join = "space"}};
    struct index_writer *w;
    if (!mkdtemp(folder) || snprintf(path, sizeof path, "%s/idx", folder) < 0 ||
        index_writer_open(&w, path, fields, 2, &options) || add(w, "a", "First", "apples and pears", (float[]){1, 0}) ||
        add(w, "b", "Second", "pears alone", (float[]){0, 1}) || index_commit(&w))
        return -1;
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    return file_remove_tree(folder);
}

static struct trawl_searcher *make(struct trawl_index **index, const char *mode, bool vectors)
{
    struct trawl_search_options options;
    struct trawl_searcher *searcher;
    trawl_options_init(&options, trawl_stage_find("search"));
    options.mode = mode;
    options.given_vectors = vectors;
    assert_int_equal(trawl_index_open(index, path), TRAWL_OK);
    assert_int_equal(trawl_searcher_new(&searcher, *index, &options), TRAWL_OK);
    return searcher;
}

static void text_finds_documents_with_their_texts(void **unused)
{
    (void)unused;
    struct trawl_index *index;
    const struct trawl_hit *hits;
    size_t n;
    struct trawl_searcher *searcher = make(&index, "bm25", false);
    assert_int_equal(trawl_index_documents(index), 2);
    assert_int_equal(trawl_search_text(searcher, &hits, &n, "apple"), TRAWL_OK);
    assert_int_equal(n, 1);
    assert_string_equal(hits[0].id, "a");
    assert_string_equal(hits[0].title, "First");
    assert_string_equal(hits[0].text, "apples and pears");
    assert_string_equal(hits[0].snippet, "**apples** and pears");
    assert_int_equal(hits[0].passage_end, strlen(hits[0].text));
    assert_int_equal(trawl_search_text(searcher, &hits, &n, ""), TRAWL_OK);
    assert_int_equal(n, 0);
    trawl_searcher_free(searcher);
    trawl_index_close(index);
}

static void vectors_find_documents(void **unused)
{
    (void)unused;
    struct trawl_index *index;
    const struct trawl_hit *hits;
    size_t n;
    struct trawl_searcher *searcher = make(&index, "dense", true);
    assert_int_equal(trawl_search_vector(searcher, &hits, &n, (float[]){0.25f, 0.5f}, 2, NULL), TRAWL_OK);
    assert_int_equal(n, 2);
    assert_string_equal(hits[0].id, "b");
    assert_true(hits[0].score == 0.5f && hits[1].score == 0.25f);
    assert_int_equal(trawl_search_vector(searcher, &hits, &n, (float[]){1, 2, 3}, 3, NULL), TRAWL_MISMATCH);
    assert_int_equal(trawl_search_text(searcher, &hits, &n, "pears"), TRAWL_USAGE);
    trawl_searcher_free(searcher);
    trawl_index_close(index);
}

static void missing_index_is_refused(void **unused)
{
    (void)unused;
    struct trawl_index *index;
    assert_int_not_equal(trawl_index_open(&index, "/nonexistent/idx"), TRAWL_OK);
    assert_null(index);
    assert_non_null(strstr(trawl_message(), "/nonexistent/idx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_finds_documents_with_their_texts),
        cmocka_unit_test(vectors_find_documents),
        cmocka_unit_test(missing_index_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
