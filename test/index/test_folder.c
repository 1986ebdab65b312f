/* The index folder under stress: threads, damage, killed writers, readers beside writers. */
#include "index_help.h"
#include "base/pool.h"
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <xxhash.h>

extern char **environ;

/* ---- what a reader sees, as one number; 0 when it is refused ---- */

static enum trawl_status digest_document(const struct index *ix, size_t segment, uint32_t row, XXH3_state_t *state)
{
    struct buf buf = {0};
    struct stored_document doc;
    enum trawl_status status = index_document(ix, &buf, &doc, segment, row);
    if (!status) {
        XXH3_64bits_update(state, doc.id, doc.id_bytes);
        XXH3_64bits_update(state, doc.text, doc.text_bytes);
    }
    buf_release(&buf);
    return status;
}

static enum trawl_status digest_queries(const struct index *ix, XXH3_state_t *state)
{
    static const char *const queries[] = {"w1 w2 w3", "w0", "w50 w2 w2 w300"};
    struct lexical_searcher *s;
    struct index_hit hits[200];
    size_t field = 0;
    TRY(index_find_field(ix, &field, INDEX_LEXICAL, NULL));
    TRY(lexical_searcher_new(&s, ix, field, 200));
    enum trawl_status status = TRAWL_OK;
    for (size_t q = 0; !status && q < 3; q++) {
        size_t n = 0;
        status = lexical_search(s, hits, &n, queries[q], strlen(queries[q]), 200, 0.9, 0.4, q == 1);
        for (size_t i = 0; !status && i < n; i++) {
            XXH3_64bits_update(state, &hits[i].score, sizeof hits[i].score);
            status = digest_document(ix, hits[i].segment, hits[i].row, state);
        }
    }
    lexical_searcher_free(s);
    return status;
}

static enum trawl_status digest_vectors(const struct index *ix, XXH3_state_t *state)
{
    for (size_t f = 0; f < index_n_fields(ix); f++)
        for (size_t s = 0; index_field(ix, f)->kind == INDEX_DENSE && s < index_n_segments(ix); s++) {
            struct index_vectors v;
            TRY(index_vectors(&v, ix, s, f));
            XXH3_64bits_update(state, v.rows, v.n * v.D);
            XXH3_64bits_update(state, v.rescore, v.n * v.D * sizeof(float));
        }
    return TRAWL_OK;
}

static uint64_t digest(const char *folder)
{
    struct index *ix;
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    uint64_t out = 0;
    if (index_open(&ix, folder) == TRAWL_OK) {
        if (digest_queries(ix, state) == TRAWL_OK && digest_vectors(ix, state) == TRAWL_OK)
            out = XXH3_64bits_digest(state);
        index_close(ix);
    }
    XXH3_freeState(state);
    return out;
}

/* BM25 and an int8 field; documents w..., some deleted. */
static void make_small(const char *folder)
{
    struct rng rng = rng_stream(5, 0, 0);
    struct index_writer *w;
    struct index_writer_options options = {0};
    struct index_field fields[2] = {lexical_field("ascii"),
                                    {.name = "v", .kind = INDEX_DENSE, .D = 3, .format = INDEX_VEC_INT8}};
    ok(index_writer_open(&w, folder, fields, 2, &options));
    for (int i = 0; i < 60; i++) {
        char id[16], text[1024];
        float row[3] = {(float)i, 1.0f, -0.5f * (float)i};
        const float *vectors[2] = {NULL, row};
        snprintf(id, sizeof id, "d%d", i);
        random_text(text, sizeof text, &rng);
        struct document d = {id, "", text, strlen(id), 0, strlen(text)};
        ok(index_add(w, &d, text, strlen(text), vectors));
    }
    ok(index_commit(&w));
    options.append = true;
    ok(index_writer_open(&w, folder, NULL, 0, &options));
    for (int i = 0; i < 60; i += 7) {
        char id[16];
        bool found;
        snprintf(id, sizeof id, "d%d", i);
        ok(index_remove(w, id, strlen(id), &found));
    }
    ok(index_commit(&w));
}

/* ---- threads ---- */

static void assert_same_files(const char *a, const char *b)
{
    struct buf names = {0}, other = {0};
    size_t n, n_other;
    ok(file_list(&names, &n, a));
    ok(file_list(&other, &n_other, b));
    assert_int_equal(n, n_other);
    assert_memory_equal(names.data, other.data, names.n);
    const char *name = names.data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
        struct buf x = {0}, y = {0};
        char *pa = file_join(a, name), *pb = file_join(b, name);
        ok(file_read(&x, pa, SIZE_MAX / 2));
        ok(file_read(&y, pb, SIZE_MAX / 2));
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.data ? x.data : "", y.data ? y.data : "", x.n);
        free(pa);
        free(pb);
        buf_release(&x);
        buf_release(&y);
    }
    buf_release(&names);
    buf_release(&other);
}

