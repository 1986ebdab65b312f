/*
 * Collections: corpora, queries, relevance judgements and runs, in the formats the field uses. Formats are told apart
 * by content and name; gzip and zstd are read directly. Errors name file and line.
 */
#ifndef DATA_H
#define DATA_H
#include "base/file.h"
#include "base/map.h"
#include <stdbool.h>

/* ---- corpora: streamed ---- */
struct corpus_options {
    const char *format; /* "auto", "beir", "anserini", "msmarco", "tsv", "trec", "folder" (of .txt and .md files) */
    const char *
        join; /* how title and text become one text: "space" (title + " " + text), "newline", "text" (title left out) */
    bool strict; /* invalid UTF-8 is refused instead of replaced */
};
struct document {
    const char *id, *title, *text; /* NUL-terminated; valid until the next call */
    size_t id_bytes, title_bytes, text_bytes;
};
/* What was met on the way, for the closing line. */
struct corpus_counts {
    uint64_t documents, empty, invalid_utf8;
    uint64_t first_invalid_line; /* 0: none */
    char first_invalid_id[128];
};
struct corpus;
/* path: a BEIR folder (its corpus.jsonl), a file, a folder of texts, or "-". */
MUST_USE enum trawl_status corpus_open(struct corpus **c, const char *path, const struct corpus_options *options);
/* doc->id is NULL at the end. A missing id, an id twice, or (strict) invalid UTF-8 is refused with file and line. */
MUST_USE enum trawl_status corpus_next(struct corpus *c, struct document *doc);
const struct corpus_counts *corpus_counts(const struct corpus *c);
void corpus_position(const struct corpus *c, uint64_t *done, uint64_t *total);
void corpus_close(struct corpus *c);
/* Title and text joined as the options say (a contract records which); appended to *out. */
MUST_USE enum trawl_status document_join(struct buf *out, const struct document *doc, const char *join);

/* ---- queries: in memory, in file order ---- */
struct queries {
    struct query {
        char *id, *text;
        size_t text_bytes;
    } * items;
    size_t n;
    struct map by_id;
    uint64_t invalid_utf8;
};
/* BEIR folder or queries.jsonl, Anserini/plain TSV (id TAB text), JSONL with "_id"/"id"/"query_id" and "text"/"query".
 */
MUST_USE enum trawl_status queries_read(struct queries *q, const char *path, bool strict);
void queries_release(struct queries *q);

/* ---- qrels and runs: by query, then document ---- */
struct qrels {
    struct map queries; /* query id -> its number */
    struct qrels_query {
        struct map docs; /* document id -> (int64) grade, stored as uint64 */
    } * items;           /* (queries.n) */
    size_t cap;
};
/* TREC (4 columns) or BEIR (header, 3 columns, TAB). A pair judged twice is refused. */
MUST_USE enum trawl_status qrels_read(struct qrels *q, const char *path);
void qrels_release(struct qrels *q);

struct run_hit {
    uint32_t doc; /* id in `docs` */
    float score;
};
struct run {
    struct map queries, docs; /* ids in order of appearance */
    struct run_query {
        struct run_hit *hits;
        size_t n, cap;
    } * items; /* (queries.n), hits in file order */
    size_t cap;
    char *tag;
};
/* TREC runs (6 columns) or JSON {query: {document: score}}. A document twice for one query is refused. */
MUST_USE enum trawl_status run_read(struct run *r, const char *path);
MUST_USE enum trawl_status run_add(struct run *r, const char *query, const char *doc, float score);
/* TREC or JSON by the writer's choice: format "trec" or "json". Hits are written in the order they stand, ranks from 1.
 */
MUST_USE enum trawl_status run_write(const struct run *r, const char *path, const char *format);
void run_release(struct run *r);

#endif
