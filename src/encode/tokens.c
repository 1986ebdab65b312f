/*
 * From text to the ids of a row: special tokens, prompt, cut. What the tokenizer file adds is learned once, by encoding
 * a probe with and without it, so that a text is tokenised bare and cut as Hugging Face does: special tokens stay.
 */
#include "encode_int.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <string.h>

static enum trawl_status add_special(uint32_t *list, size_t *n, const uint32_t *ids, size_t n_ids)
{
    if (n_ids > SPECIAL_MAX - *n)
        return fail(TRAWL_UNSUPPORTED, "the tokenizer puts %zu special tokens around a text, at most %d are supported",
                    *n + n_ids, SPECIAL_MAX);
    memcpy(list + *n, ids, n_ids * sizeof *ids);
    *n += n_ids;
    return TRAWL_OK;
}

/* Where `part` begins in `whole`; SIZE_MAX when it is not there as one run. */
static size_t find_run(const struct ids *whole, const struct ids *part)
{
    for (size_t at = 0; at + part->n <= whole->n; at++)
        if (!memcmp(whole->ids + at, part->ids, part->n * sizeof *part->ids))
            return at;
    return SIZE_MAX;
}

static enum trawl_status learn_special(struct side *side, const struct encoder *e)
{
    static const char probe[] = "probe";
    struct ids bare = {0}, whole = {0};
    enum trawl_status status;
    TRY_OUT(tokenizer_encode(e->tokenizer, NULL, &bare, probe, sizeof probe - 1, 0));
    TRY_OUT(tokenizer_encode(e->tokenizer, NULL, &whole, probe, sizeof probe - 1, TOKENIZER_ADD_SPECIAL));
    size_t at = find_run(&whole, &bare);
    if (at == SIZE_MAX) {
        status = fail(TRAWL_UNSUPPORTED, "the tokenizer's post-processor changes the tokens of a text");
        goto out;
    }
    TRY_OUT(add_special(side->head, &side->n_head, whole.ids, at));
    TRY_OUT(add_special(side->tail, &side->n_tail, whole.ids + at + bare.n, whole.n - at - bare.n));
out:
    ids_release(&bare);
    ids_release(&whole);
    return status;
}

/* BOS where the model wants one although its tokenizer file adds none; files of some converters are silent on it. */
static enum trawl_status want_bos(struct side *side, const struct tokenizer *t)
{
    uint32_t bos = tokenizer_special_id(t, TOKENIZER_BOS);
    if (!tokenizer_wants_bos(t) || bos == TOKENIZER_NONE || (side->n_head && side->head[0] == bos))
        return TRAWL_OK;
    if (side->n_head == SPECIAL_MAX)
        return fail(TRAWL_UNSUPPORTED, "the tokenizer puts more than %d special tokens in front", SPECIAL_MAX - 1);
    memmove(side->head + 1, side->head, side->n_head * sizeof *side->head);
    side->head[0] = bos;
    side->n_head++;
    return TRAWL_OK;
}

static enum trawl_status append_eos(struct side *side, const struct tokenizer *t)
{
    uint32_t eos = tokenizer_special_id(t, TOKENIZER_EOS);
    if (eos == TOKENIZER_NONE)
        return fail(TRAWL_UNSUPPORTED, "this tokenizer has no EOS to append");
    if (side->n_tail && side->tail[side->n_tail - 1] == eos)
        return TRAWL_OK;
    return add_special(side->tail, &side->n_tail, &eos, 1);
}

