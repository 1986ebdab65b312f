#include "scratch.h"
#include "base/opt.h"

struct sample_options {
    size_t size;
    const char *model, *output, *pooling, *query;
    struct trawl_list files, ids;
    size_t k;
    double b;
    bool bm25, join;
    size_t added_later;
};
static const struct trawl_option rows[] = {
    OPT_NEED(struct sample_options, model, "model", "M", "model folder, GGUF file or name"),
    OPT_STRING(struct sample_options, output, "output", "FILE", "-", "where to write"),
    OPT_CHOICE(struct sample_options, pooling, "pooling", "mean", "last|mean|weighted-mean|first", "how to pool"),
    OPT_LIST(struct sample_options, files, "file", "FILE", "more files"),
    OPT_ROW(struct sample_options, k, TRAWL_OPTION_COUNT, "k", "N", "10", NULL, "hits", 0, 'k'),
    OPT_NUMBER(struct sample_options, b, "b", "X", "0.4", "length normalisation"),
    OPT_FLAG(struct sample_options, bm25, "bm25", "a lexical field"),
    OPT_ROW(struct sample_options, join, TRAWL_OPTION_FLAG, "join", NULL, "true", NULL, "join title and text", 0, 0),
    {.kind = TRAWL_OPTION_STRING, .offset = offsetof(struct sample_options, query), .arg = "QUERY", .help = "a query"},
    {.kind = TRAWL_OPTION_LIST, .offset = offsetof(struct sample_options, ids), .arg = "IDS", .help = "documents"},
    OPT_COUNT(struct sample_options, added_later, "added-later", "N", "77", "a newer option"),
};
static const struct trawl_stage stage = {
    .name = "sample",
    .summary = "shows options",
    .details =
        "First paragraph with words that have to be broken somewhere because the line is long.\n\n  kept   as is\n\n"
        "Second one: a_b *c*.",
    .examples = "# an example\ntrawl sample --model m",
    .options_bytes = sizeof(struct sample_options),
    .options = rows,
    .n_options = sizeof rows / sizeof *rows,
};

struct shared_options {
    size_t size, threads;
};
static const struct trawl_option shared_rows[] = {
    OPT_COUNT(struct shared_options, threads, "threads", "N", NULL, "threads to use"),
};
static const struct trawl_stage shared = {
    .name = "shared", .options_bytes = sizeof(struct shared_options), .options = shared_rows, .n_options = 1};

static struct sample_options options;
static struct shared_options common;

