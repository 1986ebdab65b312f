/*
 * train: a run folder out of a model and training examples. The options come from the line, from a file, and, where a
 * run is resumed, from the run's own record; what came out of it is recorded before the first step, with what the data
 * and the model were, and a resumed run must be the same in all of it.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/opt.h"
#include "data/number.h"
#include "lm/lm.h"
#include "math/isa.h"
#include "model/model.h"
#include "stages.h"
#include "train/trainer.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define OPTIONS struct trawl_train_options
static const struct trawl_option options_table[] = {
    OPT_STRING(OPTIONS, objective, "objective", "O", "infonce",
               "infonce, gist, margin-mse, kl, cosent, or a weighted sum such as infonce+0.5*kl"),
    OPT_STRING(OPTIONS, model, "model", "M", NULL, "model folder, adapter folder (trained on), GGUF file or name"),
    OPT_STRING(OPTIONS, data, "data", "F", NULL, "training examples: BEIR folder, JSON lines, TSV"),
    OPT_NEED(OPTIONS, output, "output", "RUN", "run folder; the model is in RUN/model"),
    OPT_STRING(OPTIONS, split, "split", "S", NULL, "judgements of a BEIR folder, qrels/S.tsv (default: train)"),
    OPT_STRING(OPTIONS, corpus, "corpus", "F", NULL, "where passages are found that the data name by id alone"),
    OPT_STRING(OPTIONS, queries, "queries", "F", NULL, "the same for queries"),
    OPT_STRING(OPTIONS, config, "config", "FILE", NULL,
               "JSON object of options by name; the line's options count more"),
    OPT_FLAG(OPTIONS, resume, "resume", "go on from the run's last checkpoint"),
    OPT_FLAG(OPTIONS, full, "full", "train every parameter instead of LoRA"),
    OPT_COUNT(OPTIONS, lora_rank, "lora-rank", "R", "16", "rank of the updates"),
    OPT_NUMBER(OPTIONS, lora_alpha, "lora-alpha", "A", "32", "updates are scaled by A / R"),
    OPT_NUMBER(OPTIONS, lora_dropout, "lora-dropout", "P", "0", "share of the updates' inputs that is dropped"),
    OPT_STRING(OPTIONS, lora_targets, "lora-targets", "LIST", "q,k,v,o,gate,up,down",
               "projections with updates, separated by commas"),
    OPT_FLAG(OPTIONS, rslora, "rslora", "scale by A / sqrt(R) instead"),
    OPT_CHOICE(OPTIONS, precision, "precision", "auto", "auto|f32|bf16",
               "of the products; parameters and sums are f32 (auto: bf16 where the processor multiplies it)"),
    OPT_FLAG(OPTIONS, checkpointing, "checkpointing", "less memory: keep only what enters each layer"),
    OPT_NUMBER(OPTIONS, lr, "lr", "X", "1e-4", "highest learning rate"),
    OPT_NUMBER(OPTIONS, weight_decay, "weight-decay", "X", "0", "of AdamW; norms and biases are spared"),
    OPT_NUMBER(OPTIONS, clip, "clip", "X", "1", "largest norm of the gradient, 0: any"),
    OPT_NUMBER(OPTIONS, warmup, "warmup", "X", "0.1", "steps of rising learning rate; below 1: share of all steps"),
    OPT_CHOICE(OPTIONS, schedule, "schedule", "linear", "constant|linear|cosine", "learning rate after that"),
    OPT_COUNT(OPTIONS, steps, "steps", "N", NULL, "steps in all"),
    OPT_COUNT(OPTIONS, epochs, "epochs", "N", "1", "passes over the data, where --steps is not given"),
    OPT_COUNT(OPTIONS, batch, "batch", "N", "32", "queries of a batch"),
    OPT_COUNT(OPTIONS, negatives, "negatives", "N", "1", "hard negatives of a query, where the data have them"),
    OPT_COUNT(OPTIONS, accumulate, "accumulate", "N", "1", "batches of a step"),
    OPT_COUNT(OPTIONS, chunk, "chunk", "N", "2048",
              "tokens of one pass through the model: decides the memory, not the result (GradCache)"),
    OPT_COUNT(OPTIONS, seed, "seed", "N", "0", "of order, draws, initial updates and dropout"),
    OPT_NUMBER(OPTIONS, temperature, "temperature", "T", "0.05", "of the cosines (or dot products)"),
    OPT_FLAG(OPTIONS, learn_temperature, "learn-temperature", "the temperature is learned (its logarithm)"),
    OPT_CHOICE(OPTIONS, similarity, "similarity", "cosine", "cosine|dot", "dot: vectors are not normalised"),
    OPT_CHOICE(OPTIONS, candidates, "candidates", "ownnegs", "own|inbatch|ownnegs|allnegs",
               "what a query's positive is told from: its own negatives; all positives; both; all of the batch"),
    OPT_FLAG(OPTIONS, symmetric, "symmetric", "InfoNCE also from the positives to the queries"),
    OPT_STRING(OPTIONS, guide, "guide", "M", NULL, "gist: the encoder that says what is no negative"),
    OPT_NUMBER(OPTIONS, margin, "margin", "X", "0", "gist: below the positive's similarity"),
    OPT_FLAG(OPTIONS, margin_relative, "margin-relative", "gist: the margin is a share of that similarity"),
    OPT_FLAG(OPTIONS, gist_wide, "gist-wide", "gist: other queries and positives are candidates too"),
    OPT_NUMBER(OPTIONS, kl_temperature, "kl-temperature", "T", "1", "kl: of student and teacher"),
    OPT_FLAG(OPTIONS, kl_reverse, "kl-reverse", "kl: KL(student || teacher)"),
    OPT_NUMBER(OPTIONS, cosent_scale, "cosent-scale", "X", "20", "cosent: factor of the cosines"),
    OPT_STRING(OPTIONS, matryoshka, "matryoshka", "LIST", NULL,
               "dimensions that shall serve alone, with weights: 64,128:0.5,576"),
    OPT_CHOICE(OPTIONS, pooling, "pooling", NULL, "mean|last|weighted-mean|first",
               "which token states make the vector"),
    OPT_CHOICE(OPTIONS, attention, "attention", NULL, "causal|bidirectional", "what tokens see of each other"),
    OPT_STRING(OPTIONS, query_prompt, "query-prompt", "TEXT", NULL, "text put before queries"),
    OPT_STRING(OPTIONS, document_prompt, "document-prompt", "TEXT", NULL, "text put before documents"),
    OPT_FLAG(OPTIONS, no_pool_prompt, "no-pool-prompt", "the prompts' tokens are left out of the pooling"),
    OPT_FLAG(OPTIONS, no_pool_special, "no-pool-special", "added special tokens are left out of the pooling"),
    OPT_FLAG(OPTIONS, append_eos, "append-eos", "end every text with the model's EOS"),
    OPT_COUNT(OPTIONS, max_length, "max-length", "N", NULL, "tokens of a text, special ones included"),
    OPT_COUNT(OPTIONS, dims, "dims", "N", NULL, "dimensions of the vectors"),
    OPT_STRING(OPTIONS, dev, "dev", "FOLDER", NULL,
               "BEIR folder whose nDCG@10 is watched; the best step's model is kept"),
    OPT_STRING(OPTIONS, dev_split, "dev-split", "S", NULL, "its judgements, qrels/S.tsv (default: dev, else test)"),
    OPT_COUNT(OPTIONS, dev_documents, "dev-documents", "N", "0", "at most so many of its documents, judged ones first"),
    OPT_COUNT(OPTIONS, eval_every, "eval-every", "N", "100", "steps from one evaluation to the next"),
    OPT_COUNT(OPTIONS, patience, "patience", "N", "0", "stop after so many evaluations without a better one, 0: never"),
    OPT_COUNT(OPTIONS, save_every, "save-every", "N", "50", "steps from one checkpoint to the next"),
};
const struct trawl_stage stage_train = {
    .name = "train",
    .summary = "make a retriever from pairs of queries and passages",
    .details =
        "The run folder holds config.json (all options, what model and data were, the program's version), "
        "metrics.jsonl "
        "(a line a step), report.html (curves), checkpoints/ and, at the end, model/: a PEFT adapter that names its "
        "base, or with --full a whole model, with the contract it was trained under, so that encode, index and search "
        "take it as it is.\n"
        "\n"
        "A run that was killed goes on with --resume and ends with the same model, to the bit. An option that equals "
        "its default counts as not given: --config or the record of a resumed run decides it.",
    .examples =
        "trawl train --objective infonce --model smollm2-135m --data scifact --output run --epochs 2 --lr 2e-4\n"
        "trawl index --corpus scifact --output scifact.index --dense mine --model run/model\n"
        "# after a crash\n"
        "trawl train --output run --resume",
    .options_bytes = sizeof(OPTIONS),
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
};
#undef OPTIONS
#define STAGE (&stage_train)
enum { CONFIG_BYTES_MAX = 1 << 20 };

/* ---- options as JSON ---- */

