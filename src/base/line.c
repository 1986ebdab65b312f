/*
 * Lines of a file or of standard input. A source (plain, gzip, zstd; told by the first bytes) fills a buffer; lines are
 * handed out in place. Gzip files may have several members and zstd files several frames, as `cat` makes them.
 */
#include "file.h"
#include "mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { CHUNK = 1 << 18, MAX_LINE = 256 << 20 };

enum codec { CODEC_PLAIN, CODEC_GZIP, CODEC_ZSTD };

struct line_reader {
    char *path;
    int fd;
    enum codec codec;
    bool input_ended, text_ended, frame_open;
    z_stream gzip;
    ZSTD_DStream *zstd;
    unsigned char *input; /* (CHUNK) as read from the file */
    size_t input_begin, input_end;
    uint64_t consumed, total;
    char *text; /* decoded; the unread part is [begin, end), without '\n' before scanned */
    size_t begin, scanned, end, cap;
    uint64_t number;
};

static enum trawl_status read_input(struct line_reader *r)
{
    if (r->input_begin < r->input_end || r->input_ended)
        return TRAWL_OK;
    ssize_t n;
    do
        n = read(r->fd, r->input, CHUNK);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return fail_errno("cannot read '%s'", r->path);
    r->input_begin = 0;
    r->input_end = (size_t)n;
    r->consumed += (uint64_t)n;
    r->input_ended = !n;
    return TRAWL_OK;
}

static enum trawl_status damaged(const struct line_reader *r, const char *what)
{
    return fail(TRAWL_CORRUPT, "'%s': damaged %s data after line %llu (%s)", r->path,
                r->codec == CODEC_GZIP ? "gzip" : "zstd", (unsigned long long)r->number, what);
}

static enum trawl_status decode_gzip(struct line_reader *r, char *out, size_t room, size_t *made)
{
    r->gzip.next_in = r->input + r->input_begin;
    r->gzip.avail_in = (uInt)(r->input_end - r->input_begin);
    r->gzip.next_out = (Bytef *)out;
    r->gzip.avail_out = (uInt)room;
    if (!r->frame_open && inflateReset(&r->gzip) != Z_OK)
        return damaged(r, "cannot begin");
    int code = inflate(&r->gzip, Z_NO_FLUSH);
    r->input_begin = r->input_end - r->gzip.avail_in;
    *made = room - r->gzip.avail_out;
    r->frame_open = code != Z_STREAM_END;
    if (code == Z_MEM_ERROR)
        return fail(TRAWL_NOMEM, "'%s': no memory to decompress", r->path);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
        return damaged(r, r->gzip.msg ? r->gzip.msg : "stream error");
    return TRAWL_OK;
}

static enum trawl_status decode_zstd(struct line_reader *r, char *out, size_t room, size_t *made)
{
    ZSTD_inBuffer in = {.src = r->input, .size = r->input_end, .pos = r->input_begin};
    ZSTD_outBuffer text = {.dst = out, .size = room};
    size_t code = ZSTD_decompressStream(r->zstd, &text, &in);
    r->input_begin = in.pos;
    *made = text.pos;
    if (ZSTD_isError(code))
        return damaged(r, ZSTD_getErrorName(code));
    r->frame_open = code != 0;
    return TRAWL_OK;
}

/* One step of decoding; *made 0 means only that more input is needed, or with text_ended that there is none. */
static enum trawl_status decode(struct line_reader *r, char *out, size_t room, size_t *made)
{
    *made = 0;
    TRY(read_input(r));
    size_t ready = r->input_end - r->input_begin;
    if (!ready && (!r->frame_open || r->codec == CODEC_PLAIN)) {
        r->text_ended = true;
        return TRAWL_OK;
    }
    if (r->codec == CODEC_PLAIN) {
        *made = ready < room ? ready : room;
        memcpy(out, r->input + r->input_begin, *made);
        r->input_begin += *made;
        return TRAWL_OK;
    }
    bool starved = !ready;
    TRY(r->codec == CODEC_GZIP ? decode_gzip(r, out, room, made) : decode_zstd(r, out, room, made));
    return starved && !*made && r->frame_open ? damaged(r, "it ends early; fetch or compress it again") : TRAWL_OK;
}

/* Room for more text behind what is unread; grows only when a line fills the buffer. */
static enum trawl_status make_room(struct line_reader *r)
{
    if (r->begin) {
        memmove(r->text, r->text + r->begin, r->end - r->begin);
        r->end -= r->begin;
        r->scanned -= r->begin;
        r->begin = 0;
    }
    if (r->end > MAX_LINE)
        return fail(TRAWL_LIMIT, "'%s' line %llu has more than %d bytes", r->path, (unsigned long long)r->number + 1,
                    MAX_LINE);
    if (r->cap - r->end >= CHUNK)
        return TRAWL_OK;
    return mem_grow((void **)&r->text, &r->cap, r->end + CHUNK, 1);
}

