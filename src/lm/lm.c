/* The session: opening, text to ids, and feeding a long sequence through K/V in pieces. */
#include "lm_int.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_TOKENS = 2048,
    TILE_FLOATS = 16 << 20, /* 64 MiB of logits */
    TILE_ROWS_MAX = 256,
};

static const char *const precision_names[] = {[NN_F32] = "f32", [NN_BF16] = "bf16", [NN_INT8] = "int8"};

enum trawl_status lm_precision(enum nn_precision *precision, const char *name)
{
    if (!name || !strcmp(name, "auto")) {
        *precision = nn_precision_best();
        return TRAWL_OK;
    }
    for (size_t i = 0; i < sizeof precision_names / sizeof *precision_names; i++)
        if (!strcmp(name, precision_names[i])) {
            *precision = (enum nn_precision)i;
            return TRAWL_OK;
        }
    return fail(TRAWL_USAGE, "unknown precision '%s' (auto, f32, bf16 or int8)", name);
}

const char *lm_precision_name(enum nn_precision precision)
{
    return precision_names[precision];
}

static size_t tile_rows(const struct nn_config *config)
{
    size_t rows = TILE_FLOATS / (config->V ? config->V : 1);
    if (rows > TILE_ROWS_MAX)
        rows = TILE_ROWS_MAX;
    return rows ? rows : 1;
}

static enum trawl_status make_scratch(struct lm *lm)
{
    const struct nn_config *c = lm->config;
    size_t floats;
    if (__builtin_mul_overflow(lm->batch_tokens, c->C, &floats))
        return fail(TRAWL_LIMIT, "a batch of %zu tokens is too large for this model", lm->batch_tokens);
    lm->tile = tile_rows(c);
    lm->ids = mem_array(lm->batch_tokens, sizeof *lm->ids);
    lm->begin = mem_array(lm->batch_tokens + 1, sizeof *lm->begin);
    lm->kv = mem_array(lm->batch_tokens, sizeof *lm->kv);
    lm->hidden = mem_aligned(floats, sizeof *lm->hidden);
    lm->logits = mem_aligned(lm->tile * c->V, sizeof *lm->logits);
    lm->prefix_row = mem_array(c->C, sizeof *lm->prefix_row);
    lm->targets = mem_array(lm->batch_tokens, sizeof *lm->targets);
    lm->places = mem_array(lm->batch_tokens, sizeof *lm->places);
    if (!lm->ids || !lm->begin || !lm->kv || !lm->hidden || !lm->logits || !lm->prefix_row || !lm->targets ||
        !lm->places)
        return mem_status();
    TRY(tokenizer_scratch_new(&lm->scratch));
    return nn_run_new(&lm->run, lm->model, lm->batch_tokens);
}

enum trawl_status lm_open(struct lm **out, const char *path_or_name, const struct lm_options *options)
{
    enum trawl_status status;
    enum nn_precision precision = NN_F32;
    *out = NULL;
    TRY(lm_precision(&precision, options->precision));
    struct lm *lm = mem_array(1, sizeof *lm);
    if (!lm)
        return mem_status();
    TRY_OUT(model_files_open(&lm->files, path_or_name));
    const struct nn_source *source = model_files_source(lm->files);
    if (!source->config->has_head || source->config->encoder) {
        status = fail(TRAWL_UNSUPPORTED, "'%s' is no language model: a %s has no next-token head (use 'trawl encode')",
                      path_or_name, model_files_family(lm->files));
        goto out;
    }
    TRY_OUT(nn_model_new(&lm->model, source, precision));
    lm->config = nn_model_config(lm->model);
    lm->batch_tokens = options->batch_tokens ? options->batch_tokens : BATCH_TOKENS;
    TRY_OUT(make_scratch(lm));
out:
    if (status != TRAWL_OK) {
        lm_close(lm);
        return status;
    }
    *out = lm;
    return TRAWL_OK;
}

