/* staleness.h - the NaN that marks the end of a series, and the ordinary one (Prometheus model/value/value.go). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define STALE_NAN_BITS    UINT64_C(0x7ff0000000000002)
#define ORDINARY_NAN_BITS UINT64_C(0x7ff8000000000001)

static inline uint64_t float_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static inline double float_from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline bool is_stale_nan(double value)
{
    return float_bits(value) == STALE_NAN_BITS;
}
