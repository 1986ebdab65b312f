/* `trawl search` as a user runs it, on a small index with a lexical field and a field of given vectors. */
#include "program.h"
#include "base/json.h"
#include "data/data.h"
#include "data/vectors.h"
#include "search/search.h"

enum { D = 4, N = 6 };
static char folder[] = "/tmp/trawl-cli-search-XXXXXX";

static const struct {
    const char *id, *title, *text;
    float vector[D];
} documents[N] = {
    {"iron-1", "Iron stores", "Low iron stores cause anaemia. Iron tablets restore them.", {1, 0, 0, 0}},
    {"zinc-1", "Zinc", "Zinc shortens colds.", {0, 1, 0, 0}},
    {"cold-1", "The common cold", "Colds are caused by viruses; iron does nothing against them.", {0.5f, 0.5f, 0, 0}},
    {"void", "", "", {0, 0, 0, 0}},
    {"quote-1", "A \"quoted\" title", "Backslash \\ and tab\tin the text about gold.", {0, 0, 1, 0}},
    {"gold-1", "Gold", "Gold is inert.", {0, 0, 0.5f, 0.5f}},
};

static char *at(const char *name)
{
    static char path[4][256];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

/* Runs the program with $D put for the folder. */
static int run(const char *line)
{
    char command[4096];
    snprintf(command, sizeof command, "search --index %s/idx %s", folder, line);
    return program(command);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int set_up(void **unused)
{
    (void)unused;
    struct index_field fields[2] = {{.name = "bm25", .kind = INDEX_LEXICAL, .analyzer = "english", .k1 = 0.9, .b = 0.4},
                                    {.name = "dots", .kind = INDEX_DENSE, .D = D, .from_vectors = true}};
    struct index_writer_options options = {.settings = {.join = "space"}};
    struct index_writer *w;
    struct vectors_writer *v;
    struct buf joined = {0};
    if (!mkdtemp(folder) || index_writer_open(&w, at("idx"), fields, 2, &options))
        return -1;
    for (size_t i = 0; i < N; i++) {
        const float *rows[2] = {NULL, documents[i].vector};
        struct document doc = {documents[i].id,         documents[i].title,         documents[i].text,
                               strlen(documents[i].id), strlen(documents[i].title), strlen(documents[i].text)};
        buf_reset(&joined);
        if (document_join(&joined, &doc, "space") || index_add(w, &doc, joined.data, joined.n, rows))
            return -1;
    }
    buf_release(&joined);
    if (index_commit(&w))
        return -1;
    const float queries[3][D] = {{1, 0.25f, 0, 0}, {0, 0, 1, 1}, {0.3f, 0.7f, 0, 0}};
    if (vectors_create(&v, at("q.npy"), "npy", D, NULL, NULL))
        return -1;
    for (size_t i = 0; i < 3; i++)
        if (vectors_add(v, "", queries[i]))
            return -1;
    if (vectors_commit(&v))
        return -1;
    write_text(at("q.jsonl"), "{\"_id\": \"q1\", \"text\": \"iron stores\"}\n{\"_id\": \"q2\", \"text\": \"gold\"}\n"
                              "{\"_id\": \"q3\", \"text\": \"\"}\n");
    write_text(at("two.tsv"), "a\tiron\nb\tzinc\n");
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    return file_remove_tree(folder);
}

static void one_query_prints_readable_hits(void **unused)
{
    (void)unused;
    assert_int_equal(run("--mode bm25 low iron"), 0);
    assert_out_has("  1  **Iron** stores\n     id iron-1   score ");
    assert_out_has("**Low** **iron** stores cause anaemia. **Iron** tablets restore them.");
    assert_out_has("  2  The common cold\n");
    assert_null(strchr(program_out.data, '\033')); /* not a terminal */
    assert_err_has("bm25, 2 hits");
}

static void k_limits_hits(void **unused)
{
    (void)unused;
    assert_int_equal(run("--mode bm25 --k 1 iron"), 0);
    assert_null(strstr(program_out.data, "  2  "));
}

static void json_of_one_query_holds_documents(void **unused)
{
    (void)unused;
    json_t *root;
    const char *text;
    size_t n;
    assert_int_equal(run("--mode bm25 --format json gold"), 0);
    assert_int_equal(json_parse(&root, program_out.data, program_out.n, "output"), TRAWL_OK);
    json_t *hits = json_object_get(root, "hits"), *quoted = NULL;
    assert_int_equal(json_array_size(hits), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(hits, 0), "id")), "gold-1");
    quoted = json_array_get(hits, 1);
    assert_int_equal(json_get_text(&text, &n, quoted, "text", "hit"), TRAWL_OK);
    assert_string_equal(text, documents[4].text);
    assert_string_equal(json_string_value(json_object_get(quoted, "title")), documents[4].title);
    assert_string_equal(json_string_value(json_object_get(quoted, "snippet")),
                        "Backslash \\ and tab in the text about **gold**.");
    json_decref(root);
}

