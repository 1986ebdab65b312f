/*
 * Whole files and the atomic writer. Line readers are in line.c, folders in folder.c.
 */
#include "file.h"
#include "mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITER_BLOCK = 1 << 18, READ_STEP = 1 << 16 };

enum trawl_status file_map_open(struct file_map *map, const char *path)
{
    enum trawl_status status = TRAWL_OK;
    struct stat st;
    *map = (struct file_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno("cannot open '%s'", path);
    if (fstat(fd, &st))
        status = fail_errno("cannot open '%s'", path);
    else if (!S_ISREG(st.st_mode))
        status =
            fail(TRAWL_IO, "cannot map '%s': it is %s", path, S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
    else if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = fail_errno("cannot map '%s'", path);
        else
            *map = (struct file_map){.data = data, .bytes = (size_t)st.st_size};
    }
    close(fd);
    return status;
}

void file_map_close(struct file_map *map)
{
    if (!map)
        return;
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->bytes);
    *map = (struct file_map){0};
}

/* Reads to the end of fd; one byte more than allowed tells that there is too much. */
static enum trawl_status read_all(struct buf *out, int fd, const char *path, size_t max_bytes)
{
    for (size_t total = 0;;) {
        size_t step = max_bytes - total < READ_STEP ? max_bytes - total + 1 : READ_STEP;
        TRY(buf_reserve(out, step));
        ssize_t n = read(fd, out->data + out->n, step);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno("cannot read '%s'", path);
        if (!n)
            return TRAWL_OK;
        out->n += (size_t)n;
        out->data[out->n] = '\0';
        total += (size_t)n;
        if (total > max_bytes)
            return fail(TRAWL_LIMIT, "'%s' has more than %zu bytes, too many for what it is used for", path, max_bytes);
    }
}

