/*
 * Reader of GGUF: header, metadata, tensor table. One cursor walks the mapped bytes; it never moves past their end, and
 * counts are compared with the bytes left before anything is allocated by them.
 */
#include "gguf.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_BYTES_MIN = 8 + 1 + 4 + 1,         /* length, one byte of name, type, one byte of value */
    TENSOR_BYTES_MIN = 8 + 1 + 4 + 8 + 12, /* length, name, dimensions, one size, type and offset */
    NESTING_MAX = 4,
    PARTS_MAX = 1024,
};

static const struct {
    const char *name;
    size_t bytes; /* 0: not of fixed size */
} value_types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},         [GGUF_I8] = {"i8", 1},       [GGUF_U16] = {"u16", 2}, [GGUF_I16] = {"i16", 2},
    [GGUF_U32] = {"u32", 4},       [GGUF_I32] = {"i32", 4},     [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1},
    [GGUF_STRING] = {"string", 0}, [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8}, [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

/* ggml's numbers of element types; those without a format are known by name only, to be refused by it. */
static const struct {
    uint32_t number;
    const char *name;
    enum format format;
} tensor_types[] = {
    {0, "F32", FORMAT_F32},        {1, "F16", FORMAT_F16},       {2, "Q4_0", FORMAT_Q4_0},
    {3, "Q4_1", FORMAT_Q4_1},      {6, "Q5_0", FORMAT_Q5_0},     {7, "Q5_1", FORMAT_Q5_1},
    {8, "Q8_0", FORMAT_Q8_0},      {12, "Q4_K", FORMAT_Q4_K},    {13, "Q5_K", FORMAT_Q5_K},
    {14, "Q6_K", FORMAT_Q6_K},     {30, "BF16", FORMAT_BF16},    {9, "Q8_1", FORMAT_COUNT},
    {10, "Q2_K", FORMAT_COUNT},    {11, "Q3_K", FORMAT_COUNT},   {15, "Q8_K", FORMAT_COUNT},
    {16, "IQ2_XXS", FORMAT_COUNT}, {17, "IQ2_XS", FORMAT_COUNT}, {18, "IQ3_XXS", FORMAT_COUNT},
    {19, "IQ1_S", FORMAT_COUNT},   {20, "IQ4_NL", FORMAT_COUNT}, {21, "IQ3_S", FORMAT_COUNT},
    {22, "IQ2_S", FORMAT_COUNT},   {23, "IQ4_XS", FORMAT_COUNT}, {24, "I8", FORMAT_COUNT},
    {25, "I16", FORMAT_COUNT},     {26, "I32", FORMAT_COUNT},    {27, "I64", FORMAT_COUNT},
    {28, "F64", FORMAT_COUNT},     {29, "IQ1_M", FORMAT_COUNT},  {34, "TQ1_0", FORMAT_COUNT},
    {35, "TQ2_0", FORMAT_COUNT},   {39, "MXFP4", FORMAT_COUNT},
};

struct cursor {
    const unsigned char *data;
    size_t n, at;
    const char *path, *what; /* what is being read, for messages */
};

static enum trawl_status cut_short(const struct cursor *c)
{
    return fail(TRAWL_CORRUPT,
                "'%s': %s at byte %zu goes beyond the end of the file, %zu bytes (cut short? fetch it again)", c->path,
                c->what, c->at, c->n);
}

static enum trawl_status take(struct cursor *c, const unsigned char **out, size_t n)
{
    *out = c->data;
    if (n > c->n - c->at)
        return cut_short(c);
    *out += c->at;
    c->at += n;
    return TRAWL_OK;
}

static uint64_t little(const unsigned char *p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++)
        x |= (uint64_t)p[i] << (8 * i);
    return x;
}

static enum trawl_status take_number(struct cursor *c, uint64_t *out, size_t bytes)
{
    const unsigned char *p = NULL;
    *out = 0;
    TRY(take(c, &p, bytes));
    *out = little(p, bytes);
    return TRAWL_OK;
}

static enum trawl_status take_text(struct cursor *c, const unsigned char **out, size_t *n)
{
    uint64_t bytes = 0;
    *out = NULL;
    *n = 0;
    TRY(take_number(c, &bytes, 8));
    if (bytes > c->n - c->at)
        return cut_short(c);
    *n = (size_t)bytes;
    return take(c, out, *n);
}

