/* SPDX-License-Identifier: Apache-2.0 */
/* histogram_code.c - one native histogram, whole or as the difference from the one before.
 *
 *   head | [schema, threshold, bounds, spans] | sum | [count] | [zero count] | buckets
 *          `-- whole only -----------------'
 *
 * A counter's neighbours share their layout and most of their counts: then a bit a bucket says which changed. The count
 * is left out where it is what the buckets add up to, as it is in every valid histogram of integers without NaN.
 * Layout   docs/formats/histogram.md.
 */
#include "narthex/codec/histogram_code.h"

#include "narthex/base/assert.h"
#include "narthex/codec/bits.h"
#include "narthex/model/staleness.h"

#include "histogram_internal.h"

#include <string.h>

#define HEAD_HINT_MASK  0x03u
#define HEAD_FLOAT      0x04u
#define HEAD_DIFFERENCE 0x08u
#define HEAD_COUNT      0x10u /* the count follows: it is not the total of the buckets */
#define HEAD_ZEROS      0x20u /* the zero count follows: it is not 0, or not what it was */
#define HEAD_BUCKETS    0x40u /* a difference: some bucket changed */
#define HEAD_RESERVED   0x80u

/* 64 bits of a float, where low bytes often are zero. */
static void put_swapped(struct nx_buf *out, uint64_t bits)
{
    varint_append(out, __builtin_bswap64(bits));
}

static uint64_t get_swapped(struct byte_reader *reader)
{
    return __builtin_bswap64(byte_reader_varint(reader));
}

/* A difference by XOR: a byte with the number of its zero bytes at the low end (high nibble) and of those that follow
 * (low nibble), and these. */
static void put_xor(struct nx_buf *out, uint64_t before, uint64_t bits)
{
    uint64_t differ = before ^ bits;
    unsigned skipped = differ == 0 ? 0 : (unsigned)__builtin_ctzll(differ) / 8;
    unsigned bytes = (bits_length(differ >> (8 * skipped)) + 7) / 8;
    nx_buf_append_byte(out, (uint8_t)(skipped << 4 | bytes));
    differ >>= 8 * skipped;
    for (unsigned i = 0; i < bytes; i++)
        nx_buf_append_byte(out, (uint8_t)(differ >> (8 * i)));
}

static uint64_t get_xor(struct byte_reader *reader, uint64_t before)
{
    uint8_t head = byte_reader_u8(reader);
    unsigned skipped = head >> 4;
    unsigned bytes = head & 15;
    if (skipped + bytes > 8 || skipped > 7) {
        byte_reader_take(reader, UINT64_MAX);
        return 0;
    }
    uint64_t differ = 0;
    for (unsigned i = 0; i < bytes; i++)
        differ |= (uint64_t)byte_reader_u8(reader) << (8 * i);
    return before ^ differ << (8 * skipped);
}

/* A count against the one before it, in time or among buckets. */
static void put_count(struct nx_buf *out, bool is_float, uint64_t before, uint64_t count)
{
    if (is_float)
        put_xor(out, before, count);
    else
        varint_append_signed(out, (int64_t)(count - before));
}

static uint64_t get_count(struct byte_reader *reader, bool is_float, uint64_t before)
{
    if (is_float)
        return get_xor(reader, before);
    return before + (uint64_t)byte_reader_varint_signed(reader);
}

void histogram_frame_put(const struct histogram *histogram, struct nx_buf *out)
{
    varint_append_signed(out, histogram->schema);
    put_swapped(out, float_bits(histogram->zero_threshold));
    if (histogram->schema != HISTOGRAM_SCHEMA_CUSTOM)
        return;
    varint_append(out, histogram->bound_count);
    for (size_t i = 0; i < histogram->bound_count; i++)
        put_swapped(out, float_bits(histogram->bounds[i]));
}

void histogram_spans_put(const struct histogram *histogram, struct nx_buf *out)
{
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const struct histogram_side *side = &histogram->sides[sign];
        varint_append(out, side->span_count);
        for (size_t s = 0; s < side->span_count; s++) {
            varint_append_signed(out, side->spans[s].offset);
            varint_append(out, side->spans[s].length);
        }
    }
}

/* The number of elements that follow, each of `bytes_each` or more. */
static bool get_length(struct byte_reader *reader, uint64_t max, size_t bytes_each,
                       uint32_t *out_length)
{
    uint64_t length = byte_reader_varint(reader);
    if (reader->is_bad || length > max || length > byte_reader_left(reader) / bytes_each)
        return false;
    *out_length = (uint32_t)length;
    return true;
}

