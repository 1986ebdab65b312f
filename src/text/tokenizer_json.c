/*
 * Loader of tokenizer.json. Vocabulary and merges are nearly all of its bytes (30 MB for Gemma), so they are read by a
 * small cursor straight into the tables; the rest, a few kilobytes, goes through the JSON library with `null` in their
 * places. Whatever a file asks for and we do not have is refused by name.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer_int.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_SEQUENCES = 8 };
#define MAX_FILE_BYTES ((size_t)1 << 30)

/* ---- a cursor over JSON text ---- */

struct cursor {
    const char *text;
    size_t n, at;
    const char *where;
};

static enum trawl_status bad(const struct cursor *c, const char *what)
{
    return fail(TRAWL_FORMAT, "%s: malformed JSON at byte %zu: %s", c->where, c->at, what);
}

static void skip_space(struct cursor *c)
{
    while (c->at < c->n &&
           (c->text[c->at] == ' ' || c->text[c->at] == '\n' || c->text[c->at] == '\r' || c->text[c->at] == '\t'))
        c->at++;
}

static char peek(struct cursor *c)
{
    skip_space(c);
    return c->at < c->n ? c->text[c->at] : 0;
}

static bool take(struct cursor *c, char expected)
{
    if (peek(c) != expected)
        return false;
    c->at++;
    return true;
}

static enum trawl_status need(struct cursor *c, char expected)
{
    if (take(c, expected))
        return TRAWL_OK;
    char what[16] = "'?' expected";
    what[1] = expected;
    return bad(c, what);
}

/* Begin and end of the raw inside of a string. */
static enum trawl_status raw_string(struct cursor *c, size_t *begin, size_t *end, bool *escaped)
{
    TRY(need(c, '"'));
    *begin = c->at;
    *escaped = false;
    for (; c->at < c->n; c->at++) {
        char byte = c->text[c->at];
        if (byte == '"') {
            *end = c->at++;
            return TRAWL_OK;
        }
        if ((unsigned char)byte < 32)
            return bad(c, "a control character in a string");
        if (byte == '\\') {
            *escaped = true;
            c->at++;
        }
    }
    return bad(c, "the text ends in a string");
}