static void bytes_do_not_depend_on_threads(void **state)
{
    (void)state;
    char a[4096], b[4096];
    for (size_t memory = 0; memory < 2; memory++) { /* the second time so little that segments are spilled and merged */
        fresh_folder(a, "one");
        fresh_folder(b, "many");
        for (int many = 0; many < 2; many++) {
            struct rng rng = rng_stream(6, 0, 0);
            pool_set_threads(many ? 5 : 1);
            struct index_writer *w = open_writer(many ? b : a, false, "english", memory);
            add_random(w, 0, 20000, &rng);
            ok(index_commit(&w));
        }
        pool_set_threads(0);
        assert_same_files(a, b);
    }
    ok(file_remove_tree(a));
    ok(file_remove_tree(b));
}

/* ---- damage ---- */

static void write_bytes(const char *path, const char *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

/* Calls with every file of the folder: its content is put back afterwards. */
static void with_every_file(const char *folder, void (*damage)(const char *folder, const char *path, struct buf *data))
{
    struct buf names = {0};
    size_t n;
    ok(file_list(&names, &n, folder));
    const char *name = names.data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
        struct buf data = {0};
        char *path = file_join(folder, name);
        ok(file_read(&data, path, SIZE_MAX / 2));
        if (data.n)
            damage(folder, path, &data);
        write_bytes(path, data.data ? data.data : "", data.n);
        buf_release(&data);
        free(path);
    }
    buf_release(&names);
}

static uint64_t whole;

static void cut_short(const char *folder, const char *path, struct buf *data)
{
    for (size_t n = 0; n < data->n; n += n < 256 ? 1 : 2) {
        write_bytes(path, data->data, n);
        uint64_t seen = digest(folder);
        if (seen && seen != whole)
            fail_msg("'%s' cut to %zu bytes is read as another index", path, n);
    }
}

static void flip(const char *folder, const char *path, struct buf *data)
{
    for (size_t i = 0; i < data->n; i += i < 256 ? 1 : 3) {
        data->data[i] = (char)(data->data[i] ^ (1 << (i % 8)));
        write_bytes(path, data->data, data->n);
        uint64_t seen = digest(folder);
        if (seen && seen != whole)
            fail_msg("'%s' with byte %zu changed is read as another index", path, i);
        data->data[i] = (char)(data->data[i] ^ (1 << (i % 8)));
    }
}

static void damaged_files_are_refused_or_unharmed(void **state)
{
    (void)state;
    char folder[4096];
    fresh_folder(folder, "damage");
    make_small(folder);
    whole = digest(folder);
    assert_int_not_equal(whole, 0);
    with_every_file(folder, cut_short);
    with_every_file(folder, flip);
    assert_int_equal(digest(folder), whole);
    ok(file_remove_tree(folder));
}

/* ---- readers and writers ---- */

static void readers_keep_what_they_opened(void **state)
{
    (void)state;
    char folder[4096];
    struct index *ix;
    struct rng rng = rng_stream(8, 0, 0);
    fresh_folder(folder, "readers");
    struct index_writer *w = open_writer(folder, false, "ascii", 0);
    add_random(w, 0, 2000, &rng);
    ok(index_commit(&w));
    ok(index_open(&ix, folder));
    XXH3_state_t *before = XXH3_createState(), *after = XXH3_createState();
    XXH3_64bits_reset(before);
    XXH3_64bits_reset(after);
    ok(digest_queries(ix, before));
    for (int i = 0; i < 12; i++) {
        w = open_writer(folder, true, NULL, 0);
        add_random(w, (size_t)i * 50, 100, &rng);
        ok(index_commit(&w));
    }
    ok(index_merge(folder));
    ok(digest_queries(ix, after));
    assert_int_equal(XXH3_64bits_digest(before), XXH3_64bits_digest(after));
    XXH3_freeState(before);
    XXH3_freeState(after);
    index_close(ix);
    ok(index_open(&ix, folder));
    assert_int_equal(index_n_segments(ix), 1);
    assert_int_equal(index_n_documents(ix), 2000);
    index_close(ix);
    ok(file_remove_tree(folder));
}

static void one_writer_at_a_time(void **state)
{
    (void)state;
    char folder[4096];
    struct index_writer *second;
    struct index_writer_options options = {.append = true};
    fresh_folder(folder, "lock");
    struct index_writer *w = open_writer(folder, false, "ascii", 0);
    add_text(w, "a", "x");
    ok(index_commit(&w));
    w = open_writer(folder, true, NULL, 0);
    assert_int_equal(index_writer_open(&second, folder, NULL, 0, &options), TRAWL_MISMATCH);
    index_abort(&w);
    w = open_writer(folder, true, NULL, 0);
    index_abort(&w);
    ok(file_remove_tree(folder));
}

static void an_abandoned_writer_leaves_nothing(void **state)
{
    (void)state;
    char folder[4096];
    struct rng rng = rng_stream(9, 0, 0);
    fresh_folder(folder, "abandoned");
    struct index_writer *w = open_writer(folder, false, "ascii", 1);
    add_random(w, 0, 20000, &rng); /* several segments are on disk by now */
    index_abort(&w);
    assert_false(file_exists(folder));
}

