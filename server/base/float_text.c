/* SPDX-License-Identifier: Apache-2.0 */
/* float_text.c - a float64 as text, and back.
 *
 * All forms are laid out from the same shortest digits. Most samples are integers or have few decimals, and for these
 * the digits are found without the general algorithm:
 *   - an integer below 2^53 has only its own digits: neighbours are at most 1 apart, nothing shorter reads back to it;
 *   - when round(v * 10^k) = m < 10^15 and m / 10^k == v, then m's digits are the shortest: a decimal of at most 15
 *     digits is told apart from every other such decimal by its float64.
 * Reading likewise: at most 15 digits and a power of ten up to 22 are exact floats, so one rounding is the right one.
 */
#include "narthex/base/float_text.h"

#include "narthex/base/assert.h"

#include "cxx_shim.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define DIGITS_MAX 17

/* The value is 0.d1d2d3... * 10^point. */
struct decimal {
    char digits[24];
    int count;
    int point;
    bool is_negative;
};

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define EXACT_POWER_MAX     22 /* 5^22 < 2^53 */
#define EXACT_DIGITS_MAX    15 /* 10^15 < 2^53 */
#define EXACT_INTEGER_LIMIT 9007199254740992.0

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233"
    "34353637383940414243444546474849505152535455565758596061626364656667"
    "6869707172737475767778798081828384858687888990919293949596979899";

/* Digits of `value` without trailing zeros; the value is `value` / 10^scale. */
static void set_integer(struct decimal *out, uint64_t value, int scale)
{
    char reversed[24];
    char *p = reversed + sizeof(reversed);
    uint64_t rest = value;
    while (rest >= 100) {
        p -= 2;
        memcpy(p, digit_pairs + 2 * (rest % 100), 2);
        rest /= 100;
    }
    if (rest >= 10) {
        p -= 2;
        memcpy(p, digit_pairs + 2 * rest, 2);
    } else {
        *--p = (char)('0' + rest);
    }
    int count = (int)(reversed + sizeof(reversed) - p);
    out->point = count - scale;
    while (count > 1 && p[count - 1] == '0')
        count--;
    memcpy(out->digits, p, (size_t)count);
    out->count = count;
}

static bool set_few_decimals(struct decimal *out, double size, int scale)
{
    double scaled = size * powers_of_ten[scale];
    if (scaled >= 1e15)
        return false;
    uint64_t integer = (uint64_t)(scaled + 0.5);
    if (integer == 0 || (double)integer / powers_of_ten[scale] != size ||
        integer >= UINT64_C(1000000000000000))
        return false;
    set_integer(out, integer, scale);
    return true;
}

static void set_any(struct decimal *out, double size)
{
    char text[40];
    size_t len = cxx_float_to_scientific(text, sizeof(text), size);
    NX_ASSERT(len > 0);
    size_t i = 0;
    out->count = 0;
    for (; i < len && text[i] != 'e'; i++) {
        if (text[i] != '.')
            out->digits[out->count++] = text[i];
    }
    NX_ASSERT(out->count > 0 && out->count <= DIGITS_MAX && i + 2 < len);
    bool is_below_one = text[i + 1] == '-';
    int exponent = 0;
    for (i += 2; i < len; i++)
        exponent = exponent * 10 + (text[i] - '0');
    out->point = (is_below_one ? -exponent : exponent) + 1;
}

/* For finite values. */
static void set_decimal(struct decimal *out, double value)
{
    out->is_negative = signbit(value);
    double size = fabs(value);
    if (size == 0) {
        out->digits[0] = '0';
        out->count = 1;
        out->point = 1;
        return;
    }
    if (size < EXACT_INTEGER_LIMIT && size == (double)(uint64_t)size) {
        set_integer(out, (uint64_t)size, 0);
        return;
    }
    if (size < 1e12 && size >= 1e-3 &&
        (set_few_decimals(out, size, 3) || set_few_decimals(out, size, 6)))
        return;
    set_any(out, size);
}