static int hex4(const char *text, size_t n)
{
    int value = 0;
    for (size_t i = 0; i < 4; i++) {
        char b = i < n ? text[i] : 0;
        int digit = b >= '0' && b <= '9' ? b - '0' : (b | 32) >= 'a' && (b | 32) <= 'f' ? (b | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The code point of \uXXXX (perhaps a pair) at text[i] = 'u', advancing i past it; -1: malformed. */
static int32_t unescape_u(const char *text, size_t n, size_t *i)
{
    int high = hex4(text + *i + 1, n - *i - 1);
    *i += 5;
    if (high < 0xd800 || high > 0xdfff)
        return high;
    int low = *i + 1 < n && text[*i] == '\\' && text[*i + 1] == 'u' ? hex4(text + *i + 2, n - *i - 2) : -1;
    if (high > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return -1;
    *i += 6;
    return 0x10000 + (high - 0xd800) * 1024 + (low - 0xdc00);
}

static enum trawl_status unescape(struct cursor *c, struct buf *out, const char *text, size_t n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    for (size_t i = 0; i < n;) {
        const char *escape = memchr(text + i, '\\', n - i);
        size_t stop = escape ? (size_t)(escape - text) : n;
        TRY(buf_append(out, text + i, stop - i));
        if (!escape)
            break;
        i = stop + 1;
        const char *known = i < n && text[i] ? strchr(from, text[i]) : NULL;
        if (known) {
            TRY(buf_append(out, to + (known - from), 1));
            i++;
            continue;
        }
        char bytes[4];
        int32_t code_point = i < n && text[i] == 'u' ? unescape_u(text, n, &i) : -1;
        if (code_point < 0)
            return bad(c, "an escape that is none");
        TRY(buf_append(out, bytes, utf8_put(bytes, (uint32_t)code_point)));
    }
    return TRAWL_OK;
}

/* A string; *text points into the file, or into `spare` when it had escapes. */
static enum trawl_status read_string(struct cursor *c, struct buf *spare, const char **text, size_t *n)
{
    size_t begin, end;
    bool escaped;
    TRY(raw_string(c, &begin, &end, &escaped));
    *text = c->text + begin;
    *n = end - begin;
    if (escaped) {
        buf_reset(spare);
        TRY(unescape(c, spare, *text, *n));
        *text = spare->data ? spare->data : "";
        *n = spare->n;
    }
    if (utf8_invalid(*text, *n) < *n)
        return bad(c, "a string that is not UTF-8");
    return TRAWL_OK;
}

static enum trawl_status skip_value(struct cursor *c)
{
    size_t depth = 0, begin, end;
    bool escaped;
    do {
        char byte = peek(c);
        if (byte == 0)
            return bad(c, "the text ends in a value");
        if (byte == '"') {
            TRY(raw_string(c, &begin, &end, &escaped));
            continue;
        }
        if ((byte == '{' || byte == '[') && ++depth > MAX_DEPTH)
            return bad(c, "nested too deeply");
        if (byte == '}' || byte == ']') {
            if (depth == 0)
                return bad(c, "a value expected");
            depth--;
        }
        c->at++;
        if (byte != '{' && byte != '[' && byte != '}' && byte != ']' && byte != ',' && byte != ':')
            while (c->at < c->n && !strchr(" \t\r\n,:[]{}\"", c->text[c->at]))
                c->at++;
    } while (depth);
    return TRAWL_OK;
}

static enum trawl_status read_number(struct cursor *c, double *value)
{
    char text[64], *end;
    size_t n = 0;
    skip_space(c);
    while (c->at + n < c->n && n + 1 < sizeof text && strchr("+-.0123456789eE", c->text[c->at + n]) &&
           c->text[c->at + n])
        n++;
    memcpy(text, c->text + c->at, n);
    text[n] = 0;
    *value = strtod(text, &end);
    if (n == 0 || *end || !isfinite(*value))
        return bad(c, "a number expected");
    c->at += n;
    return TRAWL_OK;
}

/* ---- the two large parts, cut out ---- */

struct document {
    struct cursor vocab, merges; /* n == 0: absent */
    struct buf rest;
};

static enum trawl_status cut_member(struct document *d, struct cursor *c, size_t *copied, struct cursor *part)
{
    peek(c);
    size_t begin = c->at;
    if (part->n)
        return bad(c, "a key stands twice");
    TRY(skip_value(c));
    TRY(buf_append(&d->rest, c->text + *copied, begin - *copied));
    TRY(buf_text(&d->rest, "null"));
    *part = (struct cursor){c->text, c->at, begin, c->where};
    *copied = c->at;
    return TRAWL_OK;
}

/* Walks the object's members; `inside` is set in "model", where vocabulary and merges are. */
static enum trawl_status cut_object(struct document *d, struct cursor *c, size_t *copied, bool inside)
{
    TRY(need(c, '{'));
    if (take(c, '}'))
        return TRAWL_OK;
    do {
        size_t begin, end;
        bool escaped;
        TRY(raw_string(c, &begin, &end, &escaped));
        TRY(need(c, ':'));
        size_t n = end - begin;
        const char *key = c->text + begin;
        if (inside && n == 5 && memcmp(key, "vocab", 5) == 0)
            TRY(cut_member(d, c, copied, &d->vocab));
        else if (inside && n == 6 && memcmp(key, "merges", 6) == 0)
            TRY(cut_member(d, c, copied, &d->merges));
        else if (!inside && n == 5 && memcmp(key, "model", 5) == 0 && peek(c) == '{')
            TRY(cut_object(d, c, copied, true));
        else
            TRY(skip_value(c));
    } while (take(c, ','));
    return need(c, '}');
}

static enum trawl_status cut_document(struct document *d, const char *text, size_t n, const char *where)
{
    struct cursor c = {.text = text, .n = n, .where = where};
    size_t copied = 0;
    TRY(cut_object(d, &c, &copied, false));
    return buf_append(&d->rest, text + copied, n - copied);
}

/* ---- vocabulary and merges ---- */

static enum trawl_status read_vocab_object(struct tokenizer *t, struct cursor c)
{
    struct buf spare = {0};
    enum trawl_status status = TRAWL_OK;
    TRY_OUT(need(&c, '{'));
    if (peek(&c) == '}')
        goto out;
    do {
        const char *text;
        size_t n;
        double id;
        TRY_OUT(read_string(&c, &spare, &text, &n));
        TRY_OUT(need(&c, ':'));
        TRY_OUT(read_number(&c, &id));
        if (!(id >= 0 && id < MAX_TOKENS) || id != floor(id)) {
            status = bad(&c, "a token id must be a whole number from 0 and not too large");
            goto out;
        }
        TRY_OUT(vocab_set(&t->vocab, (uint32_t)id, text, n, TOKEN_NORMAL | TOKEN_IN_MODEL, t->where));
    } while (take(&c, ','));
    status = need(&c, '}');
out:
    buf_release(&spare);
    return status;
}

static enum trawl_status read_vocab_list(struct tokenizer *t, struct cursor c)
{
    struct buf spare = {0};
    enum trawl_status status = TRAWL_OK;
    size_t cap = 0;
    TRY_OUT(need(&c, '['));
    if (peek(&c) == ']')
        goto out;
    do {
        const char *text;
        size_t n;
        double score;
        uint32_t id = (uint32_t)t->vocab.n;
        TRY_OUT(need(&c, '['));
        TRY_OUT(read_string(&c, &spare, &text, &n));
        TRY_OUT(need(&c, ','));
        TRY_OUT(read_number(&c, &score));
        TRY_OUT(need(&c, ']'));
        TRY_OUT(vocab_set(&t->vocab, id, text, n, TOKEN_NORMAL | TOKEN_IN_MODEL, t->where));
        TRY_OUT(mem_grow((void **)&t->unigram.scores, &cap, (size_t)id + 1, sizeof *t->unigram.scores));
        t->unigram.scores[id] = score;
    } while (take(&c, ','));
    status = need(&c, ']');
out:
    buf_release(&spare);
    return status;
}

static enum trawl_status out_of_vocabulary(const struct tokenizer *t, size_t number, const char *text, size_t n)
{
    return fail(TRAWL_FORMAT, "%s: merge %zu makes or joins '%.*s', which is not in the vocabulary", t->where, number,
                (int)(n < 64 ? n : 64), text);
}

static enum trawl_status add_merge(struct tokenizer *t, struct buf *joined, const char *left, size_t left_n,
                                   const char *right, size_t right_n)
{
    size_t number = t->bpe.n_merges + 1, cut = t->bpe.prefix ? strlen(t->bpe.prefix) : 0;
    uint32_t a = model_find(&t->vocab, left, left_n), b = model_find(&t->vocab, right, right_n);
    if (a == ID_NONE)
        return out_of_vocabulary(t, number, left, left_n);
    if (b == ID_NONE || right_n < cut)
        return out_of_vocabulary(t, number, right, right_n);
    buf_reset(joined);
    TRY(buf_append(joined, left, left_n));
    TRY(buf_append(joined, right + cut, right_n - cut));
    uint32_t id = model_find(&t->vocab, joined->data, joined->n);
    if (id == ID_NONE)
        return out_of_vocabulary(t, number, joined->data, joined->n);
    bpe_merge_add(&t->bpe, a, b, id);
    return TRAWL_OK;
}

/* "a b" or ["a", "b"] */
static enum trawl_status read_merge(struct tokenizer *t, struct cursor *c, struct buf spare[3])
{
    const char *left, *right;
    size_t left_n, right_n;
    if (peek(c) == '[') {
        TRY(need(c, '['));
        TRY(read_string(c, &spare[0], &left, &left_n));
        TRY(need(c, ','));
        TRY(read_string(c, &spare[1], &right, &right_n));
        TRY(need(c, ']'));
        return add_merge(t, &spare[2], left, left_n, right, right_n);
    }
    TRY(read_string(c, &spare[0], &left, &left_n));
    const char *space = memchr(left, ' ', left_n);
    if (!space || memchr(space + 1, ' ', left_n - (size_t)(space + 1 - left)))
        return bad(c, "a merge must be two tokens with one space between them");
    right = space + 1;
    right_n = left_n - (size_t)(right - left);
    return add_merge(t, &spare[2], left, (size_t)(space - left), right, right_n);
}

static size_t count_commas(const struct cursor *c)
{
    size_t n = 1;
    for (const char *at = c->text + c->at, *end = c->text + c->n; (at = memchr(at, ',', (size_t)(end - at))); at++)
        n++;
    return n;
}

static enum trawl_status read_merges(struct tokenizer *t, struct cursor c)
{
    struct buf spare[3] = {0};
    enum trawl_status status = TRAWL_OK;
    TRY_OUT(bpe_merges_begin(&t->bpe, count_commas(&c)));
    TRY_OUT(need(&c, '['));
    if (peek(&c) == ']')
        goto out;
    do {
        TRY_OUT(read_merge(t, &c, spare));
    } while (take(&c, ','));
    status = need(&c, ']');
out:
    for (int i = 0; i < 3; i++)
        buf_release(&spare[i]);
    return status;
}

/* ---- the model ---- */

static enum trawl_status unknown_token(const struct tokenizer *t, const json_t *model, uint32_t *id)
{
    const char *text = NULL;
    size_t n = 0;
    TRY(json_get_text(&text, &n, model, "unk_token", t->where));
    *id = text ? model_find(&t->vocab, text, n) : ID_NONE;
    if (text && *id == ID_NONE)
        return fail(TRAWL_FORMAT, "%s: unk_token '%s' is not in the vocabulary", t->where, text);
    return TRAWL_OK;
}

static enum trawl_status copy_affix(char **out, const json_t *model, const char *key, const char *where)
{
    const char *text = NULL;
    size_t n = 0;
    TRY(json_get_text(&text, &n, model, key, where));
    if (!text || n == 0)
        return TRAWL_OK;
    *out = mem_text(text, n);
    return *out ? TRAWL_OK : mem_status();
}

static enum trawl_status load_bpe(struct tokenizer *t, const json_t *model, const struct document *d)
{
    t->kind = MODEL_BPE;
    TRY(read_vocab_object(t, d->vocab));
    TRY(vocab_index(&t->vocab, true, t->where));
    TRY(copy_affix(&t->bpe.prefix, model, "continuing_subword_prefix", t->where));
    TRY(copy_affix(&t->bpe.suffix, model, "end_of_word_suffix", t->where));
    TRY(json_get_bool(&t->bpe.byte_fallback, model, "byte_fallback", false, t->where));
    TRY(json_get_bool(&t->bpe.fuse_unk, model, "fuse_unk", false, t->where));
    TRY(json_get_bool(&t->bpe.ignore_merges, model, "ignore_merges", false, t->where));
    TRY(unknown_token(t, model, &t->bpe.unk));
    if (d->merges.n == 0)
        return fail(TRAWL_FORMAT, "%s: the BPE model has no merges", t->where);
    return read_merges(t, d->merges);
}

static enum trawl_status load_wordpiece(struct tokenizer *t, const json_t *model, const struct document *d)
{
    const char *prefix = NULL;
    size_t n = 0;
    t->kind = MODEL_WORDPIECE;
    TRY(read_vocab_object(t, d->vocab));
    TRY(vocab_index(&t->vocab, true, t->where));
    TRY(json_get_text(&prefix, &n, model, "continuing_subword_prefix", t->where));
    TRY(json_get_count(&t->wordpiece.max_chars, model, "max_input_chars_per_word", 100, t->where));
    TRY(unknown_token(t, model, &t->wordpiece.unk));
    if (t->wordpiece.unk == ID_NONE)
        return fail(TRAWL_FORMAT, "%s: the WordPiece model has no unk_token", t->where);
    return wordpiece_finish(t, prefix ? prefix : "##", prefix ? n : 2);
}

static enum trawl_status load_unigram(struct tokenizer *t, const json_t *model, const struct document *d)
{
    size_t unk;
    t->kind = MODEL_UNIGRAM;
    TRY(read_vocab_list(t, d->vocab));
    TRY(vocab_index(&t->vocab, false, t->where));
    TRY(json_get_bool(&t->unigram.byte_fallback, model, "byte_fallback", false, t->where));
    TRY(json_get_count(&unk, model, "unk_id", SIZE_MAX, t->where));
    if (unk >= t->vocab.n)
        return fail(TRAWL_FORMAT, "%s: the Unigram model's unk_id is missing or not in its vocabulary", t->where);
    t->unigram.unk = (uint32_t)unk;
    return TRAWL_OK;
}

static enum trawl_status load_model(struct tokenizer *t, const json_t *root, const struct document *d)
{
    static const struct {
        const char *type;
        enum trawl_status (*load)(struct tokenizer *t, const json_t *model, const struct document *d);
    } rows[] = {{"BPE", load_bpe}, {"WordPiece", load_wordpiece}, {"Unigram", load_unigram}};
    const json_t *model = json_object_get(root, "model");
    const char *type = NULL;
    size_t n;
    if (!json_is_object(model) || d->vocab.n == 0)
        return fail(TRAWL_FORMAT, "%s: no model with a vocabulary (is this a tokenizer.json?)", t->where);
    TRY(json_get_text(&type, &n, model, "type", t->where));
    if (!type) /* files of early versions */
        type = d->merges.n ? "BPE" : json_object_get(model, "unk_id") ? "Unigram" : "WordPiece";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].type, type) == 0)
            return rows[i].load(t, model, d);
    return fail(TRAWL_UNSUPPORTED, "%s: model type '%s' is not supported (known: BPE, WordPiece, Unigram)", t->where,
                type);
}

/* ---- added tokens ---- */

static enum trawl_status load_added_token(struct tokenizer *t, const json_t *object)
{
    struct added added = {0};
    const char *text = NULL;
    size_t n = 0, id;
    TRY(json_get_text(&text, &n, object, "content", t->where));
    TRY(json_get_count(&id, object, "id", SIZE_MAX, t->where));
    TRY(json_get_bool(&added.special, object, "special", false, t->where));
    TRY(json_get_bool(&added.single_word, object, "single_word", false, t->where));
    TRY(json_get_bool(&added.lstrip, object, "lstrip", false, t->where));
    TRY(json_get_bool(&added.rstrip, object, "rstrip", false, t->where));
    TRY(json_get_bool(&added.normalized, object, "normalized", !added.special, t->where));
    if (!text || id >= MAX_TOKENS)
        return fail(TRAWL_FORMAT, "%s: an added token without content or with an id out of range", t->where);
    if (n == 0)
        return TRAWL_OK;
    added.id = vocab_find(&t->vocab, text, n); /* the vocabulary's id counts, as in the reference */
    unsigned kind = added.special ? TOKEN_SPECIAL : TOKEN_ADDED;
    if (added.id == ID_NONE) {
        added.id = (uint32_t)id;
        TRY(vocab_set(&t->vocab, added.id, text, n, kind, t->where));
        TRY(vocab_insert(&t->vocab, added.id, t->where));
    } else {
        t->vocab.kinds[added.id] = (uint8_t)((t->vocab.kinds[added.id] & TOKEN_IN_MODEL) | kind);
    }
    return tokenizer_add(t, &added);
}

static enum trawl_status load_added(struct tokenizer *t, const json_t *list)
{
    if (list && !json_is_null(list) && !json_is_array(list))
        return fail(TRAWL_FORMAT, "%s: 'added_tokens' is not a list", t->where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_object(item))
            return fail(TRAWL_FORMAT, "%s: added token %zu is not an object", t->where, i);
        TRY(load_added_token(t, item));
    }
    return TRAWL_OK;
}

