/* A pack is read back as written, or refused: cut at every length, every byte altered, newer, of another kind. */
#include "scratch.h"
#include "base/pack.h"
#include "base/pool.h"
#include <stdatomic.h>
#include <sys/stat.h>
#include <xxhash.h>

enum { LARGE = 3 * (1 << 18) + 5 };
static unsigned char large[LARGE];

static void make_pack(const char *path, size_t large_bytes)
{
    struct pack_writer *w;
    assert_ok(pack_create(&w, path, "TEST", 2));
    assert_ok(pack_add(w, "empty", NULL, 0));
    assert_ok(pack_add(w, "small", "hello", 5));
    assert_ok(pack_chunk_begin(w, "large"));
    for (size_t at = 0; at < large_bytes; at += 10007)
        assert_ok(pack_write(w, large + at, large_bytes - at < 10007 ? large_bytes - at : 10007));
    assert_ok(pack_chunk_end(w));
    assert_ok(pack_commit(&w));
    assert_null(w);
}

static int fill_large(void **state)
{
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (unsigned char)(i * i >> 3);
    return scratch_make(state);
}

static void chunks_are_read_back(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, (1 << 18) - 192, (1 << 18) - 191, LARGE}; /* a block ends at the table, or does not */
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct pack *p;
        const void *data;
        const char *name;
        uint64_t bytes;
        size_t n;
        make_pack(scratch_path("p"), sizes[s]);
        assert_ok(pack_open(&p, scratch_path("p"), "TEST", 3));
        assert_int_equal(pack_version(p), 2);
        assert_ok(pack_chunk(p, "empty", &data, &n));
        assert_int_equal(n, 0);
        assert_ok(pack_chunk(p, "small", &data, &n));
        assert_int_equal(n, 5);
        assert_memory_equal(data, "hello", 5);
        assert_ok(pack_chunk(p, "large", &data, &n));
        assert_int_equal(n, sizes[s]);
        assert_memory_equal(data, large, n);
        assert_int_equal((uintptr_t)data % 64, 0);
        assert_ok(pack_verify_all(p));
        assert_int_equal(pack_chunk(p, "absent", &data, &n), TRAWL_NOT_FOUND);
        assert_null(data);
        assert_true(pack_entry(p, 2, &name, &bytes));
        assert_string_equal(name, "large");
        assert_int_equal(bytes, sizes[s]);
        assert_false(pack_entry(p, 3, &name, &bytes));
        pack_close(p);
    }
}

/* The layout is a promise of docs/formats/pack.md: these offsets are its. */
static void the_layout_is_as_documented(void **state)
{
    (void)state;
    struct file_map map;
    uint64_t table, table_bytes, file_bytes, hash, n_chunks, n_blocks, offset;
    make_pack(scratch_path("p"), LARGE);
    assert_ok(file_map_open(&map, scratch_path("p")));
    const unsigned char *tail = map.data + map.bytes - 64;
    memcpy(&table, tail, 8);
    memcpy(&table_bytes, tail + 8, 8);
    memcpy(&file_bytes, tail + 16, 8);
    assert_int_equal(file_bytes, map.bytes);
    assert_int_equal(table + table_bytes + 64, map.bytes);
    memcpy(&hash, tail + 24, 8);
    assert_true(hash == XXH3_64bits(map.data + table, table_bytes));
    memcpy(&n_chunks, map.data + table, 8);
    memcpy(&n_blocks, map.data + table + 8, 8);
    assert_int_equal(n_chunks, 3);
    assert_int_equal(n_blocks, (table + 262143) / 262144);
    assert_string_equal((const char *)map.data + table + 16 + 80, "small");
    memcpy(&offset, map.data + table + 16 + 80 + 64, 8);
    assert_memory_equal(map.data + offset, "hello", 5);
    memcpy(&hash, map.data + table + 16 + 80 * 3 + 8, 8);
    assert_true(hash == XXH3_64bits(map.data + 262144, 262144));
    file_map_close(&map);
}

/* Open and read all that it has. */
static enum trawl_status read_all(const char *path)
{
    struct pack *p;
    enum trawl_status status = pack_open(&p, path, "TEST", 2);
    if (status)
        return status;
    status = pack_verify_all(p);
    pack_close(p);
    return status;
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    const char *path = scratch_path("p");
    make_pack(path, 300);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (off_t n = st.st_size - 1; n >= 0; n--) {
        assert_int_equal(truncate(path, n), 0);
        if (read_all(path) != TRAWL_CORRUPT)
            fail_msg("cut to %ld bytes: %s", (long)n, trawl_message());
        assert_message(path);
    }
}

