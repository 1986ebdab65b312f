/*
 * The index folder: immutable segments, tombstones and one manifest that is swapped by rename (docs/formats/index.md).
 * A segment holds a document store (id, title, text; zstd with a dictionary) and one file per field: lexical fields
 * (postings with counts and exact lengths) and dense fields (rows in f32, bf16 or int8). Readers keep the manifest they
 * opened. Every document has an ordinal, its position of insertion, kept through merges; a replaced document gets a new
 * one.
 */
#ifndef INDEX_H
#define INDEX_H
#include "data/contract.h"
#include "data/data.h"

enum index_field_kind { INDEX_LEXICAL, INDEX_DENSE };
enum index_vector_format { INDEX_VEC_F32, INDEX_VEC_BF16, INDEX_VEC_INT8 };

struct index_field {
    char name[64];
    enum index_field_kind kind;
    /* lexical */
    char analyzer[32];
    double k1, b; /* defaults of searches; the postings hold counts */
    /* dense */
    size_t D;
    enum index_vector_format format;
    bool from_vectors; /* built from a vectors file: appending needs new vectors */
    bool has_contract;
    struct contract document, query;
};

/* How the documents of an index become texts: given once, kept for what is appended. */
struct index_settings {
    char join[16];         /* see document_join */
    size_t split, overlap; /* passages of so many words, split 0: documents are not split */
};

/* ---- reading ---- */
struct index;
MUST_USE enum trawl_status index_open(struct index **ix, const char *path);
void index_close(struct index *ix);
const char *index_path(const struct index *ix);
size_t index_n_fields(const struct index *ix);
const struct index_field *index_field(const struct index *ix, size_t i);
/* By name (NULL: the only field of that kind). NOT_FOUND names what there is. */
MUST_USE enum trawl_status index_find_field(const struct index *ix, size_t *i, enum index_field_kind kind,
                                            const char *name);
const struct index_settings *index_settings(const struct index *ix);
uint64_t index_n_documents(const struct index *ix); /* live */
uint64_t index_n_rows(const struct index *ix);      /* live; more than documents where these are split */
uint64_t index_generation(const struct index *ix);  /* grows by one with every commit */
/* Statistics of a lexical field over live rows. */
void index_lexical_statistics(const struct index *ix, size_t field, uint64_t *n_rows, uint64_t *total_length);
/* Is the id there? */
bool index_has(const struct index *ix, const char *id, size_t n);
size_t index_n_segments(const struct index *ix);

/* One segment as search sees it: rows 0..n, of which `deleted` (bit set) are gone. */
struct index_segment {
    uint32_t n;
    const uint64_t *deleted;  /* bitmap, NULL: none */
    const uint64_t *ordinals; /* (n) */
    /* (n) number of the row's document within the segment, so that rows are seen to be of one; NULL: a row is one. */
    const uint32_t *documents;
};
const struct index_segment *index_segment(const struct index *ix, size_t segment);

/* Rows of a dense field in a segment, verified: (n,D) in the field's format; int8 rows have one scale each, and the f32
 * rows beside them for rescoring. `zero` (bitmap, may be NULL) marks rows of documents without tokens, which search
 * never returns. */
struct index_vectors {
    size_t n, D;
    enum index_vector_format format;
    const void *rows;
    const float *scales;  /* int8: (n), x = scale * q */
    const float *rescore; /* (n,D) f32 for int8 and bf16, NULL when not kept */
    const uint64_t *zero;
};
MUST_USE enum trawl_status index_vectors(struct index_vectors *v, const struct index *ix, size_t segment, size_t field);

/* BM25 top k of one lexical field over all segments; exact (dynamic pruning is rank-safe, ties by ordinal). One per
 * thread. */
struct index_hit {
    float score;
    uint32_t segment, row;
    uint64_t ordinal;
};
/* Live rows that hold the term (as the field's analyzer makes it), over all segments: for weights. */
MUST_USE enum trawl_status index_document_frequency(const struct index *ix, uint64_t *df, size_t field,
                                                    const char *term, size_t n);