static const void *member_of(const struct trawl_train_options *o, const struct trawl_option *row)
{
    return (const char *)o + row->offset;
}

static json_t *value_to_json(const struct trawl_train_options *o, const struct trawl_option *row)
{
    const void *at = member_of(o, row);
    const char *text;
    bool flag;
    size_t count;
    double number;
    switch (row->kind) {
    case TRAWL_OPTION_FLAG:
        memcpy(&flag, at, sizeof flag);
        return json_boolean(flag);
    case TRAWL_OPTION_COUNT:
        memcpy(&count, at, sizeof count);
        return json_integer((json_int_t)count);
    case TRAWL_OPTION_NUMBER:
        memcpy(&number, at, sizeof number);
        return json_real(number);
    default:
        memcpy(&text, at, sizeof text);
        return text ? json_string(text) : json_null();
    }
}

/* Where the run lies and how it was started are no part of what it is. */
static bool is_recorded(const struct trawl_option *row)
{
    static const char *const left_out[] = {"output", "config", "resume"};
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (!strcmp(row->name, left_out[i]))
            return false;
    return true;
}

static enum trawl_status options_to_json(json_t **out, const struct trawl_train_options *o)
{
    *out = json_object();
    for (size_t i = 0; *out && i < STAGE->n_options; i++)
        if (is_recorded(&STAGE->options[i]) &&
            json_object_set_new(*out, STAGE->options[i].name, value_to_json(o, &STAGE->options[i])))
            return fail(TRAWL_USAGE, "option '--%s' is not UTF-8", STAGE->options[i].name);
    return *out ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for the configuration");
}

