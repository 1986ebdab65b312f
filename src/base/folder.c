/* Folders and names. */
#include "file.h"
#include "mem.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_exists(const char *path)
{
    struct stat st;
    return !stat(path, &st);
}

enum trawl_status file_keep_input(const char *input, const char *output)
{
    struct stat in, out;
    bool from_stdin = !input || !strcmp(input, "-");
    if (!output || !strcmp(output, "-") || stat(output, &out) || !S_ISREG(out.st_mode))
        return TRAWL_OK;
    if (from_stdin ? fstat(STDIN_FILENO, &in) : stat(input, &in))
        return TRAWL_OK; /* reading it says so better */
    if (in.st_dev != out.st_dev || in.st_ino != out.st_ino)
        return TRAWL_OK;
    return fail(TRAWL_USAGE, "'%s' is the input: it is not overwritten (name another output)", output);
}

bool file_is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

char *file_join(const char *folder, const char *name)
{
    size_t n = strlen(folder), m = strlen(name);
    bool slash = n > 0 && folder[n - 1] != '/';
    char *path = mem_array(n + slash + m + 1, 1);
    if (!path)
        return NULL;
    memcpy(path, folder, n);
    if (slash)
        path[n] = '/';
    memcpy(path + n + slash, name, m);
    return path;
}

static enum trawl_status make_one(const char *path)
{
    if (!mkdir(path, 0777))
        return TRAWL_OK;
    if (errno == EEXIST)
        return file_is_folder(path) ? TRAWL_OK : fail(TRAWL_IO, "'%s' is a file, not a folder", path);
    return fail_errno("cannot make folder '%s'", path);
}

enum trawl_status file_make_folder(const char *path)
{
    if (file_is_folder(path))
        return TRAWL_OK;
    enum trawl_status status = TRAWL_OK;
    char *prefix = mem_text(path, strlen(path));
    if (!prefix)
        return mem_status();
    for (char *slash = prefix; !status && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        status = make_one(prefix);
        *slash = '/';
    }
    if (!status)
        status = make_one(path);
    free(prefix);
    return status;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Puts the NUL-separated names of `raw` into order. */
static enum trawl_status sort_names(struct buf *names, const struct buf *raw, size_t n)
{
    enum trawl_status status = TRAWL_OK;
    const char **order = mem_array(n, sizeof *order);
    if (!order)
        return mem_status();
    const char *name = raw->data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1)
        order[i] = name;
    qsort(order, n, sizeof *order, by_bytes);
    for (size_t i = 0; i < n; i++)
        TRY_OUT(buf_append(names, order[i], strlen(order[i]) + 1));
out:
    free(order);
    return status;
}

enum trawl_status file_list(struct buf *names, size_t *n_names, const char *path)
{
    enum trawl_status status = TRAWL_OK;
    struct buf raw = {0};
    size_t n = 0;
    buf_reset(names);
    *n_names = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return fail_errno("cannot read folder '%s'", path);
    for (struct dirent *entry; errno = 0, (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        TRY_OUT(buf_append(&raw, entry->d_name, strlen(entry->d_name) + 1));
        n++;
    }
    if (errno) {
        status = fail_errno("cannot read folder '%s'", path);
        goto out;
    }
    TRY_OUT(sort_names(names, &raw, n));
    *n_names = n;
out:
    closedir(folder);
    buf_release(&raw);
    return status;
}

enum trawl_status file_remove_tree(const char *path)
{
    struct stat st;
    if (lstat(path, &st))
        return errno == ENOENT ? TRAWL_OK : fail_errno("cannot remove '%s'", path);
    if (!S_ISDIR(st.st_mode))
        return unlink(path) ? fail_errno("cannot remove '%s'", path) : TRAWL_OK;
    enum trawl_status status = TRAWL_OK;
    struct buf names = {0};
    size_t n;
    TRY_OUT(file_list(&names, &n, path));
    const char *name = names.data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
        char *child = file_join(path, name);
        status = child ? file_remove_tree(child) : mem_status();
        free(child);
        if (status)
            goto out;
    }
    if (rmdir(path))
        status = fail_errno("cannot remove folder '%s'", path);
out:
    buf_release(&names);
    return status;
}