static void ids_come_once(void **state)
{
    (void)state;
    char folder[4096];
    fresh_folder(folder, "twice");
    struct index_writer *w = open_writer(folder, false, "ascii", 0);
    struct document d = {"a", "", "x", 1, 0, 1};
    ok(index_add(w, &d, "x", 1, NULL));
    assert_int_equal(index_add(w, &d, "x", 1, NULL), TRAWL_FORMAT);
    index_abort(&w);
}

static void documents_come_back_as_they_were(void **state)
{
    (void)state;
    char folder[4096];
    struct index *ix;
    struct buf buf = {0};
    fresh_folder(folder, "documents");
    struct index_writer *w = open_writer(folder, false, "english", 0);
    for (int i = 0; i < 300; i++) {
        char id[16], title[32], text[64];
        snprintf(id, sizeof id, "id-%d", i);
        snprintf(title, sizeof title, "%.*s", i % 7, "a title");
        snprintf(text, sizeof text, "text %d of a document", i);
        struct document d = {id, title, i % 5 ? text : "", strlen(id), strlen(title), i % 5 ? strlen(text) : 0};
        ok(index_add(w, &d, d.text, d.text_bytes, NULL));
    }
    ok(index_commit(&w));
    ok(index_open(&ix, folder));
    for (int i = 0; i < 300; i++) {
        char text[64];
        struct stored_document doc;
        buf_reset(&buf);
        ok(index_document(ix, &buf, &doc, 0, (uint32_t)i));
        snprintf(text, sizeof text, "text %d of a document", i);
        assert_string_equal(doc.text, i % 5 ? text : "");
        assert_int_equal(doc.title_bytes, i % 7);
        assert_memory_equal(doc.title, "a title", doc.title_bytes);
        assert_int_equal(doc.passage_end, doc.text_bytes);
    }
    assert_true(index_has(ix, "id-299", 6));
    assert_false(index_has(ix, "id-300", 6));
    index_close(ix);
    buf_release(&buf);
    ok(file_remove_tree(folder));
}

/* ---- killed writers ---- */

static void write_corpus(const char *path, int round)
{
    struct rng rng = rng_stream(10, (uint32_t)round, 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 400; i++) {
        char text[1024];
        random_text(text, sizeof text, &rng);
        fprintf(f, "{\"_id\": \"r%d-%d\", \"text\": \"%s\"}\n", round, i, text);
    }
    fclose(f);
}

static void run_killed(const char *corpus, const char *folder, bool append, long kill_after_us)
{
    char *argv[] = {getenv("TRAWL_PROGRAM"),
                    "index",
                    "--corpus",
                    (char *)(uintptr_t)corpus,
                    "--output",
                    (char *)(uintptr_t)folder,
                    "--quiet",
                    append ? "--append" : NULL,
                    NULL};
    pid_t child;
    int code;
    assert_int_equal(posix_spawn(&child, argv[0], NULL, NULL, argv, environ), 0);
    if (kill_after_us >= 0) {
        nanosleep(&(struct timespec){0, kill_after_us * 1000}, NULL);
        kill(child, SIGKILL);
    }
    waitpid(child, &code, 0);
    if (kill_after_us < 0)
        assert_int_equal(code, 0);
}

/* After every kill: the index opens, is whole, holds complete runs only, and takes the next writer. */
static void killed_writers_change_all_or_nothing(void **state)
{
    (void)state;
    char folder[4096], corpus[4096];
    struct rng rng = rng_stream(13, 0, 0);
    if (!getenv("TRAWL_PROGRAM")) {
        print_message("skipped: TRAWL_PROGRAM does not name the program\n");
        skip();
    }
    fresh_folder(folder, "killed");
    scratch_path(corpus, (long)getpid(), "killed.jsonl");
    write_corpus(corpus, 0);
    run_killed(corpus, folder, false, -1);
    uint64_t documents = 400;
    for (int round = 1; round <= 40; round++) {
        struct index *ix;
        write_corpus(corpus, round);
        run_killed(corpus, folder, true, round % 5 ? (long)rng_below(&rng, 60000) : -1);
        ok(index_open(&ix, folder));
        ok(index_verify(ix));
        uint64_t now = index_n_documents(ix);
        assert_true(now == documents || now == documents + 400);
        documents = now;
        index_close(ix);
    }
    struct buf names = {0};
    size_t n;
    run_killed(corpus, folder, true, -1); /* the last one sweeps up */
    ok(file_list(&names, &n, folder));
    const char *name = names.data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1)
        assert_null(strstr(name, ".tmp"));
    buf_release(&names);
    unlink(corpus);
    ok(file_remove_tree(folder));
}

int main(void)
{
    if (access("/dev/shm", W_OK) == 0) /* thousands of small files are written */
        setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_do_not_depend_on_threads),     cmocka_unit_test(damaged_files_are_refused_or_unharmed),
        cmocka_unit_test(readers_keep_what_they_opened),      cmocka_unit_test(one_writer_at_a_time),
        cmocka_unit_test(an_abandoned_writer_leaves_nothing), cmocka_unit_test(ids_come_once),
        cmocka_unit_test(documents_come_back_as_they_were),   cmocka_unit_test(killed_writers_change_all_or_nothing),
    };
    return cmocka_run_group_tests_name("folder", tests, NULL, NULL);
}
