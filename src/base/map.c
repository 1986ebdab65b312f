/*
 * Open addressing with linear probing over slots of 32-bit ids; at most two thirds full. A slot's key is compared only
 * where the upper half of its hash agrees, so a probe rarely touches the key bytes.
 */
#include "map.h"
#include "mem.h"
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t hash_key(const void *key, size_t n)
{
    return XXH3_64bits(n ? key : "", n);
}

static bool same_key(const struct map *map, uint32_t id, const void *key, size_t n)
{
    size_t begin = map->key_begin[id];
    return map->key_begin[id + 1] - begin == n && (!n || !memcmp(map->key_bytes + begin, key, n));
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t probe(const struct map *map, uint64_t hash, const void *key, size_t n)
{
    size_t slot = (size_t)hash & map->slot_mask;
    for (;; slot = (slot + 1) & map->slot_mask) {
        uint32_t taken = map->slots[slot];
        if (!taken || (map->hashes[taken - 1] == (uint32_t)(hash >> 32) && same_key(map, taken - 1, key, n)))
            return slot;
    }
}

static enum trawl_status grow_slots(struct map *map)
{
    size_t room = map->slots ? (map->slot_mask + 1) * 2 : 16;
    uint32_t *slots = mem_array(room, sizeof *slots);
    if (!slots)
        return mem_status();
    free(map->slots);
    map->slots = slots;
    map->slot_mask = room - 1;
    for (size_t id = 0; id < map->n; id++) {
        uint64_t hash = hash_key(map->key_bytes + map->key_begin[id], map->key_begin[id + 1] - map->key_begin[id]);
        size_t slot = (size_t)hash & map->slot_mask;
        while (slots[slot])
            slot = (slot + 1) & map->slot_mask;
        slots[slot] = (uint32_t)id + 1;
    }
    return TRAWL_OK;
}

/* Room for one more key of n bytes in every array; map->cap covers the three arrays by id. */
static enum trawl_status make_room(struct map *map, size_t n)
{
    size_t used = map->n ? map->key_begin[map->n] : 0, need;
    if (map->n >= UINT32_MAX - 1)
        return fail(TRAWL_LIMIT, "a map holds at most %u keys", UINT32_MAX - 1);
    if (__builtin_add_overflow(used, n, &need))
        return fail(TRAWL_LIMIT, "a key of %zu bytes is too long", n);
    if (!map->slots || (map->n + 1) * 3 > (map->slot_mask + 1) * 2)
        TRY(grow_slots(map));
    TRY(mem_grow((void **)&map->key_bytes, &map->key_cap, need ? need : 1, 1));
    if (map->n + 1 < map->cap)
        return TRAWL_OK;
    size_t by_id[3] = {map->cap, map->cap, map->cap};
    TRY(mem_grow((void **)&map->values, &by_id[0], map->n + 2, sizeof *map->values));
    TRY(mem_grow((void **)&map->key_begin, &by_id[1], map->n + 2, sizeof *map->key_begin));
    TRY(mem_grow((void **)&map->hashes, &by_id[2], map->n + 2, sizeof *map->hashes));
    map->cap = by_id[0];
    map->key_begin[0] = 0;
    return TRAWL_OK;
}

enum trawl_status map_put(struct map *map, const void *key, size_t n, uint64_t value, uint32_t *id, bool *is_new)
{
    uint64_t hash = hash_key(key, n);
    size_t slot = map->slots ? probe(map, hash, key, n) : 0;
    if (map->slots && map->slots[slot]) {
        *id = map->slots[slot] - 1;
        if (is_new)
            *is_new = false;
        return TRAWL_OK;
    }
    TRY(make_room(map, n));
    slot = probe(map, hash, key, n); /* the slots may have moved */
    uint32_t fresh = (uint32_t)map->n;
    size_t begin = map->key_begin[fresh];
    if (n)
        memcpy(map->key_bytes + begin, key, n);
    map->key_begin[fresh + 1] = begin + n;
    map->values[fresh] = value;
    map->hashes[fresh] = (uint32_t)(hash >> 32);
    map->slots[slot] = fresh + 1;
    map->n++;
    *id = fresh;
    if (is_new)
        *is_new = true;
    return TRAWL_OK;
}

uint32_t map_find(const struct map *map, const void *key, size_t n)
{
    if (!map->slots)
        return MAP_NONE;
    uint32_t taken = map->slots[probe(map, hash_key(key, n), key, n)];
    return taken ? taken - 1 : MAP_NONE;
}

const char *map_key(const struct map *map, uint32_t id, size_t *n)
{
    *n = map->key_begin[id + 1] - map->key_begin[id];
    return map->key_bytes + map->key_begin[id];
}

void map_reset(struct map *map)
{
    if (map->slots)
        memset(map->slots, 0, (map->slot_mask + 1) * sizeof *map->slots);
    map->n = 0;
}

void map_release(struct map *map)
{
    if (!map)
        return;
    free(map->values);
    free(map->key_begin);
    free(map->key_bytes);
    free(map->slots);
    free(map->hashes);
    *map = (struct map){0};
}
