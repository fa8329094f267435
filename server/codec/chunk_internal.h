/* chunk_internal.h - the codecs behind chunk.c, and the arithmetic of decimals that two of them share. */
#pragma once

#include "narthex/codec/chunk.h"
#include "narthex/model/staleness.h"

extern const struct chunk_codec chunk_codec_const;
extern const struct chunk_codec chunk_codec_int;
extern const struct chunk_codec chunk_codec_sum;
extern const struct chunk_codec chunk_codec_float;

#define DECIMALS_MAX 9u /* nanoseconds */

/* The integer behind a decimal is below this: 15 digits, and what ROUNDING_MAGIC can round. */
#define DECIMAL_LIMIT  0x1p51
#define ROUNDING_MAGIC 0x1.8p52 /* x + this - this is x rounded to an integer, when |x| < 2^51 */

static const double power_of_10[DECIMALS_MAX + 1] = {1e0, 1e1, 1e2, 1e3, 1e4,
                                                     1e5, 1e6, 1e7, 1e8, 1e9};

/* x rounded to an integer, 0 when it is no number below the limit; *out_q is the same as an integer. */
static inline double decimal_round(double x, uint64_t *out_q)
{
    bool is_small = x > -DECIMAL_LIMIT && x < DECIMAL_LIMIT;
    double rounded = (is_small ? x : 0) + ROUNDING_MAGIC;
    *out_q = float_bits(rounded) - float_bits(ROUNDING_MAGIC);
    return rounded - ROUNDING_MAGIC;
}

/* Integer of a decimal to float64: exact below the limit, and with vectors, where a conversion would have none. */
static inline double decimal_int(uint64_t q)
{
    return float_from_bits(q + float_bits(ROUNDING_MAGIC)) - ROUNDING_MAGIC;
}

/* Whether all are below the limit, as a decoder must know. */
static inline bool decimals_are_small(const uint64_t *ints, size_t count)
{
    uint64_t too_large = 0;
    for (size_t i = 0; i < count; i++)
        too_large |= (ints[i] + (UINT64_C(1) << 51)) >> 52;
    return too_large == 0;
}
