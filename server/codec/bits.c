/* SPDX-License-Identifier: Apache-2.0 */
/* bits.c - packing through a 64-bit accumulator, unpacking by one function per width.
 *
 * Eight values of width w take exactly w bytes, so a group of eight starts on a byte and every offset and shift within
 * it is a constant once w is: the kernels below are the same loop, compiled for each width, without and with AVX2.
 */
#include "narthex/codec/bits.h"

#include "narthex/base/assert.h"

#include "wide.h"

#include <string.h>

static_assert(BITS_COUNT_MAX % 8 == 0, "values are unpacked in groups of eight");

bool codec_wide_off;

static inline uint64_t load_u64(const uint8_t *in)
{
    uint64_t word;
    memcpy(&word, in, sizeof(word));
    return word;
}

void bits_pack(const uint64_t *values, size_t count, unsigned width, uint8_t *out)
{
    if (width == 0)
        return;
    if (width == 64) {
        memcpy(out, values, count * sizeof(*values));
        return;
    }
    uint64_t mask = (UINT64_C(1) << width) - 1;
    uint64_t pending = 0;
    unsigned filled = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t value = values[i] & mask;
        pending |= value << filled;
        filled += width;
        if (filled >= 64) {
            memcpy(out, &pending, sizeof(pending));
            out += sizeof(pending);
            filled -= 64;
            pending = value >> 1 >> (width - filled - 1); /* filled may be 0: a shift by width */
        }
    }
    memcpy(out, &pending, sizeof(pending));
}

typedef void (*bits_unpack_fn)(const uint8_t *in, size_t groups, uint64_t *out);

/* clang-format off */
#define BITS_KERNEL(suffix, width)                                                                 \
    static void unpack_##suffix##width(const uint8_t *in, size_t groups, uint64_t *out)            \
    {                                                                                              \
        const uint64_t mask = (UINT64_C(1) << (width)) - 1;                                        \
        for (size_t g = 0; g < groups; g++, in += (width), out += 8)                               \
            for (unsigned i = 0; i < 8; i++)                                                       \
                out[i] = load_u64(in + i * (width) / 8) >> (i * (width) % 8) & mask;               \
    }

#define BITS_EACH_WIDTH(X)                                                                         \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17)   \
    X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31) X(32)      \
    X(33) X(34) X(35) X(36) X(37) X(38) X(39) X(40) X(41) X(42) X(43) X(44) X(45) X(46) X(47)      \
    X(48) X(49) X(50) X(51) X(52) X(53) X(54) X(55) X(56)

#define BITS_KERNEL_NARROW(width) BITS_KERNEL(narrow_, width)
#define BITS_KERNEL_WIDE(width) CODEC_WIDE BITS_KERNEL(wide_, width)
BITS_EACH_WIDTH(BITS_KERNEL_NARROW)
BITS_EACH_WIDTH(BITS_KERNEL_WIDE)

#define BITS_ENTRY_NARROW(width) unpack_narrow_##width,
#define BITS_ENTRY_WIDE(width) unpack_wide_##width,
static const bits_unpack_fn unpack_narrow[] = {NULL, BITS_EACH_WIDTH(BITS_ENTRY_NARROW)};
static const bits_unpack_fn unpack_wide[] = {NULL, BITS_EACH_WIDTH(BITS_ENTRY_WIDE)};
/* clang-format on */

static_assert(NX_ARRAY_LEN(unpack_wide) == BITS_WIDTH_MAX + 1, "a kernel for each width");

void bits_unpack(const uint8_t *in, size_t readable, size_t count, unsigned width,
                 uint64_t out[BITS_COUNT_MAX])
{
    NX_DCHECK(count <= BITS_COUNT_MAX && readable >= bits_bytes(count, width));
    NX_DCHECK(bits_width_allowed(width) == width);
    if (width == 0) {
        memset(out, 0, count * sizeof(*out));
        return;
    }
    if (width == 64) {
        memcpy(out, in, count * sizeof(*out));
        return;
    }
    size_t groups = (count + 7) / 8;
    uint8_t padded[BITS_COUNT_MAX * BITS_WIDTH_MAX / 8 + BITS_PAD];
    if (readable < groups * width + BITS_PAD) { /* the end of the input: read from a copy */
        size_t bytes = bits_bytes(count, width);
        memcpy(padded, in, bytes);
        memset(padded + bytes, 0, groups * width + BITS_PAD - bytes);
        in = padded;
    }
    (codec_is_wide() ? unpack_wide : unpack_narrow)[width](in, groups, out);
}