/* ---- steps and post-processors ---- */

typedef MUST_USE enum trawl_status (*part_fn)(struct tokenizer *t, const char *type, const json_t *part);

/* Calls fn for a part, or for the parts of a Sequence in their order. */
static enum trawl_status each_part(struct tokenizer *t, const json_t *part, const char *list_key, part_fn fn, int depth)
{
    const char *type = NULL;
    size_t n;
    if (!part || json_is_null(part))
        return TRAWL_OK;
    if (!json_is_object(part) || depth > MAX_SEQUENCES)
        return fail(TRAWL_FORMAT, "%s: a part among its '%s' is no object or nested too deeply", t->where, list_key);
    TRY(json_get_text(&type, &n, part, "type", t->where));
    if (!type)
        return fail(TRAWL_FORMAT, "%s: a part among its '%s' has no type", t->where, list_key);
    if (strcmp(type, "Sequence") != 0)
        return fn(t, type, part);
    const json_t *list = json_object_get(part, list_key);
    if (!json_is_array(list))
        return fail(TRAWL_FORMAT, "%s: a Sequence without '%s'", t->where, list_key);
    for (size_t i = 0; i < json_array_size(list); i++)
        TRY(each_part(t, json_array_get(list, i), list_key, fn, depth + 1));
    return TRAWL_OK;
}

