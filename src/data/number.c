/*
 * Decimal to binary. A decimal whose digits are an integer below 2^53 and whose power of ten is at most 22 is exact
 * after one multiplication or division (Clinger 1990); the rest goes to strtod, whose result is correctly rounded.
 */
#include "number.h"
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct decimal {
    uint64_t digits; /* up to 19 significant ones */
    size_t n_digits; /* significant ones seen, all of them */
    int64_t exponent;
    bool negative;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits at text[*i], appended to d; `scale` is what each one adds to the exponent. False when there are none. */
static bool take_digits(struct decimal *d, const char *text, size_t n, size_t *i, int scale)
{
    size_t begin = *i;
    for (; *i < n && is_digit(text[*i]); (*i)++) {
        d->exponent += scale;
        if (d->n_digits == 0 && text[*i] == '0')
            continue;
        if (d->n_digits < 19)
            d->digits = d->digits * 10 + (uint64_t)(text[*i] - '0');
        d->n_digits++;
    }
    return *i > begin;
}

static bool take_exponent(struct decimal *d, const char *text, size_t n, size_t *i)
{
    bool negative = false;
    int64_t value = 0;
    (*i)++;
    if (*i < n && (text[*i] == '+' || text[*i] == '-'))
        negative = text[(*i)++] == '-';
    if (*i == n)
        return false;
    for (; *i < n; (*i)++) {
        if (!is_digit(text[*i]))
            return false;
        if (value < 1000000)
            value = value * 10 + (text[*i] - '0');
    }
    d->exponent += negative ? -value : value;
    return true;
}

static bool decimal_parse(struct decimal *d, const char *text, size_t n, size_t i)
{
    bool whole = take_digits(d, text, n, &i, 0), fraction = false;
    if (i < n && text[i] == '.') {
        i++;
        fraction = take_digits(d, text, n, &i, -1);
    }
    if (!whole && !fraction)
        return false;
    if (i < n && (text[i] == 'e' || text[i] == 'E'))
        return take_exponent(d, text, n, &i);
    return i == n;
}

/* For the few that the short way cannot do; strtod in the C locale whatever the program has set. */
static bool slow_parse(double *out, const char *text, size_t n)
{
    char copy[1100];
    static _Thread_local locale_t c_locale;
    if (n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    if (!c_locale)
        c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = c_locale ? uselocale(c_locale) : (locale_t)0;
    *out = strtod(copy, NULL);
    if (before)
        uselocale(before);
    return true;
}

static bool word_parse(double *out, const char *text, size_t n, bool negative)
{
    if ((n == 3 && strncasecmp(text, "inf", 3) == 0) || (n == 8 && strncasecmp(text, "infinity", 8) == 0))
        *out = negative ? -INFINITY : INFINITY;
    else if (n == 3 && strncasecmp(text, "nan", 3) == 0)
        *out = NAN;
    else
        return false;
    return true;
}

bool number_parse(double *out, const char *text, size_t n)
{
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct decimal d = {0};
    size_t i = 0;
    if (n && (text[0] == '-' || text[0] == '+'))
        d.negative = text[i++] == '-';
    if (!decimal_parse(&d, text, n, i))
        return word_parse(out, text + i, n - i, d.negative);
    if (d.n_digits > 19 || d.digits > (UINT64_C(1) << 53) || d.exponent > 22 || d.exponent < -22)
        return slow_parse(out, text, n);
    double value = (double)d.digits;
    value = d.exponent < 0 ? value / power[-d.exponent] : value * power[d.exponent];
    *out = d.negative ? -value : value;
    return true;
}

bool number_parse_int(int64_t *out, const char *text, size_t n)
{
    size_t i = n && (text[0] == '-' || text[0] == '+');
    int64_t value = 0;
    if (i == n)
        return false;
    for (; i < n; i++) {
        int digit = text[i] - '0';
        if (!is_digit(text[i]) || __builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)(text[0] == '-' ? -digit : digit), &value))
            return false;
    }
    *out = value;
    return true;
}