enum trawl_status side_tokens(struct side *side, const struct encoder *e)
{
    const struct contract *c = &side->contract;
    struct ids prompt = {0};
    side->n_head = side->n_tail = side->n_prompt = 0;
    if (c->add_special) {
        TRY(learn_special(side, e));
        TRY(want_bos(side, e->tokenizer));
    }
    if (c->append_eos)
        TRY(append_eos(side, e->tokenizer));
    if (c->prompt[0]) {
        enum trawl_status status = tokenizer_encode(e->tokenizer, NULL, &prompt, c->prompt, strlen(c->prompt), 0);
        side->n_prompt = prompt.n;
        ids_release(&prompt);
        TRY(status);
    }
    if (side->n_head + side->n_prompt + side->n_tail >= c->max_length)
        return fail(TRAWL_LIMIT,
                    "prompt (%zu tokens) and special tokens (%zu) leave no room for a text in max_length %zu "
                    "(make it larger)",
                    side->n_prompt, side->n_head + side->n_tail, c->max_length);
    return TRAWL_OK;
}

/* Prompt and text as one valid string in worker->text, unless the text can be used where it lies. */
static enum trawl_status whole_text(struct text_view *out, const char *prompt, struct worker *worker,
                                    const struct text_view *text)
{
    bool valid = utf8_invalid(text->text, text->n) == text->n;
    *out = *text;
    if (!prompt[0] && valid)
        return TRAWL_OK;
    buf_reset(&worker->text);
    TRY(buf_text(&worker->text, prompt));
    if (valid)
        TRY(buf_append(&worker->text, text->text, text->n));
    else
        TRY(utf8_repair(&worker->text, text->text, text->n));
    *out = (struct text_view){worker->text.data, worker->text.n};
    return TRAWL_OK;
}

/*
 * Which rows are pooled. As in sentence-transformers, leaving the prompt out leaves out the special tokens before it
 * too, and the prompt counts as many tokens as it has alone.
 */
static void pooled_range(struct row *row, const struct side *side)
{
    const struct contract *c = &side->contract;
    size_t begin = c->special_pooled ? 0 : side->n_head, end = row->n;
    if (c->prompt[0] && !c->prompt_pooled)
        begin = side->n_head + side->n_prompt;
    if (!c->special_pooled && !c->append_eos)
        end -= side->n_tail;
    if (begin >= end) /* the text's only token was merged with the prompt's last */
        begin = end - 1;
    row->pool_begin = (uint32_t)begin;
    row->pool_end = (uint32_t)end;
}

/* Whether a text gives no token alone (blanks under WordPiece); for texts that added none to the prompt's. */
static enum trawl_status is_without_tokens(bool *without, const struct encoder *e, struct worker *worker,
                                           const struct text_view *text)
{
    struct ids *ids = &worker->ids;
    size_t n = ids->n;
    TRY(tokenizer_encode(e->tokenizer, worker->scratch, ids, text->text, text->n, 0));
    *without = ids->n == n;
    ids->n = n;
    return TRAWL_OK;
}

enum trawl_status side_encode(struct row *row, uint32_t *out, const struct side *side, const struct encoder *e,
                              struct worker *worker, const struct text_view *text)
{
    struct text_view whole;
    struct ids *ids = &worker->ids;
    size_t room = side->contract.max_length - side->n_head - side->n_tail;
    *row = (struct row){0};
    if (!text->n)
        return TRAWL_OK;
    TRY(whole_text(&whole, side->contract.prompt, worker, text));
    ids->n = 0;
    TRY(tokenizer_encode(e->tokenizer, worker->scratch, ids, whole.text, whole.n, 0));
    if (ids->n <= side->n_prompt) {
        bool without = true;
        TRY(is_without_tokens(&without, e, worker, text));
        if (without)
            return TRAWL_OK;
    }
    row->cut = ids->n > room;
    if (row->cut && e->refuse_long)
        return fail(TRAWL_LIMIT, "%zu tokens, the contract allows %zu (leave out '--too-long refuse' to cut)",
                    ids->n + side->n_head + side->n_tail, side->contract.max_length);
    size_t n = row->cut ? room : ids->n;
    memcpy(out, side->head, side->n_head * sizeof *out);
    memcpy(out + side->n_head, ids->ids, n * sizeof *out);
    memcpy(out + side->n_head + n, side->tail, side->n_tail * sizeof *out);
    row->n = (uint32_t)(side->n_head + n + side->n_tail);
    pooled_range(row, side);
    return TRAWL_OK;
}
