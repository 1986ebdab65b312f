#include "scratch.h"
#include "base/pool.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

struct count {
    _Atomic unsigned char *hits;
    size_t n, grain;
    _Atomic size_t bad, total;
};

static void mark(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct count *c = ctx;
    if (begin >= end || end > c->n || end - begin > c->grain || begin % c->grain || worker >= pool_threads())
        atomic_fetch_add(&c->bad, 1);
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add(&c->hits[i], 1);
}

static void each_item_is_visited_once(void **state)
{
    (void)state;
    const size_t threads[] = {1, 2, 3, 8}, sizes[] = {0, 1, 2, 7, 64, 1001}, grains[] = {1, 3, 64, 5000};
    static _Atomic unsigned char hits[1001];
    for (size_t t = 0; t < 4; t++) {
        pool_set_threads(threads[t]);
        assert_int_equal(pool_threads(), threads[t]);
        for (size_t s = 0; s < 6; s++)
            for (size_t g = 0; g < 4; g++) {
                struct count c = {.hits = hits, .n = sizes[s], .grain = grains[g]};
                memset((void *)hits, 0, sizeof hits);
                pool_run(sizes[s], grains[g], mark, &c);
                assert_int_equal(c.bad, 0);
                for (size_t i = 0; i < 1001; i++)
                    assert_int_equal(hits[i], i < sizes[s]);
            }
    }
}

static void add(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add((_Atomic size_t *)ctx, i);
}

/* Jobs follow each other at once, and after pauses in which workers fall asleep. */
static void many_small_jobs_are_all_done(void **state)
{
    (void)state;
    pool_set_threads(4);
    for (int job = 0; job < 20000; job++) {
        _Atomic size_t sum = 0;
        pool_run(17, 2, add, &sum);
        assert_int_equal(sum, 136);
        if (job % 500 == 0)
            usleep(2000);
    }
}

struct nested {
    _Atomic size_t sum, moved;
    struct nested *outer;
};

static void inner(void *ctx, size_t begin, size_t end, size_t worker)
{
    struct nested *n = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add(&n->sum, 1);
}

static void outer(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    for (size_t i = begin; i < end; i++)
        pool_run(10, 3, inner, ctx);
}

static void a_nested_call_runs_in_place(void **state)
{
    (void)state;
    struct nested n = {0};
    pool_set_threads(4);
    pool_run(100, 1, outer, &n);
    assert_int_equal(n.sum, 1000);
}

static void *call_often(void *ctx)
{
    _Atomic size_t *bad = ctx;
    for (int job = 0; job < 2000; job++) {
        _Atomic size_t sum = 0;
        pool_run(100, 7, add, &sum);
        if (sum != 4950)
            atomic_fetch_add(bad, 1);
    }
    return NULL;
}

static void calls_from_several_threads_are_each_complete(void **state)
{
    (void)state;
    pthread_t threads[4];
    _Atomic size_t bad = 0;
    pool_set_threads(3);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &bad), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(bad, 0);
}

static void a_forked_child_can_use_threads(void **state)
{
    (void)state;
    _Atomic size_t sum = 0;
    int code;
    pool_set_threads(4);
    pool_run(100, 1, add, &sum);
    pid_t child = fork();
    if (!child) {
        _Atomic size_t own = 0;
        pool_run(100, 1, add, &own);
        _exit(own == 4950 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_is_visited_once),
        cmocka_unit_test(many_small_jobs_are_all_done),
        cmocka_unit_test(a_nested_call_runs_in_place),
        cmocka_unit_test(calls_from_several_threads_are_each_complete),
        cmocka_unit_test(a_forked_child_can_use_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