enum trawl_status file_read(struct buf *out, const char *path, size_t max_bytes)
{
    buf_reset(out);
    TRY(buf_reserve(out, 0));
    out->data[0] = '\0';
    if (!strcmp(path, "-"))
        return read_all(out, STDIN_FILENO, "standard input", max_bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno("cannot open '%s'", path);
    enum trawl_status status = read_all(out, fd, path, max_bytes);
    close(fd);
    return status;
}

/* ---- writer ---- */

static const char *writer_name(const struct file_writer *w)
{
    return strcmp(w->path, "-") ? w->path : "standard output";
}

/* Reports the first failure again, in the same words. */
static enum trawl_status writer_failed(struct file_writer *w)
{
    if (!w->path) /* closed by a failed commit */
        return w->sticky;
    errno = w->error;
    w->sticky = fail_errno("cannot write '%s' at byte %llu", writer_name(w), (unsigned long long)w->offset);
    return w->sticky;
}

static enum trawl_status writer_error(struct file_writer *w)
{
    w->error = errno ? errno : EIO;
    return writer_failed(w);
}

/*
 * What exists under the name and is no file (a pipe, /dev/null) is written to as it is; everything else is written
 * beside it and renamed. A link is followed, so that it is its target that is replaced.
 */
static enum trawl_status writer_choose(struct file_writer *w, const char *path)
{
    struct stat st;
    bool exists = !stat(path, &st);
    if (exists && S_ISDIR(st.st_mode))
        return fail(TRAWL_IO, "cannot write '%s': it is a folder", path);
    char *real = exists ? realpath(path, NULL) : NULL;
    w->path = mem_text(real && S_ISREG(st.st_mode) ? real : path, strlen(real && S_ISREG(st.st_mode) ? real : path));
    free(real);
    if (!w->path)
        return mem_status();
    if (exists && !S_ISREG(st.st_mode))
        return TRAWL_OK;
    size_t room = strlen(w->path) + 32;
    w->tmp = mem_array(room, 1);
    if (!w->tmp)
        return mem_status();
    snprintf(w->tmp, room, "%s.tmp.%ld", w->path, (long)getpid());
    return TRAWL_OK;
}

enum trawl_status file_writer_open(struct file_writer *w, const char *path)
{
    enum trawl_status status = TRAWL_OK;
    *w = (struct file_writer){.fd = -1};
    if (!strcmp(path, "-")) {
        w->fd = STDOUT_FILENO;
        w->path = mem_text(path, 1);
        if (!w->path)
            return mem_status();
    } else
        TRY_OUT(writer_choose(w, path));
    w->block = mem_array(WRITER_BLOCK, 1);
    if (!w->block) {
        status = mem_status();
        goto out;
    }
    if (w->fd < 0)
        w->fd = open(w->tmp ? w->tmp : w->path, O_WRONLY | O_CLOEXEC | (w->tmp ? O_CREAT | O_TRUNC : 0), 0666);
    if (w->fd < 0)
        status = fail_errno("cannot write '%s'", path);
out:
    if (status) {
        if (w->fd < 0) { /* nothing was made: a file of that name is not ours */
            free(w->tmp);
            w->tmp = NULL;
        }
        file_writer_abort(w);
        w->sticky = status;
    }
    return status;
}

static enum trawl_status write_fully(struct file_writer *w, const unsigned char *data, size_t n)
{
    while (n) {
        ssize_t written = write(w->fd, data, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return writer_error(w);
        data += written;
        n -= (size_t)written;
    }
    return TRAWL_OK;
}

static enum trawl_status flush_block(struct file_writer *w)
{
    size_t n = w->used;
    w->used = 0;
    return write_fully(w, w->block, n);
}

enum trawl_status file_write(struct file_writer *w, const void *data, size_t n)
{
    if (w->sticky)
        return writer_failed(w);
    if (n >= WRITER_BLOCK - w->used)
        TRY(flush_block(w));
    if (n >= WRITER_BLOCK)
        TRY(write_fully(w, data, n));
    else if (n) {
        memcpy(w->block + w->used, data, n);
        w->used += n;
    }
    w->offset += n;
    return TRAWL_OK;
}

enum trawl_status file_printf(struct file_writer *w, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof text)
        return file_write(w, text, (size_t)n);
    if (n < 0)
        return fail(TRAWL_FORMAT, "cannot format a text for '%s'", writer_name(w));
    char *longer = mem_array((size_t)n + 1, 1);
    if (!longer)
        return mem_status();
    va_start(args, format);
    vsnprintf(longer, (size_t)n + 1, format, args);
    va_end(args);
    enum trawl_status status = file_write(w, longer, (size_t)n);
    free(longer);
    return status;
}

enum trawl_status file_writer_flush(struct file_writer *w)
{
    return w->sticky ? writer_failed(w) : flush_block(w);
}

/* A rename is on disk when the folder is. Some file systems cannot sync a folder: then there is nothing to do. */
static enum trawl_status sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? mem_text(path, slash == path ? 1 : (size_t)(slash - path)) : mem_text(".", 1);
    if (!folder)
        return mem_status();
    enum trawl_status status = file_sync_folder(folder);
    free(folder);
    return status;
}

enum trawl_status file_sync_folder(const char *path)
{
    enum trawl_status status = TRAWL_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno("cannot open folder '%s'", path);
    if (fsync(fd) && errno != EINVAL && errno != ENOTSUP)
        status = fail_errno("cannot write folder '%s' to disk", path);
    close(fd);
    return status;
}

static enum trawl_status commit(struct file_writer *w)
{
    TRY(file_writer_flush(w));
    if (!w->tmp)
        return TRAWL_OK;
    if (fsync(w->fd))
        return writer_error(w);
    int closed = close(w->fd);
    w->fd = -1;
    if (closed)
        return writer_error(w);
    if (rename(w->tmp, w->path))
        return writer_error(w);
    free(w->tmp);
    w->tmp = NULL;
    return sync_folder_of(w->path);
}

enum trawl_status file_writer_commit(struct file_writer *w)
{
    enum trawl_status status = commit(w);
    file_writer_abort(w);
    w->sticky = status;
    return status;
}

void file_writer_abort(struct file_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0 && w->fd != STDOUT_FILENO && w->block)
        close(w->fd);
    if (w->tmp)
        unlink(w->tmp);
    free(w->tmp);
    free(w->path);
    free(w->block);
    *w = (struct file_writer){.fd = -1};
}
