/*
 * Layout: a head (magic, version, D, length of the key, key, checksum), then blocks (head of 96 bytes with its own
 * checksum, ids, rows). Numbers are little-endian; a block is good when both its checksums are.
 */
#include "part.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { VERSION = 1, SYNC_SECONDS = 2 };

struct file_head {
    char magic[8]; /* "TRAWLPRT" */
    uint32_t version, D;
    uint64_t key_bytes, checksum; /* of the key */
};
struct block_head {
    char magic[4]; /* "BLCK" */
    uint32_t n;
    uint64_t texts_low, texts_high;
    uint64_t tokens, cut, empty;
    uint64_t ids_bytes, rows_bytes;
    uint64_t ids_checksum, rows_checksum;
    uint64_t reserved;
    uint64_t checksum; /* of the head before it */
};
_Static_assert(sizeof(struct file_head) == 32 && sizeof(struct block_head) == 96, "layout of the file");

struct part {
    char *path; /* NULL: no name */
    int fd;
    size_t D;
    uint64_t first;     /* where blocks begin */
    uint64_t at, bytes; /* next block, end of the file */
    time_t synced;
};

void part_block_release(struct part_block *block)
{
    buf_release(&block->ids);
    buf_release(&block->rows);
}

static const char *shown_path(const struct part *p)
{
    return p->path ? p->path : "temporary file";
}

