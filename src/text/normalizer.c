/* Normaliser steps: each appends the changed text. They see one segment between added tokens at a time. */
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer_int.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>

enum trawl_status charsmap_normalize(const struct step *step, struct buf *out, const char *text, size_t n);

static enum trawl_status put(struct buf *out, uint32_t c)
{
    char bytes[4];
    return buf_append(out, bytes, utf8_put(bytes, c));
}

/* ---- normal forms ---- */

static enum trawl_status run_nfc(const struct step *step, struct buf *out, const char *text, size_t n)
{
    (void)step;
    return unicode_is_nfc(text, n) ? buf_append(out, text, n) : unicode_normalize(out, text, n, UNICODE_NFC);
}

static enum trawl_status run_nfd(const struct step *step, struct buf *out, const char *text, size_t n)
{
    (void)step;
    return unicode_normalize(out, text, n, UNICODE_NFD);
}

static enum trawl_status run_nfkc(const struct step *step, struct buf *out, const char *text, size_t n)
{
    (void)step;
    return unicode_normalize(out, text, n, UNICODE_NFKC);
}

static enum trawl_status run_nfkd(const struct step *step, struct buf *out, const char *text, size_t n)
{
    (void)step;
    return unicode_normalize(out, text, n, UNICODE_NFKD);
}

/* ---- by code point ---- */

static enum trawl_status lower_ascii(struct buf *out, const char *text, size_t n)
{
    TRY(buf_reserve(out, n + 1));
    for (size_t i = 0; i < n; i++)
        out->data[out->n++] = (char)(text[i] + (text[i] >= 'A' && text[i] <= 'Z' ? 32 : 0));
    out->data[out->n] = 0;
    return TRAWL_OK;
}

static enum trawl_status run_lowercase(const struct step *step, struct buf *out, const char *text, size_t n)
{
    (void)step;
    unsigned length;
    for (size_t i = 0; i < n; i += length) {
        uint32_t low[2];
        size_t ascii = ascii_prefix(text + i, n - i);
        TRY(lower_ascii(out, text + i, ascii));
        i += ascii;
        if (i == n)
            break;
        unsigned n_low = unicode_lower(low, utf8_at(text + i, &length));
        for (unsigned k = 0; k < n_low; k++)
            TRY(put(out, low[k]));
    }
    return TRAWL_OK;
}

/* Leaves out code points with one of the flags; none of ASCII has these. */
static enum trawl_status without(struct buf *out, const char *text, size_t n, unsigned flags)
{
    size_t begin = 0;
    unsigned length;
    for (size_t i = ascii_prefix(text, n); i < n; i += length) {
        if (!unicode_is(utf8_at(text + i, &length), flags))
            continue;
        TRY(buf_append(out, text + begin, i - begin));
        begin = i + length;
    }
    return buf_append(out, text + begin, n - begin);
}

static enum trawl_status run_strip_accents(const struct step *step, struct buf *out, const char *text, size_t n)
{
    (void)step;
    return without(out, text, n, U_MARK);
}

static enum trawl_status parse_strip(struct step *step, const json_t *object, const char *where)
{
    TRY(json_get_bool(&step->flag[0], object, "strip_left", true, where));
    return json_get_bool(&step->flag[1], object, "strip_right", true, where);
}

static enum trawl_status run_strip(const struct step *step, struct buf *out, const char *text, size_t n)
{
    size_t begin = 0;
    unsigned length;
    while (step->flag[0] && begin < n && unicode_is(utf8_at(text + begin, &length), U_SPACE))
        begin += length;
    while (step->flag[1] && n > begin && unicode_is(utf8_before(text, n, &length), U_SPACE))
        n -= length;
    return buf_append(out, text + begin, n - begin);
}

/* SentencePiece's nmt rules: control characters go, unusual spaces become U+0020. */
static enum trawl_status run_nmt(const struct step *step, struct buf *out, const char *text, size_t n)
{
    (void)step;
    unsigned length;
    for (size_t i = 0; i < n; i += length) {
        uint32_t c = utf8_at(text + i, &length);
        bool space = c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
        bool gone = (c >= 1 && c <= 8) || c == 11 || (c >= 14 && c <= 31) || c == 0x7f || c == 0x8f || c == 0x9f;
        if (space)
            TRY(buf_append(out, " ", 1));
        else if (!gone)
            TRY(buf_append(out, text + i, length));
    }
    return TRAWL_OK;
}

/* ---- text put in or exchanged ---- */

static enum trawl_status parse_prepend(struct step *step, const json_t *object, const char *where)
{
    const char *text = NULL;
    size_t n = 0;
    TRY(json_get_text(&text, &n, object, "prepend", where));
    return text ? buf_append(&step->text, text, n) : fail(TRAWL_FORMAT, "%s: 'prepend' is missing", where);
}

static enum trawl_status run_prepend(const struct step *step, struct buf *out, const char *text, size_t n)
{
    if (n)
        TRY(buf_append(out, step->text.data, step->text.n));
    return buf_append(out, text, n);
}

