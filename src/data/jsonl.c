/*
 * A validating scanner over one line. The state is a cursor and a stack of one bit per open bracket (object or array),
 * so hostile nesting costs a fixed 128 bytes and no recursion. Strings are crossed eight bytes at a time.
 */
#include "jsonl.h"
#include <inttypes.h>
#include <string.h>

#define MAX_DEPTH 1024
#define MAX_KEY 256 /* a wanted name of 32 bytes has at most 192 when every byte is written \uXXXX */

struct scan {
    const char *begin, *p, *end;
    const char *what; /* the first thing that was wrong */
};

static bool wrong(struct scan *s, const char *what)
{
    if (!s->what)
        s->what = what;
    return false;
}

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/*
 * First byte at or after p that a string cannot hold as it is: a quote, a backslash, a control character. The three
 * tests mark the high bit of a byte; a borrow can only mark bytes above a true one, and the lowest mark is taken.
 */
static const char *plain_end(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t word, quote, slash;
        memcpy(&word, p, 8);
        quote = word ^ EACH('"');
        slash = word ^ EACH('\\');
        uint64_t marks =
            (((quote - EACH(1)) & ~quote) | ((slash - EACH(1)) & ~slash) | ((word - EACH(0x20)) & ~word)) & EACH(0x80);
        if (marks)
            return p + (__builtin_ctzll(marks) >> 3);
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool skip_escape(struct scan *s)
{
    s->p++;
    if (s->p == s->end)
        return wrong(s, "the line ends inside a string");
    if (*s->p == 'u') {
        if (s->end - s->p < 5)
            return wrong(s, "a \\u escape is cut short");
        for (int i = 1; i <= 4; i++)
            if (hex_value(s->p[i]) < 0)
                return wrong(s, "a \\u escape needs four hexadecimal digits");
        s->p += 5;
        return true;
    }
    if (!*s->p || !strchr("\"\\/bfnrt", *s->p))
        return wrong(s, "unknown escape in a string");
    s->p++;
    return true;
}

/* From the opening quote to after the closing one. */
static bool skip_string(struct scan *s, bool *escaped)
{
    *escaped = false;
    for (s->p++;;) {
        s->p = plain_end(s->p, s->end);
        if (s->p == s->end)
            return wrong(s, "the line ends inside a string");
        if (*s->p == '"') {
            s->p++;
            return true;
        }
        if (*s->p != '\\')
            return wrong(s, "a control character inside a string (write it as an escape)");
        *escaped = true;
        if (!skip_escape(s))
            return false;
    }
}

static bool skip_digits(struct scan *s)
{
    const char *begin = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > begin ? true : wrong(s, "a number lacks digits");
}

static bool skip_number(struct scan *s)
{
    if (*s->p == '-')
        s->p++;
    if (s->p < s->end && *s->p == '0')
        s->p++;
    else if (!skip_digits(s))
        return false;
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!skip_digits(s))
            return false;
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        if (!skip_digits(s))
            return false;
    }
    return true;
}

static bool skip_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return wrong(s, "a value was expected");
    s->p += n;
    return true;
}

/* A string, number or word. */
static bool skip_scalar(struct scan *s, enum jsonl_kind *kind, bool *escaped)
{
    switch (*s->p) {
    case '"':
        *kind = JSONL_STRING;
        return skip_string(s, escaped);
    case 't':
        *kind = JSONL_BOOL;
        return skip_word(s, "true");
    case 'f':
        *kind = JSONL_BOOL;
        return skip_word(s, "false");
    case 'n':
        *kind = JSONL_NULL;
        return skip_word(s, "null");
    default:
        *kind = JSONL_NUMBER;
        if (*s->p != '-' && (*s->p < '0' || *s->p > '9'))
            return wrong(s, "a value was expected");
        return skip_number(s);
    }
}

