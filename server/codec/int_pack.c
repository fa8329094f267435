/* SPDX-License-Identifier: Apache-2.0 */
/* int_pack.c - what makes a series of integers small before it is packed.
 *
 *   values -> deltas / their greatest common divisor -> the order of differences that packs best -> miniblocks
 *
 * Order 0 are the values (gauges), order 1 their deltas (counters), order 2 the deltas' deltas (steady ramps), each
 * relative to the first value. The choice is made by a sample of each order.
 * A series whose deltas are all equal has no miniblocks at all.
 */
#include "narthex/codec/int_pack.h"

#include "narthex/base/assert.h"
#include "narthex/codec/miniblock.h"

#include "wide.h"

#define HEAD_ORDER_MASK 3u
#define HEAD_LINEAR     3u /* all deltas equal */
#define HEAD_DIVISOR    4u /* a common divisor above 1 follows */

#define ORDERS          3u

/* The inverse of an odd number modulo 2^64, by Newton's iteration: 5 bits right at first, doubled each time. */
static uint64_t odd_inverse(uint64_t odd)
{
    uint64_t inverse = 3 * odd ^ 2;
    for (int i = 0; i < 4; i++)
        inverse *= 2 - odd * inverse;
    return inverse;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t magnitude(uint64_t value)
{
    return (int64_t)value < 0 ? 0 - value : value;
}

/* How values become small: (difference >> twos) * inverse is the exact quotient by twos' power and an odd divisor. */
struct scale {
    uint64_t divisor;
    uint64_t inverse; /* of its odd part */
    unsigned twos;
    bool is_linear; /* all deltas are equal */
};

/* Greatest common divisor of all deltas as signed numbers, 1 when they are all 0. The power of two falls out of one OR.
 * A number is a multiple of an odd divisor if, and only if, its product with the inverse is no larger than the largest
 * quotient; so a division is needed only where the divisor shrinks. */
static struct scale scale_of(const uint64_t *values, size_t count)
{
    struct scale scale = {.divisor = 1, .inverse = 1, .twos = 0, .is_linear = true};
    uint64_t any = 0;
    uint64_t any_change = 0;
    uint64_t first_delta = count > 1 ? values[1] - values[0] : 0;
    for (size_t i = 1; i < count; i++) {
        uint64_t delta = values[i] - values[i - 1];
        any |= delta;
        any_change |= delta ^ first_delta;
    }
    scale.is_linear = any_change == 0;
    if (scale.is_linear)
        return scale;
    scale.twos = (unsigned)__builtin_ctzll(any);
    uint64_t odd = 0;
    uint64_t quotient_max = 0;
    for (size_t i = 1; i < count && odd != 1; i++) {
        uint64_t delta = magnitude(values[i] - values[i - 1]) >> scale.twos;
        if (delta == 0 || (odd != 0 && delta * scale.inverse <= quotient_max))
            continue;
        odd = gcd(delta, odd);
        odd >>= __builtin_ctzll(odd);
        scale.inverse = odd_inverse(odd);
        quotient_max = UINT64_MAX / odd;
    }
    scale.divisor = odd << scale.twos;
    return scale;
}

/* What the miniblocks of an order hold, for the values from `at` on: at least 1, and 2 for order 2. */
static void differences(const uint64_t *values, size_t at, size_t count, unsigned order,
                        const struct scale *scale, uint64_t out[MINIBLOCK_MAX])
{
    const uint64_t *v = values + at;
    unsigned twos = scale->twos;
    uint64_t inverse = scale->inverse;
    if (order == 0)
        for (size_t i = 0; i < count; i++)
            out[i] = (uint64_t)((int64_t)(v[i] - values[0]) >> twos) * inverse;
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (uint64_t)((int64_t)(v[i] - *(v + i - 1)) >> twos) * inverse;
    if (order == 2) {
        uint64_t before = (uint64_t)((int64_t)(*(v - 1) - *(v - 2)) >> twos) * inverse;
        for (size_t i = 0; i < count; i++) {
            uint64_t delta = out[i];
            out[i] = delta - before;
            before = delta;
        }
    }
}

/* What `order` would take, judged by a miniblock at the start and one in the middle. */
static size_t order_estimate(const uint64_t *values, size_t count, unsigned order,
                             const struct scale *scale)
{
    uint64_t sample[MINIBLOCK_MAX];
    size_t first = order == 2 ? 2 : 1;
    size_t total = count - first;
    size_t length = total < MINIBLOCK_MAX ? total : MINIBLOCK_MAX;
    differences(values, first, length, order, scale, sample);
    size_t bits = miniblock_estimate(sample, length);
    if (total >= 2 * (size_t)MINIBLOCK_MAX) {
        differences(values, first + total / 2, length, order, scale, sample);
        bits += miniblock_estimate(sample, length);
    }
    return bits;
}

static unsigned choose_order(const uint64_t *values, size_t count, const struct scale *scale)
{
    if (count < 3)
        return 1;
    unsigned best = 1;
    size_t least = order_estimate(values, count, 1, scale);
    for (unsigned order = 0; order < ORDERS; order += 2) {
        size_t bits = order_estimate(values, count, order, scale);
        /* The median of a sample is off more for noise on noise: order 2 has to look a sixteenth better. */
        bits += order == 2 ? bits / 16 : 0;
        if (bits < least) {
            least = bits;
            best = order;
        }
    }
    return best;
}

static inline void put(const uint64_t *values, size_t count, struct nx_buf *out)
{
    NX_DCHECK(count > 0);
    struct scale scale = scale_of(values, count);
    uint64_t block[MINIBLOCK_MAX];
    if (scale.is_linear) {
        nx_buf_append_byte(out, HEAD_LINEAR);
        varint_append_signed(out, (int64_t)values[0]);
        varint_append_signed(out, count > 1 ? (int64_t)(values[1] - values[0]) : 0);
        return;
    }
    unsigned order = choose_order(values, count, &scale);
    nx_buf_append_byte(out, (uint8_t)(order | (scale.divisor > 1 ? HEAD_DIVISOR : 0)));
    varint_append_signed(out, (int64_t)values[0]);
    if (scale.divisor > 1)
        varint_append(out, scale.divisor);
    size_t at = 1;
    if (order == 2) {
        differences(values, 1, 1, 1, &scale, block);
        varint_append_signed(out, (int64_t)block[0]);
        at = 2;
    }
    while (at < count) {
        size_t length = count - at < MINIBLOCK_MAX ? count - at : MINIBLOCK_MAX;
        differences(values, at, length, order, &scale, block);
        miniblock_put(block, length, out);
        at += length;
    }
}

static void get_linear(struct byte_reader *reader, uint64_t first, size_t count, uint64_t *out)
{
    uint64_t delta = (uint64_t)byte_reader_varint_signed(reader);
    for (size_t i = 0; i < count; i++)
        out[i] = first + delta * i;
}

static inline bool get(struct byte_reader *reader, size_t count, uint64_t *out)
{
    NX_DCHECK(count > 0);
    uint8_t head = byte_reader_u8(reader);
    unsigned order = head & HEAD_ORDER_MASK;
    uint64_t first = (uint64_t)byte_reader_varint_signed(reader);
    if (head == HEAD_LINEAR) {
        get_linear(reader, first, count, out);
        return !reader->is_bad;
    }
    uint64_t divisor = (head & HEAD_DIVISOR) != 0 ? byte_reader_varint(reader) : 1;
    uint64_t slope = order == 2 ? divisor * (uint64_t)byte_reader_varint_signed(reader) : 0;
    if (head > (HEAD_DIVISOR | 2) || order == HEAD_LINEAR || count < (order == 2 ? 3u : 2u)) {
        reader->next = reader->end;
        reader->is_bad = true;
    }
    if (reader->is_bad)
        return false;
    uint64_t block[MINIBLOCK_MAX];
    uint64_t value = first;
    size_t at = 0;
    out[at++] = value;
    if (order == 2)
        out[at++] = value += slope;
    while (at < count) {
        size_t length = count - at < MINIBLOCK_MAX ? count - at : MINIBLOCK_MAX;
        if (!miniblock_get(reader, length, block))
            return false;
        if (order == 0)
            for (size_t i = 0; i < length; i++)
                out[at + i] = first + divisor * block[i];
        else if (order == 1)
            for (size_t i = 0; i < length; i++)
                out[at + i] = value += divisor * block[i];
        else
            for (size_t i = 0; i < length; i++)
                out[at + i] = value += slope += divisor * block[i];
        at += length;
    }
    return true;
}

/* ---- the verbs, twice ---- */

static CODEC_ROOT_NARROW void put_narrow(const uint64_t *values, size_t count, struct nx_buf *out)
{
    put(values, count, out);
}

static CODEC_ROOT_WIDE void put_wide(const uint64_t *values, size_t count, struct nx_buf *out)
{
    put(values, count, out);
}

void int_pack_put(const uint64_t *values, size_t count, struct nx_buf *out)
{
    if (codec_is_wide())
        put_wide(values, count, out);
    else
        put_narrow(values, count, out);
}

static CODEC_ROOT_NARROW bool get_narrow(struct byte_reader *reader, size_t count, uint64_t *out)
{
    return get(reader, count, out);
}

static CODEC_ROOT_WIDE bool get_wide(struct byte_reader *reader, size_t count, uint64_t *out)
{
    return get(reader, count, out);
}

bool int_pack_get(struct byte_reader *reader, size_t count, uint64_t *out)
{
    return codec_is_wide() ? get_wide(reader, count, out) : get_narrow(reader, count, out);
}