static enum trawl_status parse_replace(struct step *step, const json_t *object, const char *where)
{
    const json_t *pattern = json_object_get(object, "pattern");
    const json_t *text = json_object_get(pattern, "String"), *expression = json_object_get(pattern, "Regex");
    const char *content = NULL;
    size_t n;
    if (!json_is_string(text) && !json_is_string(expression))
        return fail(TRAWL_FORMAT, "%s: 'pattern' must be {\"String\": ...} or {\"Regex\": ...}", where);
    const json_t *given = json_is_string(text) ? text : expression;
    TRY(buf_append(&step->text, json_string_value(given), json_string_length(given)));
    TRY(json_get_text(&content, &n, object, "content", where));
    if (!content)
        return fail(TRAWL_FORMAT, "%s: 'content' is missing", where);
    TRY(buf_append(&step->with, content, n));
    return given == text ? TRAWL_OK : regex_new(&step->regex, step->text.data, step->text.n, false, where);
}

static enum trawl_status replace_regex(const struct step *step, struct buf *out, const char *text, size_t n)
{
    size_t at = 0, from = 0, begin, end;
    while (from <= n) {
        TRY(regex_next(step->regex, text, n, from, &begin, &end));
        if (begin == SIZE_MAX)
            break;
        TRY(buf_append(out, text + at, begin - at));
        TRY(buf_append(out, step->with.data, step->with.n));
        at = end;
        unsigned length = 1;
        if (end == begin && end < n)
            utf8_at(text + end, &length);
        from = end == begin ? end + length : end;
    }
    return buf_append(out, text + at, n - at);
}

/* A single byte by a short text, the common case: " " by U+2581. */
static enum trawl_status replace_byte(const struct step *step, struct buf *out, const char *text, size_t n)
{
    const char *with = step->with.data;
    size_t with_n = step->with.n, need;
    if (__builtin_mul_overflow(n, with_n, &need))
        return fail(TRAWL_LIMIT, "a text of %zu bytes is too long to normalise", n);
    TRY(buf_reserve(out, (need > n ? need : n) + 8));
    char *to = out->data + out->n, byte = step->text.data[0], copy[4] = {0};
    memcpy(copy, with, with_n);
    for (size_t i = 0; i < n; i++) {
        bool hit = text[i] == byte;
        memcpy(to, copy, 4);
        to[0] = hit ? to[0] : text[i];
        to += hit ? with_n : 1;
    }
    out->n = (size_t)(to - out->data);
    *to = 0;
    return TRAWL_OK;
}

static enum trawl_status run_replace(const struct step *step, struct buf *out, const char *text, size_t n)
{
    if (step->regex)
        return replace_regex(step, out, text, n);
    if (step->text.n == 1 && step->with.n >= 1 && step->with.n <= 4)
        return replace_byte(step, out, text, n);
    for (size_t i = 0; i < n;) {
        const char *found = step->text.n ? memmem(text + i, n - i, step->text.data, step->text.n) : NULL;
        if (!found)
            return buf_append(out, text + i, n - i);
        TRY(buf_append(out, text + i, (size_t)(found - text) - i));
        TRY(buf_append(out, step->with.data, step->with.n));
        i = (size_t)(found - text) + step->text.n;
    }
    return TRAWL_OK;
}

/* ---- BERT ---- */

static enum trawl_status parse_bert(struct step *step, const json_t *object, const char *where)
{
    TRY(json_get_bool(&step->flag[BERT_CLEAN], object, "clean_text", true, where));
    TRY(json_get_bool(&step->flag[BERT_CHINESE], object, "handle_chinese_chars", true, where));
    TRY(json_get_bool(&step->flag[BERT_LOWER], object, "lowercase", true, where));
    step->flag[BERT_STRIP] = step->flag[BERT_LOWER]; /* null: as lowercase */
    if (json_is_null(json_object_get(object, "strip_accents")))
        return TRAWL_OK;
    return json_get_bool(&step->flag[BERT_STRIP], object, "strip_accents", step->flag[BERT_LOWER], where);
}

enum trawl_status step_bert_normalizer(struct step *step, bool lowercase)
{
    step->flag[BERT_CLEAN] = step->flag[BERT_CHINESE] = true;
    step->flag[BERT_STRIP] = step->flag[BERT_LOWER] = lowercase;
    return TRAWL_OK;
}

static bool is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0x2f800 && c <= 0x2fa1f);
}

static enum trawl_status bert_clean(const struct step *step, struct buf *out, const char *text, size_t n)
{
    unsigned length;
    TRY(buf_reserve(out, n + 8));
    for (size_t i = 0; i < n; i += length) {
        unsigned char byte = (unsigned char)text[i];
        length = 1;
        if (byte >= 32 && byte < 127) {
            TRY(buf_reserve(out, 1));
            out->data[out->n++] = text[i];
            continue;
        }
        uint32_t c = utf8_at(text + i, &length);
        bool clean = step->flag[BERT_CLEAN], chinese = step->flag[BERT_CHINESE] && is_chinese(c);
        if (clean && unicode_is(c, U_BERT_DROP))
            continue;
        if (chinese)
            TRY(buf_append(out, " ", 1));
        if (clean && unicode_is(c, U_SPACE))
            TRY(buf_append(out, " ", 1));
        else
            TRY(buf_append(out, text + i, length));
        if (chinese)
            TRY(buf_append(out, " ", 1));
    }
    return TRAWL_OK;
}

