/* The stage as a whole: files in, a file out, against what trec_eval printed. */
#include "../data/scratch.h"
#include "base/file.h"
#include "base/json.h"
#include "base/map.h"

static struct trawl_eval_options options;

static void begin(void)
{
    trawl_options_init(&options, trawl_stage_find("eval"));
}

static void set(const char *name, const char *value)
{
    if (trawl_options_set(&options, trawl_stage_find("eval"), name, value) != TRAWL_OK)
        fail_msg("%s", trawl_message());
}

/* Runs the stage; its output as a text. */
static enum trawl_status run_stage(struct buf *out)
{
    char path[4096];
    struct trawl_eval_report report;
    set("output", scratch_path(path, (long)getpid(), "out"));
    enum trawl_status status = trawl_eval(&options, &report);
    if (status == TRAWL_OK)
        assert_int_equal(file_read(out, path, 1 << 26), TRAWL_OK);
    trawl_options_release(&options, trawl_stage_find("eval"));
    unlink(path);
    return status;
}

static void silent(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

/* Every line of the reference is printed so by --format trec. */
static void trec_lines_are_trec_evals(void **state)
{
    static const char *const pairs[] = {"graded", "ties", "odd", "deep"};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char name[128], qrels[4096], run[4096], expected[4096];
        struct buf out = {0}, wanted = {0};
        struct map lines = {0};
        size_t n_checked = 0;
        uint32_t id;
        begin();
        snprintf(name, sizeof name, "eval/%s.qrels", pairs[i]);
        set("qrels", golden_path(qrels, name));
        snprintf(name, sizeof name, "eval/%s.run", pairs[i]);
        set("run", golden_path(run, name));
        set("measures", "all");
        set("per-query", "true");
        set("format", "trec");
        if (run_stage(&out) != TRAWL_OK)
            fail_msg("%s", trawl_message());
        for (char *line = strtok(out.data, "\n"); line; line = strtok(NULL, "\n"))
            assert_int_equal(map_put(&lines, line, strlen(line), 0, &id, NULL), TRAWL_OK);
        snprintf(name, sizeof name, "eval/%s.expected.tsv", pairs[i]);
        assert_int_equal(file_read(&wanted, golden_path(expected, name), 1 << 26), TRAWL_OK);
        strtok(wanted.data, "\n");
        for (char *line = strtok(NULL, "\n"); line; line = strtok(NULL, "\n")) {
            char *last = strrchr(line, '\t');
            *last = '\0'; /* without the full value */
            if (strstr(line, "\tall_complete\t"))
                continue;
            if (map_find(&lines, line, strlen(line)) == MAP_NONE)
                fail_msg("%s: not printed: %s", pairs[i], line);
            n_checked++;
        }
        assert_true(n_checked > 100);
        map_release(&lines);
        buf_release(&out);
        buf_release(&wanted);
    }
}

static void begin_pair(const char *qrels_text, const char *run_text)
{
    static char qrels[4096], run[4096];
    begin();
    snprintf(qrels, sizeof qrels, "%s", scratch_text("qrels", qrels_text));
    snprintf(run, sizeof run, "%s", scratch_text("run", run_text));
    set("qrels", qrels);
    set("run", run);
}

static const char some_qrels[] = "q1 0 a 1\nq1 0 b 0\nq2 0 c 2\n";
static const char some_run[] = "q1 Q0 a 1 2.0 t\nq1 Q0 b 2 1.0 t\nq3 Q0 x 1 1 t\n";

static void one_run_is_a_table_of_three_columns(void **state)
{
    struct buf out = {0};
    (void)state;
    begin_pair(some_qrels, some_run);
    set("measures", "nDCG@10");
    set("measures", "num_ret");
    set("per-query", "true");
    assert_int_equal(run_stage(&out), TRAWL_OK);
    assert_string_equal(out.data,
                        "nDCG@10  q1   1.0000\nnum_ret  q1        2\nnDCG@10  all  1.0000\nnum_ret  all       2\n");
    buf_release(&out);
}