/* A JSON value as an option; texts stay the JSON's. */
static enum trawl_status set_from_json(struct trawl_train_options *o, const char *name, const json_t *value,
                                       const char *where)
{
    const struct trawl_option *row = NULL;
    for (size_t i = 0; i < STAGE->n_options; i++)
        if (!strcmp(STAGE->options[i].name, name))
            row = &STAGE->options[i];
    if (!row || !is_recorded(row))
        return fail(TRAWL_USAGE, "%s: '%s' is no option of training", where, name);
    char *at = (char *)o + row->offset;
    if (json_is_null(value))
        return TRAWL_OK;
    if (row->kind == TRAWL_OPTION_FLAG && json_is_boolean(value)) {
        bool flag = json_is_true(value);
        memcpy(at, &flag, sizeof flag);
    } else if (row->kind == TRAWL_OPTION_COUNT && json_is_integer(value) && json_integer_value(value) >= 0) {
        size_t count = (size_t)json_integer_value(value);
        memcpy(at, &count, sizeof count);
    } else if (row->kind == TRAWL_OPTION_NUMBER && json_is_number(value)) {
        double number = json_number_value(value);
        memcpy(at, &number, sizeof number);
    } else if (row->kind != TRAWL_OPTION_FLAG && json_is_string(value)) {
        enum trawl_status status = trawl_options_set(o, STAGE, name, json_string_value(value));
        return status ? fail_context(status, "%s", where) : TRAWL_OK;
    } else {
        return fail(TRAWL_USAGE, "%s: '%s' is of the wrong type", where, name);
    }
    return TRAWL_OK;
}

static bool differs(const struct trawl_train_options *a, const struct trawl_train_options *b,
                    const struct trawl_option *row)
{
    json_t *x = value_to_json(a, row), *y = value_to_json(b, row);
    bool same = x && y && json_equal(x, y);
    json_decref(x);
    json_decref(y);
    return !same;
}

/* ---- where options come from ---- */

struct record {
    json_t *file, *run; /* --config; the record of the run that is resumed */
    char *run_path;
    struct trawl_train_options options;
};

