#include "scratch.h"
#include "base/json.h"

static json_t *parse(const char *text)
{
    json_t *value;
    assert_ok(json_parse(&value, text, strlen(text), "'t' line 3"));
    return value;
}

static void malformed_text_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",    "{",       "{\"a\":1,}", "{\"a\" 1}",     "[1 2]",    "{\"a\":1}x", "\"\xFF\"", "{\"a\":1,\"a\":2}",
        "nul", "\"\\q\"", "[1e999]",    "\"\\ud800 x\"", "\"a\nb\"", "[NaN]",      "'a'",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *value = NULL;
        if (json_parse(&value, bad[i], strlen(bad[i]), "'t' line 3") != TRAWL_FORMAT)
            fail_msg("accepted: %s", bad[i]);
        assert_null(value);
        assert_message("'t' line 3: malformed JSON at byte");
    }
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 1000000 };
    json_t *value;
    char *text = malloc(DEPTH);
    memset(text, '[', DEPTH);
    assert_int_equal(json_parse(&value, text, DEPTH, "'deep'"), TRAWL_FORMAT);
    free(text);
}

static void members_are_checked_for_their_type(void **state)
{
    (void)state;
    json_t *o = parse("{\"t\":\"a\\u0000b\",\"n\":1.5,\"c\":7,\"b\":true,\"z\":null,\"neg\":-1}");
    const char *text;
    size_t n, count;
    double number;
    bool flag;
    assert_ok(json_get_text(&text, &n, o, "t", "w"));
    assert_int_equal(n, 3);
    assert_memory_equal(text, "a\0b", 3);
    assert_ok(json_get_text(&text, &n, o, "z", "w"));
    assert_null(text);
    assert_ok(json_get_text(&text, NULL, o, "absent", "w"));
    assert_null(text);
    assert_int_equal(json_get_text(&text, &n, o, "c", "'f' line 9"), TRAWL_FORMAT);
    assert_message("'f' line 9: 'c' is an integer, expected a string");
    assert_ok(json_get_number(&number, o, "n", 0, "w"));
    assert_true(number == 1.5);
    assert_ok(json_get_number(&number, o, "c", 0, "w"));
    assert_true(number == 7);
    assert_ok(json_get_count(&count, o, "absent", 12, "w"));
    assert_int_equal(count, 12);
    assert_int_equal(json_get_count(&count, o, "neg", 0, "w"), TRAWL_FORMAT);
    assert_int_equal(json_get_count(&count, o, "n", 0, "w"), TRAWL_FORMAT);
    assert_ok(json_get_bool(&flag, o, "b", false, "w"));
    assert_true(flag);
    assert_int_equal(json_get_bool(&flag, o, "c", false, "w"), TRAWL_FORMAT);
    json_decref(o);
}

/* tokenizer_config.json files hold such a number. */
static void integers_beyond_64_bits_become_real_numbers(void **state)
{
    (void)state;
    json_t *o =
        parse("{\"model_max_length\": 1000000000000000019884624838656, \"id\": 123456789012345678,"
              "\"text\": \"9999999999999999999999 \\\" 9999999999999999999999\", \"x\": 0.1234567890123456789012,"
              "\"y\": -99999999999999999999}");
    assert_true(json_number_value(json_object_get(o, "model_max_length")) == 1000000000000000019884624838656.0);
    assert_int_equal(json_integer_value(json_object_get(o, "id")), 123456789012345678);
    assert_string_equal(json_string_value(json_object_get(o, "text")),
                        "9999999999999999999999 \" 9999999999999999999999");
    assert_true(json_number_value(json_object_get(o, "x")) == 0.1234567890123456789012);
    assert_true(json_number_value(json_object_get(o, "y")) == -99999999999999999999.0);
    json_decref(o);
}

static void a_quoted_text_is_parsed_back(void **state)
{
    (void)state;
    char all[256];
    struct buf out = {0};
    for (int i = 0; i < 128; i++)
        all[i] = (char)i;
    assert_ok(json_quote(&out, all, 128));
    json_t *value;
    assert_ok(json_parse(&value, out.data, out.n, "w"));
    assert_int_equal(json_string_length(value), 128);
    assert_memory_equal(json_string_value(value), all, 128);
    json_decref(value);
    buf_reset(&out);
    assert_ok(json_quote(&out, "\xC3\xA9\xFF\"", 4));
    assert_string_equal(out.data, "\"\xC3\xA9\xEF\xBF\xBD\\\"\"");
    buf_reset(&out);
    assert_ok(json_quote(&out, "", 0));
    assert_string_equal(out.data, "\"\"");
    buf_release(&out);
}

static void a_file_may_begin_with_a_byte_order_mark(void **state)
{
    (void)state;
    json_t *value;
    scratch_write(scratch_path("bom.json"), "\xEF\xBB\xBF[1]", 6);
    assert_ok(json_read(&value, scratch_path("bom.json"), 100));
    assert_int_equal(json_array_size(value), 1);
    json_decref(value);
    assert_int_equal(json_read(&value, scratch_path("bom.json"), 5), TRAWL_LIMIT);
    assert_int_equal(json_read(&value, scratch_path("absent.json"), 5), TRAWL_IO);
    assert_message("absent.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_text_is_refused_with_its_place),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(members_are_checked_for_their_type),
        cmocka_unit_test(integers_beyond_64_bits_become_real_numbers),
        cmocka_unit_test(a_quoted_text_is_parsed_back),
        cmocka_unit_test(a_file_may_begin_with_a_byte_order_mark),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
