/*
 * Head, chunks, table of contents, tail: docs/formats/pack.md has the layout. The table stands behind the chunks, so a
 * file is written from front to back in one go and its sizes need not be known before.
 *
 * A reader checks head, tail and table when it opens the file; these hold checksums of themselves, and the table holds
 * one for every block before it. A block is hashed when it is first asked for. Two threads may hash the same block at
 * once; both find the same, and the mark is only ever set.
 */
#include "pack.h"
#include "mem.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "packs are little-endian and used in place"
#endif

enum { BLOCK = 1 << 18, ALIGN = 64, NAME_ROOM = 64, CONTAINER_VERSION = 1 };

struct head {
    char magic[8];
    uint32_t container;
    char kind[4];
    uint32_t version;
    unsigned char zero[36];
    uint64_t hash; /* of the bytes before it */
};
struct tail {
    uint64_t table_offset, table_bytes, file_bytes, table_hash;
    unsigned char zero[16];
    char magic[8];
    uint64_t hash; /* of the bytes before it */
};
/* The table: this, n_chunks entries, then n_blocks hashes of 8 bytes. */
struct table {
    uint64_t n_chunks, n_blocks;
};
struct entry {
    char name[NAME_ROOM]; /* NUL-padded */
    uint64_t offset, bytes;
};
_Static_assert(sizeof(struct head) == 64 && sizeof(struct tail) == 64 && sizeof(struct entry) == 80, "no gaps");

static const char head_magic[8] = "TRAWLPAK", tail_magic[8] = "TRAWLEND";

/* ---- writing ---- */

struct pack_writer {
    struct file_writer file;
    struct entry *entries;
    size_t n_entries, entries_cap;
    uint64_t *hashes;
    size_t n_hashes, hashes_cap;
    XXH3_state_t *block; /* of the block being filled */
    size_t in_block;
    bool in_chunk;
};

static enum trawl_status end_block(struct pack_writer *w)
{
    TRY(mem_grow((void **)&w->hashes, &w->hashes_cap, w->n_hashes + 1, sizeof *w->hashes));
    w->hashes[w->n_hashes++] = XXH3_64bits_digest(w->block);
    XXH3_64bits_reset(w->block);
    w->in_block = 0;
    return TRAWL_OK;
}

/* Writes bytes that belong to a block. */
static enum trawl_status put(struct pack_writer *w, const void *data, size_t n)
{
    const unsigned char *bytes = data;
    TRY(file_write(&w->file, data, n));
    while (n) {
        size_t step = BLOCK - w->in_block < n ? BLOCK - w->in_block : n;
        XXH3_64bits_update(w->block, bytes, step);
        bytes += step;
        n -= step;
        w->in_block += step;
        if (w->in_block == BLOCK)
            TRY(end_block(w));
    }
    return TRAWL_OK;
}

static enum trawl_status align(struct pack_writer *w)
{
    static const unsigned char zeros[ALIGN];
    return put(w, zeros, (size_t)(-w->file.offset % ALIGN));
}

enum trawl_status pack_create(struct pack_writer **out, const char *path, const char *kind, uint32_t version)
{
    enum trawl_status status = TRAWL_OK;
    struct head head = {.container = CONTAINER_VERSION, .version = version};
    assert(strlen(kind) == sizeof head.kind);
    *out = mem_array(1, sizeof **out);
    if (!*out)
        return mem_status();
    (*out)->file.fd = -1;
    (*out)->block = XXH3_createState();
    if (!(*out)->block) {
        status = fail(TRAWL_NOMEM, "no memory for a checksum");
        goto out;
    }
    XXH3_64bits_reset((*out)->block);
    TRY_OUT(file_writer_open(&(*out)->file, path));
    memcpy(head.magic, head_magic, sizeof head.magic);
    memcpy(head.kind, kind, sizeof head.kind);
    head.hash = XXH3_64bits(&head, offsetof(struct head, hash));
    TRY_OUT(put(*out, &head, sizeof head));
out:
    if (status)
        pack_abort(out);
    return status;
}

