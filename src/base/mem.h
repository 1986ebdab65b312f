/* Memory: overflow-checked arrays, growth, aligned blocks, and an arena for scratch. */
#ifndef BASE_MEM_H
#define BASE_MEM_H
#include "status.h"

/* Zeroed array of n items of `size` bytes, to be free()d; NULL with the message set when it cannot be had. n 0 is fine.
 */
MUST_USE void *mem_array(size_t n, size_t size);
/* The same on a 64-byte boundary, not zeroed; also free()d. */
MUST_USE void *mem_aligned(size_t n, size_t size);
/* NOMEM for a NULL just returned by the two above: `if (!p) return mem_status();` */
static inline enum trawl_status mem_status(void)
{
    return TRAWL_NOMEM;
}
/* Copy of n bytes plus a NUL. */
MUST_USE char *mem_text(const char *text, size_t n);

/*
 * Makes *items hold at least `need` items of `size` bytes, doubling; *cap is the present room in items.
 *   TRY(mem_grow((void **)&list, &cap, n + 1, sizeof *list));
 */
MUST_USE enum trawl_status mem_grow(void **items, size_t *cap, size_t need, size_t size);

/* Bump allocator: one block of fixed size, 64-byte aligned pieces, reset at once. For scratch sized by a dry run. */
struct arena {
    unsigned char *block;
    size_t bytes, used, peak;
};
MUST_USE enum trawl_status arena_init(struct arena *arena, size_t bytes);
/* NULL when the block is used up (a bug of the dry run: callers assert). */
void *arena_take(struct arena *arena, size_t n, size_t size);
void arena_reset(struct arena *arena);
void arena_release(struct arena *arena);

#endif