static enum trawl_status add_normalizer(struct tokenizer *t, const char *type, const json_t *part)
{
    return tokenizer_step(t, LIST_NORMALIZERS, type, part, NULL);
}

static enum trawl_status add_pretokenizer(struct tokenizer *t, const char *type, const json_t *part)
{
    return tokenizer_step(t, LIST_PRETOKENIZERS, type, part, NULL);
}

static enum trawl_status add_decoder(struct tokenizer *t, const char *type, const json_t *part)
{
    return tokenizer_step(t, LIST_DECODERS, type, part, NULL);
}

static enum trawl_status wrap(struct tokenizer *t, const uint32_t *before, size_t n_before, const uint32_t *after,
                              size_t n_after)
{
    uint32_t *front = mem_array(n_before + t->n_before, sizeof *front);
    uint32_t *back = mem_array(n_after + t->n_after, sizeof *back);
    if (!front || !back) {
        free(front);
        free(back);
        return mem_status();
    }
    for (size_t i = 0; i < n_before + t->n_before; i++)
        front[i] = i < n_before ? before[i] : t->before[i - n_before];
    for (size_t i = 0; i < n_after + t->n_after; i++)
        back[i] = i < t->n_after ? t->after[i] : after[i - t->n_after];
    free(t->before);
    free(t->after);
    t->before = front;
    t->after = back;
    t->n_before += n_before;
    t->n_after += n_after;
    return TRAWL_OK;
}

