/* The handle of an encoder. */
#include "base/mem.h"
#include "encode/encode.h"
#include <stdlib.h>
#include <string.h>

enum { VIEWS = 256 }; /* texts handed on at a time */

struct trawl_encoder {
    struct encoder *e;
    struct text_view views[VIEWS];
};

static enum trawl_status tristate(int *out, bool yes, bool no, const char *name)
{
    *out = yes ? 1 : no ? 0 : -1;
    return yes && no ? fail(TRAWL_USAGE, "both '%s' and 'no_%s' are set", name, name) : TRAWL_OK;
}

static enum trawl_status set_contracts(struct encoder *e, const struct trawl_encoder_options *o)
{
    struct encoder_choices c = {.pooling = o->pooling,
                                .attention = o->attention,
                                .normalize = o->normalize,
                                .max_length = o->max_length,
                                .dims = o->dims};
    TRY(tristate(&c.append_eos, o->append_eos, o->no_append_eos, "append_eos"));
    TRY(tristate(&c.prompt_pooled, o->pool_prompt, o->no_pool_prompt, "pool_prompt"));
    TRY(tristate(&c.special_pooled, o->pool_special, o->no_pool_special, "pool_special"));
    for (int side = 0; side < 2; side++) {
        struct contract contract;
        c.prompt = side == ENCODER_QUERY ? o->query_prompt : o->document_prompt;
        TRY(encoder_choose(&contract, e, (enum encoder_side)side, &c));
        TRY(encoder_set_contract(e, (enum encoder_side)side, &contract));
    }
    return TRAWL_OK;
}

enum trawl_status trawl_encoder_open(struct trawl_encoder **out, const char *path_or_name,
                                     const struct trawl_encoder_options *options)
{
    struct trawl_encoder_options o = {.size = sizeof o};
    enum trawl_status status;
    *out = NULL;
    if (options)
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    struct trawl_encoder *h = mem_array(1, sizeof *h);
    if (!h)
        return mem_status();
    struct encoder_options inner = {
        .precision = o.precision, .batch_tokens = o.batch_tokens, .refuse_long = o.refuse_long};
    TRY_OUT(encoder_open(&h->e, path_or_name, &inner));
    TRY_OUT(set_contracts(h->e, &o));
    *out = h;
    h = NULL;
out:
    trawl_encoder_close(h);
    return status;
}

void trawl_encoder_close(struct trawl_encoder *h)
{
    if (!h)
        return;
    encoder_close(h->e);
    free(h);
}

size_t trawl_encoder_dims(const struct trawl_encoder *h)
{
    return encoder_contract(h->e, ENCODER_DOCUMENT)->dims;
}

enum trawl_status trawl_encoder_encode(struct trawl_encoder *h, float *vectors, const char *const *texts,
                                       const size_t *text_bytes, size_t n, bool query)
{
    enum encoder_side side = query ? ENCODER_QUERY : ENCODER_DOCUMENT;
    size_t dims = encoder_contract(h->e, side)->dims;
    for (size_t i = 0; i < n; i += VIEWS) {
        size_t part = n - i < VIEWS ? n - i : VIEWS;
        for (size_t k = 0; k < part; k++)
            h->views[k] = (struct text_view){texts[i + k], text_bytes ? text_bytes[i + k] : strlen(texts[i + k])};
        enum trawl_status status = encoder_encode(h->e, vectors + i * dims, h->views, part, side);
        if (status != TRAWL_OK && encoder_failed_text(h->e) < part)
            return fail_context(status, "text %zu", i + encoder_failed_text(h->e) + 1);
        TRY(status);
    }
    return TRAWL_OK;
}
