/*
 * The tensors of a model's files, whatever the file format: names, shapes and where the bytes lie in the mapped files.
 * The readers of GGUF and safetensors fill a set; everything after them looks tensors up by name.
 */
#ifndef MODEL_TENSORS_H
#define MODEL_TENSORS_H
#include "base/file.h"
#include "base/map.h"
#include "math/format.h"

enum { TENSOR_DIMS_MAX = 8 };

/* One stored tensor: a matrix of `rows` x `cols` (a vector is 1 x n); rows are contiguous, the last dimension fastest.
 */
struct tensor {
    const char *name;                      /* NUL-terminated, owned by the set */
    enum format format;                    /* FORMAT_COUNT: an element type without conversion to f32 (integers, fp8) */
    const char *type;                      /* its name in the file, for messages */
    size_t n_dims, shape[TENSOR_DIMS_MAX]; /* outermost first, as in Hugging Face */
    size_t rows, cols;
    const unsigned char *data;
    size_t bytes;
    uint32_t file;
};

struct tensor_file {
    char *path;
    struct file_map map;
};
struct tensor_set {
    struct map names; /* name -> number in items */
    struct tensor *items;
    size_t n, cap;
    struct tensor_file *files;
    size_t n_files, cap_files;
};
/* Maps a file; it stays mapped as long as the set lives. */
MUST_USE enum trawl_status tensor_set_map(struct tensor_set *set, uint32_t *file, const char *path);
/* Adds a tensor whose data lie in set->files[t->file]; the name is copied; FORMAT when it is there already. */
MUST_USE enum trawl_status tensor_set_add(struct tensor_set *set, const struct tensor *t, const char *name, size_t n);
const struct tensor *tensor_set_find(const struct tensor_set *set, const char *name);
const char *tensor_path(const struct tensor_set *set, const struct tensor *t);
void tensor_set_release(struct tensor_set *set);

/* FORMAT when two tensors of the file share bytes. */
MUST_USE enum trawl_status tensor_set_check_overlap(const struct tensor_set *set, uint32_t file);
/* Rows [begin,end) as f32; UNSUPPORTED names an element type that has no conversion. */
MUST_USE enum trawl_status tensor_read(float *out, const struct tensor_set *set, const struct tensor *t, size_t begin,
                                       size_t end);
/* "[320, 32]", into `out` (at least 128 bytes). */
void tensor_shape_text(char *out, size_t n, const struct tensor *t);
/* "F32, F16, BF16, ...": the element types that can be read. */
const char *tensor_formats_text(void);

#endif
