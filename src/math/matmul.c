/*
 * oneDNN behind plans. It comes with two C interfaces: version 2 has descriptors as plain structs, version 3 opaque
 * ones; the few calls that differ are wrapped first, the rest is common.
 *
 * Threads: oneDNN runs a primitive on the OpenMP team of the calling thread, and each thread of ours would get a team
 * of its own. So every thread that creates or runs a primitive first sets its team to one; the number is kept by OpenMP
 * per thread, and asking again costs a thread-local flag.
 */
#include "matmul.h"
#include "base/mem.h"
#include "format.h"
#include "isa.h"
#include <assert.h>
#include <dnnl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t view;
typedef dnnl_memory_desc_t desc;
static dnnl_status_t desc_make(desc *d, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(d, 2, dims, type, tag);
}
static void desc_drop(desc *d)
{
    dnnl_memory_desc_destroy(*d);
}
#define VIEW(d) (d)
static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, view x, view w, view y,
                                 const_dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, x, w, NULL, y, attr);
}
static dnnl_status_t reorder_desc(dnnl_primitive_desc_t *pd, view from, view to, dnnl_engine_t engine)
{
    return dnnl_reorder_primitive_desc_create(pd, from, engine, to, engine, NULL);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}
#else
typedef const dnnl_memory_desc_t *view;
typedef dnnl_memory_desc_t desc;
static dnnl_status_t desc_make(desc *d, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(d, 2, dims, type, tag);
}
static void desc_drop(desc *d)
{
    (void)d;
}
#define VIEW(d) (&(d))
static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, view x, view w, view y,
                                 const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t op;
    dnnl_status_t status = dnnl_matmul_desc_init(&op, x, w, NULL, y);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &op, attr, engine, NULL) : status;
}
static dnnl_status_t reorder_desc(dnnl_primitive_desc_t *pd, view from, view to, dnnl_engine_t engine)
{
    return dnnl_reorder_primitive_desc_create(pd, from, engine, to, engine, NULL);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}
#endif

enum { SIZES = 4 };
struct tile_size {
    size_t M;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
};

/* sizes[0] is the full tile; the others are smaller ones that give the same bits, in falling order. */
struct matmul_plan {
    enum matmul_kind kind;
    bool sum; /* y is added to */
    size_t M, N, K, n_sizes;
    struct tile_size sizes[SIZES];
};

struct matmul_weights {
    void *data;
    size_t bytes;
    dnnl_memory_t memory;
};

struct matmul_exec {
    const struct matmul_plan *plan;
    dnnl_stream_t stream;
    struct {
        dnnl_memory_t x, y, scratch;
    } sizes[SIZES];
    void *scratch_data;
    size_t scratch_bytes;
};

/* Present when the library uses OpenMP; of the loaded runtime, whichever it is. */
extern void omp_set_num_threads(int n) __attribute__((weak));

static void one_thread(void)
{
    static _Thread_local bool done;
    if (done)
        return;
    if (omp_set_num_threads)
        omp_set_num_threads(1);
    done = true;
}

static enum trawl_status dnnl_failed(const char *what, dnnl_status_t status)
{
    enum trawl_status code = status == dnnl_out_of_memory   ? TRAWL_NOMEM
                             : status == dnnl_unimplemented ? TRAWL_UNSUPPORTED
                                                            : TRAWL_LIMIT;
    return fail(code, "matrix product: %s failed in oneDNN %d.%d with status %d", what, dnnl_version()->major,
                dnnl_version()->minor, (int)status);
}

#define TRY_DNNL(what, call)                                                                                           \
    do {                                                                                                               \
        dnnl_status_t try_dnnl_ = (call);                                                                              \
        if (try_dnnl_ != dnnl_success) {                                                                               \
            status = dnnl_failed(what, try_dnnl_);                                                                     \
            goto out;                                                                                                  \
        }                                                                                                              \
    } while (0)

static dnnl_engine_t engine;
static pthread_once_t engine_once = PTHREAD_ONCE_INIT;

