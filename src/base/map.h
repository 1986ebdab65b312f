/*
 * Hash map from byte strings to 64-bit values (open addressing, xxh3). Keys are copied into the map.
 * Keys get dense ids 0, 1, ... in the order of insertion, so a map is also a string table.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include "status.h"
#include <stdbool.h>

struct map {
    uint64_t *values;  /* (n) by id */
    size_t *key_begin; /* (n+1) into key_bytes */
    char *key_bytes;
    uint32_t *slots;  /* id + 1, 0: free */
    uint32_t *hashes; /* (n) high bits of the key's hash */
    size_t n, cap, key_cap, slot_mask;
};

/* Sets *id to the key's id, inserting it with `value` when new; *is_new (may be NULL) says which. */
MUST_USE enum trawl_status map_put(struct map *map, const void *key, size_t n, uint64_t value, uint32_t *id,
                                   bool *is_new);
/* Id of the key, or MAP_NONE. */
#define MAP_NONE UINT32_MAX
uint32_t map_find(const struct map *map, const void *key, size_t n);
const char *map_key(const struct map *map, uint32_t id, size_t *n);
void map_reset(struct map *map); /* keeps the memory */
void map_release(struct map *map);

#endif
