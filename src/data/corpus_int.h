/* What the readers of one corpus format share: the open corpus and the row of a format. */
#ifndef CORPUS_INT_H
#define CORPUS_INT_H
#include "data.h"

struct corpus;

/*
 * A format reads the next record of the open file into id, title and text of the corpus (all empty before the call) and
 * sets *found; false at the end of the file.
 */
struct corpus_format {
    const char *name;
    enum trawl_status (*read)(struct corpus *c, bool *found);
};

/* Ids seen so far, by 128-bit hash: 22 to 43 bytes per document whatever the ids' lengths. */
struct id_set {
    struct id_hash {
        uint64_t low, high;
    } * slots; /* low == high == 0: free */
    size_t n, mask;
};
MUST_USE enum trawl_status id_set_put(struct id_set *set, const char *id, size_t n, bool *is_new);
void id_set_release(struct id_set *set);

struct corpus {
    const struct corpus_format *format;
    bool strict;
    char *path; /* as given, for messages */
    /* files still to read, NUL-separated full paths; `root_bytes` of each are the folder */
    struct buf files;
    size_t n_files, file, file_at, root_bytes;
    uint64_t bytes_done, bytes_total;
    struct line_reader *lines; /* the open file, NULL between files */
    const char *line;          /* taken by corpus_line, NULL at the end */
    size_t line_bytes;
    bool held;            /* the next corpus_line gives the same line again */
    size_t columns;       /* tsv: of the first line, 0 before it */
    uint64_t record_line; /* where the current record begins */
    struct buf id, title, text, scratch;
    struct id_set seen;
    struct corpus_counts counts;
};

/* Next line of the open file in c->line. */
MUST_USE enum trawl_status corpus_line(struct corpus *c);
/* FORMAT with file and line of the current record before the reason. */
enum trawl_status corpus_fail(const struct corpus *c, const char *reason);

extern const struct corpus_format corpus_jsonl, corpus_tsv, corpus_trec, corpus_folder;
/* Markdown's title: the first heading, else the first line; it is cut out of the text. */
MUST_USE enum trawl_status markdown_title(struct buf *title, struct buf *text);
/* Id, title and text of one TREC document: what stands between <DOC> and </DOC>. */
MUST_USE enum trawl_status trec_document(struct buf *id, struct buf *title, struct buf *text, const char *doc,
                                         size_t n);

#endif
