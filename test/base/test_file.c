/* Files, atomic writers, line readers, folders. */
#include "scratch.h"
#include "base/rng.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>
#include <zstd.h>

static void assert_holds(const char *path, const void *data, size_t n)
{
    struct buf text = {0};
    assert_ok(file_read(&text, path, SIZE_MAX - 1));
    assert_int_equal(text.n, n);
    assert_memory_equal(text.data, data, n);
    buf_release(&text);
}

static size_t names_in(const char *path)
{
    struct buf names = {0};
    size_t n;
    assert_ok(file_list(&names, &n, path));
    buf_release(&names);
    return n;
}

/* ---- writer ---- */

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    enum { N = (1 << 18) * 2 + 77 };
    char *data = malloc(N);
    struct rng rng = rng_stream(1, 1, 1);
    const size_t steps[] = {1, 1000, 1 << 18, (1 << 18) - 1, N};
    for (size_t i = 0; i < N; i++)
        data[i] = (char)rng_next(&rng);
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        struct file_writer w;
        assert_ok(file_writer_open(&w, scratch_path("out")));
        for (size_t at = 0; at < N; at += steps[s])
            assert_ok(file_write(&w, data + at, N - at < steps[s] ? N - at : steps[s]));
        assert_int_equal(w.offset, N);
        assert_ok(file_writer_commit(&w));
        assert_holds(scratch_path("out"), data, N);
    }
    free(data);
}

static void printf_longer_than_its_block_is_whole(void **state)
{
    (void)state;
    struct file_writer w;
    char longer[2000], wanted[2100];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_ok(file_writer_open(&w, scratch_path("printf")));
    assert_ok(file_printf(&w, "%d %s\n", 7, longer));
    assert_ok(file_writer_commit(&w));
    int n = snprintf(wanted, sizeof wanted, "%d %s\n", 7, longer);
    assert_holds(scratch_path("printf"), wanted, (size_t)n);
}

static void nothing_is_seen_before_commit_or_after_abort(void **state)
{
    (void)state;
    struct file_writer w;
    const char *path = scratch_path("late");
    assert_ok(file_writer_open(&w, path));
    assert_ok(file_write(&w, "x", 1));
    assert_false(file_exists(path));
    file_writer_abort(&w);
    assert_false(file_exists(path));
    assert_false(file_exists(scratch_path("late.tmp")));
}

/* The child is killed at many moments of its writing; the name holds the old content, or the new one, never a mix. */
static void a_killed_writer_leaves_the_old_file(void **state)
{
    (void)state;
    const char *path = scratch_path("kept");
    enum { N = 3000000 };
    char *data = malloc(N);
    memset(data, 'n', N);
    for (useconds_t wait = 0; wait < 20000; wait += 1000) {
        scratch_write(path, "old", 3);
        pid_t child = fork();
        if (!child) {
            struct file_writer w;
            if (!file_writer_open(&w, path))
                for (;;)
                    for (size_t i = 0; i < N; i += 999)
                        if (file_write(&w, data, 999))
                            _exit(1);
        }
        usleep(wait);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        assert_holds(path, "old", 3);
    }
    free(data);
}

/* RLIMIT_FSIZE stands in for a full disk: write fails after a while, with EFBIG instead of ENOSPC. */
static void a_full_disk_is_reported_with_path_and_keeps_the_old_file(void **state)
{
    (void)state;
    const char *path = scratch_path("full");
    scratch_write(path, "old", 3);
    pid_t child = fork();
    if (!child) {
        struct rlimit limit = {300000, 300000};
        static char block[100000];
        struct file_writer w;
        enum trawl_status status = TRAWL_OK;
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) || file_writer_open(&w, path))
            _exit(2);
        for (int i = 0; i < 10 && !status; i++)
            status = file_write(&w, block, sizeof block);
        bool first = status == TRAWL_IO && strstr(trawl_message(), path) && strstr(trawl_message(), strerror(EFBIG));
        bool again = file_write(&w, "x", 1) == TRAWL_IO && strstr(trawl_message(), strerror(EFBIG));
        bool commit = file_writer_commit(&w) == TRAWL_IO && strstr(trawl_message(), path);
        _exit(first && again && commit ? 0 : 1);
    }
    int code;
    waitpid(child, &code, 0);
    assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 0);
    assert_holds(path, "old", 3);
}

