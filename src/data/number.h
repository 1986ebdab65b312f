/* Decimal numbers in foreign text, the same in every locale. */
#ifndef DATA_NUMBER_H
#define DATA_NUMBER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The whole of text[0..n) as a number, correctly rounded: [+-]digits[.digits][e[+-]digits], or inf, infinity, nan in
 * any case. False when it is anything else. Short decimals, nearly all there are, take no library call.
 */
bool number_parse(double *out, const char *text, size_t n);
/* [+-]digits that fit. */
bool number_parse_int(int64_t *out, const char *text, size_t n);

#endif
