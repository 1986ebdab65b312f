/* Mining as a whole: a dataset and scores in, rows out; picks against test/golden/mining, the rest against twins. */
#include "../data/scratch.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "data/vectors.h"
#include "math/dot.h"
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

static char folder[4096];
static struct trawl_mine_options options;
static struct trawl_mine_report report;

static const char *in(const char *name)
{
    static char paths[8][4352];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static FILE *create(const char *name)
{
    FILE *f = fopen(in(name), "w");
    assert_non_null(f);
    return f;
}

static void put(const char *name, const char *text)
{
    FILE *f = create(name);
    fputs(text, f);
    fclose(f);
}

static int make_folder(void **state)
{
    (void)state;
    scratch_path(folder, (long)getpid(), "mine");
    return file_make_folder(in("qrels")) == TRAWL_OK ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder) == TRAWL_OK ? 0 : -1;
}

static void set(const char *name, const char *value)
{
    if (trawl_options_set(&options, trawl_stage_find("mine"), name, value) != TRAWL_OK)
        fail_msg("%s", trawl_message());
}

static void begin(void)
{
    trawl_options_init(&options, trawl_stage_find("mine"));
    set("dataset", folder);
    set("output", in("out.jsonl"));
}

static enum trawl_status mine(void)
{
    enum trawl_status status = trawl_mine(&options, &report);
    trawl_options_release(&options, trawl_stage_find("mine"));
    return status;
}

static void mine_ok(void)
{
    if (mine() != TRAWL_OK)
        fail_msg("%s", trawl_message());
}

static void refused(enum trawl_status wanted, const char *words)
{
    assert_int_equal(mine(), wanted);
    assert_message(words);
}

/* The output's rows, an array. */
static json_t *read_rows(void)
{
    struct buf text = {0};
    json_t *all = json_array(), *row;
    assert_int_equal(file_read(&text, in("out.jsonl"), 1 << 28), TRAWL_OK);
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        assert_int_equal(json_parse(&row, line, strlen(line), "row"), TRAWL_OK);
        json_array_append_new(all, row);
    }
    buf_release(&text);
    return all;
}

static const char *negative(const json_t *row, size_t i)
{
    return json_string_value(json_object_get(json_array_get(json_object_get(row, "negative_passages"), i), "docid"));
}

static size_t n_negatives(const json_t *row)
{
    return json_array_size(json_object_get(row, "negative_passages"));
}

static void output_text(struct buf *out)
{
    buf_reset(out);
    assert_int_equal(file_read(out, in("out.jsonl"), 1 << 28), TRAWL_OK);
}

/* ---- the references ---- */

static void write_golden_dataset(size_t *Q, size_t *N)
{
    char path[4096], line[256];
    struct npy scores, content;
    unsigned q, p;
    assert_int_equal(npy_open(&scores, golden_path(path, "mining/scores.npy")), TRAWL_OK);
    assert_int_equal(npy_open(&content, golden_path(path, "mining/content_ids.npy")), TRAWL_OK);
    *Q = scores.shape[0];
    *N = scores.shape[1];
    FILE *f = create("corpus.jsonl"), *run = create("all.run");
    for (size_t i = 0; i < *N; i++)
        fprintf(f, "{\"_id\": \"%zu\", \"title\": \"\", \"text\": \"text %.0f\"}\n", i, npy_get(&content, i));
    fclose(f);
    f = create("queries.jsonl");
    for (size_t i = 0; i < *Q; i++) {
        fprintf(f, "{\"_id\": \"%zu\", \"text\": \"query %zu\"}\n", i, i);
        for (size_t d = 0; d < *N; d++)
            fprintf(run, "%zu Q0 %zu 1 %.9g x\n", i, d, npy_get(&scores, i * *N + d));
    }
    fclose(f);
    fclose(run);
    f = create("qrels/train.tsv");
    FILE *positives = fopen(golden_path(path, "mining/positives.tsv"), "r");
    assert_non_null(positives);
    assert_non_null(fgets(line, sizeof line, positives));
    fputs("query-id\tcorpus-id\tscore\n", f);
    while (fscanf(positives, "%u %u", &q, &p) == 2)
        fprintf(f, "%u\t%u\t1\n", q, p);
    fclose(positives);
    fclose(f);
    npy_close(&scores);
    npy_close(&content);
}

