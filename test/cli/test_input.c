/* What users feed the program by mistake, and what other systems write: said, or taken without a loss. */
#include "program.h"

static char folder[] = "/tmp/trawl-input-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) && !chdir(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder);
}

static void put(const char *name, const char *bytes, size_t n)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

#define PUT(name, text) put(name, text, sizeof(text) - 1)
#define DOCUMENTS                                                                                                      \
    "{\"_id\": \"a\", \"text\": \"a black cat\"}\n"                                                                    \
    "{\"_id\": \"b\", \"text\": \"a white dog\"}\n"                                                                    \
    "{\"_id\": \"c\", \"text\": \"a red fox\"}\n"

static void an_output_over_its_own_input_is_refused(void **state)
{
    (void)state;
    PUT("same.jsonl", DOCUMENTS);
    assert_int_equal(symlink("same.jsonl", "link.jsonl"), 0);
    assert_int_equal(program("encode --model m --input same.jsonl --output same.jsonl"), 2);
    assert_err_has("trawl encode: 'same.jsonl' is the input: it is not overwritten (name another output)");
    assert_int_equal(program("tokenize --model m --input same.jsonl --output ./link.jsonl"), 2);
    assert_int_equal(program("score --model m --output same.jsonl < same.jsonl"), 2);
    assert_int_equal(program("index --corpus same.jsonl --output same.idx"), 0);
    assert_int_equal(program("search --index same.idx --queries same.jsonl --output same.jsonl"), 2);
    struct buf left = {0};
    assert_int_equal(file_read(&left, "same.jsonl", 1 << 16), 0);
    assert_string_equal(left.data, DOCUMENTS);
    buf_release(&left);
}

static void utf_16_is_named(void **state)
{
    (void)state;
    PUT("wide.jsonl", "\xFF\xFE{\0\"\0_\0i\0d\0\"\0");
    assert_int_equal(program("index --corpus wide.jsonl --output wide.idx"), 1);
    assert_err_has("'wide.jsonl' is UTF-16 (convert it: iconv -f UTF-16 -t UTF-8)");
    PUT("big.tsv", "\xFE\xFF\0a\0\t\0b");
    assert_int_equal(program("index --corpus big.tsv --output wide.idx"), 1);
    assert_err_has("'big.tsv' is UTF-16");
}

static void byte_order_marks_and_windows_lines_change_nothing(void **state)
{
    (void)state;
    PUT("win.tsv", "\xEF\xBB\xBFq1\ta black cat\r\nq2\ta red fox\r\n");
    PUT("qrels.txt", "\xEF\xBB\xBFq1 0 q1 1\r\nq2 0 q2 1\r\n");
    assert_int_equal(program("index --corpus win.tsv --output win.idx"), 0);
    assert_int_equal(program("search --index win.idx --queries win.tsv --output win.run"), 0);
    assert_int_equal(program("eval --qrels qrels.txt --run win.run --measures P_1 --format trec"), 0);
    assert_out_has("1.0000");
    PUT("gone.txt", "\xEF\xBB\xBFq1\r\n");
    assert_int_equal(program("delete --index win.idx --input gone.txt"), 0);
    assert_err_has("1 document deleted, 0 ids not found; 1 document left");
}

static void an_id_named_twice_is_deleted_once(void **state)
{
    (void)state;
    PUT("docs.jsonl", DOCUMENTS);
    assert_int_equal(program("index --corpus docs.jsonl --output docs.idx"), 0);
    assert_int_equal(program("delete --index docs.idx a b a"), 0);
    assert_err_has("2 documents deleted");
    assert_int_equal(program("delete --index docs.idx a"), 1);
}

static void a_field_that_the_mode_leaves_aside_is_refused(void **state)
{
    (void)state;
    PUT("docs.jsonl", DOCUMENTS);
    PUT("two.jsonl", "{\"id\": \"a\", \"vector\": [1, 0]}\n"
                     "{\"id\": \"b\", \"vector\": [0, 1]}\n"
                     "{\"id\": \"c\", \"vector\": [0, 2]}\n");
    assert_int_equal(program("index --corpus docs.jsonl --output both.idx --bm25 --dense x --vectors two.jsonl "
                             "--dense y --vectors two.jsonl"),
                     0);
    assert_int_equal(program("search --index both.idx --mode bm25 --field x cat"), 2);
    assert_err_has("--mode bm25 does not search the field 'x'");
    assert_int_equal(program("search --index both.idx --mode dense cat"), 1);
    assert_err_has("has 2 dense fields: name one with --field (fields: bm25 (bm25), x (dense), y (dense))");
    assert_int_equal(program("search --index both.idx --field x --query-vectors two.jsonl --k 1"), 0);
}

static void inspect_takes_what_the_readers_repair(void **state)
{
    (void)state;
    PUT("odd.jsonl", "{\"_id\": \"a\", \"text\": \"fish \xFF\"}\n{\"_id\": \"b\", \"text\": \"\\u0000\"}\n");
    assert_int_equal(program("inspect odd.jsonl"), 0);
    assert_out_has("document 'a', line 1");
    PUT("nul.jsonl", "{\"_id\": \"b\", \"text\": \"\\u0000\"}\n");
    assert_int_equal(program("inspect nul.jsonl"), 0);
    assert_out_has("corpus");
    PUT("one.json", "{\"q1\": {\"d1\": 2.5}}\n");
    assert_int_equal(program("inspect one.json"), 0);
    assert_out_has("run");
}

static void append_refuses_what_the_index_cannot_follow(void **state)
{
    (void)state;
    PUT("docs.jsonl", DOCUMENTS);
    assert_int_equal(program("index --corpus docs.jsonl --output kept.idx --analyzer german"), 0);
    assert_int_equal(program("index --corpus docs.jsonl --output kept.idx --append --analyzer ascii"), 1);
    assert_err_has("--append keeps 'kept.idx' as it was made: --analyzer is german there");
    assert_int_equal(program("index --corpus docs.jsonl --output kept.idx --append --k1 1.2"), 1);
    assert_int_equal(program("index --corpus docs.jsonl --output kept.idx --append --analyzer german"), 0);
    assert_int_equal(program("index --corpus docs.jsonl --output kept.idx --append"), 0);
}

static void a_forgotten_value_is_said(void **state)
{
    (void)state;
    assert_int_equal(program("index --corpus --output x.idx"), 2);
    assert_err_has("--corpus needs a value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_output_over_its_own_input_is_refused),
        cmocka_unit_test(utf_16_is_named),
        cmocka_unit_test(byte_order_marks_and_windows_lines_change_nothing),
        cmocka_unit_test(an_id_named_twice_is_deleted_once),
        cmocka_unit_test(a_field_that_the_mode_leaves_aside_is_refused),
        cmocka_unit_test(inspect_takes_what_the_readers_repair),
        cmocka_unit_test(append_refuses_what_the_index_cannot_follow),
        cmocka_unit_test(a_forgotten_value_is_said),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
