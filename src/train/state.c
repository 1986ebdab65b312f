#include "state.h"
#include "base/json.h"
#include "base/pack.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KIND "TRCK"
enum { VERSION = 1 };

static enum trawl_status add_numbers(struct pack_writer *w, const struct train_state *s)
{
    /* doubles as their bits: nothing is lost */
    uint64_t numbers[12] = {s->step, s->place.epoch, s->place.position};
    const double reals[] = {s->log_tau, s->tau_m, s->tau_v, s->best, s->seconds, s->loss};
    memcpy(numbers + 3, reals, sizeof reals);
    numbers[9] = s->best_step;
    numbers[10] = s->evaluations_since_best;
    numbers[11] = s->tokens;
    return pack_add(w, "state", numbers, sizeof numbers);
}

static enum trawl_status add_all(struct pack_writer *w, const struct train_state *s, const char *key)
{
    size_t bytes = s->n * sizeof(float);
    TRY(pack_add(w, "key", key, strlen(key)));
    TRY(add_numbers(w, s));
    TRY(pack_add(w, "values", s->values, bytes));
    TRY(pack_add(w, "m", s->m, bytes));
    return pack_add(w, "v", s->v, bytes);
}

static enum trawl_status commit(struct pack_writer *w, enum trawl_status status)
{
    if (!status)
        return pack_commit(&w);
    pack_abort(&w);
    return status;
}

enum trawl_status train_state_save(const struct train_state *s, const char *path, const char *key)
{
    struct pack_writer *w;
    TRY(pack_create(&w, path, KIND, VERSION));
    return commit(w, add_all(w, s, key));
}

enum trawl_status train_values_save(const float *values, size_t n, const char *path, const char *key)
{
    struct pack_writer *w;
    TRY(pack_create(&w, path, KIND, VERSION));
    enum trawl_status status = pack_add(w, "key", key, strlen(key));
    if (!status)
        status = pack_add(w, "values", values, n * sizeof *values);
    return commit(w, status);
}

static enum trawl_status check_key(struct pack *p, const char *key)
{
    const void *data;
    size_t n;
    TRY(pack_chunk(p, "key", &data, &n));
    if (n != strlen(key) || memcmp(data, key, n) != 0)
        return fail(TRAWL_MISMATCH, "'%s' is a checkpoint of another configuration:\n  it has  %.*s\n  this is %s",
                    pack_path(p), (int)(n < 1500 ? n : 1500), (const char *)data, key);
    return TRAWL_OK;
}

static enum trawl_status load_floats(float *out, size_t n, struct pack *p, const char *name)
{
    const void *data;
    size_t bytes;
    TRY(pack_chunk(p, name, &data, &bytes));
    if (bytes != n * sizeof *out)
        return fail(TRAWL_MISMATCH, "'%s' holds %zu numbers of '%s', the model has %zu", pack_path(p),
                    bytes / sizeof *out, name, n);
    memcpy(out, data, bytes);
    return TRAWL_OK;
}

static enum trawl_status load_numbers(struct train_state *s, struct pack *p)
{
    const void *data;
    size_t bytes;
    uint64_t numbers[12];
    double reals[6];
    TRY(pack_chunk(p, "state", &data, &bytes));
    if (bytes != sizeof numbers)
        return fail(TRAWL_CORRUPT, "'%s': its state has %zu bytes", pack_path(p), bytes);
    memcpy(numbers, data, bytes);
    memcpy(reals, numbers + 3, sizeof reals);
    s->step = numbers[0];
    s->place = (struct batch_place){(uint32_t)numbers[1], (size_t)numbers[2]};
    s->log_tau = reals[0];
    s->tau_m = reals[1];
    s->tau_v = reals[2];
    s->best = reals[3];
    s->seconds = reals[4];
    s->loss = reals[5];
    s->best_step = numbers[9];
    s->evaluations_since_best = numbers[10];
    s->tokens = numbers[11];
    return TRAWL_OK;
}

enum trawl_status train_state_load(struct train_state *s, const char *path, const char *key)
{
    struct pack *p;
    TRY(pack_open(&p, path, KIND, VERSION));
    enum trawl_status status = check_key(p, key);
    if (!status)
        status = load_floats(s->values, s->n, p, "values");
    if (!status)
        status = load_floats(s->m, s->n, p, "m");
    if (!status)
        status = load_floats(s->v, s->n, p, "v");
    if (!status)
        status = load_numbers(s, p);
    pack_close(p);
    return status;
}

enum trawl_status train_values_load(float *values, size_t n, const char *path, const char *key)
{
    struct pack *p;
    TRY(pack_open(&p, path, KIND, VERSION));
    enum trawl_status status = check_key(p, key);
    if (!status)
        status = load_floats(values, n, p, "values");
    pack_close(p);
    return status;
}
