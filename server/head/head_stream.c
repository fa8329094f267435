/* SPDX-License-Identifier: Apache-2.0 */
/* head_stream.c - batches of samples to bytes and back. */
#include "head_stream.h"

#include "narthex/base/assert.h"
#include "narthex/codec/varint.h"
#include "narthex/model/staleness.h"

#include <string.h>

#define CONTROL_ABSOLUTE     0x08u
#define CONTROL_STEPS        0x10u
#define CONTROL_VALUES_SHIFT 5u
#define VALUES_SAME          0u
#define VALUES_XOR           1u
#define VALUES_SCALED        2u /* + index of the scale */
#define SCALE_COUNT          6u

/* Chosen: what exporters write: integers, tenths, percent, milli-, micro- and nanoseconds. */
static const double scales[SCALE_COUNT] = {1, 10, 100, 1000, 1000000, 1000000000};

/* Below 2^51 adding and subtracting 1.5 * 2^52 rounds to the nearest integer. */
#define SCALED_LIMIT 0x1p51
#define ROUND_BIAS   0x1.8p52

/* Whether value is exactly *out_q divided by the scale: the same 64 bits come back. */
static inline bool scale_exactly(uint64_t bits, unsigned scale, int64_t *out_q)
{
    double value = float_from_bits(bits);
    double scaled = value * scales[scale];
    if (!(scaled < SCALED_LIMIT && scaled > -SCALED_LIMIT))
        return false;
    double rounded = (scaled + ROUND_BIAS) - ROUND_BIAS;
    int64_t q = (int64_t)rounded;
    *out_q = q;
    return float_bits((double)q / scales[scale]) == bits;
}

static inline unsigned bit_width(uint64_t value)
{
    return value == 0 ? 0 : 64u - (unsigned)__builtin_clzll(value);
}

/* `count` integers of `width` bits, lowest bit first; writes whole words, so up to 8 bytes past what it returns. */
static inline size_t pack(uint8_t *out, const uint64_t *values, unsigned count, unsigned width)
{
    uint8_t *next = out;
    uint64_t word = 0;
    unsigned fill = 0;
    if (width == 0)
        return 0;
    for (unsigned i = 0; i < count; i++) {
        word |= values[i] << fill;
        fill += width;
        if (fill < 64)
            continue;
        memcpy(next, &word, 8);
        next += 8;
        fill -= 64;
        word = fill == 0 ? 0 : values[i] >> (width - fill);
    }
    memcpy(next, &word, 8);
    return ((size_t)count * width + 7) / 8;
}

static inline uint64_t load64(const uint8_t *in)
{
    uint64_t word;
    memcpy(&word, in, 8);
    return word;
}

/* The i-th packed integer; reads at most 9 bytes from its first byte on. */
static inline uint64_t unpack(const uint8_t *in, unsigned i, unsigned width)
{
    if (width == 0)
        return 0;
    unsigned at = i * width;
    unsigned shift = at & 7;
    const uint8_t *from = in + at / 8;
    uint64_t value = load64(from) >> shift;
    if (shift + width > 64)
        value |= (uint64_t)from[8] << (64 - shift);
    return width == 64 ? value : value & ((UINT64_C(1) << width) - 1);
}

#define STEPS_LONG      7u /* instead of a width: the long form follows */
#define STEPS_LOW_BIAS  16
#define STEPS_LOW_SHIFT 3u

/* Offsets of the samples from a line of equal steps that begins with the sample before them. */
struct offsets {
    uint64_t above[STREAM_BATCH]; /* above the smallest */
    int64_t low;
    unsigned width;
};

static void offsets_from(struct offsets *out, const uint32_t *steps, unsigned count,
                         uint32_t expected)
{
    int64_t at[STREAM_BATCH];
    int64_t offset = 0;
    int64_t low = INT64_MAX;
    int64_t high = INT64_MIN;
    for (unsigned i = 0; i < count; i++) {
        offset += (int64_t)steps[i] - expected;
        at[i] = offset;
        low = offset < low ? offset : low;
        high = offset > high ? offset : high;
    }
    for (unsigned i = 0; i < count; i++)
        out->above[i] = (uint64_t)(at[i] - low);
    out->low = low;
    out->width = bit_width((uint64_t)(high - low));
}

static uint32_t mean_step(const uint32_t *steps, unsigned count)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += steps[i];
    return (uint32_t)((sum + count / 2) / count);
}

