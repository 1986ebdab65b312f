/* Making a tokenizer from its parts: what the two loaders (tokenizer.json, GGUF) share. */
#include "added.h"
#include "base/json.h"
#include "base/mem.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum trawl_status tokenizer_new(struct tokenizer **out, const char *where)
{
    struct tokenizer *t = mem_array(1, sizeof *t);
    *out = t;
    if (!t)
        return mem_status();
    unicode_init();
    t->where = mem_text(where, strlen(where));
    t->normalizers = mem_array(MAX_STEPS, sizeof *t->normalizers);
    t->pretokenizers = mem_array(MAX_STEPS, sizeof *t->pretokenizers);
    t->decoders = mem_array(MAX_STEPS, sizeof *t->decoders);
    t->bpe.unk = t->unigram.unk = t->wordpiece.unk = ID_NONE;
    for (int i = 0; i <= TOKENIZER_MASK; i++)
        t->special[i] = TOKENIZER_NONE;
    return t->where && t->normalizers && t->pretokenizers && t->decoders ? TRAWL_OK : mem_status();
}

void step_release(struct step *step)
{
    buf_release(&step->text);
    buf_release(&step->with);
    regex_free(step->regex);
}

static void steps_release(struct step *steps, size_t n)
{
    for (size_t i = 0; i < n; i++)
        step_release(&steps[i]);
    free(steps);
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    steps_release(t->normalizers, t->n_normalizers);
    steps_release(t->pretokenizers, t->n_pretokenizers);
    steps_release(t->decoders, t->n_decoders);
    vocab_release(&t->vocab);
    free(t->bpe.char_ids);
    free(t->bpe.prefix);
    free(t->bpe.suffix);
    free(t->bpe.merges);
    free(t->bpe.pairs);
    trie_release(&t->unigram.trie);
    free(t->unigram.scores);
    trie_release(&t->wordpiece.trie);
    trie_release(&t->raw.trie);
    trie_release(&t->normalized.trie);
    free(t->added);
    buf_release(&t->normal_texts);
    free(t->before);
    free(t->after);
    free(t->where);
    free(t);
}

enum trawl_status tokenizer_step(struct tokenizer *t, enum step_list list, const char *type, const json_t *parameters,
                                 struct step **made)
{
    static const struct step_row *const rows[] = {normalizer_rows, pretokenizer_rows, decoder_rows};
    static const char *const kinds[] = {"normalizer", "pre-tokenizer", "decoder"};
    struct step *const steps[] = {t->normalizers, t->pretokenizers, t->decoders};
    size_t *const counts[] = {&t->n_normalizers, &t->n_pretokenizers, &t->n_decoders};
    char where[512];
    snprintf(where, sizeof where, "%s: %s '%s'", t->where, kinds[list], type);
    const struct step_row *row = rows[list];
    while (row->name && strcmp(row->name, type) != 0)
        row++;
    if (!row->name)
        return fail(TRAWL_UNSUPPORTED, "%s is not supported", where);
    if (*counts[list] == MAX_STEPS)
        return fail(TRAWL_LIMIT, "%s: more than %d steps", where, MAX_STEPS);
    struct step *step = &steps[list][(*counts[list])++];
    *step = (struct step){.row = row};
    if (made)
        *made = step;
    return row->parse && parameters ? row->parse(step, parameters, where) : TRAWL_OK;
}

enum trawl_status tokenizer_step_text(struct tokenizer *t, enum step_list list, const char *json)
{
    json_t *object;
    TRY(json_parse(&object, json, strlen(json), "built-in tokenizer step"));
    enum trawl_status status =
        tokenizer_step(t, list, json_string_value(json_object_get(object, "type")), object, NULL);
    json_decref(object);
    return status;
}

/* A ByteLevel that is the last step of a BPE model need not write its letters: the model reads bytes. Before other
 * steps the letters are written, and undone at the end. Models with fallbacks for missing letters read letters. */
