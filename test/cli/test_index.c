/* `trawl index` and `trawl delete` as a user runs them: what they say, what they refuse, what a failure leaves. */
#include "program.h"
#include "../encode/fixture.h"
#include "data/vectors.h"
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

enum { D = 2 };
static char folder[4096];

/* Runs the program with every @ put for the folder. */
static int run(const char *line)
{
    char command[8000];
    size_t n = 0;
    for (; *line && n + sizeof folder < sizeof command; line++)
        n += (size_t)snprintf(command + n, sizeof command - n, "%.*s", *line == '@' ? 4096 : 1,
                              *line == '@' ? folder : line);
    command[n] = '\0';
    return program(command);
}

static void remove_index(void)
{
    char *path = file_join(folder, "idx");
    assert_int_equal(file_remove_tree(path), TRAWL_OK);
    free(path);
}

static void write_vectors(const char *name, const float *rows, size_t n)
{
    char *path = file_join(folder, name);
    struct vectors_writer *w;
    assert_int_equal(vectors_create(&w, path, "npy", D, NULL, NULL), TRAWL_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(vectors_add(w, "", rows + i * D), TRAWL_OK);
    assert_int_equal(vectors_commit(&w), TRAWL_OK);
    free(path);
}

static int set_up(void **state)
{
    (void)state;
    scratch_path(folder, (long)getpid(), "cli-index");
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
    assert_int_equal(file_make_folder(folder), TRAWL_OK);
    fixture_text(folder, "three.jsonl",
                 "{\"_id\": \"a\", \"title\": \"Iron\", \"text\": \"Iron rusts.\"}\n"
                 "{\"_id\": \"b\", \"title\": \"\", \"text\": \"Gold does not rust.\"}\n"
                 "{\"_id\": \"c\", \"title\": \"\", \"text\": \"\"}\n");
    fixture_text(folder, "more.jsonl",
                 "{\"_id\": \"b\", \"title\": \"\", \"text\": \"Silver tarnishes.\"}\n"
                 "{\"_id\": \"d\", \"title\": \"\", \"text\": \"Tin pest.\"}\n");
    fixture_text(folder, "twice.jsonl",
                 "{\"_id\": \"x\", \"title\": \"\", \"text\": \"one\"}\n"
                 "{\"_id\": \"y\", \"title\": \"\", \"text\": \"two\"}\n"
                 "{\"_id\": \"x\", \"title\": \"\", \"text\": \"three\"}\n");
    fixture_text(folder, "no-id.jsonl", "{\"_id\": \"x\", \"title\": \"\", \"text\": \"one\"}\n{\"text\": \"two\"}\n");
    fixture_text(folder, "empty.jsonl", "");
    fixture_put(folder, "bad-utf8.jsonl", "{\"_id\": \"u\", \"title\": \"\", \"text\": \"rusty \xff nail\"}\n", 49);
    write_vectors("three.npy", (const float[]){1, 0, 0, 1, 0, 0}, 3);
    write_vectors("more.npy", (const float[]){0.6f, 0.8f, 0.8f, 0.6f}, 2);
    write_vectors("wide.npy", (const float[]){1, 0}, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_remove(folder);
    return 0;
}

static void make_index(void)
{
    remove_index();
    assert_int_equal(run("index --corpus @/three.jsonl --output @/idx"), 0);
}

/* ids found by BM25, best first, in program_out */
static void assert_found(const char *query, const char *ids)
{
    char line[256], got[256] = "";
    snprintf(line, sizeof line, "search --index @/idx --mode bm25 --format trec %s", query);
    assert_int_equal(run(line), 0);
    for (const char *at = program_out.data; at && *at; at = strchr(at, '\n'), at += at != NULL) {
        size_t n = strlen(got);
        assert_int_equal(sscanf(at, "%*s %*s %200s", got + n), 1);
        strcat(got, " ");
    }
    assert_string_equal(got, ids);
}

static void closing_line_counts(void **state)
{
    (void)state;
    make_index();
    assert_err_has("3 documents, 1 empty; index of 3 documents, 1 segment, ");
    assert_int_equal(run("index --corpus @/more.jsonl --output @/idx --append"), 0);
    assert_err_has("2 documents, 1 replaced, 0 empty; index of 4 documents, 2 segments, ");
    assert_int_equal(run("index --corpus @/bad-utf8.jsonl --output @/idx --append"), 0);
    assert_err_has("1 with invalid UTF-8 (first: line 1, 'u')");
    assert_err_has("index of 5 documents");
    assert_int_equal(run("delete --index @/idx a u"), 0);
    assert_err_has("2 documents deleted, 0 ids not found; 3 documents left");
    assert_int_equal(run("index --corpus @/three.jsonl --output @/idx --append --merge"), 0);
    assert_err_has("3 documents, 2 replaced, 1 empty; index of 4 documents, 1 segment, ");
}

static void appended_documents_replace(void **state)
{
    (void)state;
    make_index();
    assert_found("gold", "b ");
    assert_int_equal(run("index --corpus @/more.jsonl --output @/idx --append"), 0);
    assert_found("gold", "");
    assert_found("silver", "b ");
    assert_found("tin", "d ");
    assert_found("iron", "a ");
}

static void deleted_documents_are_not_found(void **state)
{
    (void)state;
    make_index();
    assert_found("rusts", "a b ");
    assert_int_equal(run("delete --index @/idx a"), 0);
    assert_found("rusts", "b ");
    assert_int_equal(run("index --corpus @/three.jsonl --output @/idx --append"), 0); /* it may come back */
    assert_found("rusts", "a b ");
    fixture_text(folder, "ids.txt", "a\nb\n\n");
    assert_int_equal(run("delete --index @/idx --input @/ids.txt"), 0);
    assert_found("rusts", "");
}

static void unknown_ids_delete_nothing(void **state)
{
    (void)state;
    make_index();
    assert_int_equal(run("delete --index @/idx a nobody"), 1);
    assert_err_has("no document 'nobody'");
    assert_found("iron", "a ");
    assert_int_equal(run("delete --index @/idx --missing-ok a nobody"), 0);
    assert_err_has("1 document deleted, 1 id not found; 2 documents left");
    assert_found("iron", "");
}

static void appending_to_vectors_needs_vectors(void **state)
{
    (void)state;
    remove_index();
    assert_int_equal(run("index --corpus @/three.jsonl --output @/idx --bm25 --dense dots --vectors @/three.npy"), 0);
    assert_int_equal(run("index --corpus @/more.jsonl --output @/idx --append"), 2);
    assert_err_has("'dots'");
    assert_err_has("--vectors");
    assert_int_equal(run("index --corpus @/more.jsonl --output @/idx --append --vectors @/wide.npy"), 1);
    assert_err_has("vectors");
    assert_found("gold", "b ");
    assert_int_equal(run("index --corpus @/more.jsonl --output @/idx --append --vectors @/more.npy"), 0);
    assert_int_equal(run("search --index @/idx --query-vectors @/more.npy --mode dense --k 2"), 0);
    assert_out_has("0 Q0 b 1 1 trawl\n0 Q0 d 2 0.96"); /* the new vector of b, not the old one */
    assert_out_has("1 Q0 d 1 1 trawl\n1 Q0 b 2 0.96");
}

static void bad_corpora_are_refused_and_the_index_stays(void **state)
{
    (void)state;
    static const struct {
        const char *corpus, *says;
    } bad[] = {
        {"empty", "the corpus is empty"}, {"twice", "'x'"}, {"no-id", "no-id.jsonl"}, {"missing", "missing.jsonl"}};
    make_index();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int append = 0; append < 2; append++) {
            char line[256];
            snprintf(line, sizeof line, "index --corpus @/%s.jsonl --output @/idx%s", bad[i].corpus,
                     append ? " --append" : "");
            assert_int_equal(run(line), 1);
            assert_err_has(bad[i].says);
            assert_found("rusts", "a b ");
        }
    assert_int_equal(run("index --corpus @/bad-utf8.jsonl --output @/idx --append --strict"), 1);
    assert_err_has("UTF-8");
    assert_found("rusty", "");
    assert_int_equal(run("inspect @/idx --verify"), 0);
    assert_int_equal(run("index --corpus @/three.jsonl --output @/fresh --dense dots"), 2);
    assert_err_has("'dots'");
    assert_int_equal(run("index --corpus @/more.jsonl --output @/none --append"), 1);
    assert_int_equal(run("index --corpus @/three.jsonl --output @/idx --overlap 5"), 2);
}

static void write_corpus(const char *name, size_t n)
{
    struct buf text = {0}, all = {0};
    for (size_t i = 0; i < n; i++) {
        fixture_words(&text, NULL, 1 + i * 7 % 40, (uint32_t)i);
        assert_int_equal(buf_printf(&all, "{\"_id\": \"doc%zu\", \"title\": \"\", \"text\": \"%s\"}\n", i, text.data),
                         TRAWL_OK);
    }
    fixture_put(folder, name, all.data, all.n);
    buf_release(&text);
    buf_release(&all);
}

/* A limit on the size of files stands for the disk: writing beyond it fails as on a full one. */
static int run_limited(const char *line)
{
    char *script = file_join(folder, "limited"), text[512];
    snprintf(text, sizeof text, "#!/bin/sh\ntrap '' XFSZ\nulimit -f 64\nexec '%.400s' \"$@\"\n",
             getenv("TRAWL_PROGRAM"));
    fixture_text(folder, "limited", text);
    assert_int_equal(chmod(script, 0700), 0);
    char *whole = strdup(getenv("TRAWL_PROGRAM"));
    setenv("TRAWL_PROGRAM", script, 1);
    int code = run(line);
    setenv("TRAWL_PROGRAM", whole, 1);
    free(whole);
    free(script);
    return code;
}

static void full_disk_is_refused_and_the_index_stays(void **state)
{
    (void)state;
    make_index();
    write_corpus("many.jsonl", 5000);
    assert_int_equal(run_limited("index --corpus @/three.jsonl --output @/fits"), 0);
    assert_int_equal(run_limited("index --corpus @/many.jsonl --output @/idx --append"), 1);
    assert_err_has("idx");
    assert_err_has("File too large");
    assert_found("rusts", "a b ");
    assert_int_equal(run_limited("index --corpus @/many.jsonl --output @/idx"), 1);
    assert_found("rusts", "a b ");
    assert_int_equal(run("inspect @/idx --verify"), 0);
    assert_int_equal(run("index --corpus @/many.jsonl --output @/idx --append"), 0); /* with room again */
    assert_err_has("5000 documents, 0 empty; index of 5003 documents");
}

static void results_that_cannot_be_written_are_told(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        print_message("skipped: no /dev/full here\n");
        skip();
    }
    make_index();
    assert_int_equal(run("search --index @/idx --mode bm25 --format json rust > /dev/full"), 1);
    assert_err_has("No space left on device");
    fixture_text(folder, "qrels", "1 0 a 1\n");
    fixture_text(folder, "run", "1 Q0 a 1 2.0 x\n");
    assert_int_equal(run("eval --qrels @/qrels --run @/run > /dev/full"), 1);
    assert_err_has("No space left on device");
}

