/* BM25 against test/golden/bm25 (made with numpy and bm25s), and pruned search against the exhaustive one. */
#include "index_help.h"
#include "base/json.h"
#include "data/vectors.h"
#include "math/isa.h"
#include <math.h>

enum { K = 1000 };

static void join_tokens(struct buf *out, const json_t *tokens)
{
    buf_reset(out);
    ok(buf_text(out, ""));
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        if (i)
            ok(buf_text(out, " "));
        ok(buf_text(out, json_string_value(json_array_get(tokens, i))));
    }
}

static bool next_json(struct line_reader *lines, json_t **out)
{
    const char *line;
    size_t n;
    ok(line_next(lines, &line, &n));
    if (line)
        ok(json_parse(out, line, n, "golden"));
    return line != NULL;
}

static size_t index_golden(const char *folder)
{
    char path[4096], id[32];
    struct line_reader *lines;
    struct buf text = {0};
    json_t *json;
    size_t n = 0;
    struct index_writer *w = open_writer(folder, false, "ascii", 0);
    ok(line_reader_open(&lines, golden_path(path, "bm25/corpus.jsonl")));
    for (; next_json(lines, &json); n++) {
        join_tokens(&text, json_object_get(json, "tokens"));
        snprintf(id, sizeof id, "%lld", (long long)json_integer_value(json_object_get(json, "doc")));
        add_text(w, id, text.data);
        json_decref(json);
    }
    line_reader_close(lines);
    buf_release(&text);
    ok(index_commit(&w));
    return n;
}

static void scores_equal_the_references(void **state)
{
    (void)state;
    char folder[4096], path[4096];
    struct npy wanted;
    struct line_reader *lines;
    struct buf text = {0};
    struct index *ix;
    struct lexical_searcher *s;
    struct index_hit *hits = calloc(K, sizeof *hits);
    json_t *json;
    fresh_folder(folder, "golden");
    size_t n_docs = index_golden(folder), query = 0;
    ok(npy_open(&wanted, golden_path(path, "bm25/scores.npy")));
    assert_int_equal(wanted.shape[1], n_docs);
    ok(index_open(&ix, folder));
    ok(lexical_searcher_new(&s, ix, 0, K));
    ok(line_reader_open(&lines, golden_path(path, "bm25/queries.jsonl")));
    for (; next_json(lines, &json); query++) {
        join_tokens(&text, json_object_get(json, "tokens"));
        size_t n, n_wanted = 0;
        ok(lexical_search(s, hits, &n, text.data, text.n, K, 0.9, 0.4, false));
        for (size_t d = 0; d < n_docs; d++)
            n_wanted += npy_get(&wanted, query * n_docs + d) > 0.0;
        assert_int_equal(n, n_wanted);
        for (size_t i = 0; i < n; i++) {
            double score = npy_get(&wanted, query * n_docs + hits[i].row);
            if (fabs((double)hits[i].score - score) > 1e-5)
                fail_msg("query %zu document %u: %.9g, not %.9g", query, hits[i].row, (double)hits[i].score, score);
            if (i) /* in order of the reference wherever its gap is larger than the tolerance */
                assert_true(npy_get(&wanted, query * n_docs + hits[i - 1].row) > score - 2e-5);
        }
        json_decref(json);
    }
    assert_int_equal(query, wanted.shape[0]);
    line_reader_close(lines);
    npy_close(&wanted);
    lexical_searcher_free(s);
    index_close(ix);
    buf_release(&text);
    free(hits);
    ok(file_remove_tree(folder));
}

