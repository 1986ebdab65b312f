/* Analyzers against Lucene's own terms (test/data/analyzer) and against ICU's word boundaries. */
#include "text/analyzer.h"
#include "text/words.h"
#include "base/file.h"
#include "base/rng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/ubrk.h>
#include <unicode/ustring.h>
#include <cmocka.h>

static enum trawl_status append_term(void *ctx, const char *term, size_t n, uint32_t position, size_t begin, size_t end)
{
    struct buf *out = ctx;
    (void)position, (void)begin, (void)end;
    if (out->n)
        TRY(buf_text(out, " "));
    return buf_append(out, term, n);
}

static void assert_terms(struct analyzer *a, const char *text, size_t n, const char *wanted)
{
    struct buf out = {0};
    assert_int_equal(buf_text(&out, ""), TRAWL_OK);
    assert_int_equal(analyzer_run(a, text, n, append_term, &out), TRAWL_OK);
    assert_string_equal(out.data, wanted);
    buf_release(&out);
}

static void terms_equal_lucenes(void **state)
{
    (void)state;
    const char *source = getenv("TRAWL_SOURCE");
    char path[4096];
    snprintf(path, sizeof path, "%s/test/data/analyzer/lucene.tsv", source ? source : ".");
    struct line_reader *lines;
    struct analyzer *standard, *english;
    assert_int_equal(line_reader_open(&lines, path), TRAWL_OK);
    assert_int_equal(analyzer_new(&standard, "standard"), TRAWL_OK);
    assert_int_equal(analyzer_new(&english, "english"), TRAWL_OK);
    for (int twice = 0;;) { /* the second round takes the terms from the cache */
        const char *line;
        size_t n;
        assert_int_equal(line_next(lines, &line, &n), TRAWL_OK);
        if (!line) {
            line_reader_close(lines);
            if (twice++)
                break;
            assert_int_equal(line_reader_open(&lines, path), TRAWL_OK);
            continue;
        }
        char *text = strndup(line, n), *first = strchr(text, '\t'), *second = strrchr(text, '\t');
        assert_true(first && second > first);
        *first = *second = '\0';
        assert_terms(standard, text, (size_t)(first - text), first + 1);
        assert_terms(english, text, (size_t)(first - text), second + 1);
        free(text);
    }
    analyzer_free(standard);
    analyzer_free(english);
}

static void ascii_is_lower_case_runs(void **state)
{
    (void)state;
    struct analyzer *a;
    assert_int_equal(analyzer_new(&a, "ascii"), TRAWL_OK);
    assert_terms(a, "Don't x_Y 1.5mg \xC3\xA9t\xC3\xA9", 21, "don t x y 1 5mg t");
    assert_terms(a, "", 0, "");
    analyzer_free(a);
}

/* Without the marks that ICU's word.txt treats its own way (':' is no MidLetter there). */
static void ascii_words_equal_icus(void **state)
{
    (void)state;
    static const char letters[] = "abZ019_.,;'\"-+ \n!x7";
    struct rng rng = rng_stream(3, 0, 0);
    struct words words = {0};
    UErrorCode error = U_ZERO_ERROR;
    UBreakIterator *icu = ubrk_open(UBRK_WORD, "en", NULL, 0, &error);
    assert_true(U_SUCCESS(error));
    for (int round = 0; round < 20000; round++) {
        char text[64];
        UChar wide[64];
        size_t n = (size_t)rng_below(&rng, 60);
        for (size_t i = 0; i < n; i++)
            wide[i] = (UChar)(unsigned char)(text[i] = letters[rng_below(&rng, sizeof letters - 1)]);
        ubrk_setText(icu, wide, (int32_t)n, &error);
        size_t begin = 0, end = 0;
        int32_t from = ubrk_first(icu);
        for (int32_t to = ubrk_next(icu); to != UBRK_DONE; from = to, to = ubrk_next(icu)) {
            bool solid = false;
            for (int32_t i = from; i < to; i++)
                solid |= (text[i] >= '0' && text[i] <= '9') || ((text[i] | 32) >= 'a' && (text[i] | 32) <= 'z');
            if (!solid)
                continue;
            bool found, ascii;
            begin = end;
            assert_int_equal(words_next(&words, text, n, &begin, &end, &found, &ascii), TRAWL_OK);
            assert_true(found);
            assert_int_equal(begin, from);
            assert_int_equal(end, to);
        }
    }
    ubrk_close(icu);
    words_release(&words);
}

static void every_listed_analyzer_opens(void **state)
{
    (void)state;
    char *names = strdup(analyzer_names()), *rest = names;
    for (char *name; (name = strsep(&rest, "|"));) {
        struct analyzer *a;
        assert_int_equal(analyzer_new(&a, name), TRAWL_OK);
        assert_string_equal(analyzer_name(a), name);
        analyzer_free(a);
    }
    struct analyzer *none;
    assert_int_equal(analyzer_new(&none, "klingon"), TRAWL_NOT_FOUND);
    free(names);
}

static void german_words_are_stemmed(void **state)
{
    (void)state;
    struct analyzer *a; /* from the vocabulary that comes with Snowball */
    assert_int_equal(analyzer_new(&a, "german"), TRAWL_OK);
    assert_terms(a, "aufeinander \xC3\xA4pfeln kategorischer", 34, "aufeinand apfeln kategor");
    analyzer_free(a);
}

/* Foreign bytes, whatever they are, end in terms and never beyond the text. */
static void malformed_text_is_harmless(void **state)
{
    (void)state;
    struct rng rng = rng_stream(4, 0, 0);
    struct analyzer *a;
    assert_int_equal(analyzer_new(&a, "english"), TRAWL_OK);
    for (int round = 0; round < 3000; round++) {
        size_t n = (size_t)rng_below(&rng, 600);
        char *text = malloc(n + 1);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)(round % 2 ? rng_next(&rng) : (rng_below(&rng, 4) ? 'a' : rng_next(&rng)));
        struct buf out = {0};
        assert_int_equal(analyzer_run(a, text, n, append_term, &out), TRAWL_OK);
        buf_release(&out);
        free(text);
    }
    analyzer_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_equal_lucenes),      cmocka_unit_test(ascii_is_lower_case_runs),
        cmocka_unit_test(ascii_words_equal_icus),   cmocka_unit_test(every_listed_analyzer_opens),
        cmocka_unit_test(german_words_are_stemmed), cmocka_unit_test(malformed_text_is_harmless),
    };
    return cmocka_run_group_tests_name("analyzer", tests, NULL, NULL);
}
