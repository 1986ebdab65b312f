/*
 * encode: any corpus or queries to a file of vectors. Texts are read in blocks; finished blocks go to a checkpoint
 * beside the output; when all are there, the output is written from it and it is removed. A run that finds a checkpoint
 * of the same model, contract and way of reading goes through the same input, and takes over the blocks whose texts are
 * the same. Vectors do not depend on the batch, so where the blocks were cut does not show.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/opt.h"
#include "data/vectors.h"
#include "encode/encode.h"
#include "part.h"
#include "stages.h"
#include "texts.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define OPTIONS struct trawl_encode_options
static const struct trawl_option options_table[] = {
    OPT_NEED(OPTIONS, model, "model", "M", "model folder, GGUF file or name"),
    OPT_NEED(OPTIONS, input, "input", "F",
             "corpus or queries: BEIR folder, JSON lines, TSV, TREC, folder of texts, .txt of lines; - for JSON lines "
             "from standard input"),
    OPT_NEED(OPTIONS, output, "output", "V", "vectors file: .npy, .jsonl or .vecs; - for JSON lines"),
    OPT_CHOICE(OPTIONS, format, "format", "auto", "auto|npy|jsonl|vecs", "format of the vectors (auto: by the name)"),
    OPT_CHOICE(OPTIONS, input_format, "input-format", "auto", "auto|beir|anserini|msmarco|tsv|trec|folder|lines",
               "format of the input (auto: by its content)"),
    OPT_CHOICE(OPTIONS, side, "side", "document", "document|query", "encode as documents or as queries"),
    OPT_CHOICE(OPTIONS, join, "join", NULL, "space|newline|text",
               "how title and text become one text (text: the title is left out)"),
    OPT_CHOICE(OPTIONS, pooling, "pooling", NULL, "mean|last|weighted-mean|first",
               "which token states make the vector"),
    OPT_CHOICE(OPTIONS, attention, "attention", NULL, "causal|bidirectional", "what tokens see of each other"),
    OPT_CHOICE(OPTIONS, normalize, "normalize", NULL, "l2|none", "length of the vectors"),
    OPT_STRING(OPTIONS, prompt, "prompt", "TEXT", NULL, "text put before every text"),
    OPT_CHOICE(OPTIONS, prompt_name, "prompt-name", NULL, "query|document", "the model's own prompt for that side"),
    OPT_FLAG(OPTIONS, pool_prompt, "pool-prompt", "tokens of the prompt are pooled too"),
    OPT_FLAG(OPTIONS, no_pool_prompt, "no-pool-prompt", "tokens of the prompt are left out of the pooling"),
    OPT_FLAG(OPTIONS, pool_special, "pool-special", "BOS and other added special tokens are pooled"),
    OPT_FLAG(OPTIONS, no_pool_special, "no-pool-special", "added special tokens are left out of the pooling"),
    OPT_FLAG(OPTIONS, append_eos, "append-eos", "end every text with the model's EOS"),
    OPT_FLAG(OPTIONS, no_append_eos, "no-append-eos", "do not, although the contract says so"),
    OPT_COUNT(OPTIONS, max_length, "max-length", "N", NULL, "tokens of a text, special ones included"),
    OPT_CHOICE(OPTIONS, too_long, "too-long", "cut", "cut|refuse", "what becomes of texts beyond the maximum"),
    OPT_COUNT(OPTIONS, dims, "dims", "N", NULL, "keep the first N dimensions (before normalising)"),
    OPT_CHOICE(OPTIONS, precision, "precision", "auto", "auto|f32|bf16|int8",
               "precision of the computation (auto: the best safe one of this processor)"),
    OPT_COUNT(OPTIONS, batch_tokens, "batch-tokens", "N", NULL, "tokens of one packed batch; decides the workspace"),
    OPT_FLAG(OPTIONS, strict, "strict", "refuse invalid UTF-8 instead of replacing it"),
    OPT_FLAG(OPTIONS, restart, "restart", "begin anew although an interrupted run could be continued"),
};
const struct trawl_stage stage_encode = {
    .name = "encode",
    .summary = "turn texts into vectors",
    .details =
        "Without further options the vectors follow the contract of the model folder: its pooling, prompts, Dense "
        "modules, "
        "maximum length and normalisation. A bare language model has mean pooling over causal states, BOS pooled where "
        "the model has one, no EOS, l2, 512 tokens. Rows are in the order of the input; a text without tokens becomes "
        "a "
        "zero vector. Special-looking strings in a text are text.\n"
        "\n"
        "An interrupted run leaves V.part; the same command continues from it, and the result is the same to the bit "
        "as "
        "that of an uninterrupted run. A .vecs file keeps ids, checksums and the contracts of documents and queries.",
    .examples = "trawl encode --model minilm --input scifact --output scifact.vecs\n"
                "# a bare LLM, bidirectional, last token\n"
                "trawl encode --model smollm2-135m --input corpus.jsonl --output corpus.npy --pooling last "
                "--attention bidirectional",
    .options_bytes = sizeof(OPTIONS),
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
};
#undef OPTIONS

enum {
    BLOCK_TEXTS_FIRST = 64,
    BLOCK_TEXTS_MIN = 8,
    BLOCK_TEXTS_MAX = 4096,
    BLOCK_BYTES = 8 << 20, /* of texts */
};
#define BLOCK_SECONDS 2.0 /* that a block should take */

