/* The line scanner against jansson, on lines that are right, odd and broken. */
#include "data/jsonl.h"
#include "data/number.h"
#include "base/rng.h"
#include "scratch.h"
#include <jansson.h>
#include <math.h>

static const char *const lines[] = {
    "{\"_id\": \"a\", \"title\": \"t\", \"text\": \"x\"}",
    "{}",
    " { \"_id\" : 12 , \"text\" : \"\" } ",
    "{\"text\": \"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"}",
    "{\"_\\u0069d\": \"escaped key\", \"text\": \"y\"}",
    "{\"m\": {\"a\": [1, -2.5e+10, 0, 0.1, 1E5, true, false, null, {}, [], [[]], {\"b\": {\"c\": \"d\"}}]}, \"_id\": "
    "\"x\"}",
    "{\"text\": [1, 2], \"_id\": {\"a\": 1}, \"title\": null}",
    "{\"a\": 01}",
    "{\"a\": .5}",
    "{\"a\": 1.}",
    "{\"a\": -}",
    "{\"a\": +1}",
    "{\"a\": 1e}",
    "{\"a\": 0x1}",
    "{\"a\": NaN}",
    "{\"a\": tru}",
    "{\"a\": truex}",
    "{\"a\" 1}",
    "{\"a\":}",
    "{a: 1}",
    "{\"a\": 1,}",
    "{,}",
    "{\"a\": 1 \"b\": 2}",
    "{\"a\": [1,]}",
    "{\"a\": [1 2]}",
    "{\"a\": [}",
    "{\"a\": {]}",
    "{\"a\": \"x}",
    "{\"a\": \"\\x\"}",
    "{\"a\": \"\\u12g4\"}",
    "{\"a\": \"\\u12\"}",
    "{\"a\": \"tab\there\"}",
    "[]",
    "\"x\"",
    "1",
    "",
    "{",
    "}",
    "{\"_id\": \"a\"} x",
    "{\"_id\": \"a\"}{}",
    "{\"text\": \"a string that is longer than eight bytes, with a \\\\ and a \\\" near its end \\\\\"}",
};
#define N_LINES (sizeof lines / sizeof *lines)

static bool is_ascii(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] >= 0x80 || !line[i])
            return false;
    return true;
}

/* Limits of jansson's that are no rules of JSON. */
static bool is_limit(const char *text)
{
    return strstr(text, "too big") || strstr(text, "overflow") || strstr(text, "Unicode") || strstr(text, "depth") ||
           strstr(text, "\\u0000");
}

static void compare(const char *line, size_t n)
{
    struct jsonl_member m[3] = {{.name = "_id"}, {.name = "text"}, {.name = "title"}};
    json_error_t error;
    if (!is_ascii(line, n))
        return;
    json_t *root = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
    bool object = root && json_is_object(root), ours = jsonl_scan(m, 3, line, n, "line", 1) == TRAWL_OK;
    if (ours != object && !(ours && !root && (is_limit(error.text) || strstr(error.text, "duplicate"))))
        fail_msg("%.*s: scanner %d, jansson %d (%s)", (int)n, line, ours, object, root ? "" : error.text);
    for (int i = 0; ours && object && i < 3; i++) {
        const json_t *value = json_object_get(root, m[i].name);
        assert_int_equal(m[i].kind != JSONL_ABSENT, value != NULL);
        assert_int_equal(m[i].kind == JSONL_STRING, json_is_string(value));
        assert_int_equal(m[i].kind == JSONL_NUMBER, json_is_number(value));
        assert_int_equal(m[i].kind == JSONL_OBJECT, json_is_object(value));
        if (m[i].kind == JSONL_STRING) {
            struct buf text = {0};
            assert_int_equal(jsonl_text(&text, &m[i]), TRAWL_OK);
            assert_int_equal(text.n, json_string_length(value));
            assert_memory_equal(text.data, json_string_value(value), text.n);
            buf_release(&text);
        }
    }
    json_decref(root);
}

static void lines_are_read_as_jansson_reads_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_LINES; i++)
        for (size_t n = 0; n <= strlen(lines[i]); n++)
            compare(lines[i], n);
}

static void mutated_lines_too(void **state)
{
    static const char alphabet[] = "\"\\{}[]:,0123456789.eE+-tfnu abtrlsx\t\n_id";
    struct rng rng = rng_stream(7, 0, 0);
    (void)state;
    for (int round = 0; round < 200000; round++) {
        char line[256];
        const char *from = lines[rng_below(&rng, N_LINES)];
        size_t n = strlen(from);
        memcpy(line, from, n);
        for (uint64_t k = rng_below(&rng, 4); k-- && n;)
            line[rng_below(&rng, n)] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
        compare(line, n);
    }
}