/* "margin_margin0.05" and the like as --rule and --value. */
static void set_method(const char *method)
{
    static const char *const names[][2] = {
        {"shifted_n", "shifted"}, {"absolute_value", "abs"}, {"margin_margin", "margin"}, {"percent_perc", "perc"}};
    set("rule", "naive");
    for (size_t i = 0; i < 4; i++)
        if (!strncmp(method, names[i][0], strlen(names[i][0]))) {
            set("rule", names[i][1]);
            set("value", method + strlen(names[i][0]));
        }
}

static void check_picks(const char *method, const char *line, json_t *rows, const char *source)
{
    unsigned q, count;
    int at;
    assert_int_equal(sscanf(line, "%*s %u %u%n", &q, &count, &at), 2);
    json_t *row = NULL;
    for (size_t i = 0; i < json_array_size(rows); i++)
        if ((unsigned)atoi(json_string_value(json_object_get(json_array_get(rows, i), "query_id"))) == q)
            row = json_array_get(rows, i);
    assert_non_null(row);
    size_t K = 0, found = n_negatives(row);
    assert_int_equal(found, count);
    for (char *rest = (char *)(uintptr_t)line + at, *end;; rest = end, K++) {
        long pick = strtol(rest, &end, 10);
        if (end == rest)
            break;
        if (K < found ? pick != atol(negative(row, K)) : pick != -1)
            fail_msg("%s, %s, query %u, pick %zu: wanted %ld", source, method, q, K, pick);
    }
    assert_int_equal(json_integer_value(json_object_get(row, "missing_negatives")), K - found);
}

static void picks_are_the_references(void **state)
{
    size_t Q, N, n_rows = 0;
    char path[4096], line[1024], method[128], last[128] = "";
    (void)state;
    write_golden_dataset(&Q, &N);
    for (int source = 0; source < 3; source++) {
        const char *run = source == 1 ? in("all.run") : golden_path(path, "mining/scores.npy");
        char run_path[4352], picks[4096];
        snprintf(run_path, sizeof run_path, "%s", run);
        FILE *f = fopen(golden_path(picks, "mining/picks.tsv"), "r");
        json_t *rows = NULL;
        *last = '\0';
        assert_non_null(f);
        assert_non_null(fgets(line, sizeof line, f));
        while (fgets(line, sizeof line, f)) {
            assert_int_equal(sscanf(line, "%127s", method), 1);
            if (strcmp(last, method) != 0) {
                strcpy(last, method);
                begin();
                set("run", run_path);
                set_method(method);
                if (source == 2)
                    set("report", in("report"));
                mine_ok();
                assert_int_equal(report.rows, Q);
                assert_false(file_exists(in("out.jsonl.work")));
                json_decref(rows);
                rows = read_rows();
            }
            check_picks(method, line, rows, run_path);
            n_rows++;
        }
        fclose(f);
        json_decref(rows);
    }
    assert_true(n_rows > 0);
}