static nx_code get_side(struct byte_reader *reader, struct arena *arena, struct histogram_side *out)
{
    if (!get_length(reader, HISTOGRAM_SPANS_MAX, 2, &out->span_count))
        return NX_E_CORRUPT;
    if (out->span_count == 0)
        return NX_OK;
    struct histogram_span *spans = arena_alloc(arena, out->span_count * sizeof(*spans));
    if (spans == NULL)
        return NX_E_LIMIT;
    uint64_t buckets = 0;
    for (size_t s = 0; s < out->span_count; s++) {
        int64_t offset = byte_reader_varint_signed(reader);
        uint64_t length = byte_reader_varint(reader);
        if (offset < INT32_MIN || offset > INT32_MAX || length > HISTOGRAM_BUCKETS_MAX)
            return NX_E_CORRUPT;
        spans[s] = (struct histogram_span){.offset = (int32_t)offset, .length = (uint32_t)length};
        buckets += length;
    }
    if (buckets > HISTOGRAM_BUCKETS_MAX)
        return NX_E_CORRUPT;
    out->spans = spans;
    out->bucket_count = (uint32_t)buckets;
    return NX_OK;
}

static nx_code get_bounds(struct byte_reader *reader, struct arena *arena, struct histogram *out)
{
    if (!get_length(reader, HISTOGRAM_BUCKETS_MAX, 1, &out->bound_count))
        return NX_E_CORRUPT;
    if (out->bound_count == 0)
        return NX_OK;
    double *bounds = arena_alloc(arena, out->bound_count * sizeof(*bounds));
    if (bounds == NULL)
        return NX_E_LIMIT;
    for (size_t i = 0; i < out->bound_count; i++)
        bounds[i] = float_from_bits(get_swapped(reader));
    out->bounds = bounds;
    return NX_OK;
}

nx_code histogram_frame_get(struct byte_reader *reader, struct arena *arena, struct histogram *out)
{
    int64_t schema = byte_reader_varint_signed(reader);
    if (schema < INT32_MIN || schema > INT32_MAX)
        return NX_E_CORRUPT;
    out->schema = (int32_t)schema;
    out->zero_threshold = float_from_bits(get_swapped(reader));
    if (out->schema == HISTOGRAM_SCHEMA_CUSTOM) {
        nx_code code = get_bounds(reader, arena, out);
        if (code != NX_OK)
            return code;
    }
    return reader->is_bad || !histogram_is_well_formed(out) ? NX_E_CORRUPT : NX_OK;
}

nx_code histogram_spans_get(struct byte_reader *reader, struct arena *arena, struct histogram *out)
{
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        nx_code code = get_side(reader, arena, &out->sides[sign]);
        if (code != NX_OK)
            return code;
    }
    return reader->is_bad || !histogram_is_well_formed(out) ? NX_E_CORRUPT : NX_OK;
}

static bool any_bucket_differs(const struct histogram *a, const struct histogram *b)
{
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const struct histogram_side *side = &a->sides[sign];
        if (side->bucket_count > 0 && memcmp(side->buckets, b->sides[sign].buckets,
                                             side->bucket_count * sizeof(*side->buckets)) != 0)
            return true;
    }
    return false;
}

/* A bit for each bucket, the positive ones first, 1 where it changed; then how. */
static void put_changes(const struct histogram *histogram, const struct histogram *before,
                        struct nx_buf *out)
{
    const struct histogram_side *sides = histogram->sides;
    size_t bitmap = out->len; /* its place: appending moves the buffer */
    size_t bytes = ((size_t)sides[0].bucket_count + sides[1].bucket_count + 7) / 8;
    memset(nx_buf_extend(out, bytes), 0, bytes);
    size_t at = 0;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
        for (size_t b = 0; b < sides[sign].bucket_count; b++, at++) {
            uint64_t was = before->sides[sign].buckets[b];
            if (sides[sign].buckets[b] == was)
                continue;
            out->data[bitmap + at / 8] |= (uint8_t)(1u << (at % 8));
            put_count(out, histogram->is_float, was, sides[sign].buckets[b]);
        }
}

static void put_buckets(const struct histogram *histogram, struct nx_buf *out)
{
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const struct histogram_side *side = &histogram->sides[sign];
        uint64_t last = 0;
        for (size_t b = 0; b < side->bucket_count; b++) {
            put_count(out, histogram->is_float, last, side->buckets[b]);
            last = side->buckets[b];
        }
    }
}

void histogram_put(const struct histogram *histogram, const struct histogram *before,
                   struct nx_buf *out)
{
    static const struct histogram nothing = {0};
    NX_DCHECK(histogram_is_well_formed(histogram));
    bool is_difference = before != NULL && histogram_same_layout(histogram, before);
    const struct histogram *was = is_difference ? before : &nothing;
    uint8_t head = histogram->hint;
    if (is_difference) {
        head |= HEAD_DIFFERENCE;
        head |= any_bucket_differs(histogram, before) ? HEAD_BUCKETS : 0;
    }
    head |= histogram->is_float ? HEAD_FLOAT : 0;
    head |= histogram->count != histogram_total(histogram) ? HEAD_COUNT : 0;
    head |= histogram->zero_count != was->zero_count ? HEAD_ZEROS : 0;
    nx_buf_append_byte(out, head);
    if (!is_difference) {
        histogram_frame_put(histogram, out);
        histogram_spans_put(histogram, out);
    }
    put_xor(out, float_bits(was->sum), float_bits(histogram->sum));
    if ((head & HEAD_COUNT) != 0)
        put_count(out, histogram->is_float, was->count, histogram->count);
    if ((head & HEAD_ZEROS) != 0)
        put_count(out, histogram->is_float, was->zero_count, histogram->zero_count);
    if ((head & HEAD_BUCKETS) != 0)
        put_changes(histogram, before, out);
    else if (!is_difference)
        put_buckets(histogram, out);
}

