/*
 * The journal: what a teacher's ranking left of every query, in blocks of MINE_BLOCK queries with a checksum each. A
 * block is written at once; one that a crash left half written, or that does not match its checksum, is cut off, and
 * the work goes on there. The file is the machine's own, never carried elsewhere: numbers are as in memory.
 *
 *   file:  blocks        block: struct head, then the records of its queries
 *   record: anchor (double), counts (uint32: positives, raw, kept by each rule), positives (float), candidates
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "mine_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct head {
    uint64_t magic, bytes, n_queries, sum;
};
static const uint64_t MAGIC = 0x314c4e4a4e494d54;

struct mine_journal {
    int fd;
    const struct mine_plan *plan;
    struct mine_teacher *teacher;
    struct mine_plan own_plan;
    struct buf block, record;
    struct mine_candidate *candidates; /* of the record last read */
    size_t candidates_cap;
    struct file_map map;
    size_t at, left; /* in the map; queries left in the block under way */
    struct progress progress;
    size_t begin, n; /* queries of the block being ranked */
};

/* ---- writing ---- */

static enum trawl_status append_candidates(struct buf *out, const struct mine_query *query, const struct topk_hit *hits,
                                           size_t n)
{
    for (size_t i = 0; i < n; i++) {
        /* the first bit says: excluded; there are less than 2^31 documents */
        uint32_t index = hits[i].id | (mine_is_excluded(query, hits[i].id) ? 1u << 31 : 0);
        TRY(buf_append(out, &index, sizeof index));
        TRY(buf_append(out, &hits[i].score, sizeof hits[i].score));
    }
    return TRAWL_OK;
}

/* What a shift leaves of the raw ranking, moved to the front of it; the number of candidates. */
static size_t shifted(struct topk_hit *out, const struct collector *c, const struct mine_rule_options *rule)
{
    size_t kept = 0;
    for (size_t i = rule->shift; i < c->raw.n && kept < c->plan->keep; i++)
        if (!mine_is_excluded(c->query, c->raw.heap[i].id))
            out[kept++] = c->raw.heap[i];
    return kept;
}

static enum trawl_status append_record(struct buf *out, const struct collector *c, struct topk_hit *scratch)
{
    const struct mine_plan *plan = c->plan;
    uint32_t counts[2 + MINE_RULES] = {(uint32_t)c->query->n_positives, 0};
    counts[1] = (uint32_t)(c->raw.n < plan->depth ? c->raw.n : plan->depth);
    const struct topk_hit *kept[MINE_RULES] = {NULL};
    for (size_t r = 0; r < plan->n_rules; r++) {
        bool shift = plan->rules[r].rule == MINE_SHIFTED;
        kept[r] = shift ? scratch : c->kept[r].heap;
        counts[2 + r] = (uint32_t)(shift ? shifted(scratch, c, &plan->rules[r]) : c->kept[r].n);
    }
    TRY(buf_append(out, &c->anchor, sizeof c->anchor));
    TRY(buf_append(out, counts, (2 + plan->n_rules) * sizeof *counts));
    TRY(buf_append(out, c->positives, c->query->n_positives * sizeof *c->positives));
    TRY(append_candidates(out, c->query, c->raw.heap, counts[1]));
    for (size_t r = 0; r < plan->n_rules; r++)
        TRY(append_candidates(out, c->query, kept[r], counts[2 + r]));
    return TRAWL_OK;
}

static void sort_all(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct collector *collectors = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        collector_sort(&collectors[i]);
}

static enum trawl_status write_block(struct mine_journal *j)
{
    struct head head = {MAGIC, j->block.n - sizeof head, j->n, 0};
    head.sum = XXH3_64bits_withSeed(j->block.data + sizeof head, head.bytes, head.n_queries);
    memcpy(j->block.data, &head, sizeof head);
    for (size_t at = 0; at < j->block.n;) {
        ssize_t n = write(j->fd, j->block.data + at, j->block.n - at);
        if (n < 0 && errno != EINTR)
            return fail_errno("cannot write the candidates of '%s'", j->teacher->name);
        at += n > 0 ? (size_t)n : 0;
    }
    return TRAWL_OK;
}

static void step(void *ctx, double share)
{
    struct mine_journal *j = ctx;
    progress_set(&j->progress, j->begin + (uint64_t)((double)j->n * share));
}

static enum trawl_status rank_block(struct mine_journal *j, struct collector *collectors)
{
    static const struct head none;
    struct topk_hit *scratch = mem_array(j->plan->keep, sizeof *scratch);
    enum trawl_status status = scratch ? TRAWL_OK : mem_status();
    for (size_t i = 0; i < j->n && status == TRAWL_OK; i++)
        status = collector_init(&collectors[i], &j->teacher->set->items[j->begin + i], j->plan);
    if (status == TRAWL_OK)
        status = j->teacher->rank(j->teacher, collectors, j->begin, j->n, step, j);
    pool_run(status == TRAWL_OK ? j->n : 0, 16, sort_all, collectors);
    buf_reset(&j->block);
    if (status == TRAWL_OK)
        status = buf_append(&j->block, &none, sizeof none);
    for (size_t i = 0; i < j->n && status == TRAWL_OK; i++)
        status = append_record(&j->block, &collectors[i], scratch);
    for (size_t i = 0; i < j->n; i++)
        collector_release(&collectors[i]);
    free(scratch);
    return status == TRAWL_OK ? write_block(j) : status;
}

