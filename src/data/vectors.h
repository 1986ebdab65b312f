/*
 * Files of vectors: NumPy .npy (f32, f16, f64 and i8 read; f32 written), JSONL {"id","vector"}, and Trawl's own .vecs
 * (a pack with checksums, ids and the contracts of documents and queries). Memory-mapped where the format allows.
 */
#ifndef DATA_VECTORS_H
#define DATA_VECTORS_H
#include "contract.h"
#include "base/file.h"

/* ---- .npy, for references and exchange ---- */
struct npy {
    size_t shape[8], n_dims, n; /* n: product of the shape */
    char kind;                  /* 'f', 'i', 'u', 'b' */
    size_t item_bytes;
    bool fortran;
    const void *data; /* as stored, inside `map` */
    struct file_map map;
};
MUST_USE enum trawl_status npy_open(struct npy *a, const char *path);
/* Item i (C order) as double, whatever the stored type. */
double npy_get(const struct npy *a, size_t i);
void npy_close(struct npy *a);

/* ---- vectors of texts ---- */
struct vectors {
    size_t N, D;
    const float *rows;      /* (N,D), memory-mapped or owned */
    const char *ids;        /* NUL-separated, NULL when the file has none (.npy) */
    const size_t *id_begin; /* (N+1) */
    bool has_contract;
    struct contract document, query;
    void *owner;
};
MUST_USE enum trawl_status vectors_open(struct vectors *v, const char *path);
void vectors_close(struct vectors *v);

struct vectors_writer;
/* format "npy", "jsonl" or "vecs" ("auto": by the name's ending). Contracts may be NULL (none is stored). */
MUST_USE enum trawl_status vectors_create(struct vectors_writer **w, const char *path, const char *format, size_t D,
                                          const struct contract *document, const struct contract *query);
MUST_USE enum trawl_status vectors_add(struct vectors_writer *w, const char *id, const float *row);
MUST_USE enum trawl_status vectors_commit(struct vectors_writer **w);
void vectors_abort(struct vectors_writer **w);

#endif