/* oneDNN looks at the processor itself; what the user allows (TRAWL_ISA) has to be told to it before its first use. */
static void engine_init(void)
{
    if (isa_level() == ISA_REF)
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
    else if (isa_level() == ISA_AVX2)
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    else if (!isa_has(ISA_VNNI))
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core);
    else if (!isa_has(ISA_BF16))
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_vnni);
    else if (!isa_has(ISA_AMX_BF16))
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16);
    one_thread();
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
        engine = NULL;
}

static dnnl_engine_t engine_get(void)
{
    pthread_once(&engine_once, engine_init);
    one_thread();
    return engine;
}

int matmul_int8_weight_max(void)
{
    engine_get();
    bool vnni = ((unsigned)dnnl_get_effective_cpu_isa() & 0x40u) != 0; /* the bit of VNNI on AVX-512 */
    return vnni ? 127 : 64;
}

static const dnnl_data_type_t x_type[] = {dnnl_f32, dnnl_bf16, dnnl_u8};
static const dnnl_data_type_t w_type[] = {dnnl_f32, dnnl_bf16, dnnl_s8};
static const dnnl_data_type_t y_type[] = {dnnl_f32, dnnl_f32, dnnl_s32};

static enum trawl_status run_size(struct matmul_exec *exec, size_t i, void *y, const void *x,
                                  const struct matmul_weights *weights);

static void tile_size_release(struct tile_size *size)
{
    if (size->primitive)
        dnnl_primitive_destroy(size->primitive);
    if (size->pd)
        dnnl_primitive_desc_destroy(size->pd);
    *size = (struct tile_size){0};
}

/* packed: layout that the weights must have, NULL: what oneDNN likes best. */
static enum trawl_status tile_size_new(struct tile_size *size, const struct matmul_plan *plan, size_t M, view packed)
{
    enum matmul_kind kind = plan->kind;
    size_t N = plan->N, K = plan->K;
    dnnl_post_ops_t ops = NULL;
    enum trawl_status status = TRAWL_OK;
    dnnl_primitive_attr_t attr = NULL;
    desc x, w, y;
    int made = 0;
    const dnnl_dims_t x_dims = {(dnnl_dim_t)M, (dnnl_dim_t)K}, w_dims = {(dnnl_dim_t)K, (dnnl_dim_t)N},
                      y_dims = {(dnnl_dim_t)M, (dnnl_dim_t)N};
    *size = (struct tile_size){.M = M};
    if (!engine_get())
        return fail(TRAWL_UNSUPPORTED, "oneDNN has no CPU engine here");
    TRY_DNNL("a description", desc_make(&x, x_dims, x_type[kind], dnnl_ab));
    made++;
    TRY_DNNL("a description", desc_make(&w, w_dims, w_type[kind], dnnl_format_tag_any));
    made++;
    TRY_DNNL("a description", desc_make(&y, y_dims, y_type[kind], dnnl_ab));
    made++;
    TRY_DNNL("an attribute", dnnl_primitive_attr_create(&attr));
    TRY_DNNL("an attribute", dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    if (plan->sum) {
        TRY_DNNL("an attribute", dnnl_post_ops_create(&ops));
        TRY_DNNL("an attribute", append_sum(ops));
        TRY_DNNL("an attribute", dnnl_primitive_attr_set_post_ops(attr, ops));
    }
    TRY_DNNL("planning", matmul_desc(&size->pd, engine, VIEW(x), packed ? packed : VIEW(w), VIEW(y), attr));
    TRY_DNNL("generating code", dnnl_primitive_create(&size->primitive, size->pd));
out:
    if (made > 0)
        desc_drop(&x);
    if (made > 1)
        desc_drop(&w);
    if (made > 2)
        desc_drop(&y);
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    if (status)
        tile_size_release(size);
    return status;
}

bool matmul_supports(enum matmul_kind kind)
{
    struct tile_size size = {0};
    const struct matmul_plan plan = {.kind = kind, .N = 64, .K = 64};
    bool good = tile_size_new(&size, &plan, 16, NULL) == TRAWL_OK;
    tile_size_release(&size);
    return good;
}

static const size_t x_bytes[] = {4, 2, 1}, w_bytes[] = {4, 2, 1};

/* Numbers whose sums depend on the order of summing: of many magnitudes, none special. */
static void fill_for_trial(void *data, size_t n, enum matmul_kind kind)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        float x = ((float)(state >> 8) - 8388608.0f) * 0x1p-23f;
        if (kind == MATMUL_F32)
            ((float *)data)[i] = x;
        else if (kind == MATMUL_BF16)
            ((uint16_t *)data)[i] = bf16_from_f32(x);
        else
            ((uint8_t *)data)[i] = (uint8_t)(state >> 25);
    }
}