static enum trawl_status take_type(struct cursor *c, enum gguf_type *type)
{
    uint64_t number = 0;
    TRY(take_number(c, &number, 4));
    if (number >= GGUF_TYPE_COUNT)
        return fail(TRAWL_FORMAT, "'%s': %s at byte %zu has the unknown type %llu", c->path, c->what, c->at - 4,
                    (unsigned long long)number);
    *type = (enum gguf_type)number;
    return TRAWL_OK;
}

/* Walks over one value of a known type, setting where it lies; arrays of arrays are walked only. */
static enum trawl_status take_value(struct cursor *c, struct gguf_value *v, int depth)
{
    size_t bytes = value_types[v->type].bytes;
    if (bytes)
        return take(c, &v->data, bytes);
    if (v->type == GGUF_STRING)
        return take_text(c, &v->data, &v->n);
    if (depth >= NESTING_MAX)
        return fail(TRAWL_FORMAT, "'%s': %s at byte %zu nests arrays too deeply", c->path, c->what, c->at);
    uint64_t n = 0;
    TRY(take_type(c, &v->item));
    TRY(take_number(c, &n, 8));
    size_t item = value_types[v->item].bytes;
    if (n > (c->n - c->at) / (item ? item : 8))
        return cut_short(c);
    v->n = (size_t)n;
    v->data = c->data + c->at;
    if (item)
        return take(c, &v->data, v->n * item);
    for (size_t i = 0; i < v->n; i++) {
        struct gguf_value element = {.type = v->item};
        TRY(take_value(c, &element, depth + 1));
    }
    return TRAWL_OK;
}

static enum trawl_status read_metadata(struct gguf *g, struct cursor *c, size_t n)
{
    g->values = mem_array(n, sizeof *g->values);
    if (!g->values)
        return mem_status();
    for (size_t i = 0; i < n; i++) {
        const unsigned char *key = NULL;
        size_t key_bytes = 0;
        uint32_t id;
        bool is_new;
        c->what = "a metadata key";
        TRY(take_text(c, &key, &key_bytes));
        c->what = "a metadata value";
        struct gguf_value v = {0};
        TRY(take_type(c, &v.type));
        TRY(take_value(c, &v, 0));
        TRY(map_put(&g->keys, key, key_bytes, i, &id, &is_new));
        if (!is_new)
            return fail(TRAWL_FORMAT, "'%s': metadata key '%.*s' is there twice", c->path,
                        (int)(key_bytes > 200 ? 200 : key_bytes), (const char *)key);
        g->values[g->n_values++] = v;
    }
    return TRAWL_OK;
}

static enum trawl_status set_type(struct tensor *t, const struct cursor *c, const char *name, size_t n, uint64_t number)
{
    for (size_t i = 0; i < sizeof tensor_types / sizeof *tensor_types; i++)
        if (tensor_types[i].number == number) {
            t->type = tensor_types[i].name;
            t->format = tensor_types[i].format;
            if (t->format == FORMAT_COUNT)
                return fail(TRAWL_UNSUPPORTED, "'%s': tensor '%.*s' is of type %s, which cannot be read (can be: %s)",
                            c->path, (int)n, name, t->type, tensor_formats_text());
            return TRAWL_OK;
        }
    return fail(TRAWL_UNSUPPORTED, "'%s': tensor '%.*s' is of the unknown type %llu (can be read: %s)", c->path, (int)n,
                name, (unsigned long long)number, tensor_formats_text());
}