/* The step that is expected from here on: another one only where it saves more than it costs. */
static size_t encode_steps(uint8_t *out, const uint32_t *steps, unsigned count, uint32_t *step)
{
    struct offsets offsets;
    offsets_from(&offsets, steps, count, *step);
    if (offsets.width < STEPS_LONG && offsets.low >= -STEPS_LOW_BIAS &&
        offsets.low < STEPS_LOW_BIAS) {
        out[0] =
            (uint8_t)(offsets.width | (unsigned)(offsets.low + STEPS_LOW_BIAS) << STEPS_LOW_SHIFT);
        return 1 + pack(out + 1, offsets.above, count, offsets.width);
    }
    struct offsets others;
    uint32_t mean = mean_step(steps, count);
    offsets_from(&others, steps, count, mean);
    if (others.width * count + 8 < offsets.width * count) {
        offsets = others;
        *step = mean;
    }
    size_t bytes = 1;
    out[0] = STEPS_LONG;
    bytes += varint_put(out + bytes, *step);
    out[bytes++] = (uint8_t)offsets.width;
    bytes += varint_put(out + bytes, zigzag(offsets.low));
    return bytes + pack(out + bytes, offsets.above, count, offsets.width);
}

static size_t encode_integers(uint8_t *out, int64_t *q, unsigned count, int64_t before)
{
    int64_t deltas[STREAM_BATCH];
    int64_t low = INT64_MAX;
    int64_t high = INT64_MIN;
    for (unsigned i = 0; i < count; i++) {
        deltas[i] = q[i] - before; /* both within 2^51 */
        before = q[i];
        low = deltas[i] < low ? deltas[i] : low;
        high = deltas[i] > high ? deltas[i] : high;
    }
    uint64_t above[STREAM_BATCH];
    for (unsigned i = 0; i < count; i++)
        above[i] = (uint64_t)(deltas[i] - low);
    unsigned width = bit_width((uint64_t)(high - low));
    out[0] = (uint8_t)width;
    size_t bytes = 1 + varint_put(out + 1, zigzag(low));
    return bytes + pack(out + bytes, above, count, width);
}

static size_t encode_xor(uint8_t *out, const uint64_t *bits, unsigned count, uint64_t before)
{
    uint64_t differences[STREAM_BATCH];
    uint64_t all = 0;
    for (unsigned i = 0; i < count; i++) {
        differences[i] = bits[i] ^ before;
        before = bits[i];
        all |= differences[i];
    }
    NX_DCHECK(all != 0);
    unsigned trailing = (unsigned)__builtin_ctzll(all);
    for (unsigned i = 0; i < count; i++)
        differences[i] >>= trailing;
    unsigned width = bit_width(all >> trailing);
    out[0] = (uint8_t)trailing;
    out[1] = (uint8_t)width;
    return 2 + pack(out + 2, differences, count, width);
}

static bool all_equal_to(const uint64_t *bits, unsigned count, uint64_t before)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < count; i++)
        all |= bits[i] ^ before;
    return all == 0;
}

/* Returns the control bits of the kind chosen, and in *bytes what was written. */
static unsigned encode_values(uint8_t *out, const uint64_t *bits, unsigned count, uint64_t before,
                              size_t *bytes)
{
    *bytes = 0;
    if (all_equal_to(bits, count, before))
        return VALUES_SAME;
    int64_t q[STREAM_BATCH];
    for (unsigned scale = 0; scale < SCALE_COUNT; scale++) {
        unsigned exact = 0;
        while (exact < count && scale_exactly(bits[exact], scale, &q[exact]))
            exact++;
        if (exact < count)
            continue;
        int64_t q_before;
        if (!scale_exactly(before, scale, &q_before))
            q_before = 0;
        *bytes = encode_integers(out, q, count, q_before);
        return VALUES_SCALED + scale;
    }
    *bytes = encode_xor(out, bits, count, before);
    return VALUES_XOR;
}

static bool steps_all_equal_to(const uint32_t *steps, unsigned count, uint32_t before)
{
    uint32_t all = 0;
    for (unsigned i = 0; i < count; i++)
        all |= steps[i] ^ before;
    return all == 0;
}

size_t stream_encode(uint8_t *out, const struct stream_batch *batch, uint32_t *out_step)
{
    NX_DCHECK(batch->count >= 1 && batch->count <= STREAM_BATCH);
    const uint32_t *steps = batch->steps;
    const uint64_t *bits = batch->bits;
    unsigned count = batch->count;
    uint32_t step = batch->step;
    uint64_t bits_before = batch->bits_before;
    unsigned control = count - 1;
    size_t at = 1;
    if (batch->is_absolute) {
        control |= CONTROL_ABSOLUTE;
        at += varint_put(out + at, zigzag(batch->first_ms));
        at += varint_put(out + at, __builtin_bswap64(bits[0]));
        step = 0;
        bits_before = bits[0];
        steps++;
        bits++;
        count--;
    }
    if (!steps_all_equal_to(steps, count, step)) {
        control |= CONTROL_STEPS;
        at += encode_steps(out + at, steps, count, &step);
    }
    if (count > 0) {
        size_t bytes;
        control |= encode_values(out + at, bits, count, bits_before, &bytes)
                   << CONTROL_VALUES_SHIFT;
        at += bytes;
    }
    out[0] = (uint8_t)control;
    *out_step = step;
    NX_DCHECK(at + 8 <= STREAM_BATCH_BYTES_MAX);
    return at;
}