/* Drops the smaller sizes whose results differ from the full tile's in any bit. */
static enum trawl_status keep_equal_sizes(struct matmul_plan *plan)
{
    enum trawl_status status = TRAWL_OK;
    struct matmul_weights *weights = NULL;
    struct matmul_exec *exec = NULL;
    size_t n = plan->n_sizes, kept = 1, M = plan->M, N = plan->N, K = plan->K;
    void *W = mem_aligned(N * K, w_bytes[plan->kind]), *x = mem_aligned(M * K, x_bytes[plan->kind]);
    char *want = mem_aligned(M * N, 4), *got = mem_aligned(M * N, 4);
    if (!W || !x || !want || !got) {
        status = mem_status();
        goto out;
    }
    fill_for_trial(W, N * K, plan->kind);
    fill_for_trial(x, M * K, plan->kind);
    memset(want, 0, M * N * 4);
    memset(got, 0, M * N * 4);
    TRY_OUT(matmul_weights_new(&weights, plan, W));
    TRY_OUT(matmul_exec_new(&exec, plan));
    TRY_OUT(run_size(exec, 0, want, x, weights));
    for (size_t i = 1; i < n; i++) {
        size_t rows = plan->sizes[i].M;
        for (size_t r = 0; r < M; r += rows)
            TRY_OUT(run_size(exec, i, got + r * N * 4, (char *)x + r * K * x_bytes[plan->kind], weights));
        if (memcmp(want, got, M * N * 4) != 0)
            tile_size_release(&plan->sizes[i]);
    }
    for (size_t i = 1; i < n; i++)
        if (plan->sizes[i].primitive) {
            struct tile_size size = plan->sizes[i];
            plan->sizes[i] = (struct tile_size){0};
            plan->sizes[kept++] = size;
        }
    plan->n_sizes = kept;
out:
    matmul_exec_free(exec);
    matmul_weights_free(weights);
    free(W), free(x), free(want), free(got);
    return status;
}

static enum trawl_status plan_new(struct matmul_plan **out, const struct matmul_plan *shape)
{
    enum trawl_status status = TRAWL_OK;
    size_t M = shape->M;
    struct matmul_plan *plan = mem_array(1, sizeof *plan);
    *out = NULL;
    if (!plan)
        return mem_status();
    *plan = *shape;
    TRY_OUT(tile_size_new(&plan->sizes[0], plan, M, NULL));
    plan->n_sizes = 1;
    view packed = dnnl_primitive_desc_query_md(plan->sizes[0].pd, dnnl_query_weights_md, 0);
    for (size_t i = 1, rows = M / 2; i < SIZES && rows && M % rows == 0; i++, rows = rows > 16 ? 16 : 1)
        if (tile_size_new(&plan->sizes[plan->n_sizes], plan, rows, packed) == TRAWL_OK)
            plan->n_sizes++;
    TRY_OUT(keep_equal_sizes(plan));
out:
    if (status)
        matmul_plan_free(plan);
    else
        *out = plan;
    return status;
}

enum trawl_status matmul_plan_new(struct matmul_plan **out, enum matmul_kind kind, size_t M, size_t N, size_t K)
{
    return plan_new(out, &(struct matmul_plan){.kind = kind, .M = M, .N = N, .K = K});
}

enum trawl_status matmul_plan_new_sum(struct matmul_plan **out, enum matmul_kind kind, size_t M, size_t N, size_t K)
{
    return plan_new(out, &(struct matmul_plan){.kind = kind, .sum = true, .M = M, .N = N, .K = K});
}