enum trawl_status pack_chunk_begin(struct pack_writer *w, const char *name)
{
    size_t n = strlen(name);
    assert(!w->in_chunk);
    if (!n || n >= NAME_ROOM)
        return fail(TRAWL_USAGE, "'%s': a chunk's name has 1 to %d bytes: '%s'", w->file.path, NAME_ROOM - 1, name);
    for (size_t i = 0; i < w->n_entries; i++)
        if (!strcmp(w->entries[i].name, name))
            return fail(TRAWL_USAGE, "'%s': two chunks of the name '%s'", w->file.path, name);
    TRY(align(w));
    TRY(mem_grow((void **)&w->entries, &w->entries_cap, w->n_entries + 1, sizeof *w->entries));
    struct entry *entry = &w->entries[w->n_entries++];
    *entry = (struct entry){.offset = w->file.offset};
    memcpy(entry->name, name, n);
    w->in_chunk = true;
    return TRAWL_OK;
}

enum trawl_status pack_write(struct pack_writer *w, const void *data, size_t n)
{
    assert(w->in_chunk);
    return put(w, data, n);
}

enum trawl_status pack_chunk_end(struct pack_writer *w)
{
    assert(w->in_chunk);
    w->entries[w->n_entries - 1].bytes = w->file.offset - w->entries[w->n_entries - 1].offset;
    w->in_chunk = false;
    return TRAWL_OK;
}

enum trawl_status pack_add(struct pack_writer *w, const char *name, const void *data, size_t n)
{
    TRY(pack_chunk_begin(w, name));
    TRY(pack_write(w, data, n));
    return pack_chunk_end(w);
}

/* A part of the table: hashed for the tail. */
static enum trawl_status put_table(struct pack_writer *w, struct tail *tail, const void *data, size_t n)
{
    if (n)
        XXH3_64bits_update(w->block, data, n);
    tail->table_bytes += n;
    return file_write(&w->file, data, n);
}

static enum trawl_status finish(struct pack_writer *w)
{
    assert(!w->in_chunk);
    TRY(align(w));
    if (w->in_block)
        TRY(end_block(w));
    struct tail tail = {.table_offset = w->file.offset};
    struct table table = {.n_chunks = w->n_entries, .n_blocks = w->n_hashes};
    TRY(put_table(w, &tail, &table, sizeof table));
    TRY(put_table(w, &tail, w->entries, w->n_entries * sizeof *w->entries));
    TRY(put_table(w, &tail, w->hashes, w->n_hashes * sizeof *w->hashes));
    tail.table_hash = XXH3_64bits_digest(w->block);
    tail.file_bytes = w->file.offset + sizeof tail;
    memcpy(tail.magic, tail_magic, sizeof tail.magic);
    tail.hash = XXH3_64bits(&tail, offsetof(struct tail, hash));
    TRY(file_write(&w->file, &tail, sizeof tail));
    return file_writer_commit(&w->file);
}

enum trawl_status pack_commit(struct pack_writer **w)
{
    enum trawl_status status = finish(*w);
    pack_abort(w); /* after a commit the file is closed and nothing is left to remove */
    return status;
}

void pack_abort(struct pack_writer **w)
{
    if (!w || !*w)
        return;
    file_writer_abort(&(*w)->file);
    XXH3_freeState((*w)->block);
    free((*w)->entries);
    free((*w)->hashes);
    free(*w);
    *w = NULL;
}

/* ---- reading ---- */

struct pack {
    char *path;
    struct file_map map;
    struct head head;
    const struct entry *entries;
    size_t n_entries;
    const unsigned char *hashes; /* (n_blocks) of 8 bytes each, at any alignment */
    size_t n_blocks;
    uint64_t data_bytes; /* bytes that blocks cover */
    _Atomic unsigned char *verified;
};

static enum trawl_status altered(const char *path, const char *what)
{
    return fail(TRAWL_CORRUPT, "'%s': %s (the file was altered or cut short; make it again)", path, what);
}

static enum trawl_status check_head(const struct head *head, const char *path)
{
    if (memcmp(head->magic, head_magic, sizeof head->magic) != 0)
        return fail(TRAWL_FORMAT, "'%s' is no file of Trawl's: it does not begin with %.8s", path, head_magic);
    if (head->hash != XXH3_64bits(head, offsetof(struct head, hash)))
        return altered(path, "the checksum of the head is wrong");
    if (head->container != CONTAINER_VERSION)
        return fail(TRAWL_UNSUPPORTED, "'%s': container version %u, this program reads %d (use a newer trawl)", path,
                    head->container, CONTAINER_VERSION);
    return TRAWL_OK;
}