/* "key" : -- stands before the value afterwards. */
static bool skip_key(struct scan *s, const char **key, size_t *n, bool *escaped)
{
    skip_space(s);
    if (s->p == s->end || *s->p != '"')
        return wrong(s, "a key in quotes was expected");
    *key = s->p + 1;
    if (!skip_string(s, escaped))
        return false;
    *n = (size_t)(s->p - 1 - *key);
    skip_space(s);
    if (s->p == s->end || *s->p != ':')
        return wrong(s, "a ':' was expected after a key");
    s->p++;
    return true;
}

/* Brackets that are open: bit set for an object. */
struct nest {
    uint64_t bits[MAX_DEPTH / 64];
    size_t depth;
};

static bool nest_is_object(const struct nest *nest)
{
    size_t i = nest->depth - 1;
    return nest->bits[i / 64] >> (i % 64) & 1;
}

/* At an opening bracket: enters it, and crosses the first key of an object. *closed when it was empty. */
static bool nest_open(struct scan *s, struct nest *nest, bool *closed)
{
    bool object = *s->p == '{', escaped;
    const char *key;
    size_t n;
    if (nest->depth == MAX_DEPTH)
        return wrong(s, "brackets are nested too deeply");
    uint64_t bit = UINT64_C(1) << (nest->depth % 64), *word = &nest->bits[nest->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    nest->depth++;
    s->p++;
    skip_space(s);
    *closed = s->p < s->end && *s->p == (object ? '}' : ']');
    if (*closed) {
        s->p++;
        nest->depth--;
        return true;
    }
    return !object || skip_key(s, &key, &n, &escaped);
}

/* After a value: crosses closing brackets, up to the next value or the end of the outermost one. */
static bool nest_after_value(struct scan *s, struct nest *nest)
{
    const char *key;
    size_t n;
    bool escaped;
    while (nest->depth) {
        bool object = nest_is_object(nest);
        skip_space(s);
        if (s->p == s->end)
            return wrong(s, "the line ends inside an object or array");
        if (*s->p == ',') {
            s->p++;
            return !object || skip_key(s, &key, &n, &escaped);
        }
        if (*s->p != (object ? '}' : ']'))
            return wrong(s, object ? "',' or '}' was expected" : "',' or ']' was expected");
        s->p++;
        nest->depth--;
    }
    return true;
}

static bool skip_value(struct scan *s, enum jsonl_kind *kind, bool *escaped)
{
    struct nest nest;
    enum jsonl_kind inner;
    bool inner_escaped, first = true;
    nest.depth = 0;
    *escaped = false;
    do {
        bool closed = true;
        skip_space(s);
        if (s->p == s->end)
            return wrong(s, "the line ends where a value was expected");
        if (*s->p == '{' || *s->p == '[') {
            inner = *s->p == '{' ? JSONL_OBJECT : JSONL_ARRAY;
            if (!nest_open(s, &nest, &closed))
                return false;
        } else if (!skip_scalar(s, &inner, first ? escaped : &inner_escaped)) {
            return false;
        }
        if (first)
            *kind = inner;
        first = false;
        if (closed && !nest_after_value(s, &nest))
            return false;
    } while (nest.depth);
    return true;
}

/* ---- the object of the line ---- */

static size_t put_code_point(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) { /* surrogates too: see jsonl_text */
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static uint32_t hex4(const char *p)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 | (uint32_t)hex_value(p[i]);
    return value;
}

/* Decodes the escape at *p (valid, as the scanner saw) into out, advancing *p; returns how many bytes. */
static size_t decode_escape(char out[4], const char **p, const char *end)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = (*p)[1];
    if (c != 'u') {
        out[0] = to[strchr(from, c) - from];
        *p += 2;
        return 1;
    }
    uint32_t code = hex4(*p + 2);
    *p += 6;
    if (code >= 0xd800 && code < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        uint32_t low = hex4(*p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            *p += 6;
        }
    }
    return put_code_point(out, code);
}

