#include "embed.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum trawl_status embed_open(struct embed *e, const char *model, const struct embed_options *options,
                             struct index_field *field)
{
    struct contract document, query;
    struct encoder_choices choices = options->choices;
    TRY(encoder_open(&e->encoder, model, &options->encoder));
    TRY(encoder_choose(&document, e->encoder, ENCODER_DOCUMENT, &choices));
    choices.prompt = options->query_prompt;
    TRY(encoder_choose(&query, e->encoder, ENCODER_QUERY, &choices));
    TRY(encoder_set_contract(e->encoder, ENCODER_DOCUMENT, &document));
    TRY(encoder_set_contract(e->encoder, ENCODER_QUERY, &query));
    field->kind = INDEX_DENSE;
    field->has_contract = true;
    field->document = *encoder_contract(e->encoder, ENCODER_DOCUMENT);
    field->query = *encoder_contract(e->encoder, ENCODER_QUERY);
    field->D = field->document.dims;
    return TRAWL_OK;
}

enum trawl_status embed_open_append(struct embed *e, const char *model, const struct encoder_options *options,
                                    const struct index_field *field, const char *where)
{
    struct encoder_options o = *options;
    if (!field->has_contract)
        return fail(TRAWL_MISMATCH, "%s: field '%s' does not say what model its vectors are from", where, field->name);
    const char *name = model ? model : field->document.model_name;
    enum trawl_status status = encoder_open(&e->encoder, name, &o);
    if (status && !model)
        return fail_context(status, "'%s' field '%s' needs its model (--model says where it is now)", where,
                            field->name);
    TRY(status);
    TRY(encoder_set_contract(e->encoder, ENCODER_DOCUMENT, &field->document));
    status = contract_check(&field->document, encoder_contract(e->encoder, ENCODER_DOCUMENT), name);
    return status ? fail_context(status, "'%s' field '%s'", where, field->name) : TRAWL_OK;
}

/* What the rows depend on beside the texts: the contract, precision included. */
static enum trawl_status make_key(const struct embed *e, char **key)
{
    json_t *json;
    TRY(contract_to_json(&json, encoder_contract(e->encoder, ENCODER_DOCUMENT)));
    *key = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(json);
    return *key ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for a contract");
}

enum trawl_status embed_start(struct embed *e, const char *folder, const char *field)
{
    char *key;
    struct buf path = {0};
    TRY(make_key(e, &key));
    enum trawl_status status = buf_printf(&path, "%s/resume.%s", folder, field);
    if (!status)
        status = part_open(&e->part, path.data, key, encoder_contract(e->encoder, ENCODER_DOCUMENT)->dims);
    e->resuming = true;
    free(key);
    buf_release(&path);
    return status;
}

static struct part_hash hash_texts(const struct text_view *texts, size_t n)
{
    XXH3_state_t *state = XXH3_createState();
    struct part_hash out = {0};
    if (!state)
        return out;
    XXH3_128bits_reset(state);
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes = texts[i].n;
        XXH3_128bits_update(state, &bytes, sizeof bytes);
        XXH3_128bits_update(state, texts[i].text, texts[i].n);
    }
    XXH128_hash_t sum = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    out.low = sum.low64;
    out.high = sum.high64;
    return out;
}

/* Takes the rows from the checkpoint if they are those of these texts; else what stands there from here on is dropped.
 */
static enum trawl_status take_over(struct embed *e, size_t n, bool *same)
{
    size_t n_there;
    struct part_hash there, wanted = e->block.texts;
    *same = false;
    if (!e->resuming)
        return TRAWL_OK;
    TRY(part_peek(e->part, &n_there, &there));
    if (n_there == n && there.low == wanted.low && there.high == wanted.high)
        TRY(part_next(e->part, &e->block, same));
    if (*same && e->block.rows.n == n * encoder_contract(e->encoder, ENCODER_DOCUMENT)->dims * sizeof(float)) {
        e->resumed += n;
        return TRAWL_OK;
    }
    *same = false;
    e->resuming = false;
    e->block.texts = wanted;
    return part_cut(e->part);
}

enum trawl_status embed_rows(struct embed *e, const float **rows, const struct text_view *texts, size_t n)
{
    struct part_block *b = &e->block;
    bool same;
    size_t bytes = n * encoder_contract(e->encoder, ENCODER_DOCUMENT)->dims * sizeof(float);
    b->texts = hash_texts(texts, n);
    TRY(take_over(e, n, &same));
    if (!same) {
        const struct encoder_counts before = *encoder_counts(e->encoder), *after = encoder_counts(e->encoder);
        b->n = n;
        buf_reset(&b->ids);
        buf_reset(&b->rows);
        TRY(buf_reserve(&b->rows, bytes));
        b->rows.n = bytes;
        TRY(encoder_encode(e->encoder, (float *)(void *)b->rows.data, texts, n, ENCODER_DOCUMENT));
        b->tokens = after->tokens - before.tokens;
        b->cut = after->cut - before.cut;
        b->empty = after->empty - before.empty;
        TRY(part_append(e->part, b));
    }
    e->cut += b->cut;
    e->empty += b->empty;
    *rows = (const float *)(const void *)b->rows.data;
    return TRAWL_OK;
}

void embed_close(struct embed *e, bool done)
{
    if (e->part && done)
        part_remove(e->part);
    else
        part_close(e->part);
    part_block_release(&e->block);
    encoder_close(e->encoder);
    *e = (struct embed){0};
}