static size_t lay_out_fixed(char *out, const struct decimal *decimal)
{
    char *p = out;
    if (decimal->is_negative)
        *p++ = '-';
    if (decimal->point <= 0) {
        *p++ = '0';
        *p++ = '.';
        memset(p, '0', (size_t)-decimal->point);
        p += -decimal->point;
        memcpy(p, decimal->digits, (size_t)decimal->count);
        return (size_t)(p + decimal->count - out);
    }
    int whole = decimal->count < decimal->point ? decimal->count : decimal->point;
    memcpy(p, decimal->digits, (size_t)whole);
    p += whole;
    memset(p, '0', (size_t)(decimal->point - whole));
    p += decimal->point - whole;
    if (decimal->count > whole) {
        *p++ = '.';
        memcpy(p, decimal->digits + whole, (size_t)(decimal->count - whole));
        p += decimal->count - whole;
    }
    return (size_t)(p - out);
}

static size_t lay_out_exponent(char *out, const struct decimal *decimal)
{
    char *p = out;
    if (decimal->is_negative)
        *p++ = '-';
    *p++ = decimal->digits[0];
    if (decimal->count > 1) {
        *p++ = '.';
        memcpy(p, decimal->digits + 1, (size_t)decimal->count - 1);
        p += decimal->count - 1;
    }
    int exponent = decimal->point - 1;
    *p++ = 'e';
    *p++ = exponent < 0 ? '-' : '+';
    int size = exponent < 0 ? -exponent : exponent;
    if (size >= 100)
        *p++ = (char)('0' + size / 100);
    memcpy(p, digit_pairs + (ptrdiff_t)2 * (size % 100), 2);
    return (size_t)(p + 2 - out);
}

/* NaN and the infinities; 0 for other values. */
static size_t lay_out_name(char *out, double value)
{
    const char *name = isnan(value)         ? "NaN"
                       : value == INFINITY  ? "+Inf"
                       : value == -INFINITY ? "-Inf"
                                            : "";
    size_t len = strlen(name);
    memcpy(out, name, len);
    return len;
}

size_t float_text_f(char out[FLOAT_TEXT_MAX], double value)
{
    if (!isfinite(value))
        return lay_out_name(out, value);
    struct decimal decimal;
    set_decimal(&decimal, value);
    return lay_out_fixed(out, &decimal);
}

size_t float_text_e(char out[FLOAT_TEXT_MAX], double value)
{
    if (!isfinite(value))
        return lay_out_name(out, value);
    struct decimal decimal;
    set_decimal(&decimal, value);
    return lay_out_exponent(out, &decimal);
}

size_t float_text_g(char out[FLOAT_TEXT_MAX], double value)
{
    if (!isfinite(value))
        return lay_out_name(out, value);
    struct decimal decimal;
    set_decimal(&decimal, value);
    int exponent = decimal.point - 1;
    if (exponent < -4 || exponent >= 6)
        return lay_out_exponent(out, &decimal);
    return lay_out_fixed(out, &decimal);
}

size_t float_text_json(char out[FLOAT_TEXT_MAX], double value)
{
    if (!isfinite(value))
        return lay_out_name(out, value);
    struct decimal decimal;
    set_decimal(&decimal, value);
    double size = fabs(value);
    if (size != 0 && (size < 1e-6 || size >= 1e21))
        return lay_out_exponent(out, &decimal);
    return lay_out_fixed(out, &decimal);
}

/* What a scan of decimal text found. */
struct scan {
    uint64_t mantissa;   /* of the first EXACT_DIGITS_MAX significant digits */
    int digit_count;     /* significant digits, leading zeros left out; stops counting at 1000 */
    int64_t first_power; /* power of ten of the first significant digit */
    int64_t last_power;  /* of the last one */
    bool has_digits;
};

#define SCAN_EXPONENT_MAX                                                                          \
 1000000 /* beyond any float64 whatever the digits, given texts below 1e6 bytes */

