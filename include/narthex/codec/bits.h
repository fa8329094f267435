/* bits.h - a few unsigned integers at one fixed width, back to back, least significant bit first.
 *
 * Value i stands in bits [i * width, (i + 1) * width) of the little-endian bit string. Widths are 0 to 56, and 64 for
 * what is wider: so one unaligned 64-bit load holds any value, which makes unpacking a load, a shift and a mask.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BITS_COUNT_MAX 240u /* values in one call */
#define BITS_WIDTH_MAX 56u  /* of those below 64 */
#define BITS_PAD                                                                                   \
 8u /* bytes that bits_pack may write, and unpacking would like to read, behind the last */

static inline size_t bits_bytes(size_t count, unsigned width)
{
    return (count * width + 7) / 8;
}

/* The smallest width that is allowed and at least `width`. */
static inline unsigned bits_width_allowed(unsigned width)
{
    return width <= BITS_WIDTH_MAX ? width : 64;
}

/* Bits needed for `value`: 0 for 0. */
static inline unsigned bits_length(uint64_t value)
{
    return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

/* The low `width` bits of each of `count` values. `out` has room for bits_bytes + BITS_PAD, and what is in the padding
 * afterwards is undefined. */
void bits_pack(const uint64_t *values, size_t count, unsigned width, uint8_t *out);

/* The inverse. `readable` is how many bytes may be read at `in`, at least bits_bytes: with BITS_COUNT_MAX * width / 8 +
 * BITS_PAD it is fastest. `out` has BITS_COUNT_MAX places, those from `count` on are undefined. */
void bits_unpack(const uint8_t *in, size_t readable, size_t count, unsigned width,
                 uint64_t out[BITS_COUNT_MAX]);
