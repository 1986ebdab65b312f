/* A folder for a test's files, made and removed by the test program. */
#ifndef TEST_SCRATCH_H
#define TEST_SCRATCH_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[64];

static inline int scratch_make(void **state)
{
    (void)state;
    snprintf(scratch, sizeof scratch, "/tmp/trawl-test-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove(void **state)
{
    (void)state;
    return file_remove_tree(scratch) == TRAWL_OK ? 0 : -1;
}

/* Path of a file in it; the text is valid until four more were asked for. */
static inline const char *scratch_path(const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static inline void scratch_write(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        enum trawl_status assert_status_ = (call);                                                                     \
        if (assert_status_ != TRAWL_OK)                                                                                \
            fail_msg("%s: %s", #call, trawl_message());                                                                \
    } while (0)
#define assert_message(text)                                                                                           \
    do {                                                                                                               \
        if (!strstr(trawl_message(), text))                                                                            \
            fail_msg("'%s' is not in the message \"%s\"", text, trawl_message());                                      \
    } while (0)

#endif
