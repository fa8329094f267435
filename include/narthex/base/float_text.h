/* float_text.h - the shortest decimal text of a float64 and its way back, as Go's strconv writes and reads them.
 *
 * Prometheus' rules: JSON sample values use %f form, except %e form below 1e-6 and from 1e21 on.
 */
#pragma once

#include "narthex/base/str.h"

#include <stdbool.h>
#include <stddef.h>

/* Longest %f form: 1.8e308 has 309 digits, 5e-324 takes 326 characters. */
#define FLOAT_TEXT_MAX 352

/* Shortest text that reads back to the same bits (NaN, +Inf, -Inf by name). Each returns the length, no NUL.
 * _json: Prometheus' sample form; exponents at least two digits ("1e-07", "1e+21").
 * _f: never an exponent (Go 'f', -1). _e: always (Go 'e', -1). _g: below 1e-4 and from 1e6 on ("1.234567e+06"), as
 * strconv's 'g', -1 and the verbs %v and %g do. */
size_t float_text_json(char out[FLOAT_TEXT_MAX], double value);
size_t float_text_f(char out[FLOAT_TEXT_MAX], double value);
size_t float_text_g(char out[FLOAT_TEXT_MAX], double value);
size_t float_text_e(char out[FLOAT_TEXT_MAX], double value);

/* Reads the whole string as Go's ParseFloat(s, 64) does for decimal input (signs, exponents, Inf, NaN and Infinity in
 * any case; overflow gives an infinity and false is NOT returned). No hex, no underscores. */
bool float_text_parse(struct nx_str text, double *out_value);
