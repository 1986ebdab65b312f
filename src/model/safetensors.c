/* Reader of safetensors files, single and sharded. */
#include "safetensors.h"
#include "base/json.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES_MAX = 100000000, INDEX_BYTES_MAX = 256 << 20 };

/* Element types of the format; those without a conversion are measured and kept, to be refused where one is used. */
static const struct {
    const char *name;
    size_t bits;
    enum format format;
} dtypes[] = {
    {"F32", 32, FORMAT_F32},      {"F16", 16, FORMAT_F16},      {"BF16", 16, FORMAT_BF16}, {"F64", 64, FORMAT_COUNT},
    {"I64", 64, FORMAT_COUNT},    {"I32", 32, FORMAT_COUNT},    {"I16", 16, FORMAT_COUNT}, {"I8", 8, FORMAT_COUNT},
    {"U64", 64, FORMAT_COUNT},    {"U32", 32, FORMAT_COUNT},    {"U16", 16, FORMAT_COUNT}, {"U8", 8, FORMAT_COUNT},
    {"BOOL", 8, FORMAT_COUNT},    {"C64", 64, FORMAT_COUNT},    {"F4", 4, FORMAT_COUNT},   {"F8_E4M3", 8, FORMAT_COUNT},
    {"F8_E5M2", 8, FORMAT_COUNT}, {"F8_E8M0", 8, FORMAT_COUNT},
};

static enum trawl_status bad(const char *path, const char *name, const char *what)
{
    return fail(TRAWL_FORMAT, "'%s': tensor '%s' %s", path, name, what);
}

static enum trawl_status read_shape(struct tensor *t, const json_t *shape, const char *path, const char *name,
                                    size_t *elements)
{
    if (!json_is_array(shape) || json_array_size(shape) > TENSOR_DIMS_MAX)
        return bad(path, name, "has no usable shape");
    *elements = 1;
    t->n_dims = json_array_size(shape);
    for (size_t i = 0; i < t->n_dims; i++) {
        const json_t *item = json_array_get(shape, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0)
            return bad(path, name, "has a size that is not a whole number");
        t->shape[i] = (size_t)json_integer_value(item);
        if (__builtin_mul_overflow(*elements, t->shape[i], elements))
            return bad(path, name, "has a shape beyond all memory");
    }
    t->cols = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    t->rows = t->cols ? *elements / t->cols : 0;
    return TRAWL_OK;
}

static enum trawl_status read_offsets(size_t *begin, size_t *end, const json_t *offsets, size_t data_bytes,
                                      const char *path, const char *name)
{
    const json_t *b = json_array_get(offsets, 0), *e = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(b) || !json_is_integer(e) || json_integer_value(b) < 0 ||
        json_integer_value(e) < json_integer_value(b))
        return bad(path, name, "has no usable data_offsets");
    *begin = (size_t)json_integer_value(b);
    *end = (size_t)json_integer_value(e);
    if (*end > data_bytes)
        return fail(TRAWL_CORRUPT, "'%s': tensor '%s' ends at byte %zu of %zu (cut short? fetch it again)", path, name,
                    *end, data_bytes);
    return TRAWL_OK;
}

static enum trawl_status add_tensor(struct tensor_set *set, uint32_t file, const char *name, const json_t *entry,
                                    const unsigned char *data, size_t data_bytes, size_t *used)
{
    const char *path = set->files[file].path;
    struct tensor t = {.file = file, .format = FORMAT_COUNT};
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    size_t elements = 0, begin = 0, end = 0, bits = 0, need;
    for (size_t i = 0; dtype && i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(dtype, dtypes[i].name)) {
            bits = dtypes[i].bits;
            t.type = dtypes[i].name;
            t.format = dtypes[i].format;
        }
    if (!bits)
        return fail(TRAWL_UNSUPPORTED, "'%s': tensor '%s' is of the unknown type '%s'", path, name, dtype ? dtype : "");
    TRY(read_shape(&t, json_object_get(entry, "shape"), path, name, &elements));
    TRY(read_offsets(&begin, &end, json_object_get(entry, "data_offsets"), data_bytes, path, name));
    if (__builtin_mul_overflow(elements, bits, &need) || need % 8 || need / 8 != end - begin) {
        char shape[160];
        tensor_shape_text(shape, sizeof shape, &t);
        return fail(TRAWL_FORMAT, "'%s': tensor '%s' of %s %s takes other than its %zu bytes", path, name, t.type,
                    shape, end - begin);
    }
    t.data = data + begin;
    t.bytes = end - begin;
    *used += t.bytes;
    return tensor_set_add(set, &t, name, strlen(name));
}

