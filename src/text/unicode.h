/*
 * Properties of code points as the reference tokenizers see them (unicode_runs.h), UTF-8 steps for text known to be
 * valid, and normal forms. unicode_init() is called once by whoever opens a tokenizer; the rest is read-only.
 */
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H
#include "base/buf.h"
#include <stdbool.h>

/* Bits of unicode_flags[]; see tools/unicode_runs.py for what each was measured on. */
enum {
    U_LETTER = 1,         /* \p{L} */
    U_NUMBER = 2,         /* \p{N} */
    U_SPACE = 4,          /* \s, White_Space */
    U_WORD = 8,           /* \w of pre-tokenizer Whitespace and of added tokens' single_word */
    U_NUMERIC = 16,       /* pre-tokenizer Digits */
    U_PUNCT = 32,         /* pre-tokenizers Punctuation and BertPreTokenizer */
    U_BERT_DROP = 64,     /* removed by BertNormalizer's clean_text */
    U_BERT_ACCENT = 128,  /* removed by BertNormalizer's strip_accents, after NFD */
    U_MARK = 256,         /* removed by StripAccents */
    U_BARRIER = 512,      /* left alone by every normal form */
    U_COMPAT_KEPT = 1024, /* left alone by NFKC and NFKD */
    U_NFC_CHECK = 2048,   /* NFC may change it or what stands before it */
};
extern uint16_t unicode_flags[0x110000];
void unicode_init(void);

static inline bool unicode_is(uint32_t c, unsigned flags)
{
    return (unicode_flags[c] & flags) != 0;
}

/* Code point at s, which is valid UTF-8; *length is its bytes. */
static inline uint32_t utf8_at(const char *s, unsigned *length)
{
    const unsigned char *b = (const unsigned char *)s;
    if (b[0] < 0x80)
        return *length = 1, b[0];
    if (b[0] < 0xe0)
        return *length = 2, (uint32_t)(b[0] & 31) << 6 | (b[1] & 63u);
    if (b[0] < 0xf0)
        return *length = 3, (uint32_t)(b[0] & 15) << 12 | (uint32_t)(b[1] & 63) << 6 | (b[2] & 63u);
    *length = 4;
    return (uint32_t)(b[0] & 7) << 18 | (uint32_t)(b[1] & 63) << 12 | (uint32_t)(b[2] & 63) << 6 | (b[3] & 63u);
}
/* Code point that ends before s + i (i > 0). */
static inline uint32_t utf8_before(const char *s, size_t i, unsigned *length)
{
    size_t at = i - 1;
    while ((s[at] & 0xc0) == 0x80)
        at--;
    return utf8_at(s + at, length);
}
/* Bytes of the prefix of text that is ASCII. */
size_t ascii_prefix(const char *text, size_t n);

/* Lower case of one code point, as Rust's char::to_lowercase: one or two code points, returns how many. */
unsigned unicode_lower(uint32_t out[2], uint32_t c);

enum unicode_form { UNICODE_NFC, UNICODE_NFD, UNICODE_NFKC, UNICODE_NFKD };
/* Whether the text is surely in NFC already (a quick check: false means perhaps not). */
bool unicode_is_nfc(const char *text, size_t n);
/* Appends the normal form of valid UTF-8. */
MUST_USE enum trawl_status unicode_normalize(struct buf *out, const char *text, size_t n, enum unicode_form form);

#endif