struct job {
    const struct trawl_encode_options *o;
    struct trawl_encode_report *report;
    struct encoder *encoder;
    enum encoder_side side;
    struct texts *texts;
    struct part *part;
    size_t D;
    /* the block being read and encoded */
    struct buf text;
    struct text_view *views; /* (BLOCK_TEXTS_MAX); .text is an offset until the block is complete */
    struct part_block block, done;
    size_t wanted; /* texts of the next block */
    bool ended;
    /* progress and rate */
    struct progress progress;
    double begun;
    uint64_t encoded;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- contract ---- */

static enum trawl_status tristate(int *out, bool yes, bool no, const char *name)
{
    *out = yes ? 1 : no ? 0 : -1;
    return yes && no ? fail(TRAWL_USAGE, "both '--%s' and '--no-%s' were given", name, name) : TRAWL_OK;
}

/* What was asked for applies to both sides, but for prompt and join, so that queries meet the documents' vectors. */
static enum trawl_status set_contracts(struct job *j)
{
    const struct trawl_encode_options *o = j->o;
    struct encoder_choices c = {.pooling = o->pooling,
                                .attention = o->attention,
                                .normalize = o->normalize,
                                .join = o->join,
                                .max_length = o->max_length,
                                .dims = o->dims};
    struct contract side, other;
    enum encoder_side away = j->side == ENCODER_QUERY ? ENCODER_DOCUMENT : ENCODER_QUERY;
    TRY(tristate(&c.append_eos, o->append_eos, o->no_append_eos, "append-eos"));
    TRY(tristate(&c.prompt_pooled, o->pool_prompt, o->no_pool_prompt, "pool-prompt"));
    TRY(tristate(&c.special_pooled, o->pool_special, o->no_pool_special, "pool-special"));
    if (o->prompt && o->prompt_name)
        return fail(TRAWL_USAGE, "both '--prompt' and '--prompt-name' were given");
    TRY(encoder_choose(&other, j->encoder, away, &c));
    c.prompt = o->prompt;
    if (o->prompt_name)
        c.prompt =
            encoder_contract(j->encoder, strcmp(o->prompt_name, "query") ? ENCODER_DOCUMENT : ENCODER_QUERY)->prompt;
    TRY(encoder_choose(&side, j->encoder, j->side, &c));
    TRY(encoder_set_contract(j->encoder, j->side, &side));
    return encoder_set_contract(j->encoder, away, &other);
}

static enum trawl_status open_encoder(struct job *j)
{
    const struct trawl_encode_options *o = j->o;
    struct encoder_options options = {.precision = o->precision,
                                      .batch_tokens = o->batch_tokens,
                                      .refuse_long = o->too_long && !strcmp(o->too_long, "refuse")};
    j->side = o->side && !strcmp(o->side, "query") ? ENCODER_QUERY : ENCODER_DOCUMENT;
    TRY(encoder_open(&j->encoder, o->model, &options));
    TRY(set_contracts(j));
    const struct contract *c = encoder_contract(j->encoder, j->side);
    j->D = c->dims;
    j->report->dims = c->dims;
    j->report->max_length = c->max_length;
    memcpy(j->report->precision, c->precision, sizeof c->precision);
    memcpy(j->report->isa, c->isa, sizeof c->isa);
    return TRAWL_OK;
}

/* ---- input ---- */

static enum trawl_status open_input(struct job *j)
{
    const struct contract *document = encoder_contract(j->encoder, ENCODER_DOCUMENT);
    struct texts_options options = {.format = j->o->input_format,
                                    .join = document->join[0] ? document->join : "space",
                                    .strict = j->o->strict,
                                    .queries = j->side == ENCODER_QUERY};
    j->views = mem_array(BLOCK_TEXTS_MAX, sizeof *j->views);
    if (!j->views)
        return mem_status();
    return texts_open(&j->texts, j->o->input, &options);
}

static enum trawl_status add_text(struct job *j, const struct text_item *item, XXH3_state_t *hash)
{
    struct part_block *b = &j->block;
    size_t id_bytes = strlen(item->id); /* an id ends at its first NUL */
    uint64_t sizes[2] = {id_bytes, item->text_bytes};
    XXH3_128bits_update(hash, sizes, sizeof sizes);
    XXH3_128bits_update(hash, item->id, id_bytes);
    XXH3_128bits_update(hash, item->text, item->text_bytes);
    j->views[b->n++] = (struct text_view){.n = item->text_bytes};
    TRY(buf_append(&b->ids, item->id, id_bytes + 1));
    return buf_append(&j->text, item->text, item->text_bytes);
}

/* Reads up to `n` texts, fewer where they are long; j->ended at the end of the input. */
static enum trawl_status read_block(struct job *j, size_t n)
{
    XXH3_state_t hash;
    struct text_item item;
    XXH3_128bits_reset(&hash);
    j->block.n = 0;
    buf_reset(&j->block.ids);
    buf_reset(&j->text);
    while (j->block.n < n && j->text.n < BLOCK_BYTES) {
        TRY(texts_next(j->texts, &item));
        j->ended = !item.id;
        if (j->ended)
            break;
        TRY(add_text(j, &item, &hash));
    }
    XXH128_hash_t sum = XXH3_128bits_digest(&hash);
    j->block.texts = (struct part_hash){sum.low64, sum.high64};
    size_t at = 0;
    for (size_t i = 0; i < j->block.n; at += j->views[i++].n)
        j->views[i].text = j->text.data + at;
    return TRAWL_OK;
}

/* ---- blocks ---- */

static const char *nth_id(const struct part_block *block, size_t n)
{
    const char *id = block->ids.data;
    while (n--)
        id += strlen(id) + 1;
    return id;
}

static enum trawl_status encode_block(struct job *j)
{
    struct part_block *b = &j->block;
    const struct encoder_counts before = *encoder_counts(j->encoder), *after = encoder_counts(j->encoder);
    double begun = now();
    buf_reset(&b->rows);
    TRY(buf_reserve(&b->rows, b->n * j->D * sizeof(float)));
    b->rows.n = b->n * j->D * sizeof(float);
    enum trawl_status status = encoder_encode(j->encoder, (float *)(void *)b->rows.data, j->views, b->n, j->side);
    if (status != TRAWL_OK) {
        size_t failed = encoder_failed_text(j->encoder);
        return failed < b->n ? fail_context(status, "'%s' text '%s'", j->o->input, nth_id(b, failed)) : status;
    }
    b->tokens = after->tokens - before.tokens;
    b->cut = after->cut - before.cut;
    b->empty = after->empty - before.empty;
    j->encoded += b->n;
    double seconds = now() - begun;
    if (seconds < BLOCK_SECONDS / 2 && j->wanted < BLOCK_TEXTS_MAX)
        j->wanted *= 2;
    else if (seconds > BLOCK_SECONDS * 2 && j->wanted > BLOCK_TEXTS_MIN)
        j->wanted /= 2;
    return part_append(j->part, b);
}

static void count_block(struct job *j, const struct part_block *b)
{
    uint64_t done, total;
    j->report->texts += b->n;
    j->report->tokens += b->tokens;
    j->report->cut += b->cut;
    j->report->empty += b->empty;
    texts_position(j->texts, &done, &total);
    /* How many texts there will be is guessed from how far the input is read. */
    j->progress.total = total && done ? (uint64_t)((double)j->report->texts * (double)total / (double)done + 0.5) : 0;
    if (j->progress.total <= j->report->texts)
        j->progress.total = j->ended ? j->report->texts : j->report->texts + 1;
    progress_set(&j->progress, j->report->texts);
}

/* Takes over the next block of the checkpoint; *same is false past its end, and where the input is another one: then
 * the texts read wait in j->block. */
static enum trawl_status take_over(struct job *j, bool *same)
{
    size_t n;
    struct part_hash texts;
    *same = false;
    j->block.n = 0;
    TRY(part_peek(j->part, &n, &texts));
    if (!n || n > BLOCK_TEXTS_MAX || j->ended)
        return TRAWL_OK;
    TRY(read_block(j, n));
    if (j->block.n == n && j->block.texts.low == texts.low && j->block.texts.high == texts.high)
        TRY(part_next(j->part, &j->done, same));
    if (!*same)
        return TRAWL_OK;
    j->report->resumed += j->done.n;
    count_block(j, &j->done);
    return TRAWL_OK;
}

/* Blocks of an interrupted run, as long as the input is the same. */
static enum trawl_status resume(struct job *j)
{
    bool same = true;
    while (same)
        TRY(take_over(j, &same));
    if (!j->block.n)
        return part_cut(j->part);
    log_warn("'%s.part' does not fit '%s' after %" PRIu64 " texts: encoding %s", j->o->output, j->o->input,
             j->report->resumed, j->report->resumed ? "continues there" : "starts afresh");
    TRY(encode_block(j));
    count_block(j, &j->block);
    return TRAWL_OK;
}

static enum trawl_status encode_all(struct job *j)
{
    TRY(resume(j));
    while (!j->ended) {
        TRY(read_block(j, j->wanted));
        if (!j->block.n)
            break;
        TRY(encode_block(j));
        count_block(j, &j->block);
    }
    if (!j->report->texts)
        return fail(TRAWL_FORMAT, "'%s' holds no texts", j->o->input);
    return TRAWL_OK;
}

/* ---- output ---- */

/* What the rows depend on beside the texts, in readable form. */
static enum trawl_status make_key(struct job *j, struct buf *key)
{
    json_t *json = NULL;
    TRY(contract_to_json(&json, encoder_contract(j->encoder, j->side)));
    char *text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(json);
    if (!text)
        return fail(TRAWL_NOMEM, "no memory for the contract's text");
    enum trawl_status status =
        buf_printf(key, "{\"contract\":%s,\"isa\":\"%s\",\"precision\":\"%s\",\"side\":\"%s\"}", text, j->report->isa,
                   j->report->precision, j->side == ENCODER_QUERY ? "query" : "document");
    free(text);
    return status;
}

static enum trawl_status open_part(struct job *j)
{
    struct buf key = {0}, path = {0};
    enum trawl_status status;
    bool named = strcmp(j->o->output, "-") != 0;
    TRY_OUT(make_key(j, &key));
    TRY_OUT(buf_printf(&path, "%s.part", j->o->output));
    TRY_OUT(part_open(&j->part, named ? path.data : NULL, key.data, j->D));
    if (j->o->restart)
        TRY_OUT(part_cut(j->part));
out:
    buf_release(&key);
    buf_release(&path);
    return status;
}

static enum trawl_status copy_blocks(struct job *j, struct vectors_writer *w)
{
    bool found;
    uint64_t n = 0;
    TRY(part_rewind(j->part));
    for (;;) {
        TRY(part_next(j->part, &j->done, &found));
        if (!found)
            break;
        const char *id = j->done.ids.data;
        const float *rows = (const float *)(const void *)j->done.rows.data;
        for (size_t i = 0; i < j->done.n; i++, id += strlen(id) + 1)
            TRY(vectors_add(w, id, rows + i * j->D));
        n += j->done.n;
    }
    if (n != j->report->texts)
        return fail(TRAWL_CORRUPT,
                    "'%s.part' changed while it was read: %" PRIu64 " of %" PRIu64 " rows are good (run "
                    "the command again)",
                    j->o->output, n, j->report->texts);
    return TRAWL_OK;
}

static enum trawl_status create_output(struct job *j, struct vectors_writer **w)
{
    const char *format = strcmp(j->o->output, "-") || strcmp(j->o->format, "auto") ? j->o->format : "jsonl";
    return vectors_create(w, j->o->output, format, j->D, encoder_contract(j->encoder, ENCODER_DOCUMENT),
                          encoder_contract(j->encoder, ENCODER_QUERY));
}

/* A format or place that cannot be is told before hours of work, not after. */
static enum trawl_status try_output(struct job *j)
{
    struct vectors_writer *w = NULL;
    TRY(create_output(j, &w));
    vectors_abort(&w);
    return TRAWL_OK;
}

static enum trawl_status write_output(struct job *j)
{
    struct vectors_writer *w = NULL;
    TRY(create_output(j, &w));
    enum trawl_status status = copy_blocks(j, w);
    if (status == TRAWL_OK)
        return vectors_commit(&w);
    vectors_abort(&w);
    return status;
}

static void fill_report(struct job *j)
{
    const struct corpus_counts *met = texts_counts(j->texts);
    j->report->invalid_utf8 = met->invalid_utf8;
    j->report->first_invalid_line = met->first_invalid_line;
    memcpy(j->report->first_invalid_id, met->first_invalid_id, sizeof met->first_invalid_id);
    j->report->workspace_bytes = encoder_workspace_bytes(j->encoder);
}

static void release(struct job *j)
{
    part_close(j->part);
    texts_close(j->texts);
    encoder_close(j->encoder);
    part_block_release(&j->block);
    part_block_release(&j->done);
    buf_release(&j->text);
    free(j->views);
}

static enum trawl_status run(struct job *j)
{
    TRY(file_keep_input(j->o->input, j->o->output));
    TRY(open_encoder(j));
    TRY(open_input(j));
    TRY(try_output(j));
    TRY(open_part(j));
    progress_begin(&j->progress, "encode", 0, "texts");
    j->begun = now();
    TRY(encode_all(j));
    j->report->seconds = now() - j->begun;
    progress_end(&j->progress);
    fill_report(j);
    TRY(write_output(j));
    part_remove(j->part);
    j->part = NULL;
    return TRAWL_OK;
}

enum trawl_status trawl_encode(const struct trawl_encode_options *options, struct trawl_encode_report *report)
{
    struct trawl_encode_options own;
    TRY(opt_adopt(&own, &stage_encode, options));
    *report = (struct trawl_encode_report){0};
    struct job job = {.o = &own, .report = report, .wanted = BLOCK_TEXTS_FIRST};
    enum trawl_status status = run(&job);
    release(&job);
    return status;
}
