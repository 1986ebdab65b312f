/*
 * Bodies of grad_ops.h over `real`, named by NAME. Sums are taken in double.
 *
 * RMS norm: with r = 1 / sqrt(mean(x^2) + eps), y = w x r; differentiating r as well,
 *   dx = r (w dy - x r^2 mean(w dy x)).
 * Layer norm: with n = (x - mean) r,  dx = r (g - mean(g) - n mean(g n)),  g = w dy.
 * Softmax: ds_j = p_j (dp_j - sum_k p_k dp_k).
 */
#include <math.h>

void NAME(rms_norm_forward)(real *y, real *rstd, const real *x, const real *w, size_t T, size_t C, double eps)
{
    for (size_t t = 0; t < T; t++, x += C, y += C) {
        double sum = 0;
        for (size_t c = 0; c < C; c++)
            sum += (double)x[c] * (double)x[c];
        rstd[t] = (real)(1 / sqrt(sum / (double)C + eps));
        for (size_t c = 0; c < C; c++)
            y[c] = x[c] * rstd[t] * w[c];
    }
}

void NAME(rms_norm_backward)(real *dx, real *dw, const real *dy, const real *x, const real *w, const real *rstd,
                             size_t T, size_t C)
{
    for (size_t t = 0; t < T; t++, x += C, dy += C, dx += C) {
        real r = rstd[t];
        double dot = 0;
        for (size_t c = 0; c < C; c++)
            dot += (double)w[c] * (double)dy[c] * (double)x[c];
        real pull = (real)(dot / (double)C) * r * r;
        for (size_t c = 0; c < C; c++) {
            dx[c] += r * (w[c] * dy[c] - x[c] * pull);
            if (dw)
                dw[c] += dy[c] * x[c] * r;
        }
    }
}

void NAME(layer_norm_forward)(real *y, real *mean, real *rstd, const real *x, const real *w, const real *b, size_t T,
                              size_t C, double eps)
{
    for (size_t t = 0; t < T; t++, x += C, y += C) {
        double sum = 0, squares = 0;
        for (size_t c = 0; c < C; c++)
            sum += (double)x[c];
        double m = sum / (double)C;
        for (size_t c = 0; c < C; c++)
            squares += ((double)x[c] - m) * ((double)x[c] - m);
        double r = 1 / sqrt(squares / (double)C + eps);
        for (size_t c = 0; c < C; c++)
            y[c] = (real)(((double)x[c] - m) * r) * w[c] + b[c];
        mean[t] = (real)m;
        rstd[t] = (real)r;
    }
}

void NAME(layer_norm_backward)(real *dx, real *dw, real *db, const real *dy, const real *x, const real *w,
                               const real *mean, const real *rstd, size_t T, size_t C)
{
    for (size_t t = 0; t < T; t++, x += C, dy += C, dx += C) {
        real m = mean[t], r = rstd[t];
        double sum = 0, dot = 0;
        for (size_t c = 0; c < C; c++) {
            double g = (double)w[c] * (double)dy[c];
            sum += g;
            dot += g * (double)((x[c] - m) * r);
        }
        real push = (real)(sum / (double)C), pull = (real)(dot / (double)C);
        for (size_t c = 0; c < C; c++) {
            real n = (x[c] - m) * r;
            dx[c] += r * (w[c] * dy[c] - push - n * pull);
            if (dw)
                dw[c] += dy[c] * n;
            if (db)
                db[c] += dy[c];
        }
    }
}

void NAME(linear_forward)(real *y, const real *x, const real *W, const real *b, size_t T, size_t N, size_t K)
{
    for (size_t t = 0; t < T; t++)
        for (size_t n = 0; n < N; n++) {
            double sum = 0;
            for (size_t k = 0; k < K; k++)
                sum += (double)x[t * K + k] * (double)W[n * K + k];
            y[t * N + n] = (real)sum + (b ? b[n] : 0);
        }
}

void NAME(linear_backward)(real *dx, real *dW, real *db, const real *dy, const real *x, const real *W, size_t T,
                           size_t N, size_t K)
{
    for (size_t t = 0; t < T; t++)
        for (size_t n = 0; n < N; n++) {
            real g = dy[t * N + n];
            for (size_t k = 0; k < K; k++) {
                if (dx)
                    dx[t * K + k] += g * W[n * K + k];
                if (dW)
                    dW[n * K + k] += g * x[t * K + k];
            }
            if (db)
                db[n] += g;
        }
}

