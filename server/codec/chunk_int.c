/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_int.c - values that are integers, or decimals made from integers, packed as those integers.
 *
 * Exporters print what they count: integers, or integers divided for the unit's sake (ticks by 100, nanoseconds by
 * 1e9). How they divided shows in the last bit, so there are four ways back from an integer q to the float64:
 *
 *   q            q / 10^k            q * 10^-k            (q / 1000) / 1000
 *
 * The way and k are found on a sample of the values and verified on each one, bit by bit. Values that do not come back
 * exactly (NaN, stale markers, -0, an odd one out) are exceptions: their bits stand apart, and in the series of
 * integers they repeat the integer before. Too many of them, and the codec declines.
 *
 * Body     scale byte, an int_pack [, exceptions].
 */
#include "narthex/base/assert.h"
#include "narthex/codec/int_pack.h"

#include "chunk_internal.h"
#include "wide.h"

#define SCALE_MASK        0x3fu
#define SCALE_INTEGER     0u    /* plus k, 1 .. 9: quotient */
#define SCALE_PRODUCT     0x10u /* plus k, 1 .. 9 */
#define SCALE_THOUSANDS   0x20u
#define SCALE_EXCEPTIONS  0x80u

#define SAMPLES           16u /* chosen: all of a mixed 1-decimal series ending in .0 is one in 10^16 */
#define SAMPLE_MISSES_MAX 4u

#define INTEGER_LIMIT     0x1p63 /* exact: a float64 below it converts without loss */

enum exception_kind {
    EXCEPTION_RAW = 0, /* its 8 bytes follow */
    EXCEPTION_STALE = 1,
    EXCEPTION_NAN = 2,
    EXCEPTION_NEGATIVE_ZERO = 3,
};
#define EXCEPTION_KIND_MASK 3u
#define EXCEPTION_RUN       4u /* repeated: a varint of the number minus 2 follows */
#define EXCEPTION_SHIFT     3u

#define NEGATIVE_ZERO_BITS  (UINT64_C(1) << 63)
#define EXPONENT_MASK       UINT64_C(0x7ff0000000000000)

static const double power_of_tenth[DECIMALS_MAX + 1] = {1e0,  1e-1, 1e-2, 1e-3, 1e-4,
                                                        1e-5, 1e-6, 1e-7, 1e-8, 1e-9};

/* The four ways back. Multiplying by a constant 1 / 10^k is another result than dividing by 10^k. */
static inline double scale_apply(unsigned scale, double q)
{
    if (scale == SCALE_THOUSANDS)
        return q / 1000 / 1000;
    if (scale >= SCALE_PRODUCT)
        return q * power_of_tenth[scale - SCALE_PRODUCT];
    return q / power_of_10[scale];
}

static inline double scale_factor(unsigned scale)
{
    return scale == SCALE_THOUSANDS ? 1e6 : power_of_10[scale & 15];
}

static inline bool fit_integer(uint64_t bits, uint64_t *out_q)
{
    double value = float_from_bits(bits);
    bool is_small = value > -INTEGER_LIMIT && value < INTEGER_LIMIT;
    int64_t q = (int64_t)(is_small ? value : 0);
    *out_q = (uint64_t)q;
    return float_bits((double)q) == bits;
}

static inline bool fit_decimal(uint64_t bits, unsigned scale, double factor, uint64_t *out_q)
{
    double q = decimal_round(float_from_bits(bits) * factor, out_q);
    return float_bits(scale_apply(scale, q)) == bits;
}

static bool fit(uint64_t bits, unsigned scale)
{
    uint64_t q;
    return scale == SCALE_INTEGER ? fit_integer(bits, &q)
                                  : fit_decimal(bits, scale, scale_factor(scale), &q);
}

/* No scale fits these, so they say nothing about which to take. */
static bool is_special(uint64_t bits)
{
    return (bits & EXPONENT_MASK) == EXPONENT_MASK || bits == NEGATIVE_ZERO_BITS;
}

