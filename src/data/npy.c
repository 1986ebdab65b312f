/*
 * NumPy's .npy (its format document, versions 1 to 3): magic, version, length of a header that is a Python literal
 * {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, then the items. Only that literal is understood, in any
 * order of keys; every size is checked against the file before anything is read.
 */
#include "number.h"
#include "vectors.h"
#include <string.h>

struct cursor {
    const char *p, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t' || *c->p == '\r'))
        c->p++;
}

static bool take(struct cursor *c, char ch)
{
    skip_space(c);
    if (c->p == c->end || *c->p != ch)
        return false;
    c->p++;
    return true;
}

/* 'text' or "text" without escapes, into out (NUL-terminated). */
static bool take_text(struct cursor *c, char *out, size_t room)
{
    skip_space(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"'))
        return false;
    char quote = *c->p++;
    const char *stop = memchr(c->p, quote, (size_t)(c->end - c->p));
    size_t n = stop ? (size_t)(stop - c->p) : 0;
    if (!stop || n >= room || memchr(c->p, '\\', n))
        return false;
    memcpy(out, c->p, n);
    out[n] = '\0';
    c->p = stop + 1;
    return true;
}

static bool take_word(struct cursor *c, const char *word)
{
    size_t n = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* (), (3,), (3, 4) */
static bool take_shape(struct cursor *c, struct npy *a)
{
    if (!take(c, '('))
        return false;
    a->n_dims = 0;
    while (!take(c, ')')) {
        int64_t size;
        skip_space(c);
        const char *begin = c->p;
        while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
            c->p++;
        if (a->n_dims == sizeof a->shape / sizeof *a->shape || !number_parse_int(&size, begin, (size_t)(c->p - begin)))
            return false;
        a->shape[a->n_dims++] = (size_t)size;
        bool comma = take(c, ',');
        if (!comma) {
            if (a->n_dims < 2)
                return false;
            return take(c, ')');
        }
    }
    return true;
}

enum { SEEN_DESCR = 1, SEEN_ORDER = 2, SEEN_SHAPE = 4, SEEN_ALL = 7 };

static bool take_item(struct cursor *c, struct npy *a, char descr[16], int *seen)
{
    char key[32];
    int bit;
    bool good;
    if (!take_text(c, key, sizeof key) || !take(c, ':'))
        return false;
    if (strcmp(key, "descr") == 0) {
        bit = SEEN_DESCR;
        good = take_text(c, descr, 16);
    } else if (strcmp(key, "fortran_order") == 0) {
        bit = SEEN_ORDER;
        skip_space(c);
        a->fortran = take_word(c, "True");
        good = a->fortran || take_word(c, "False");
    } else if (strcmp(key, "shape") == 0) {
        bit = SEEN_SHAPE;
        good = take_shape(c, a);
    } else {
        return false;
    }
    good = good && !(*seen & bit);
    *seen |= bit;
    return good;
}

static bool parse_header(struct npy *a, char descr[16], const char *text, size_t n)
{
    struct cursor c = {text, text + n};
    int seen = 0;
    if (!take(&c, '{'))
        return false;
    while (!take(&c, '}')) {
        if (!take_item(&c, a, descr, &seen))
            return false;
        if (!take(&c, ',')) {
            if (!take(&c, '}'))
                return false;
            break;
        }
    }
    skip_space(&c);
    return seen == SEEN_ALL && c.p == c.end;
}

/* "<f4" and its kin; big-endian and structured types are refused. */
static bool parse_descr(struct npy *a, const char *descr)
{
    static const char *const known[] = {"<f2", "<f4", "<f8", "|i1", "<i2", "<i4",
                                        "<i8", "|u1", "<u2", "<u4", "<u8", "|b1"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(descr, known[i]) == 0) {
            a->kind = descr[1];
            a->item_bytes = (size_t)(descr[2] - '0');
            return true;
        }
    return false;
}

static enum trawl_status check_size(struct npy *a, size_t begin, const char *path)
{
    size_t n = 1, bytes;
    for (size_t i = 0; i < a->n_dims; i++)
        if (__builtin_mul_overflow(n, a->shape[i], &n))
            return fail(TRAWL_FORMAT, "'%s': the shape in its header is too large", path);
    if (__builtin_mul_overflow(n, a->item_bytes, &bytes) || bytes != a->map.bytes - begin)
        return fail(TRAWL_CORRUPT,
                    "'%s': the header promises %zu items of %zu bytes, but %zu bytes follow (cut short?)", path, n,
                    a->item_bytes, a->map.bytes - begin);
    a->n = n;
    a->data = a->map.data + begin;
    return TRAWL_OK;
}

static enum trawl_status parse(struct npy *a, const char *path)
{
    const unsigned char *d = a->map.data;
    size_t begin, n;
    char descr[16] = "";
    if (a->map.bytes < 10 || memcmp(d, "\x93NUMPY", 6) != 0)
        return fail(TRAWL_FORMAT, "'%s' is not an .npy file", path);
    if (d[6] < 1 || d[6] > 3 || d[7] != 0)
        return fail(TRAWL_UNSUPPORTED, "'%s': .npy version %d.%d, this program reads 1.0 to 3.0", path, d[6], d[7]);
    begin = d[6] == 1 ? 10 : 12;
    if (a->map.bytes < begin)
        return fail(TRAWL_CORRUPT, "'%s': the header is cut short", path);
    n = d[8] | (size_t)d[9] << 8;
    if (d[6] > 1)
        n |= (size_t)d[10] << 16 | (size_t)d[11] << 24;
    if (n > a->map.bytes - begin)
        return fail(TRAWL_CORRUPT, "'%s': the header is cut short", path);
    if (!parse_header(a, descr, (const char *)d + begin, n))
        return fail(TRAWL_FORMAT, "'%s': malformed .npy header", path);
    if (!parse_descr(a, descr))
        return fail(TRAWL_UNSUPPORTED, "'%s': items of type '%s' (known: little-endian f2 f4 f8 i1-i8 u1-u8 b1)", path,
                    descr);
    return check_size(a, begin + n, path);
}

enum trawl_status npy_open(struct npy *a, const char *path)
{
    *a = (struct npy){0};
    TRY(file_map_open(&a->map, path));
    enum trawl_status status = parse(a, path);
    if (status != TRAWL_OK)
        npy_close(a);
    return status;
}

void npy_close(struct npy *a)
{
    if (!a)
        return;
    file_map_close(&a->map);
    *a = (struct npy){0};
}

/* Offset in storage of item i in C order. */
static size_t storage_offset(const struct npy *a, size_t i)
{
    size_t stride = 1, offset = 0;
    if (!a->fortran)
        return i;
    size_t rest = i, inner = a->n;
    for (size_t d = 0; d < a->n_dims; d++) {
        inner /= a->shape[d];
        offset += rest / inner * stride;
        rest %= inner;
        stride *= a->shape[d];
    }
    return offset;
}

static double half_value(uint16_t h)
{
    uint32_t exponent = h >> 10 & 31, fraction = h & 1023;
    double value;
    if (exponent == 31)
        value = fraction ? (double)__builtin_nanf("") : (double)__builtin_inff();
    else if (exponent == 0)
        value = fraction * 0x1p-24;
    else
        value = (1024 + fraction) * (double)(1u << exponent) * 0x1p-25;
    return h >> 15 ? -value : value;
}

double npy_get(const struct npy *a, size_t i)
{
    const unsigned char *at = (const unsigned char *)a->data + storage_offset(a, i) * a->item_bytes;
    uint64_t bits = 0;
    memcpy(&bits, at, a->item_bytes); /* little-endian, as the files */
    if (a->kind == 'f') {
        if (a->item_bytes == 2)
            return half_value((uint16_t)bits);
        union {
            uint64_t bits;
            double d;
            float f; /* the low half, on little-endian machines */
        } value = {.bits = bits};
        return a->item_bytes == 4 ? (double)value.f : value.d;
    }
    if (a->kind == 'b')
        return bits != 0;
    if (a->kind == 'u')
        return (double)bits;
    size_t unused = 64 - 8 * a->item_bytes;
    return (double)((int64_t)(bits << unused) >> unused);
}