/* One row of the tensor table; t->data is left at the offset in the data section, as a number. */
static enum trawl_status read_tensor(struct tensor *t, struct cursor *c, const char **name, size_t *name_bytes,
                                     uint64_t *offset)
{
    const unsigned char *text = NULL;
    uint64_t n_dims = 0, number = 0, size[4] = {0};
    c->what = "an entry of the tensor table";
    TRY(take_text(c, &text, name_bytes));
    *name = (const char *)text;
    if (*name_bytes == 0 || *name_bytes > 512)
        return fail(TRAWL_FORMAT, "'%s': a tensor's name has %zu bytes, before byte %zu", c->path, *name_bytes, c->at);
    int shown = (int)*name_bytes;
    TRY(take_number(c, &n_dims, 4));
    if (n_dims < 1 || n_dims > 4)
        return fail(TRAWL_FORMAT, "'%s': tensor '%.*s' has %llu dimensions", c->path, shown, *name,
                    (unsigned long long)n_dims);
    for (size_t i = 0; i < n_dims; i++)
        TRY(take_number(c, &size[i], 8));
    TRY(take_number(c, &number, 4));
    TRY(take_number(c, offset, 8));
    TRY(set_type(t, c, *name, *name_bytes, number));
    t->n_dims = (size_t)n_dims;
    t->cols = (size_t)size[0];
    t->rows = 1;
    for (size_t i = 0; i < n_dims; i++) {
        t->shape[n_dims - 1 - i] = (size_t)size[i];
        if (i && __builtin_mul_overflow(t->rows, (size_t)size[i], &t->rows))
            t->rows = 0;
    }
    size_t row = format_row_bytes(t->format, t->cols);
    if (!row || !t->rows || __builtin_mul_overflow(row, t->rows, &t->bytes))
        return fail(TRAWL_FORMAT, "'%s': tensor '%.*s' of %zu values a row does not fit its type %s", c->path, shown,
                    *name, t->cols, t->type);
    return TRAWL_OK;
}

static enum trawl_status read_tensors(struct tensor_set *set, struct cursor *c, uint32_t file, size_t n, size_t align)
{
    size_t first = set->n;
    uint64_t *offsets = mem_array(n, sizeof *offsets);
    enum trawl_status status = offsets ? TRAWL_OK : mem_status();
    for (size_t i = 0; i < n && !status; i++) {
        struct tensor t = {.file = file};
        const char *name = NULL;
        size_t name_bytes = 0;
        TRY_OUT(read_tensor(&t, c, &name, &name_bytes, &offsets[i]));
        TRY_OUT(tensor_set_add(set, &t, name, name_bytes));
    }
    if (status)
        goto out;
    size_t begin = (c->at + align - 1) / align * align;
    for (size_t i = 0; i < n; i++) {
        struct tensor *t = &set->items[first + i];
        size_t room = begin < c->n ? c->n - begin : 0;
        if (offsets[i] % align) {
            status = fail(TRAWL_FORMAT, "'%s': tensor '%s' lies at offset %llu, not a multiple of %zu", c->path,
                          t->name, (unsigned long long)offsets[i], align);
            goto out;
        }
        if (offsets[i] > room || t->bytes > room - offsets[i]) {
            status = fail(TRAWL_CORRUPT,
                          "'%s': tensor '%s' (%zu bytes at offset %llu) goes beyond the end of the file, %zu bytes "
                          "(cut short? fetch it again)",
                          c->path, t->name, t->bytes, (unsigned long long)offsets[i], c->n);
            goto out;
        }
        t->data = c->data + begin + (size_t)offsets[i];
    }
    status = tensor_set_check_overlap(set, file);
out:
    free(offsets);
    return status;
}

static enum trawl_status read_header(struct gguf *g, struct cursor *c, uint64_t *n_tensors, uint64_t *n_values)
{
    const unsigned char *magic = NULL;
    uint64_t version = 0;
    c->what = "the header";
    if (c->n < 4 || memcmp(c->data, "GGUF", 4) != 0)
        return fail(TRAWL_FORMAT, "'%s' is not a GGUF file", c->path);
    TRY(take(c, &magic, 4));
    TRY(take_number(c, &version, 4));
    if (version == 0x02000000 || version == 0x03000000)
        return fail(TRAWL_UNSUPPORTED, "'%s' is a big-endian GGUF file; only little-endian ones are read", c->path);
    if (version != 2 && version != 3)
        return fail(TRAWL_UNSUPPORTED, "'%s' is GGUF version %llu; versions 2 and 3 are read", c->path,
                    (unsigned long long)version);
    g->version = (uint32_t)version;
    TRY(take_number(c, n_tensors, 8));
    TRY(take_number(c, n_values, 8));
    size_t left = c->n - c->at;
    if (*n_tensors > left / TENSOR_BYTES_MIN || *n_values > left / KEY_BYTES_MIN)
        return fail(TRAWL_CORRUPT,
                    "'%s': the header promises %llu tensors and %llu metadata keys, more than %zu bytes hold", c->path,
                    (unsigned long long)*n_tensors, (unsigned long long)*n_values, c->n);
    return TRAWL_OK;
}