/* Arrays for the buckets of both sides, in one piece. */
static uint64_t *new_buckets(struct arena *arena, const struct histogram *histogram)
{
    const struct histogram_side *sides = histogram->sides;
    size_t buckets = (size_t)sides[0].bucket_count + sides[1].bucket_count;
    return arena_alloc(arena, buckets * sizeof(uint64_t));
}

static nx_code get_changes(struct byte_reader *reader, const struct histogram *before,
                           struct arena *arena, struct histogram *out)
{
    size_t buckets = (size_t)out->sides[0].bucket_count + out->sides[1].bucket_count;
    struct nx_bytes bitmap = byte_reader_take(reader, (buckets + 7) / 8);
    if (reader->is_bad)
        return NX_E_CORRUPT;
    if (buckets % 8 != 0 && bitmap.data[bitmap.len - 1] >> (buckets % 8) != 0)
        return NX_E_CORRUPT;
    uint64_t *counts = new_buckets(arena, out);
    if (counts == NULL)
        return NX_E_LIMIT;
    size_t at = 0;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const uint64_t *was = before->sides[sign].buckets;
        out->sides[sign].buckets = counts + at;
        for (size_t b = 0; b < out->sides[sign].bucket_count; b++, at++) {
            bool is_changed = (bitmap.data[at / 8] >> (at % 8) & 1) != 0;
            counts[at] = is_changed ? get_count(reader, out->is_float, was[b]) : was[b];
        }
    }
    return reader->is_bad ? NX_E_CORRUPT : NX_OK;
}

static nx_code get_buckets(struct byte_reader *reader, struct arena *arena, struct histogram *out)
{
    size_t buckets = (size_t)out->sides[0].bucket_count + out->sides[1].bucket_count;
    if (buckets > byte_reader_left(reader))
        return NX_E_CORRUPT;
    uint64_t *counts = new_buckets(arena, out);
    if (counts == NULL)
        return NX_E_LIMIT;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        uint64_t last = 0;
        out->sides[sign].buckets = counts;
        for (size_t b = 0; b < out->sides[sign].bucket_count; b++)
            *counts++ = last = get_count(reader, out->is_float, last);
    }
    return reader->is_bad ? NX_E_CORRUPT : NX_OK;
}

/* All but the head and the layout, which are in *out. */
static nx_code get_rest(struct byte_reader *reader, uint8_t head, const struct histogram *before,
                        struct arena *arena, struct histogram *out)
{
    static const struct histogram nothing = {0};
    bool is_difference = (head & HEAD_DIFFERENCE) != 0;
    const struct histogram *was = is_difference ? before : &nothing;
    nx_code code = NX_OK;
    out->sum = float_from_bits(get_xor(reader, float_bits(was->sum)));
    if ((head & HEAD_COUNT) != 0)
        out->count = get_count(reader, out->is_float, was->count);
    out->zero_count = was->zero_count;
    if ((head & HEAD_ZEROS) != 0)
        out->zero_count = get_count(reader, out->is_float, was->zero_count);
    if ((head & HEAD_BUCKETS) != 0)
        code = get_changes(reader, before, arena, out);
    else if (!is_difference)
        code = get_buckets(reader, arena, out);
    if (code != NX_OK)
        return code;
    if ((head & HEAD_COUNT) == 0)
        out->count = histogram_total(out);
    return reader->is_bad ? NX_E_CORRUPT : NX_OK;
}

static nx_code get_all(struct byte_reader *reader, const struct histogram *before,
                       struct arena *arena, struct histogram *out)
{
    struct histogram got = {0};
    uint8_t head = byte_reader_u8(reader);
    bool is_float = (head & HEAD_FLOAT) != 0;
    bool is_difference = (head & HEAD_DIFFERENCE) != 0;
    if (reader->is_bad || (head & HEAD_RESERVED) != 0)
        return NX_E_CORRUPT;
    if (is_difference) {
        if (before == NULL || before->is_float != is_float)
            return NX_E_CORRUPT;
        got = *before;
    } else {
        if ((head & HEAD_BUCKETS) != 0)
            return NX_E_CORRUPT;
        nx_code code = histogram_frame_get(reader, arena, &got);
        if (code == NX_OK)
            code = histogram_spans_get(reader, arena, &got);
        if (code != NX_OK)
            return code;
    }
    got.is_float = is_float;
    got.hint = head & HEAD_HINT_MASK;
    nx_code code = get_rest(reader, head, before, arena, &got);
    if (code == NX_OK)
        *out = got;
    return code;
}

nx_code histogram_get(struct byte_reader *reader, const struct histogram *before,
                      struct arena *arena, struct histogram *out)
{
    nx_code code = get_all(reader, before, arena, out);
    if (code == NX_E_CORRUPT)
        byte_reader_take(reader, UINT64_MAX); /* makes it bad */
    return code;
}
