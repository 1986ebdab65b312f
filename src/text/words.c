/*
 * UAX #29 words. One scanner for all scripts walks over classes of characters (the Word_Break property, with the
 * scripts and the line-break class that need a rule of their own); a run of ASCII letters or digits that ends at an
 * ASCII separator, which is nearly every word of a Latin text, is found by a tight loop before it.
 *
 * A word is the longest match from its first character within a window of 255 UTF-16 units: what stands behind the
 * window does not exist for it. That is how Lucene cuts long words, and it decides what happens to marks at the cut.
 */
#include "words.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <stdlib.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>

enum { WORD_UNITS = 255 };

enum class {
    OTHER,
    LETTER,
    HEBREW,
    DIGIT,
    KATAKANA,
    CONNECTOR, /* ExtendNumLet: '_' and its kin */
    MARK,      /* Extend, Format, ZWJ: belongs to what stands before it */
    MID_LETTER,
    MID_DIGIT,
    MID_BOTH, /* '.': between letters or between digits */
    SINGLE_QUOTE,
    DOUBLE_QUOTE,
    FLAG, /* regional indicator */
    HAN,
    HIRAGANA,
    SOUTH_EAST,
    EMOJI,
    KEYCAP, /* '#' and '*' */
    UNKNOWN = 255,
};
enum { CLASS_MASK = 31, SOUTH_EAST_MARK = 32, EMOJI_MODIFIER = 64 };

#define L LETTER
#define D DIGIT
static const unsigned char ascii_class[128] = {
    ['A'] = L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    ['a'] = L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    L,
    ['0'] = D,
    D,
    D,
    D,
    D,
    D,
    D,
    D,
    D,
    D,
    ['_'] = CONNECTOR,
    [':'] = MID_LETTER,
    ['.'] = MID_BOTH,
    [','] = MID_DIGIT,
    [';'] = MID_DIGIT,
    ['\''] = SINGLE_QUOTE,
    ['"'] = DOUBLE_QUOTE,
    ['#'] = KEYCAP,
    ['*'] = KEYCAP,
};
#undef L
#undef D

static enum class word_break_class(UChar32 c) {
    switch (u_getIntPropertyValue(c, UCHAR_WORD_BREAK)){
        case U_WB_ALETTER : return LETTER; case U_WB_HEBREW_LETTER : return HEBREW; case U_WB_NUMERIC : return DIGIT;
        case U_WB_KATAKANA : return KATAKANA;
        case U_WB_EXTENDNUMLET : return CONNECTOR;
        case U_WB_EXTEND : case U_WB_FORMAT : case U_WB_ZWJ : return MARK;
        case U_WB_MIDLETTER : return MID_LETTER;
        case U_WB_MIDNUM : return MID_DIGIT;
        case U_WB_MIDNUMLET : return MID_BOTH;
        case U_WB_SINGLE_QUOTE : return SINGLE_QUOTE;
        case U_WB_DOUBLE_QUOTE : return DOUBLE_QUOTE;
        case U_WB_REGIONAL_INDICATOR : return FLAG;
        default : return OTHER;
    }
}

static unsigned char class_from_icu(UChar32 c)
{
    enum class class = word_break_class(c);
    bool south_east = u_getIntPropertyValue(c, UCHAR_LINE_BREAK) == U_LB_COMPLEX_CONTEXT;
    if (class == MARK)
        return (unsigned char)(MARK | (south_east ? SOUTH_EAST_MARK : 0) |
                               (u_hasBinaryProperty(c, UCHAR_EMOJI_MODIFIER) ? EMOJI_MODIFIER : 0));
    if (class != OTHER)
        return (unsigned char)class;
    if (south_east)
        return SOUTH_EAST;
    if (c >= 0xFF10 && c <= 0xFF19)
        return DIGIT;
    UErrorCode error = U_ZERO_ERROR;
    UScriptCode script = uscript_getScript(c, &error);
    if (script == USCRIPT_HAN)
        return HAN;
    if (script == USCRIPT_HIRAGANA)
        return HIRAGANA;
    if (u_hasBinaryProperty(c, UCHAR_EXTENDED_PICTOGRAPHIC) || u_hasBinaryProperty(c, UCHAR_EMOJI))
        return EMOJI;
    return OTHER;
}

