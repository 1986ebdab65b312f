/*
 * The training loop: batches, objective, GradCache, AdamW, schedule, clipping, evaluation with early stopping,
 * checkpoints, metrics. What comes out is a run folder whose model/ is a model like any other.
 *
 * Promises: the same configuration, data, seed and instruction set give the same model to the bit, whatever the number
 * of threads and wherever the run was killed and resumed.
 */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H
#include "objective.h"
#include "optim.h"
#include "encode/encode.h"
#include "nn/train.h"

struct train_config {
    const char *model, *guide, *data, *output;
    const char *split, *corpus, *queries; /* of the data, see data/training.h */
    const char *dev, *dev_split;
    size_t dev_documents;
    struct objective_options objective;
    double temperature;
    bool learn_temperature;
    bool full; /* every parameter; else LoRA */
    struct nn_lora lora;
    enum nn_precision precision;
    bool checkpointing;
    size_t batch, negatives, accumulate, chunk;
    size_t steps, epochs; /* steps 0: by epochs */
    struct adamw adamw;
    struct schedule schedule; /* total is filled in; warmup by warmup_share where that is not 0 */
    double warmup_share, clip;
    uint64_t seed;
    size_t save_every, eval_every, patience;
    struct encoder_choices choices; /* of both sides, but for the prompts */
    const char *query_prompt, *document_prompt;
    bool dot;
    bool resume;
    const char *key;           /* what a checkpoint must have been made under */
    const char *configuration; /* for the report: readable */
};
struct train_result {
    uint64_t steps, resumed_from, tokens, examples;
    size_t parameters, memory_bytes, dev_documents, dev_queries;
    double loss, first_loss, best_dev, last_dev, seconds;
    uint64_t best_step;
    bool stopped_early;
};
MUST_USE enum trawl_status train_run(const struct train_config *config, struct train_result *result);

#endif
