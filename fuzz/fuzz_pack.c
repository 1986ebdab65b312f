/*
 * Packs. Random bytes would not get past the checksums, so those of head, table and tail are put right first: what is
 * tried is the checking of sizes and rows behind them.
 */
#include "fuzz.h"
#include "base/pack.h"
#include <string.h>
#include <xxhash.h>

static void put_hash(uint8_t *at, const uint8_t *data, size_t n)
{
    uint64_t hash = XXH3_64bits(data, n);
    memcpy(at, &hash, sizeof hash);
}

static void mend(uint8_t *file, size_t n)
{
    uint64_t table, table_bytes, file_bytes = n;
    uint8_t *tail = file + n - 64;
    memcpy(file, "TRAWLPAK\1\0\0\0TEST\1\0\0", 20);
    put_hash(file + 56, file, 56);
    memcpy(tail + 48, "TRAWLEND", 8);
    memcpy(tail + 16, &file_bytes, 8);
    memcpy(&table, tail, 8);
    memcpy(&table_bytes, tail + 8, 8);
    if (table <= n && table_bytes <= n - table)
        put_hash(tail + 24, file + table, table_bytes);
    put_hash(tail + 56, tail, 56);
}

static void read_pack(const uint8_t *data, size_t n)
{
    struct pack *p;
    const void *chunk;
    const char *name;
    uint64_t bytes;
    size_t chunk_bytes;
    if (pack_open(&p, fuzz_file(data, n), "TEST", 1))
        return;
    for (size_t i = 0; pack_entry(p, i, &name, &bytes); i++)
        if (!pack_chunk(p, name, &chunk, &chunk_bytes) && chunk_bytes)
            (void)XXH3_64bits(chunk, chunk_bytes);
    (void)!pack_verify_all(p);
    pack_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    read_pack(data, n);
    if (n >= 128) {
        uint8_t *file = malloc(n);
        if (!file)
            abort();
        memcpy(file, data, n);
        mend(file, n);
        read_pack(file, n);
        free(file);
    }
    return 0;
}