void words_release(struct words *w)
{
    for (size_t i = 0; i < sizeof w->pages / sizeof *w->pages; i++)
        free(w->pages[i]);
    *w = (struct words){0};
}

/* A place in the text: byte, UTF-16 units since the word's begin, class and length of the character that begins there.
 */
struct place {
    size_t byte, units, bytes;
    unsigned char flags;
    enum class class;
};
struct scan {
    struct words *words;
    const char *text;
    size_t n;
    bool no_memory;
};

static unsigned char class_of(struct scan *s, uint32_t c)
{
    unsigned char **page = &s->words->pages[c >> 8];
    if (!*page) {
        *page = mem_array(256, 1);
        if (!*page) {
            s->no_memory = true;
            return OTHER;
        }
        for (uint32_t i = 0; i < 256; i++)
            (*page)[i] = class_from_icu((UChar32)((c & ~255u) + i));
    }
    return (*page)[c & 255];
}

/* Fills in what begins at p->byte; class UNKNOWN at the end of the text or of the word's window. */
static void look(struct scan *s, struct place *p)
{
    p->flags = 0;
    p->bytes = 0;
    p->class = UNKNOWN;
    if (p->byte >= s->n || p->units >= WORD_UNITS)
        return;
    unsigned char first = (unsigned char)s->text[p->byte];
    if (first < 128) {
        p->bytes = 1;
        p->class = (enum class)ascii_class[first];
        return;
    }
    size_t end = p->byte;
    uint32_t c = utf8_next(s->text, s->n, &end);
    if (c >= 0x10000 && p->units + 2 > WORD_UNITS)
        return;
    unsigned char bits = class_of(s, c);
    p->bytes = end - p->byte;
    p->flags = (unsigned char)(bits & ~CLASS_MASK);
    p->class = (enum class)(bits & CLASS_MASK);
}

static void step(struct scan *s, struct place *p)
{
    p->units += p->bytes == 4 ? 2 : 1;
    p->byte += p->bytes;
    look(s, p);
}

static void skip_marks(struct scan *s, struct place *p)
{
    while (p->class == MARK)
        step(s, p);
}

static bool is_letter(enum class c)
{
    return c == LETTER || c == HEBREW;
}

/* May `next` follow `last` without a boundary between them? */
static bool joins(enum class last, enum class next)
{
    switch (next) {
    case LETTER:
    case HEBREW:
    case DIGIT:
        return is_letter(last) || last == DIGIT || last == CONNECTOR;
    case KATAKANA:
        return last == KATAKANA || last == CONNECTOR;
    case CONNECTOR:
        return is_letter(last) || last == DIGIT || last == KATAKANA || last == CONNECTOR;
    default:
        return false;
    }
}

/* May `mid` stand between `last` and `next`, both of a kind? */
static bool bridges(enum class last, enum class mid, enum class next)
{
    if (mid == DOUBLE_QUOTE)
        return last == HEBREW && next == HEBREW;
    bool between_letters = mid == MID_LETTER || mid == MID_BOTH || mid == SINGLE_QUOTE;
    bool between_digits = mid == MID_DIGIT || mid == MID_BOTH || mid == SINGLE_QUOTE;
    return (between_letters && is_letter(last) && is_letter(next)) ||
           (between_digits && last == DIGIT && next == DIGIT);
}

/* End of the word of letters, digits and connectors at `p`, or its begin when there is none. */
static size_t word_end(struct scan *s, struct place p)
{
    size_t begin = p.byte;
    bool solid = false; /* something other than connectors was seen */
    enum class last = p.class;
    solid = last != CONNECTOR;
    step(s, &p);
    for (;;) {
        skip_marks(s, &p);
        if (joins(last, p.class)) {
            last = p.class;
            solid |= last != CONNECTOR;
            step(s, &p);
            continue;
        }
        struct place after = p;
        if (p.class == UNKNOWN || p.class < MID_LETTER || p.class > DOUBLE_QUOTE)
            break;
        step(s, &after);
        skip_marks(s, &after);
        if (bridges(last, p.class, after.class)) {
            last = after.class;
            p = after;
            step(s, &p);
        } else if (last == HEBREW && p.class == SINGLE_QUOTE) {
            last = LETTER; /* letters, digits and connectors may follow the quote */
            p = after;
        } else {
            break;
        }
    }
    return solid ? p.byte : begin;
}

