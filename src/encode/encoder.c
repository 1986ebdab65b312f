/* Opening an encoder, and its contracts: the model's defaults, what a caller chooses, what the model can do. */
#include "encode_int.h"
#include "base/mem.h"
#include "lm/lm.h"
#include "math/isa.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const poolings[] = {
    [POOL_MEAN] = "mean", [POOL_LAST] = "last", [POOL_FIRST] = "first", [POOL_WEIGHTED_MEAN] = "weighted-mean"};

static enum trawl_status set_pooling(struct side *side)
{
    for (size_t i = 0; i < sizeof poolings / sizeof *poolings; i++)
        if (!strcmp(side->contract.pooling, poolings[i])) {
            side->pooling = (enum pooling)i;
            return TRAWL_OK;
        }
    return fail(TRAWL_USAGE, "unknown pooling '%s' (mean, last, first or weighted-mean)", side->contract.pooling);
}

static enum trawl_status set_attention(struct side *side, const struct encoder *e)
{
    const char *name = side->contract.attention;
    if (!strcmp(name, "bidirectional"))
        side->attention = NN_BIDIRECTIONAL;
    else if (strcmp(name, "causal"))
        return fail(TRAWL_USAGE, "unknown attention '%s' (causal or bidirectional)", name);
    else if (e->config->encoder)
        return fail(TRAWL_UNSUPPORTED, "a %s has bidirectional attention, not causal", model_files_family(e->files));
    else
        side->attention = NN_CAUSAL;
    return TRAWL_OK;
}

static enum trawl_status set_sizes(struct side *side, const struct encoder *e)
{
    struct contract *c = &side->contract;
    if (!c->dims)
        c->dims = e->D;
    if (c->dims > e->D)
        return fail(TRAWL_LIMIT, "%zu dimensions asked for, the model gives %zu", c->dims, e->D);
    if (c->max_length > e->config->positions)
        return fail(TRAWL_LIMIT, "max_length %zu is beyond the %zu positions that the model knows", c->max_length,
                    e->config->positions);
    side->l2 = !strcmp(c->normalize, "l2");
    if (!side->l2 && strcmp(c->normalize, "none"))
        return fail(TRAWL_USAGE, "unknown normalisation '%s' (l2 or none)", c->normalize);
    return TRAWL_OK;
}

enum trawl_status encoder_set_contract(struct encoder *e, enum encoder_side which, const struct contract *c)
{
    struct side side = {.contract = *c};
    const struct contract *own = &e->sides[which].contract;
    memcpy(side.contract.model, own->model, sizeof own->model);
    memcpy(side.contract.tokenizer, own->tokenizer, sizeof own->tokenizer);
    memcpy(side.contract.model_name, own->model_name, sizeof own->model_name);
    memcpy(side.contract.precision, own->precision, sizeof own->precision);
    memcpy(side.contract.isa, own->isa, sizeof own->isa);
    TRY(set_pooling(&side));
    TRY(set_attention(&side, e));
    TRY(set_sizes(&side, e));
    TRY(side_tokens(&side, e));
    if (e->run) /* made for other lengths perhaps */
        window_release(e);
    e->sides[which] = side;
    return TRAWL_OK;
}

/* A short name of the table's kind into a field of the record. */
static enum trawl_status choose_text(char *field, size_t room, const char *what, const char *value)
{
    if (!value)
        return TRAWL_OK;
    if (strlen(value) >= room)
        return fail(TRAWL_USAGE, "%s of %zu bytes is too long, at most %zu are kept in a contract", what, strlen(value),
                    room - 1);
    memset(field, 0, room);
    memcpy(field, value, strlen(value));
    return TRAWL_OK;
}

enum trawl_status encoder_choose(struct contract *out, const struct encoder *e, enum encoder_side side,
                                 const struct encoder_choices *ch)
{
    *out = e->sides[side].contract;
    TRY(choose_text(out->pooling, sizeof out->pooling, "pooling", ch->pooling));
    TRY(choose_text(out->attention, sizeof out->attention, "attention", ch->attention));
    TRY(choose_text(out->normalize, sizeof out->normalize, "normalize", ch->normalize));
    TRY(choose_text(out->prompt, sizeof out->prompt, "prompt", ch->prompt));
    if (side == ENCODER_DOCUMENT)
        TRY(choose_text(out->join, sizeof out->join, "join", ch->join));
    if (ch->prompt_pooled >= 0)
        out->prompt_pooled = ch->prompt_pooled > 0;
    if (ch->special_pooled >= 0)
        out->special_pooled = ch->special_pooled > 0;
    if (ch->append_eos >= 0)
        out->append_eos = ch->append_eos > 0;
    if (ch->max_length)
        out->max_length = ch->max_length;
    if (ch->dims)
        out->dims = ch->dims;
    return TRAWL_OK;
}