static enum trawl_status known_id(const struct tokenizer *t, const json_t *number, uint32_t *id)
{
    json_int_t value = json_is_integer(number) ? json_integer_value(number) : -1;
    if (value < 0 || (uint64_t)value >= t->vocab.n || t->vocab.kinds[value] == TOKEN_HOLE)
        return fail(TRAWL_FORMAT, "%s: the post-processor names an id that is no token", t->where);
    *id = (uint32_t)value;
    return TRAWL_OK;
}

/* BertProcessing and RobertaProcessing: "cls" and "sep" are [literal, id]. */
static enum trawl_status wrap_cls_sep(struct tokenizer *t, const json_t *part)
{
    uint32_t cls, sep;
    TRY(known_id(t, json_array_get(json_object_get(part, "cls"), 1), &cls));
    TRY(known_id(t, json_array_get(json_object_get(part, "sep"), 1), &sep));
    return wrap(t, &cls, 1, &sep, 1);
}

enum { MAX_TEMPLATE_IDS = 64 };

static enum trawl_status template_ids(const struct tokenizer *t, const json_t *part, const json_t *piece, uint32_t *ids,
                                      size_t *n)
{
    const char *name = json_string_value(json_object_get(piece, "id"));
    const json_t *special = name ? json_object_get(json_object_get(part, "special_tokens"), name) : NULL;
    const json_t *list = json_object_get(special, "ids");
    if (!json_is_array(list))
        return fail(TRAWL_FORMAT, "%s: the post-processor's special token '%s' is not defined", t->where,
                    name ? name : "");
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (*n == MAX_TEMPLATE_IDS)
            return fail(TRAWL_LIMIT, "%s: the post-processor adds more than %d tokens", t->where, MAX_TEMPLATE_IDS);
        TRY(known_id(t, json_array_get(list, i), &ids[(*n)++]));
    }
    return TRAWL_OK;
}