/* One file, whole; its metadata go to *g, its tensors to the set. */
static enum trawl_status read_part(struct gguf *g, struct tensor_set *set, const char *path)
{
    uint32_t file;
    uint64_t n_tensors = 0, n_values = 0;
    size_t align = 32;
    g->path = mem_text(path, strlen(path));
    if (!g->path)
        return mem_status();
    TRY(tensor_set_map(set, &file, path));
    struct cursor c = {.data = set->files[file].map.data, .n = set->files[file].map.bytes, .path = g->path};
    TRY(read_header(g, &c, &n_tensors, &n_values));
    TRY(read_metadata(g, &c, (size_t)n_values));
    TRY(gguf_get_count(&align, g, "general.alignment", 32));
    if (align == 0 || align > 1 << 20 || (align & (align - 1)))
        return fail(TRAWL_FORMAT, "'%s': general.alignment is %zu, not a power of two up to 1 MiB", g->path, align);
    return read_tensors(set, &c, file, (size_t)n_tensors, align);
}

/* Name of part `i` (from 1) of n, made from the name of any part; NULL when `path` is not such a name. */
static char *part_path(const char *path, size_t i, size_t n)
{
    size_t length = strlen(path), tail = strlen("-00001-of-00002.gguf");
    char expected[32];
    snprintf(expected, sizeof expected, "-of-%05zu.gguf", n);
    if (length < tail || strcmp(path + length - strlen(expected), expected) != 0 || path[length - tail] != '-')
        return NULL;
    char *out = mem_text(path, length);
    if (out) {
        char number[32];
        snprintf(number, sizeof number, "%05zu", i);
        memcpy(out + length - tail + 1, number, 5);
    }
    return out;
}

static enum trawl_status read_other_part(struct tensor_set *set, const char *path, size_t i, size_t n)
{
    struct gguf g = {0};
    size_t number, count;
    char *name = part_path(path, i + 1, n);
    enum trawl_status status =
        name ? TRAWL_OK
             : fail(TRAWL_FORMAT, "'%s' is one of %zu parts, but its name does not end in -0000I-of-%05zu.gguf", path,
                    n, n);
    if (status)
        return status;
    TRY_OUT(read_part(&g, set, name));
    TRY_OUT(gguf_get_count(&number, &g, "split.no", SIZE_MAX));
    TRY_OUT(gguf_get_count(&count, &g, "split.count", 0));
    if (number != i || count != n)
        status = fail(TRAWL_MISMATCH, "'%s' says that it is part %zu of %zu, not part %zu of %zu", name, number + 1,
                      count, i + 1, n);
out:
    gguf_release(&g);
    free(name);
    return status;
}

static enum trawl_status read_split(struct gguf *g, struct tensor_set *set, const char *path, size_t n)
{
    size_t number, n_tensors;
    if (n > PARTS_MAX)
        return fail(TRAWL_FORMAT, "'%s': split.count is %zu", path, n);
    TRY(gguf_get_count(&number, g, "split.no", 0));
    if (number != 0) { /* the metadata are in the first part: start over from there */
        char *first = part_path(path, 1, n);
        if (!first)
            return fail(TRAWL_FORMAT, "'%s' is part %zu of %zu; give the first part", path, number + 1, n);
        gguf_release(g);
        tensor_set_release(set);
        enum trawl_status status = read_part(g, set, first);
        free(first);
        TRY(status);
        TRY(gguf_get_count(&number, g, "split.no", SIZE_MAX));
        size_t count;
        TRY(gguf_get_count(&count, g, "split.count", 0));
        if (number != 0 || count != n)
            return fail(TRAWL_MISMATCH, "'%s' is not the first of %zu parts", g->path, n);
    }
    for (size_t i = 1; i < n; i++)
        TRY(read_other_part(set, g->path, i, n));
    TRY(gguf_get_count(&n_tensors, g, "split.tensors.count", set->n));
    if (n_tensors != set->n)
        return fail(TRAWL_CORRUPT, "'%s': the %zu parts hold %zu tensors, not %zu as the first one says", g->path, n,
                    set->n, n_tensors);
    g->n_parts = n;
    return TRAWL_OK;
}

enum trawl_status gguf_open(struct gguf *g, struct tensor_set *set, const char *path)
{
    enum trawl_status status = TRAWL_OK;
    size_t n_parts = 1;
    *g = (struct gguf){.n_parts = 1};
    TRY_OUT(read_part(g, set, path));
    TRY_OUT(gguf_get_count(&n_parts, g, "split.count", 1));
    if (n_parts > 1)
        status = read_split(g, set, path, n_parts);
out:
    if (status)
        gguf_release(g);
    return status;
}

