/*
 * GGUF (llama.cpp's model files), versions 2 and 3, little-endian: metadata by key, tensors into a tensor_set.
 * Foreign bytes: every length is checked against what the file holds before it is used.
 */
#ifndef MODEL_GGUF_H
#define MODEL_GGUF_H
#include "tensors.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};
struct gguf_value {
    enum gguf_type type, item; /* item: element type of an ARRAY */
    size_t n;                  /* bytes of a STRING, elements of an ARRAY */
    const unsigned char *data; /* of the scalar, the string's bytes, the first element; unaligned, in the mapped file */
};
struct gguf {
    char *path;
    uint32_t version;
    size_t n_parts;
    struct map keys; /* key -> number in values */
    struct gguf_value *values;
    size_t n_values;
};

/*
 * Reads the metadata of one file or of the first part of a split one ("name-00001-of-0000N.gguf"; any part's name will
 * do, all parts are opened) and puts all tensors into `set`, which must outlive *g.
 */
MUST_USE enum trawl_status gguf_open(struct gguf *g, struct tensor_set *set, const char *path);
void gguf_release(struct gguf *g);

const struct gguf_value *gguf_find(const struct gguf *g, const char *key);
/* Absent: the preset. Another type, or a value out of range, is FORMAT naming file and key. */
MUST_USE enum trawl_status gguf_get_count(size_t *out, const struct gguf *g, const char *key, size_t preset);
MUST_USE enum trawl_status gguf_get_number(double *out, const struct gguf *g, const char *key, double preset);
/* -1: absent */
MUST_USE enum trawl_status gguf_get_bool(int *out, const struct gguf *g, const char *key);
/* *out is NULL when absent; not NUL-terminated. */
MUST_USE enum trawl_status gguf_get_text(const char **out, size_t *n, const struct gguf *g, const char *key);
/* Element i of an array of numbers or booleans (any numeric type). */
double gguf_item(const struct gguf_value *array, size_t i);
/* The i-th string when called with i = 0, 1, ... in order: *at starts at 0 and is kept between calls. */
const char *gguf_item_text(const struct gguf_value *array, size_t *at, size_t *n);
/* Name of a value's type, for inspect. */
const char *gguf_type_name(enum gguf_type type);

#endif