static time_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* False in *whole when the file ends before n bytes. */
static enum trawl_status read_at(const struct part *p, void *data, size_t n, uint64_t at, bool *whole)
{
    char *to = data;
    *whole = at <= p->bytes && n <= p->bytes - at;
    while (*whole && n) {
        ssize_t got = pread(p->fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno("cannot read '%s'", shown_path(p));
        *whole = got > 0;
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return TRAWL_OK;
}

static enum trawl_status write_at(const struct part *p, const void *data, size_t n, uint64_t at)
{
    const char *from = data;
    while (n) {
        ssize_t put = pwrite(p->fd, from, n, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail_errno("cannot write '%s' (what is encoded so far is kept: make room and run again)",
                              shown_path(p));
        from += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return TRAWL_OK;
}

static enum trawl_status set_length(struct part *p, uint64_t bytes)
{
    if (p->bytes != bytes && ftruncate(p->fd, (off_t)bytes))
        return fail_errno("cannot shorten '%s'", shown_path(p));
    p->bytes = bytes;
    return TRAWL_OK;
}

/* ---- opening ---- */

static enum trawl_status open_file(struct part *p)
{
    if (!p->path) {
        const char *folder = getenv("TMPDIR");
        char name[4096];
        snprintf(name, sizeof name, "%s/trawl-XXXXXX", folder && folder[0] ? folder : "/tmp");
        p->fd = mkstemp(name);
        if (p->fd < 0)
            return fail_errno("cannot make a temporary file in '%s'", folder && folder[0] ? folder : "/tmp");
        unlink(name);
        return TRAWL_OK;
    }
    p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (p->fd < 0)
        return fail_errno("cannot open '%s'", p->path);
    if (flock(p->fd, LOCK_EX | LOCK_NB))
        return errno == EWOULDBLOCK
                   ? fail(TRAWL_IO, "'%s' is being written by another process (wait for it, or name another output)",
                          p->path)
                   : fail_errno("cannot lock '%s'", p->path);
    struct stat st;
    if (fstat(p->fd, &st))
        return fail_errno("cannot examine '%s'", p->path);
    p->bytes = (uint64_t)st.st_size;
    return TRAWL_OK;
}

/* Whether the file begins with our head and this key; blank: whether it holds no block of anyone's. */
static enum trawl_status same_key(struct part *p, const struct file_head *wanted, const char *key, bool *same,
                                  bool *blank)
{
    struct file_head head;
    TRY(read_at(p, &head, sizeof head, 0, same));
    *blank = p->bytes == 0;
    if (*same && !memcmp(head.magic, wanted->magic, sizeof head.magic))
        *blank = p->bytes - sizeof head <= head.key_bytes;
    *same = *same && !memcmp(&head, wanted, sizeof head);
    if (!*same)
        return TRAWL_OK;
    char *there = mem_array(head.key_bytes, 1);
    if (!there)
        return mem_status();
    enum trawl_status status = read_at(p, there, head.key_bytes, sizeof head, same);
    *same = *same && !memcmp(there, key, head.key_bytes);
    free(there);
    return status;
}

static enum trawl_status read_head(struct part *p, const char *key)
{
    struct file_head head = {.magic = {'T', 'R', 'A', 'W', 'L', 'P', 'R', 'T'}, .version = VERSION};
    bool same = false, blank = true;
    head.D = (uint32_t)p->D;
    head.key_bytes = strlen(key);
    head.checksum = XXH3_64bits(key, head.key_bytes);
    p->first = p->at = sizeof head + head.key_bytes;
    TRY(same_key(p, &head, key, &same, &blank));
    if (same)
        return TRAWL_OK;
    if (!blank)
        log_warn("'%s' is from another model, contract, precision or way of reading: encoding starts afresh",
                 shown_path(p));
    TRY(set_length(p, 0));
    TRY(write_at(p, &head, sizeof head, 0));
    TRY(write_at(p, key, head.key_bytes, sizeof head));
    p->bytes = p->first;
    return TRAWL_OK;
}

enum trawl_status part_open(struct part **out, const char *path, const char *key, size_t D)
{
    enum trawl_status status;
    *out = NULL;
    struct part *p = mem_array(1, sizeof *p);
    if (!p)
        return mem_status();
    p->fd = -1;
    p->D = D;
    p->synced = now();
    p->path = path ? mem_text(path, strlen(path)) : NULL;
    if (path && !p->path) {
        status = mem_status();
        goto out;
    }
    TRY_OUT(open_file(p));
    TRY_OUT(read_head(p, key));
    *out = p;
    p = NULL;
out:
    part_close(p);
    return status;
}

void part_close(struct part *p)
{
    if (!p)
        return;
    if (p->fd >= 0)
        close(p->fd);
    free(p->path);
    free(p);
}

void part_remove(struct part *p)
{
    if (p && p->path)
        unlink(p->path);
    part_close(p);
}

/* ---- blocks ---- */

/* Head of the block at p->at, checked against its checksum and the file's length. */
static enum trawl_status block_at(struct part *p, struct block_head *head, bool *good)
{
    TRY(read_at(p, head, sizeof *head, p->at, good));
    if (!*good)
        return TRAWL_OK;
    uint64_t left = p->bytes - p->at - sizeof *head;
    *good = !memcmp(head->magic, "BLCK", 4) &&
            head->checksum == XXH3_64bits(head, offsetof(struct block_head, checksum)) && head->ids_bytes <= left &&
            head->rows_bytes <= left - head->ids_bytes && head->n > 0 &&
            head->rows_bytes == (uint64_t)head->n * p->D * sizeof(float);
    return TRAWL_OK;
}

static enum trawl_status read_into(struct part *p, struct buf *out, size_t n, uint64_t at, uint64_t checksum,
                                   bool *good)
{
    buf_reset(out);
    TRY(buf_reserve(out, n));
    TRY(read_at(p, out->data, n, at, good));
    out->n = n;
    out->data[n] = '\0';
    *good = *good && XXH3_64bits(out->data, n) == checksum;
    return TRAWL_OK;
}

enum trawl_status part_peek(struct part *p, size_t *n, struct part_hash *texts)
{
    struct block_head head = {0};
    bool good;
    TRY(block_at(p, &head, &good));
    *n = good ? head.n : 0;
    *texts = (struct part_hash){head.texts_low, head.texts_high};
    return TRAWL_OK;
}

enum trawl_status part_next(struct part *p, struct part_block *block, bool *found)
{
    struct block_head head;
    TRY(block_at(p, &head, found));
    uint64_t at = p->at + sizeof head;
    if (*found)
        TRY(read_into(p, &block->ids, head.ids_bytes, at, head.ids_checksum, found));
    if (*found)
        TRY(read_into(p, &block->rows, head.rows_bytes, at + head.ids_bytes, head.rows_checksum, found));
    if (!*found)
        return TRAWL_OK;
    block->n = head.n;
    block->texts = (struct part_hash){head.texts_low, head.texts_high};
    block->tokens = head.tokens;
    block->cut = head.cut;
    block->empty = head.empty;
    p->at = at + head.ids_bytes + head.rows_bytes;
    return TRAWL_OK;
}

enum trawl_status part_cut(struct part *p)
{
    return set_length(p, p->at);
}

static enum trawl_status sync_now(struct part *p)
{
    p->synced = now();
    if (p->path && fdatasync(p->fd))
        return fail_errno("cannot write '%s' to disk", p->path);
    return TRAWL_OK;
}

enum trawl_status part_append(struct part *p, const struct part_block *block)
{
    struct block_head head = {.magic = {'B', 'L', 'C', 'K'},
                              .n = (uint32_t)block->n,
                              .texts_low = block->texts.low,
                              .texts_high = block->texts.high,
                              .tokens = block->tokens,
                              .cut = block->cut,
                              .empty = block->empty,
                              .ids_bytes = block->ids.n,
                              .rows_bytes = block->rows.n,
                              .ids_checksum = XXH3_64bits(block->ids.data, block->ids.n),
                              .rows_checksum = XXH3_64bits(block->rows.data, block->rows.n)};
    head.checksum = XXH3_64bits(&head, offsetof(struct block_head, checksum));
    uint64_t at = p->at + sizeof head;
    TRY(part_cut(p));
    enum trawl_status status = write_at(p, &head, sizeof head, p->at);
    if (status == TRAWL_OK)
        status = write_at(p, block->ids.data, block->ids.n, at);
    if (status == TRAWL_OK)
        status = write_at(p, block->rows.data, block->rows.n, at + block->ids.n);
    p->bytes = at + block->ids.n + block->rows.n;
    if (status != TRAWL_OK) {
        p->bytes = UINT64_MAX; /* however much was written */
        return set_length(p, p->at) == TRAWL_OK ? status : TRAWL_IO;
    }
    p->at = p->bytes;
    return now() - p->synced >= SYNC_SECONDS ? sync_now(p) : TRAWL_OK;
}

enum trawl_status part_rewind(struct part *p)
{
    p->at = p->first;
    return sync_now(p);
}