static void scan_digit(struct scan *scan, char c, int64_t power)
{
    scan->has_digits = true;
    if (c == '0' && scan->digit_count == 0)
        return;
    if (scan->digit_count == 0)
        scan->first_power = power;
    scan->last_power = power;
    if (scan->digit_count < EXACT_DIGITS_MAX)
        scan->mantissa = scan->mantissa * 10 + (uint64_t)(c - '0');
    if (scan->digit_count < 1000)
        scan->digit_count++;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Exponent after 'e'. False when there is no digit. */
static bool scan_exponent(const char *p, const char *end, int64_t *out_exponent)
{
    bool is_negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end)
        return false;
    int64_t exponent = 0;
    for (; p < end; p++) {
        if (!is_digit(*p))
            return false;
        if (exponent < SCAN_EXPONENT_MAX)
            exponent = exponent * 10 + (*p - '0');
    }
    *out_exponent = is_negative ? -exponent : exponent;
    return true;
}

/* Reads digits [. digits] [e [sign] digits]. False when the text is anything else. */
static bool scan_decimal(const char *p, const char *end, struct scan *scan)
{
    const char *point = p;
    while (point < end && is_digit(*point))
        point++;
    int64_t power = point - p - 1;
    for (; p < point; p++)
        scan_digit(scan, *p, power--);
    if (p < end && *p == '.') {
        for (p++; p < end && is_digit(*p); p++)
            scan_digit(scan, *p, power--);
    }
    if (!scan->has_digits)
        return false;
    int64_t exponent = 0;
    if (p < end) {
        if (*p != 'e' && *p != 'E')
            return false;
        if (!scan_exponent(p + 1, end, &exponent))
            return false;
    }
    scan->first_power += exponent;
    scan->last_power += exponent;
    return true;
}

static bool parse_name(struct nx_str text, bool has_sign, double *out_value)
{
    if (nx_str_eq_nocase(text, NX_STR("inf")) || nx_str_eq_nocase(text, NX_STR("infinity"))) {
        *out_value = INFINITY;
        return true;
    }
    if (has_sign || !nx_str_eq_nocase(text, NX_STR("nan")))
        return false;
    uint64_t bits = UINT64_C(0x7ff8000000000001); /* Go's NaN */
    memcpy(out_value, &bits, sizeof(bits));
    return true;
}

/* For scanned text; `size` is never negative. */
static double scanned_value(const struct scan *scan, struct nx_str text)
{
    if (scan->digit_count == 0)
        return 0;
    if (scan->digit_count <= EXACT_DIGITS_MAX) {
        if (scan->last_power >= 0 && scan->last_power <= EXACT_POWER_MAX)
            return (double)scan->mantissa * powers_of_ten[scan->last_power];
        if (scan->last_power < 0 && scan->last_power >= -EXACT_POWER_MAX)
            return (double)scan->mantissa / powers_of_ten[-scan->last_power];
    }
    if (scan->first_power > 400)
        return INFINITY;
    if (scan->first_power < -400)
        return 0;
    double value = 0;
    enum cxx_float_status status = cxx_float_from_text(text.data, text.len, &value);
    NX_ASSERT(status != CXX_FLOAT_BAD);
    if (status == CXX_FLOAT_RANGE)
        return scan->first_power > 0 ? INFINITY : 0;
    return value;
}

bool float_text_parse(struct nx_str text, double *out_value)
{
    bool is_negative = text.len > 0 && text.data[0] == '-';
    bool has_sign = is_negative || (text.len > 0 && text.data[0] == '+');
    if (has_sign) {
        text.data++;
        text.len--;
    }
    if (text.len == 0)
        return false;
    double value;
    if (is_digit(text.data[0]) || text.data[0] == '.') {
        struct scan scan = {0};
        if (!scan_decimal(text.data, text.data + text.len, &scan))
            return false;
        value = scanned_value(&scan, text);
    } else if (!parse_name(text, has_sign, &value)) {
        return false;
    }
    *out_value = is_negative ? -value : value;
    return true;
}
