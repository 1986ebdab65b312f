#include "trainer.h"
#include "base/log.h"
#include "base/mem.h"
#include "batch.h"
#include "dev.h"
#include "model/save.h"
#include "report.h"
#include "state.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct trainer {
    const struct train_config *c;
    struct train_result *result;
    struct encoder *encoder, *guide;
    struct training *data;
    struct dev *dev;
    struct nn_train *train;
    struct nn_params params;
    struct nn_lora lora;          /* as asked, or as the adapter that is continued */
    struct model_update *updates; /* of the adapter that is continued */
    size_t n_updates;
    struct cache *cache;
    struct batch batch;
    struct objective_work *work;
    struct train_state state;
    struct metrics metrics;
    struct schedule schedule;
    size_t D, rows;                /* dimensions of embeddings, texts of a batch */
    float *embeddings, *gradients; /* (rows,D) */
    float *unit;                   /* (B,D) of the collapse indicators */
    struct {
        float *q, *p, *n; /* (B,G), (B,G), (BH,G) */
        float *qp, *qq, *pp, *qn;
    } guided;
    char *checkpoint_path, *best_path, *metrics_path, *report_path, *model_path;
    double begun, loss, d_log_tau;
    double positive_cosine, mean_cosine;
    uint64_t tokens_before;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- opening ---- */

static enum trawl_status open_encoder(struct trainer *t)
{
    const struct train_config *c = t->c;
    struct encoder_options options = {.precision = "f32", .tokens_only = true};
    struct encoder_choices choices = c->choices;
    struct contract document, query;
    TRY(encoder_open(&t->encoder, c->model, &options));
    if (model_files_modules(encoder_files(t->encoder))->n_dense)
        return fail(TRAWL_UNSUPPORTED, "'%s' has Dense modules behind its pooling, which training does not support",
                    c->model);
    if (c->dot)
        choices.normalize = "none";
    choices.prompt = c->document_prompt;
    TRY(encoder_choose(&document, t->encoder, ENCODER_DOCUMENT, &choices));
    choices.prompt = c->query_prompt;
    TRY(encoder_choose(&query, t->encoder, ENCODER_QUERY, &choices));
    TRY(encoder_set_contract(t->encoder, ENCODER_DOCUMENT, &document));
    TRY(encoder_set_contract(t->encoder, ENCODER_QUERY, &query));
    if (strcmp(document.attention, query.attention) != 0)
        return fail(TRAWL_UNSUPPORTED, "'%s': documents have %s attention, queries %s (set '--attention')", c->model,
                    document.attention, query.attention);
    t->D = encoder_contract(t->encoder, ENCODER_DOCUMENT)->dims;
    return TRAWL_OK;
}

static enum trawl_status open_data(struct trainer *t)
{
    const struct train_config *c = t->c;
    struct training_options options = {.split = c->split, .corpus = c->corpus, .queries = c->queries};
    TRY(training_open(&t->data, c->data, &options));
    if (training_n(t->data) < c->batch)
        return fail(TRAWL_FORMAT, "'%s' holds %zu example%s, a batch needs %zu (make '--batch' smaller)", c->data,
                    training_n(t->data), training_n(t->data) == 1 ? "" : "s", c->batch);
    TRY(training_check(t->data));
    struct batch_options batch = {.B = c->batch,
                                  .H = c->negatives,
                                  .seed = c->seed,
                                  .join = encoder_contract(t->encoder, ENCODER_DOCUMENT)->join,
                                  .needs = objective_needs(&c->objective),
                                  .keep_texts = c->guide != NULL};
    return batch_init(&t->batch, &batch);
}

/* An adapter is trained on from where it is: its rank, scale and projections, A and B. */
static enum trawl_status continue_adapter(struct trainer *t)
{
    struct model_files *files = encoder_files(t->encoder);
    size_t rank = 0;
    double scale = 0.0;
    TRY(model_files_unmerge(files, &t->updates, &t->n_updates, &rank, &scale));
    if (!t->n_updates)
        return TRAWL_OK;
    if (t->c->full)
        return fail(TRAWL_UNSUPPORTED, "'%s' is an adapter: '--full' trains whole models (merge it first)",
                    t->c->model);
    t->lora.rank = rank;
    t->lora.rslora = false;
    t->lora.alpha = scale * (double)rank;
    t->lora.targets = 0;
    for (size_t i = 0; i < t->n_updates; i++)
        t->lora.targets |= UINT32_C(1) << t->updates[i].tensor;
    return TRAWL_OK;
}