static void ranks_equal_the_references(void **state)
{
    (void)state;
    char folder[4096], path[4096];
    struct line_reader *lines, *queries;
    struct index *ix;
    struct lexical_searcher *s;
    struct index_hit hits[10];
    struct buf text = {0};
    json_t *json = NULL;
    const char *line;
    size_t n = 0, bytes;
    long present = -1;
    fresh_folder(folder, "ranks");
    index_golden(folder);
    ok(index_open(&ix, folder));
    ok(lexical_searcher_new(&s, ix, 0, 10));
    ok(line_reader_open(&lines, golden_path(path, "bm25/top10.tsv")));
    ok(line_reader_open(&queries, golden_path(path, "bm25/queries.jsonl")));
    ok(line_next(lines, &line, &bytes)); /* header */
    for (ok(line_next(lines, &line, &bytes)); line; ok(line_next(lines, &line, &bytes))) {
        long query, rank, doc;
        double score;
        assert_int_equal(sscanf(line, "%ld %ld %ld %lf", &query, &rank, &doc, &score), 4);
        for (; present < query; present++) {
            json_decref(json);
            assert_true(next_json(queries, &json));
        }
        if (rank == 1) {
            join_tokens(&text, json_object_get(json, "tokens"));
            ok(lexical_search(s, hits, &n, text.data, text.n, 10, 0.9, 0.4, false));
        }
        assert_true(rank <= (long)n);
        assert_int_equal(hits[rank - 1].row, doc);
        assert_true(fabs((double)hits[rank - 1].score - score) <= 1e-5);
    }
    json_decref(json);
    line_reader_close(lines);
    line_reader_close(queries);
    lexical_searcher_free(s);
    index_close(ix);
    buf_release(&text);
    ok(file_remove_tree(folder));
}

static void idf_counts_equal_the_references(void **state)
{
    (void)state;
    char folder[4096], path[4096];
    struct line_reader *lines;
    struct index *ix;
    const char *line;
    size_t bytes;
    fresh_folder(folder, "idf");
    uint64_t n_docs = index_golden(folder), n_rows, length;
    ok(index_open(&ix, folder));
    index_lexical_statistics(ix, 0, &n_rows, &length);
    assert_int_equal(n_rows, n_docs);
    ok(line_reader_open(&lines, golden_path(path, "bm25/idf.tsv")));
    ok(line_next(lines, &line, &bytes)); /* header */
    for (ok(line_next(lines, &line, &bytes)); line; ok(line_next(lines, &line, &bytes))) {
        char term[256];
        unsigned long long wanted;
        double idf;
        uint64_t df;
        assert_int_equal(sscanf(line, "%255s %llu %lf", term, &wanted, &idf), 3);
        ok(index_document_frequency(ix, &df, 0, term, strlen(term)));
        assert_int_equal(df, wanted);
        assert_true(fabs(log(1.0 + ((double)n_rows - (double)df + 0.5) / ((double)df + 0.5)) - idf) < 1e-12);
    }
    line_reader_close(lines);
    index_close(ix);
    ok(file_remove_tree(folder));
}

/* ---- pruned against exhaustive ---- */

static void compare_searches(const char *folder, struct rng *rng, size_t n_queries)
{
    static const size_t ks[] = {1, 3, 10, 100, 1000};
    struct index *ix;
    struct lexical_searcher *s;
    struct index_hit *fast = calloc(K, sizeof *fast), *full = calloc(K, sizeof *full);
    ok(index_open(&ix, folder));
    ok(lexical_searcher_new(&s, ix, 0, K));
    for (size_t q = 0; q < n_queries; q++) {
        char query[1024];
        size_t n_fast, n_full, k = ks[q % 5];
        random_text(query, 1 + rng_below(rng, 60), rng);
        double k1 = q % 7 == 0 ? 0.0 : 2.0 * rng_uniform(rng), b = q % 11 == 0 ? 1.0 : rng_uniform(rng);
        ok(lexical_search(s, fast, &n_fast, query, strlen(query), k, k1, b, false));
        ok(lexical_search(s, full, &n_full, query, strlen(query), k, k1, b, true));
        assert_int_equal(n_fast, n_full);
        for (size_t i = 0; i < n_fast; i++) {
            assert_memory_equal(&fast[i].score, &full[i].score, sizeof(float));
            assert_int_equal(fast[i].ordinal, full[i].ordinal);
            assert_false(index_segment(ix, fast[i].segment)->deleted &&
                         (index_segment(ix, fast[i].segment)->deleted[fast[i].row / 64] >> (fast[i].row % 64) & 1));
        }
    }
    lexical_searcher_free(s);
    index_close(ix);
    free(fast);
    free(full);
}

static void on_every_isa(const char *folder, struct rng *rng, size_t n_queries)
{
    static const char *const names[] = {"ref", "avx2", "avx512"};
    for (size_t i = 0; i < 3; i++)
        if (isa_select(names[i]) == TRAWL_OK)
            compare_searches(folder, rng, n_queries);
    ok(isa_select(NULL));
}

