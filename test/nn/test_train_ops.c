/*
 * Backward passes of the plain ops in double against central differences of their forward passes. h = 1e-6 leaves about
 * 1e-9 of rounding and 1e-12 of curvature; a wrong term is off by a share of the gradient itself. The bound is 1e-6 of
 * the largest entry.
 */
#include "nn/grad_ops.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ARRAYS = 8, ROOM = 2000 };

/* Inputs of an op and the gradients of sum(y * g) with respect to them; y goes to `out`. */
struct op {
    const char *name;
    size_t n[ARRAYS]; /* lengths of inputs, 0: unused */
    size_t n_out;
    void (*forward)(struct op *op);
    void (*backward)(struct op *op);
    int kind; /* a variant of the op */
    double in[ARRAYS][ROOM], grad[ARRAYS][ROOM], out[ROOM], g[ROOM], kept[3][ROOM];
};

/* Irrational looking numbers in (-1,1), other for each array. */
static double value(size_t array, size_t i)
{
    double x = sin(12.9898 * (double)(i + 1) + 78.233 * (double)(array + 1)) * 43758.5453;
    return 2 * (x - floor(x)) - 1;
}

static double loss(struct op *op)
{
    double sum = 0;
    memset(op->out, 0, sizeof op->out);
    op->forward(op);
    for (size_t i = 0; i < op->n_out; i++)
        sum += op->out[i] * op->g[i];
    return sum;
}

static void check(const struct op *row)
{
    struct op *op = malloc(sizeof *op);
    *op = *row;
    for (size_t a = 0; a < ARRAYS; a++)
        for (size_t i = 0; i < op->n[a]; i++)
            op->in[a][i] = value(a, i);
    for (size_t i = 0; i < op->n_out; i++)
        op->g[i] = value(ARRAYS, i);
    loss(op);
    op->backward(op);
    for (size_t a = 0; a < ARRAYS; a++) {
        double top = 0, worst = 0;
        for (size_t i = 0; i < op->n[a]; i++)
            top = fmax(top, fabs(op->grad[a][i]));
        for (size_t i = 0; i < op->n[a]; i++) {
            double keep = op->in[a][i], h = 1e-6;
            op->in[a][i] = keep + h;
            double up = loss(op);
            op->in[a][i] = keep - h;
            double down = loss(op);
            op->in[a][i] = keep;
            worst = fmax(worst, fabs((up - down) / (2 * h) - op->grad[a][i]));
        }
        if (!(worst <= 1e-6 * top))
            fail_msg("%s, variant %d, input %zu: differs by %g, largest entry %g", op->name, op->kind, a, worst, top);
    }
    free(op);
}

enum { T = 5, C = 6, N = 7, R = 3, H = 4, K = 2, D = 6, V = 9 };

static void rms_forward(struct op *op)
{
    rms_norm_forward_f64(op->out, op->kept[0], op->in[0], op->in[1], T, C, 1e-5);
}
static void rms_backward(struct op *op)
{
    rms_norm_backward_f64(op->grad[0], op->grad[1], op->g, op->in[0], op->in[1], op->kept[0], T, C);
}
static void layer_forward(struct op *op)
{
    layer_norm_forward_f64(op->out, op->kept[0], op->kept[1], op->in[0], op->in[1], op->in[2], T, C, 1e-5);
}
static void layer_backward(struct op *op)
{
    layer_norm_backward_f64(op->grad[0], op->grad[1], op->grad[2], op->g, op->in[0], op->in[1], op->kept[0],
                            op->kept[1], T, C);
}
static void linear_f(struct op *op)
{
    linear_forward_f64(op->out, op->in[0], op->in[1], op->in[2], T, N, C);
}
static void linear_b(struct op *op)
{
    linear_backward_f64(op->grad[0], op->grad[1], op->grad[2], op->g, op->in[0], op->in[1], T, N, C);
}
static void lora_f(struct op *op)
{
    lora_forward_f64(op->out, op->kept[0], op->in[0], op->in[1], op->in[2], 1.7, T, N, C, R);
}
static void lora_b(struct op *op)
{
    lora_backward_f64(op->grad[0], op->grad[1], op->grad[2], op->g, op->kept[0], op->in[0], op->in[1], op->in[2], 1.7,
                      T, N, C, R);
}

/* Angles are kept beside the inputs. */
static void angles(struct op *op)
{
    for (size_t i = 0; i < T * D / 2; i++) {
        op->kept[0][i] = cos(0.3 * (double)i);
        op->kept[1][i] = sin(0.3 * (double)i);
    }
}
static void rope_f(struct op *op)
{
    angles(op);
    memcpy(op->out, op->in[0], op->n_out * sizeof *op->out);
    rope_forward_f64(op->out, op->kept[0], op->kept[1], T, H, D);
}
static void rope_b(struct op *op)
{
    memcpy(op->grad[0], op->g, op->n_out * sizeof *op->g);
    rope_backward_f64(op->grad[0], op->kept[0], op->kept[1], T, H, D);
}