/* Fills what the line left at its default. A resumed run's own value and another one on the line: MISMATCH. */
static enum trawl_status merge(struct record *r, const json_t *json, const char *where, bool strict)
{
    struct trawl_train_options presets, read;
    const char *name;
    json_t *value;
    trawl_options_init(&presets, STAGE);
    read = presets;
    if (!json_is_object(json))
        return fail(TRAWL_FORMAT, "%s is not a JSON object of options", where);
    json_object_foreach((json_t *)json, name, value) TRY(set_from_json(&read, name, value, where));
    for (size_t i = 0; i < STAGE->n_options; i++) {
        const struct trawl_option *row = &STAGE->options[i];
        if (!is_recorded(row))
            continue;
        bool given = differs(&r->options, &presets, row);
        if (given && strict && differs(&r->options, &read, row))
            return fail(
                TRAWL_MISMATCH,
                "%s: the run was begun with another '--%s' (leave it out, or begin a new run in another folder)", where,
                row->name);
        const json_t *recorded = json_object_get(json, row->name);
        if (!given && recorded)
            TRY(set_from_json(&r->options, row->name, recorded, where));
    }
    return TRAWL_OK;
}

static enum trawl_status read_record(struct record *r, const struct trawl_train_options *given)
{
    char where[600];
    r->options = *given;
    r->run_path = file_join(given->output, "config.json");
    if (!r->run_path)
        return mem_status();
    if (given->config) {
        TRY(json_read(&r->file, given->config, CONFIG_BYTES_MAX));
        snprintf(where, sizeof where, "'%s'", given->config);
        TRY(merge(r, r->file, where, false));
    }
    char *checkpoint = file_join(given->output, "checkpoints/last.pack");
    bool begun = file_exists(r->run_path), holds = checkpoint && file_exists(checkpoint);
    free(checkpoint);
    if (holds && !given->resume)
        return fail(TRAWL_USAGE, "'%s' holds a run already (go on with '--resume', or name another folder)",
                    given->output);
    if (given->resume && !begun)
        return fail(TRAWL_NOT_FOUND, "'%s' holds no run to resume (leave out '--resume' to begin one)", given->output);
    if (given->resume) {
        TRY(json_read(&r->run, r->run_path, CONFIG_BYTES_MAX));
        snprintf(where, sizeof where, "'%s'", r->run_path);
        TRY(merge(r, json_object_get(r->run, "options"), where, true));
    }
    if (!r->options.model || !r->options.data)
        return fail(TRAWL_USAGE, "'--%s' is missing", r->options.model ? "data" : "model");
    return TRAWL_OK;
}

/* ---- what is recorded ---- */

/* xxh3-64 of a file as 16 hex digits, null where there is no such file. */
static enum trawl_status file_hash(json_t *into, const char *key, const char *path)
{
    struct file_map map;
    char text[17];
    if (!file_exists(path) || file_is_folder(path))
        return TRAWL_OK;
    TRY(file_map_open(&map, path));
    snprintf(text, sizeof text, "%016" PRIx64,
             (uint64_t)XXH3_64bits(map.bytes ? map.data : (const void *)"", map.bytes));
    file_map_close(&map);
    return json_object_set_new(into, key, json_string(text)) ? fail(TRAWL_NOMEM, "no memory for the record") : TRAWL_OK;
}

static enum trawl_status folder_hashes(json_t *into, const char *folder, const char *split)
{
    char name[300];
    snprintf(name, sizeof name, "qrels/%.200s.tsv", split);
    const char *const names[] = {"corpus.jsonl", "queries.jsonl", name};
    for (size_t i = 0; i < 3; i++) {
        char *path = file_join(folder, names[i]);
        enum trawl_status status = path ? file_hash(into, names[i], path) : mem_status();
        free(path);
        TRY(status);
    }
    return TRAWL_OK;
}

static enum trawl_status data_record(json_t **out, const struct trawl_train_options *o)
{
    *out = json_object();
    if (!*out)
        return fail(TRAWL_NOMEM, "no memory for the record");
    if (file_is_folder(o->data))
        TRY(folder_hashes(*out, o->data, o->split ? o->split : "train"));
    else
        TRY(file_hash(*out, "data", o->data));
    return o->corpus ? file_hash(*out, "corpus", o->corpus) : TRAWL_OK;
}

