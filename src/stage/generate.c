/* generate: greedy continuations of a prompt, or of many from lines of JSON. */
#include "base/log.h"
#include "base/mem.h"
#include "base/opt.h"
#include "lm/lm.h"
#include "records.h"
#include "stages.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPTIONS struct trawl_generate_options
static const struct trawl_option options_table[] = {
    OPT_NEED(OPTIONS, model, "model", "M", "model folder, GGUF file or name"),
    OPT_STRING(OPTIONS, prompt, "prompt", "TEXT", NULL, "text to continue"),
    OPT_STRING(OPTIONS, input, "input", "F", NULL,
               "instead of --prompt: JSON lines of {\"prompt\"}, {\"text\"} or {\"ids\"}; - for standard input"),
    OPT_STRING(OPTIONS, output, "output", "F", "-", "where the continuations go"),
    OPT_COUNT(OPTIONS, max_tokens, "max-tokens", "N", "128", "tokens to make at most"),
    OPT_FLAG(OPTIONS, chat, "chat", "the prompt is what a user says: the model's chat template is put around it"),
    OPT_STRING(OPTIONS, chat_template, "chat-template", "NAME", NULL, "use this template instead of the model's"),
    OPT_FLAG(OPTIONS, ignore_eos, "ignore-eos", "go on after the end of the text"),
    OPT_FLAG(OPTIONS, json, "json", "a line of JSON per prompt: ids, text and why it stopped (eos or length)"),
    OPT_CHOICE(OPTIONS, precision, "precision", "f32", "auto|f32|bf16|int8",
               "precision of the computation (auto: the best safe one of this processor)"),
    OPT_FLAG(OPTIONS, strict, "strict", "refuse invalid UTF-8 instead of replacing it by U+FFFD"),
    OPT_COUNT(OPTIONS, batch_tokens, "batch-tokens", "N", NULL, "tokens of one packed batch; decides the workspace"),
};
const struct trawl_stage stage_generate = {
    .name = "generate",
    .summary = "continue a text greedily",
    .details =
        "The prompt is taken as it is, with BOS in front where the model wants one; at each step the most likely "
        "token is appended, until the model ends the text or the maximum is reached. The end token is not part of "
        "the output. With --chat the end of a turn is an end too, and special tokens are read in the rendered "
        "template.",
    .examples = "trawl generate --model smollm2-135m --prompt \"The capital of France is\" --max-tokens 16\n"
                "trawl generate --model smollm2-135m --chat --prompt \"Name three rivers\"",
    .options_bytes = sizeof(OPTIONS),
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
};
#undef OPTIONS

enum { BLOCK_PROMPTS = 64 };

struct job {
    const struct trawl_generate_options *o;
    struct trawl_generate_report *report;
    struct lm *lm;
    const struct chat_template *template;
    struct records *records; /* NULL: o->prompt alone */
    struct file_writer out;
    struct lm_generate_options options;
    uint32_t stop[LM_STOP_MAX];
    struct ids ids; /* of the block's prompts */
    struct lm_tokens prompts[BLOCK_PROMPTS];
    struct lm_continuation continuations[BLOCK_PROMPTS];
    size_t n;
    struct buf text, line;
    bool ended;
};

/* The chat around one thing that a user says. */
static enum trawl_status render(struct job *j, const char *text, size_t n)
{
    json_t *messages = json_pack("[{s:s, s:o}]", "role", "user", "content", json_stringn(text, n));
    if (!messages)
        return fail(TRAWL_FORMAT, "the prompt is no valid UTF-8");
    buf_reset(&j->text);
    enum trawl_status status = chat_render(j->template, &j->text, messages, NULL, true);
    json_decref(messages);
    return status;
}

static enum trawl_status add_text(struct job *j, const char *text, size_t n)
{
    if (!j->o->chat)
        return lm_text(j->lm, &j->ids, text, n, false);
    TRY(render(j, text, n));
    return lm_text(j->lm, &j->ids, j->text.data, j->text.n, true);
}

static enum trawl_status add_ids(struct job *j, const struct ids *ids)
{
    TRY(mem_grow((void **)&j->ids.ids, &j->ids.cap, j->ids.n + ids->n, sizeof *ids->ids));
    for (size_t i = 0; i < ids->n; i++)
        j->ids.ids[j->ids.n++] = ids->ids[i];
    return TRAWL_OK;
}

static enum trawl_status check_prompt(const struct job *j, const struct lm_tokens *prompt)
{
    if (!prompt->n)
        return fail(TRAWL_FORMAT, "the prompt has no tokens: there is nothing to continue");
    return lm_check(j->lm, prompt);
}

static enum trawl_status add_prompt(struct job *j)
{
    const struct record *rec;
    size_t first = j->ids.n;
    if (j->records) {
        TRY(records_next(j->records, &rec));
        j->ended = !rec;
        if (j->ended)
            return TRAWL_OK;
        TRY(rec->has_ids ? add_ids(j, &rec->ids) : add_text(j, rec->text.data, rec->text.n));
    } else {
        TRY(add_text(j, j->o->prompt, strlen(j->o->prompt)));
        j->ended = true;
    }
    struct lm_tokens prompt = {j->ids.ids + first, j->ids.n - first};
    enum trawl_status status = check_prompt(j, &prompt);
    if (status != TRAWL_OK && j->records)
        return fail_context(status, "'%s' line %" PRIu64, records_path(j->records), records_line(j->records));
    j->prompts[j->n++].n = prompt.n;
    return status;
}