/* The least number of decimals, from `decimals` on, with which the family fits; DECIMALS_MAX + 1 for none. */
static unsigned decimals_for(uint64_t bits, unsigned family, unsigned decimals)
{
    for (; decimals <= DECIMALS_MAX; decimals++)
        if (fit(bits, decimals == 0 ? SCALE_INTEGER : family + decimals))
            break;
    return decimals;
}

/* Values of the sample that a family does not fit, at the number of decimals that it needs for the rest. */
static unsigned family_misses(const uint64_t *sample, size_t count, unsigned family,
                              unsigned *out_scale)
{
    unsigned misses = 0;
    unsigned decimals = 0;
    for (size_t i = 0; i < count && misses <= SAMPLE_MISSES_MAX; i++) {
        if (family == SCALE_THOUSANDS) {
            misses += !fit(sample[i], SCALE_THOUSANDS);
            continue;
        }
        unsigned needed = decimals_for(sample[i], family, decimals);
        if (needed > DECIMALS_MAX)
            misses++;
        else
            decimals = needed;
    }
    *out_scale = family == SCALE_THOUSANDS ? family
                 : decimals == 0           ? SCALE_INTEGER
                                           : family + decimals;
    return misses;
}

struct sample {
    uint64_t values[2 * SAMPLES];
    size_t count;
};

static void sample_evenly(const uint64_t *bits, size_t count, struct sample *out)
{
    size_t wanted = count < SAMPLES ? count : SAMPLES;
    out->count = 0;
    for (size_t i = 0; i < wanted; i++) {
        uint64_t value = bits[(2 * i + 1) * count / (2 * wanted)];
        if (!is_special(value))
            out->values[out->count++] = value;
    }
}

/* False when no way back fits most of the sample. */
static bool choose_scale(const struct sample *sample, unsigned *out_scale)
{
    static const unsigned families[] = {SCALE_INTEGER, SCALE_PRODUCT, SCALE_THOUSANDS};
    unsigned least = SAMPLE_MISSES_MAX + 1;
    *out_scale = SCALE_INTEGER;
    if (sample->count == 0)
        return true;
    for (size_t f = 0; f < NX_ARRAY_LEN(families) && least != 0; f++) {
        unsigned scale;
        unsigned misses = family_misses(sample->values, sample->count, families[f], &scale);
        if (misses < least) {
            least = misses;
            *out_scale = scale;
        }
    }
    return least * 4 <= sample->count;
}

struct conversion {
    uint64_t ints[CHUNK_SAMPLES_MAX];
    uint16_t misfits[CHUNK_SAMPLES_MAX]; /* ascending */
    size_t misfit_count;
};

static inline void convert_all(const uint64_t *bits, size_t count, unsigned scale,
                               struct conversion *out)
{
    size_t misfits = 0;
    double factor = scale_factor(scale);
    if (scale == SCALE_INTEGER)
        for (size_t i = 0; i < count; i++) {
            out->misfits[misfits] = (uint16_t)i;
            misfits += !fit_integer(bits[i], &out->ints[i]);
        }
    else
        for (size_t i = 0; i < count; i++) {
            out->misfits[misfits] = (uint16_t)i;
            misfits += !fit_decimal(bits[i], scale, factor, &out->ints[i]);
        }
    out->misfit_count = misfits;
}

static CODEC_ROOT_NARROW void convert_narrow(const uint64_t *bits, size_t count, unsigned scale,
                                             struct conversion *out)
{
    convert_all(bits, count, scale, out);
}

static CODEC_ROOT_WIDE void convert_wide(const uint64_t *bits, size_t count, unsigned scale,
                                         struct conversion *out)
{
    convert_all(bits, count, scale, out);
}

static void convert(const uint64_t *bits, size_t count, unsigned scale, struct conversion *out)
{
    if (codec_is_wide())
        convert_wide(bits, count, scale, out);
    else
        convert_narrow(bits, count, scale, out);
}

