#include "mem.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Large blocks ask for large pages: where many distant places are in use at once, small ones cost more than the cache.
 */
enum { HUGE_PAGE = 2 << 20 };

void *mem_array(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        (void)fail(TRAWL_NOMEM, "no memory for %zu items of %zu bytes", n, size);
    return p;
}

void *mem_aligned(size_t n, size_t size)
{
    size_t bytes;
    void *p = NULL;
    bool bad = __builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX - 64;
    size_t align = !bad && bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : 64;
    if (bad || posix_memalign(&p, align, bytes ? bytes : 1)) {
        (void)fail(TRAWL_NOMEM, "no memory for %zu items of %zu bytes", n, size);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (align == HUGE_PAGE)
        (void)madvise(p, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return p;
}

char *mem_text(const char *text, size_t n)
{
    char *copy = n < SIZE_MAX ? mem_array(n + 1, 1) : NULL;
    if (copy && n)
        memcpy(copy, text, n);
    return copy;
}

enum trawl_status mem_grow(void **items, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return TRAWL_OK;
    size_t room = *cap > SIZE_MAX / 2 ? need : *cap * 2, bytes;
    if (room < need)
        room = need;
    if (room < 16)
        room = 16;
    void *grown = __builtin_mul_overflow(room, size, &bytes) ? NULL : realloc(*items, bytes);
    if (!grown)
        return fail(TRAWL_NOMEM, "no memory for %zu items of %zu bytes", room, size);
    *items = grown;
    *cap = room;
    return TRAWL_OK;
}

enum trawl_status arena_init(struct arena *arena, size_t bytes)
{
    *arena = (struct arena){.block = mem_aligned(bytes, 1), .bytes = bytes};
    return arena->block ? TRAWL_OK : mem_status();
}

void *arena_take(struct arena *arena, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX - 63)
        return NULL;
    bytes = (bytes + 63) & ~(size_t)63;
    if (bytes > arena->bytes - arena->used)
        return NULL;
    void *piece = arena->block + arena->used;
    arena->used += bytes;
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    return piece;
}

void arena_reset(struct arena *arena)
{
    arena->used = 0;
}

void arena_release(struct arena *arena)
{
    if (!arena)
        return;
    free(arena->block);
    *arena = (struct arena){0};
}