static void every_alignment_finds_the_end_of_a_string(void **state)
{
    (void)state;
    for (size_t begin = 0; begin < 9; begin++)
        for (size_t length = 0; length < 40; length++) {
            char line[128] = {0};
            memset(line, ' ', begin);
            snprintf(line + begin, sizeof line - begin, "{\"text\": \"%.*s\"}", (int)length,
                     "\x7f\x21 abcdefghijklmnopqrstuvwxyz0123456789");
            compare(line, strlen(line));
        }
}

static void nesting_is_limited(void **state)
{
    char line[8192];
    struct jsonl_member m[1] = {{.name = "text"}};
    (void)state;
    for (size_t depth = 1000; depth <= 1030; depth += 30) {
        size_t n = (size_t)sprintf(line, "{\"a\": ");
        memset(line + n, '[', depth);
        memset(line + n + depth, ']', depth);
        n += 2 * depth;
        line[n++] = '}';
        assert_int_equal(jsonl_scan(m, 1, line, n, "line", 1), depth > 1024 ? TRAWL_FORMAT : TRAWL_OK);
    }
}

static void a_wanted_key_twice_is_refused(void **state)
{
    struct jsonl_member m[1] = {{.name = "text"}};
    const char *line = "{\"text\": \"a\", \"te\\u0078t\": \"b\"}";
    (void)state;
    assert_int_equal(jsonl_scan(m, 1, line, strlen(line), "file", 3), TRAWL_FORMAT);
    assert_message("'file' line 3, column");
    assert_message("a key comes twice");
}

/* ---- numbers ---- */

static void decimals_are_rounded_as_by_strtod(void **state)
{
    struct rng rng = rng_stream(8, 0, 0);
    (void)state;
    for (int round = 0; round < 300000; round++) {
        char text[64];
        double got, wanted;
        uint64_t bits = rng_next(&rng);
        memcpy(&wanted, &bits, 8);
        switch (round % 4) {
        case 0:
            snprintf(text, sizeof text, "%.17g", wanted);
            break;
        case 1:
            snprintf(text, sizeof text, "%.6f", (double)(int64_t)(bits >> 20) / 1e6);
            break;
        case 2:
            snprintf(text, sizeof text, "%llu.%llue%d", (unsigned long long)(bits >> 40),
                     (unsigned long long)(bits & 0xfffff), (int)(bits % 60) - 30);
            break;
        default:
            snprintf(text, sizeof text, "-0.%03llu%llu", (unsigned long long)(bits % 1000),
                     (unsigned long long)(bits >> 8));
        }
        if (strstr(text, "nan"))
            continue;
        wanted = strtod(text, NULL);
        assert_true(number_parse(&got, text, strlen(text)));
        if (memcmp(&got, &wanted, 8) != 0)
            fail_msg("%s: %.17g, wanted %.17g", text, got, wanted);
    }
}

static void what_is_no_number_is_refused(void **state)
{
    static const char *const bad[] = {"",     "+",  "-",  ".",   "e5",    "1e",      "1e+", "1x",
                                      "0x10", "1 ", " 1", "--1", "1.2.3", "infinit", "na"};
    static const char *const good[] = {"1", "+1", "-.5", "5.", "1E5", "inf", "-Infinity", "1e-400", "1e400", "00012"};
    double value;
    int64_t whole;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(number_parse(&value, bad[i], strlen(bad[i])));
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(number_parse(&value, good[i], strlen(good[i])));
        assert_true(value == strtod(good[i], NULL));
    }
    assert_true(number_parse(&value, "nan", 3) && isnan(value));
    assert_true(number_parse_int(&whole, "-9223372036854775808", 20) && whole == INT64_MIN);
    assert_false(number_parse_int(&whole, "9223372036854775808", 19));
    assert_false(number_parse_int(&whole, "1.0", 3));
    assert_false(number_parse_int(&whole, "+", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_as_jansson_reads_them),
        cmocka_unit_test(mutated_lines_too),
        cmocka_unit_test(every_alignment_finds_the_end_of_a_string),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(a_wanted_key_twice_is_refused),
        cmocka_unit_test(decimals_are_rounded_as_by_strtod),
        cmocka_unit_test(what_is_no_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