void matmul_plan_free(struct matmul_plan *plan)
{
    for (size_t i = 0; plan && i < SIZES; i++)
        tile_size_release(&plan->sizes[i]);
    free(plan);
}

size_t matmul_plan_rows(const struct matmul_plan *plan)
{
    return plan->M;
}

struct matmul_packer {
    const struct matmul_plan *plan;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_memory_t from;
};

static view packed_of(const struct matmul_plan *plan)
{
    return dnnl_primitive_desc_query_md(plan->sizes[0].pd, dnnl_query_weights_md, 0);
}

enum trawl_status matmul_packer_new(struct matmul_packer **out, const struct matmul_plan *plan, bool transposed)
{
    enum trawl_status status = TRAWL_OK;
    struct matmul_packer *p = mem_array(1, sizeof *p);
    desc plain;
    bool made = false;
    const dnnl_dims_t dims = {(dnnl_dim_t)plan->K, (dnnl_dim_t)plan->N};
    *out = NULL;
    if (!p)
        return mem_status();
    engine_get();
    p->plan = plan;
    TRY_DNNL("a description", desc_make(&plain, dims, w_type[plan->kind], transposed ? dnnl_ab : dnnl_ba));
    made = true;
    TRY_DNNL("a memory", dnnl_memory_create(&p->from, VIEW(plain), engine, DNNL_MEMORY_NONE));
    TRY_DNNL("planning to pack", reorder_desc(&p->pd, VIEW(plain), packed_of(plan), engine));
    TRY_DNNL("packing", dnnl_primitive_create(&p->primitive, p->pd));
    TRY_DNNL("a stream", dnnl_stream_create(&p->stream, engine, dnnl_stream_default_flags));
out:
    if (made)
        desc_drop(&plain);
    if (status)
        matmul_packer_free(p);
    else
        *out = p;
    return status;
}

void matmul_packer_free(struct matmul_packer *p)
{
    if (!p)
        return;
    if (p->stream)
        dnnl_stream_destroy(p->stream);
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
    if (p->pd)
        dnnl_primitive_desc_destroy(p->pd);
    if (p->from)
        dnnl_memory_destroy(p->from);
    free(p);
}

enum trawl_status matmul_pack(struct matmul_packer *p, struct matmul_weights *weights, const void *W)
{
    enum trawl_status status = TRAWL_OK;
    one_thread();
    TRY_DNNL("packing", dnnl_memory_set_data_handle(p->from, (void *)W));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, p->from}, {DNNL_ARG_TO, weights->memory}};
    TRY_DNNL("packing", dnnl_primitive_execute(p->primitive, p->stream, 2, args));
    TRY_DNNL("packing", dnnl_stream_wait(p->stream));
out:
    return status;
}

static enum trawl_status pack_once(struct matmul_weights *weights, const struct matmul_plan *plan, const void *W)
{
    struct matmul_packer *packer;
    TRY(matmul_packer_new(&packer, plan, false));
    enum trawl_status status = matmul_pack(packer, weights, W);
    matmul_packer_free(packer);
    return status;
}

enum trawl_status matmul_weights_new(struct matmul_weights **out, const struct matmul_plan *plan, const void *W)
{
    enum trawl_status status = TRAWL_OK;
    struct matmul_weights *weights = mem_array(1, sizeof *weights);
    *out = NULL;
    if (!weights)
        return mem_status();
    engine_get();
    view packed = packed_of(plan);
    weights->bytes = dnnl_memory_desc_get_size(packed);
    weights->data = mem_aligned(weights->bytes, 1);
    if (!weights->data) {
        status = mem_status();
        goto out;
    }
    memset(weights->data, 0, weights->bytes);
    TRY_DNNL("a memory", dnnl_memory_create(&weights->memory, packed, engine, weights->data));
    if (W)
        TRY_OUT(pack_once(weights, plan, W));
out:
    if (status)
        matmul_weights_free(weights);
    else
        *out = weights;
    return status;
}