static enum trawl_status check_kind(const struct head *head, const char *path, const char *kind, uint32_t max_version)
{
    if (memcmp(head->kind, kind, sizeof head->kind) != 0)
        return fail(TRAWL_FORMAT, "'%s' holds '%.4s', expected '%s' ('trawl inspect' tells what it is)", path,
                    head->kind, kind);
    if (head->version > max_version)
        return fail(TRAWL_UNSUPPORTED,
                    "'%s': format %u of '%s', this program reads up to %u (use a newer trawl, or make the file again)",
                    path, head->version, kind, max_version);
    return TRAWL_OK;
}

/* Tail and table as a whole: sizes that fit the file, and their checksums. */
static enum trawl_status check_tail(struct pack *p, struct tail *tail)
{
    memcpy(tail, p->map.data + p->map.bytes - sizeof *tail, sizeof *tail);
    if (memcmp(tail->magic, tail_magic, sizeof tail->magic) != 0)
        return altered(p->path, "it does not end as it should");
    if (tail->hash != XXH3_64bits(tail, offsetof(struct tail, hash)))
        return altered(p->path, "the checksum of the tail is wrong");
    if (tail->file_bytes != p->map.bytes || tail->table_offset % ALIGN || tail->table_offset < sizeof(struct head) ||
        tail->table_offset > p->map.bytes - sizeof *tail ||
        tail->table_bytes != p->map.bytes - sizeof *tail - tail->table_offset ||
        tail->table_bytes < sizeof(struct table))
        return altered(p->path, "its sizes do not agree");
    if (tail->table_hash != XXH3_64bits(p->map.data + tail->table_offset, (size_t)tail->table_bytes))
        return altered(p->path, "the checksum of the table of contents is wrong");
    return TRAWL_OK;
}

static enum trawl_status check_table(struct pack *p, const struct tail *tail)
{
    struct table table;
    memcpy(&table, p->map.data + tail->table_offset, sizeof table);
    uint64_t room = tail->table_bytes - sizeof table, blocks = (tail->table_offset + BLOCK - 1) / BLOCK;
    if (table.n_blocks != blocks || table.n_blocks > room / sizeof(uint64_t) ||
        (room - table.n_blocks * sizeof(uint64_t)) % sizeof(struct entry) ||
        table.n_chunks != (room - table.n_blocks * sizeof(uint64_t)) / sizeof(struct entry))
        return altered(p->path, "the table of contents does not fit the file");
    p->entries = (const struct entry *)(const void *)(p->map.data + tail->table_offset + sizeof table);
    p->n_entries = (size_t)table.n_chunks;
    p->hashes = p->map.data + tail->table_offset + sizeof table + p->n_entries * sizeof *p->entries;
    p->n_blocks = (size_t)table.n_blocks;
    p->data_bytes = tail->table_offset;
    uint64_t end = sizeof(struct head);
    for (size_t i = 0; i < p->n_entries; i++) {
        const struct entry *e = &p->entries[i];
        if (!e->name[0] || e->name[NAME_ROOM - 1] || e->offset % ALIGN || e->offset < end ||
            e->offset > p->data_bytes || e->bytes > p->data_bytes - e->offset)
            return altered(p->path, "a row of the table of contents is impossible");
        end = e->offset + e->bytes;
    }
    return TRAWL_OK;
}

enum trawl_status pack_open(struct pack **out, const char *path, const char *kind, uint32_t max_version)
{
    enum trawl_status status = TRAWL_OK;
    struct tail tail;
    *out = NULL;
    struct pack *p = mem_array(1, sizeof *p);
    if (!p)
        return mem_status();
    p->path = mem_text(path, strlen(path));
    if (!p->path) {
        status = mem_status();
        goto out;
    }
    TRY_OUT(file_map_open(&p->map, path));
    if (p->map.bytes < sizeof p->head) {
        status = fail(TRAWL_CORRUPT, "'%s': %zu bytes are too few for a file of Trawl's (cut short? make it again)",
                      path, p->map.bytes);
        goto out;
    }
    memcpy(&p->head, p->map.data, sizeof p->head);
    TRY_OUT(check_head(&p->head, path));
    TRY_OUT(check_kind(&p->head, path, kind, max_version));
    if (p->map.bytes < sizeof p->head + sizeof(struct table) + sizeof tail) {
        status = altered(path, "it ends before its table of contents");
        goto out;
    }
    TRY_OUT(check_tail(p, &tail));
    TRY_OUT(check_table(p, &tail));
    p->verified = mem_array(p->n_blocks, 1);
    if (!p->verified)
        status = mem_status();
out:
    if (status)
        pack_close(p);
    else
        *out = p;
    return status;
}