/* The same search in the process. */
static void expected_run(struct run *out, const char *queries, const char *vectors, enum search_mode mode)
{
    struct index *ix;
    struct queries q = {0};
    struct vectors v = {0};
    struct search_options o = search_defaults();
    o.mode = mode;
    assert_int_equal(index_open(&ix, at("idx")), TRAWL_OK);
    if (queries)
        assert_int_equal(queries_read(&q, at(queries), false), TRAWL_OK);
    if (vectors)
        assert_int_equal(vectors_open(&v, at(vectors)), TRAWL_OK);
    assert_int_equal(search_run_vectors(out, ix, queries ? &q : NULL, vectors ? &v : NULL, &o, NULL), TRAWL_OK);
    queries_release(&q);
    vectors_close(&v);
    index_close(ix);
}

static void assert_same_run(const struct run *a, const struct run *b)
{
    size_t checked = 0;
    for (uint32_t q = 0; q < b->queries.n; q++) {
        size_t n;
        const char *name = map_key(&b->queries, q, &n);
        uint32_t p = map_find(&a->queries, name, n);
        if (b->items[q].n == 0)
            continue; /* a TREC run has no line for it */
        assert_int_not_equal(p, MAP_NONE);
        assert_int_equal(a->items[p].n, b->items[q].n);
        for (uint32_t i = 0; i < b->items[q].n; i++, checked++) {
            const struct doc_entry *x = &a->items[p].items[i], *y = &b->items[q].items[i];
            assert_string_equal(run_doc(a, x), run_doc(b, y));
            assert_true(x->score == y->score);
        }
    }
    assert_true(checked > 0);
}

static void run_reads_back_exactly_and_in_order(void **unused)
{
    (void)unused;
    struct run expected, got;
    char line[512];
    snprintf(line, sizeof line, "--queries %s --query-vectors %s --output %s --tag mine", at("q.jsonl"), at("q.npy"),
             at("out.run"));
    assert_int_equal(run(line), 0);
    assert_int_equal(program_out.n, 0);
    assert_err_has("hybrid, 3 queries");
    assert_int_equal(run_read(&got, at("out.run")), TRAWL_OK);
    assert_string_equal(got.tag, "mine");
    expected_run(&expected, "q.jsonl", "q.npy", SEARCH_HYBRID);
    assert_same_run(&got, &expected);
    for (uint32_t q = 0; q < got.queries.n; q++)
        for (uint32_t i = 1; i < got.items[q].n; i++)
            assert_true(got.items[q].items[i - 1].score >= got.items[q].items[i].score);
    run_release(&got);
    run_release(&expected);
}

