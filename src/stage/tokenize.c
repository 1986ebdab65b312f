/* tokenize: texts to ids, ids to texts, chats to both; one JSON line in, one out. */
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/opt.h"
#include "base/utf8.h"
#include "data/jsonl.h"
#include "model/model.h"
#include "stages.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct trawl_tokenize_options options_t;

static const struct trawl_option rows[] = {
    OPT_NEED(options_t, model, "model", "M", "folder (one with only a tokenizer.json will do), GGUF file or name"),
    OPT_FLAG(options_t, parse_special, "parse-special",
             "strings of special tokens in a text become their ids; without it they are text like any other"),
    OPT_FLAG(options_t, add_special, "add-special",
             "add the tokens that the tokenizer puts around a text, such as [CLS] and [SEP]"),
    OPT_FLAG(options_t, decode, "decode", "the other way: lines {\"ids\"} in, lines {\"text\"} out"),
    OPT_FLAG(options_t, skip_special, "skip-special", "leave special tokens out of decoded texts"),
    OPT_FLAG(options_t, chat, "chat",
             "lines {\"messages\", \"tools\", \"add_generation_prompt\"} in, lines {\"text\", \"ids\"} out"),
    OPT_STRING(options_t, chat_template, "chat-template", "NAME", NULL,
               "template of --chat, instead of the model's own: smollm2, qwen2.5, qwen3, gemma3, llama3, mistral, "
               "mistral-v0.1"),
    OPT_FLAG(options_t, strict, "strict", "refuse texts that are not UTF-8 instead of putting U+FFFD"),
    OPT_STRING(options_t, input, "input", "FILE", "-", "JSON lines, also .gz and .zst; - is standard input"),
    OPT_STRING(options_t, output, "output", "FILE", "-", "where lines are written; - is standard output"),
};

const struct trawl_stage stage_tokenize = {
    .name = "tokenize",
    .summary = "turn texts into token ids, and back",
    .details = "Reads one JSON object a line and writes one for each, in the same order: {\"text\"} becomes {\"ids\"}. "
               "Nothing is added and strings that look like special tokens are ordinary text, unless asked for. Tokens "
               "that a tokenizer adds without calling them special always match.\n\n"
               "With --chat, the model's template is known by the fingerprint of its text; there is no Jinja "
               "interpreter.",
    .examples = "echo '{\"text\": \"fish and chips\"}' | trawl tokenize --model smollm2-135m\n"
                "echo '{\"ids\": [28120, 905]}' | trawl tokenize --model smollm2-135m --decode\n"
                "# a chat as the model reads it\n"
                "trawl tokenize --model qwen2.5-coder-0.5b --chat --input chats.jsonl\n",
    .options_bytes = sizeof(options_t),
    .options = rows,
    .n_options = sizeof rows / sizeof *rows,
};

struct job {
    const options_t *options;
    struct trawl_tokenize_report *report;
    struct tokenizer *tokenizer;
    struct tokenizer_scratch *scratch;
    const struct chat_template *chat;
    struct line_reader *input;
    struct file_writer output;
    struct buf text, line;
    struct ids ids;
};

/* ---- lines out ---- */

static enum trawl_status put_ids(struct buf *out, const struct ids *ids)
{
    char digits[10];
    TRY(buf_text(out, "\"ids\": ["));
    TRY(buf_reserve(out, ids->n * 12 + 1));
    for (size_t i = 0; i < ids->n; i++) {
        size_t n = sizeof digits;
        for (uint32_t id = ids->ids[i]; n == sizeof digits || id; id /= 10)
            digits[--n] = (char)('0' + id % 10);
        if (i) {
            out->data[out->n++] = ',';
            out->data[out->n++] = ' ';
        }
        memcpy(out->data + out->n, digits + n, sizeof digits - n);
        out->n += sizeof digits - n;
    }
    return buf_text(out, "]");
}

static enum trawl_status write_line(struct job *job)
{
    TRY(buf_text(&job->line, "}\n"));
    return file_write(&job->output, job->line.data, job->line.n);
}

/* ---- one line ---- */

static enum trawl_status check_utf8(struct job *job)
{
    size_t at = job->text.n ? utf8_invalid(job->text.data, job->text.n) : 0;
    if (at == job->text.n)
        return TRAWL_OK;
    const char *path = line_path(job->input);
    unsigned long long line = (unsigned long long)line_number(job->input);
    if (job->options->strict)
        return fail(TRAWL_FORMAT,
                    "'%s' line %llu: invalid UTF-8 in the text, byte %zu (without --strict it is replaced by U+FFFD)",
                    path, line, at + 1);
    if (job->report->n_repaired++ == 0)
        log_warn("'%s' line %llu: invalid UTF-8 in the text, byte %zu, replaced by U+FFFD (--strict refuses)", path,
                 line, at + 1);
    return TRAWL_OK;
}

static enum trawl_status encode_line(struct job *job, const char *line, size_t n)
{
    struct jsonl_member text = {.name = "text"};
    TRY(jsonl_scan(&text, 1, line, n, line_path(job->input), line_number(job->input)));
    if (text.kind != JSONL_STRING)
        return fail(TRAWL_FORMAT, "'%s' line %llu: no string 'text'", line_path(job->input),
                    (unsigned long long)line_number(job->input));
    buf_reset(&job->text);
    TRY(jsonl_text(&job->text, &text));
    TRY(check_utf8(job));
    unsigned flags = (job->options->parse_special ? TOKENIZER_PARSE_SPECIAL : 0) |
                     (job->options->add_special ? TOKENIZER_ADD_SPECIAL : 0);
    TRY(tokenizer_encode(job->tokenizer, job->scratch, &job->ids, job->text.data, job->text.n, flags));
    job->report->n_empty += job->text.n == 0;
    TRY(buf_text(&job->line, "{"));
    return put_ids(&job->line, &job->ids);
}

