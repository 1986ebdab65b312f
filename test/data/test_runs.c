/* Runs, judgements and queries: what is written is read back, what is double or damaged is refused. */
#include "data/data.h"
#include "scratch.h"
#include <math.h>

static void runs_are_written_and_read_back(void **state)
{
    static const char *const formats[] = {"trec", "json"};
    char path[4096];
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        struct run r = {0}, back;
        assert_int_equal(run_add(&r, "q1", "d\"1", 0.1f), TRAWL_OK);
        assert_int_equal(run_add(&r, "q1", "d2", -3e-30f), TRAWL_OK);
        assert_int_equal(run_add(&r, "q2", "d2", 16777217.0f), TRAWL_OK);
        assert_int_equal(run_write(&r, scratch_path(path, (long)getpid(), "run"), formats[f]), TRAWL_OK);
        if (run_read(&back, path) != TRAWL_OK)
            fail_msg("%s", trawl_message());
        assert_int_equal(back.queries.n, 2);
        for (size_t q = 0; q < 2; q++) {
            assert_int_equal(back.items[q].n, r.items[q].n);
            for (size_t i = 0; i < r.items[q].n; i++) {
                assert_string_equal(run_doc(&back, &back.items[q].items[i]), run_doc(&r, &r.items[q].items[i]));
                assert_true(back.items[q].items[i].score == r.items[q].items[i].score);
            }
        }
        run_release(&r);
        run_release(&back);
    }
    unlink(path);
}

static void ids_with_spaces_need_json(void **state)
{
    char path[4096];
    struct run r = {0};
    (void)state;
    assert_int_equal(run_add(&r, "q", "my file.txt", 1), TRAWL_OK);
    assert_int_equal(run_write(&r, scratch_path(path, (long)getpid(), "run"), "trec"), TRAWL_FORMAT);
    assert_message("'my file.txt' has white space");
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(run_write(&r, path, "json"), TRAWL_OK);
    unlink(path);
    run_release(&r);
}

static void long_lists_find_every_document(void **state)
{
    struct run r = {0};
    char id[16];
    (void)state;
    for (int i = 0; i < 5000; i++) {
        snprintf(id, sizeof id, "d%d", i);
        assert_int_equal(run_add(&r, "q", id, (float)i), TRAWL_OK);
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(id, sizeof id, "d%d", i);
        assert_int_equal(doc_list_find(&r.items[0], &r.ids, id, strlen(id)), i);
        assert_int_equal(run_add(&r, "q", id, 0), TRAWL_FORMAT);
    }
    assert_int_equal(doc_list_find(&r.items[0], &r.ids, "d5000", 5), MAP_NONE);
    assert_int_equal(run_add(&r, "q", "nan", NAN), TRAWL_FORMAT);
    run_release(&r);
}

static void queries_are_read_in_order(void **state)
{
    static const char *const files[] = {"{\"_id\": \"1\", \"text\": \"a b\"}\n{\"query_id\": 2, \"query\": \"c\"}\n",
                                        "1\ta b\n\n2\tc\n"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct queries q;
        if (queries_read(&q, scratch_text("q", files[i]), false) != TRAWL_OK)
            fail_msg("%s", trawl_message());
        assert_int_equal(q.n, 2);
        assert_string_equal(q.items[0].text, "a b");
        assert_string_equal(q.items[1].id, "2");
        assert_int_equal(map_find(&q.by_id, "2", 1), 1);
        queries_release(&q);
    }
    unlink(scratch_name);
}

static void bad_queries_are_refused_with_their_line(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {{"", "no queries"},
                 {"1\ta\n1\tb\n", "line 2: the query id '1' comes twice"},
                 {"1\ta\nno tab\n", "line 2: no TAB"},
                 {"{\"_id\": \"1\"}\n", "line 1: no text"},
                 {"{\"text\": \"1\"}\n", "line 1: no id"},
                 {"{\"_id\": \"1\", \"text\": 5}\n", "line 1: no text"},
                 {"{\"_id\": \"1\", \"text\": \"\n", "line 1, column"}};
    struct queries q;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(queries_read(&q, scratch_text("q", cases[i].text), false), TRAWL_FORMAT);
        assert_message(cases[i].words);
        assert_null(q.items);
    }
    assert_int_equal(queries_read(&q, scratch_text("q", "1\t\xff\n"), true), TRAWL_FORMAT);
    assert_int_equal(queries_read(&q, scratch_text("q", "1\t\xff\n"), false), TRAWL_OK);
    assert_int_equal(q.invalid_utf8, 1);
    assert_string_equal(q.items[0].text, "\xef\xbf\xbd");
    queries_release(&q);
    unlink(scratch_name);
}

static void damaged_bytes_never_crash(void **state)
{
    static const char *const samples[] = {"q1 Q0 d1 1 2.5e0 t\nq1 Q0 d2 2 1 t\n", "{\"q\": {\"a\": 1, \"b\": 2.5}}",
                                          "q1 0 d1 1\nq1 0 d2 -1\n", "query-id\tcorpus-id\tscore\n1\t2\t3\n"};
    (void)state;
    for (size_t s = 0; s < 4; s++)
        for (size_t i = 0; i < strlen(samples[s]); i++)
            for (int flip = 0; flip < 256; flip += 5) {
                struct run r;
                struct qrels q;
                char copy[256];
                size_t n = strlen(samples[s]);
                memcpy(copy, samples[s], n);
                copy[i] = (char)(copy[i] ^ flip);
                const char *path = scratch_write("damaged", copy, flip ? n : i);
                if (run_read(&r, path) == TRAWL_OK)
                    run_release(&r);
                if (qrels_read(&q, path) == TRAWL_OK)
                    qrels_release(&q);
            }
    unlink(scratch_name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_written_and_read_back),          cmocka_unit_test(ids_with_spaces_need_json),
        cmocka_unit_test(long_lists_find_every_document),          cmocka_unit_test(queries_are_read_in_order),
        cmocka_unit_test(bad_queries_are_refused_with_their_line), cmocka_unit_test(damaged_bytes_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