static void every_altered_byte_is_found(void **state)
{
    (void)state;
    struct buf text = {0};
    make_pack(scratch_path("p"), 300);
    assert_ok(file_read(&text, scratch_path("p"), 1 << 20));
    for (size_t i = 0; i < text.n; i++)
        for (int bit = 0; bit < 8; bit += 7) {
            text.data[i] = (char)(text.data[i] ^ 1 << bit);
            scratch_write(scratch_path("q"), text.data, text.n);
            enum trawl_status status = read_all(scratch_path("q"));
            if (status != TRAWL_CORRUPT && !(i < 8 && status == TRAWL_FORMAT))
                fail_msg("byte %zu, bit %d: status %d", i, bit, status);
            text.data[i] = (char)(text.data[i] ^ 1 << bit);
        }
    buf_release(&text);
}

/* Only the touched block is hashed, and a wrong one is refused each time. */
static void blocks_are_verified_when_touched(void **state)
{
    (void)state;
    struct buf text = {0};
    struct pack *p;
    const void *data;
    size_t n;
    make_pack(scratch_path("p"), LARGE);
    assert_ok(file_read(&text, scratch_path("p"), 1 << 24));
    text.data[(1 << 18) * 2 + 100] ^= 1; /* in the third block */
    scratch_write(scratch_path("q"), text.data, text.n);
    assert_ok(pack_open(&p, scratch_path("q"), "TEST", 2));
    assert_ok(pack_chunk(p, "small", &data, &n));
    assert_ok(pack_chunk_lazy(p, "large", &data, &n));
    assert_ok(pack_verify_range(p, data, 1 << 18));
    assert_ok(pack_verify_range(p, (const char *)data + n - 1, 1));
    assert_ok(pack_verify_range(p, data, 0));
    assert_int_equal(pack_verify_range(p, data, n), TRAWL_CORRUPT);
    assert_message("in 'large'");
    assert_int_equal(pack_chunk(p, "large", &data, &n), TRAWL_CORRUPT);
    assert_null(data);
    assert_int_equal(pack_verify_all(p), TRAWL_CORRUPT);
    pack_close(p);
    buf_release(&text);
}

static void other_kinds_and_newer_versions_are_refused(void **state)
{
    (void)state;
    struct pack *p;
    char kind[5];
    make_pack(scratch_path("p"), 10);
    assert_int_equal(pack_open(&p, scratch_path("p"), "VECS", 2), TRAWL_FORMAT);
    assert_message("holds 'TEST', expected 'VECS'");
    assert_int_equal(pack_open(&p, scratch_path("p"), "TEST", 1), TRAWL_UNSUPPORTED);
    assert_message("format 2 of 'TEST', this program reads up to 1");
    assert_null(p);
    assert_ok(pack_kind(kind, scratch_path("p")));
    assert_string_equal(kind, "TEST");
    scratch_write(scratch_path("text"), "some text that is no pack at all, and long enough to hold the head of one",
                  74);
    assert_int_equal(pack_kind(kind, scratch_path("text")), TRAWL_NOT_FOUND);
    assert_int_equal(pack_open(&p, scratch_path("text"), "TEST", 1), TRAWL_FORMAT);
    assert_int_equal(pack_open(&p, scratch_path("absent"), "TEST", 1), TRAWL_IO);
    assert_message("absent");
}

static void names_are_checked(void **state)
{
    (void)state;
    struct pack_writer *w;
    char longest[65];
    memset(longest, 'n', sizeof longest);
    longest[64] = '\0';
    assert_ok(pack_create(&w, scratch_path("names"), "TEST", 1));
    assert_ok(pack_add(w, longest + 1, "x", 1));
    assert_int_equal(pack_add(w, longest + 1, "x", 1), TRAWL_USAGE);
    assert_int_equal(pack_add(w, longest, "x", 1), TRAWL_USAGE);
    assert_int_equal(pack_add(w, "", "x", 1), TRAWL_USAGE);
    pack_abort(&w);
    assert_null(w);
    assert_false(file_exists(scratch_path("names")));
}

struct touch {
    struct pack *p;
    const unsigned char *data;
    _Atomic size_t bad;
};

static void touch(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct touch *t = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        if (pack_verify_range(t->p, t->data + i * 1009 % (LARGE - 2000), 2000))
            atomic_fetch_add(&t->bad, 1);
}

static void threads_may_verify_at_once(void **state)
{
    (void)state;
    struct touch t = {0};
    size_t n;
    make_pack(scratch_path("p"), LARGE);
    assert_ok(pack_open(&t.p, scratch_path("p"), "TEST", 2));
    assert_ok(pack_chunk_lazy(t.p, "large", (const void **)&t.data, &n));
    pool_set_threads(4);
    pool_run(10000, 1, touch, &t);
    assert_int_equal(t.bad, 0);
    pack_close(t.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_read_back),
        cmocka_unit_test(the_layout_is_as_documented),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_altered_byte_is_found),
        cmocka_unit_test(blocks_are_verified_when_touched),
        cmocka_unit_test(other_kinds_and_newer_versions_are_refused),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(threads_may_verify_at_once),
    };
    return cmocka_run_group_tests(tests, fill_large, scratch_remove);
}
