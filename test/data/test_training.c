/* Training examples: every format gives the same example, what is wrong is said with file and line. */
#include "base/buf.h"
#include "data/training.h"
#include "scratch.h"
#include <stdlib.h>
#include <sys/stat.h>

static struct training *open_text(const char *text, const struct training_options *options)
{
    struct training *t;
    if (training_open(&t, scratch_text("train.jsonl", text), options) != TRAWL_OK)
        fail_msg("%s", trawl_message());
    return t;
}

static const struct training_example *take(struct training *t)
{
    const struct training_example *e;
    if (training_next(t, &e) != TRAWL_OK)
        fail_msg("%s", trawl_message());
    return e;
}

static void refused(const char *text, const char *words)
{
    struct training *t;
    enum trawl_status status = training_open(&t, scratch_text("bad.jsonl", text), NULL);
    if (status == TRAWL_OK) {
        status = training_check(t);
        training_close(t);
    }
    assert_int_equal(status, TRAWL_FORMAT);
    assert_message(words);
}

/* query "q", positive "p", negatives "n" and "m". */
static void every_format_gives_the_same(void **state)
{
    static const char *const lines[] = {
        "{\"query_id\": \"1\", \"query\": \"q\", \"positive_passages\": [{\"docid\": \"a\", \"title\": \"\", "
        "\"text\": \"p\"}], \"negative_passages\": [{\"docid\": 7, \"text\": \"n\"}, {\"docid\": \"c\", \"title\": "
        "null, \"text\": \"m\", \"score\": 0.5}]}\n",
        "{\"query\": \"q\", \"pos\": [\"p\"], \"neg\": [\"n\", \"m\"], \"pos_scores\": [1], \"prompt\": \"find\"}\n",
        "{\"anchor\": \"q\", \"positive\": \"p\", \"negative\": [\"n\", \"m\"]}\n",
        "{\"anchor\": \"q\", \"positive\": \"p\", \"negative_1\": \"n\", \"negative_2\": \"m\"}\n",
        "[\"q\", \"p\", \"n\", \"m\"]\n",
        "q\tp\tn\tm\n",
        "\xEF\xBB\xBF\n\n  {\"query\": \"q\", \"pos\": \"p\", \"neg\": [\"n\", \"m\"]}\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct training *t = open_text(lines[i], NULL);
        assert_int_equal(training_n(t), 1);
        const struct training_example *e = take(t);
        assert_string_equal(e->query, "q");
        assert_int_equal(e->positives.n, 1);
        assert_string_equal(e->positives.items[0].text, "p");
        assert_int_equal(e->negatives.n, 2);
        assert_string_equal(e->negatives.items[0].text, "n");
        assert_string_equal(e->negatives.items[1].text, "m");
        if (i == 0) {
            assert_string_equal(e->negatives.items[0].docid, "7");
            assert_true(e->negatives.items[1].has_score && e->negatives.items[1].score == 0.5);
        }
        if (i == 1) {
            assert_string_equal(e->instruction, "find");
            assert_true(e->positives.items[0].has_score && e->positives.items[0].score == 1.0);
        }
        assert_null(take(t));
        training_close(t);
    }
}

static void candidates_and_target(void **state)
{
    struct training *t = open_text("{\"query\": \"q\", \"candidates\": [\"a\", \"b\"], \"target\": 1}", NULL);
    const struct training_example *e = take(t);
    (void)state;
    assert_int_equal(e->candidates.n, 2);
    assert_int_equal(e->target, 1);
    training_close(t);
    refused("{\"query\": \"q\", \"candidates\": [\"a\", \"b\"], \"target\": 2}", "'target'");
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    refused("", "no training examples");
    refused("[\"q\", \"p\"]\n\n[\"q\"]\n", "line 3: a row needs");
    refused("{\"query\": \"q\", \"positive_passages\": []}", "line 1: there are no positives");
    refused("{\"query\": \"q\", \"positive_passages\": [{\"docid\": \"1\", \"text\": \"\"}]}", "positive 1 is empty");
    refused("{\"query\": \"\", \"pos\": [\"p\"]}", "the query is empty");
    refused("{\"pos\": [\"p\"]}", "no query");
    refused("{\"_id\": \"1\", \"query\": \"x\"}", "the line has '_id', 'query'");
    refused("{\"query\": \"q\", \"pos\": [1]}", "neither a text nor an object");
    refused("{\"query\": \"q\", \"pos\": [\"p\"], \"pos_scores\": [1, 2]}", "2 numbers for 1 passages");
    refused("{\"query\": \"q\", \"pos\": [\"p\"", "line 1: malformed JSON");
    refused("q\tp\nq\n", "line 2: one column");
    refused("{\"query\": \"q\", \"positive_passages\": [{\"docid\": \"d9\"}]}", "passage 'd9' of 'positive_passages'");
}