static enum trawl_status set_updates(struct trainer *t)
{
    size_t n_set = 0;
    for (size_t i = 0; i < t->params.n_table; i++) {
        const struct nn_param *p = &t->params.table[i];
        for (size_t k = 0; k < t->n_updates; k++) {
            const struct model_update *u = &t->updates[k];
            if (u->layer != p->layer || u->tensor != p->tensor)
                continue;
            memcpy(t->params.values + p->offset, p->part == NN_LORA_A ? u->a : u->b, p->rows * p->cols * sizeof(float));
            n_set++;
        }
    }
    if (t->n_updates && n_set != t->params.n_table)
        return fail(TRAWL_UNSUPPORTED, "'%s' updates some layers' projections and not others'", t->c->model);
    return t->n_updates ? nn_train_update(t->train) : TRAWL_OK;
}

static enum trawl_status open_model(struct trainer *t)
{
    const struct train_config *c = t->c;
    const struct contract *d = encoder_contract(t->encoder, ENCODER_DOCUMENT),
                          *q = encoder_contract(t->encoder, ENCODER_QUERY);
    size_t longest = d->max_length > q->max_length ? d->max_length : q->max_length;
    size_t tokens_max = c->chunk > longest ? c->chunk : longest;
    t->lora = c->lora;
    TRY(continue_adapter(t));
    struct nn_train_options options = {.precision = c->precision,
                                       .lora = c->full ? NULL : &t->lora,
                                       .checkpoint = c->checkpointing,
                                       .tokens_max = tokens_max,
                                       .seed = c->seed};
    TRY(nn_train_new(&t->train, model_files_source(encoder_files(t->encoder)), &options));
    t->params = nn_train_params(t->train);
    TRY(set_updates(t));
    return cache_new(&t->cache, t->train, tokens_max, t->D,
                     strcmp(d->attention, "causal") ? NN_BIDIRECTIONAL : NN_CAUSAL);
}

static enum trawl_status open_guide(struct trainer *t)
{
    size_t B = t->c->batch, N = B * t->c->negatives;
    if (!t->c->guide)
        return TRAWL_OK;
    TRY(encoder_open(&t->guide, t->c->guide, &(struct encoder_options){.precision = "auto"}));
    size_t G = encoder_contract(t->guide, ENCODER_DOCUMENT)->dims;
    t->guided.q = mem_array(B * G, sizeof(float));
    t->guided.p = mem_array(B * G, sizeof(float));
    t->guided.n = mem_array(N * G, sizeof(float));
    t->guided.qp = mem_array(B * B, sizeof(float));
    t->guided.qq = mem_array(B * B, sizeof(float));
    t->guided.pp = mem_array(B * B, sizeof(float));
    t->guided.qn = mem_array(B * N, sizeof(float));
    bool whole =
        t->guided.q && t->guided.p && t->guided.n && t->guided.qp && t->guided.qq && t->guided.pp && t->guided.qn;
    return whole ? TRAWL_OK : mem_status();
}

static enum trawl_status open_memory(struct trainer *t)
{
    const struct train_config *c = t->c;
    t->rows = 2 * c->batch + c->batch * c->negatives;
    t->embeddings = mem_aligned(t->rows * t->D, sizeof(float));
    t->gradients = mem_aligned(t->rows * t->D, sizeof(float));
    t->unit = mem_array(2 * c->batch * t->D, sizeof(float));
    t->state.n = t->params.n;
    t->state.values = t->params.values;
    t->state.m = mem_array(t->params.n, sizeof(float));
    t->state.v = mem_array(t->params.n, sizeof(float));
    t->state.log_tau = log(c->temperature);
    t->state.best = -1.0;
    if (!t->embeddings || !t->gradients || !t->unit || !t->state.m || !t->state.v)
        return mem_status();
    return objective_work_new(&t->work, &c->objective, c->batch, c->negatives, t->D);
}