/* Emoji with their selectors, modifiers and tags, joined by ZWJ. */
static size_t emoji_end(struct scan *s, struct place p)
{
    for (;;) {
        bool joined = false;
        step(s, &p);
        for (; p.class == MARK; step(s, &p))
            joined = (unsigned char)s->text[p.byte] == 0xE2 && (unsigned char)s->text[p.byte + 1] == 0x80 &&
                     (unsigned char)s->text[p.byte + 2] == 0x8D;
        if (!joined || p.class != EMOJI)
            return p.byte;
    }
}

/* '#' or '*' with a combining keycap among its marks, else nothing. */
static size_t keycap_end(struct scan *s, struct place p)
{
    size_t begin = p.byte;
    bool keycap = false;
    for (step(s, &p); p.class == MARK; step(s, &p))
        keycap |= p.bytes == 3 && (unsigned char)s->text[p.byte] == 0xE2 &&
                  (unsigned char)s->text[p.byte + 1] == 0x83 && (unsigned char)s->text[p.byte + 2] == 0xA3;
    return keycap ? p.byte : begin;
}

static size_t south_east_end(struct scan *s, struct place p)
{
    while (p.class == SOUTH_EAST || p.class == MARK)
        step(s, &p);
    return p.byte;
}

static size_t single_end(struct scan *s, struct place p)
{
    step(s, &p);
    skip_marks(s, &p);
    return p.byte;
}

static size_t flag_end(struct scan *s, struct place p)
{
    size_t begin = p.byte;
    step(s, &p);
    skip_marks(s, &p);
    return p.class == FLAG ? single_end(s, p) : begin;
}

/* End of the word that begins at byte `begin`; `begin` itself when none does, and *bytes to step over then. */
static size_t match(struct scan *s, size_t begin, size_t *bytes)
{
    struct place p = {.byte = begin};
    look(s, &p);
    *bytes = p.bytes;
    switch (p.class) {
    case LETTER:
    case HEBREW:
    case DIGIT:
    case KATAKANA:
    case CONNECTOR:
        return word_end(s, p);
    case HAN:
    case HIRAGANA:
        return single_end(s, p);
    case SOUTH_EAST:
        return south_east_end(s, p);
    case MARK:
        if (p.flags & SOUTH_EAST_MARK)
            return south_east_end(s, p);
        return p.flags & EMOJI_MODIFIER ? emoji_end(s, p) : begin;
    case EMOJI:
        return emoji_end(s, p);
    case FLAG:
        return flag_end(s, p);
    case KEYCAP:
        return keycap_end(s, p);
    default:
        return begin;
    }
}

/* End of a run of ASCII letters and digits at `begin` that no rule can lengthen, or `begin`. */
static size_t plain_end(const char *text, size_t n, size_t begin)
{
    size_t i = begin, stop = n - begin > WORD_UNITS ? begin + WORD_UNITS : n;
    for (; i < stop; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 128)
            return begin;
        unsigned char class = ascii_class[c];
        if (class != LETTER && class != DIGIT) {
            bool joins_on = class == CONNECTOR || (class >= MID_LETTER && class <= SINGLE_QUOTE);
            return joins_on ? begin : i;
        }
    }
    return i;
}

enum trawl_status words_next(struct words *w, const char *text, size_t n, size_t *begin, size_t *end, bool *found,
                             bool *ascii)
{
    struct scan s = {.words = w, .text = text, .n = n};
    *found = false;
    for (size_t i = *begin, bytes; i < n; i += bytes) {
        bytes = 1;
        unsigned char first = (unsigned char)text[i];
        if (first < 128 && ascii_class[first] == OTHER)
            continue;
        size_t stop = plain_end(text, n, i);
        *ascii = stop > i;
        if (stop == i) {
            stop = match(&s, i, &bytes);
            if (s.no_memory)
                return mem_status();
        }
        if (stop > i) {
            *found = true;
            *begin = i;
            *end = stop;
            return TRAWL_OK;
        }
    }
    return TRAWL_OK;
}
