/* Files that a test writes and takes away again. */
#ifndef TEST_SCRATCH_H
#define TEST_SCRATCH_H
#include "../golden.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <trawl.h>

static char scratch_name[4096];

/* Writes a scratch file; the name is good until the next call. */
static inline const char *scratch_write(const char *name, const void *data, size_t n)
{
    scratch_path(scratch_name, (long)getpid(), name);
    FILE *f = fopen(scratch_name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
    return scratch_name;
}

static inline const char *scratch_text(const char *name, const char *text)
{
    return scratch_write(name, text, strlen(text));
}

/* The message of the last failure holds every one of these words. */
static inline void assert_message(const char *words)
{
    if (!strstr(trawl_message(), words))
        fail_msg("'%s' is not in the message: %s", words, trawl_message());
}

#endif