static enum trawl_status open_dev(struct trainer *t)
{
    const struct train_config *c = t->c;
    struct dev_options options = {.split = c->dev_split, .documents_max = c->dev_documents, .dims = t->D};
    options.normalize = !strcmp(encoder_contract(t->encoder, ENCODER_DOCUMENT)->normalize, "l2");
    if (!c->dev)
        return TRAWL_OK;
    TRY(dev_open(&t->dev, c->dev, t->encoder, &options));
    t->result->dev_documents = dev_documents(t->dev);
    t->result->dev_queries = dev_queries(t->dev);
    return TRAWL_OK;
}

static enum trawl_status open_paths(struct trainer *t)
{
    char *checkpoints = file_join(t->c->output, "checkpoints");
    enum trawl_status status = checkpoints ? file_make_folder(checkpoints) : mem_status();
    if (!status) {
        t->checkpoint_path = file_join(checkpoints, "last.pack");
        t->best_path = file_join(checkpoints, "best.pack");
        t->metrics_path = file_join(t->c->output, "metrics.jsonl");
        t->report_path = file_join(t->c->output, "report.html");
        t->model_path = file_join(t->c->output, "model");
    }
    free(checkpoints);
    TRY(status);
    bool whole = t->checkpoint_path && t->best_path && t->metrics_path && t->report_path && t->model_path;
    return whole ? TRAWL_OK : mem_status();
}

static void set_schedule(struct trainer *t)
{
    const struct train_config *c = t->c;
    uint64_t per_epoch = training_n(t->data) / c->batch / c->accumulate;
    t->schedule = c->schedule;
    t->schedule.total = c->steps ? c->steps : (per_epoch ? per_epoch : 1) * c->epochs;
    if (c->warmup_share > 0.0)
        t->schedule.warmup = (uint64_t)ceil(c->warmup_share * (double)t->schedule.total);
}

static enum trawl_status resume(struct trainer *t)
{
    if (!t->c->resume || !file_exists(t->checkpoint_path))
        return TRAWL_OK;
    TRY(train_state_load(&t->state, t->checkpoint_path, t->c->key));
    t->result->resumed_from = t->state.step;
    if (t->state.place.position) /* the order of the epoch that was begun */
        TRY(training_shuffle(t->data, t->c->seed, t->state.place.epoch));
    return nn_train_update(t->train);
}

static enum trawl_status open_all(struct trainer *t)
{
    TRY(open_encoder(t));
    TRY(open_data(t));
    TRY(open_guide(t));
    TRY(open_dev(t));
    TRY(open_model(t));
    TRY(open_memory(t));
    TRY(open_paths(t));
    set_schedule(t);
    TRY(resume(t));
    t->result->parameters = t->params.n;
    t->result->memory_bytes = nn_train_bytes(t->train);
    t->result->examples = training_n(t->data);
    return metrics_open(&t->metrics, t->metrics_path, t->state.step);
}

static void close_all(struct trainer *t)
{
    metrics_close(&t->metrics);
    cache_free(t->cache);
    nn_train_free(t->train);
    objective_work_free(t->work);
    batch_release(&t->batch);
    dev_close(t->dev);
    training_close(t->data);
    encoder_close(t->encoder);
    encoder_close(t->guide);
    float *const guided[] = {t->guided.q,  t->guided.p,  t->guided.n, t->guided.qp,
                             t->guided.qq, t->guided.pp, t->guided.qn};
    for (size_t i = 0; i < sizeof guided / sizeof *guided; i++)
        free(guided[i]);
    free(t->updates);
    free(t->embeddings);
    free(t->gradients);
    free(t->unit);
    free(t->state.m);
    free(t->state.v);
    free(t->checkpoint_path);
    free(t->best_path);
    free(t->metrics_path);
    free(t->report_path);
    free(t->model_path);
}

/* ---- one batch ---- */

/* out (n,m) = x (n,G) y (m,G)^T */
static void similarities(float *out, const float *x, size_t n, const float *y, size_t m, size_t G)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++) {
            double sum = 0.0;
            for (size_t g = 0; g < G; g++)
                sum += (double)x[i * G + g] * (double)y[j * G + g];
            out[i * m + j] = (float)sum;
        }
}