void NAME(lora_forward)(real *y, real *z, const real *x, const real *A, const real *B, double scale, size_t T, size_t N,
                        size_t K, size_t R)
{
    NAME(linear_forward)(z, x, A, NULL, T, R, K);
    for (size_t t = 0; t < T; t++)
        for (size_t n = 0; n < N; n++) {
            double sum = 0;
            for (size_t r = 0; r < R; r++)
                sum += (double)z[t * R + r] * (double)B[n * R + r];
            y[t * N + n] += (real)(scale * sum);
        }
}

/* With dz = scale * dy B:  dA = dz^T x,  dB = scale * dy^T z,  dx += dz A. */
void NAME(lora_backward)(real *dx, real *dA, real *dB, const real *dy, const real *z, const real *x, const real *A,
                         const real *B, double scale, size_t T, size_t N, size_t K, size_t R)
{
    for (size_t t = 0; t < T; t++)
        for (size_t r = 0; r < R; r++) {
            double sum = 0;
            for (size_t n = 0; n < N; n++) {
                sum += (double)dy[t * N + n] * (double)B[n * R + r];
                dB[n * R + r] += (real)scale * dy[t * N + n] * z[t * R + r];
            }
            real dz = (real)(scale * sum);
            for (size_t k = 0; k < K; k++) {
                dx[t * K + k] += dz * A[r * K + k];
                dA[r * K + k] += dz * x[t * K + k];
            }
        }
}

static void NAME(turn)(real *x, const real *cosine, const real *sine, real sign, size_t T, size_t H, size_t D)
{
    size_t half = D / 2;
    for (size_t t = 0; t < T; t++)
        for (size_t h = 0; h < H; h++, x += D)
            for (size_t i = 0; i < half; i++) {
                real c = cosine[t * half + i], s = sign * sine[t * half + i], a = x[i], b = x[i + half];
                x[i] = a * c - b * s;
                x[i + half] = b * c + a * s;
            }
}

void NAME(rope_forward)(real *x, const real *cosine, const real *sine, size_t T, size_t H, size_t D)
{
    NAME(turn)(x, cosine, sine, 1, T, H, D);
}

void NAME(rope_backward)(real *dx, const real *cosine, const real *sine, size_t T, size_t H, size_t D)
{
    NAME(turn)(dx, cosine, sine, -1, T, H, D);
}

static bool NAME(sees)(const struct grad_attention *a, size_t i, size_t j)
{
    if (a->causal && j > i)
        return false;
    return !a->window || (j + a->window > i && i + a->window > j);
}

/* What enters the softmax for query i and key j of head h. */
static double NAME(score)(const real *q, const real *k, const struct grad_attention *a, size_t i, size_t j, size_t h)
{
    double sum = 0;
    q += (i * a->H + h) * a->D;
    k += (j * a->K + h / (a->H / a->K)) * a->D;
    for (size_t d = 0; d < a->D; d++)
        sum += (double)q[d] * (double)k[d];
    return a->cap > 0 ? a->cap * tanh(a->scale * sum / a->cap) : a->scale * sum;
}

void NAME(attention_forward)(real *o, real *lse, const real *q, const real *k, const real *v,
                             const struct grad_attention *a)
{
    for (size_t i = 0; i < a->T; i++)
        for (size_t h = 0; h < a->H; h++, o += a->D) {
            double top = -INFINITY, sum = 0;
            for (size_t j = 0; j < a->T; j++)
                if (NAME(sees)(a, i, j))
                    top = fmax(top, NAME(score)(q, k, a, i, j, h));
            for (size_t d = 0; d < a->D; d++)
                o[d] = 0;
            for (size_t j = 0; j < a->T; j++) {
                if (!NAME(sees)(a, i, j))
                    continue;
                double p = exp(NAME(score)(q, k, a, i, j, h) - top);
                sum += p;
                for (size_t d = 0; d < a->D; d++)
                    o[d] += (real)p * v[(j * a->K + h / (a->H / a->K)) * a->D + d];
            }
            for (size_t d = 0; d < a->D; d++)
                o[d] = (real)((double)o[d] / sum);
            lse[i * a->H + h] = (real)(top + log(sum));
        }
}

