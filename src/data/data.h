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
    /* "auto" (NULL), "beir", "anserini", "msmarco", "tsv", "trec", "folder" (of .txt and .md files) */
    const char *format;
    /* only checked here, used by document_join: "space" (title + " " + text; NULL), "newline", "text" (no title) */
    const char *join;
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
/* path: a BEIR folder (its corpus.jsonl), a file, a folder of texts or of JSON lines, or "-". options: NULL for all
 * defaults. Memory does not grow with the texts: 22 to 43 bytes per document are kept, to know ids that come twice. */
MUST_USE enum trawl_status corpus_open(struct corpus **c, const char *path, const struct corpus_options *options);
/* doc->id is NULL at the end; a corpus without documents is refused there. A missing id, an id twice, or (strict)
 * invalid UTF-8 is refused with file and line. */
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
    uint64_t invalid_utf8, first_invalid_line;
};
/* BEIR folder or queries.jsonl, Anserini/plain TSV (id TAB text), JSONL with "_id"/"id"/"query_id" and "text"/"query".
 */
MUST_USE enum trawl_status queries_read(struct queries *q, const char *path, bool strict);
void queries_release(struct queries *q);

/* ---- documents of one query, with a value each: judgements and ranked hits ---- */
struct doc_list {
    struct doc_entry {
        size_t id; /* offset of the NUL-terminated document id in the owner's `ids` */
        uint32_t id_bytes;
        union {
            float score;   /* runs */
            int32_t grade; /* judgements */
        };
    } * items;       /* (n) in order of insertion */
    uint32_t *slots; /* hash table over items: index + 1, 0: free */
    uint32_t n, cap, slot_mask;
};
/* Index of a document in the list, or MAP_NONE. */
uint32_t doc_list_find(const struct doc_list *list, const struct buf *ids, const char *id, size_t n);

/* ---- qrels: by query, then document ---- */
struct qrels {
    struct map queries;     /* query id -> its number */
    struct doc_list *items; /* (queries.n) */
    size_t cap;
    struct buf ids; /* of documents */
};
/* TREC (query, iteration, document, grade) or BEIR (header, then query TAB document TAB grade). A pair judged twice is
 * refused; so are grades beyond +-1,000,000. Below 0: in the pool, but not judged. */
MUST_USE enum trawl_status qrels_read(struct qrels *q, const char *path);
MUST_USE enum trawl_status qrels_add(struct qrels *q, const char *query, const char *doc, int32_t grade);
/* Line of a judgement, found by reading the file again, for messages; 0: it is not there. */
uint64_t qrels_line(const char *path, const char *query, const char *doc);
void qrels_release(struct qrels *q);

/* ---- runs ---- */
struct run {
    struct map queries;     /* in order of appearance */
    struct doc_list *items; /* (queries.n), hits in file order */
    size_t cap;
    struct buf ids; /* of documents */
    char *tag;      /* last column of the first line, NULL: none */
};
/* TREC runs (query, Q0, document, rank, score, tag) or JSON {query: {document: score}}. Only score and document count,
 * not the rank column. A document twice for one query, a score that is no number: refused with file and line. */
MUST_USE enum trawl_status run_read(struct run *r, const char *path);
/* Makes the query known, so that one without hits is written and scored too. */
MUST_USE enum trawl_status run_add_query(struct run *r, const char *query);
MUST_USE enum trawl_status run_add(struct run *r, const char *query, const char *doc, float score);
static inline const char *run_doc(const struct run *r, const struct doc_entry *hit)
{
    return r->ids.data + hit->id;
}
/* TREC or JSON by the writer's choice: format "trec" or "json". Hits are written in the order they stand, ranks from 1.
 * An id with white space cannot stand in a TREC run and is refused there. */
MUST_USE enum trawl_status run_write(const struct run *r, const char *path, const char *format);
void run_release(struct run *r);

#endif
