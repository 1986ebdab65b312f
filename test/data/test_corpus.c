/* Corpora: each format's records, the counts, and what is refused with which place. */
#include "data/corpus_int.h"
#include "data/data.h"
#include "scratch.h"
#include <sys/stat.h>
#include <zlib.h>

/* All documents of a corpus as "id|title|text;" in one string; the status of the failing call. */
static enum trawl_status read_all(struct buf *out, const char *path, const struct corpus_options *options,
                                  struct corpus_counts *counts)
{
    struct corpus *c;
    struct document doc;
    enum trawl_status status = corpus_open(&c, path, options);
    buf_reset(out);
    if (status != TRAWL_OK)
        return status;
    while ((status = corpus_next(c, &doc)) == TRAWL_OK && doc.id)
        assert_int_equal(buf_printf(out, "%s|%s|%s;", doc.id, doc.title, doc.text), TRAWL_OK);
    if (counts)
        *counts = *corpus_counts(c);
    corpus_close(c);
    return status;
}

static void expect(const char *name, const char *content, const char *wanted)
{
    struct buf out = {0};
    const char *path = scratch_text(name, content);
    if (read_all(&out, path, NULL, NULL) != TRAWL_OK)
        fail_msg("%s", trawl_message());
    assert_string_equal(out.data, wanted);
    unlink(path);
    buf_release(&out);
}

static void refuse(const char *content, const char *words)
{
    struct buf out = {0};
    const char *path = scratch_text("bad", content);
    assert_int_equal(read_all(&out, path, NULL, NULL), TRAWL_FORMAT);
    assert_message(words);
    assert_message(path);
    unlink(path);
    buf_release(&out);
}

static void beir_lines_are_read(void **state)
{
    (void)state;
    expect("c.jsonl",
           "{\"_id\": \"a\", \"title\": \"T\", \"text\": \"x y\", \"metadata\": {\"k\": [1, {\"z\": null}]}}\n\n"
           "{\"text\": \"q\\u00e9\\n\\ud83d\\ude00\\\"\", \"_id\": \"b\"}\r\n",
           "a|T|x y;b||q\xc3\xa9\n\xf0\x9f\x98\x80\";");
}

static void anserini_lines_are_read(void **state)
{
    (void)state;
    expect("c.jsonl", "{\"id\": \"1\", \"contents\": \"x\", \"title\": null}\n{\"id\": 22, \"contents\": \"\"}",
           "1||x;22||;");
}

static void tsv_of_two_three_and_four_columns_is_read(void **state)
{
    (void)state;
    expect("c.tsv", "1\tone two\n2\tthree\n", "1||one two;2||three;");
    expect("c.tsv", "id\ttitle\ttext\n1\tT\ttext\n", "1|T|text;");
    expect("c.tsv", "D1\thttp://x\tT\tbody\n", "D1|T|body;");
}

static void trec_markup_is_read(void **state)
{
    (void)state;
    expect("c.trec",
           "<DOC>\n<DOCNO> FT-1 </DOCNO>\n<HEADLINE>A &amp; B</HEADLINE>\n<DATE>9</DATE>\n<TEXT>\n<P>one</P>two "
           "&#233; 3 < 4\n</TEXT>\n</DOC><DOC><docno>2</docno><title>t</title>rest of it</DOC>\n",
           "FT-1|A & B|one two \xc3\xa9 3 < 4;2|t|rest of it;");
}

