/*
 * Properties are expanded from runs into a flat table at the first tokenizer: one load per code point afterwards.
 * Normal forms are utf8proc's, applied between the code points that the reference leaves alone (its tables are older);
 * those are starters that combine with nothing there, so cutting the text at them is exact.
 */
#include "unicode.h"
#include "base/utf8.h"
#include "unicode_runs.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

_Static_assert(U_LETTER == UNICODE_LETTER && U_NUMBER == UNICODE_NUMBER && U_SPACE == UNICODE_SPACE &&
                   U_WORD == UNICODE_WORD && U_NUMERIC == UNICODE_NUMERIC && U_PUNCT == UNICODE_PUNCT &&
                   U_BERT_DROP == UNICODE_BERT_DROP && U_BERT_ACCENT == UNICODE_BERT_ACCENT && U_MARK == UNICODE_MARK &&
                   U_BARRIER == UNICODE_BARRIER && U_COMPAT_KEPT == UNICODE_COMPAT_KEPT,
               "unicode_runs.h was made with other flags");

uint16_t unicode_flags[0x110000];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* NFC may change a text only at code points that are reordered, combine with what precedes, or decompose for good. */
static bool nfc_must_check(uint32_t c)
{
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)c);
    if (p->combining_class != 0 || (c >= 0x1161 && c <= 0x11c2))
        return true;
    if (p->comb_index != UINT16_MAX && p->comb_index >= 0x8000)
        return true;
    if (p->decomp_seqindex == UINT16_MAX || p->decomp_type != 0)
        return false;
    char text[5] = {0};
    size_t n = utf8_put(text, c);
    utf8proc_uint8_t *nfc = utf8proc_NFC((const utf8proc_uint8_t *)text);
    bool changed = !nfc || strlen((char *)nfc) != n || memcmp(nfc, text, n) != 0;
    free(nfc);
    return changed;
}

static void fill(void)
{
    const size_t n_runs = sizeof unicode_runs / sizeof *unicode_runs;
    for (size_t i = 0; i < n_runs; i++) {
        uint32_t end = i + 1 < n_runs ? unicode_runs[i + 1] >> 11 : 0x110000;
        for (uint32_t c = unicode_runs[i] >> 11; c < end; c++)
            unicode_flags[c] = unicode_runs[i] & 0x7ff;
    }
    for (uint32_t c = 0x80; c < 0x30000; c++)
        if ((c < 0xd800 || c >= 0xe000) && nfc_must_check(c))
            unicode_flags[c] |= U_NFC_CHECK;
    for (uint32_t c = 0x30000; c < 0x110000; c++)
        unicode_flags[c] |= U_NFC_CHECK;
}

void unicode_init(void)
{
    pthread_once(&once, fill);
}

size_t ascii_prefix(const char *text, size_t n)
{
    size_t i = 0;
    for (uint64_t word; i + 8 <= n; i += 8) {
        memcpy(&word, text + i, 8);
        if (word & 0x8080808080808080u)
            break;
    }
    while (i < n && (signed char)text[i] >= 0)
        i++;
    return i;
}

unsigned unicode_lower(uint32_t out[2], uint32_t c)
{
    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        return 1;
    }
    if (c == 0x130) {
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    for (size_t i = 0; c >= 0x1c89 && i < sizeof unicode_lower_table / sizeof *unicode_lower_table; i++)
        if (unicode_lower_table[i][0] == c)
            return out[0] = unicode_lower_table[i][1], 1;
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

bool unicode_is_nfc(const char *text, size_t n)
{
    unsigned length;
    for (size_t i = ascii_prefix(text, n); i < n; i += length) {
        if ((signed char)text[i] >= 0) {
            length = 1;
            continue;
        }
        if (unicode_is(utf8_at(text + i, &length), U_NFC_CHECK))
            return false;
    }
    return true;
}

static enum trawl_status normalize_span(struct buf *out, const char *text, size_t n, enum unicode_form form)
{
    static const utf8proc_option_t options[] = {
        [UNICODE_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [UNICODE_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [UNICODE_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [UNICODE_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    if (ascii_prefix(text, n) == n)
        return buf_append(out, text, n);
    utf8proc_uint8_t *made = NULL;
    utf8proc_ssize_t bytes = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &made, options[form]);
    if (bytes < 0)
        return fail(TRAWL_NOMEM, "cannot normalise a text of %zu bytes: %s", n, utf8proc_errmsg(bytes));
    enum trawl_status status = buf_append(out, made, (size_t)bytes);
    free(made);
    return status;
}

enum trawl_status unicode_normalize(struct buf *out, const char *text, size_t n, enum unicode_form form)
{
    unsigned kept = U_BARRIER | (form >= UNICODE_NFKC ? U_COMPAT_KEPT : 0);
    unsigned length;
    size_t begin = 0;
    for (size_t i = ascii_prefix(text, n); i < n; i += length) {
        if (!unicode_is(utf8_at(text + i, &length), kept))
            continue;
        TRY(normalize_span(out, text + begin, i - begin, form));
        TRY(buf_append(out, text + i, length));
        begin = i + length;
    }
    return normalize_span(out, text + begin, n - begin, form);
}
