/* Where tests find references and scratch files; set TRAWL_GOLDEN to test against another set of values. */
#ifndef TEST_GOLDEN_H
#define TEST_GOLDEN_H
#include <stdio.h>
#include <stdlib.h>

static inline const char *golden_path(char path[4096], const char *name)
{
    const char *root = getenv("TRAWL_GOLDEN"), *source = getenv("TRAWL_SOURCE");
    if (root && *root)
        snprintf(path, 4096, "%s/%s", root, name);
    else
        snprintf(path, 4096, "%s/test/golden/%s", source ? source : ".", name);
    return path;
}

/* A file name in the test's own working folder, told apart by process. */
static inline const char *scratch_path(char path[4096], long pid, const char *name)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, 4096, "%s/trawl-test-%ld-%s", folder && *folder ? folder : "/tmp", pid, name);
    return path;
}

#endif
