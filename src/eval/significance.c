/* Do two runs differ, or is it chance? Paired tests over queries. */
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "eval.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SLACK 1e-12 /* of the mean: patterns that are equal but for rounding count */

/* ---- Student's t ---- */

/* Continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method. */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1.0, d = 1.0 - (a + b) * x / (a + 1.0), f;
    d = 1.0 / (fabs(d) < tiny ? tiny : d);
    f = d;
    for (int m = 1; m < 10000; m++) {
        double step;
        for (int odd = 0; odd < 2; odd++) {
            double k = odd ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
                           : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
            d = 1.0 + k * d;
            c = 1.0 + k / c;
            d = 1.0 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            step = c * d;
            f *= step;
        }
        if (fabs(step - 1.0) < 1e-16)
            break;
    }
    return f;
}

/* I_x(a, b), the regularised incomplete beta function; y = 1 - x is given because x may be too near 1 to tell. */
static double incomplete_beta(double a, double b, double x, double y)
{
    if (x <= 0.0 || y <= 0.0)
        return x <= 0.0 ? 0.0 : 1.0;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(y));
    if (x < (a + 1.0) / (a + b + 2.0))
        return front * beta_fraction(a, b, x) / a;
    return 1.0 - front * beta_fraction(b, a, y) / b;
}

struct paired_test paired_t_test(const double *a, const double *b, size_t n)
{
    struct paired_test test = {.p = NAN, .t = NAN, .df = n ? n - 1 : 0};
    double mean = 0.0, squares = 0.0, df = (double)n - 1.0;
    for (size_t i = 0; i < n; i++)
        mean += (b[i] - a[i]) / (double)n;
    test.difference = mean;
    if (n < 2)
        return test;
    for (size_t i = 0; i < n; i++) {
        double off = b[i] - a[i] - mean;
        squares += off * off;
    }
    if (squares == 0.0) {
        test.t = mean == 0.0 ? 0.0 : copysign(INFINITY, mean);
        test.p = mean == 0.0 ? 1.0 : 0.0;
        return test;
    }
    test.t = mean / sqrt(squares / df / (double)n);
    double t2 = test.t * test.t;
    test.p = incomplete_beta(df / 2.0, 0.5, df / (df + t2), t2 / (df + t2));
    return test;
}

/* ---- randomisation ---- */

enum { EXACT_PAIRS = 20 };

/* Sums of all sign patterns of the differences d (n): sums (2^n). */
static void pattern_sums(double *sums, const double *d, size_t n)
{
    for (size_t pattern = 0; pattern < (size_t)1 << n; pattern++) {
        double sum = 0.0;
        for (size_t i = 0; i < n; i++)
            sum += pattern >> i & 1 ? -d[i] : d[i];
        sums[pattern] = sum;
    }
}

/* Share of the 2^n patterns that reach the limit; halves are added up, so that none is summed twice. */
static double exact_share(const double *d, size_t n, double limit)
{
    double low[1 << (EXACT_PAIRS / 2)], high[1 << (EXACT_PAIRS / 2)];
    size_t n_low = n / 2, n_high = n - n_low, count = 0;
    pattern_sums(low, d, n_low);
    pattern_sums(high, d + n_low, n_high);
    for (size_t h = 0; h < (size_t)1 << n_high; h++)
        for (size_t l = 0; l < (size_t)1 << n_low; l++)
            count += fabs(low[l] + high[h]) >= limit;
    return (double)count / (double)((size_t)1 << n);
}

struct draws {
    const double *d;
    size_t n;
    double limit;
    uint64_t seed;
    unsigned char *reached; /* (draws) */
};

static double flipped_sum(const double *d, size_t n, uint64_t signs)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        double value;
        memcpy(&bits, &d[i], sizeof bits);
        bits ^= (signs >> i & 1) << 63;
        memcpy(&value, &bits, sizeof value);
        sum += value;
    }
    return sum;
}

static void draw_patterns(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct draws *draws = ctx;
    (void)worker;
    for (size_t draw = begin; draw < end; draw++) {
        struct rng rng = rng_stream(draws->seed, (uint32_t)draw, 0x72616e64u); /* "rand" */
        double sum = 0.0;
        for (size_t i = 0; i < draws->n; i += 64)
            sum += flipped_sum(draws->d + i, draws->n - i < 64 ? draws->n - i : 64, rng_next(&rng));
        draws->reached[draw] = fabs(sum) >= draws->limit;
    }
}

static enum trawl_status drawn_share(double *p, const double *d, size_t n, double limit, size_t n_draws, uint64_t seed)
{
    struct draws draws = {d, n, limit, seed, mem_array(n_draws, 1)};
    size_t count = 0;
    if (!draws.reached)
        return mem_status();
    pool_run(n_draws, 256, draw_patterns, &draws);
    for (size_t i = 0; i < n_draws; i++)
        count += draws.reached[i];
    free(draws.reached);
    *p = (double)(count + 1) / (double)(n_draws + 1);
    return TRAWL_OK;
}

enum trawl_status paired_randomisation_test(struct paired_test *test, const double *a, const double *b, size_t n,
                                            size_t draws, uint64_t seed)
{
    enum trawl_status status = TRAWL_OK;
    double sum = 0.0, *d = mem_array(n, sizeof *d);
    size_t n_differing = 0;
    if (!d)
        return mem_status();
    if (draws > UINT32_MAX)
        draws = UINT32_MAX;
    for (size_t i = 0; i < n; i++) /* pairs without difference change no sum */
        if (b[i] != a[i]) {
            d[n_differing++] = b[i] - a[i];
            sum += b[i] - a[i];
        }
    double limit = fabs(sum) - SLACK * (double)n;
    *test =
        (struct paired_test){.difference = n ? sum / (double)n : 0.0, .t = NAN, .exact = n_differing <= EXACT_PAIRS};
    if (n == 0)
        test->p = NAN;
    else if (test->exact)
        test->p = exact_share(d, n_differing, limit);
    else
        status = drawn_share(&test->p, d, n_differing, limit, draws, seed);
    free(d);
    return status;
}