static enum trawl_status model_record(json_t *into, const char *key, const char *name)
{
    struct model_files *files;
    char fingerprint[17];
    if (!name)
        return TRAWL_OK;
    TRY(model_files_open(&files, name));
    enum trawl_status status = model_files_fingerprint(files, fingerprint);
    model_files_close(files);
    TRY(status);
    return json_object_set_new(into, key, json_string(fingerprint)) ? fail(TRAWL_NOMEM, "no memory for the record")
                                                                    : TRAWL_OK;
}

static enum trawl_status make_record(json_t **out, const struct trawl_train_options *o, const char *precision)
{
    json_t *options = NULL, *data = NULL, *models = json_object();
    enum trawl_status status = models ? options_to_json(&options, o) : fail(TRAWL_NOMEM, "no memory for the record");
    if (!status)
        status = data_record(&data, o);
    if (!status)
        status = model_record(models, "model", o->model);
    if (!status)
        status = model_record(models, "guide", o->guide);
    if (!status) {
        *out = json_pack("{s:s, s:s, s:s, s:O, s:O, s:O}", "program", "trawl " TRAWL_VERSION, "isa", isa_name(),
                         "precision", precision, "models", models, "data", data, "options", options);
        status = *out ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for the record");
    }
    json_decref(options);
    json_decref(data);
    json_decref(models);
    return status;
}

/* The same run in everything but the program's version: what differs is named. */
static enum trawl_status check_record(const json_t *recorded, const json_t *now, const char *path)
{
    static const char *const keys[] = {"isa", "precision", "models", "data", "options"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *a = json_object_get(recorded, keys[i]), *b = json_object_get(now, keys[i]);
        if (a && b && json_equal(a, b))
            continue;
        char *x = json_dumps(a, JSON_ENCODE_ANY | JSON_COMPACT), *y = json_dumps(b, JSON_ENCODE_ANY | JSON_COMPACT);
        enum trawl_status status = fail(TRAWL_MISMATCH, "'%s': %s of the run is %.300s, now it is %.300s", path,
                                        keys[i], x ? x : "missing", y ? y : "missing");
        free(x);
        free(y);
        return status;
    }
    return TRAWL_OK;
}

static enum trawl_status write_record(const char *folder, const char *path, const char *text)
{
    struct file_writer w;
    TRY(file_make_folder(folder));
    TRY(file_writer_open(&w, path));
    enum trawl_status status = file_printf(&w, "%s\n", text);
    if (!status)
        return file_writer_commit(&w);
    file_writer_abort(&w);
    return status;
}

/* ---- options as the trainer takes them ---- */

static enum trawl_status parse_targets(uint32_t *targets, const char *list)
{
    static const struct {
        const char *name;
        enum nn_tensor tensor;
    } known[] = {{"q", NN_T_Q},       {"k", NN_T_K},   {"v", NN_T_V},      {"o", NN_T_O},
                 {"gate", NN_T_GATE}, {"up", NN_T_UP}, {"down", NN_T_DOWN}};
    *targets = 0;
    for (const char *at = list; *at; at += strspn(at, ", ")) {
        size_t n = strcspn(at, ", "), i = 0, bare = n > 5 && !memcmp(at + n - 5, "_proj", 5) ? n - 5 : n;
        while (i < 7 && (strlen(known[i].name) != bare || memcmp(known[i].name, at, bare) != 0))
            i++;
        if (i == 7)
            return fail(TRAWL_USAGE, "unknown projection '%.*s' in '--lora-targets' (q, k, v, o, gate, up, down)",
                        (int)n, at);
        *targets |= UINT32_C(1) << known[i].tensor;
        at += n;
    }
    return *targets ? TRAWL_OK : fail(TRAWL_USAGE, "'--lora-targets' names no projection");
}

