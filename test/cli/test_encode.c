/* encode, score and generate as a user runs them, on a small random model. */
#include "program.h"
#include "../encode/fixture.h"

static char bert[4096], llama[4096];

static int set_up(void **state)
{
    (void)state;
    fixture_model(bert, "bert", "cli-bert");
    fixture_model(llama, "llama", "cli-llama");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_remove(bert);
    fixture_remove(llama);
    return 0;
}

/* `trawl <arguments>` with `input` on standard input. */
static int run(const char *input, const char *format, const char *model)
{
    char line[8100], arguments[4000], path[4096];
    scratch_path(path, (long)getpid(), "cli-input");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(input, f);
    assert_int_equal(fclose(f), 0);
    snprintf(arguments, sizeof arguments, format, model);
    snprintf(line, sizeof line, "%.3990s < %.4000s", arguments, path);
    int code = program(line);
    unlink(path);
    return code;
}

static size_t count(const char *text, char wanted)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == wanted;
    return n;
}

static void score_answers_line_by_line(void **state)
{
    (void)state;
    assert_int_equal(run("{\"ids\": [5, 6, 7]}\n\n{\"ids\": []}\n{\"ids\": [5]}\n{\"text\": \"aa ab ac ad\"}\n",
                         "score --model %s --precision f32", llama),
                     0);
    assert_int_equal(count(program_out.data, '\n'), 4);
    assert_int_equal(count(program_out.data, ','), 1 + 2);
    assert_out_has("{\"logprobs\": []}\n{\"logprobs\": []}\n");
    assert_err_has("4 texts, 8 tokens");
}

static void score_names_the_line_that_is_wrong(void **state)
{
    (void)state;
    assert_int_equal(run("{\"ids\": [5]}\n{\"ids\": [5, 320]}\n", "score --model %s", llama), 1);
    assert_err_has("line 2: token 2 is 320, the vocabulary has 320");
    assert_int_equal(run("{\"ids\": [5]}\n{\"ids\": [5, -1]}\n", "score --model %s", llama), 1);
    assert_err_has("line 2");
    assert_int_equal(run("{\"ids\": [5]}\n{\"ids\": 7}\n", "score --model %s", llama), 1);
    assert_err_has("line 2: member 'ids' must be an array, not a number");
    assert_int_equal(run("{\"word\": \"x\"}\n", "score --model %s", llama), 1);
    assert_err_has("line 1: no text");
    assert_int_equal(run("{\"text\": \"x\"\n", "score --model %s", llama), 1);
    assert_err_has("line 1");
    assert_int_equal(run("", "score --model %s", bert), 1);
    assert_err_has("no language model");
    assert_int_equal(run("", "score --model %s", "no-such-model"), 1);
    assert_err_has("no-such-model");
}

static void generate_gives_ids_and_text(void **state)
{
    (void)state;
    assert_int_equal(run("{\"ids\": [5, 6, 7]}\n{\"prompt\": \"aa ab\"}\n",
                         "generate --model %s --input - --max-tokens 5 --ignore-eos --json", llama),
                     0);
    assert_int_equal(count(program_out.data, '\n'), 2);
    assert_out_has("{\"ids\": [");
    assert_out_has("\"text\": \"");
    assert_out_has("\"stop\": \"length\"");
    struct buf first = program_out;
    program_out = (struct buf){0};
    assert_int_equal(run("", "generate --model %s --prompt 'aa ab' --max-tokens 5 --ignore-eos --json", llama), 0);
    assert_non_null(strstr(first.data, program_out.data)); /* company changes nothing */
    buf_release(&first);
}

static void generate_wants_one_prompt(void **state)
{
    (void)state;
    assert_int_equal(run("", "generate --model %s", llama), 2);
    assert_err_has("--prompt");
    assert_int_equal(run("", "generate --model %s --prompt x --chat-template chatml", llama), 2);
    assert_int_equal(run("", "generate --model %s --prompt x --chat", llama), 1);
    assert_err_has("no chat template");
    assert_int_equal(run("{\"ids\": []}\n", "generate --model %s --input -", llama), 1);
    assert_err_has("line 1: the prompt has no tokens");
}

static void encode_reads_and_writes_standard_streams(void **state)
{
    (void)state;
    assert_int_equal(
        run("{\"text\": \"aa\"}\n{\"id\": \"x\", \"text\": \"\"}\n", "encode --model %s --input - --output -", bert),
        0);
    assert_int_equal(count(program_out.data, '\n'), 2);
    assert_out_has("\"0\"");
    assert_out_has("\"x\"");
    assert_err_has("2 texts, 3 tokens, none cut, 1 empty");
    assert_int_equal(run("", "encode --model %s --input - --output -", bert), 1);
    assert_err_has("holds no texts");
}

static void mistakes_in_options_exit_with_2(void **state)
{
    (void)state;
    assert_int_equal(run("{\"text\": \"aa\"}\n", "encode --model %s --input - --output - --pooling median", bert), 2);
    assert_err_has("median");
    assert_int_equal(
        run("{\"text\": \"aa\"}\n", "encode --model %s --input - --output - --pool-prompt --no-pool-prompt", bert), 2);
    assert_int_equal(run("", "encode --model %s --input -", bert), 2);
    assert_err_has("--output");
    assert_int_equal(run("", "bench nothing --model %s", bert), 2);
}

static void bench_measures_each_precision(void **state)
{
    (void)state;
    char corpus[4096], command[8100];
    scratch_path(corpus, (long)getpid(), "cli-corpus.jsonl");
    FILE *f = fopen(corpus, "w");
    assert_non_null(f);
    for (int i = 0; i < 30; i++)
        fprintf(f, "{\"_id\": \"%d\", \"text\": \"aa ab ac b%c\"}\n", i, 'a' + i % 26);
    assert_int_equal(fclose(f), 0);
    snprintf(command, sizeof command, "bench encode --model %.3000s --corpus %.3000s --repeat 1", bert, corpus);
    assert_int_equal(program(command), 0);
    assert_out_has("share of roof");
    assert_out_has("\tf32\t");
    snprintf(command, sizeof command, "bench precision --model %.3000s --corpus %.3000s", bert, corpus);
    assert_int_equal(program(command), 0);
    assert_out_has("\tf32\t30\t1.0000000\t1.0000000\t");
    unlink(corpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(score_answers_line_by_line),
        cmocka_unit_test(score_names_the_line_that_is_wrong),
        cmocka_unit_test(generate_gives_ids_and_text),
        cmocka_unit_test(generate_wants_one_prompt),
        cmocka_unit_test(encode_reads_and_writes_standard_streams),
        cmocka_unit_test(mistakes_in_options_exit_with_2),
        cmocka_unit_test(bench_measures_each_precision),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
