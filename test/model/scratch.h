/* Folders of files made for one test, and removed after it. */
#ifndef TEST_MODEL_SCRATCH_H
#define TEST_MODEL_SCRATCH_H
#include "../golden.h"
#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants these before it */
#include <cmocka.h>

/* A fresh folder; its name lies in `path`. */
static inline const char *scratch_folder(char path[4096], const char *name)
{
    scratch_path(path, (long)getpid(), name);
    assert_int_equal(file_remove_tree(path), TRAWL_OK);
    assert_int_equal(file_make_folder(path), TRAWL_OK);
    return path;
}

static inline void put_file(const char *folder, const char *name, const void *data, size_t n)
{
    char *path = file_join(folder, name);
    unlink(path); /* some file systems flush what is cut to nothing and written again */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static inline void put_text(const char *folder, const char *name, const char *text)
{
    put_file(folder, name, text, strlen(text));
}

static inline void get_file(struct buf *out, const char *folder, const char *name)
{
    char *path = file_join(folder, name);
    *out = (struct buf){0};
    assert_int_equal(file_read(out, path, (size_t)1 << 32), TRAWL_OK);
    free(path);
}

/* Copies folder/name to target/as. */
static inline void copy_file(const char *folder, const char *name, const char *target, const char *as)
{
    struct buf data;
    get_file(&data, folder, name);
    put_file(target, as, data.data ? data.data : "", data.n);
    buf_release(&data);
}

/* Replaces the first `old` in a file of the folder; the test fails where there is none. */
static inline void edit_file(const char *folder, const char *name, const char *old, const char *new)
{
    struct buf data, edited = {0};
    get_file(&data, folder, name);
    char *at = data.data ? memmem(data.data, data.n, old, strlen(old)) : NULL;
    assert_non_null(at);
    size_t begin = (size_t)(at - data.data), end = begin + strlen(old);
    assert_int_equal(buf_append(&edited, data.data, begin), TRAWL_OK);
    assert_int_equal(buf_text(&edited, new), TRAWL_OK);
    assert_int_equal(buf_append(&edited, data.data + end, data.n - end), TRAWL_OK);
    put_file(folder, name, edited.data, edited.n);
    buf_release(&data);
    buf_release(&edited);
}

#define assert_message(text)                                                                                           \
    do {                                                                                                               \
        if (!strstr(trawl_message(), text))                                                                            \
            fail_msg("message '%s' lacks '%s'", trawl_message(), text);                                                \
    } while (0)

#endif
