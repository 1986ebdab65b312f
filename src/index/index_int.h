/*
 * Inside of the index folder. Files (docs/formats/index.md):
 *
 *   manifest                 pack MANI: fields, segments, counters; swapped by rename
 *   lock                     held by the one writer
 *   <segment>.docs           pack DOCS: ids, ordinals, passages, compressed documents
 *   <segment>.<field>.lex    pack LEXF: one lexical field of a segment
 *   <segment>.<field>.dense  pack DENS: one dense field of a segment
 *   <segment>.<generation>.del  pack TOMB: rows deleted up to a generation of the manifest
 *   *.tmp*, *.raw            work in progress; removed by the next writer
 *
 * Invariant: ordinals ascend strictly over the rows of a segment and from segment to segment (merging takes neighbours
 * only), so the order of rows is the order that decides ties.
 */
#ifndef INDEX_INT_H
#define INDEX_INT_H
#include "index.h"
#include "postings.h"
#include "base/pack.h"

enum {
    MANIFEST_VERSION = 1,
    DOCS_VERSION = 1,
    LEXF_VERSION = 1,
    DENS_VERSION = 1,
    TOMB_VERSION = 1,
    FIELDS_MAX = 64,
};
#define ROWS_MAX ((uint32_t)INT32_MAX - 1) /* of a segment */

/* ---- lexical field of a segment (lexfield.c) ---- */
struct lex_term { /* as stored; one more than there are terms, the last one marks the ends */
    uint64_t postings;
    uint32_t bytes, df, block, bound;
};
struct lex_block {                    /* of terms with more than POSTINGS_BLOCK postings */
    uint32_t last_row, offset, bound; /* offsets from the term's begin in "postings" and "bounds" */
};
struct lex_field {
    struct pack *pack;
    uint64_t n_rows, n_terms, n_postings, total_length;
    const struct lex_term *terms;
    const char *term_bytes;
    const struct lex_block *blocks;
    const unsigned char *bounds, *postings; /* postings: verified on use */
    const uint32_t *lengths;
    size_t n_term_bytes, n_blocks, n_bounds, n_postings_bytes;
};
MUST_USE enum trawl_status lex_open(struct lex_field *f, const char *path);
void lex_close(struct lex_field *f);
/* Number of the term, or n_terms. */
uint64_t lex_find(const struct lex_field *f, const char *term, size_t n);
const char *lex_term_text(const struct lex_field *f, uint64_t term, size_t *n);

/* A term's postings, checked against the sizes of the chunks and verified. */
struct lex_list {
    const struct lex_field *field;
    const unsigned char *postings;
    size_t bytes;
    const struct lex_block *blocks; /* (n_blocks), NULL for a term of one block */
    const unsigned char *bounds, *bounds_end;
    uint32_t df, n_blocks;
};
MUST_USE enum trawl_status lex_list(struct lex_list *list, const struct lex_field *f, uint64_t term);
/* Decodes block i; CORRUPT for bytes that make no sense. */
MUST_USE enum trawl_status lex_block(const struct lex_list *list, uint32_t i, struct postings_block *out);

/* A set of (count, length) none of which is at least as good as another: a bound for any k1, b and statistics. */
enum { PARETO_MAX = 16 };
struct pareto {
    uint32_t count[PARETO_MAX], length[PARETO_MAX];
    uint32_t n;
};
/* The set of block i, or of the whole term (i = UINT32_MAX). */
MUST_USE bool lex_bound(const struct lex_list *list, uint32_t i, struct pareto *out);

struct lex_writer;
/* Terms in ascending order of bytes, postings in ascending order of rows. lengths (n_rows) stay the caller's. */
MUST_USE enum trawl_status lex_writer_new(struct lex_writer **w, const char *path, const uint32_t *lengths,
                                          uint32_t n_rows);
MUST_USE enum trawl_status lex_writer_term(struct lex_writer *w, const char *term, size_t n);
MUST_USE enum trawl_status lex_writer_posting(struct lex_writer *w, uint32_t row, uint32_t count);
MUST_USE enum trawl_status lex_writer_term_end(struct lex_writer *w); /* a term without postings leaves no trace */
MUST_USE enum trawl_status lex_writer_commit(struct lex_writer **w);
void lex_writer_abort(struct lex_writer **w);

/* ---- inverting texts in memory (invert.c) ---- */
struct inverter;
MUST_USE enum trawl_status inverter_new(struct inverter **v, const char *analyzer);
void inverter_free(struct inverter *v);
struct text_piece {
    const char *text;
    size_t n;
};
/* The next n rows. The result does not depend on the number of threads, nor on how rows are grouped in calls. */
MUST_USE enum trawl_status inverter_add(struct inverter *v, const struct text_piece *rows, size_t n);
size_t inverter_bytes(const struct inverter *v);
/* Rows whose text had no terms. */
uint64_t inverter_empty(const struct inverter *v);
/* Writes the field's file and starts anew. */
MUST_USE enum trawl_status inverter_flush(struct inverter *v, const char *path);

