/* The encode stage: any input to a file of vectors, interrupted and continued, on a small random model. */
#include "../encode/fixture.h"
#include "data/vectors.h"
#include "encode/encode.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <trawl.h>

enum { WIDTH = 32, TEXTS = 300 };

/* A folder for everything a test makes, with a model in it. */
static struct {
    char folder[4096], model[4096], corpus[4200], output[4200], part[4300];
} at;

static char warnings[4096];

static void keep_warning(void *ctx, const char *message)
{
    (void)ctx;
    size_t n = strlen(warnings);
    snprintf(warnings + n, sizeof warnings - n, "%s\n", message);
}

static int set_up(void **state)
{
    (void)state;
    fixture_model(at.model, "bert", "encode-model");
    scratch_path(at.folder, (long)getpid(), "encode");
    assert_int_equal(file_remove_tree(at.folder), TRAWL_OK);
    assert_int_equal(file_make_folder(at.folder), TRAWL_OK);
    snprintf(at.corpus, sizeof at.corpus, "%s/corpus.jsonl", at.folder);
    snprintf(at.output, sizeof at.output, "%s/out.vecs", at.folder);
    snprintf(at.part, sizeof at.part, "%s.part", at.output);
    trawl_set_log(keep_warning, NULL);
    warnings[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    trawl_set_log(NULL, NULL);
    fixture_remove(at.model);
    fixture_remove(at.folder);
    return 0;
}

/* n documents of pseudo-random words; `changed` has other words. */
static void write_corpus(size_t n, size_t words, size_t changed)
{
    FILE *f = fopen(at.corpus, "w");
    struct buf text = {0};
    assert_non_null(f);
    for (size_t i = 0; i < n; i++) {
        fixture_words(&text, NULL, 1 + (i * 7) % words, (uint32_t)(i == changed ? 99999 : i));
        fprintf(f, "{\"_id\": \"doc%zu\", \"title\": \"aa\", \"text\": \"%s\"}\n", i, text.data);
    }
    assert_int_equal(fclose(f), 0);
    buf_release(&text);
}

static struct trawl_encode_options options_for(const char *output)
{
    struct trawl_encode_options o;
    trawl_options_init(&o, trawl_stage_find("encode"));
    o.model = at.model;
    o.input = at.corpus;
    o.output = output;
    o.precision = "f32";
    return o;
}

static struct trawl_encode_report encode(const struct trawl_encode_options *o)
{
    struct trawl_encode_report report;
    if (trawl_encode(o, &report))
        fail_msg("%s", trawl_message());
    return report;
}

static void read_whole(struct buf *out, const char *path)
{
    *out = (struct buf){0};
    if (file_read(out, path, (size_t)1 << 30))
        fail_msg("%s", trawl_message());
}

static void write_whole(const char *path, const char *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void assert_same_file(const char *path, const struct buf *wanted)
{
    struct buf got;
    read_whole(&got, path);
    assert_int_equal(got.n, wanted->n);
    assert_memory_equal(got.data, wanted->data, got.n);
    buf_release(&got);
}

/* ---- inputs and outputs ---- */

static void rows_follow_the_corpus_in_every_format(void **state)
{
    (void)state;
    static const char *const names[] = {"out.npy", "out.jsonl", "out.vecs"};
    struct encoder_options encoder_options = {.precision = "f32"};
    struct encoder *e;
    float wanted[WIDTH];
    struct buf text = {0};
    write_corpus(100, 30, SIZE_MAX);
    assert_int_equal(encoder_open(&e, at.model, &encoder_options), TRAWL_OK);
    for (size_t i = 0; i < 3; i++) {
        char path[4300];
        struct vectors v;
        snprintf(path, sizeof path, "%s/%s", at.folder, names[i]);
        struct trawl_encode_options o = options_for(path);
        struct trawl_encode_report r = encode(&o);
        assert_int_equal(r.texts, 100);
        assert_int_equal(r.dims, WIDTH);
        assert_int_equal(vectors_open(&v, path), TRAWL_OK);
        assert_int_equal(v.N, 100);
        assert_int_equal(v.D, WIDTH);
        for (size_t d = 0; d < 100; d += 13) {
            char id[32];
            struct buf joined = {0};
            fixture_words(&text, NULL, 1 + (d * 7) % 30, (uint32_t)d);
            assert_int_equal(buf_printf(&joined, "aa %s", text.data), TRAWL_OK);
            struct text_view view = {joined.data, joined.n};
            assert_int_equal(encoder_encode(e, wanted, &view, 1, ENCODER_DOCUMENT), TRAWL_OK);
            assert_memory_equal(v.rows + d * WIDTH, wanted, sizeof wanted);
            snprintf(id, sizeof id, "doc%zu", d);
            if (v.ids)
                assert_string_equal(v.ids + v.id_begin[d], id);
            buf_release(&joined);
        }
        assert_int_equal(v.has_contract, i == 2);
        if (v.has_contract) {
            assert_int_equal(contract_check(&v.document, encoder_contract(e, ENCODER_DOCUMENT), "test"), TRAWL_OK);
            assert_int_equal(contract_check(&v.query, encoder_contract(e, ENCODER_QUERY), "test"), TRAWL_OK);
        }
        vectors_close(&v);
        assert_false(file_exists(at.part));
    }
    encoder_close(e);
    buf_release(&text);
}

static void texts_need_no_ids(void **state)
{
    (void)state;
    static const char *const inputs[][2] = {{"bare.jsonl", "{\"text\": \"aa bb\"}\n{\"text\": \"cc\"}\n"},
                                            {"lines.txt", "aa bb\ncc\n"},
                                            {"table.tsv", "x\taa bb\ny\tcc\n"}};
    struct buf first = {0};
    char input[4300], output[4300];
    snprintf(output, sizeof output, "%s/out.npy", at.folder);
    for (size_t i = 0; i < 3; i++) {
        snprintf(input, sizeof input, "%s/%s", at.folder, inputs[i][0]);
        write_whole(input, inputs[i][1], strlen(inputs[i][1]));
        struct trawl_encode_options o = options_for(output);
        o.input = input;
        assert_int_equal(encode(&o).texts, 2);
        if (i)
            assert_same_file(output, &first);
        else
            read_whole(&first, output);
    }
    buf_release(&first);
}

static void what_was_met_is_counted(void **state)
{
    (void)state;
    static const char corpus[] = "{\"_id\": \"a\", \"text\": \"aa\"}\n"
                                 "{\"_id\": \"b\", \"text\": \"\"}\n"
                                 "{\"_id\": \"c\", \"text\": \"bb \xff\"}\n"
                                 "{\"_id\": \"d\", \"text\": \"aa bb cc dd ee ff gg hh ii jj\"}\n";
    write_whole(at.corpus, corpus, sizeof corpus - 1);
    struct trawl_encode_options o = options_for(at.output);
    o.max_length = 8;
    struct trawl_encode_report r = encode(&o);
    assert_int_equal(r.texts, 4);
    assert_int_equal(r.cut, 1);
    assert_int_equal(r.empty, 1);
    assert_int_equal(r.invalid_utf8, 1);
    assert_string_equal(r.first_invalid_id, "c");
    assert_int_equal(r.first_invalid_line, 3);
    assert_int_equal(r.tokens, 3 + 3 + 8); /* BERT's normaliser drops U+FFFD */
    assert_int_equal(r.max_length, 8);
}

static void assert_refused(const struct trawl_encode_options *o, enum trawl_status wanted, const char *says)
{
    struct trawl_encode_report report;
    enum trawl_status status = trawl_encode(o, &report);
    if (status != wanted || !strstr(trawl_message(), says))
        fail_msg("status %d, message '%s', expected %d and '%s'", (int)status, trawl_message(), (int)wanted, says);
}

static void bad_input_is_refused_by_place(void **state)
{
    (void)state;
    static const char corpus[] =
        "{\"_id\": \"a\", \"text\": \"aa\"}\n{\"_id\": \"b\", \"text\": \"bb bb bb bb \xff\"}\n";
    struct trawl_encode_options o = options_for(at.output);
    assert_refused(&o, TRAWL_IO, "corpus.jsonl");
    write_whole(at.corpus, corpus, sizeof corpus - 1);
    o.strict = true;
    assert_refused(&o, TRAWL_FORMAT, "line 2");
    o = options_for(at.output);
    o.max_length = 5;
    o.too_long = "refuse";
    assert_refused(&o, TRAWL_LIMIT, "text 'b': 6 tokens, the contract allows 5");
    o = options_for(at.output);
    o.model = "no-such-model";
    assert_refused(&o, TRAWL_NOT_FOUND, "no-such-model");
    o = options_for(at.output);
    o.append_eos = o.no_append_eos = true;
    assert_refused(&o, TRAWL_USAGE, "append-eos");
    o = options_for(at.output);
    o.dims = 100;
    assert_refused(&o, TRAWL_LIMIT, "100 dimensions");
    o = options_for("/nonexistent/folder/out.npy");
    assert_refused(&o, TRAWL_IO, "/nonexistent/folder");
    write_whole(at.corpus, "", 0);
    o = options_for(at.output);
    assert_refused(&o, TRAWL_FORMAT, "corpus.jsonl");
    write_whole(at.corpus, "{\"_id\": \"a\", \"text\": \"aa\"}\n{\"_id\": \"a\", \"text\": \"aa\"}\n", 54);
    o = options_for(at.output);
    assert_refused(&o, TRAWL_FORMAT, "line 2");
    assert_false(file_exists(at.output));
}

/* ---- interruption ---- */

/* A complete checkpoint: a second name keeps the file when the run, being done, removes it. */
static void make_part(struct buf *part)
{
    struct trawl_encode_options o = options_for(at.output);
    char kept[4400];
    snprintf(kept, sizeof kept, "%s.kept", at.part);
    write_whole(at.part, "", 0);
    assert_int_equal(link(at.part, kept), 0);
    encode(&o);
    assert_int_equal(rename(kept, at.part), 0);
    unlink(at.output);
    read_whole(part, at.part);
    assert_true(part->n > TEXTS * WIDTH * sizeof(float));
}

static void make_reference(struct buf *reference)
{
    struct trawl_encode_options o = options_for(at.output);
    encode(&o);
    read_whole(reference, at.output);
    unlink(at.output);
}

static void a_checkpoint_cut_anywhere_ends_in_the_same_file(void **state)
{
    (void)state;
    struct buf part, reference;
    uint64_t resumed = 0;
    write_corpus(TEXTS, 30, SIZE_MAX);
    make_reference(&reference);
    make_part(&part);
    for (size_t n = 0; n <= part.n; n += n < 200 ? 41 : part.n / 37) {
        write_whole(at.part, part.data, n);
        struct trawl_encode_options o = options_for(at.output);
        struct trawl_encode_report r = encode(&o);
        assert_int_equal(r.texts, TEXTS);
        assert_true(r.resumed >= resumed);
        resumed = r.resumed;
        assert_same_file(at.output, &reference);
        assert_false(file_exists(at.part));
    }
    assert_true(resumed > 0);
    buf_release(&part);
    buf_release(&reference);
}

static void a_damaged_checkpoint_ends_in_the_same_file(void **state)
{
    (void)state;
    struct buf part, reference;
    write_corpus(TEXTS, 30, SIZE_MAX);
    make_reference(&reference);
    make_part(&part);
    for (size_t i = 0; i < part.n; i += i < 400 ? 23 : part.n / 29) {
        part.data[i] ^= 0x20;
        write_whole(at.part, part.data, part.n);
        part.data[i] ^= 0x20;
        struct trawl_encode_options o = options_for(at.output);
        assert_int_equal(encode(&o).texts, TEXTS);
        assert_same_file(at.output, &reference);
    }
    buf_release(&part);
    buf_release(&reference);
}

static void another_contract_starts_afresh_with_a_notice(void **state)
{
    (void)state;
    struct buf part;
    write_corpus(TEXTS, 30, SIZE_MAX);
    make_part(&part);
    struct trawl_encode_options o = options_for(at.output);
    o.pooling = "last";
    struct trawl_encode_report r = encode(&o);
    assert_int_equal(r.resumed, 0);
    assert_non_null(strstr(warnings, "starts afresh"));
    buf_release(&part);
}

static void other_texts_are_encoded_from_where_they_differ(void **state)
{
    (void)state;
    struct buf part, reference;
    write_corpus(TEXTS, 30, TEXTS - 1);
    make_reference(&reference);
    write_corpus(TEXTS, 30, SIZE_MAX);
    make_part(&part);
    write_corpus(TEXTS, 30, TEXTS - 1);
    struct trawl_encode_options o = options_for(at.output);
    struct trawl_encode_report r = encode(&o);
    assert_true(r.resumed > 0 && r.resumed < TEXTS);
    assert_non_null(strstr(warnings, "does not fit"));
    assert_same_file(at.output, &reference);
    buf_release(&part);
    buf_release(&reference);
}

static void restart_takes_nothing_over(void **state)
{
    (void)state;
    struct buf part;
    write_corpus(TEXTS, 30, SIZE_MAX);
    make_part(&part);
    struct trawl_encode_options o = options_for(at.output);
    o.restart = true;
    assert_int_equal(encode(&o).resumed, 0);
    buf_release(&part);
}

static void pause_ms(long ms)
{
    struct timespec t = {0, ms * 1000000};
    nanosleep(&t, NULL);
}

/* Runs the program until its checkpoint has grown to `bytes`, and kills it there; false when it ended before. */
static bool kill_at(size_t bytes)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        execl(getenv("TRAWL_PROGRAM"), "trawl", "encode", "--quiet", "--model", at.model, "--input", at.corpus,
              "--output", at.output, "--precision", "f32", (char *)NULL);
        _exit(127);
    }
    for (;;) {
        struct stat st;
        int code;
        if (waitpid(pid, &code, WNOHANG) == pid) {
            assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 0);
            return false;
        }
        if (!stat(at.part, &st) && (size_t)st.st_size >= bytes)
            break;
        pause_ms(1);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return true;
}

static void a_killed_run_is_continued_to_the_same_file(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct buf reference;
    size_t kills = 0;
    write_corpus(MANY, 40, SIZE_MAX);
    make_reference(&reference);
    for (size_t bytes = 1; kills < 6; bytes += MANY * WIDTH * sizeof(float) / 6) {
        if (!kill_at(bytes))
            break;
        assert_false(file_exists(at.output));
        kills++;
    }
    assert_true(kills > 0);
    struct trawl_encode_options o = options_for(at.output);
    if (!file_exists(at.output))
        assert_int_equal(encode(&o).texts, MANY);
    assert_same_file(at.output, &reference);
    buf_release(&reference);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(rows_follow_the_corpus_in_every_format),
        TEST(texts_need_no_ids),
        TEST(what_was_met_is_counted),
        TEST(bad_input_is_refused_by_place),
        TEST(a_checkpoint_cut_anywhere_ends_in_the_same_file),
        TEST(a_damaged_checkpoint_ends_in_the_same_file),
        TEST(another_contract_starts_afresh_with_a_notice),
        TEST(other_texts_are_encoded_from_where_they_differ),
        TEST(restart_takes_nothing_over),
        TEST(a_killed_run_is_continued_to_the_same_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