void matmul_weights_free(struct matmul_weights *weights)
{
    if (!weights)
        return;
    if (weights->memory)
        dnnl_memory_destroy(weights->memory);
    free(weights->data);
    free(weights);
}

size_t matmul_weights_bytes(const struct matmul_weights *weights)
{
    return weights->bytes;
}

static view scratch_of(const struct tile_size *size)
{
    return dnnl_primitive_desc_query_md(size->pd, dnnl_query_scratchpad_md, 0);
}

enum trawl_status matmul_exec_new(struct matmul_exec **out, const struct matmul_plan *plan)
{
    enum trawl_status status = TRAWL_OK;
    struct matmul_exec *exec = mem_array(1, sizeof *exec);
    *out = NULL;
    if (!exec)
        return mem_status();
    engine_get();
    exec->plan = plan;
    for (size_t i = 0; i < plan->n_sizes; i++) {
        size_t bytes = dnnl_memory_desc_get_size(scratch_of(&plan->sizes[i]));
        exec->scratch_bytes = bytes > exec->scratch_bytes ? bytes : exec->scratch_bytes;
    }
    exec->scratch_data = mem_aligned(exec->scratch_bytes, 1);
    if (!exec->scratch_data) {
        status = mem_status();
        goto out;
    }
    TRY_DNNL("a stream", dnnl_stream_create(&exec->stream, engine, dnnl_stream_default_flags));
    for (size_t i = 0; i < plan->n_sizes; i++) {
        dnnl_primitive_desc_t pd = plan->sizes[i].pd;
        view x = dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0);
        view y = dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0);
        TRY_DNNL("a memory", dnnl_memory_create(&exec->sizes[i].x, x, engine, DNNL_MEMORY_NONE));
        TRY_DNNL("a memory", dnnl_memory_create(&exec->sizes[i].y, y, engine, DNNL_MEMORY_NONE));
        TRY_DNNL("a memory",
                 dnnl_memory_create(&exec->sizes[i].scratch, scratch_of(&plan->sizes[i]), engine, exec->scratch_data));
    }
out:
    if (status)
        matmul_exec_free(exec);
    else
        *out = exec;
    return status;
}

void matmul_exec_free(struct matmul_exec *exec)
{
    if (!exec)
        return;
    for (size_t i = 0; i < SIZES; i++) {
        dnnl_memory_t all[] = {exec->sizes[i].x, exec->sizes[i].y, exec->sizes[i].scratch};
        for (size_t j = 0; j < 3; j++)
            if (all[j])
                dnnl_memory_destroy(all[j]);
    }
    if (exec->stream)
        dnnl_stream_destroy(exec->stream);
    free(exec->scratch_data);
    free(exec);
}

size_t matmul_exec_bytes(const struct matmul_exec *exec)
{
    return exec->scratch_bytes + sizeof *exec;
}

static enum trawl_status run_size(struct matmul_exec *exec, size_t i, void *y, const void *x,
                                  const struct matmul_weights *weights)
{
    enum trawl_status status = TRAWL_OK;
    one_thread();
    TRY_DNNL("a call", dnnl_memory_set_data_handle(exec->sizes[i].x, (void *)x));
    TRY_DNNL("a call", dnnl_memory_set_data_handle(exec->sizes[i].y, y));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, exec->sizes[i].x},
                                    {DNNL_ARG_WEIGHTS, weights->memory},
                                    {DNNL_ARG_DST, exec->sizes[i].y},
                                    {DNNL_ARG_SCRATCHPAD, exec->sizes[i].scratch}};
    TRY_DNNL("a call", dnnl_primitive_execute(exec->plan->sizes[i].primitive, exec->stream, 4, args));
out:
    return status;
}

enum trawl_status matmul_run(struct matmul_exec *exec, void *y, const void *x, const struct matmul_weights *weights,
                             size_t rows)
{
    size_t i = exec->plan->n_sizes - 1;
    assert(rows <= exec->plan->M);
    while (exec->plan->sizes[i].M < rows)
        i--;
    return run_size(exec, i, y, x, weights);
}