static void dev_full_is_an_error_and_stays_a_device(void **state)
{
    (void)state;
    struct file_writer w;
    struct stat st;
    if (!file_exists("/dev/full"))
        skip();
    assert_ok(file_writer_open(&w, "/dev/full"));
    assert_ok(file_write(&w, "x", 1));
    assert_int_equal(file_writer_commit(&w), TRAWL_IO);
    assert_message("/dev/full");
    assert_int_equal(stat("/dev/full", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void a_link_stays_a_link(void **state)
{
    (void)state;
    struct file_writer w;
    struct stat st;
    scratch_write(scratch_path("target"), "old", 3);
    assert_int_equal(symlink("target", scratch_path("link")), 0);
    assert_ok(file_writer_open(&w, scratch_path("link")));
    assert_ok(file_write(&w, "new", 3));
    assert_ok(file_writer_commit(&w));
    assert_int_equal(lstat(scratch_path("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_holds(scratch_path("target"), "new", 3);
}

static void writing_where_no_folder_is_fails_with_path(void **state)
{
    (void)state;
    struct file_writer w;
    assert_int_equal(file_writer_open(&w, scratch_path("no/such")), TRAWL_IO);
    assert_message("no/such");
    assert_int_equal(file_writer_open(&w, scratch), TRAWL_IO);
    assert_message("folder");
}

/* ---- whole files ---- */

static void maps_and_limits(void **state)
{
    (void)state;
    struct file_map map;
    struct buf text = {0};
    scratch_write(scratch_path("ten"), "0123456789", 10);
    scratch_write(scratch_path("none"), "", 0);
    assert_ok(file_map_open(&map, scratch_path("ten")));
    assert_int_equal(map.bytes, 10);
    assert_memory_equal(map.data, "0123456789", 10);
    file_map_close(&map);
    assert_ok(file_map_open(&map, scratch_path("none")));
    assert_null(map.data);
    file_map_close(&map);
    assert_int_equal(file_map_open(&map, scratch_path("absent")), TRAWL_IO);
    assert_message("absent");
    assert_int_equal(file_map_open(&map, scratch), TRAWL_IO);
    assert_message("folder");
    assert_ok(file_read(&text, scratch_path("ten"), 10));
    assert_int_equal(file_read(&text, scratch_path("ten"), 9), TRAWL_LIMIT);
    assert_ok(file_read(&text, scratch_path("none"), 0));
    assert_string_equal(text.data, "");
    buf_release(&text);
}

/* ---- lines ---- */

static void assert_lines(const char *path, const char *const *lines, size_t n)
{
    struct line_reader *r;
    const char *line;
    size_t length;
    assert_ok(line_reader_open(&r, path));
    for (size_t i = 0; i < n; i++) {
        assert_ok(line_next(r, &line, &length));
        assert_non_null(line);
        assert_int_equal(length, strlen(lines[i]));
        assert_memory_equal(line, lines[i], length);
        assert_int_equal(line_number(r), i + 1);
    }
    assert_ok(line_next(r, &line, &length));
    assert_null(line);
    assert_ok(line_next(r, &line, &length));
    assert_null(line);
    line_reader_close(r);
}

static void lines_end_at_newline_alone(void **state)
{
    (void)state;
    const char *const lines[] = {"one", "", "two\rmore", "three\xE2\x80\xA8"}, *const last[] = {"a", "b"};
    scratch_write(scratch_path("l"), "one\r\n\ntwo\rmore\nthree\xE2\x80\xA8\n", 24);
    assert_lines(scratch_path("l"), lines, 4);
    scratch_write(scratch_path("l"), "a\nb", 3);
    assert_lines(scratch_path("l"), last, 2);
    scratch_write(scratch_path("l"), "", 0);
    assert_lines(scratch_path("l"), NULL, 0);
}

/* Lines of all lengths around the reader's chunk. */
static size_t long_text(struct buf *text)
{
    static const size_t lengths[] = {0, 1, 100, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 900001, 3};
    size_t n = sizeof lengths / sizeof *lengths;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < lengths[i]; j++)
            assert_ok(buf_append(text, &"abcdefghijklmnopqrstuvw"[(i * 31 + j * j) % 23], 1));
        assert_ok(buf_append(text, "\n", 1));
    }
    return n;
}

static void assert_same_text(const char *path, const struct buf *text, size_t n_lines)
{
    struct line_reader *r;
    const char *line;
    size_t length, at = 0, n = 0;
    uint64_t done, total;
    assert_ok(line_reader_open(&r, path));
    for (;;) {
        assert_ok(line_next(r, &line, &length));
        if (!line)
            break;
        assert_memory_equal(line, text->data + at, length);
        at += length;
        if (at < text->n)
            assert_int_equal(text->data[at++], '\n');
        n++;
    }
    line_position(r, &done, &total);
    assert_int_equal(done, total);
    assert_int_equal(at, text->n);
    assert_int_equal(n, n_lines);
    line_reader_close(r);
}

/* One member or frame for each of the parts. */
static void pack_text(struct buf *out, const struct buf *text, bool gzip, size_t parts)
{
    for (size_t i = 0; i < parts; i++) {
        size_t begin = text->n * i / parts, n = text->n * (i + 1) / parts - begin, room = n + n / 10 + 1000, made;
        assert_ok(buf_reserve(out, room));
        if (gzip) {
            z_stream z = {.next_in = (Bytef *)text->data + begin,
                          .avail_in = (uInt)n,
                          .next_out = (Bytef *)out->data + out->n,
                          .avail_out = (uInt)room};
            assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
            assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
            made = room - z.avail_out;
            deflateEnd(&z);
        } else {
            made = ZSTD_compress(out->data + out->n, room, text->data + begin, n, 3);
            assert_false(ZSTD_isError(made));
        }
        out->n += made;
    }
}

static void compressed_lines_are_the_same(void **state)
{
    (void)state;
    struct buf text = {0};
    size_t n = long_text(&text);
    scratch_write(scratch_path("plain"), text.data, text.n);
    assert_same_text(scratch_path("plain"), &text, n);
    for (int gzip = 0; gzip < 2; gzip++)
        for (size_t parts = 1; parts < 4; parts += 2) {
            struct buf packed = {0};
            pack_text(&packed, &text, gzip, parts);
            scratch_write(scratch_path("packed"), packed.data, packed.n);
            assert_same_text(scratch_path("packed"), &text, n);
            buf_release(&packed);
        }
    buf_release(&text);
}

static enum trawl_status read_through(const char *path)
{
    struct line_reader *r;
    const char *line = "";
    size_t n;
    enum trawl_status status = line_reader_open(&r, path);
    while (!status && line)
        status = line_next(r, &line, &n);
    line_reader_close(r);
    return status;
}

static void truncated_or_altered_gzip_and_zstd_are_refused(void **state)
{
    (void)state;
    struct buf text = {.data = NULL};
    for (int i = 0; i < 40; i++)
        assert_ok(buf_printf(&text, "line %d of a small file\n", i * i));
    for (int gzip = 0; gzip < 2; gzip++) {
        struct buf packed = {0};
        pack_text(&packed, &text, gzip, 1);
        for (size_t n = 5; n < packed.n; n++) {
            scratch_write(scratch_path("cut"), packed.data, n);
            assert_int_equal(read_through(scratch_path("cut")), TRAWL_CORRUPT);
            assert_message("cut");
        }
        for (size_t i = 0; i < packed.n; i++) { /* zstd here has no checksum: it must only not crash or hang */
            packed.data[i] = (char)(packed.data[i] ^ 0x55);
            scratch_write(scratch_path("flip"), packed.data, packed.n);
            (void)read_through(scratch_path("flip"));
            packed.data[i] = (char)(packed.data[i] ^ 0x55);
        }
        buf_release(&packed);
    }
    buf_release(&text);
}

static void lines_come_from_a_slow_pipe(void **state)
{
    (void)state;
    const char *const lines[] = {"ab", "cd", "e"};
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    pid_t child = fork();
    if (!child) {
        int fd = open(scratch_path("pipe"), O_WRONLY);
        for (const char *c = "ab\ncd\ne"; *c; c++) {
            if (write(fd, c, 1) != 1)
                _exit(1);
            usleep(1000);
        }
        _exit(0);
    }
    assert_lines(scratch_path("pipe"), lines, 3);
    waitpid(child, NULL, 0);
}

/* ---- folders ---- */

static void folders_are_made_listed_and_removed(void **state)
{
    (void)state;
    struct buf names = {0};
    size_t n;
    assert_ok(file_make_folder(scratch_path("a/b/c")));
    assert_ok(file_make_folder(scratch_path("a/b/c/")));
    assert_true(file_is_folder(scratch_path("a/b/c")));
    scratch_write(scratch_path("a/z"), "", 0);
    scratch_write(scratch_path("a/B"), "", 0);
    scratch_write(scratch_path("a/.h"), "", 0);
    assert_ok(file_list(&names, &n, scratch_path("a")));
    assert_int_equal(n, 4);
    assert_memory_equal(names.data, ".h\0B\0b\0z", 9);
    buf_release(&names);
    assert_int_equal(file_make_folder(scratch_path("a/z/x")), TRAWL_IO);
    assert_message("a/z");
    assert_int_equal(symlink("/", scratch_path("a/root")), 0); /* a link is removed, not followed */
    assert_ok(file_remove_tree(scratch_path("a")));
    assert_false(file_exists(scratch_path("a")));
    assert_ok(file_remove_tree(scratch_path("a")));
    char *joined = file_join("x/", "y");
    assert_string_equal(joined, "x/y");
    free(joined);
}

static void no_temporary_files_stay(void **state)
{
    (void)state;
    size_t before = names_in(scratch);
    struct file_writer w;
    assert_ok(file_writer_open(&w, scratch_path("out")));
    assert_ok(file_writer_commit(&w));
    assert_int_equal(names_in(scratch), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(printf_longer_than_its_block_is_whole),
        cmocka_unit_test(nothing_is_seen_before_commit_or_after_abort),
        cmocka_unit_test(a_killed_writer_leaves_the_old_file),
        cmocka_unit_test(a_full_disk_is_reported_with_path_and_keeps_the_old_file),
        cmocka_unit_test(dev_full_is_an_error_and_stays_a_device),
        cmocka_unit_test(a_link_stays_a_link),
        cmocka_unit_test(writing_where_no_folder_is_fails_with_path),
        cmocka_unit_test(maps_and_limits),
        cmocka_unit_test(lines_end_at_newline_alone),
        cmocka_unit_test(compressed_lines_are_the_same),
        cmocka_unit_test(truncated_or_altered_gzip_and_zstd_are_refused),
        cmocka_unit_test(lines_come_from_a_slow_pipe),
        cmocka_unit_test(folders_are_made_listed_and_removed),
        cmocka_unit_test(no_temporary_files_stay),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
