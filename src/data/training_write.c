/* Examples as Tevatron's lines, with our optional members. */
#include "base/json.h"
#include "base/mem.h"
#include "training.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- one line ---- */

static enum trawl_status append_text(struct buf *out, const char *key, const char *text, size_t n)
{
    TRY(buf_printf(out, "\"%s\": ", key));
    return json_quote(out, text, n);
}

/* The same with ", " behind; nothing for an empty text. */
static enum trawl_status append_optional(struct buf *out, const char *key, const char *text, size_t n)
{
    if (!n)
        return TRAWL_OK;
    TRY(append_text(out, key, text, n));
    return buf_text(out, ", ");
}

static enum trawl_status append_passage(struct buf *out, const struct training_passage *p)
{
    TRY(buf_text(out, "{"));
    TRY(append_text(out, "docid", p->docid, p->docid_bytes));
    TRY(buf_text(out, ", "));
    TRY(append_text(out, "title", p->title, p->title_bytes));
    TRY(buf_text(out, ", "));
    TRY(append_text(out, "text", p->text, p->text_bytes));
    if (p->has_score && isfinite(p->score))
        TRY(buf_printf(out, ", \"score\": %.9g", p->score));
    if (p->teacher) {
        TRY(buf_text(out, ", "));
        TRY(append_text(out, "teacher", p->teacher, strlen(p->teacher)));
    }
    return buf_text(out, "}");
}

static enum trawl_status append_list(struct buf *out, const char *key, const struct training_list *list)
{
    TRY(buf_printf(out, "\"%s\": [", key));
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            TRY(buf_text(out, ", "));
        TRY(append_passage(out, &list->items[i]));
    }
    return buf_text(out, "]");
}

enum trawl_status training_append(struct buf *out, const struct training_example *e)
{
    TRY(buf_text(out, "{"));
    TRY(append_optional(out, "query_id", e->query_id, e->query_id_bytes));
    TRY(append_optional(out, "instruction", e->instruction, e->instruction_bytes));
    TRY(append_optional(out, "source", e->source, e->source_bytes));
    TRY(append_text(out, "query", e->query, e->query_bytes));
    TRY(buf_text(out, ", "));
    TRY(append_list(out, "positive_passages", &e->positives));
    TRY(buf_text(out, ", "));
    TRY(append_list(out, "negative_passages", &e->negatives));
    if (e->missing_negatives)
        TRY(buf_printf(out, ", \"missing_negatives\": %zu", e->missing_negatives));
    if (e->candidates.n) {
        TRY(buf_text(out, ", "));
        TRY(append_list(out, "candidates", &e->candidates));
    }
    if (e->target != SIZE_MAX)
        TRY(buf_printf(out, ", \"target\": %zu", e->target));
    return buf_text(out, "}\n");
}

/* ---- the file ---- */

struct training_writer {
    char *path, *part, *key_path;
    int fd;
    struct buf line; /* lines not yet handed to the system */
    bool keep;
};

enum { BLOCK_BYTES = 1 << 18 };

static void writer_free(struct training_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    buf_release(&w->line);
    free(w->path);
    free(w->part);
    free(w->key_path);
    free(w);
}

static char *with_ending(const char *path, const char *ending)
{
    struct buf out = {0};
    return buf_printf(&out, "%s%s", path, ending) == TRAWL_OK ? out.data : NULL;
}

/* Whether the part was begun under this key. */
static bool key_is(const char *key_path, const char *key)
{
    struct buf there = {0};
    bool same = file_exists(key_path) && file_read(&there, key_path, 1 << 20) == TRAWL_OK && there.n == strlen(key) &&
                !memcmp(there.data, key, there.n);
    buf_release(&there);
    return same;
}

static enum trawl_status save_key(const char *path, const char *key)
{
    struct file_writer f;
    TRY(file_writer_open(&f, path));
    if (file_write(&f, key, strlen(key)) == TRAWL_OK)
        return file_writer_commit(&f);
    file_writer_abort(&f);
    return fail(TRAWL_IO, "cannot write '%s'", path);
}

/* Cuts a line that was left half written; counts the whole ones. */
static enum trawl_status recover(struct training_writer *w, uint64_t *n_done)
{
    struct file_map map;
    size_t whole = 0;
    TRY(file_map_open(&map, w->part));
    for (size_t i = 0; i < map.bytes;) {
        const unsigned char *end = memchr(map.data + i, '\n', map.bytes - i);
        if (!end)
            break;
        i = whole = (size_t)(end - map.data) + 1;
        ++*n_done;
    }
    file_map_close(&map);
    if (ftruncate(w->fd, (off_t)whole) || lseek(w->fd, 0, SEEK_END) < 0)
        return fail_errno("cannot continue '%s'", w->part);
    return TRAWL_OK;
}

enum trawl_status training_writer_open(struct training_writer **out, const char *path, const char *key,
                                       uint64_t *n_done)
{
    enum trawl_status status = TRAWL_OK;
    struct training_writer *w = mem_array(1, sizeof *w);
    *out = NULL;
    *n_done = 0;
    if (!w)
        return mem_status();
    w->fd = -1;
    w->keep = key != NULL;
    w->path = with_ending(path, "");
    w->part = with_ending(path, ".part");
    w->key_path = with_ending(path, ".part.key");
    if (!w->path || !w->part || !w->key_path) {
        status = mem_status();
        goto out;
    }
    bool go_on = key && key_is(w->key_path, key);
    w->fd = open(w->part, O_RDWR | O_CREAT | O_CLOEXEC | (go_on ? 0 : O_TRUNC), 0666);
    if (w->fd < 0) {
        status = fail_errno("cannot write '%s'", w->part);
        goto out;
    }
    if (go_on)
        TRY_OUT(recover(w, n_done));
    else if (key)
        TRY_OUT(save_key(w->key_path, key));
    *out = w;
    return TRAWL_OK;
out:
    writer_free(w);
    return status;
}

static enum trawl_status flush(struct training_writer *w)
{
    size_t at = 0;
    while (at < w->line.n) {
        ssize_t n = write(w->fd, w->line.data + at, w->line.n - at);
        if (n < 0 && errno != EINTR)
            return fail_errno("cannot write '%s'", w->part);
        at += n > 0 ? (size_t)n : 0;
    }
    buf_reset(&w->line);
    return TRAWL_OK;
}

enum trawl_status training_write(struct training_writer *w, const struct training_example *e)
{
    TRY(training_append(&w->line, e));
    return w->line.n >= BLOCK_BYTES ? flush(w) : TRAWL_OK;
}

static enum trawl_status put_in_place(struct training_writer *w)
{
    TRY(flush(w));
    if (fsync(w->fd) || rename(w->part, w->path))
        return fail_errno("cannot write '%s'", w->path);
    if (w->keep)
        unlink(w->key_path);
    return TRAWL_OK;
}

enum trawl_status training_commit(struct training_writer **out)
{
    struct training_writer *w = *out;
    enum trawl_status status = put_in_place(w);
    if (status != TRAWL_OK) {
        training_abort(out);
        return status;
    }
    *out = NULL;
    writer_free(w);
    return TRAWL_OK;
}

void training_abort(struct training_writer **out)
{
    struct training_writer *w = *out;
    *out = NULL;
    if (!w)
        return;
    if (!w->keep)
        unlink(w->part);
    else if (flush(w) != TRAWL_OK)
        buf_reset(&w->line); /* the part ends with the last whole line */
    writer_free(w);
}
