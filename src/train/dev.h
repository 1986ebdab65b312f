/*
 * A collection by which training is judged: documents and judged queries of a BEIR folder, tokenised once; each
 * evaluation embeds them with the model as it is, searches exactly and gives nDCG@10.
 */
#ifndef TRAIN_DEV_H
#define TRAIN_DEV_H
#include "cache.h"

struct dev_options {
    const char *split;    /* qrels/<split>.tsv; NULL: dev, or else test */
    size_t documents_max; /* 0: all; else the judged ones and others from the beginning of the corpus up to so many */
    size_t dims;
    bool normalize;
};
struct dev;
MUST_USE enum trawl_status dev_open(struct dev **d, const char *folder, struct encoder *e,
                                    const struct dev_options *options);
void dev_close(struct dev *d);
size_t dev_documents(const struct dev *d);
size_t dev_queries(const struct dev *d);
MUST_USE enum trawl_status dev_evaluate(struct dev *d, double *ndcg, struct cache *cache);

#endif