/* All of it on ASCII: printable bytes in lower case, white space as spaces, other control bytes gone. */
static enum trawl_status bert_ascii(const struct step *step, struct buf *out, const char *text, size_t n)
{
    bool lower = step->flag[BERT_LOWER];
    TRY(buf_reserve(out, n + 1));
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 32 || byte == 127) {
            if (unicode_is(byte, U_BERT_DROP))
                continue;
            byte = ' ';
        }
        out->data[out->n++] = (char)(lower && byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
    }
    out->data[out->n] = 0;
    return TRAWL_OK;
}

static enum trawl_status run_bert(const struct step *step, struct buf *out, const char *text, size_t n)
{
    if (step->flag[BERT_CLEAN] && ascii_prefix(text, n) == n)
        return bert_ascii(step, out, text, n);
    enum trawl_status status = TRAWL_OK;
    struct buf made = {0}, next = {0}, swap;
    TRY_OUT(bert_clean(step, &made, text, n));
    if (step->flag[BERT_STRIP]) {
        TRY_OUT(unicode_normalize(&next, made.data, made.n, UNICODE_NFD));
        buf_reset(&made);
        TRY_OUT(without(&made, next.data, next.n, U_BERT_ACCENT));
    }
    if (step->flag[BERT_LOWER]) {
        buf_reset(&next);
        TRY_OUT(run_lowercase(step, &next, made.data, made.n));
        swap = made;
        made = next;
        next = swap;
    }
    status = buf_append(out, made.data, made.n);
out:
    buf_release(&made);
    buf_release(&next);
    return status;
}

/* ---- Precompiled ---- */

static int base64_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static enum trawl_status base64_decode(struct buf *out, const char *text, size_t n, const char *where)
{
    uint32_t bits = 0;
    unsigned have = 0;
    while (n && text[n - 1] == '=')
        n--;
    TRY(buf_reserve(out, n / 4 * 3 + 4));
    for (size_t i = 0; i < n; i++) {
        int value = base64_value(text[i]);
        if (value < 0)
            return fail(TRAWL_FORMAT, "%s: 'precompiled_charsmap' is not base64 at byte %zu", where, i);
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8)
            out->data[out->n++] = (char)(bits >> (have -= 8));
    }
    return TRAWL_OK;
}

static enum trawl_status parse_precompiled(struct step *step, const json_t *object, const char *where)
{
    const char *text = NULL;
    size_t n = 0;
    struct buf map = {0};
    TRY(json_get_text(&text, &n, object, "precompiled_charsmap", where));
    if (!text)
        return fail(TRAWL_FORMAT, "%s: 'precompiled_charsmap' is missing", where);
    enum trawl_status status = base64_decode(&map, text, n, where);
    if (!status)
        status = step_charsmap(step, map.data, map.n, where);
    buf_release(&map);
    return status;
}

const struct step_row normalizer_rows[] = {
    {.name = "NFC", .normalize = run_nfc},
    {.name = "NFD", .normalize = run_nfd},
    {.name = "NFKC", .normalize = run_nfkc},
    {.name = "NFKD", .normalize = run_nfkd},
    {.name = "Lowercase", .normalize = run_lowercase},
    {.name = "StripAccents", .normalize = run_strip_accents},
    {.name = "Strip", .parse = parse_strip, .normalize = run_strip},
    {.name = "Nmt", .normalize = run_nmt},
    {.name = "Prepend", .parse = parse_prepend, .normalize = run_prepend},
    {.name = "Replace", .parse = parse_replace, .normalize = run_replace},
    {.name = "BertNormalizer", .parse = parse_bert, .normalize = run_bert},
    {.name = "Precompiled", .parse = parse_precompiled, .normalize = charsmap_normalize},
    {0},
};

enum trawl_status normalize_text(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text, size_t n,
                                 const char **normal, size_t *normal_n)
{
    int turn = 0;
    for (size_t i = 0; i < t->n_normalizers; i++, turn = !turn) {
        buf_reset(&s->normal[turn]);
        TRY(t->normalizers[i].row->normalize(&t->normalizers[i], &s->normal[turn], text, n));
        text = s->normal[turn].data;
        n = s->normal[turn].n;
    }
    if (t->n_normalizers == 0) { /* a copy, so that what follows may read beyond its end */
        buf_reset(&s->normal[turn]);
        TRY(buf_append(&s->normal[turn], text, n));
        turn = !turn;
    }
    TRY(buf_reserve(&s->normal[!turn], TEXT_PAD));
    *normal = s->normal[!turn].data;
    *normal_n = n;
    return TRAWL_OK;
}