/* Bits that a scale costs: a misfit takes some 80, a decimal place 10 / 3 of every value. */
static size_t scale_cost(const struct conversion *converted, size_t count, unsigned scale)
{
    unsigned decimals = scale == SCALE_THOUSANDS ? 6 : scale & 15;
    return converted->misfit_count * 80 + count * decimals * 10 / 3;
}

/* With many misfits the sample may have been unlucky: chooses again with misfits among it, and keeps what costs less.
 */
static unsigned choose_again(const uint64_t *bits, size_t count, unsigned scale,
                             struct sample *sample, struct conversion *converted)
{
    size_t sampled = sample->count;
    for (size_t m = 0; m < converted->misfit_count && sample->count < sampled + SAMPLES; m++)
        if (!is_special(bits[converted->misfits[m]]))
            sample->values[sample->count++] = bits[converted->misfits[m]];
    unsigned other = scale;
    if (sample->count - sampled < count / 64 && sample->count - sampled < SAMPLES)
        return scale;
    if (!choose_scale(sample, &other) || other == scale)
        return scale;
    size_t cost = scale_cost(converted, count, scale);
    convert(bits, count, other, converted);
    if (scale_cost(converted, count, other) < cost)
        return other;
    convert(bits, count, scale, converted);
    return scale;
}

/* Misfits repeat the integer before them, or at the start the first one that fits. */
static void fill_misfits(struct conversion *converted, size_t count)
{
    size_t lead = 0;
    while (lead < converted->misfit_count && converted->misfits[lead] == lead)
        lead++;
    uint64_t first = lead < count ? converted->ints[lead] : 0;
    for (size_t m = 0; m < converted->misfit_count; m++) {
        size_t at = converted->misfits[m];
        converted->ints[at] = at < lead ? first : converted->ints[at - 1];
    }
}

static enum exception_kind exception_kind_of(uint64_t bits)
{
    if (bits == STALE_NAN_BITS)
        return EXCEPTION_STALE;
    if (bits == ORDINARY_NAN_BITS)
        return EXCEPTION_NAN;
    return bits == NEGATIVE_ZERO_BITS ? EXCEPTION_NEGATIVE_ZERO : EXCEPTION_RAW;
}

static void put_exceptions(const uint64_t *bits, const struct conversion *converted,
                           struct nx_buf *out)
{
    const uint16_t *at = converted->misfits;
    const uint16_t *end = at + converted->misfit_count;
    size_t entries = 0;
    for (const uint16_t *m = at; m < end; m++)
        entries += m == at || m[0] != m[-1] + 1 || bits[m[0]] != bits[m[-1]];
    varint_append(out, entries);
    size_t next = 0; /* place behind the last entry */
    while (at < end) {
        size_t first = *at;
        size_t length = 1;
        while (at + length < end && at[length] == first + length && bits[at[length]] == bits[first])
            length++;
        enum exception_kind kind = exception_kind_of(bits[first]);
        varint_append(out, (uint64_t)(first - next) << EXCEPTION_SHIFT |
                               (length > 1 ? EXCEPTION_RUN : 0) | (uint64_t)kind);
        if (kind == EXCEPTION_RAW)
            nx_buf_append_u64(out, bits[first]);
        if (length > 1)
            varint_append(out, length - 2);
        next = first + length;
        at += length;
    }
}

static bool int_encode(const uint64_t *bits, size_t count, size_t bytes_max, struct nx_buf *out)
{
    struct conversion converted;
    struct sample sample;
    unsigned scale;
    size_t start = out->len;
    sample_evenly(bits, count, &sample);
    if (!choose_scale(&sample, &scale))
        return false;
    convert(bits, count, scale, &converted);
    if (converted.misfit_count != 0)
        scale = choose_again(bits, count, scale, &sample, &converted);
    if (converted.misfit_count == count)
        return false;
    fill_misfits(&converted, count);
    nx_buf_append_byte(out, (uint8_t)(scale | (converted.misfit_count ? SCALE_EXCEPTIONS : 0)));
    int_pack_put(converted.ints, count, out);
    if (converted.misfit_count != 0)
        put_exceptions(bits, &converted, out);
    if (out->len - start > bytes_max) {
        out->len = start;
        return false;
    }
    return true;
}