/* ---- dense fields made by a model, killed and taken up ---- */

static void start_and_kill(const char *model, size_t bytes, bool *killed)
{
    char *corpus = file_join(folder, "dense.jsonl"), *index = file_join(folder, "idx");
    char *part = file_join(index, "resume.meaning");
    int code;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        execl(getenv("TRAWL_PROGRAM"), "trawl", "index", "--quiet", "--corpus", corpus, "--output", index, "--bm25",
              "--dense", "meaning", "--model", model, "--precision", "f32", (char *)NULL);
        _exit(127);
    }
    for (*killed = false; waitpid(pid, &code, WNOHANG) == 0;) {
        struct stat st;
        if (!*killed && !stat(part, &st) && (size_t)st.st_size >= bytes) {
            kill(pid, SIGKILL);
            *killed = true;
        }
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
    *killed = WIFSIGNALED(code);
    assert_true(*killed || (WIFEXITED(code) && WEXITSTATUS(code) == 0));
    free(corpus);
    free(index);
    free(part);
}

static void a_killed_run_is_taken_up_to_the_same_bytes(void **state)
{
    (void)state;
    enum { MANY = 6000, WIDTH = 32 };
    char model[4096], line[8000], command[8300];
    size_t kills = 0;
    fixture_model(model, "bert", "cli-index-model");
    write_corpus("dense.jsonl", MANY);
    remove_index();
    for (size_t i = 1; i <= 3; i++) {
        bool killed;
        start_and_kill(model, i * MANY * WIDTH * sizeof(float) / 5, &killed);
        if (!killed)
            break;
        kills++;
        assert_int_equal(run("search --index @/idx aa"), 1); /* there is none yet */
    }
    assert_true(kills > 0);
    snprintf(line, sizeof line,
             "index --corpus @/dense.jsonl --output @/idx --bm25 --dense meaning --precision f32 --model %.3000s",
             model);
    assert_int_equal(run(line), 0);
    if (kills == 3)
        assert_err_has("encoded by an earlier run");
    snprintf(line, sizeof line,
             "index --corpus @/dense.jsonl --output @/whole --bm25 --dense meaning --precision f32 --model %.3000s",
             model);
    assert_int_equal(run(line), 0);
    assert_null(strstr(program_err.data, "earlier run"));
    snprintf(command, sizeof command, "diff -r '%s/idx' '%s/whole'", folder, folder);
    assert_int_equal(system(command), 0);
    fixture_remove(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_line_counts),
        cmocka_unit_test(appended_documents_replace),
        cmocka_unit_test(deleted_documents_are_not_found),
        cmocka_unit_test(unknown_ids_delete_nothing),
        cmocka_unit_test(appending_to_vectors_needs_vectors),
        cmocka_unit_test(bad_corpora_are_refused_and_the_index_stays),
        cmocka_unit_test(full_disk_is_refused_and_the_index_stays),
        cmocka_unit_test(results_that_cannot_be_written_are_told),
        cmocka_unit_test(a_killed_run_is_taken_up_to_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
