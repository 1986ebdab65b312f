/*
 * Scanners for the pre-tokenizer patterns of well-known models, by hand: several times as fast as the compiled
 * expressions and with the reference's own tables. Each is its pattern's alternatives in order, at every position;
 * every code point belongs to some alternative, so the pieces cover the text.
 *
 *   GPT-2     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   Llama 3   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+
 *             |\s+(?!\S)|\s+
 *   Qwen 2    the same with \p{N} for \p{N}{1,3}
 */
#include "tokenizer_int.h"
#include "unicode.h"
#include <string.h>

const char pattern_gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char pattern_llama3[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
                              "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char pattern_qwen2[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                             "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* Class of the code point at text[i]: U_LETTER, U_NUMBER, U_SPACE or 0; *length is its bytes. */
static inline unsigned class_at(const char *text, uint32_t i, unsigned *length)
{
    uint32_t c = (unsigned char)text[i];
    *length = 1;
    if (c >= 0x80)
        c = utf8_at(text + i, length);
    return unicode_flags[c] & (U_LETTER | U_NUMBER | U_SPACE);
}

/* End of the run of code points of one class from i. */
static inline uint32_t run_of(const char *text, uint32_t i, uint32_t end, unsigned class)
{
    unsigned length;
    while (i < end && class_at(text, i, &length) == class)
        i += length;
    return i;
}

/* Bytes of a contraction at text[i] = '\'', 0: none. U+017F is an s to a pattern that ignores case. */
static inline uint32_t contraction(const char *text, uint32_t i, uint32_t end, bool ignore_case)
{
    unsigned char fold = ignore_case ? 32 : 0;
    unsigned char a = i + 1 < end ? (unsigned char)text[i + 1] : 0, b = i + 2 < end ? (unsigned char)text[i + 2] : 0;
    if (ignore_case && a == 0xc5 && b == 0xbf)
        return 3;
    a = a < 0x80 ? a | fold : a;
    b = b < 0x80 ? b | fold : b;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* End of \s+(?!\S)|\s+ on the run of white space [i, run): all of it at the end of the text or when it is one code
 * point, else all but its last. */
static inline uint32_t space_end(const char *text, uint32_t i, uint32_t run, uint32_t end)
{
    unsigned length;
    if (run == end)
        return run;
    utf8_before(text, run, &length);
    return run - length > i ? run - length : run;
}

static enum trawl_status scan_gpt2_pieces(struct tokenizer_scratch *s, const char *text, uint32_t i, uint32_t end,
                                          unsigned parameter)
{
    (void)parameter;
    for (uint32_t begin = i; i < end; begin = i) {
        unsigned length, class = class_at(text, i, &length);
        if (text[i] == '\'') {
            uint32_t n = contraction(text, i, end, false);
            if (n) {
                i += n;
                TRY(scratch_push(s, begin, i));
                continue;
            }
        }
        if (text[i] == ' ' && i + 1 < end) {
            unsigned next_length, next = class_at(text, i + 1, &next_length);
            if (next != U_SPACE) {
                class = next;
                i++;
                length = next_length;
            }
        }
        i = run_of(text, i + length, end, class);
        if (class == U_SPACE)
            i = space_end(text, begin, i, end);
        TRY(scratch_push(s, begin, i));
    }
    return TRAWL_OK;
}

/* After the last \r or \n of text[i, run), i: there is none. */
static inline uint32_t last_newline(const char *text, uint32_t i, uint32_t run)
{
    while (run > i && text[run - 1] != '\n' && text[run - 1] != '\r')
        run--;
    return run;
}

static inline uint32_t numbers_end(const char *text, uint32_t i, uint32_t end, unsigned most)
{
    unsigned length;
    for (unsigned n = 0; n < most && i < end && class_at(text, i, &length) == U_NUMBER; n++)
        i += length;
    return i;
}

static enum trawl_status scan_llama3_pieces(struct tokenizer_scratch *s, const char *text, uint32_t i, uint32_t end,
                                            unsigned most_numbers)
{
    for (uint32_t begin = i; i < end; begin = i) {
        unsigned length, next_length, class = class_at(text, i, &length);
        char first = text[i];
        uint32_t n = first == '\'' ? contraction(text, i, end, true) : 0;
        uint32_t after = i + length;
        if (n) {
            i += n;
        } else if (class == U_LETTER || (class != U_NUMBER && first != '\r' && first != '\n' && after < end &&
                                         class_at(text, after, &next_length) == U_LETTER)) {
            i = run_of(text, after, end, U_LETTER);
        } else if (class == U_NUMBER) {
            i = numbers_end(text, i, end, most_numbers);
        } else if (class == 0 || (first == ' ' && after < end && class_at(text, after, &next_length) == 0)) {
            i = run_of(text, after, end, 0);
            while (i < end && (text[i] == '\r' || text[i] == '\n'))
                i++;
        } else {
            uint32_t run = run_of(text, i, end, U_SPACE), newline = last_newline(text, i, run);
            i = newline > i ? newline : space_end(text, i, run, end);
        }
        TRY(scratch_push(s, begin, i));
    }
    return TRAWL_OK;
}

scan_fn scan_gpt2(void)
{
    return scan_gpt2_pieces;
}

scan_fn scan_find(const char *pattern, size_t n, unsigned *parameter)
{
    static const struct {
        const char *pattern;
        scan_fn scan;
        unsigned parameter;
    } known[] = {
        {pattern_gpt2, scan_gpt2_pieces, 0},
        {pattern_llama3, scan_llama3_pieces, 3},
        {pattern_qwen2, scan_llama3_pieces, 1},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].pattern) == n && memcmp(known[i].pattern, pattern, n) == 0) {
            *parameter = known[i].parameter;
            return known[i].scan;
        }
    return NULL;
}
