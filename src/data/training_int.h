/* What the readers of one format of training examples share. */
#ifndef TRAINING_INT_H
#define TRAINING_INT_H
#include "base/json.h"
#include "training.h"

struct training {
    char *path;
    bool strict, tsv;
    struct file_map map;
    struct spool *spool; /* where `map` is taken from; NULL: the file itself */
    uint64_t *begins;    /* (n) first byte of each example's line */
    uint32_t *order;     /* (n) NULL: as they stand */
    size_t n, cap, position;
    struct training_example example;
    json_t *json;
    struct buf line, where, scratch;
    /* ids that come without texts, and BEIR */
    struct doc_set *docs;
    struct queries queries;
    bool has_queries, beir;
    struct qrels qrels;
    char *qrels_path;
    uint32_t *judged; /* (n) numbers of the judged queries that have positives */
    size_t without_positives;
};

/* Fills t->example from t->line (a whole line, valid UTF-8, NUL behind). */
MUST_USE enum trawl_status training_parse_json(struct training *t);
MUST_USE enum trawl_status training_parse_tsv(struct training *t);
MUST_USE enum trawl_status training_open_beir(struct training *t, const char *split);
MUST_USE enum trawl_status training_take_judged(struct training *t, uint32_t query);
/* FORMAT with file and line before the reason. */
enum trawl_status training_refuse(struct training *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
MUST_USE enum trawl_status training_add(struct training_list *list, const struct training_passage *passage);

#endif