/* Takes the bytes of `count` packed integers; NULL when the stream is too short. */
static const uint8_t *take_packed(struct byte_reader *in, unsigned count, unsigned width)
{
    size_t bytes = ((size_t)count * width + 7) / 8;
    const uint8_t *packed = in->next;
    if (width > 64 || byte_reader_left(in) < bytes)
        return NULL;
    in->next += bytes;
    return packed;
}

static bool decode_times(struct byte_reader *in, bool has_steps, unsigned count, int64_t *time_ms,
                         uint64_t *step, int64_t *times_ms)
{
    uint64_t now = (uint64_t)*time_ms;
    if (!has_steps) {
        for (unsigned i = 0; i < count; i++) {
            now += *step;
            times_ms[i] = (int64_t)now;
        }
        *time_ms = (int64_t)now;
        return true;
    }
    unsigned form = byte_reader_u8(in);
    unsigned width = form & ((1u << STEPS_LOW_SHIFT) - 1);
    uint64_t low = (uint64_t)(form >> STEPS_LOW_SHIFT) - STEPS_LOW_BIAS;
    if (width == STEPS_LONG) {
        *step = byte_reader_varint(in);
        width = byte_reader_u8(in);
        low = (uint64_t)byte_reader_varint_signed(in);
    }
    const uint8_t *packed = take_packed(in, count, width);
    if (in->is_bad || packed == NULL || count == 0)
        return false;
    uint64_t line = now + low;
    for (unsigned i = 0; i < count; i++) {
        line += *step;
        times_ms[i] = (int64_t)(line + unpack(packed, i, width));
    }
    *time_ms = times_ms[count - 1];
    return true;
}

static bool decode_xor(struct byte_reader *in, unsigned count, uint64_t before, uint64_t *bits)
{
    unsigned trailing = byte_reader_u8(in);
    unsigned width = byte_reader_u8(in);
    const uint8_t *packed = take_packed(in, count, width);
    if (in->is_bad || packed == NULL || trailing > 63)
        return false;
    for (unsigned i = 0; i < count; i++) {
        before ^= unpack(packed, i, width) << trailing;
        bits[i] = before;
    }
    return true;
}

static bool decode_integers(struct byte_reader *in, unsigned count, unsigned scale, uint64_t before,
                            uint64_t *bits)
{
    unsigned width = byte_reader_u8(in);
    uint64_t low = (uint64_t)byte_reader_varint_signed(in);
    const uint8_t *packed = take_packed(in, count, width);
    if (in->is_bad || packed == NULL)
        return false;
    int64_t q_before;
    if (!scale_exactly(before, scale, &q_before))
        q_before = 0;
    uint64_t q = (uint64_t)q_before;
    double divisor = scales[scale];
    for (unsigned i = 0; i < count; i++) {
        q += low + unpack(packed, i, width);
        bits[i] = float_bits((double)(int64_t)q / divisor);
    }
    return true;
}

static bool decode_values(struct byte_reader *in, unsigned kind, unsigned count, uint64_t before,
                          uint64_t *bits)
{
    if (kind == VALUES_XOR)
        return decode_xor(in, count, before, bits);
    if (kind >= VALUES_SCALED)
        return decode_integers(in, count, kind - VALUES_SCALED, before, bits);
    for (unsigned i = 0; i < count; i++)
        bits[i] = before;
    return true;
}

int stream_decode(struct stream_reader *reader, int64_t *times_ms, uint64_t *bits)
{
    if (reader->next == reader->end)
        return 0;
    struct byte_reader in = {.next = reader->next, .end = reader->end};
    unsigned control = byte_reader_u8(&in);
    unsigned count = (control & (STREAM_BATCH - 1)) + 1;
    unsigned done = 0;
    int64_t time_ms = reader->time_ms;
    uint64_t before = reader->bits;
    uint64_t step = reader->step;
    if (control & CONTROL_ABSOLUTE) {
        times_ms[0] = time_ms = byte_reader_varint_signed(&in);
        bits[0] = before = __builtin_bswap64(byte_reader_varint(&in));
        step = 0;
        done = 1;
    }
    unsigned left = count - done;
    if (in.is_bad ||
        !decode_times(&in, control & CONTROL_STEPS, left, &time_ms, &step, times_ms + done))
        return -1;
    if (left > 0 && !decode_values(&in, control >> CONTROL_VALUES_SHIFT, left, before, bits + done))
        return -1;
    reader->next = in.next;
    reader->time_ms = time_ms;
    reader->bits = bits[count - 1];
    reader->step = step;
    return (int)count;
}