static enum trawl_status rank_rest(struct mine_journal *j, size_t done)
{
    struct buf what = {0};
    size_t n = j->teacher->set->n;
    struct collector *collectors = mem_array(MINE_BLOCK, sizeof *collectors);
    enum trawl_status status = collectors ? buf_printf(&what, "ranking by %s", j->teacher->name) : mem_status();
    if (status == TRAWL_OK) {
        progress_begin(&j->progress, what.data, n, "queries");
        for (j->begin = done; j->begin < n && status == TRAWL_OK; j->begin += j->n) {
            j->n = n - j->begin < MINE_BLOCK ? n - j->begin : MINE_BLOCK;
            memset(collectors, 0, MINE_BLOCK * sizeof *collectors);
            status = rank_block(j, collectors);
        }
        progress_end(&j->progress);
    }
    buf_release(&what);
    free(collectors);
    return status;
}

/* ---- opening ---- */

/* Queries that stand in good blocks; what comes after them is cut off. */
static enum trawl_status recover(struct mine_journal *j, size_t *done)
{
    char path[64];
    struct file_map map;
    struct head head;
    size_t at = 0;
    *done = 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", j->fd);
    TRY(file_map_open(&map, path));
    while (map.bytes - at >= sizeof head) {
        memcpy(&head, map.data + at, sizeof head);
        if (head.magic != MAGIC || head.bytes > map.bytes - at - sizeof head || head.n_queries > MINE_BLOCK ||
            head.sum != XXH3_64bits_withSeed(map.data + at + sizeof head, head.bytes, head.n_queries))
            break;
        at += sizeof head + head.bytes;
        *done += head.n_queries;
    }
    file_map_close(&map);
    if (ftruncate(j->fd, (off_t)at) || lseek(j->fd, 0, SEEK_END) < 0)
        return fail_errno("cannot continue the candidates of '%s'", j->teacher->name);
    return TRAWL_OK;
}

static int open_nameless(void)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/trawl-mine-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

enum trawl_status mine_journal_make(struct mine_journal **out, const char *path, struct mine_teacher *t,
                                    const struct mine_plan *plan, size_t *n_resumed)
{
    enum trawl_status status;
    char mapped[64];
    struct mine_journal *j = mem_array(1, sizeof *j);
    *out = NULL;
    if (!j)
        return mem_status();
    j->teacher = t;
    j->own_plan = *plan;
    j->plan = &j->own_plan;
    j->fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : open_nameless();
    if (j->fd < 0) {
        status = fail_errno("cannot write '%s'", path ? path : "a scratch file");
        goto out;
    }
    if (flock(j->fd, LOCK_EX | LOCK_NB)) {
        status = fail(TRAWL_IO, "'%s' is in use by another process", path ? path : "a scratch file");
        goto out;
    }
    TRY_OUT(recover(j, n_resumed));
    TRY_OUT(rank_rest(j, *n_resumed));
    snprintf(mapped, sizeof mapped, "/proc/self/fd/%d", j->fd);
    TRY_OUT(file_map_open(&j->map, mapped));
    *out = j;
    return TRAWL_OK;
out:
    mine_journal_close(j);
    return status;
}

void mine_journal_close(struct mine_journal *j)
{
    if (!j)
        return;
    file_map_close(&j->map);
    if (j->fd >= 0)
        close(j->fd);
    buf_release(&j->block);
    buf_release(&j->record);
    free(j->candidates);
    free(j);
}

/* ---- reading ---- */

void mine_journal_rewind(struct mine_journal *j)
{
    j->at = j->left = 0;
}

/* The next n bytes; the blocks were checked or just written, so they are there. */
static enum trawl_status take(struct mine_journal *j, void *out, size_t n)
{
    if (n > j->map.bytes - j->at)
        return fail(TRAWL_CORRUPT, "the candidates of '%s' end early", j->teacher->name);
    if (n)
        memcpy(out, j->map.data + j->at, n);
    j->at += n;
    return TRAWL_OK;
}

static enum trawl_status take_candidates(struct mine_journal *j, struct mine_candidate *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t index = 0;
        TRY(take(j, &index, sizeof index));
        TRY(take(j, &out[i].score, sizeof out[i].score));
        out[i].excluded = index >> 31;
        out[i].index = index & INT32_MAX;
    }
    return TRAWL_OK;
}

enum trawl_status mine_journal_next(struct mine_journal *j, struct mine_found *found)
{
    uint32_t counts[2 + MINE_RULES] = {0};
    struct head head;
    size_t n_rules = j->plan->n_rules, total = 0, at = 0;
    if (!j->left) {
        TRY(take(j, &head, sizeof head));
        j->left = head.n_queries;
    }
    j->left--;
    *found = (struct mine_found){0};
    TRY(take(j, &found->anchor, sizeof found->anchor));
    TRY(take(j, counts, (2 + n_rules) * sizeof *counts));
    for (size_t i = 1; i < 2 + n_rules; i++)
        total += counts[i];
    TRY(mem_grow((void **)&j->candidates, &j->candidates_cap, total + 1, sizeof *j->candidates));
    buf_reset(&j->record);
    TRY(buf_reserve(&j->record, counts[0] * sizeof(float)));
    TRY(take(j, j->record.data, counts[0] * sizeof(float)));
    found->n_positives = counts[0];
    found->positives = (const float *)(const void *)j->record.data;
    TRY(take_candidates(j, j->candidates, total));
    found->raw = j->candidates;
    found->n_raw = counts[1];
    at = counts[1];
    for (size_t r = 0; r < n_rules; r++) {
        found->kept[r] = j->candidates + at;
        found->n_kept[r] = counts[2 + r];
        at += counts[2 + r];
    }
    return TRAWL_OK;
}
