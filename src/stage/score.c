/* score: log-probabilities of the tokens of texts under a language model, line by line. */
#include "base/log.h"
#include "base/mem.h"
#include "base/opt.h"
#include "lm/lm.h"
#include "records.h"
#include "stages.h"
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define OPTIONS struct trawl_score_options
static const struct trawl_option options_table[] = {
    OPT_NEED(OPTIONS, model, "model", "M", "model folder, GGUF file or name"),
    OPT_STRING(OPTIONS, input, "input", "F", "-", "JSON lines of {\"text\"} or {\"ids\"}"),
    OPT_STRING(OPTIONS, output, "output", "F", "-", "JSON lines of {\"logprobs\"}, in the same order"),
    OPT_CHOICE(OPTIONS, precision, "precision", "f32", "auto|f32|bf16|int8",
               "precision of the computation (auto: the best safe one of this processor)"),
    OPT_FLAG(OPTIONS, strict, "strict", "refuse invalid UTF-8 instead of replacing it by U+FFFD"),
    OPT_COUNT(OPTIONS, batch_tokens, "batch-tokens", "N", NULL, "tokens of one packed batch; decides the workspace"),
};
const struct trawl_stage stage_score = {
    .name = "score",
    .summary = "log-probabilities of the tokens of texts",
    .details =
        "Every line gets one natural log-probability per token after the first. A text gets BOS in front where the "
        "model wants one (it then is the first token); ids are taken as they are.",
    .examples = "echo '{\"text\": \"The cat sat on the mat.\"}' | trawl score --model smollm2-135m",
    .options_bytes = sizeof(OPTIONS),
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
};
#undef OPTIONS

/* Lines are read in blocks of about this many tokens, scored together and written in order. */
enum { BLOCK_TOKENS = 16384, BLOCK_LINES = 1024 };

struct job {
    struct lm *lm;
    struct records *records;
    struct file_writer out;
    struct trawl_score_report *report;
    struct ids ids;          /* of the block's lines, one behind the other */
    struct lm_tokens *lines; /* (BLOCK_LINES) */
    double **places;         /* (BLOCK_LINES) */
    double *values;
    size_t values_cap, n;
    double sum;
    uint64_t n_values;
    bool ended;
};

static enum trawl_status add_line(struct job *j, const struct record *rec)
{
    size_t first = j->ids.n;
    if (rec->has_ids) {
        TRY(mem_grow((void **)&j->ids.ids, &j->ids.cap, first + rec->ids.n, sizeof *j->ids.ids));
        for (size_t i = 0; i < rec->ids.n; i++)
            j->ids.ids[j->ids.n++] = rec->ids.ids[i];
    } else {
        TRY(lm_text(j->lm, &j->ids, rec->text.data, rec->text.n, false));
    }
    struct lm_tokens line = {j->ids.ids + first, j->ids.n - first};
    enum trawl_status status = lm_check(j->lm, &line);
    if (status != TRAWL_OK)
        return fail_context(status, "'%s' line %" PRIu64, records_path(j->records), records_line(j->records));
    j->lines[j->n++].n = line.n;
    return TRAWL_OK;
}

static enum trawl_status read_block(struct job *j)
{
    j->n = j->ids.n = 0;
    while (j->n < BLOCK_LINES && j->ids.n < BLOCK_TOKENS) {
        const struct record *rec;
        TRY(records_next(j->records, &rec));
        j->ended = !rec;
        if (j->ended)
            break;
        TRY(add_line(j, rec));
    }
    TRY(mem_grow((void **)&j->values, &j->values_cap, j->ids.n, sizeof *j->values));
    for (size_t i = 0, at = 0; i < j->n; at += j->lines[i++].n) {
        j->lines[i].ids = j->ids.ids + at;
        j->places[i] = j->values + at;
    }
    return TRAWL_OK;
}

static enum trawl_status write_line(struct job *j, size_t line)
{
    size_t n = j->lines[line].n ? j->lines[line].n - 1 : 0;
    TRY(file_printf(&j->out, "{\"logprobs\": ["));
    for (size_t i = 0; i < n; i++) {
        TRY(file_printf(&j->out, "%s%.9g", i ? ", " : "", j->places[line][i]));
        j->sum += j->places[line][i];
    }
    j->n_values += n;
    j->report->texts++;
    j->report->tokens += j->lines[line].n;
    return file_printf(&j->out, "]}\n");
}

static enum trawl_status score_block(struct job *j)
{
    TRY(lm_score(j->lm, j->places, NULL, j->lines, j->n));
    for (size_t i = 0; i < j->n; i++)
        TRY(write_line(j, i));
    return file_writer_flush(&j->out);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static enum trawl_status score_all(struct job *j)
{
    struct progress progress;
    double begun = now();
    progress_begin(&progress, "score", 0, "texts");
    while (!j->ended) {
        TRY(read_block(j));
        TRY(score_block(j));
        progress_set(&progress, j->report->texts);
    }
    progress_end(&progress);
    j->report->seconds = now() - begun;
    j->report->invalid_utf8 = records_counts(j->records)->invalid_utf8;
    j->report->first_invalid_line = records_counts(j->records)->first_invalid_line;
    j->report->mean_nll = j->n_values ? -j->sum / (double)j->n_values : 0.0;
    return TRAWL_OK;
}

static enum trawl_status run(struct job *j, const struct trawl_score_options *o)
{
    struct lm_options options = {.precision = o->precision, .batch_tokens = o->batch_tokens};
    TRY(file_keep_input(o->input, o->output));
    j->lines = mem_array(BLOCK_LINES, sizeof *j->lines);
    j->places = mem_array(BLOCK_LINES, sizeof *j->places);
    if (!j->lines || !j->places)
        return mem_status();
    TRY(records_open(&j->records, o->input, o->strict));
    TRY(lm_open(&j->lm, o->model, &options));
    TRY(file_writer_open(&j->out, o->output));
    enum trawl_status status = score_all(j);
    if (status == TRAWL_OK)
        return file_writer_commit(&j->out);
    file_writer_abort(&j->out);
    return status;
}

enum trawl_status trawl_score(const struct trawl_score_options *options, struct trawl_score_report *report)
{
    struct trawl_score_options own;
    TRY(opt_adopt(&own, &stage_score, options));
    *report = (struct trawl_score_report){0};
    struct job j = {.report = report};
    enum trawl_status status = run(&j, &own);
    lm_close(j.lm);
    records_close(j.records);
    ids_release(&j.ids);
    free(j.lines);
    free(j.places);
    free(j.values);
    return status;
}
