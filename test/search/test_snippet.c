/* Snippets: what is shown and what is marked. */
#include "search/snippet.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *snippet(struct buf *out, const char *query, const char *text, size_t width)
{
    struct snippets *s;
    struct snippet_style style = {.before = "**", .after = "**", .width = width};
    buf_reset(out);
    assert_int_equal(snippets_new(&s, NULL, SIZE_MAX), TRAWL_OK);
    assert_int_equal(snippets_query(s, query, strlen(query)), TRAWL_OK);
    assert_int_equal(snippet_append(out, s, text, strlen(text), &style), TRAWL_OK);
    snippets_free(s);
    return out->data;
}

static void words_match_by_their_stem(void **unused)
{
    (void)unused;
    struct buf out = {0};
    assert_string_equal(snippet(&out, "retrieving documents", "The Document retrieved was long.", 200),
                        "The **Document** **retrieved** was long.");
    buf_release(&out);
}

static void window_with_most_terms_is_shown(void **unused)
{
    (void)unused;
    struct buf out = {0};
    const char *text = "A statin here. Nothing at all is said about it for a good while in this text that goes on. "
                       "Later a statin raises glucose in blood. Then it ends with words that do not matter to anyone.";
    const char *shown = snippet(&out, "statin raises blood glucose", text, 50);
    assert_non_null(strstr(shown, "**statin** **raises** **glucose** in **blood**"));
    assert_ptr_equal(strstr(shown, "... "), shown);
    assert_string_equal(shown + strlen(shown) - 4, " ...");
    assert_true(strlen(shown) <= 50 + 4 * 4 + 2 * 4);
    buf_release(&out);
}

static void text_without_matches_is_shown_from_its_begin(void **unused)
{
    (void)unused;
    struct buf out = {0};
    assert_string_equal(snippet(&out, "zebra", "one two three four five six", 14), "one two three ...");
    assert_string_equal(snippet(&out, "", "one two", 200), "one two");
    buf_release(&out);
}

static void words_are_not_cut(void **unused)
{
    (void)unused;
    struct buf out = {0};
    const char *text = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho";
    for (size_t width = 12; width < strlen(text); width++) {
        const char *shown = snippet(&out, "theta", text, width);
        const char *begin = !strncmp(shown, "... ", 4) ? shown + 4 : shown;
        assert_non_null(strstr(shown, "**theta**"));
        char word[32] = " ";
        sscanf(begin, "%30s", word);
        if (word[0] != '*')
            assert_non_null(strstr(text, word));
        size_t n = strcspn(begin, " ");
        if (begin[0] != '*') { /* the first word shown begins where a word of the text begins */
            char spaced[40] = " ";
            strncat(spaced, begin, n);
            assert_true(strstr(text, spaced) != NULL || !strncmp(text, spaced + 1, n));
        }
    }
    buf_release(&out);
}

static void any_width_leaves_valid_text(void **unused)
{
    (void)unused;
    struct buf out = {0};
    const char *text =
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe6\x96\x87\xe7\xab\xa0\xe3\x81\xa7\xe3\x81\x99"
        " caf\xc3\xa9 na\xc3\xafve \xf0\x9f\x98\x80 statin \xe6\x97\xa5\xe6\x9c\xac";
    for (size_t width = 1; width < 40; width++) {
        snippet(&out, "statin", text, width);
        for (size_t i = 0; i < out.n; i++) { /* no continuation byte without its lead, no lead cut off */
            unsigned char c = (unsigned char)out.data[i];
            size_t more = c < 0x80 ? 0 : c < 0xc0 ? 9 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
            assert_true(i + more < out.n + (more == 0));
            for (; more; more--)
                assert_int_equal((unsigned char)out.data[++i] & 0xc0, 0x80);
        }
    }
    buf_release(&out);
}

static void lines_and_escapes_of_the_text_do_not_reach_the_terminal(void **unused)
{
    (void)unused;
    struct buf out = {0};
    assert_string_equal(snippet(&out, "two", " one\n\n\ttwo \033[2J\x07 three\r\n", 200), "one **two** [2J three");
    buf_release(&out);
}

static void empty_text_gives_nothing(void **unused)
{
    (void)unused;
    struct buf out = {0};
    assert_int_equal(buf_text(&out, "x"), TRAWL_OK);
    snippet(&out, "statin", "  \n ", 200);
    assert_int_equal(out.n, 0);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_match_by_their_stem),
        cmocka_unit_test(window_with_most_terms_is_shown),
        cmocka_unit_test(text_without_matches_is_shown_from_its_begin),
        cmocka_unit_test(words_are_not_cut),
        cmocka_unit_test(any_width_leaves_valid_text),
        cmocka_unit_test(lines_and_escapes_of_the_text_do_not_reach_the_terminal),
        cmocka_unit_test(empty_text_gives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