static void ids_are_found_in_the_corpus(void **state)
{
    char corpus[4096], queries[4096];
    (void)state;
    strcpy(corpus, scratch_text("docs.jsonl", "{\"_id\": \"d1\", \"title\": \"T\", \"text\": \"one\"}\n"
                                              "{\"_id\": \"d2\", \"text\": \"two\"}\n"));
    strcpy(queries, scratch_text("queries.tsv", "5\twhich\n"));
    const struct training_options options = {.corpus = corpus, .queries = queries};
    struct training *t = open_text("5\td2\td1\n5\td2\td3\n6\td1\td2\n", &options);
    const struct training_example *e = take(t);
    assert_string_equal(e->query, "which");
    assert_string_equal(e->query_id, "5");
    assert_string_equal(e->positives.items[0].text, "two");
    assert_string_equal(e->negatives.items[0].title, "T");
    assert_int_equal(training_next(t, &e), TRAWL_FORMAT);
    assert_message("line 2: 'negative' names document 'd3', which is not in the corpus");
    assert_int_equal(training_next(t, &e), TRAWL_FORMAT);
    assert_message("line 3: query '6' is not among the queries");
    training_close(t);
    unlink(corpus);
    unlink(queries);
}

/* Every example once; the same for the same seed and epoch, another for another. */
static void shuffled_by_seed(void **state)
{
    struct buf text = {0}, orders[4] = {{0}};
    const struct training_example *e;
    char name[16];
    (void)state;
    for (int i = 0; i < 500; i++)
        assert_int_equal(buf_printf(&text, "[\"q%d\", \"p\"]\n", i), TRAWL_OK);
    struct training *t = open_text(text.data, NULL);
    for (int round = 0; round < 4; round++) {
        bool seen[500] = {false};
        assert_int_equal(training_shuffle(t, round == 2 ? 8 : 7, round == 3), TRAWL_OK);
        for (int i = 0; i < 500; i++) {
            e = take(t);
            seen[atoi(e->query + 1)] = true;
            assert_int_equal(buf_text(&orders[round], e->query), TRAWL_OK);
        }
        assert_null(take(t));
        for (int i = 0; i < 500; i++)
            assert_true(seen[i]);
    }
    assert_string_equal(orders[0].data, orders[1].data);
    assert_string_not_equal(orders[0].data, orders[2].data);
    assert_string_not_equal(orders[0].data, orders[3].data);
    assert_int_equal(training_shuffle(t, 7, 0), TRAWL_OK);
    take(t);
    take(t);
    strcpy(name, take(t)->query);
    training_seek(t, 2);
    assert_string_equal(take(t)->query, name);
    training_close(t);
    buf_release(&text);
    for (int round = 0; round < 4; round++)
        buf_release(&orders[round]);
}