void gguf_release(struct gguf *g)
{
    free(g->path);
    free(g->values);
    map_release(&g->keys);
    *g = (struct gguf){0};
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    uint32_t id = g->n_values ? map_find(&g->keys, key, strlen(key)) : MAP_NONE;
    return id == MAP_NONE ? NULL : &g->values[id];
}

/* Scalars as double and, exactly, as unsigned 64 bits where they are whole and not negative. */
static bool to_number(const unsigned char *p, enum gguf_type type, double *number, uint64_t *whole)
{
    uint64_t bits = little(p, value_types[type].bytes);
    float f;
    switch (type) {
    case GGUF_F32:
        memcpy(&f, p, 4);
        *number = (double)f;
        break;
    case GGUF_F64:
        memcpy(number, p, 8);
        break;
    case GGUF_I8:
        *number = (double)(int8_t)bits;
        break;
    case GGUF_I16:
        *number = (double)(int16_t)bits;
        break;
    case GGUF_I32:
        *number = (double)(int32_t)bits;
        break;
    case GGUF_I64:
        *number = (double)(int64_t)bits;
        break;
    default:
        *number = (double)bits;
    }
    *whole = bits;
    return type != GGUF_F32 && type != GGUF_F64 && *number >= 0;
}

static enum trawl_status wrong_type(const struct gguf *g, const char *key, const struct gguf_value *v,
                                    const char *wanted)
{
    return fail(TRAWL_FORMAT, "'%s': metadata key '%s' is of type %s, not %s", g->path, key, value_types[v->type].name,
                wanted);
}

enum trawl_status gguf_get_count(size_t *out, const struct gguf *g, const char *key, size_t preset)
{
    const struct gguf_value *v = gguf_find(g, key);
    double number;
    uint64_t whole;
    *out = preset;
    if (!v)
        return TRAWL_OK;
    if (!value_types[v->type].bytes || v->type == GGUF_BOOL || !to_number(v->data, v->type, &number, &whole))
        return wrong_type(g, key, v, "a whole number that is not negative");
    *out = (size_t)whole;
    return TRAWL_OK;
}

enum trawl_status gguf_get_number(double *out, const struct gguf *g, const char *key, double preset)
{
    const struct gguf_value *v = gguf_find(g, key);
    uint64_t whole;
    *out = preset;
    if (!v)
        return TRAWL_OK;
    if (!value_types[v->type].bytes || v->type == GGUF_BOOL)
        return wrong_type(g, key, v, "a number");
    to_number(v->data, v->type, out, &whole);
    if (!isfinite(*out))
        return fail(TRAWL_FORMAT, "'%s': metadata key '%s' is not a finite number", g->path, key);
    return TRAWL_OK;
}

enum trawl_status gguf_get_bool(int *out, const struct gguf *g, const char *key)
{
    const struct gguf_value *v = gguf_find(g, key);
    *out = -1;
    if (!v)
        return TRAWL_OK;
    if (v->type != GGUF_BOOL)
        return wrong_type(g, key, v, "bool");
    *out = v->data[0] != 0;
    return TRAWL_OK;
}

enum trawl_status gguf_get_text(const char **out, size_t *n, const struct gguf *g, const char *key)
{
    const struct gguf_value *v = gguf_find(g, key);
    *out = NULL;
    *n = 0;
    if (!v)
        return TRAWL_OK;
    if (v->type != GGUF_STRING)
        return wrong_type(g, key, v, "string");
    *out = (const char *)v->data;
    *n = v->n;
    return TRAWL_OK;
}

double gguf_item(const struct gguf_value *array, size_t i)
{
    double number = 0;
    uint64_t whole;
    size_t bytes = array->type == GGUF_ARRAY ? value_types[array->item].bytes : 0;
    if (bytes && i < array->n)
        to_number(array->data + i * bytes, array->item, &number, &whole);
    return number;
}

const char *gguf_item_text(const struct gguf_value *array, size_t *at, size_t *n)
{
    *n = (size_t)little(array->data + *at, 8); /* walked over at opening: inside the file */
    const char *text = (const char *)array->data + *at + 8;
    *at += 8 + *n;
    return text;
}

const char *gguf_type_name(enum gguf_type type)
{
    return value_types[type].name;
}