static enum trawl_status wrap_template(struct tokenizer *t, const json_t *part)
{
    uint32_t before[MAX_TEMPLATE_IDS], after[MAX_TEMPLATE_IDS];
    size_t n_before = 0, n_after = 0, n_texts = 0;
    const json_t *single = json_object_get(part, "single");
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i), *special = json_object_get(item, "SpecialToken");
        if (special)
            TRY(n_texts ? template_ids(t, part, special, after, &n_after)
                        : template_ids(t, part, special, before, &n_before));
        else
            n_texts++;
    }
    if (!json_is_array(single) || n_texts != 1)
        return fail(TRAWL_UNSUPPORTED, "%s: a post-processor template for one text must hold the text once", t->where);
    return wrap(t, before, n_before, after, n_after);
}

static enum trawl_status add_processor(struct tokenizer *t, const char *type, const json_t *part)
{
    if (strcmp(type, "TemplateProcessing") == 0)
        return wrap_template(t, part);
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        return wrap_cls_sep(t, part);
    if (strcmp(type, "ByteLevel") == 0) /* changes offsets only */
        return TRAWL_OK;
    return fail(TRAWL_UNSUPPORTED, "%s: post-processor '%s' is not supported", t->where, type);
}

/* ---- tokens with a meaning ---- */