static void complete_averages_over_judged_queries(void **state)
{
    struct buf out = {0};
    (void)state;
    begin_pair(some_qrels, some_run);
    set("measures", "nDCG@10,num_q");
    set("complete", "true");
    set("format", "trec");
    assert_int_equal(run_stage(&out), TRAWL_OK);
    assert_string_equal(out.data, "nDCG@10\tall\t0.5000\nnum_q\tall\t2\n");
    buf_release(&out);
}

static void json_holds_values_and_tests(void **state)
{
    struct buf out = {0};
    json_t *root;
    char other[4096];
    (void)state;
    begin_pair(some_qrels, some_run);
    scratch_path(other, (long)getpid(), "other");
    scratch_text("other", "{\"q1\": {\"b\": 2, \"a\": 1}, \"q2\": {\"c\": 1}}");
    set("run", other);
    set("significance", "both");
    set("per-query", "true");
    set("format", "json");
    assert_int_equal(run_stage(&out), TRAWL_OK);
    assert_int_equal(json_parse(&root, out.data, out.n, "output"), TRAWL_OK);
    json_t *runs = json_object_get(root, "runs"), *second = json_array_get(runs, 1);
    assert_int_equal(json_array_size(runs), 2);
    assert_non_null(json_object_get(json_object_get(second, "t_test"), "nDCG@10"));
    assert_non_null(json_object_get(json_object_get(second, "randomization"), "MAP"));
    json_t *q1 = json_object_get(json_object_get(second, "per_query"), "q1");
    assert_true(json_real_value(json_object_get(q1, "MRR@10")) == 0.5 ||
                json_number_value(json_object_get(q1, "MRR@10")) == 0.5);
    json_decref(root);
    buf_release(&out);
    unlink(other);
}

static void refuse(const char *qrels, const char *run, const char *words)
{
    struct buf out = {0};
    begin_pair(qrels, run);
    assert_int_not_equal(run_stage(&out), TRAWL_OK);
    assert_message(words);
    buf_release(&out);
}

static void bad_files_are_refused_with_their_line(void **state)
{
    (void)state;
    refuse(some_qrels, "q1 Q0 a 1 nan t\n", "run' line 1: score 'nan' is not a number");
    refuse(some_qrels, "q1 Q0 a 1 1.0 t\nq1 Q0 b 1 x t\n", "run' line 2: score 'x' is not a number");
    refuse(some_qrels, "q1 Q0 a 1 1.0 t\nq1 Q0 a 2 0.5 t\n", "run' line 2: query 'q1' has document 'a' twice");
    refuse(some_qrels, "q1 Q0 a 1 1.0 t\nq1 Q0 b 2 0.5\n", "run' line 2: 5 columns");
    refuse(some_qrels, "", "run': the run is empty");
    refuse(some_qrels, "{\"q1\": {\"a\": \"x\"}}", "query 'q1', document 'a': the score is not a number");
    refuse(some_qrels, "{\"q1\": {\"a\": 1}", "run'");
    refuse(some_qrels, "zz Q0 a 1 1.0 t\n", "no query of 'trawl-test");
    refuse("q1 0 a 1\nq1 0 a 2\n", some_run, "qrels' line 2: query 'q1' has document 'a' judged twice");
    refuse("q1 0 a one\n", some_run, "qrels' line 1: grade 'one' is not a whole number");
    refuse("q1 0 a\n", some_run, "qrels' line 1: 3 columns");
    refuse("q1 0 a 99999999999\n", some_run, "line 1: grade");
    refuse("query-id\tcorpus-id\tscore\n", some_run, "no judgements");
    refuse("query-id\tcorpus-id\tscore\nq1\ta\n", some_run, "qrels' line 2: 'query TAB document TAB grade' is needed");
}

static void beir_judgements_and_json_runs_are_read(void **state)
{
    struct buf out = {0};
    (void)state;
    begin_pair("query-id\tcorpus-id\tscore\nq 1\td 1\t1\n", "{\"q 1\": {\"d 1\": 0.5, \"d 2\": 1}}");
    set("measures", "RR");
    set("format", "trec");
    assert_int_equal(run_stage(&out), TRAWL_OK);
    assert_string_equal(out.data, "RR\tall\t0.5000\n");
    buf_release(&out);
}

