/*
 * Files: whole-file maps, atomic writers, line readers that see through gzip and zstd.
 * Nothing that a writer makes is seen under its name before it is complete and on disk.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include "buf.h"
#include <stdbool.h>

/* A read-only view of a file. An empty file has data NULL, bytes 0. */
struct file_map {
    const unsigned char *data;
    size_t bytes;
};
MUST_USE enum trawl_status file_map_open(struct file_map *map, const char *path);
void file_map_close(struct file_map *map);

/* Whole file into memory, refused above max_bytes; "-" is standard input. */
MUST_USE enum trawl_status file_read(struct buf *out, const char *path, size_t max_bytes);

/*
 * Sequential writer. Bytes go to "<path>.tmp.<pid>"; file_writer_commit fsyncs and renames; file_writer_abort (or a
 * failed commit) removes it. Errors are sticky: the first one is reported by every later call. "-" writes to standard
 * output.
 */
struct file_writer {
    char *path, *tmp;
    int fd;
    unsigned char *block;
    size_t used;
    uint64_t offset; /* bytes written so far */
    int error;       /* errno of the first failure */
    enum trawl_status sticky;
};
MUST_USE enum trawl_status file_writer_open(struct file_writer *w, const char *path);
MUST_USE enum trawl_status file_write(struct file_writer *w, const void *data, size_t n);
MUST_USE enum trawl_status file_printf(struct file_writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Hands buffered bytes to the system: for output that is followed while it grows. */
MUST_USE enum trawl_status file_writer_flush(struct file_writer *w);
MUST_USE enum trawl_status file_writer_commit(struct file_writer *w);
void file_writer_abort(struct file_writer *w);

/*
 * Lines of a text file; gzip and zstd are recognised by their magic; "-" is standard input. Lines end at '\n' alone (a
 * '\r' before it is dropped); a line may hold NUL bytes. Lines above 256 MiB are refused by number. A byte order mark
 * of UTF-8 before the first line is dropped; a file that begins with that of UTF-16 is refused.
 */
struct line_reader;
MUST_USE enum trawl_status line_reader_open(struct line_reader **r, const char *path);
/* *line is NULL at the end; valid until the next call. */
MUST_USE enum trawl_status line_next(struct line_reader *r, const char **line, size_t *n);
uint64_t line_number(const struct line_reader *r);  /* 1-based, of the line last returned */
const char *line_path(const struct line_reader *r); /* for messages */
/* Compressed bytes consumed and the file's size (0: unknown), for progress. */
void line_position(const struct line_reader *r, uint64_t *done, uint64_t *total);
void line_reader_close(struct line_reader *r);

bool file_exists(const char *path);
/* Refuses an output that is the very file that is read; NULL and "-" are the standard input and output. */
MUST_USE enum trawl_status file_keep_input(const char *input, const char *output);
bool file_is_folder(const char *path);
MUST_USE enum trawl_status file_make_folder(const char *path); /* with parents; existing is fine */
MUST_USE enum trawl_status file_sync_folder(const char *path); /* its entries are on disk after this */
MUST_USE enum trawl_status file_remove_tree(const char *path);
/* Names in a folder (no "." and ".."), sorted bytewise; NUL-separated in *names. */
MUST_USE enum trawl_status file_list(struct buf *names, size_t *n_names, const char *path);
/* "<folder>/<name>" into a fresh string, NULL when out of memory. */
MUST_USE char *file_join(const char *folder, const char *name);

#endif