/* The model's default record of a side, with what is known only now. */
static enum trawl_status default_contract(struct encoder *e, enum encoder_side which, const struct contract *preset,
                                          const char *name)
{
    struct contract *c = &e->sides[which].contract;
    *c = *preset;
    TRY(choose_text(c->model_name, sizeof c->model_name, "model name", name));
    TRY(model_files_fingerprint(e->files, c->model));
    snprintf(c->tokenizer, sizeof c->tokenizer, "%016" PRIx64, tokenizer_fingerprint(e->tokenizer));
    snprintf(c->precision, sizeof c->precision, "%s", lm_precision_name(e->precision));
    snprintf(c->isa, sizeof c->isa, "%s", isa_name());
    if (!c->max_length || c->max_length > e->config->positions)
        c->max_length = e->config->positions;
    struct contract copy = *c;
    return encoder_set_contract(e, which, &copy);
}

/* Each Dense module takes what the one before gives. */
static enum trawl_status check_modules(struct encoder *e, const char *path)
{
    e->D = e->config->C;
    for (size_t i = 0; i < e->modules->n_dense; i++) {
        const struct model_dense *dense = &e->modules->dense[i];
        if (dense->in != e->D)
            return fail(TRAWL_MISMATCH, "'%s': Dense module %zu takes %zu dimensions, it is given %zu", path, i + 1,
                        dense->in, e->D);
        e->D = dense->out;
    }
    return TRAWL_OK;
}

static enum trawl_status open_model(struct encoder *e, const char *path_or_name, const struct encoder_options *options)
{
    enum nn_precision precision = NN_F32;
    TRY(lm_precision(&precision, options->precision));
    TRY(model_files_open(&e->files, path_or_name));
    e->tokenizer = model_files_tokenizer(e->files);
    if (!e->tokenizer)
        return fail(TRAWL_MISMATCH, "'%s' has no tokenizer (add its tokenizer.json)", path_or_name);
    e->modules = model_files_modules(e->files);
    e->config = model_files_source(e->files)->config;
    e->precision = options->tokens_only ? NN_F32 : precision;
    if (!options->tokens_only)
        TRY(nn_model_new(&e->model, model_files_source(e->files), precision));
    return check_modules(e, path_or_name);
}

enum trawl_status encoder_open(struct encoder **out, const char *path_or_name, const struct encoder_options *options)
{
    enum trawl_status status;
    *out = NULL;
    struct encoder *e = mem_array(1, sizeof *e);
    if (!e)
        return mem_status();
    e->batch_tokens = options->batch_tokens;
    e->refuse_long = options->refuse_long;
    TRY_OUT(open_model(e, path_or_name, options));
    TRY_OUT(default_contract(e, ENCODER_DOCUMENT, &e->modules->document, path_or_name));
    TRY_OUT(default_contract(e, ENCODER_QUERY, &e->modules->query, path_or_name));
    *out = e;
    e = NULL;
out:
    encoder_close(e);
    return status;
}

void encoder_close(struct encoder *e)
{
    if (!e)
        return;
    window_release(e);
    if (e->single)
        worker_release(e->single);
    free(e->single);
    nn_model_free(e->model);
    model_files_close(e->files);
    free(e);
}

const struct contract *encoder_contract(const struct encoder *e, enum encoder_side side)
{
    return &e->sides[side].contract;
}

const struct encoder_counts *encoder_counts(const struct encoder *e)
{
    return &e->counts;
}

size_t encoder_failed_text(const struct encoder *e)
{
    return e->failed;
}

size_t encoder_workspace_bytes(const struct encoder *e)
{
    return e->workspace_bytes;
}

const struct nn_model *encoder_model(const struct encoder *e)
{
    return e->model;
}

struct model_files *encoder_files(const struct encoder *e)
{
    return e->files;
}