static enum trawl_status guide_batch(struct trainer *t, struct objective_batch *b)
{
    if (!t->guide)
        return TRAWL_OK;
    size_t B = b->B, N = B * b->H, G = encoder_contract(t->guide, ENCODER_DOCUMENT)->dims;
    const struct text_view *texts = t->batch.views;
    TRY(encoder_encode(t->guide, t->guided.q, texts, B, ENCODER_QUERY));
    TRY(encoder_encode(t->guide, t->guided.p, texts + B, B, ENCODER_DOCUMENT));
    TRY(encoder_encode(t->guide, t->guided.n, texts + 2 * B, N, ENCODER_DOCUMENT));
    similarities(t->guided.qp, t->guided.q, B, t->guided.p, B, G);
    similarities(t->guided.qq, t->guided.q, B, t->guided.q, B, G);
    similarities(t->guided.pp, t->guided.p, B, t->guided.p, B, G);
    similarities(t->guided.qn, t->guided.q, B, t->guided.n, N, G);
    b->guide_qp = t->guided.qp;
    b->guide_qq = t->guided.qq;
    b->guide_pp = t->guided.pp;
    b->guide_qn = t->guided.qn;
    return TRAWL_OK;
}

/* Mean cosine of queries with their positives, and between positives: (|sum u|^2 - B) / (B (B-1)). */
static void indicate(struct trainer *t)
{
    size_t B = t->c->batch, D = t->D;
    double own = 0.0, square = 0.0;
    memcpy(t->unit, t->embeddings, 2 * B * D * sizeof(float));
    for (size_t i = 0; i < 2 * B; i++)
        unit_forward(t->unit + i * D, D);
    for (size_t d = 0; d < D; d++) {
        double sum = 0.0;
        for (size_t i = 0; i < B; i++) {
            double p = (double)t->unit[(B + i) * D + d];
            own += (double)t->unit[i * D + d] * p;
            sum += p;
        }
        square += sum * sum;
    }
    t->positive_cosine = own / (double)B;
    t->mean_cosine = B > 1 ? (square - (double)B) / ((double)B * (double)(B - 1)) : 0.0;
}

static enum trawl_status run_batch(struct trainer *t, uint32_t dropout_step)
{
    size_t B = t->c->batch, D = t->D;
    struct objective_batch b = {.D = D};
    double loss, d_log_tau;
    TRY(batch_read(&t->batch, t->data, t->encoder, &t->state.place));
    TRY(cache_forward(t->cache, t->embeddings, &t->batch.rows, dropout_step));
    batch_fill(&t->batch, &b);
    b.q = t->embeddings;
    b.p = t->embeddings + B * D;
    b.n = t->embeddings + 2 * B * D;
    b.dq = t->gradients;
    b.dp = t->gradients + B * D;
    b.dn = t->gradients + 2 * B * D;
    TRY(guide_batch(t, &b));
    TRY(objective_step(t->work, &loss, &d_log_tau, &b, exp(t->state.log_tau)));
    indicate(t);
    if (!isfinite(loss))
        return fail(TRAWL_FORMAT,
                    "the loss of step %" PRIu64 " is not finite: training has diverged (a smaller '--lr', or "
                    "'--warmup'; '--resume' goes on from the last checkpoint)",
                    t->state.step + 1);
    t->loss += loss / (double)t->c->accumulate;
    t->d_log_tau += d_log_tau / (double)t->c->accumulate;
    t->state.tokens += t->batch.rows.n_ids;
    return cache_backward(t->cache, t->gradients, &t->batch.rows);
}

/* ---- one step ---- */

static enum trawl_status check_gradients(const struct trainer *t)
{
    for (size_t i = 0; i < t->params.n_table; i++) {
        const struct nn_param *p = &t->params.table[i];
        if (isfinite(grad_square_sum(t->params.grads + p->offset, p->rows * p->cols)))
            continue;
        return fail(TRAWL_FORMAT,
                    "step %" PRIu64 ": the gradient of tensor %s%s of layer %zu is not finite (a smaller '--lr', or "
                    "'--clip'; '--resume' goes on from the last checkpoint)",
                    t->state.step + 1, nn_tensor_name(p->tensor),
                    p->part == NN_LORA_A   ? " (A)"
                    : p->part == NN_LORA_B ? " (B)"
                                           : "",
                    p->layer);
    }
    return TRAWL_OK;
}

