/*
 * Counts heap calls of the whole test program, for tests that say "no heap call after warm-up". To be included by one
 * file of a program. Under AddressSanitizer, which has its own allocator, the count stays 0 and HEAP_CALLS_COUNTED is
 * 0.
 */
#ifndef TEST_HEAP_CALLS_H
#define TEST_HEAP_CALLS_H
#include <stdatomic.h>
#include <stdlib.h>

static _Atomic size_t heap_calls;

#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
#define HEAP_CALLS_COUNTED 0
#else
#define HEAP_CALLS_COUNTED 1
/* The C library's own entries, under which the public names may be replaced by the program. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    heap_calls++;
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    heap_calls++;
    return __libc_calloc(n, bytes);
}

void *realloc(void *block, size_t bytes)
{
    heap_calls++;
    return __libc_realloc(block, bytes);
}

int posix_memalign(void **block, size_t alignment, size_t bytes)
{
    heap_calls++;
    *block = __libc_memalign(alignment, bytes);
    return *block ? 0 : 12; /* ENOMEM */
}
#endif
#endif