/* causal, windowed, causal with a window, all, and with a soft cap. */
static struct grad_attention attention_of(int kind)
{
    return (struct grad_attention){.T = T,
                                   .H = H,
                                   .K = K,
                                   .D = D,
                                   .window = kind == 1 || kind == 2 ? 2 : 0,
                                   .scale = 0.8,
                                   .cap = kind == 4 ? 1.5 : 0,
                                   .causal = kind == 0 || kind == 2 || kind == 4};
}
static void attention_f(struct op *op)
{
    struct grad_attention a = attention_of(op->kind);
    attention_forward_f64(op->out, op->kept[0], op->in[0], op->in[1], op->in[2], &a);
    memcpy(op->kept[1], op->out, op->n_out * sizeof *op->out);
}
static void attention_b(struct op *op)
{
    struct grad_attention a = attention_of(op->kind);
    attention_backward_f64(op->grad[0], op->grad[1], op->grad[2], op->g, op->kept[1], op->kept[0], op->in[0], op->in[1],
                           op->in[2], &a);
}
static void activation_f(struct op *op)
{
    activation_forward_f64(op->out, op->in[0], op->n[1] ? op->in[1] : NULL, op->n_out, (enum nn_activation)op->kind);
}
static void activation_b(struct op *op)
{
    activation_backward_f64(op->grad[0], op->grad[1], op->g, op->in[0], op->n[1] ? op->in[1] : NULL, op->n_out,
                            (enum nn_activation)op->kind);
}

static const uint32_t ids[T] = {3, 1, 3, 0, 1}; /* rows in use more than once, and rows that are not */
static void embed_f(struct op *op)
{
    embed_forward_f64(op->out, op->in[0], ids, 2.5, T, C);
}
static void embed_b(struct op *op)
{
    embed_backward_f64(op->grad[0], op->g, ids, 2.5, T, C);
}
static void entropy_f(struct op *op)
{
    op->out[0] = cross_entropy_forward_f64(op->in[0], ids, op->kind ? 0.9 : 0, T, V);
}
static void entropy_b(struct op *op)
{
    cross_entropy_backward_f64(op->grad[0], op->in[0], ids, op->kind ? 0.9 : 0, T, V);
    for (size_t i = 0; i < op->n[0]; i++)
        op->grad[0][i] *= op->g[0];
}

static void norms(void **state)
{
    (void)state;
    check(&(struct op){
        .name = "rms norm", .n = {T * C, C}, .n_out = T * C, .forward = rms_forward, .backward = rms_backward});
    check(&(struct op){.name = "layer norm",
                       .n = {T * C, C, C},
                       .n_out = T * C,
                       .forward = layer_forward,
                       .backward = layer_backward});
}

static void products(void **state)
{
    (void)state;
    check(&(struct op){
        .name = "linear", .n = {T * C, N * C, N}, .n_out = T * N, .forward = linear_f, .backward = linear_b});
    check(&(struct op){
        .name = "lora", .n = {T * C, R * C, N * R}, .n_out = T * N, .forward = lora_f, .backward = lora_b});
}

static void rotations(void **state)
{
    (void)state;
    check(&(struct op){.name = "rope", .n = {T * H * D}, .n_out = T * H * D, .forward = rope_f, .backward = rope_b});
}

static void attentions(void **state)
{
    (void)state;
    for (int kind = 0; kind < 5; kind++)
        check(&(struct op){.name = "attention",
                           .n = {T * H * D, T * K * D, T * K * D},
                           .n_out = T * H * D,
                           .forward = attention_f,
                           .backward = attention_b,
                           .kind = kind});
}

static void activations(void **state)
{
    (void)state;
    for (int kind = NN_SILU; kind <= NN_RELU; kind++)
        for (size_t up = 0; up < 2; up++)
            check(&(struct op){.name = "activation",
                               .n = {40, up * 40},
                               .n_out = 40,
                               .forward = activation_f,
                               .backward = activation_b,
                               .kind = kind});
}

static void embeddings(void **state)
{
    (void)state;
    check(&(struct op){.name = "embedding", .n = {4 * C}, .n_out = T * C, .forward = embed_f, .backward = embed_b});
}

static void cross_entropies(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++)
        check(&(struct op){.name = "cross entropy",
                           .n = {T * V},
                           .n_out = 1,
                           .forward = entropy_f,
                           .backward = entropy_b,
                           .kind = kind});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms),           cmocka_unit_test(products),    cmocka_unit_test(rotations),
        cmocka_unit_test(attentions),      cmocka_unit_test(activations), cmocka_unit_test(embeddings),
        cmocka_unit_test(cross_entropies),
    };
    return cmocka_run_group_tests_name("nn/train_ops", tests, NULL, NULL);
}