static enum trawl_status read_ids(struct ids *ids, const json_t *list, const char *where)
{
    if (!json_is_array(list))
        return fail(TRAWL_FORMAT, "%s: no list 'ids'", where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > UINT32_MAX)
            return fail(TRAWL_FORMAT, "%s: id %zu of the list is not a whole number from 0", where, i + 1);
        TRY(ids_append(ids, (uint32_t)json_integer_value(id)));
    }
    return TRAWL_OK;
}

static enum trawl_status decode_object(struct job *job, const json_t *object, const char *where)
{
    TRY(read_ids(&job->ids, json_object_get(object, "ids"), where));
    buf_reset(&job->text);
    enum trawl_status status =
        tokenizer_decode(job->tokenizer, &job->text, job->ids.ids, job->ids.n, job->options->skip_special);
    if (status)
        return fail_context(status, "%s", where);
    TRY(buf_text(&job->line, "{\"text\": "));
    return json_quote(&job->line, job->text.n ? job->text.data : "", job->text.n);
}

static enum trawl_status chat_object(struct job *job, const json_t *object, const char *where)
{
    bool prompt;
    TRY(json_get_bool(&prompt, object, "add_generation_prompt", false, where));
    buf_reset(&job->text);
    enum trawl_status status = chat_render(job->chat, &job->text, json_object_get(object, "messages"),
                                           json_object_get(object, "tools"), prompt);
    if (status)
        return fail_context(status, "%s", where);
    TRY(tokenizer_encode(job->tokenizer, job->scratch, &job->ids, job->text.data, job->text.n,
                         TOKENIZER_PARSE_SPECIAL));
    TRY(buf_text(&job->line, "{\"text\": "));
    TRY(json_quote(&job->line, job->text.n ? job->text.data : "", job->text.n));
    TRY(buf_text(&job->line, ", "));
    return put_ids(&job->line, &job->ids);
}

static enum trawl_status object_line(struct job *job, const char *line, size_t n)
{
    char where[1024];
    json_t *object;
    snprintf(where, sizeof where, "'%s' line %llu", line_path(job->input), (unsigned long long)line_number(job->input));
    TRY(json_parse(&object, line, n, where));
    enum trawl_status status =
        job->options->decode ? decode_object(job, object, where) : chat_object(job, object, where);
    json_decref(object);
    return status;
}

static enum trawl_status all_lines(struct job *job)
{
    const char *line;
    size_t n;
    uint64_t done, total;
    struct progress progress;
    line_position(job->input, &done, &total);
    progress_begin(&progress, "tokenize", total, "bytes");
    for (;;) {
        TRY(line_next(job->input, &line, &n));
        if (!line)
            break;
        if (n == 0)
            continue;
        job->ids.n = 0;
        buf_reset(&job->line);
        TRY(job->options->decode || job->options->chat ? object_line(job, line, n) : encode_line(job, line, n));
        TRY(write_line(job));
        job->report->n_texts++;
        job->report->n_tokens += job->ids.n;
        line_position(job->input, &done, &total);
        progress_set(&progress, done);
    }
    progress_end(&progress);
    return TRAWL_OK;
}

/* ---- the stage ---- */

static enum trawl_status open_model(struct job *job)
{
    const options_t *o = job->options;
    char *text = NULL;
    TRY(model_open_tokenizer(&job->tokenizer, &text, o->model));
    enum trawl_status status = TRAWL_OK;
    if (o->chat && o->chat_template)
        status = chat_find_name(&job->chat, o->chat_template);
    else if (o->chat && !text)
        status = fail(TRAWL_NOT_FOUND, "'%s' has no chat template (choose one with --chat-template: %s)", o->model,
                      chat_names());
    else if (o->chat) {
        status = chat_find_text(&job->chat, text, strlen(text));
        if (status)
            status = fail_context(status, "'%s'", o->model);
    }
    free(text);
    return status;
}

static enum trawl_status check_options(const options_t *o)
{
    if (o->decode && (o->chat || o->add_special || o->parse_special))
        return fail(TRAWL_USAGE, "--decode goes with none of --chat, --add-special and --parse-special");
    if (o->chat && o->add_special)
        return fail(TRAWL_USAGE, "--chat adds what the template says; --add-special does not go with it");
    if (o->chat_template && !o->chat)
        return fail(TRAWL_USAGE, "--chat-template needs --chat");
    if (o->skip_special && !o->decode)
        return fail(TRAWL_USAGE, "--skip-special needs --decode");
    return TRAWL_OK;
}

enum trawl_status trawl_tokenize(const struct trawl_tokenize_options *options, struct trawl_tokenize_report *report)
{
    struct job job = {.options = options, .report = report};
    bool writing = false;
    enum trawl_status status = TRAWL_OK;
    *report = (struct trawl_tokenize_report){0};
    TRY_OUT(check_options(options));
    TRY_OUT(file_keep_input(options->input, options->output));
    TRY_OUT(open_model(&job));
    TRY_OUT(tokenizer_scratch_new(&job.scratch));
    TRY_OUT(line_reader_open(&job.input, options->input ? options->input : "-"));
    TRY_OUT(file_writer_open(&job.output, options->output ? options->output : "-"));
    writing = true;
    TRY_OUT(all_lines(&job));
    writing = false;
    status = file_writer_commit(&job.output);
out:
    if (writing)
        file_writer_abort(&job.output);
    line_reader_close(job.input);
    tokenizer_scratch_free(job.scratch);
    tokenizer_free(job.tokenizer);
    ids_release(&job.ids);
    buf_release(&job.text);
    buf_release(&job.line);
    return status;
}