void lm_close(struct lm *lm)
{
    if (!lm)
        return;
    nn_run_free(lm->run);
    tokenizer_scratch_free(lm->scratch);
    nn_model_free(lm->model);
    model_files_close(lm->files);
    free(lm->ids);
    free(lm->begin);
    free(lm->kv);
    free(lm->hidden);
    free(lm->logits);
    free(lm->prefix_row);
    free(lm->targets);
    free(lm->places);
    free(lm);
}

struct model_files *lm_files(const struct lm *lm)
{
    return lm->files;
}

const struct nn_model *lm_model(const struct lm *lm)
{
    return lm->model;
}

static enum trawl_status push(struct ids *out, uint32_t id)
{
    TRY(mem_grow((void **)&out->ids, &out->cap, out->n + 1, sizeof *out->ids));
    out->ids[out->n++] = id;
    return TRAWL_OK;
}

enum trawl_status lm_text(struct lm *lm, struct ids *out, const char *text, size_t n, bool parse_special)
{
    const struct tokenizer *t = model_files_tokenizer(lm->files);
    if (!t)
        return fail(TRAWL_MISMATCH, "'%s' has no tokenizer (add its tokenizer.json, or give ids)",
                    model_files_path(lm->files));
    uint32_t bos = tokenizer_wants_bos(t) ? tokenizer_special_id(t, TOKENIZER_BOS) : TOKENIZER_NONE;
    size_t first = out->n;
    if (bos != TOKENIZER_NONE)
        TRY(push(out, bos));
    TRY(tokenizer_encode(t, lm->scratch, out, text, n, parse_special ? TOKENIZER_PARSE_SPECIAL : 0));
    /* Chat templates of models that want BOS write it themselves. */
    if (bos != TOKENIZER_NONE && out->n - first > 1 && out->ids[first + 1] == bos) {
        memmove(out->ids + first, out->ids + first + 1, (out->n - first - 1) * sizeof *out->ids);
        out->n--;
    }
    return TRAWL_OK;
}

size_t lm_stop_ids(const struct lm *lm, uint32_t out[LM_STOP_MAX], bool chat)
{
    static const char *const turn_ends[] = {"<|im_end|>", "<end_of_turn>", "<|eot_id|>",
                                            "<|eom_id|>", "<|endoftext|>", "</s>"};
    const struct tokenizer *t = model_files_tokenizer(lm->files);
    size_t n = 0;
    if (!t)
        return 0;
    uint32_t eos = tokenizer_special_id(t, TOKENIZER_EOS);
    if (eos != TOKENIZER_NONE)
        out[n++] = eos;
    for (size_t i = 0; chat && i < sizeof turn_ends / sizeof *turn_ends; i++) {
        uint32_t id = tokenizer_id(t, turn_ends[i], strlen(turn_ends[i]));
        if (id != TOKENIZER_NONE && id != eos)
            out[n++] = id;
    }
    return n;
}

enum trawl_status lm_check(const struct lm *lm, const struct lm_tokens *seq)
{
    if (seq->n > lm->config->positions)
        return fail(TRAWL_LIMIT, "%zu tokens, the model knows %zu positions", seq->n, lm->config->positions);
    for (size_t i = 0; i < seq->n; i++)
        if (seq->ids[i] >= lm->config->V)
            return fail(TRAWL_FORMAT, "token %zu is %u, the vocabulary has %zu", i + 1, seq->ids[i], lm->config->V);
    return TRAWL_OK;
}

enum trawl_status lm_feed(struct lm *lm, struct nn_kv *kv, const struct lm_tokens *seq, size_t *rows)
{
    for (size_t at = 0; at < seq->n; at += *rows) {
        *rows = seq->n - at < lm->batch_tokens ? seq->n - at : lm->batch_tokens;
        struct nn_batch batch = {.ids = seq->ids + at,
                                 .begin = (const uint32_t[]){0, (uint32_t)*rows},
                                 .B = 1,
                                 .attention = NN_CAUSAL,
                                 .kv = (struct nn_kv *const[]){kv},
                                 .kv_append = true};
        TRY(nn_forward(lm->run, lm->hidden, &batch));
    }
    return TRAWL_OK;
}