static uint32_t special_by_name(const struct tokenizer *t, const json_t *value)
{
    const json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;
    return json_is_string(text) ? vocab_find(&t->vocab, json_string_value(text), json_string_length(text))
                                : TOKENIZER_NONE;
}

/* What to take when no tokenizer_config.json says: the usual names, where they are special added tokens. */
static uint32_t special_by_habit(const struct tokenizer *t, enum tokenizer_special which)
{
    static const char *const names[][6] = {
        [TOKENIZER_BOS] = {"<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>"},
        [TOKENIZER_EOS] = {"</s>", "<eos>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>"},
        [TOKENIZER_UNK] = {"<unk>", "[UNK]"},
        [TOKENIZER_SEP] = {"[SEP]"},
        [TOKENIZER_CLS] = {"[CLS]"},
        [TOKENIZER_PAD] = {"<pad>", "[PAD]"},
        [TOKENIZER_MASK] = {"<mask>", "[MASK]"},
    };
    for (int i = 0; i < 6 && names[which][i]; i++) {
        uint32_t id = vocab_find(&t->vocab, names[which][i], strlen(names[which][i]));
        if (id != ID_NONE && (t->vocab.kinds[id] & TOKEN_KIND) == TOKEN_SPECIAL)
            return id;
    }
    return TOKENIZER_NONE;
}

