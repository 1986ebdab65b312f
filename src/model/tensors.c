/* A model's tensors by name, over mapped files. */
#include "tensors.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum trawl_status tensor_set_map(struct tensor_set *set, uint32_t *file, const char *path)
{
    TRY(mem_grow((void **)&set->files, &set->cap_files, set->n_files + 1, sizeof *set->files));
    struct tensor_file *f = &set->files[set->n_files];
    *f = (struct tensor_file){.path = mem_text(path, strlen(path))};
    if (!f->path)
        return mem_status();
    enum trawl_status status = file_map_open(&f->map, path);
    if (status) {
        free(f->path);
        return status;
    }
    *file = (uint32_t)set->n_files++;
    return TRAWL_OK;
}

enum trawl_status tensor_set_add(struct tensor_set *set, const struct tensor *t, const char *name, size_t n)
{
    const char *path = set->files[t->file].path;
    if (n == 0 || n > 512 || memchr(name, 0, n))
        return fail(TRAWL_FORMAT, "'%s': tensor %zu has no usable name (%zu bytes)", path, set->n, n);
    bool is_new;
    uint32_t id;
    TRY(map_put(&set->names, name, n, set->n, &id, &is_new));
    if (!is_new)
        return fail(TRAWL_FORMAT, "'%s': tensor '%.*s' is there twice", path, (int)n, name);
    TRY(mem_grow((void **)&set->items, &set->cap, set->n + 1, sizeof *set->items));
    char *copy = mem_text(name, n);
    if (!copy)
        return mem_status();
    set->items[set->n] = *t;
    set->items[set->n++].name = copy;
    return TRAWL_OK;
}

const struct tensor *tensor_set_find(const struct tensor_set *set, const char *name)
{
    if (!set->n)
        return NULL;
    uint32_t id = map_find(&set->names, name, strlen(name));
    return id == MAP_NONE || id >= set->n ? NULL : &set->items[id];
}

const char *tensor_path(const struct tensor_set *set, const struct tensor *t)
{
    return set->files[t->file].path;
}

void tensor_set_release(struct tensor_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->n; i++)
        free((char *)set->items[i].name);
    for (size_t i = 0; i < set->n_files; i++) {
        file_map_close(&set->files[i].map);
        free(set->files[i].path);
    }
    free(set->items);
    free(set->files);
    map_release(&set->names);
    *set = (struct tensor_set){0};
}

static int by_place(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a, *y = *(const struct tensor *const *)b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

enum trawl_status tensor_set_check_overlap(const struct tensor_set *set, uint32_t file)
{
    enum trawl_status status = TRAWL_OK;
    size_t n = 0;
    const struct tensor **order = mem_array(set->n, sizeof(struct tensor *));
    if (!order)
        return mem_status();
    for (size_t i = 0; i < set->n; i++)
        if (set->items[i].file == file && set->items[i].bytes)
            order[n++] = &set->items[i];
    qsort(order, n, sizeof *order, by_place);
    for (size_t i = 1; i < n && !status; i++)
        if (order[i - 1]->data + order[i - 1]->bytes > order[i]->data)
            status = fail(TRAWL_FORMAT, "'%s': tensors '%s' and '%s' share bytes", set->files[file].path,
                          order[i - 1]->name, order[i]->name);
    free(order);
    return status;
}

enum trawl_status tensor_read(float *out, const struct tensor_set *set, const struct tensor *t, size_t begin,
                              size_t end)
{
    if (t->format == FORMAT_COUNT)
        return fail(TRAWL_UNSUPPORTED, "'%s': tensor '%s' has elements of type %s (can be read: %s)",
                    tensor_path(set, t), t->name, t->type, tensor_formats_text());
    size_t row_bytes = t->rows ? t->bytes / t->rows : 0;
    for (size_t r = begin; r < end; r++, out += t->cols)
        format_to_f32(out, t->data + r * row_bytes, t->format, t->cols);
    return TRAWL_OK;
}

void tensor_shape_text(char *out, size_t n, const struct tensor *t)
{
    size_t at = (size_t)snprintf(out, n, "[");
    for (size_t i = 0; i < t->n_dims && at < n; i++)
        at += (size_t)snprintf(out + at, n - at, i ? ", %zu" : "%zu", t->shape[i]);
    if (at < n)
        snprintf(out + at, n - at, "]");
}

const char *tensor_formats_text(void)
{
#define X(id, name, elements, bytes) name ", "
    static const char all[] = FORMAT_TABLE(X);
#undef X
    static _Thread_local char text[sizeof all];
    snprintf(text, sizeof text, "%.*s", (int)sizeof all - 3, all);
    return text;
}
