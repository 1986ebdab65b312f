#include "loss.h"
#include <math.h>
#include <string.h>

void l2_forward(float *y, float *norms, const float *x, size_t B, size_t D)
{
    for (size_t b = 0; b < B; b++, x += D, y += D) {
        double sum = 0.0;
        for (size_t d = 0; d < D; d++)
            sum += (double)x[d] * (double)x[d];
        norms[b] = (float)sqrt(sum);
        double inverse = sum > 0.0 ? 1.0 / sqrt(sum) : 0.0;
        for (size_t d = 0; d < D; d++)
            y[d] = (float)((double)x[d] * inverse);
    }
}

void l2_backward(float *dx, const float *dy, const float *y, const float *norms, size_t B, size_t D)
{
    for (size_t b = 0; b < B; b++, dx += D, dy += D, y += D) {
        double dot = 0.0, inverse = norms[b] > 0.0f ? 1.0 / (double)norms[b] : 0.0;
        for (size_t d = 0; d < D; d++)
            dot += (double)y[d] * (double)dy[d];
        for (size_t d = 0; d < D; d++)
            dx[d] = (float)(((double)dy[d] - (double)y[d] * dot) * inverse);
    }
}

void mask_candidates(uint8_t *hidden, size_t B, size_t H, enum candidates candidates)
{
    const size_t M = B + B * H;
    for (size_t i = 0; i < B; i++)
        for (size_t j = 0; j < M; j++) {
            bool own = j < B ? j == i : (j - B) / H == i;
            bool seen = candidates == CANDIDATES_ALLNEGS || own;
            if (j < B)
                seen = seen || candidates != CANDIDATES_OWN;
            else
                seen = seen && candidates != CANDIDATES_INBATCH;
            hidden[i * M + j] = !seen;
        }
}

void mask_duplicates(uint8_t *hidden, const uint64_t *positive_ids, const uint64_t *negative_ids, size_t B, size_t H)
{
    const size_t M = B + B * H;
    for (size_t i = 0; i < B; i++)
        for (size_t j = 0; j < M; j++)
            if (j != i && (j < B ? positive_ids[j] : negative_ids[j - B]) == positive_ids[i])
                hidden[i * M + j] = 1;
}

void mask_guide(uint8_t *hidden, size_t M, const float *guide, const float *g, size_t B, size_t n, double margin,
                bool relative, bool spare_diagonal)
{
    for (size_t i = 0; i < B; i++) {
        double own = (double)g[i], threshold = own - (relative ? fabs(own) * margin : margin);
        for (size_t j = 0; j < n; j++)
            if ((double)guide[i * n + j] > threshold && !(spare_diagonal && j == i))
                hidden[i * M + j] = 1;
    }
}

/* Adds weight times -log softmax(s / tau)_target of n scores `step` apart to the result, its gradient to ds. */
static double cross_entropy(float *ds, double *dlog_tau, const float *s, const uint8_t *hidden, size_t n, size_t step,
                            size_t target, double tau, double weight)
{
    double top = -INFINITY, sum = 0.0, mean = 0.0;
    for (size_t j = 0; j < n; j++)
        if (!(hidden && hidden[j * step]))
            top = fmax(top, (double)s[j * step]);
    for (size_t j = 0; j < n; j++)
        if (!(hidden && hidden[j * step]))
            sum += exp(((double)s[j * step] - top) / tau);
    for (size_t j = 0; j < n; j++) {
        if (hidden && hidden[j * step])
            continue;
        double p = exp(((double)s[j * step] - top) / tau) / sum;
        mean += p * (double)s[j * step];
        ds[j * step] += (float)(weight * (p - (j == target)) / tau);
    }
    double own = (double)s[target * step];
    if (dlog_tau)
        *dlog_tau += weight * (own - mean) / tau;
    return weight * (log(sum) - (own - top) / tau);
}