/* Decoded text is never longer than what was written, so out needs n bytes. */
static size_t decode_string(char *out, const char *raw, size_t n)
{
    const char *p = raw, *end = raw + n;
    char *at = out;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash ? slash : end) - p);
        memcpy(at, p, plain);
        at += plain;
        p += plain;
        if (p < end) {
            char bytes[4];
            size_t m = decode_escape(bytes, &p, end);
            memcpy(at, bytes, m);
            at += m;
        }
    }
    return (size_t)(at - out);
}

static struct jsonl_member *find_member(struct jsonl_member *members, size_t n_members, const char *key, size_t n,
                                        bool escaped)
{
    char decoded[MAX_KEY];
    if (escaped) {
        if (n > MAX_KEY)
            return NULL;
        n = decode_string(decoded, key, n);
        key = decoded;
    }
    for (size_t i = 0; i < n_members; i++)
        if (strlen(members[i].name) == n && memcmp(members[i].name, key, n) == 0)
            return &members[i];
    return NULL;
}

static bool scan_member(struct scan *s, struct jsonl_member *members, size_t n_members)
{
    const char *key;
    size_t n;
    enum jsonl_kind kind = JSONL_ABSENT;
    bool escaped;
    if (!skip_key(s, &key, &n, &escaped))
        return false;
    struct jsonl_member *member = find_member(members, n_members, key, n, escaped);
    if (member && member->kind != JSONL_ABSENT)
        return wrong(s, "a key comes twice");
    skip_space(s);
    const char *begin = s->p;
    if (!skip_value(s, &kind, &escaped))
        return false;
    if (member) {
        bool text = kind == JSONL_STRING;
        member->kind = kind;
        member->raw = begin + text;
        member->n = (size_t)(s->p - begin) - (text ? 2 : 0);
        member->escaped = escaped;
    }
    return true;
}

static bool scan_object(struct scan *s, struct jsonl_member *members, size_t n_members)
{
    skip_space(s);
    if (s->p == s->end || *s->p != '{')
        return wrong(s, "a JSON object was expected");
    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == '}') {
        s->p++;
    } else {
        for (;;) {
            if (!scan_member(s, members, n_members))
                return false;
            skip_space(s);
            if (s->p == s->end)
                return wrong(s, "the line ends inside the object");
            char c = *s->p;
            if (c != ',' && c != '}')
                return wrong(s, "',' or '}' was expected");
            s->p++;
            if (c == '}')
                break;
        }
    }
    skip_space(s);
    return s->p == s->end ? true : wrong(s, "more text after the object");
}

enum trawl_status jsonl_scan(struct jsonl_member *members, size_t n_members, const char *line, size_t n,
                             const char *path, uint64_t line_number)
{
    struct scan s = {.begin = line, .p = line, .end = line + n};
    for (size_t i = 0; i < n_members; i++) {
        members[i].kind = JSONL_ABSENT;
        members[i].raw = NULL;
        members[i].n = 0;
        members[i].escaped = false;
    }
    if (scan_object(&s, members, n_members))
        return TRAWL_OK;
    return fail(TRAWL_FORMAT, "'%s' line %" PRIu64 ", column %zu: invalid JSON: %s", path, line_number,
                (size_t)(s.p - s.begin) + 1, s.what);
}

enum trawl_status jsonl_text(struct buf *out, const struct jsonl_member *member)
{
    if (!member->escaped)
        return buf_append(out, member->raw, member->n);
    TRY(buf_reserve(out, member->n));
    out->n += decode_string(out->data + out->n, member->raw, member->n);
    out->data[out->n] = '\0';
    return TRAWL_OK;
}

const char *jsonl_kind_name(enum jsonl_kind kind)
{
    static const char *const names[] = {"nothing", "a string",  "a number", "true or false",
                                        "null",    "an object", "an array"};
    return names[kind];
}