static bool reads_bytes(struct tokenizer *t)
{
    struct step *last = NULL;
    size_t n_byte_level = 0;
    for (size_t i = 0; i < t->n_pretokenizers; i++) {
        struct step *step = &t->pretokenizers[i];
        if (strcmp(step->row->name, "ByteLevel") == 0) {
            step->flag[BYTE_LEVEL_WRITE] = true;
            last = step;
            n_byte_level++;
        }
    }
    if (n_byte_level != 1 || t->kind != MODEL_BPE || t->bpe.prefix || t->bpe.suffix)
        return false;
    bool complete = true;
    for (int b = 0; b < 256; b++) {
        struct buf letter = {0};
        char byte = (char)b;
        if (byte_letters_append(&letter, &byte, 1) || model_find(&t->vocab, letter.data, letter.n) == ID_NONE)
            complete = false;
        buf_release(&letter);
    }
    if (!complete && (t->bpe.byte_fallback || t->bpe.unk != ID_NONE))
        return false;
    t->unmap = last != &t->pretokenizers[t->n_pretokenizers - 1];
    last->flag[BYTE_LEVEL_WRITE] = t->unmap;
    return true;
}

static void hash_step(XXH3_state_t *h, const struct step *step)
{
    XXH3_64bits_update(h, step->row->name, strlen(step->row->name) + 1);
    if (step->text.n)
        XXH3_64bits_update(h, step->text.data, step->text.n);
    if (step->with.n)
        XXH3_64bits_update(h, step->with.data, step->with.n);
    uint64_t rest[] = {step->text.n,  step->with.n,  step->flag[0],   step->flag[1],
                       step->flag[2], step->flag[3], step->behaviour, step->prepend};
    XXH3_64bits_update(h, rest, sizeof rest);
}

static uint64_t hash_all(const struct tokenizer *t, XXH3_state_t *h)
{
    XXH3_64bits_reset(h);
    XXH3_64bits_update(h, t->vocab.tokens, t->vocab.n * sizeof *t->vocab.tokens);
    if (t->vocab.used)
        XXH3_64bits_update(h, t->vocab.bytes, t->vocab.used);
    if (t->vocab.n)
        XXH3_64bits_update(h, t->vocab.kinds, t->vocab.n);
    if (t->kind == MODEL_BPE)
        XXH3_64bits_update(h, t->bpe.merges, (t->bpe.merge_mask + 1) * sizeof *t->bpe.merges);
    if (t->kind == MODEL_UNIGRAM)
        XXH3_64bits_update(h, t->unigram.scores, t->vocab.n * sizeof *t->unigram.scores);
    for (size_t i = 0; i < t->n_normalizers; i++)
        hash_step(h, &t->normalizers[i]);
    for (size_t i = 0; i < t->n_pretokenizers; i++)
        hash_step(h, &t->pretokenizers[i]);
    for (size_t i = 0; i < t->n_added; i++) {
        const struct added *a = &t->added[i];
        uint32_t fields[] = {a->id, a->special, a->single_word, a->lstrip, a->rstrip, a->normalized};
        XXH3_64bits_update(h, fields, sizeof fields);
    }
    if (t->n_before)
        XXH3_64bits_update(h, t->before, t->n_before * sizeof *t->before);
    if (t->n_after)
        XXH3_64bits_update(h, t->after, t->n_after * sizeof *t->after);
    uint64_t rest[] = {
        (uint64_t)t->kind, t->bpe.bytes,   t->bpe.ignore_merges,     t->bpe.byte_fallback,   t->bpe.fuse_unk,
        t->bpe.unk,        t->unigram.unk, t->unigram.byte_fallback, t->wordpiece.max_chars, t->wordpiece.continuing,
        t->wordpiece.unk,  t->n_before};
    XXH3_64bits_update(h, rest, sizeof rest);
    return XXH3_64bits_digest(h);
}

enum trawl_status tokenizer_finish(struct tokenizer *t)
{
    if (t->kind == MODEL_BPE)
        TRY(bpe_finish(t, reads_bytes(t)));
    else
        reads_bytes(t);
    if (t->kind == MODEL_UNIGRAM)
        TRY(unigram_finish(t));
    TRY(added_finish(t));
    XXH3_state_t *h = XXH3_createState();
    if (!h)
        return fail(TRAWL_NOMEM, "%s: no memory for its fingerprint", t->where);
    t->fingerprint = hash_all(t, h);
    XXH3_freeState(h);
    return TRAWL_OK;
}
