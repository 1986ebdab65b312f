/*
 * Fingerprints of files' content: xxh3-64 over the xxh3-64 of 4 MiB blocks, which threads hash apart. A small file in
 * the cache folder remembers them by path, size and time of change; it is only ever a shortcut: lines that do not parse
 * are skipped, and a failure to write it is no failure.
 */
#include "model_int.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <xxhash.h>

enum { BLOCK = 4 << 20, CACHE_BYTES_MAX = 1 << 20, CACHE_LINES_MAX = 1000 };
/* A file changed this recently may change again within one tick of the clock: it is not remembered. */
#define SETTLED_NS 2000000000LL

struct hashing {
    const unsigned char *data;
    size_t bytes;
    uint64_t *hashes;
};

static void hash_blocks(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct hashing *h = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        size_t at = i * BLOCK, n = h->bytes - at < BLOCK ? h->bytes - at : BLOCK;
        h->hashes[i] = XXH3_64bits(h->data + at, n);
    }
}

static enum trawl_status hash_content(uint64_t *hash, const char *path)
{
    struct file_map map;
    TRY(file_map_open(&map, path));
    size_t n = (map.bytes + BLOCK - 1) / BLOCK;
    struct hashing h = {.data = map.data, .bytes = map.bytes, .hashes = mem_array(n + 1, sizeof(uint64_t))};
    enum trawl_status status = h.hashes ? TRAWL_OK : mem_status();
    if (!status) {
        pool_run(n, 1, hash_blocks, &h);
        h.hashes[n] = map.bytes;
        *hash = XXH3_64bits(h.hashes, (n + 1) * sizeof *h.hashes);
    }
    free(h.hashes);
    file_map_close(&map);
    return status;
}

static char *cache_path(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    struct buf path = {0};
    enum trawl_status status = cache && *cache ? buf_printf(&path, "%s/trawl", cache)
                               : home && *home ? buf_printf(&path, "%s/.cache/trawl", home)
                                               : TRAWL_NOT_FOUND;
    if (!status)
        status = file_make_folder(path.data);
    if (!status)
        status = buf_text(&path, "/fingerprints.tsv");
    if (!status)
        return path.data;
    buf_release(&path);
    return NULL;
}

/* What identifies an unchanged file, as the start of its line. */
static enum trawl_status line_key(struct buf *key, const char *path, const struct stat *st)
{
    char full[PATH_MAX];
    const char *shown = realpath(path, full) ? full : path;
    return buf_printf(key, "%s\t%lld\t%lld.%09ld\t%lld\t", shown, (long long)st->st_size, (long long)st->st_mtim.tv_sec,
                      st->st_mtim.tv_nsec, (long long)st->st_ino);
}

static bool look_up(uint64_t *hash, const struct buf *cache, const struct buf *key)
{
    const char *line = cache->data;
    for (const char *end; line && *line && (end = strchr(line, '\n')); line = end + 1) {
        char *stop;
        if ((size_t)(end - line) != key->n + 16 || memcmp(line, key->data, key->n) != 0)
            continue;
        errno = 0;
        *hash = strtoull(line + key->n, &stop, 16);
        if (stop == end && !errno)
            return true;
    }
    return false;
}

/* The old lines but those of the same file, then the new one; as a whole or not at all. */
static void remember(const char *path, const struct buf *cache, const struct buf *key, uint64_t hash)
{
    struct file_writer w;
    size_t name = (size_t)(strchr(key->data, '\t') - key->data) + 1, n_lines = 0;
    if (file_writer_open(&w, path))
        return;
    enum trawl_status status = TRAWL_OK;
    const char *line = cache->data;
    for (const char *end; line && *line && (end = strchr(line, '\n')); line = end + 1) {
        bool same = (size_t)(end - line) > name && !memcmp(line, key->data, name);
        if (!same && ++n_lines < CACHE_LINES_MAX && !status)
            status = file_write(&w, line, (size_t)(end - line) + 1);
    }
    if (!status)
        status = file_printf(&w, "%s%016" PRIx64 "\n", key->data, hash);
    if (status || file_writer_commit(&w))
        file_writer_abort(&w);
}

static bool settled(const struct stat *st)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return false;
    long long age = (long long)(now.tv_sec - st->st_mtim.tv_sec) * 1000000000LL + (now.tv_nsec - st->st_mtim.tv_nsec);
    return age > SETTLED_NS;
}

enum trawl_status fingerprint_file(uint64_t *hash, const char *path)
{
    struct stat st;
    struct buf cache = {0}, key = {0};
    enum trawl_status status = TRAWL_OK;
    if (stat(path, &st))
        return fail_errno("cannot read '%s'", path);
    char *cached = cache_path();
    TRY_OUT(line_key(&key, path, &st));
    if (strchr(key.data, '\n')) { /* a name that would break the lines */
        free(cached);
        cached = NULL;
    }
    if (cached && file_exists(cached) && file_read(&cache, cached, CACHE_BYTES_MAX))
        buf_reset(&cache);
    if (cached && look_up(hash, &cache, &key))
        goto out;
    TRY_OUT(hash_content(hash, path));
    if (cached && settled(&st))
        remember(cached, &cache, &key, *hash);
out:
    free(cached);
    buf_release(&cache);
    buf_release(&key);
    return status;
}