static void make_file(const char *folder, const char *name, const char *text)
{
    char path[16384];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void folder_gives_relative_paths_and_titles(void **state)
{
    char root[4096], sub[8192];
    struct buf out = {0};
    (void)state;
    scratch_path(root, (long)getpid(), "folder");
    snprintf(sub, sizeof sub, "%s/sub", root);
    assert_int_equal(file_make_folder(sub), TRAWL_OK);
    make_file(root, "b.md", "intro\n## The title ##\nbody\n");
    make_file(root, "a.txt", "line 1\nline 2\n");
    make_file(root, ".hidden.txt", "no");
    make_file(root, "x.bin", "no");
    make_file(sub, "c.md", "no heading\nrest");
    assert_int_equal(read_all(&out, root, NULL, NULL), TRAWL_OK);
    assert_string_equal(out.data, "a.txt||line 1\nline 2;b.md|The title|intro\nbody;sub/c.md|no heading|rest;");
    assert_int_equal(file_remove_tree(root), TRAWL_OK);
    buf_release(&out);
}

static void gzip_is_seen_through(void **state)
{
    char path[4096];
    struct buf out = {0};
    (void)state;
    gzFile f = gzopen(scratch_path(path, (long)getpid(), "c.jsonl.gz"), "wb");
    gzputs(f, "{\"id\": \"1\", \"text\": \"x\"}\n");
    gzclose(f);
    assert_int_equal(read_all(&out, path, NULL, NULL), TRAWL_OK);
    assert_string_equal(out.data, "1||x;");
    unlink(path);
    buf_release(&out);
}

static void bad_records_are_refused_with_their_line(void **state)
{
    (void)state;
    refuse("{\"_id\": \"a\", \"text\": \"\"}\n{\"text\": \"x\"}\n", "line 2: no id");
    refuse("{\"_id\": \"a\", \"text\": \"\"}\n{\"_id\": \"a\", \"text\": \"\"}\n", "line 2: the id 'a' comes twice");
    refuse("{\"_id\": \"a\", \"text\": 3}\n", "line 1: member 'text' must be a string, not a number");
    refuse("{\"_id\": \"a\", \"text\": null}\n", "must be a string, not null");
    refuse("{\"_id\": [], \"text\": \"\"}\n", "member '_id' must be a string, not an array");
    refuse("{\"_id\": \"\", \"text\": \"\"}\n", "no id");
    refuse("{\"_id\": \"a\"}\n", "no text");
    refuse("{\"_id\": \"a\", \"text\": \"x}\n", "line 1, column");
    refuse("{\"_id\": \"a\", \"text\": \"x\"} x\n", "more text after the object");
    refuse("a\tb\nc\n", "line 2: 1 columns");
    refuse("a\tb\nc\td\te\n", "line 2: 3 columns");
    refuse("<DOC>\n<TEXT>x</TEXT>\n</DOC>\n", "line 1: the document has no <DOCNO>");
    refuse("<DOC>\n<DOCNO>x</DOCNO>\n", "line 1: the document has no </DOC>");
}

static void an_empty_corpus_is_refused(void **state)
{
    (void)state;
    refuse("", "the corpus is empty");
    refuse("\n\n", "the corpus is empty");
    refuse("id\ttext\n", "the corpus is empty");
}

static void malformed_utf8_is_replaced_and_counted(void **state)
{
    struct buf out = {0};
    struct corpus_counts counts;
    const char *path = scratch_text("c.tsv", "1\tgood\n2\tb\xff"
                                             "ad \xe2\x82\n3\t\xc0\n");
    (void)state;
    assert_int_equal(read_all(&out, path, NULL, &counts), TRAWL_OK);
    assert_string_equal(out.data, "1||good;2||b\xef\xbf\xbd"
                                  "ad \xef\xbf\xbd;3||\xef\xbf\xbd;");
    assert_int_equal(counts.invalid_utf8, 2);
    assert_int_equal(counts.first_invalid_line, 2);
    assert_string_equal(counts.first_invalid_id, "2");
    assert_int_equal(read_all(&out, path, &(struct corpus_options){.strict = true}, NULL), TRAWL_FORMAT);
    assert_message("line 2: invalid UTF-8 in the text, byte 2");
    unlink(path);
    buf_release(&out);
}

static void lone_surrogate_escapes_count_as_malformed(void **state)
{
    struct buf out = {0};
    struct corpus_counts counts;
    const char *path = scratch_text("c.jsonl", "{\"id\": \"1\", \"text\": \"a\\ud800b\"}");
    (void)state;
    assert_int_equal(read_all(&out, path, NULL, &counts), TRAWL_OK);
    assert_int_equal(counts.invalid_utf8, 1);
    assert_non_null(strstr(out.data, "\xef\xbf\xbd"));
    unlink(path);
    buf_release(&out);
}

static void empty_documents_are_kept_and_counted(void **state)
{
    struct buf out = {0};
    struct corpus_counts counts;
    const char *path = scratch_text("c.tsv", "1\t\n2\tx\n");
    (void)state;
    assert_int_equal(read_all(&out, path, NULL, &counts), TRAWL_OK);
    assert_int_equal(counts.documents, 2);
    assert_int_equal(counts.empty, 1);
    unlink(path);
    buf_release(&out);
}

static void a_million_ids_are_told_apart(void **state)
{
    struct id_set set = {0};
    char id[32];
    bool is_new;
    (void)state;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1000000; i++) {
            int n = snprintf(id, sizeof id, "%d", i);
            assert_int_equal(id_set_put(&set, id, (size_t)n, &is_new), TRAWL_OK);
            assert_int_equal(is_new, round == 0);
        }
    id_set_release(&set);
}

