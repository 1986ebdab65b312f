/* The program as a whole: help, version, mistakes. */
#include "program.h"
#include "base/status.h"

static void version_is_the_library_s(void **state)
{
    (void)state;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "trawl %s\n", trawl_version());
    assert_int_equal(program("--version"), 0);
    assert_string_equal(program_out.data, wanted);
}

static void help_lists_every_stage(void **state)
{
    (void)state;
    size_t n;
    const struct trawl_stage *const *stages = trawl_stages(&n);
    char line[128];
    assert_true(n > 0);
    assert_int_equal(program("--help"), 0);
    for (size_t i = 0; i < n; i++) {
        snprintf(line, sizeof line, "  %-10s %s\n", stages[i]->name, stages[i]->summary);
        assert_out_has(line);
    }
}

/* Four ways to ask; each command has an example that begins with its own name. */
static void every_command_explains_itself(void **state)
{
    (void)state;
    size_t n;
    const struct trawl_stage *const *stages = trawl_stages(&n);
    for (size_t i = 0; i < n; i++) {
        char line[128], wanted[256];
        snprintf(wanted, sizeof wanted, "trawl %s: %s\n\nusage: trawl %s", stages[i]->name, stages[i]->summary,
                 stages[i]->name);
        snprintf(line, sizeof line, "%s --help", stages[i]->name);
        assert_int_equal(program(line), 0);
        assert_out_has(wanted);
        snprintf(wanted, sizeof wanted, "trawl %s ", stages[i]->name);
        assert_non_null(strstr(strstr(program_out.data, "\nexamples:\n"), wanted));
        snprintf(line, sizeof line, "help %s", stages[i]->name);
        assert_int_equal(program(line), 0);
        assert_out_has(wanted);
        snprintf(line, sizeof line, "%s -h", stages[i]->name);
        assert_int_equal(program(line), 0);
        snprintf(line, sizeof line, "--man %s", stages[i]->name);
        assert_int_equal(program(line), 0);
        assert_out_has("# EXAMPLES");
    }
}

static void mistakes_are_said_and_exit_with_2(void **state)
{
    (void)state;
    assert_int_equal(program(""), 2);
    assert_err_has("usage: trawl COMMAND");
    assert_string_equal(program_out.data, "");
    assert_int_equal(program("evel"), 2);
    assert_err_has("trawl: no command 'evel' (did you mean 'eval'? 'trawl --help' lists all)\n");
    assert_int_equal(program("help evel"), 2);
    assert_int_equal(program("eval --nosuch"), 2);
    assert_err_has("trawl eval: unknown option '--nosuch'");
    assert_int_equal(program("eval --threads x"), 2);
    assert_err_has("trawl eval: --threads: 'x' is no count");
}

static void an_unwritable_standard_output_is_a_failure(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK))
        skip();
    assert_int_equal(program("--help > /dev/full"), 1);
    assert_err_has("cannot write standard output");
}

static void the_completion_is_shell_that_parses(void **state)
{
    (void)state;
    assert_int_equal(program("--completion | bash -n"), 0);
    assert_int_equal(program("--completion"), 0);
    assert_out_has("complete -o filenames -F _trawl trawl\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_is_the_library_s),
        cmocka_unit_test(help_lists_every_stage),
        cmocka_unit_test(every_command_explains_itself),
        cmocka_unit_test(mistakes_are_said_and_exit_with_2),
        cmocka_unit_test(an_unwritable_standard_output_is_a_failure),
        cmocka_unit_test(the_completion_is_shell_that_parses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
