/*
 * Training examples: a query, the passages that answer it, and those that do not. Read from a BEIR folder, JSON lines
 * (Tevatron, FlagEmbedding, sentence-transformers) or TSV, told apart by content; written as Tevatron's lines with our
 * optional fields (docs/guide/training-data.md). Files may be larger than memory: they are mapped, and 12 bytes per
 * example are kept; compressed files and standard input are first spooled to disk.
 */
#ifndef DATA_TRAINING_H
#define DATA_TRAINING_H
#include "doc_set.h"

struct training_passage {
    const char *docid, *title, *text; /* docid "": none */
    size_t docid_bytes, title_bytes, text_bytes;
    bool has_score;
    double score;
    const char *teacher; /* which gave the score, NULL: not said */
};
struct training_list {
    struct training_passage *items;
    size_t n, cap;
};
struct training_example {
    const char *query_id, *query, *source, *instruction; /* "": none */
    size_t query_id_bytes, query_bytes, source_bytes, instruction_bytes;
    struct training_list positives, negatives, candidates;
    size_t target;            /* among the candidates; SIZE_MAX: none */
    size_t missing_negatives; /* mining found so many fewer than were wanted */
};

struct training_options {
    const char *split;            /* of a BEIR folder: qrels/<split>.tsv; NULL: train */
    const char *corpus, *queries; /* where ids point to that come without texts; NULL: they must have texts */
    bool strict;                  /* invalid UTF-8 is refused instead of replaced */
};
struct training;
/* options NULL: defaults. FORMAT when there are no examples. */
MUST_USE enum trawl_status training_open(struct training **t, const char *path, const struct training_options *options);
void training_close(struct training *t);
size_t training_n(const struct training *t);
/* Queries of a BEIR folder that have no positive: they are no examples. */
size_t training_without_positives(const struct training *t);
/* From now on in the order that seed and epoch give, each order equally likely; position 0. */
MUST_USE enum trawl_status training_shuffle(struct training *t, uint64_t seed, uint32_t epoch);
/* The example at `position` comes next: a resumed run goes on there. */
void training_seek(struct training *t, size_t position);
/*
 * The next example, NULL at the end; valid until the next call. FORMAT, with file and line, for a missing column, an
 * example without positives (and without candidates), an id that points nowhere, text that is no text.
 */
MUST_USE enum trawl_status training_next(struct training *t, const struct training_example **example);
/* Reads every example once, so that what is wrong is said before work begins; rewinds. */
MUST_USE enum trawl_status training_check(struct training *t);

/* One line of JSON, newline included. Members that are empty are left out. */
MUST_USE enum trawl_status training_append(struct buf *out, const struct training_example *example);

/*
 * A file of examples that grows beside its name ("<path>.part") and appears when complete. With a key, a part that was
 * left behind under the same key is continued: *n_done complete lines stand in it.
 */
struct training_writer;
MUST_USE enum trawl_status training_writer_open(struct training_writer **w, const char *path, const char *key,
                                                uint64_t *n_done);
MUST_USE enum trawl_status training_write(struct training_writer *w, const struct training_example *example);
MUST_USE enum trawl_status training_commit(struct training_writer **w);
/* Closes; the part stays for the next try where there is a key, else it is removed. */
void training_abort(struct training_writer **w);

#endif