static enum trawl_status parse_matryoshka(struct objective_options *o, const char *list)
{
    for (const char *at = list ? list : ""; *at; at += strspn(at, ", ")) {
        size_t n = strcspn(at, ", ");
        const char *colon = memchr(at, ':', n);
        double dims, weight = 1.0;
        bool good = number_parse(&dims, at, colon ? (size_t)(colon - at) : n) && dims >= 1.0 && dims <= 65536.0 &&
                    dims == floor(dims);
        if (good && colon)
            good = number_parse(&weight, colon + 1, n - (size_t)(colon + 1 - at)) && weight > 0.0 && isfinite(weight);
        if (!good || o->n_dims == OBJECTIVE_DIMS_MAX)
            return fail(TRAWL_USAGE,
                        "'--matryoshka' takes up to %d numbers of dimensions, such as 64,128:0.5, not '%s'",
                        OBJECTIVE_DIMS_MAX, list);
        o->dims[o->n_dims] = (size_t)dims;
        o->dims_weight[o->n_dims++] = weight;
        at += n;
    }
    return TRAWL_OK;
}

static enum trawl_status set_objective(struct train_config *c, const struct trawl_train_options *o)
{
    static const char *const candidates[] = {[CANDIDATES_OWN] = "own",
                                             [CANDIDATES_INBATCH] = "inbatch",
                                             [CANDIDATES_OWNNEGS] = "ownnegs",
                                             [CANDIDATES_ALLNEGS] = "allnegs"};
    c->objective = objective_defaults();
    TRY(objective_parse(&c->objective, o->objective));
    for (int i = 0; i < 4; i++)
        if (!strcmp(o->candidates, candidates[i]))
            c->objective.candidates = (enum candidates)i;
    c->dot = c->objective.dot = !strcmp(o->similarity, "dot");
    c->objective.symmetric = o->symmetric;
    c->objective.margin = o->margin;
    c->objective.margin_relative = o->margin_relative;
    c->objective.wide = o->gist_wide;
    c->objective.temperature = o->kl_temperature;
    c->objective.reverse = o->kl_reverse;
    c->objective.scale = o->cosent_scale;
    c->temperature = o->temperature;
    c->learn_temperature = o->learn_temperature;
    TRY(parse_matryoshka(&c->objective, o->matryoshka));
    bool guided = objective_needs(&c->objective) & OBJECTIVE_GUIDE;
    if (guided != (o->guide != NULL))
        return fail(TRAWL_USAGE, guided ? "objective 'gist' needs '--guide'" : "'--guide' belongs to objective 'gist'");
    return TRAWL_OK;
}

static enum trawl_status set_training(struct train_config *c, const struct trawl_train_options *o)
{
    static const char *const schedules[] = {
        [SCHEDULE_CONSTANT] = "constant", [SCHEDULE_LINEAR] = "linear", [SCHEDULE_COSINE] = "cosine"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(o->schedule, schedules[i]))
            c->schedule.kind = (enum schedule_kind)i;
    c->schedule.lr = o->lr;
    c->schedule.warmup = o->warmup >= 1.0 ? (uint64_t)o->warmup : 0;
    c->warmup_share = o->warmup < 1.0 ? o->warmup : 0.0;
    c->adamw = (struct adamw){.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = o->weight_decay};
    c->clip = o->clip;
    c->steps = o->steps;
    c->epochs = o->epochs;
    c->batch = o->batch;
    c->negatives = o->negatives;
    c->accumulate = o->accumulate;
    c->chunk = o->chunk;
    c->seed = o->seed;
    c->full = o->full;
    c->checkpointing = o->checkpointing;
    c->lora =
        (struct nn_lora){.rank = o->lora_rank, .alpha = o->lora_alpha, .dropout = o->lora_dropout, .rslora = o->rslora};
    return parse_targets(&c->lora.targets, o->lora_targets);
}