static double gradient_norm(const struct trainer *t)
{
    double sum = 0.0;
    for (size_t i = 0; i < t->params.n_table; i++) {
        const struct nn_param *p = &t->params.table[i];
        sum += grad_square_sum(t->params.grads + p->offset, p->rows * p->cols);
    }
    return sqrt(sum) / (double)t->c->accumulate;
}

/* Norms and biases are not decayed. */
static void update_parameters(struct trainer *t, double lr, double scale)
{
    struct train_state *s = &t->state;
    for (size_t i = 0; i < t->params.n_table; i++) {
        const struct nn_param *p = &t->params.table[i];
        struct adamw adamw = t->c->adamw;
        if (p->part == NN_WHOLE && p->rows == 1)
            adamw.weight_decay = 0.0;
        adamw_step(s->values + p->offset, s->m + p->offset, s->v + p->offset, t->params.grads + p->offset,
                   p->rows * p->cols, &adamw, lr, s->step + 1, scale);
    }
    if (t->c->learn_temperature) {
        float value = (float)s->log_tau, m = (float)s->tau_m, v = (float)s->tau_v, g = (float)t->d_log_tau;
        struct adamw adamw = t->c->adamw;
        adamw.weight_decay = 0.0;
        adamw_step(&value, &m, &v, &g, 1, &adamw, lr, s->step + 1, 1.0);
        s->log_tau = (double)value;
        s->tau_m = (double)m;
        s->tau_v = (double)v;
    }
}

static enum trawl_status run_step(struct trainer *t)
{
    const struct train_config *c = t->c;
    double begun = now(), lr = schedule_lr(&t->schedule, t->state.step), tau = exp(t->state.log_tau);
    uint64_t tokens = t->state.tokens;
    t->loss = t->d_log_tau = 0.0;
    memset(t->params.grads, 0, t->params.n * sizeof(float));
    for (size_t i = 0; i < c->accumulate; i++)
        TRY(run_batch(t, (uint32_t)(t->state.step * c->accumulate + i)));
    double norm = gradient_norm(t);
    if (!isfinite(norm))
        TRY(check_gradients(t));
    update_parameters(t, lr, clip_factor(norm, c->clip) / (double)c->accumulate);
    TRY(nn_train_update(t->train));
    t->state.step++;
    t->state.loss = t->loss;
    double seconds = now() - begun;
    t->state.seconds += seconds;
    if (t->state.step == 1)
        t->result->first_loss = t->loss;
    struct metrics_step m = {.step = t->state.step,
                             .epoch = t->state.place.epoch,
                             .tokens = t->state.tokens,
                             .loss = t->loss,
                             .lr = lr,
                             .grad_norm = norm,
                             .tau = tau,
                             .seconds = t->state.seconds,
                             .positive_cosine = t->positive_cosine,
                             .mean_cosine = t->mean_cosine};
    m.tokens_per_second = (double)(t->state.tokens - tokens) / (seconds > 0.0 ? seconds : 1.0);
    return metrics_add_step(&t->metrics, &m);
}

/* ---- the run ---- */

static enum trawl_status save_checkpoint(struct trainer *t)
{
    TRY(train_state_save(&t->state, t->checkpoint_path, t->c->key));
    return report_write(t->report_path, t->metrics_path, t->c->configuration);
}

static enum trawl_status evaluate(struct trainer *t)
{
    double ndcg;
    TRY(dev_evaluate(t->dev, &ndcg, t->cache));
    TRY(metrics_add_dev(&t->metrics, t->state.step, ndcg));
    t->result->last_dev = ndcg;
    t->state.evaluations_since_best++;
    if (ndcg <= t->state.best)
        return TRAWL_OK;
    t->state.best = ndcg;
    t->state.best_step = t->state.step;
    t->state.evaluations_since_best = 0;
    return train_values_save(t->state.values, t->state.n, t->best_path, t->c->key);
}

static bool is_due(const struct trainer *t, size_t every)
{
    return (every && t->state.step % every == 0) || t->state.step == t->schedule.total;
}

static bool stops_early(const struct trainer *t)
{
    return t->dev && t->c->patience && t->state.evaluations_since_best >= t->c->patience;
}