/* Integers to float64 in place. One loop a way, so that each is free of branches. False when a decimal has an integer
 * that is too large for one. */
static inline bool scale_values(unsigned scale, size_t count, uint64_t *values)
{
    double factor = scale_factor(scale);
    if (scale == SCALE_INTEGER) {
        for (size_t i = 0; i < count; i++)
            values[i] = float_bits((double)(int64_t)values[i]);
        return true;
    }
    if (!decimals_are_small(values, count))
        return false;
    if (scale < SCALE_PRODUCT)
        for (size_t i = 0; i < count; i++)
            values[i] = float_bits(decimal_int(values[i]) / factor);
    else if (scale < SCALE_THOUSANDS) {
        factor = power_of_tenth[scale - SCALE_PRODUCT];
        for (size_t i = 0; i < count; i++)
            values[i] = float_bits(decimal_int(values[i]) * factor);
    } else
        for (size_t i = 0; i < count; i++)
            values[i] = float_bits(decimal_int(values[i]) / 1000 / 1000);
    return true;
}

static CODEC_ROOT_NARROW bool scale_narrow(unsigned scale, size_t count, uint64_t *values)
{
    return scale_values(scale, count, values);
}

static CODEC_ROOT_WIDE bool scale_wide(unsigned scale, size_t count, uint64_t *values)
{
    return scale_values(scale, count, values);
}

static bool scale_all(unsigned scale, size_t count, uint64_t *values)
{
    return codec_is_wide() ? scale_wide(scale, count, values) : scale_narrow(scale, count, values);
}

/* Writes the exceptions over the values. */
static bool apply_exceptions(struct byte_reader *reader, size_t count, uint64_t *out_bits)
{
    static const uint64_t bits_of_kind[] = {0, STALE_NAN_BITS, ORDINARY_NAN_BITS,
                                            NEGATIVE_ZERO_BITS};
    uint64_t entries = byte_reader_varint(reader);
    size_t at = 0;
    for (uint64_t e = 0; e < entries; e++) {
        uint64_t head = byte_reader_varint(reader);
        uint64_t gap = head >> EXCEPTION_SHIFT;
        uint64_t kind = head & EXCEPTION_KIND_MASK;
        uint64_t bits = kind == EXCEPTION_RAW ? byte_reader_u64(reader) : bits_of_kind[kind];
        uint64_t more = (head & EXCEPTION_RUN) != 0 ? byte_reader_varint(reader) + 1 : 0;
        if (reader->is_bad || gap >= count - at || more >= count - at - gap)
            return false;
        at += (size_t)gap;
        for (size_t end = at + (size_t)more + 1; at < end; at++)
            out_bits[at] = bits;
    }
    return !reader->is_bad;
}

static nx_code int_decode(struct nx_bytes body, size_t count, uint64_t *out_bits)
{
    struct byte_reader reader = byte_reader_of(body);
    uint8_t head = byte_reader_u8(&reader);
    unsigned scale = head & SCALE_MASK;
    bool is_decimal = (scale & 15) <= DECIMALS_MAX && scale < SCALE_THOUSANDS;
    bool is_scale = scale == SCALE_THOUSANDS || (is_decimal && scale != SCALE_PRODUCT);
    if (!is_scale || (head & ~(SCALE_MASK | SCALE_EXCEPTIONS)) != 0)
        return NX_E_CORRUPT;
    if (!int_pack_get(&reader, count, out_bits) || !scale_all(scale, count, out_bits))
        return NX_E_CORRUPT;
    if ((head & SCALE_EXCEPTIONS) != 0 && !apply_exceptions(&reader, count, out_bits))
        return NX_E_CORRUPT;
    return reader.is_bad || byte_reader_left(&reader) != 0 ? NX_E_CORRUPT : NX_OK;
}

const struct chunk_codec chunk_codec_int = {
    .id = CHUNK_CODEC_INT,
    .name = "int",
    .encode = int_encode,
    .decode = int_decode,
};