double loss_infonce(float *ds, double *dlog_tau, const float *s, const uint8_t *hidden, size_t B, size_t M, double tau)
{
    double loss = 0.0;
    memset(ds, 0, B * M * sizeof *ds);
    for (size_t i = 0; i < B; i++)
        loss += cross_entropy(ds + i * M, dlog_tau, s + i * M, hidden ? hidden + i * M : NULL, M, 1, i, tau,
                              1.0 / (double)B);
    return loss;
}

double loss_infonce_symmetric(float *ds, double *dlog_tau, const float *s, const uint8_t *hidden, size_t B, size_t M,
                              double tau)
{
    double loss = 0.0, weight = 0.5 / (double)B;
    memset(ds, 0, B * M * sizeof *ds);
    for (size_t i = 0; i < B; i++) {
        loss += cross_entropy(ds + i * M, dlog_tau, s + i * M, hidden ? hidden + i * M : NULL, M, 1, i, tau, weight);
        loss += cross_entropy(ds + i, dlog_tau, s + i, hidden ? hidden + i : NULL, B, M, i, tau, weight);
    }
    return loss;
}

double loss_margin_mse(float *ds, const float *s, const float *t, size_t B, size_t M)
{
    double loss = 0.0, n = (double)B * (double)(M - 1);
    for (size_t b = 0; b < B; b++, s += M, t += M, ds += M) {
        double first = 0.0;
        for (size_t j = 1; j < M; j++) {
            double off = ((double)s[0] - (double)s[j]) - ((double)t[0] - (double)t[j]);
            loss += off * off / n;
            ds[j] = (float)(-2.0 * off / n);
            first += 2.0 * off / n;
        }
        ds[0] = (float)first;
    }
    return loss;
}

/* log of the sum of exp(x / T) */
static double log_sum(const float *x, size_t n, double temperature)
{
    double top = -INFINITY, sum = 0.0;
    for (size_t j = 0; j < n; j++)
        top = fmax(top, (double)x[j]);
    for (size_t j = 0; j < n; j++)
        sum += exp(((double)x[j] - top) / temperature);
    return top / temperature + log(sum);
}

double loss_kl(float *ds, const float *s, const float *t, size_t B, size_t M, double temperature, bool reverse)
{
    double loss = 0.0, weight = 1.0 / (double)B;
    for (size_t b = 0; b < B; b++, s += M, t += M, ds += M) {
        double zs = log_sum(s, M, temperature), zt = log_sum(t, M, temperature), kl = 0.0;
        for (size_t j = 0; j < M; j++) {
            double log_p = (double)t[j] / temperature - zt, log_q = (double)s[j] / temperature - zs;
            kl += reverse ? exp(log_q) * (log_q - log_p) : exp(log_p) * (log_p - log_q);
        }
        for (size_t j = 0; j < M; j++) {
            double log_p = (double)t[j] / temperature - zt, log_q = (double)s[j] / temperature - zs;
            double d = reverse ? exp(log_q) * (log_q - log_p - kl) : exp(log_q) - exp(log_p);
            ds[j] = (float)(weight * d / temperature);
        }
        loss += weight * kl;
    }
    return loss;
}

double loss_cosent(float *ds, const float *s, const float *labels, size_t n, double scale)
{
    double top = 0.0, sum; /* the 1 in the logarithm is exp(0) */
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (labels[i] < labels[j])
                top = fmax(top, scale * ((double)s[i] - (double)s[j]));
    sum = exp(-top);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (labels[i] < labels[j])
                sum += exp(scale * ((double)s[i] - (double)s[j]) - top);
    for (size_t i = 0; i < n; i++) {
        double d = 0.0;
        for (size_t j = 0; j < n; j++) {
            if (labels[i] < labels[j])
                d += exp(scale * ((double)s[i] - (double)s[j]) - top);
            if (labels[j] < labels[i])
                d -= exp(scale * ((double)s[j] - (double)s[i]) - top);
        }
        ds[i] = (float)(scale * d / sum);
    }
    return top + log(sum);
}