static void pruned_equals_exhaustive(void **state)
{
    (void)state;
    char folder[4096];
    struct rng rng = rng_stream(11, 0, 0);
    fresh_folder(folder, "pruned");
    struct index_writer *w = open_writer(folder, false, "ascii", 0);
    add_random(w, 0, 30000, &rng);
    ok(index_commit(&w));
    on_every_isa(folder, &rng, 300);
    for (int round = 0; round < 5; round++) { /* more segments, replaced and removed documents */
        w = open_writer(folder, true, "ascii", 0);
        add_random(w, (size_t)round * 700, 300, &rng);
        add_random(w, 100000 + (size_t)round * 1000, 900, &rng);
        for (size_t i = 0; i < 2000; i++) {
            char id[32];
            bool found;
            snprintf(id, sizeof id, "d%zu", 5000 + (size_t)rng_below(&rng, 25000));
            ok(index_remove(w, id, strlen(id), &found));
        }
        ok(index_commit(&w));
        compare_searches(folder, &rng, 150);
    }
    ok(index_merge(folder));
    on_every_isa(folder, &rng, 200);
    ok(file_remove_tree(folder));
}

/* Statistics are those of the live rows: an index after deletes and merges scores like one of the same documents. */
static void deletes_leave_no_trace_in_scores(void **state)
{
    (void)state;
    char changed[4096], plain[4096], text[1024];
    struct rng rng = rng_stream(12, 0, 0);
    fresh_folder(changed, "changed");
    fresh_folder(plain, "plain");
    struct index_writer *w = open_writer(changed, false, "ascii", 0), *p = open_writer(plain, false, "ascii", 0);
    for (int i = 0; i < 3000; i++) {
        char id[32];
        snprintf(id, sizeof id, "d%d", i);
        random_text(text, sizeof text, &rng);
        add_text(w, id, text);
        if (i % 3)
            add_text(p, id, text);
    }
    ok(index_commit(&w));
    ok(index_commit(&p));
    w = open_writer(changed, true, NULL, 0);
    for (int i = 0; i < 3000; i += 3) {
        char id[32];
        bool found;
        snprintf(id, sizeof id, "d%d", i);
        ok(index_remove(w, id, strlen(id), &found));
        assert_true(found);
    }
    ok(index_commit(&w));
    for (int merged = 0; merged < 2; merged++) {
        struct index *a, *b;
        struct lexical_searcher *sa, *sb;
        struct index_hit ha[50], hb[50];
        ok(index_open(&a, changed));
        ok(index_open(&b, plain));
        ok(lexical_searcher_new(&sa, a, 0, 50));
        ok(lexical_searcher_new(&sb, b, 0, 50));
        assert_int_equal(index_n_documents(a), index_n_documents(b));
        for (int q = 0; q < 200; q++) {
            size_t na, nb;
            random_text(text, 40, &rng);
            ok(lexical_search(sa, ha, &na, text, strlen(text), 50, 0.9, 0.4, false));
            ok(lexical_search(sb, hb, &nb, text, strlen(text), 50, 0.9, 0.4, false));
            assert_int_equal(na, nb);
            for (size_t i = 0; i < na; i++) {
                const char *ia, *ib;
                size_t n;
                assert_memory_equal(&ha[i].score, &hb[i].score, sizeof(float));
                ok(index_document_id(a, &ia, &n, ha[i].segment, ha[i].row));
                ok(index_document_id(b, &ib, &n, hb[i].segment, hb[i].row));
                assert_string_equal(ia, ib);
            }
        }
        lexical_searcher_free(sa);
        lexical_searcher_free(sb);
        index_close(a);
        index_close(b);
        ok(index_merge(changed));
    }
    ok(file_remove_tree(changed));
    ok(file_remove_tree(plain));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_equal_the_references),      cmocka_unit_test(ranks_equal_the_references),
        cmocka_unit_test(idf_counts_equal_the_references),  cmocka_unit_test(pruned_equals_exhaustive),
        cmocka_unit_test(deletes_leave_no_trace_in_scores),
    };
    return cmocka_run_group_tests_name("bm25", tests, NULL, NULL);
}