struct lexical_searcher;
MUST_USE enum trawl_status lexical_searcher_new(struct lexical_searcher **s, const struct index *ix, size_t field,
                                                size_t k_max);
void lexical_searcher_free(struct lexical_searcher *s);
/* hits (k) out, *n found; no heap calls after warm-up. `exhaustive` scores every posting: the twin that the fast path
 * is tested by. */
MUST_USE enum trawl_status lexical_search(struct lexical_searcher *s, struct index_hit *hits, size_t *n,
                                          const char *query, size_t query_bytes, size_t k, double k1, double b,
                                          bool exhaustive);

/* Stored document; id stands in the index, title and text in `buf` until it is changed. Both end with a NUL. */
struct stored_document {
    const char *id, *title, *text;
    size_t id_bytes, title_bytes, text_bytes;
    size_t passage_begin, passage_end; /* split corpora: this row's part of the text (bytes); else the whole */
};
MUST_USE enum trawl_status index_document(const struct index *ix, struct buf *buf, struct stored_document *doc,
                                          size_t segment, uint32_t row);
/* Only the id: no decompression. */
MUST_USE enum trawl_status index_document_id(const struct index *ix, const char **id, size_t *n, size_t segment,
                                             uint32_t row);
MUST_USE enum trawl_status index_verify(struct index *ix);

/* ---- writing: one writer at a time (a lock in the folder); nothing is seen before index_commit ---- */
struct index_writer;
struct index_writer_options {
    bool append;         /* add to an existing folder; else it must be absent or an index to replace as a whole */
    size_t memory_bytes; /* posting buffer before a segment is spilled; 0: default (512 MiB) */
    struct index_settings settings; /* for a new index; ignored when appending */
};
/* Fields are given for a new index; for append they must be NULL, 0 (taken from the manifest). */
MUST_USE enum trawl_status index_writer_open(struct index_writer **w, const char *path,
                                             const struct index_field *fields, size_t n_fields,
                                             const struct index_writer_options *options);
/* Adds (or, when the id is there, replaces) a document; `joined` is what lexical fields index; vectors: per dense field
 * a row (D) or NULL for lexical ones. FORMAT when an id comes twice in one writer's life. */
MUST_USE enum trawl_status index_add(struct index_writer *w, const struct document *doc, const char *joined,
                                     size_t joined_bytes, const float *const *vectors);
/* The same for a document in passages: rows of their own for search, one document for storing, replacing, deleting. */
struct index_passage {
    const char *joined; /* what lexical fields index */
    size_t joined_bytes;
    uint32_t begin, end;         /* bytes of doc->text */
    const float *const *vectors; /* as above; may be NULL without dense fields */
};
MUST_USE enum trawl_status index_add_passages(struct index_writer *w, const struct document *doc,
                                              const struct index_passage *passages, size_t n);
MUST_USE enum trawl_status index_remove(struct index_writer *w, const char *id, size_t n, bool *found);
struct index_counts {
    uint64_t added, replaced, removed, rows, empty; /* documents, documents, documents, rows, rows without terms */
};
/* Writes out what was added so far, not yet to be seen; the counts are complete afterwards. */
MUST_USE enum trawl_status index_flush(struct index_writer *w);
const struct index_counts *index_writer_counts(const struct index_writer *w);
/* The index that is appended to, as it was when the writer was opened; NULL for a new one. */
const struct index *index_writer_base(const struct index_writer *w);
/* Makes everything visible at once, then merges neighbouring small segments. The writer is gone afterwards. */
MUST_USE enum trawl_status index_commit(struct index_writer **w);
void index_abort(struct index_writer **w);
/* Merges all segments into one, dropping deleted rows. */
MUST_USE enum trawl_status index_merge(const char *path);

#endif