void pack_close(struct pack *p)
{
    if (!p)
        return;
    file_map_close(&p->map);
    free(p->path);
    free((void *)p->verified);
    free(p);
}

uint32_t pack_version(const struct pack *p)
{
    return p->head.version;
}

const char *pack_path(const struct pack *p)
{
    return p->path;
}

/* Name of the chunk that a byte of the data belongs to, for messages. */
static const char *chunk_at(const struct pack *p, uint64_t offset)
{
    const char *name = "head";
    for (size_t i = 0; i < p->n_entries && p->entries[i].offset <= offset; i++)
        name = p->entries[i].name;
    return name;
}

static enum trawl_status verify_block(struct pack *p, size_t i, uint64_t wanted)
{
    uint64_t begin = (uint64_t)i * BLOCK, hash;
    uint64_t n = p->data_bytes - begin < BLOCK ? p->data_bytes - begin : BLOCK;
    memcpy(&hash, p->hashes + i * sizeof hash, sizeof hash);
    if (hash != XXH3_64bits(p->map.data + begin, (size_t)n))
        return fail(TRAWL_CORRUPT,
                    "'%s': wrong checksum of bytes %llu to %llu, in '%s' (the file was altered; make it again)",
                    p->path, (unsigned long long)begin, (unsigned long long)begin + n,
                    chunk_at(p, wanted > begin ? wanted : begin));
    atomic_store_explicit(&p->verified[i], 1, memory_order_release);
    return TRAWL_OK;
}

static enum trawl_status verify(struct pack *p, uint64_t offset, uint64_t n)
{
    if (!n)
        return TRAWL_OK;
    for (size_t i = (size_t)(offset / BLOCK); i <= (size_t)((offset + n - 1) / BLOCK); i++)
        if (!atomic_load_explicit(&p->verified[i], memory_order_acquire))
            TRY(verify_block(p, i, offset));
    return TRAWL_OK;
}

enum trawl_status pack_verify_range(struct pack *p, const void *begin, size_t n)
{
    const unsigned char *bytes = begin;
    assert(!n || (bytes >= p->map.data && (uint64_t)(bytes - p->map.data) <= p->data_bytes &&
                  n <= p->data_bytes - (uint64_t)(bytes - p->map.data)));
    return n ? verify(p, (uint64_t)(bytes - p->map.data), n) : TRAWL_OK;
}

enum trawl_status pack_verify_all(struct pack *p)
{
    for (size_t i = 0; i < p->n_blocks; i++)
        TRY(verify_block(p, i, 0));
    return TRAWL_OK;
}

enum trawl_status pack_chunk_lazy(struct pack *p, const char *name, const void **data, size_t *n)
{
    *data = NULL;
    *n = 0;
    for (size_t i = 0; i < p->n_entries; i++) {
        if (strcmp(p->entries[i].name, name) != 0)
            continue;
        *data = p->map.data + p->entries[i].offset;
        *n = (size_t)p->entries[i].bytes;
        return TRAWL_OK;
    }
    return fail(TRAWL_NOT_FOUND, "'%s' has no part '%s'", p->path, name);
}

enum trawl_status pack_chunk(struct pack *p, const char *name, const void **data, size_t *n)
{
    const void *found;
    size_t bytes;
    *data = NULL;
    *n = 0;
    TRY(pack_chunk_lazy(p, name, &found, &bytes));
    TRY(pack_verify_range(p, found, bytes));
    *data = found;
    *n = bytes;
    return TRAWL_OK;
}

bool pack_entry(const struct pack *p, size_t i, const char **name, uint64_t *bytes)
{
    if (i >= p->n_entries)
        return false;
    *name = p->entries[i].name;
    *bytes = p->entries[i].bytes;
    return true;
}

enum trawl_status pack_kind(char kind[5], const char *path)
{
    struct file_map map;
    struct head head;
    memset(kind, 0, 5);
    TRY(file_map_open(&map, path));
    bool ours = map.bytes >= sizeof head && !memcmp(map.data, head_magic, sizeof head_magic);
    if (ours)
        memcpy(&head, map.data, sizeof head);
    file_map_close(&map);
    if (!ours)
        return fail(TRAWL_NOT_FOUND, "'%s' is no file of Trawl's", path);
    memcpy(kind, head.kind, sizeof head.kind);
    return TRAWL_OK;
}