static void report_counts_and_shows(void **state)
{
    char path[4096];
    size_t Q, N;
    struct buf html = {0}, text = {0};
    (void)state;
    write_golden_dataset(&Q, &N);
    begin();
    set("run", golden_path(path, "mining/scores.npy"));
    set("judge-run", in("all.run")); /* the same scores: what is below the positive is not suspected */
    set("report", in("page.html"));
    mine_ok();
    assert_true(report.judged > 0);
    assert_int_equal(file_read(&html, in("page.html"), 1 << 24), TRAWL_OK);
    assert_int_equal(file_read(&text, in("page.txt"), 1 << 24), TRAWL_OK);
    for (size_t i = 0; i < 5; i++) {
        static const char *const labels[] = {"naive", "shifted 10", "abs 0.7", "margin 0.05", "* perc 0.95"};
        assert_non_null(strstr(text.data, labels[i]));
    }
    assert_non_null(strstr(html.data, "<svg"));
    assert_null(strstr(html.data, "http"));
    buf_release(&html);
    buf_release(&text);
}

/* ---- random vectors ---- */

enum { QUERIES = 4500, DOCS = 700, DIMS = 19 };

/* A collection with vectors of documents and queries, and the matrix of their scores by the plain kernel. */
static void write_random_dataset(void)
{
    struct rng rng = rng_stream(3, 1, 4);
    float *docs = malloc(sizeof(float) * DOCS * DIMS), *queries = malloc(sizeof(float) * QUERIES * DIMS);
    float *scores = malloc(sizeof(float) * DOCS);
    struct vectors_writer *d, *q, *m, *shuffled;
    char id[16];
    for (size_t i = 0; i < DOCS * DIMS; i++)
        docs[i] = (float)rng_normal(&rng);
    for (size_t i = 0; i < QUERIES * DIMS; i++)
        queries[i] = (float)rng_normal(&rng);
    FILE *c = create("corpus.jsonl"), *a = create("queries.jsonl"), *j = create("qrels/train.tsv");
    fputs("query-id\tcorpus-id\tscore\n", j);
    assert_int_equal(vectors_create(&d, in("d.npy"), "npy", DIMS, NULL, NULL), TRAWL_OK);
    assert_int_equal(vectors_create(&q, in("q.npy"), "npy", DIMS, NULL, NULL), TRAWL_OK);
    assert_int_equal(vectors_create(&m, in("m.npy"), "npy", DOCS, NULL, NULL), TRAWL_OK);
    assert_int_equal(vectors_create(&shuffled, in("d.vecs"), "vecs", DIMS, NULL, NULL), TRAWL_OK);
    for (size_t i = 0; i < DOCS; i++) {
        size_t back = DOCS - 1 - i;
        fprintf(c, "{\"_id\": \"d%zu\", \"text\": \"text %zu\"}\n", i, i % 650); /* some copies */
        snprintf(id, sizeof id, "d%zu", back);
        assert_int_equal(vectors_add(d, NULL, docs + i * DIMS), TRAWL_OK);
        assert_int_equal(vectors_add(shuffled, id, docs + back * DIMS), TRAWL_OK);
    }
    for (size_t i = 0; i < QUERIES; i++) {
        fprintf(a, "{\"_id\": \"q%zu\", \"text\": \"query %zu\"}\n", i, i);
        fprintf(j, "q%zu\td%zu\t1\nq%zu\td%zu\t%zu\n", i, i % DOCS, i, (i * 7 + 1) % DOCS, i % 2);
        dot_kernels_ref.f32(scores, docs, DOCS, queries + i * DIMS, 1, DIMS, false);
        assert_int_equal(vectors_add(q, NULL, queries + i * DIMS), TRAWL_OK);
        assert_int_equal(vectors_add(m, NULL, scores), TRAWL_OK);
    }
    assert_int_equal(vectors_commit(&d), TRAWL_OK);
    assert_int_equal(vectors_commit(&q), TRAWL_OK);
    assert_int_equal(vectors_commit(&m), TRAWL_OK);
    assert_int_equal(vectors_commit(&shuffled), TRAWL_OK);
    fclose(c);
    fclose(a);
    fclose(j);
    free(docs);
    free(queries);
    free(scores);
}

static void by_vectors(const char *documents)
{
    begin();
    set("vectors", documents);
    set("query-vectors", in("q.npy"));
}