static enum trawl_status read_file(struct tensor_set *set, uint32_t file, json_t **header)
{
    const struct tensor_file *f = &set->files[file];
    uint64_t header_bytes = 0;
    char where[600];
    if (f->map.bytes < 8)
        return fail(TRAWL_CORRUPT, "'%s': %zu bytes are too few for a safetensors file", f->path, f->map.bytes);
    for (size_t i = 0; i < 8; i++)
        header_bytes |= (uint64_t)f->map.data[i] << (8 * i);
    if (header_bytes > HEADER_BYTES_MAX)
        return fail(TRAWL_FORMAT, "'%s' is no safetensors file: a header of %llu bytes", f->path,
                    (unsigned long long)header_bytes);
    if (header_bytes > f->map.bytes - 8)
        return fail(TRAWL_CORRUPT,
                    "'%s': the header of %llu bytes goes beyond the end of the file, %zu bytes (cut short? "
                    "fetch it again)",
                    f->path, (unsigned long long)header_bytes, f->map.bytes);
    snprintf(where, sizeof where, "header of '%s'", f->path);
    const char *text = (const char *)f->map.data + 8;
    TRY(json_parse(header, text, (size_t)header_bytes, where));
    if (!json_is_object(*header))
        return fail(TRAWL_FORMAT, "'%s': the header is not a JSON object", f->path);
    size_t data_bytes = f->map.bytes - 8 - (size_t)header_bytes, used = 0;
    const char *name;
    json_t *entry;
    json_object_foreach(*header, name, entry)
    {
        if (strcmp(name, "__metadata__") != 0)
            TRY(add_tensor(set, file, name, entry, f->map.data + 8 + header_bytes, data_bytes, &used));
    }
    TRY(tensor_set_check_overlap(set, file));
    if (used != data_bytes)
        return fail(TRAWL_FORMAT, "'%s': the tensors take %zu of the %zu bytes after the header", f->path, used,
                    data_bytes);
    return TRAWL_OK;
}

enum trawl_status safetensors_open(struct tensor_set *set, const char *path)
{
    uint32_t file;
    json_t *header = NULL;
    TRY(tensor_set_map(set, &file, path));
    enum trawl_status status = read_file(set, file, &header);
    json_decref(header);
    return status;
}

/* Opens every file that the index names, once, in the order of their first mention. */
static enum trawl_status open_shards(struct tensor_set *set, const char *folder, const json_t *weight_map,
                                     const char *index)
{
    struct map seen = {0};
    enum trawl_status status = TRAWL_OK;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)weight_map, name, value)
    {
        const char *shard = json_string_value(value);
        uint32_t id;
        bool is_new;
        if (!shard || !*shard || strchr(shard, '/') || *shard == '.') {
            status = fail(TRAWL_FORMAT, "'%s': tensor '%s' has no usable file name", index, name);
            goto out;
        }
        TRY_OUT(map_put(&seen, shard, strlen(shard), 0, &id, &is_new));
        if (is_new) {
            char *path = file_join(folder, shard);
            status = path ? safetensors_open(set, path) : mem_status();
            free(path);
            if (status)
                goto out;
        }
    }
    json_object_foreach((json_t *)weight_map, name, value)
    {
        if (!tensor_set_find(set, name)) {
            status = fail(TRAWL_MISMATCH, "'%s' names tensor '%s', which is not in '%s'", index, name,
                          json_string_value(value));
            goto out;
        }
    }
out:
    map_release(&seen);
    return status;
}

enum trawl_status safetensors_open_folder(struct tensor_set *set, const char *folder)
{
    json_t *index = NULL;
    char *single = file_join(folder, "model.safetensors"), *list = file_join(folder, "model.safetensors.index.json");
    enum trawl_status status = single && list ? TRAWL_OK : mem_status();
    if (status)
        goto out;
    if (file_exists(single)) {
        status = safetensors_open(set, single);
        goto out;
    }
    if (!file_exists(list)) {
        status = fail(TRAWL_NOT_FOUND,
                      "'%s' holds no model.safetensors (weights in other formats, such as "
                      "pytorch_model.bin, are not read: save them as safetensors)",
                      folder);
        goto out;
    }
    TRY_OUT(json_read(&index, list, INDEX_BYTES_MAX));
    const json_t *weight_map = json_object_get(index, "weight_map");
    status = json_is_object(weight_map) ? open_shards(set, folder, weight_map, list)
                                        : fail(TRAWL_FORMAT, "'%s' has no weight_map", list);
out:
    json_decref(index);
    free(single);
    free(list);
    return status;
}