static void wrong_use_is_told(void **state)
{
    struct buf out = {0};
    (void)state;
    begin_pair(some_qrels, some_run);
    set("measures", "nDCG@ten");
    assert_int_equal(run_stage(&out), TRAWL_USAGE);
    assert_message("unknown measure 'nDCG@ten'");
    begin();
    assert_int_equal(run_stage(&out), TRAWL_USAGE);
    assert_message("--run FILE");
    buf_release(&out);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[16384];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void build_index(const char *corpus, const char *output)
{
    const struct trawl_stage *stage = trawl_stage_find("index");
    struct trawl_index_options o;
    struct trawl_index_report report;
    trawl_options_init(&o, stage);
    assert_int_equal(trawl_options_set(&o, stage, "corpus", corpus), TRAWL_OK);
    assert_int_equal(trawl_options_set(&o, stage, "output", output), TRAWL_OK);
    assert_int_equal(trawl_options_set(&o, stage, "bm25", "true"), TRAWL_OK);
    if (trawl_index(&o, &report) != TRAWL_OK)
        fail_msg("%s", trawl_message());
    trawl_options_release(&o, stage);
}

/* The judged queries alone are searched; one that finds nothing counts 0. */
static void a_dataset_is_searched_and_scored_in_one_go(void **state)
{
    char root[4096], sub[8192], index[8192], saved[8192];
    struct buf out = {0};
    (void)state;
    scratch_path(root, (long)getpid(), "dataset");
    snprintf(sub, sizeof sub, "%s/qrels", root);
    snprintf(index, sizeof index, "%s/idx", root);
    snprintf(saved, sizeof saved, "%s/saved.run", root);
    assert_int_equal(file_make_folder(sub), TRAWL_OK);
    write_file(root, "corpus.jsonl",
               "{\"_id\": \"a\", \"text\": \"red apples\"}\n{\"_id\": \"b\", \"text\": "
               "\"green pears and red plums\"}\n{\"_id\": \"c\", \"text\": \"stones\"}\n");
    write_file(root, "queries.jsonl",
               "{\"_id\": \"1\", \"text\": \"red\"}\n{\"_id\": \"2\", \"text\": "
               "\"nothing of this\"}\n{\"_id\": \"3\", \"text\": \"stones\"}\n");
    write_file(sub, "test.tsv", "query-id\tcorpus-id\tscore\n1\tb\t1\n2\tc\t1\n");
    build_index(root, index);
    begin();
    set("dataset", root);
    set("index", index);
    set("save-run", saved);
    set("measures", "RR,num_ret,num_q");
    set("format", "trec");
    if (run_stage(&out) != TRAWL_OK)
        fail_msg("%s", trawl_message());
    assert_string_equal(out.data, "RR\tall\t0.2500\nnum_ret\tall\t2\nnum_q\tall\t2\n");
    begin();
    set("dataset", root);
    set("run", saved);
    set("complete", "true");
    set("measures", "RR");
    set("format", "trec");
    assert_int_equal(run_stage(&out), TRAWL_OK);
    assert_string_equal(out.data, "RR\tall\t0.2500\n");
    begin();
    set("dataset", root);
    set("index", index);
    set("mode", "guess");
    assert_int_equal(run_stage(&out), TRAWL_USAGE);
    assert_int_equal(file_remove_tree(root), TRAWL_OK);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trec_lines_are_trec_evals),
        cmocka_unit_test(one_run_is_a_table_of_three_columns),
        cmocka_unit_test(complete_averages_over_judged_queries),
        cmocka_unit_test(json_holds_values_and_tests),
        cmocka_unit_test(bad_files_are_refused_with_their_line),
        cmocka_unit_test(beir_judgements_and_json_runs_are_read),
        cmocka_unit_test(wrong_use_is_told),
        cmocka_unit_test(a_dataset_is_searched_and_scored_in_one_go),
    };
    trawl_set_log(silent, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char path[4096];
    unlink(scratch_path(path, (long)getpid(), "qrels"));
    unlink(scratch_path(path, (long)getpid(), "run"));
    return failed;
}