/* Tiles, 64 queries at a time, rows in any order, threads: the same bytes as from the whole matrix. */
static void vectors_equal_the_matrix(void **state)
{
    static const char *const rules[] = {"shifted", "perc", "abs"};
    struct buf wanted = {0}, got = {0};
    (void)state;
    write_random_dataset();
    for (size_t r = 0; r < 3; r++) {
        begin();
        set("run", in("m.npy"));
        set("rule", rules[r]);
        set("select", "best-sample");
        mine_ok();
        output_text(&wanted);
        for (int way = 0; way < 3; way++) {
            trawl_set_threads(way == 1 ? 1 : 3);
            by_vectors(way == 2 ? in("d.vecs") : in("d.npy"));
            set("rule", rules[r]);
            set("select", "best-sample");
            mine_ok();
            output_text(&got);
            assert_int_equal(wanted.n, got.n);
            assert_memory_equal(wanted.data, got.data, got.n);
        }
    }
    trawl_set_threads(0);
    buf_release(&wanted);
    buf_release(&got);
}

static const char *journal_path(void)
{
    struct buf names = {0};
    size_t n;
    static char path[4352];
    assert_int_equal(file_list(&names, &n, in("work")), TRAWL_OK);
    const char *name = names.data;
    *path = '\0';
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1)
        if (!strncmp(name, "candidates.", 11))
            snprintf(path, sizeof path, "%s/work/%s", folder, name);
    buf_release(&names);
    assert_true(*path);
    return path;
}

/* A journal that was cut anywhere, or altered, is continued after its last good block: the same bytes. */
static void continued_from_any_cut(void **state)
{
    struct buf wanted = {0}, got = {0}, whole = {0};
    (void)state;
    by_vectors(in("d.npy"));
    set("work", in("work"));
    mine_ok();
    assert_int_equal(report.resumed, 0);
    output_text(&wanted);
    assert_int_equal(file_read(&whole, journal_path(), 1 << 28), TRAWL_OK);
    for (int cut = 0; cut < 8; cut++) {
        size_t n = whole.n * (size_t)cut / 7;
        FILE *f = fopen(journal_path(), "wb");
        assert_int_equal(fwrite(whole.data, 1, n, f), n);
        if (cut == 7) { /* a byte of the last block */
            fseek(f, -9, SEEK_END);
            fputc(whole.data[whole.n - 9] ^ 1, f);
        }
        fclose(f);
        by_vectors(in("d.npy"));
        set("work", in("work"));
        mine_ok();
        assert_true(report.resumed < QUERIES);
        assert_true(cut < 5 || report.resumed >= 2048);
        output_text(&got);
        assert_int_equal(wanted.n, got.n);
        assert_memory_equal(wanted.data, got.data, got.n);
    }
    assert_int_equal(file_remove_tree(in("work")), TRAWL_OK);
    buf_release(&wanted);
    buf_release(&got);
    buf_release(&whole);
}