/* ---- documents of a segment (docs.c) ---- */
struct docs {
    struct pack *pack;
    uint64_t n_docs, n_rows, raw_bytes;
    const uint64_t *ordinals;                         /* (n_rows) */
    const uint32_t *row_doc, *doc_row, *passages;     /* (n_rows), (n_docs+1), (n_rows,2); NULL: a row is a document */
    const uint64_t *id_begin, *frame_begin, *id_hash; /* (n_docs+1), (n_docs+1), (n_docs) ascending */
    const uint32_t *id_doc;                           /* (n_docs) document of each hash */
    const char *ids;
    const unsigned char *frames;
    size_t n_id_bytes, n_frame_bytes;
    struct ZSTD_DDict_s *dictionary;
};
MUST_USE enum trawl_status docs_open(struct docs *d, const char *path);
void docs_close(struct docs *d);
/* Document with this id, or n_docs. */
uint64_t docs_find(const struct docs *d, const char *id, size_t n);
MUST_USE enum trawl_status docs_id(const struct docs *d, uint64_t doc, const char **id, size_t *n);
uint64_t docs_of_row(const struct docs *d, uint32_t row);
void docs_rows(const struct docs *d, uint64_t doc, uint32_t *begin, uint32_t *end);
MUST_USE enum trawl_status docs_read(const struct docs *d, struct buf *buf, struct stored_document *out, uint32_t row);

struct docs_writer;
MUST_USE enum trawl_status docs_writer_new(struct docs_writer **w, const char *path, bool passages);
/* ordinals (n_rows); passages (n_rows,2), NULL when documents are not split (n_rows is 1 then). */
MUST_USE enum trawl_status docs_writer_add(struct docs_writer *w, const struct document *doc, const uint64_t *ordinals,
                                           const uint32_t *passages, uint32_t n_rows);
MUST_USE enum trawl_status docs_writer_commit(struct docs_writer **w);
void docs_writer_abort(struct docs_writer **w);

/* ---- dense field of a segment (dense.c) ---- */
struct dense_field {
    struct pack *pack;
    struct index_vectors vectors; /* pointers are NULL: fetched verified by dense_vectors */
};
MUST_USE enum trawl_status dense_open(struct dense_field *f, const char *path, const struct index_field *field);
void dense_close(struct dense_field *f);
MUST_USE enum trawl_status dense_vectors(const struct dense_field *f, struct index_vectors *out);
/* The f32 rows as they were given. */
MUST_USE enum trawl_status dense_f32(const struct dense_field *f, const float **rows);

struct dense_writer;
MUST_USE enum trawl_status dense_writer_new(struct dense_writer **w, const char *path, size_t D,
                                            enum index_vector_format format);
MUST_USE enum trawl_status dense_writer_add(struct dense_writer *w, const float *row);
MUST_USE enum trawl_status dense_writer_commit(struct dense_writer **w);
void dense_writer_abort(struct dense_writer **w);

/* ---- deleted rows of a segment (tomb.c) ---- */
struct tomb {
    struct pack *pack;
    uint64_t n_rows, n_documents;      /* deleted */
    const uint64_t *bitmap;            /* NULL: none */
    const uint32_t *terms[FIELDS_MAX]; /* (n_terms,2): term, how many of its postings are deleted */
    size_t n_terms[FIELDS_MAX];
    uint64_t total_length[FIELDS_MAX]; /* of deleted rows */
};
MUST_USE enum trawl_status tomb_open(struct tomb *t, const char *path, uint64_t n_rows, size_t n_fields);
void tomb_close(struct tomb *t);
uint32_t tomb_df(const struct tomb *t, size_t field, uint64_t term);

static inline bool bit_get(const uint64_t *bits, size_t i)
{
    return bits && (bits[i / 64] >> (i % 64) & 1);
}
static inline void bit_set(uint64_t *bits, size_t i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}

/* ---- manifest (manifest.c) ---- */
struct manifest_segment {
    uint64_t number, del; /* del: generation of its tombstones, 0: none */
    uint64_t n_rows, n_documents;
};
struct manifest {
    uint64_t generation, next_segment, next_ordinal;
    struct index_settings settings;
    struct index_field *fields;
    size_t n_fields;
    struct manifest_segment *segments;
    size_t n_segments, cap;
};
MUST_USE enum trawl_status manifest_read(struct manifest *m, const char *folder);
MUST_USE enum trawl_status manifest_write(const struct manifest *m, const char *folder);
MUST_USE enum trawl_status manifest_copy(struct manifest *out, const struct manifest *in);
MUST_USE enum trawl_status manifest_add(struct manifest *m, const struct manifest_segment *segment);
void manifest_release(struct manifest *m);
/* Removes what no manifest needs: files of our naming that m does not name. Resumable side files stay. */
MUST_USE enum trawl_status manifest_sweep(const struct manifest *m, const char *folder);
/* Path of a part of a segment; field UINT_MAX: documents. */
MUST_USE enum trawl_status part_path(struct buf *out, const char *folder, uint64_t segment,
                                     const struct index_field *field);
MUST_USE enum trawl_status tomb_path(struct buf *out, const char *folder, uint64_t segment, uint64_t generation);
/* Takes the folder's lock (a descriptor to be closed); MISMATCH when another writer has it. */
MUST_USE enum trawl_status folder_lock(int *fd, const char *folder);

/* ---- an opened index (reader.c) ---- */
struct segment {
    struct index_segment seen;
    uint64_t number;
    struct docs docs;
    struct lex_field *lex;     /* (n_fields) */
    struct dense_field *dense; /* (n_fields) */
    struct tomb tomb;
};
struct index {
    char *path;
    struct manifest manifest;
    struct segment *segments;
    size_t n_segments;
};
/* Opens a segment whose files are there. */
MUST_USE enum trawl_status segment_open(struct segment *s, const char *folder, const struct manifest *m,
                                        const struct manifest_segment *ms);
void segment_close(struct segment *s, size_t n_fields);
/* Writes tombstones for `deleted` (bitmap of all deleted rows) of a segment. */
MUST_USE enum trawl_status tomb_write(const char *path, const struct segment *s, const struct manifest *m,
                                      const uint64_t *deleted);
/* Automatic merging (all false) or one segment of everything, under a lock already held. */
MUST_USE enum trawl_status merge_segments(const char *folder, bool all);

#endif