static void title_and_text_are_joined_as_asked(void **state)
{
    struct document doc = {.id = "1", .title = "T", .text = "x", .id_bytes = 1, .title_bytes = 1, .text_bytes = 1};
    struct document bare = {.id = "1", .title = "", .text = "x", .id_bytes = 1, .text_bytes = 1};
    struct buf out = {0};
    (void)state;
    assert_int_equal(document_join(&out, &doc, "space"), TRAWL_OK);
    assert_string_equal(out.data, "T x");
    buf_reset(&out);
    assert_int_equal(document_join(&out, &doc, "newline"), TRAWL_OK);
    assert_string_equal(out.data, "T\nx");
    buf_reset(&out);
    assert_int_equal(document_join(&out, &doc, "text"), TRAWL_OK);
    assert_string_equal(out.data, "x");
    buf_reset(&out);
    assert_int_equal(document_join(&out, &bare, "space"), TRAWL_OK);
    assert_string_equal(out.data, "x");
    assert_int_equal(document_join(&out, &doc, "glue"), TRAWL_USAGE);
    buf_release(&out);
}

/* Cut anywhere, or with any byte changed, a reader says what is wrong or reads on: it never crashes. */
static void damaged_bytes_never_crash(void **state)
{
    static const char *const samples[] = {"{\"_id\": \"a\", \"title\": \"\\u00e9\", \"text\": \"x \\ud83d\\ude00\", "
                                          "\"m\": [1.5e3, true, {}]}\n{\"_id\": 7, "
                                          "\"text\": \"\"}\n",
                                          "1\tone\n2\ttwo\n",
                                          "<DOC><DOCNO>1</DOCNO><!-- c --><TEXT>a &amp; b</TEXT></DOC>\n"};
    struct buf out = {0};
    (void)state;
    for (size_t s = 0; s < sizeof samples / sizeof *samples; s++) {
        size_t n = strlen(samples[s]);
        for (size_t i = 0; i <= n; i++) {
            read_all(&out, scratch_write("cut", samples[s], i), NULL, NULL);
            for (int flip = 0; i < n && flip < 3; flip++) {
                char changed[512];
                memcpy(changed, samples[s], n);
                changed[i] = (char)(changed[i] ^ (flip == 0 ? 0xff : flip == 1 ? 0x20 : 1));
                read_all(&out, scratch_write("cut", changed, n), NULL, NULL);
            }
        }
    }
    unlink(scratch_name);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beir_lines_are_read),
        cmocka_unit_test(anserini_lines_are_read),
        cmocka_unit_test(tsv_of_two_three_and_four_columns_is_read),
        cmocka_unit_test(trec_markup_is_read),
        cmocka_unit_test(folder_gives_relative_paths_and_titles),
        cmocka_unit_test(gzip_is_seen_through),
        cmocka_unit_test(bad_records_are_refused_with_their_line),
        cmocka_unit_test(an_empty_corpus_is_refused),
        cmocka_unit_test(malformed_utf8_is_replaced_and_counted),
        cmocka_unit_test(lone_surrogate_escapes_count_as_malformed),
        cmocka_unit_test(empty_documents_are_kept_and_counted),
        cmocka_unit_test(a_million_ids_are_told_apart),
        cmocka_unit_test(title_and_text_are_joined_as_asked),
        cmocka_unit_test(damaged_bytes_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