static int run_program(long kill_after_us)
{
    char *program = getenv("TRAWL_PROGRAM");
    int code;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl(program, program, "mine", "--dataset", folder, "--vectors", in("d.npy"), "--query-vectors", in("q.npy"),
              "--output", in("out.jsonl"), "--quiet", (char *)NULL);
        _exit(127);
    }
    if (kill_after_us) {
        usleep((useconds_t)kill_after_us);
        kill(child, SIGKILL);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

static void killed_and_run_again(void **state)
{
    struct buf wanted = {0}, got = {0};
    (void)state;
    if (!getenv("TRAWL_PROGRAM")) {
        print_message("TRAWL_PROGRAM is not set\n");
        skip();
    }
    by_vectors(in("d.npy"));
    mine_ok();
    output_text(&wanted);
    for (long us = 2000; us < 200000; us = us * 3 / 2) {
        unlink(in("out.jsonl"));
        run_program(us);
        assert_int_equal(run_program(0), 0);
        output_text(&got);
        assert_int_equal(wanted.n, got.n);
        assert_memory_equal(wanted.data, got.data, got.n);
        assert_false(file_exists(in("out.jsonl.work")));
        assert_false(file_exists(in("out.jsonl.part")));
    }
    buf_release(&wanted);
    buf_release(&got);
}

/* ---- a collection that can be followed by eye ---- */

static void write_small_dataset(void)
{
    put("corpus.jsonl", "{\"_id\": \"p\", \"title\": \"T\", \"text\": \"red apple\"}\n"
                        "{\"_id\": \"copy\", \"title\": \"T\", \"text\": \"red  apple \"}\n"
                        "{\"_id\": \"empty\", \"text\": \"\"}\n"
                        "{\"_id\": \"a\", \"text\": \"green apple\"}\n"
                        "{\"_id\": \"b\", \"text\": \"red car\"}\n"
                        "{\"_id\": \"c\", \"text\": \"blue car\"}\n");
    put("queries.jsonl", "{\"_id\": \"1\", \"text\": \"apple red\"}\n");
    put("qrels/train.tsv", "query-id\tcorpus-id\tscore\n1\tp\t1\n1\tc\t0\n");
    put("one.run", "1 Q0 copy 1 9 x\n1 Q0 p 2 8 x\n1 Q0 empty 3 7 x\n1 Q0 a 4 6 x\n1 Q0 b 5 5 x\n");
    put("two.run", "1 Q0 p 1 8 x\n1 Q0 a 2 4 x\n1 Q0 c 3 3 x\n1 Q0 b 4 2 x\n");
}

static void negatives_are(const char *wanted)
{
    struct buf got = {0};
    json_t *rows = read_rows();
    const json_t *row = json_array_get(rows, 0);
    assert_int_equal(json_array_size(rows), 1);
    assert_int_equal(buf_reserve(&got, 0), TRAWL_OK);
    got.data[0] = '\0';
    for (size_t i = 0; i < n_negatives(row); i++)
        assert_int_equal(buf_printf(&got, "%s%s", i ? " " : "", negative(row, i)), TRAWL_OK);
    assert_string_equal(got.data, wanted);
    buf_release(&got);
    json_decref(rows);
}

static void copies_and_empty_texts_are_no_negatives(void **state)
{
    (void)state;
    write_small_dataset();
    begin();
    set("run", in("one.run"));
    mine_ok();
    negatives_are("a b");
    assert_int_equal(report.copies, 1);
    assert_int_equal(report.missing, 2);
    begin();
    set("run", in("one.run"));
    set("short", "drop");
    mine_ok();
    assert_int_equal(report.dropped, 1);
    assert_int_equal(report.rows, 0);
    begin();
    set("run", in("one.run"));
    set("curated", "true");
    set("negatives", "2");
    mine_ok();
    negatives_are("c a");
}

static void ensembles(void **state)
{
    static const char *const wanted[] = {"a a b c", "a c b"};
    (void)state;
    for (int dedup = 0; dedup < 2; dedup++) {
        begin();
        set("run", in("one.run"));
        set("run", in("two.run"));
        set("ensemble", "intra");
        if (dedup)
            set("dedup", "true");
        mine_ok();
        negatives_are(wanted[dedup]);
    }
    bool seen[2] = {false, false};
    for (int seed = 0; seed < 20; seed++) {
        char text[16];
        begin();
        snprintf(text, sizeof text, "%d", seed);
        set("seed", text);
        set("run", in("one.run"));
        set("run", in("two.run"));
        mine_ok();
        json_t *rows = read_rows();
        size_t n = n_negatives(json_array_get(rows, 0));
        assert_true(n == 2 || n == 3);
        seen[n - 2] = true;
        json_decref(rows);
    }
    assert_true(seen[0] && seen[1]);
}

static void bm25_shares_words(void **state)
{
    (void)state;
    begin();
    set("teacher", "bm25");
    set("rule", "naive");
    mine_ok();
    json_t *rows = read_rows();
    const json_t *row = json_array_get(rows, 0);
    assert_int_equal(n_negatives(row), 2); /* "blue car" shares no word */
    json_decref(rows);
}

static void chance_takes_anything_but_positives(void **state)
{
    (void)state;
    begin();
    set("teacher", "random");
    mine_ok();
    json_t *rows = read_rows();
    assert_int_equal(n_negatives(json_array_get(rows, 0)), 3);
    json_decref(rows);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    begin();
    refused(TRAWL_USAGE, "a teacher is needed");
    begin();
    set("run", in("one.run"));
    set("select", "sample");
    set("pool", "2");
    refused(TRAWL_USAGE, "--pool must be from --negatives (4)");
    begin();
    set("run", in("one.run"));
    set("value", "much");
    refused(TRAWL_USAGE, "--value 'much' is not a number");
    begin();
    set("vectors", in("d.npy"));
    refused(TRAWL_USAGE, "1 --vectors but 0 --query-vectors");
    by_vectors(in("d.npy"));
    refused(TRAWL_MISMATCH, "700 vectors, but the corpus has 6 documents");
    by_vectors(in("other.jsonl"));
    put("other.jsonl", "{\"id\": \"p\", \"vector\": [1, 2]}\n{\"id\": \"copy\", \"vector\": [1, 2]}\n"
                       "{\"id\": \"empty\", \"vector\": [1, 2]}\n{\"id\": \"a\", \"vector\": [1, 2]}\n"
                       "{\"id\": \"b\", \"vector\": [1, 2]}\n{\"id\": \"z\", \"vector\": [1, 2]}\n");
    refused(TRAWL_MISMATCH, "2 dimensions and");
    begin();
    put("asked.jsonl", "{\"id\": \"7\", \"vector\": [1, 2]}\n");
    set("vectors", in("other.jsonl"));
    set("query-vectors", in("asked.jsonl"));
    refused(TRAWL_MISMATCH, "row 5 is of document 'z', which is not in the corpus");
    begin();
    put("far.run", "1 Q0 d7 1 1 x\n");
    set("run", in("far.run"));
    refused(TRAWL_MISMATCH, "query '1' has document 'd7', which is not in the corpus");
    begin();
    put("far.run", "2 Q0 p 1 1 x\n");
    set("run", in("far.run"));
    refused(TRAWL_MISMATCH, "none of the 1 queries");
    put("qrels/train.tsv", "query-id\tcorpus-id\tscore\n1\tp\t1\n1\tnowhere\t1\n");
    begin();
    set("run", in("one.run"));
    refused(TRAWL_FORMAT, "train.tsv' line 3: document 'nowhere' is not in the corpus");
    put("qrels/train.tsv", "query-id\tcorpus-id\tscore\n1\tp\t0\n");
    begin();
    set("run", in("one.run"));
    refused(TRAWL_FORMAT, "no query has a positive");
    begin();
    set("split", "dev");
    set("run", in("one.run"));
    refused(TRAWL_IO, "qrels/dev.tsv");
}

static void silent(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_are_the_references),
        cmocka_unit_test(report_counts_and_shows),
        cmocka_unit_test(vectors_equal_the_matrix),
        cmocka_unit_test(continued_from_any_cut),
        cmocka_unit_test(killed_and_run_again),
        cmocka_unit_test(copies_and_empty_texts_are_no_negatives),
        cmocka_unit_test(ensembles),
        cmocka_unit_test(bm25_shares_words),
        cmocka_unit_test(chance_takes_anything_but_positives),
        cmocka_unit_test(what_is_wrong_is_named),
    };
    trawl_set_log(silent, NULL);
    return cmocka_run_group_tests_name("mining", tests, make_folder, remove_folder);
}