static enum trawl_status read_block(struct job *j)
{
    j->n = j->ids.n = 0;
    while (j->n < BLOCK_PROMPTS && !j->ended)
        TRY(add_prompt(j));
    for (size_t i = 0, at = 0; i < j->n; at += j->prompts[i++].n)
        j->prompts[i].ids = j->ids.ids + at;
    return TRAWL_OK;
}

static enum trawl_status write_json(struct job *j, const struct lm_continuation *c)
{
    buf_reset(&j->line);
    TRY(buf_text(&j->line, "{\"ids\": ["));
    for (size_t i = 0; i < c->ids.n; i++)
        TRY(buf_printf(&j->line, "%s%" PRIu32, i ? ", " : "", c->ids.ids[i]));
    TRY(buf_text(&j->line, "], \"text\": "));
    TRY(json_quote(&j->line, j->text.data, j->text.n));
    TRY(buf_printf(&j->line, ", \"stop\": \"%s\"}\n", c->stopped ? "eos" : "length"));
    return file_write(&j->out, j->line.data, j->line.n);
}

static enum trawl_status write_continuation(struct job *j, const struct lm_continuation *c)
{
    const struct tokenizer *t = model_files_tokenizer(lm_files(j->lm));
    j->report->prompts++;
    j->report->tokens += c->ids.n;
    buf_reset(&j->text);
    TRY(buf_append(&j->text, "", 0));
    if (t)
        TRY(tokenizer_decode(t, &j->text, c->ids.ids, c->ids.n, true));
    if (j->o->json)
        return write_json(j, c);
    TRY(file_write(&j->out, j->text.data, j->text.n));
    return file_write(&j->out, "\n", 1);
}

static enum trawl_status generate_block(struct job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->continuations[i].ids.n = 0;
    TRY(lm_generate(j->lm, j->continuations, j->prompts, j->n, &j->options));
    for (size_t i = 0; i < j->n; i++)
        TRY(write_continuation(j, &j->continuations[i]));
    return file_writer_flush(&j->out);
}

static enum trawl_status choose_template(struct job *j)
{
    if (!j->o->chat)
        return j->o->chat_template ? fail(TRAWL_USAGE, "'--chat-template' needs '--chat'") : TRAWL_OK;
    if (j->o->chat_template)
        return chat_find_name(&j->template, j->o->chat_template);
    const char *text = model_files_chat_template(lm_files(j->lm));
    if (!text)
        return fail(TRAWL_NOT_FOUND, "'%s' has no chat template (name one with '--chat-template')", j->o->model);
    return chat_find_text(&j->template, text, strlen(text));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static enum trawl_status generate_all(struct job *j)
{
    struct progress progress;
    double begun = now();
    progress_begin(&progress, "generate", 0, "prompts");
    while (!j->ended) {
        TRY(read_block(j));
        TRY(generate_block(j));
        if (j->records)
            progress_set(&progress, j->report->prompts);
    }
    if (j->records)
        progress_end(&progress);
    j->report->seconds = now() - begun;
    if (j->records) {
        j->report->invalid_utf8 = records_counts(j->records)->invalid_utf8;
        j->report->first_invalid_line = records_counts(j->records)->first_invalid_line;
    }
    return TRAWL_OK;
}

static enum trawl_status open_all(struct job *j)
{
    const struct trawl_generate_options *o = j->o;
    struct lm_options options = {.precision = o->precision, .batch_tokens = o->batch_tokens};
    if (!o->prompt == !o->input)
        return fail(TRAWL_USAGE, "give either '--prompt' or '--input'");
    if (o->input) {
        TRY(file_keep_input(o->input, o->output));
        TRY(records_open(&j->records, o->input, o->strict));
    }
    TRY(lm_open(&j->lm, o->model, &options));
    TRY(choose_template(j));
    j->options = (struct lm_generate_options){.max_tokens = o->max_tokens, .stop = j->stop};
    j->options.n_stop = o->ignore_eos ? 0 : lm_stop_ids(j->lm, j->stop, o->chat);
    return file_writer_open(&j->out, o->output);
}

static enum trawl_status run(struct job *j)
{
    TRY(open_all(j));
    enum trawl_status status = generate_all(j);
    if (status == TRAWL_OK)
        return file_writer_commit(&j->out);
    file_writer_abort(&j->out);
    return status;
}

enum trawl_status trawl_generate(const struct trawl_generate_options *options, struct trawl_generate_report *report)
{
    struct trawl_generate_options own;
    TRY(opt_adopt(&own, &stage_generate, options));
    *report = (struct trawl_generate_report){0};
    struct job *j = mem_array(1, sizeof *j);
    if (!j)
        return mem_status();
    j->o = &own;
    j->report = report;
    enum trawl_status status = run(j);
    lm_close(j->lm);
    records_close(j->records);
    ids_release(&j->ids);
    for (size_t i = 0; i < BLOCK_PROMPTS; i++)
        ids_release(&j->continuations[i].ids);
    buf_release(&j->text);
    buf_release(&j->line);
    free(j);
    return status;
}