void NAME(attention_backward)(real *dq, real *dk, real *dv, const real *go, const real *o, const real *lse,
                              const real *q, const real *k, const real *v, const struct grad_attention *a)
{
    for (size_t i = 0; i < a->T; i++)
        for (size_t h = 0; h < a->H; h++) {
            size_t at = (i * a->H + h) * a->D;
            double mean = 0;
            for (size_t d = 0; d < a->D; d++)
                mean += (double)go[at + d] * (double)o[at + d];
            for (size_t j = 0; j < a->T; j++) {
                if (!NAME(sees)(a, i, j))
                    continue;
                size_t key = (j * a->K + h / (a->H / a->K)) * a->D;
                double s = NAME(score)(q, k, a, i, j, h), p = exp(s - (double)lse[i * a->H + h]), dp = 0;
                for (size_t d = 0; d < a->D; d++) {
                    dp += (double)go[at + d] * (double)v[key + d];
                    dv[key + d] += (real)p * go[at + d];
                }
                double flat = a->cap > 0 ? 1 - s / a->cap * (s / a->cap) : 1;
                real ds = (real)(p * (dp - mean) * flat * a->scale);
                for (size_t d = 0; d < a->D; d++) {
                    dq[at + d] += ds * k[key + d];
                    dk[key + d] += ds * q[at + d];
                }
            }
        }
}

/* activation(x), and its derivative into *slope. */
static real NAME(activation_of)(real x, enum nn_activation kind, real *slope)
{
    double u = (double)x;
    switch (kind) {
    case NN_SILU: {
        double s = 1 / (1 + exp(-u));
        *slope = (real)(s * (1 + u * (1 - s)));
        return (real)(u * s);
    }
    case NN_GELU_TANH: { /* sqrt(2/pi) */
        double t = tanh(0.7978845608028654 * (u + 0.044715 * u * u * u));
        *slope = (real)(0.5 * (1 + t) + 0.5 * u * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * u * u));
        return (real)(0.5 * u * (1 + t));
    }
    case NN_GELU_ERF: { /* 1/sqrt(2), 1/sqrt(2 pi) */
        double e = 0.5 * (1 + erf(u * 0.7071067811865476));
        *slope = (real)(e + u * 0.3989422804014327 * exp(-0.5 * u * u));
        return (real)(u * e);
    }
    case NN_RELU:
        break;
    }
    *slope = x > 0 ? 1 : 0;
    return x > 0 ? x : 0;
}

void NAME(activation_forward)(real *y, const real *gate, const real *up, size_t n, enum nn_activation kind)
{
    real slope;
    for (size_t i = 0; i < n; i++)
        y[i] = NAME(activation_of)(gate[i], kind, &slope) * (up ? up[i] : 1);
}

void NAME(activation_backward)(real *dgate, real *dup, const real *dy, const real *gate, const real *up, size_t n,
                               enum nn_activation kind)
{
    for (size_t i = 0; i < n; i++) {
        real slope, a = NAME(activation_of)(gate[i], kind, &slope);
        dgate[i] += dy[i] * slope * (up ? up[i] : 1);
        if (up)
            dup[i] += dy[i] * a;
    }
}

void NAME(embed_forward)(real *x, const real *E, const uint32_t *ids, double scale, size_t T, size_t C)
{
    for (size_t t = 0; t < T; t++)
        for (size_t c = 0; c < C; c++)
            x[t * C + c] += (real)scale * E[ids[t] * C + c];
}

void NAME(embed_backward)(real *dE, const real *dx, const uint32_t *ids, double scale, size_t T, size_t C)
{
    for (size_t t = 0; t < T; t++)
        for (size_t c = 0; c < C; c++)
            dE[ids[t] * C + c] += (real)scale * dx[t * C + c];
}

static double NAME(capped)(real z, double cap)
{
    return cap > 0 ? cap * tanh((double)z / cap) : (double)z;
}

static double NAME(log_sum)(const real *z, double cap, size_t V)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < V; i++)
        top = fmax(top, NAME(capped)(z[i], cap));
    for (size_t i = 0; i < V; i++)
        sum += exp(NAME(capped)(z[i], cap) - top);
    return top + log(sum);
}

double NAME(cross_entropy_forward)(const real *logits, const uint32_t *targets, double cap, size_t T, size_t V)
{
    double loss = 0;
    for (size_t t = 0; t < T; t++, logits += V)
        loss += NAME(log_sum)(logits, cap, V) - NAME(capped)(logits[targets[t]], cap);
    return loss / (double)T;
}

void NAME(cross_entropy_backward)(real *dlogits, const real *logits, const uint32_t *targets, double cap, size_t T,
                                  size_t V)
{
    for (size_t t = 0; t < T; t++, logits += V, dlogits += V) {
        double lse = NAME(log_sum)(logits, cap, V);
        for (size_t i = 0; i < V; i++) {
            double z = NAME(capped)(logits[i], cap), flat = cap > 0 ? 1 - z / cap * (z / cap) : 1;
            dlogits[i] += (real)((exp(z - lse) - (i == targets[t])) * flat / (double)T);
        }
    }
}
