/*
 * Lists of documents per query. A list finds its own double entries with a small hash table of its own, so that reading
 * a run, whose lines nearly always come query by query, stays in the cache however long the file is.
 */
#include "doc_list.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define FEW 8 /* up to here a list is compared through, without a table */

static uint32_t hash_id(const char *id, size_t n)
{
    return (uint32_t)XXH3_64bits(id, n);
}

static bool same_id(const struct doc_entry *e, const struct buf *ids, const char *id, size_t n)
{
    return e->id_bytes == n && memcmp(ids->data + e->id, id, n) == 0;
}

static uint32_t find_hashed(const struct doc_list *list, const struct buf *ids, const char *id, size_t n, uint32_t hash)
{
    for (uint32_t at = hash & list->slot_mask; list->slots[at]; at = (at + 1) & list->slot_mask)
        if (same_id(&list->items[list->slots[at] - 1], ids, id, n))
            return list->slots[at] - 1;
    return MAP_NONE;
}

uint32_t doc_list_find(const struct doc_list *list, const struct buf *ids, const char *id, size_t n)
{
    if (list->slots)
        return find_hashed(list, ids, id, n, hash_id(id, n));
    for (uint32_t i = 0; i < list->n; i++)
        if (same_id(&list->items[i], ids, id, n))
            return i;
    return MAP_NONE;
}

static void slot_put(struct doc_list *list, uint32_t hash, uint32_t index)
{
    uint32_t at = hash & list->slot_mask;
    while (list->slots[at])
        at = (at + 1) & list->slot_mask;
    list->slots[at] = index + 1;
}

/* Table of at least twice the room for items, all entered again. */
static enum trawl_status rehash(struct doc_list *list, const struct buf *ids)
{
    size_t n_slots = 32;
    while (n_slots < (size_t)list->cap * 2)
        n_slots *= 2;
    uint32_t *slots = mem_array(n_slots, sizeof *slots);
    if (!slots)
        return mem_status();
    free(list->slots);
    list->slots = slots;
    list->slot_mask = (uint32_t)(n_slots - 1);
    for (uint32_t i = 0; i < list->n; i++)
        slot_put(list, hash_id(ids->data + list->items[i].id, list->items[i].id_bytes), i);
    return TRAWL_OK;
}

static enum trawl_status grow(struct doc_list *list, const struct buf *ids)
{
    size_t cap = list->cap;
    if (list->n >= UINT32_MAX / 4)
        return fail(TRAWL_LIMIT, "more than %u documents for one query", list->n);
    TRY(mem_grow((void **)&list->items, &cap, (size_t)list->n + 1, sizeof *list->items));
    list->cap = (uint32_t)cap;
    return list->n >= FEW ? rehash(list, ids) : TRAWL_OK;
}

enum trawl_status doc_list_put(struct doc_list *list, struct buf *ids, const char *id, size_t n,
                               struct doc_entry **entry, bool *is_new)
{
    uint32_t hash = hash_id(id, n);
    uint32_t found = list->slots ? find_hashed(list, ids, id, n, hash) : doc_list_find(list, ids, id, n);
    *is_new = found == MAP_NONE;
    if (!*is_new) {
        *entry = &list->items[found];
        return TRAWL_OK;
    }
    if (n > UINT32_MAX - 1)
        return fail(TRAWL_LIMIT, "a document id of %zu bytes", n);
    if (list->n == list->cap || (list->n == FEW && !list->slots))
        TRY(grow(list, ids));
    size_t at = ids->n;
    TRY(buf_reserve(ids, n + 1));
    memcpy(ids->data + at, id, n);
    memset(ids->data + at + n, 0, 2); /* the id's end, and the buffer's */
    ids->n += n + 1;
    list->items[list->n] = (struct doc_entry){.id = at, .id_bytes = (uint32_t)n};
    if (list->slots)
        slot_put(list, hash, list->n);
    *entry = &list->items[list->n++];
    return TRAWL_OK;
}

void doc_list_release(struct doc_list *list)
{
    free(list->items);
    free(list->slots);
    *list = (struct doc_list){0};
}

enum trawl_status doc_lists_query(struct doc_list **list, struct map *queries, struct doc_list **items, size_t *cap,
                                  const char *query, size_t n)
{
    uint32_t id;
    bool is_new;
    TRY(mem_grow((void **)items, cap, queries->n + 1, sizeof **items));
    TRY(map_put(queries, query, n, 0, &id, &is_new));
    if (is_new)
        (*items)[id] = (struct doc_list){0};
    *list = &(*items)[id];
    return TRAWL_OK;
}

void doc_lists_release(struct map *queries, struct doc_list **items, struct buf *ids)
{
    for (size_t i = 0; i < queries->n; i++)
        doc_list_release(&(*items)[i]);
    free(*items);
    *items = NULL;
    map_release(queries);
    buf_release(ids);
}

static bool is_gap(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

size_t split_columns(struct column *columns, size_t max, const char *line, size_t n)
{
    size_t found = 0, i = 0;
    for (;;) {
        while (i < n && is_gap(line[i]))
            i++;
        if (i == n)
            return found;
        size_t begin = i;
        while (i < n && ((unsigned char)line[i] > ' ' || !is_gap(line[i]))) /* one test for nearly all */
            i++;
        if (found < max)
            columns[found] = (struct column){line + begin, i - begin};
        found++;
    }
}