static enum trawl_status train_all(struct trainer *t)
{
    struct progress progress;
    progress_begin(&progress, "train", t->schedule.total, "steps");
    progress_set(&progress, t->state.step);
    if (t->dev && t->state.step == 0)
        TRY(evaluate(t));
    while (t->state.step < t->schedule.total && !stops_early(t)) {
        TRY(run_step(t));
        bool evaluated = t->dev && is_due(t, t->c->eval_every);
        if (evaluated)
            TRY(evaluate(t));
        if (evaluated || is_due(t, t->c->save_every))
            TRY(save_checkpoint(t));
        progress_set(&progress, t->state.step);
    }
    progress_end(&progress);
    t->result->stopped_early = t->state.step < t->schedule.total;
    return TRAWL_OK;
}

/* ---- the model ---- */

static enum trawl_status save_adapter(struct trainer *t)
{
    struct model_update *updates = mem_array(t->params.n_table, sizeof *updates);
    size_t n = 0;
    if (!updates)
        return mem_status();
    for (size_t i = 0; i + 1 < t->params.n_table; i += 2) { /* every A is followed by its B */
        const struct nn_param *a = &t->params.table[i], *b = a + 1;
        updates[n++] = (struct model_update){.layer = a->layer,
                                             .tensor = a->tensor,
                                             .a = t->params.values + a->offset,
                                             .b = t->params.values + b->offset};
    }
    struct model_adapter adapter = {.rank = t->lora.rank,
                                    .alpha = t->lora.alpha,
                                    .dropout = t->lora.dropout,
                                    .rslora = t->lora.rslora,
                                    .updates = updates,
                                    .n_updates = n,
                                    .document = encoder_contract(t->encoder, ENCODER_DOCUMENT),
                                    .query = encoder_contract(t->encoder, ENCODER_QUERY)};
    enum trawl_status status = model_save_adapter(encoder_files(t->encoder), t->model_path, &adapter);
    free(updates);
    return status;
}

/* The trained parameters as a source of weights. */
static const struct nn_param *find_param(const struct trainer *t, size_t layer, enum nn_tensor tensor)
{
    for (size_t i = 0; i < t->params.n_table; i++)
        if (t->params.table[i].layer == layer && t->params.table[i].tensor == tensor)
            return &t->params.table[i];
    return NULL;
}

static bool trained_has(void *ctx, size_t layer, enum nn_tensor tensor)
{
    return find_param(ctx, layer, tensor) != NULL;
}

static enum trawl_status trained_read(void *ctx, float *out, size_t layer, enum nn_tensor tensor, size_t begin,
                                      size_t end)
{
    const struct trainer *t = ctx;
    const struct nn_param *p = find_param(t, layer, tensor);
    if (!p)
        return fail(TRAWL_NOT_FOUND, "tensor %s of layer %zu is not among the parameters", nn_tensor_name(tensor),
                    layer);
    memcpy(out, t->params.values + p->offset + begin * p->cols, (end - begin) * p->cols * sizeof *out);
    return TRAWL_OK;
}

static enum trawl_status save_model(struct trainer *t)
{
    if (t->dev && t->state.best_step != t->state.step && file_exists(t->best_path))
        TRY(train_values_load(t->state.values, t->state.n, t->best_path, t->c->key));
    if (!t->c->full)
        return save_adapter(t);
    struct nn_source source = {.config = nn_train_config(t->train), .ctx = t, .has = trained_has, .read = trained_read};
    return model_save_folder(encoder_files(t->encoder), &source, t->model_path,
                             encoder_contract(t->encoder, ENCODER_DOCUMENT),
                             encoder_contract(t->encoder, ENCODER_QUERY));
}

static enum trawl_status run(struct trainer *t)
{
    TRY(open_all(t));
    TRY(train_all(t));
    TRY(report_write(t->report_path, t->metrics_path, t->c->configuration));
    TRY(save_model(t));
    t->result->steps = t->state.step;
    t->result->tokens = t->state.tokens;
    t->result->loss = t->state.loss;
    t->result->best_dev = t->state.best;
    t->result->best_step = t->state.best_step;
    t->result->seconds = t->state.seconds;
    return TRAWL_OK;
}

enum trawl_status train_run(const struct train_config *config, struct train_result *result)
{
    struct trainer *t = mem_array(1, sizeof *t);
    if (!t)
        return mem_status();
    t->c = config;
    t->result = result;
    *result = (struct train_result){0};
    enum trawl_status status = run(t);
    close_all(t);
    free(t);
    return status;
}