static void write_at(const char *folder, const char *name, const char *text)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void beir_folders(void **state)
{
    char folder[4096], qrels[4200];
    struct training *t;
    (void)state;
    scratch_path(folder, (long)getpid(), "beir");
    snprintf(qrels, sizeof qrels, "%s/qrels", folder);
    assert_int_equal(file_make_folder(qrels), TRAWL_OK);
    write_at(folder, "corpus.jsonl", "{\"_id\": \"d1\", \"text\": \"one\"}\n{\"_id\": \"d2\", \"text\": \"two\"}\n");
    write_at(folder, "queries.jsonl", "{\"_id\": \"a\", \"text\": \"qa\"}\n{\"_id\": \"b\", \"text\": \"qb\"}\n");
    write_at(folder, "qrels/train.tsv", "query-id\tcorpus-id\tscore\na\td2\t1\na\td1\t0\nb\td1\t0\n");
    assert_int_equal(training_open(&t, folder, NULL), TRAWL_OK);
    assert_int_equal(training_n(t), 1);
    assert_int_equal(training_without_positives(t), 1);
    const struct training_example *e = take(t);
    assert_string_equal(e->query, "qa");
    assert_string_equal(e->positives.items[0].docid, "d2");
    assert_string_equal(e->negatives.items[0].text, "one");
    training_close(t);
    write_at(folder, "qrels/train.tsv", "query-id\tcorpus-id\tscore\na\td2\t1\na\td7\t1\n");
    assert_int_equal(training_open(&t, folder, NULL), TRAWL_FORMAT);
    assert_message("train.tsv' line 3: query 'a' has document 'd7', which is not in the corpus");
    write_at(folder, "qrels/train.tsv", "query-id\tcorpus-id\tscore\nz\td2\t1\n");
    assert_int_equal(training_open(&t, folder, NULL), TRAWL_FORMAT);
    assert_message("line 2: query 'z' is not among the queries");
    write_at(folder, "qrels/train.tsv", "query-id\tcorpus-id\tscore\na\td2\t0\n");
    assert_int_equal(training_open(&t, folder, NULL), TRAWL_FORMAT);
    assert_message("no query has a positive");
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* Written, read, written again: the same bytes; a part left behind is continued after its last whole line. */
static void written_and_continued(void **state)
{
    char path[4096], part[4200];
    struct training_writer *w;
    struct buf out = {0}, line = {0};
    uint64_t n_done;
    (void)state;
    struct training *t = open_text("{\"query_id\": \"1\", \"instruction\": \"i\", \"source\": \"s\", \"query\": "
                                   "\"q\\n\\\"\", \"positive_passages\": [{\"docid\": \"a\", \"title\": \"t\", "
                                   "\"text\": \"p\", \"score\": 0.100000001}], \"negative_passages\": [], "
                                   "\"candidates\": [{\"docid\": \"\", \"title\": \"\", \"text\": \"c\"}], \"target\": "
                                   "0}\n",
                                   NULL);
    const struct training_example *e = take(t);
    assert_int_equal(training_append(&line, e), TRAWL_OK);
    assert_string_equal(line.data,
                        "{\"query_id\": \"1\", \"instruction\": \"i\", \"source\": \"s\", \"query\": \"q\\n\\\"\", "
                        "\"positive_passages\": [{\"docid\": \"a\", \"title\": \"t\", \"text\": \"p\", \"score\": "
                        "0.100000001}], \"negative_passages\": [], \"candidates\": [{\"docid\": \"\", \"title\": "
                        "\"\", \"text\": \"c\"}], \"target\": 0}\n");
    scratch_path(path, (long)getpid(), "out.jsonl");
    snprintf(part, sizeof part, "%s.part", path);
    assert_int_equal(training_writer_open(&w, path, "key", &n_done), TRAWL_OK);
    assert_int_equal(training_write(w, e), TRAWL_OK);
    training_abort(&w);
    FILE *f = fopen(part, "a");
    fputs("{\"query_id\"", f);
    fclose(f);
    assert_int_equal(training_writer_open(&w, path, "key", &n_done), TRAWL_OK);
    assert_int_equal(n_done, 1);
    assert_int_equal(training_write(w, e), TRAWL_OK);
    assert_int_equal(training_commit(&w), TRAWL_OK);
    assert_int_equal(file_read(&out, path, 1 << 20), TRAWL_OK);
    assert_int_equal(out.n, 2 * line.n);
    assert_false(file_exists(part));
    assert_int_equal(training_writer_open(&w, path, "key", &n_done), TRAWL_OK);
    assert_int_equal(training_write(w, e), TRAWL_OK);
    training_abort(&w);
    assert_int_equal(training_writer_open(&w, path, "other", &n_done), TRAWL_OK);
    assert_int_equal(n_done, 0);
    assert_int_equal(training_commit(&w), TRAWL_OK);
    training_close(t);
    unlink(path);
    buf_release(&out);
    buf_release(&line);
}

/* A good file cut anywhere, and with any byte flipped, is read or refused. */
static void damaged_files(void **state)
{
    static const char good[] =
        "{\"query\": \"q\", \"pos\": [\"p\"], \"neg\": [\"n\"]}\n"
        "{\"query_id\": 1, \"query\": \"q\", \"candidates\": [{\"text\": \"c\"}], \"target\": 0}\n";
    char bad[sizeof good];
    struct training *t;
    (void)state;
    for (size_t i = 0; i < 2 * (sizeof good - 1); i++) {
        size_t at = i / 2;
        memcpy(bad, good, sizeof good);
        bad[at] ^= i % 2 ? 0x55 : 0;
        if (training_open(&t, scratch_write("train.jsonl", bad, i % 2 ? sizeof good - 1 : at), NULL) != TRAWL_OK)
            continue;
        if (training_check(t) != TRAWL_OK)
            assert_true(*trawl_message());
        training_close(t);
    }
    unlink(scratch_name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_gives_the_same),
        cmocka_unit_test(candidates_and_target),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(ids_are_found_in_the_corpus),
        cmocka_unit_test(shuffled_by_seed),
        cmocka_unit_test(beir_folders),
        cmocka_unit_test(written_and_continued),
        cmocka_unit_test(damaged_files),
    };
    return cmocka_run_group_tests_name("training data", tests, NULL, NULL);
}