static enum trawl_status fill(struct line_reader *r)
{
    TRY(make_room(r));
    size_t made = 0;
    while (!made && !r->text_ended)
        TRY(decode(r, r->text + r->end, CHUNK, &made));
    r->end += made;
    return TRAWL_OK;
}

/* What stands before the first line: a byte order mark, skipped; that of UTF-16 means that no line can be read. */
static enum trawl_status skip_mark(struct line_reader *r)
{
    while (r->end - r->begin < 3 && !r->text_ended)
        TRY(fill(r));
    const char *text = r->text + r->begin;
    size_t n = r->end - r->begin;
    if (n >= 2 && (!memcmp(text, "\xFF\xFE", 2) || !memcmp(text, "\xFE\xFF", 2)))
        return fail(TRAWL_FORMAT, "'%s' is UTF-16 (convert it: iconv -f UTF-16 -t UTF-8)", r->path);
    if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3))
        r->begin += 3;
    r->scanned = r->begin;
    return TRAWL_OK;
}

enum trawl_status line_next(struct line_reader *r, const char **line, size_t *n)
{
    char *stop;
    *line = NULL;
    *n = 0;
    if (!r->number)
        TRY(skip_mark(r));
    while (!(stop = r->scanned < r->end ? memchr(r->text + r->scanned, '\n', r->end - r->scanned) : NULL)) {
        r->scanned = r->end;
        if (r->text_ended)
            break;
        TRY(fill(r));
    }
    if (!stop && r->begin == r->end)
        return TRAWL_OK;
    size_t length = (stop ? (size_t)(stop - r->text) : r->end) - r->begin;
    if (length > MAX_LINE)
        return fail(TRAWL_LIMIT, "'%s' line %llu has more than %d bytes", r->path, (unsigned long long)r->number + 1,
                    MAX_LINE);
    *line = r->text + r->begin;
    *n = length && (*line)[length - 1] == '\r' ? length - 1 : length;
    r->begin += length + (stop != NULL);
    r->scanned = r->begin;
    r->number++;
    return TRAWL_OK;
}

/* The magic must be there before the first decode: pipes may deliver a byte at a time. */
static enum trawl_status detect(struct line_reader *r)
{
    while (r->input_end < 4) {
        ssize_t n = read(r->fd, r->input + r->input_end, CHUNK - r->input_end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno("cannot read '%s'", r->path);
        if (!n)
            break;
        r->input_end += (size_t)n;
        r->consumed += (uint64_t)n;
    }
    if (r->input_end >= 2 && r->input[0] == 0x1F && r->input[1] == 0x8B) {
        r->codec = CODEC_GZIP;
        if (inflateInit2(&r->gzip, 15 + 16) != Z_OK)
            return fail(TRAWL_NOMEM, "'%s': cannot set up gzip", r->path);
    } else if (r->input_end >= 4 && !memcmp(r->input, "\x28\xB5\x2F\xFD", 4)) {
        r->codec = CODEC_ZSTD;
        r->zstd = ZSTD_createDStream();
        if (!r->zstd || ZSTD_isError(ZSTD_initDStream(r->zstd)))
            return fail(TRAWL_NOMEM, "'%s': cannot set up zstd", r->path);
    }
    return TRAWL_OK;
}

enum trawl_status line_reader_open(struct line_reader **out, const char *path)
{
    enum trawl_status status = TRAWL_OK;
    struct stat st;
    bool from_stdin = !strcmp(path, "-");
    *out = NULL;
    struct line_reader *r = mem_array(1, sizeof *r);
    if (!r)
        return mem_status();
    r->fd = from_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    r->path = from_stdin ? mem_text("standard input", 14) : mem_text(path, strlen(path));
    r->input = mem_array(CHUNK, 1);
    if (!r->path || !r->input) {
        status = mem_status();
        goto out;
    }
    if (r->fd < 0 || fstat(r->fd, &st)) {
        status = fail_errno("cannot open '%s'", path);
        goto out;
    }
    if (S_ISDIR(st.st_mode)) {
        status = fail(TRAWL_IO, "cannot read lines of '%s': it is a folder", path);
        goto out;
    }
    r->total = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    TRY_OUT(detect(r));
out:
    if (status)
        line_reader_close(r);
    else
        *out = r;
    return status;
}

uint64_t line_number(const struct line_reader *r)
{
    return r->number;
}

const char *line_path(const struct line_reader *r)
{
    return r->path;
}

void line_position(const struct line_reader *r, uint64_t *done, uint64_t *total)
{
    *done = r->consumed - (r->input_end - r->input_begin);
    *total = r->total;
}

void line_reader_close(struct line_reader *r)
{
    if (!r)
        return;
    if (r->fd > STDIN_FILENO)
        close(r->fd);
    if (r->codec == CODEC_GZIP)
        inflateEnd(&r->gzip);
    ZSTD_freeDStream(r->zstd);
    free(r->path);
    free(r->input);
    free(r->text);
    free(r);
}