static enum trawl_status load_config(struct tokenizer *t, const char *path)
{
    static const char *const keys[] = {
        [TOKENIZER_BOS] = "bos_token",  [TOKENIZER_EOS] = "eos_token", [TOKENIZER_UNK] = "unk_token",
        [TOKENIZER_SEP] = "sep_token",  [TOKENIZER_CLS] = "cls_token", [TOKENIZER_PAD] = "pad_token",
        [TOKENIZER_MASK] = "mask_token"};
    json_t *config = NULL;
    bool add_bos = false;
    enum trawl_status status = TRAWL_OK;
    if (path && file_exists(path))
        TRY_OUT(json_read(&config, path, 64u << 20));
    if (config && !json_is_object(config)) {
        status = fail(TRAWL_FORMAT, "'%s': no JSON object", path);
        goto out;
    }
    for (int i = 0; i <= TOKENIZER_MASK; i++) {
        const json_t *value = json_object_get(config, keys[i]);
        t->special[i] = value ? special_by_name(t, value) : special_by_habit(t, (enum tokenizer_special)i);
    }
    if (json_is_boolean(json_object_get(config, "add_bos_token")))
        add_bos = json_is_true(json_object_get(config, "add_bos_token"));
    uint32_t bos = t->special[TOKENIZER_BOS];
    t->wants_bos = bos != TOKENIZER_NONE && (add_bos || (t->n_before && t->before[0] == bos));
out:
    json_decref(config);
    return status;
}

/* ---- the file ---- */

static enum trawl_status load_document(struct tokenizer *t, const struct document *d)
{
    json_t *root = NULL;
    enum trawl_status status = TRAWL_OK;
    TRY_OUT(json_parse(&root, d->rest.data, d->rest.n, t->where));
    TRY_OUT(load_model(t, root, d));
    TRY_OUT(load_added(t, json_object_get(root, "added_tokens")));
    TRY_OUT(each_part(t, json_object_get(root, "normalizer"), "normalizers", add_normalizer, 0));
    TRY_OUT(each_part(t, json_object_get(root, "pre_tokenizer"), "pretokenizers", add_pretokenizer, 0));
    TRY_OUT(each_part(t, json_object_get(root, "decoder"), "decoders", add_decoder, 0));
    TRY_OUT(each_part(t, json_object_get(root, "post_processor"), "processors", add_processor, 0));
out:
    json_decref(root);
    return status;
}

enum trawl_status tokenizer_from_json(struct tokenizer **t, const char *text, size_t n, const char *where,
                                      const char *config_path)
{
    struct document d = {0};
    enum trawl_status status = TRAWL_OK;
    TRY_OUT(tokenizer_new(t, where));
    TRY_OUT(cut_document(&d, n ? text : "", n, where));
    TRY_OUT(load_document(*t, &d));
    TRY_OUT(load_config(*t, config_path));
    status = tokenizer_finish(*t);
out:
    buf_release(&d.rest);
    if (status) {
        tokenizer_free(*t);
        *t = NULL;
    }
    return status;
}

static enum trawl_status open_paths(struct tokenizer **t, const char *file, const char *config)
{
    struct file_map map;
    char where[1024];
    snprintf(where, sizeof where, "'%s'", file);
    TRY(file_map_open(&map, file));
    enum trawl_status status = TRAWL_OK;
    if (map.bytes > MAX_FILE_BYTES)
        status = fail(TRAWL_LIMIT, "%s: %zu bytes are too many for a tokenizer", where, map.bytes);
    else
        status = tokenizer_from_json(t, (const char *)map.data, map.bytes, where, config);
    file_map_close(&map);
    return status;
}

enum trawl_status tokenizer_open(struct tokenizer **t, const char *path)
{
    *t = NULL;
    bool folder = file_is_folder(path);
    const char *slash = strrchr(path, '/');
    char *parent = folder  ? mem_text(path, strlen(path))
                   : slash ? mem_text(path, (size_t)(slash - path) + 1)
                           : mem_text(".", 1);
    char *file = folder ? file_join(path, "tokenizer.json") : mem_text(path, strlen(path));
    char *config = parent ? file_join(parent, "tokenizer_config.json") : NULL;
    enum trawl_status status = parent && file && config ? open_paths(t, file, config) : mem_status();
    free(parent);
    free(file);
    free(config);
    return status;
}