static void json_run_has_the_same_scores(void **unused)
{
    (void)unused;
    struct run expected, got;
    char line[512];
    snprintf(line, sizeof line, "--mode bm25 --queries %s --output %s", at("q.jsonl"), at("out.json"));
    assert_int_equal(run(line), 0);
    assert_err_has("1 queries empty");
    assert_int_equal(run_read(&got, at("out.json")), TRAWL_OK);
    expected_run(&expected, "q.jsonl", NULL, SEARCH_BM25);
    assert_same_run(&got, &expected);
    run_release(&got);
    run_release(&expected);
}

static void vectors_alone_are_searched_and_numbered_from_0(void **unused)
{
    (void)unused;
    char line[512];
    snprintf(line, sizeof line, "--query-vectors %s --k 2", at("q.npy"));
    assert_int_equal(run(line), 0);
    assert_string_equal(program_out.data, "0 Q0 iron-1 1 1 trawl\n0 Q0 cold-1 2 0.625 trawl\n"
                                          "1 Q0 quote-1 1 1 trawl\n1 Q0 gold-1 2 1 trawl\n"
                                          "2 Q0 zinc-1 1 0.699999988 trawl\n2 Q0 cold-1 2 0.5 trawl\n");
}

static void json_lines_have_one_object_per_query(void **unused)
{
    (void)unused;
    char line[512];
    size_t lines = 0;
    snprintf(line, sizeof line, "--mode bm25 --format jsonl --queries %s", at("q.jsonl"));
    assert_int_equal(run(line), 0);
    for (size_t i = 0; i < program_out.n; i++)
        lines += program_out.data[i] == '\n';
    assert_int_equal(lines, 3);
    assert_out_has("{\"id\": \"q3\", \"query\": \"\", \"hits\": []}");
}

static void empty_query_has_no_hits_and_says_so(void **unused)
{
    (void)unused;
    assert_int_equal(run("--mode bm25 ''"), 0);
    assert_string_equal(program_out.data, "no hits\n");
    assert_err_has("the query is empty");
}

static void mistakes_are_refused(void **unused)
{
    (void)unused;
    char line[512];
    assert_int_equal(run(""), 2);
    assert_err_has("--queries");
    assert_int_equal(run("--field nothing iron"), 2);
    assert_err_has("'bm25', 'dots'");
    assert_int_equal(run("--mode bm25 --k 0 iron"), 2);
    assert_int_equal(run("--mode fuzzy iron"), 2);
    snprintf(line, sizeof line, "iron --queries %s", at("q.jsonl"));
    assert_int_equal(run(line), 2);
    snprintf(line, sizeof line, "--queries %s --query-vectors %s", at("two.tsv"), at("q.npy"));
    assert_int_equal(run(line), 1);
    assert_err_has("2 queries and 3 query vectors");
    assert_int_equal(run("--mode dense iron"), 2);
    assert_err_has("--model");
    snprintf(line, sizeof line, "search --index %s iron", at("none"));
    assert_int_equal(program(line), 1);
    assert_err_has("none");
}

static void failed_search_leaves_the_old_run(void **unused)
{
    (void)unused;
    char line[512];
    write_text(at("old.run"), "keep\n");
    snprintf(line, sizeof line, "--queries %s --query-vectors %s --output %s", at("two.tsv"), at("q.npy"),
             at("old.run"));
    assert_int_equal(run(line), 1);
    snprintf(line, sizeof line, "%s", at("old.run"));
    assert_int_equal(file_read(&program_out, line, 100), TRAWL_OK);
    assert_true(strstr(program_out.data, "keep") != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_query_prints_readable_hits),
        cmocka_unit_test(k_limits_hits),
        cmocka_unit_test(json_of_one_query_holds_documents),
        cmocka_unit_test(run_reads_back_exactly_and_in_order),
        cmocka_unit_test(json_run_has_the_same_scores),
        cmocka_unit_test(vectors_alone_are_searched_and_numbered_from_0),
        cmocka_unit_test(json_lines_have_one_object_per_query),
        cmocka_unit_test(empty_query_has_no_hits_and_says_so),
        cmocka_unit_test(mistakes_are_refused),
        cmocka_unit_test(failed_search_leaves_the_old_run),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