static enum trawl_status check_ranges(const struct trawl_train_options *o)
{
    const struct {
        const char *name;
        double value, least;
        bool above; /* and not equal */
    } rows[] = {
        {"lr", o->lr, 0.0, true},
        {"temperature", o->temperature, 0.0, true},
        {"warmup", o->warmup, 0.0, false},
        {"clip", o->clip, 0.0, false},
        {"batch", (double)o->batch, 1, false},
        {"accumulate", (double)o->accumulate, 1, false},
        {"epochs", (double)o->epochs, 1, false},
        {"kl-temperature", o->kl_temperature, 0.0, true},
        {"weight-decay", o->weight_decay, 0.0, false},
        {"cosent-scale", o->cosent_scale, 0.0, true},
        {"eval-every", (double)o->eval_every, 1, false},
        {"save-every", (double)o->save_every, 1, false},
        {"lora-rank", (double)o->lora_rank, 1, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!isfinite(rows[i].value) ||
            (rows[i].above ? rows[i].value <= rows[i].least : rows[i].value < rows[i].least))
            return fail(TRAWL_USAGE, "'--%s' must be %s %g", rows[i].name, rows[i].above ? "above" : "at least",
                        rows[i].least);
    if (o->batch > UINT32_MAX || o->negatives > 1000000 || o->chunk > UINT32_MAX || o->steps > UINT32_MAX)
        return fail(TRAWL_LIMIT, "'--batch', '--negatives', '--chunk' or '--steps' is beyond what is supported");
    bool alone = o->batch == 1 && !o->negatives && strstr(o->objective, "infonce");
    if (alone || (o->batch == 1 && !strcmp(o->candidates, "inbatch")))
        return fail(TRAWL_USAGE, "a batch of one query without negatives has nothing to tell its positive from (make "
                                 "'--batch' larger)");
    return TRAWL_OK;
}

static enum trawl_status make_config(struct train_config *c, const struct trawl_train_options *o)
{
    TRY(check_ranges(o));
    TRY(lm_precision(&c->precision, o->precision));
    TRY(set_objective(c, o));
    TRY(set_training(c, o));
    c->model = o->model;
    c->guide = o->guide;
    c->data = o->data;
    c->output = o->output;
    c->split = o->split;
    c->corpus = o->corpus;
    c->queries = o->queries;
    c->dev = o->dev;
    c->dev_split = o->dev_split;
    c->dev_documents = o->dev_documents;
    c->save_every = o->save_every;
    c->eval_every = o->eval_every;
    c->patience = o->patience;
    c->choices = (struct encoder_choices){.pooling = o->pooling,
                                          .attention = o->attention,
                                          .max_length = o->max_length,
                                          .dims = o->dims,
                                          .prompt_pooled = o->no_pool_prompt ? 0 : -1,
                                          .special_pooled = o->no_pool_special ? 0 : -1,
                                          .append_eos = o->append_eos ? 1 : -1};
    c->query_prompt = o->query_prompt;
    c->document_prompt = o->document_prompt;
    c->resume = o->resume;
    return TRAWL_OK;
}

/* ---- the stage ---- */

static void fill_report(struct trawl_train_report *report, const struct train_result *r)
{
    *report = (struct trawl_train_report){.steps = r->steps,
                                          .resumed_from = r->resumed_from,
                                          .tokens = r->tokens,
                                          .examples = r->examples,
                                          .parameters = r->parameters,
                                          .dev_documents = r->dev_documents,
                                          .dev_queries = r->dev_queries,
                                          .best_step = r->best_step,
                                          .memory_bytes = r->memory_bytes,
                                          .loss = r->loss,
                                          .first_loss = r->first_loss,
                                          .best_dev = r->best_dev,
                                          .seconds = r->seconds,
                                          .stopped_early = r->stopped_early};
}

static enum trawl_status run_recorded(struct record *r, struct trawl_train_report *report)
{
    struct train_config config = {0};
    struct train_result result;
    json_t *record = NULL;
    char *text = NULL, *key = NULL;
    enum trawl_status status;
    TRY(make_config(&config, &r->options));
    TRY_OUT(make_record(&record, &r->options, lm_precision_name(config.precision)));
    if (r->run)
        TRY_OUT(check_record(r->run, record, r->run_path));
    text = json_dumps(record, JSON_INDENT(2));
    json_object_del(record, "program");
    key = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS);
    status = text && key ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for the record");
    if (!status && !r->run)
        status = write_record(r->options.output, r->run_path, text);
    if (status)
        goto out;
    config.configuration = text;
    config.key = key;
    status = train_run(&config, &result);
    if (!status)
        fill_report(report, &result);
out:
    json_decref(record);
    free(text);
    free(key);
    return status;
}

enum trawl_status trawl_train(const struct trawl_train_options *options, struct trawl_train_report *report)
{
    struct trawl_train_options own;
    struct record record = {0};
    TRY(opt_adopt(&own, STAGE, options));
    *report = (struct trawl_train_report){0};
    enum trawl_status status = read_record(&record, &own);
    if (!status)
        status = run_recorded(&record, report);
    json_decref(record.file);
    json_decref(record.run);
    free(record.run_path);
    return status;
}