static enum trawl_status parse(const char *const *words)
{
    int argc = 1;
    char *argv[32] = {(char[]){"sample"}};
    for (; *words; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    trawl_options_release(&options, &stage);
    trawl_options_init(&options, &stage);
    trawl_options_init(&common, &shared);
    return opt_parse(&options, &stage, &common, &shared, argc, argv);
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void presets_are_set(void **state)
{
    (void)state;
    assert_ok(PARSE("--model", "m"));
    assert_int_equal(options.size, sizeof options);
    assert_string_equal(options.output, "-");
    assert_string_equal(options.pooling, "mean");
    assert_int_equal(options.k, 10);
    assert_true(options.b == 0.4);
    assert_false(options.bm25);
    assert_true(options.join);
    assert_null(options.query);
    assert_int_equal(options.ids.n_items, 0);
}

static void every_way_of_writing_is_understood(void **state)
{
    (void)state;
    assert_ok(PARSE("--model=m", "--output", "-", "-k", "5", "--bm25", "--no-join", "--b=-1e-3", "what is it", "--file",
                    "a", "--file=b", "1", "--threads", "3", "--", "--2"));
    assert_string_equal(options.model, "m");
    assert_int_equal(options.k, 5);
    assert_true(options.bm25);
    assert_false(options.join);
    assert_true(options.b == -1e-3);
    assert_string_equal(options.query, "what is it");
    assert_int_equal(options.files.n_items, 2);
    assert_string_equal(options.files.items[1], "b");
    assert_int_equal(options.ids.n_items, 2);
    assert_string_equal(options.ids.items[1], "--2");
    assert_int_equal(common.threads, 3);
    assert_ok(PARSE("--model", "m", "-k7", "-5"));
    assert_int_equal(options.k, 7);
    assert_string_equal(options.query, "-5");
    assert_ok(PARSE("--model=--output"));
    assert_string_equal(options.model, "--output");
}

static void counts_have_suffixes_and_limits(void **state)
{
    (void)state;
    assert_ok(PARSE("--model", "m", "--k", "3k"));
    assert_int_equal(options.k, 3000);
    assert_ok(PARSE("--model", "m", "--k", "2M"));
    assert_int_equal(options.k, 2000000);
    assert_ok(PARSE("--model", "m", "--k", "18446744073709551615"));
    assert_int_equal(options.k, SIZE_MAX);
    static const char *const bad[] = {
        "", "-1", " 1", "1.5", "1kk", "1x", "k", "18446744073709551616", "99999999999999999g"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (PARSE("--model", "m", "--k", bad[i]) != TRAWL_USAGE)
            fail_msg("accepted: %s", bad[i]);
        assert_message("--k: '");
    }
}

static void wrong_lines_are_refused_with_help(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--k", "1"), TRAWL_USAGE);
    assert_message("--model is missing");
    assert_int_equal(PARSE("--model", "m", "--poling", "mean"), TRAWL_USAGE);
    assert_message("did you mean '--pooling'?");
    assert_int_equal(PARSE("--model", "m", "--zzzzzzz"), TRAWL_USAGE);
    assert_message("unknown option '--zzzzzzz' ('trawl sample --help'");
    assert_int_equal(PARSE("--model", "m", "--pooling", "median"), TRAWL_USAGE);
    assert_message("--pooling: 'median' is not one of last|mean|weighted-mean|first");
    assert_int_equal(PARSE("--model", "m", "--b", "x"), TRAWL_USAGE);
    assert_int_equal(PARSE("--model", "m", "--b", "nan"), TRAWL_USAGE);
    assert_int_equal(PARSE("--model"), TRAWL_USAGE);
    assert_message("--model needs a value (M)");
    assert_int_equal(PARSE("--model", "m", "--bm25=maybe"), TRAWL_USAGE);
    assert_int_equal(PARSE("--model", "m", "--no-output"), TRAWL_USAGE);
    assert_int_equal(PARSE("--model", "m", "-x"), TRAWL_USAGE);
    assert_int_equal(PARSE("--model", "m", "--threads", "-1"), TRAWL_USAGE);
}

static void one_option_is_set_by_name(void **state)
{
    (void)state;
    trawl_options_release(&options, &stage);
    trawl_options_init(&options, &stage);
    for (int i = 0; i < 100; i++)
        assert_ok(trawl_options_set(&options, &stage, "IDS", "x"));
    assert_int_equal(options.ids.n_items, 100);
    assert_ok(trawl_options_set(&options, &stage, "bm25", "yes"));
    assert_true(options.bm25);
    assert_int_equal(trawl_options_set(&options, &stage, "bm52", "yes"), TRAWL_USAGE);
    assert_message("did you mean '--bm25'");
    trawl_options_release(&options, &stage);
    assert_null(options.ids.items);
}

/* A caller built against an older header has no member added_later. */
static void an_older_caller_gets_presets_for_what_it_does_not_know(void **state)
{
    (void)state;
    struct sample_options older, own;
    trawl_options_init(&older, &stage);
    older.k = 3;
    older.added_later = 5;
    older.size = offsetof(struct sample_options, added_later);
    assert_ok(opt_adopt(&own, &stage, &older));
    assert_int_equal(own.k, 3);
    assert_int_equal(own.added_later, 77);
    older.size = 0;
    assert_int_equal(opt_adopt(&own, &stage, &older), TRAWL_USAGE);
}

static void assert_has(const struct buf *text, const char *part)
{
    if (!strstr(text->data, part))
        fail_msg("'%s' is not in:\n%s", part, text->data);
}

static void texts_name_every_option(void **state)
{
    (void)state;
    const struct trawl_stage *const stages[] = {&stage};
    struct buf help = {0}, man = {0}, bash = {0};
    assert_ok(opt_help(&help, &stage, &shared, 80));
    assert_ok(opt_man(&man, &stage, &shared));
    assert_ok(opt_complete_bash(&bash, stages, 1, &shared));
    for (size_t i = 0; i < stage.n_options; i++) {
        if (!rows[i].name)
            continue;
        assert_has(&help, rows[i].name);
        assert_has(&bash, rows[i].name);
    }
    assert_has(&help, "usage: trawl sample --model M [OPTIONS] [QUERY] [IDS]...\n");
    assert_has(&help, "  -k, --k N                 hits (default: 10)\n");
    assert_has(&help, "  kept   as is\n");
    assert_has(&help, "--threads N");
    assert_has(&help, "\nexamples:\n  # an example\n  trawl sample --model m\n");
    assert_has(&man, "*\\-\\-added\\-later* _N_\n\ta newer option (default: 77)");
    assert_has(&man, "a\\_b \\*c\\*");
    for (const char *line = help.data; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    buf_release(&help);
    buf_release(&man);
    buf_release(&bash);
}

static void help_is_asked_for_before_the_double_dash(void **state)
{
    (void)state;
    char *a[] = {(char[]){"s"}, (char[]){"x"}, (char[]){"-h"}}, *b[] = {(char[]){"s"}, (char[]){"--"}, (char[]){"-h"}};
    assert_true(opt_wants_help(3, a));
    assert_false(opt_wants_help(3, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_are_set),
        cmocka_unit_test(every_way_of_writing_is_understood),
        cmocka_unit_test(counts_have_suffixes_and_limits),
        cmocka_unit_test(wrong_lines_are_refused_with_help),
        cmocka_unit_test(one_option_is_set_by_name),
        cmocka_unit_test(an_older_caller_gets_presets_for_what_it_does_not_know),
        cmocka_unit_test(texts_name_every_option),
        cmocka_unit_test(help_is_asked_for_before_the_double_dash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
