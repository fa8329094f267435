/* SPDX-License-Identifier: Apache-2.0 */
/* miniblock.c - choosing and writing the layout of up to 240 integers.
 *
 *   head byte   bits 0-5 width code, bits 6-7 layout
 *   plain       reference, packed values
 *   patched     reference, packed low parts, patches: number - 1, places, high parts (zigzag varints)
 *   unary       reference, packed low parts, high parts in unary (a bit string), what is above the longest of those
 *   folded      as unary, but the values are zigzag of their distance from the reference
 *   sparse      the frequent value, a bitmap of where it is not, then a block of those, not sparse itself
 *
 * Fixed width fits what is evenly spread below a power of two, and nothing else: for noise around a mean it takes 1.4
 * bits a value more than there is information, because of the tails. A low part of fixed width and a high part in unary
 * (Rice's code; the split as in Elias and Fano, so that the low parts stay packed) comes within 0.1 to 0.3 bits.
 *
 * A plan is a layout, a reference and a width. From the numbers of values by bit length above a reference, the cost of
 * each width follows without looking at the values again. Two references are tried: the minimum, and a sampled median,
 * which outliers do not move. Cost: about 8 ns a value to plan, 2 to write, 0.5 (plain) to 2 (unary) to read.
 */
#include "narthex/codec/miniblock.h"

#include "narthex/base/assert.h"
#include "narthex/codec/bits.h"

#include "wide.h"

#include <string.h>

enum layout {
    LAYOUT_PLAIN = 0,
    LAYOUT_PATCHED = 1,
    LAYOUT_UNARY = 2,
    LAYOUT_FOLDED = 3,
};

#define HEAD_LAYOUT_SHIFT 6u
#define HEAD_WIDTH_MASK   0x3fu
#define HEAD_WIDTH_64     63u
#define HEAD_SPARSE       62u /* width code, in the plain layout */

#define UNARY_MAX                                                                                  \
 15u /* a high part of this stands for itself plus a varint; chosen: rare at the best width */
#define UNARY_BYTES_MAX (MINIBLOCK_MAX * (UNARY_MAX + 1) / 8)

#define SAMPLES         15u /* of the median; chosen: odd, and off by a third of a deviation at most */
#define BINS            128u /* bit length 0 .. 63, then the same for values below the reference */

/* The most that one block can take: each part at its longest, which no block has together. */
#define MINIBLOCK_BYTES_MAX                                                                        \
 (2 * (1 + VARINT_BYTES_MAX) + MINIBLOCK_MAX / 8 + 8 * MINIBLOCK_MAX + BITS_PAD +                  \
  UNARY_BYTES_MAX + 1 + MINIBLOCK_MAX * (1 + VARINT_BYTES_MAX))

static_assert(MINIBLOCK_MAX == BITS_COUNT_MAX, "a block is packed by one call");
static_assert(MINIBLOCK_MAX <= 256, "places take a byte");
static_assert(BITS_WIDTH_MAX < HEAD_SPARSE, "width codes are distinct");

struct plan {
    enum layout
        layout; /* never LAYOUT_PATCHED: whether there are patches shows when they are written */
    uint64_t reference;
    unsigned width;
    size_t cost; /* bits, about */
};

/* How many values need how many bits above a reference, or, from bin 64 on, below it. */
struct lengths {
    uint64_t reference;
    uint8_t bins[BINS];
    uint8_t used[BINS]; /* bins that are not empty, ascending */
    size_t used_count;
};

static uint64_t sample_median(const uint64_t *values, size_t count)
{
    int64_t sorted[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++) {
        int64_t value = (int64_t)values[i * (count - 1) / (SAMPLES - 1)];
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > value; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = value;
    }
    return (uint64_t)sorted[SAMPLES / 2];
}

static inline unsigned bin_of(uint64_t difference)
{
    uint64_t below = (uint64_t)((int64_t)difference >> 63);
    return 63u - (unsigned)__builtin_clzll((difference ^ below) << 1 | 1) + (unsigned)(below & 64);
}

/* Two tables, so that equal neighbours do not wait for each other's count. */
static void lengths_count(const uint64_t *values, size_t count, uint64_t reference,
                          struct lengths *out)
{
    uint8_t odd[BINS] = {0};
    memset(out->bins, 0, BINS);
    out->reference = reference;
    size_t i = 0;
    for (; i + 2 <= count; i += 2) {
        out->bins[bin_of(values[i] - reference)]++;
        odd[bin_of(values[i + 1] - reference)]++;
    }
    if (i < count)
        out->bins[bin_of(values[i] - reference)]++;
    out->used_count = 0;
    for (unsigned bin = 0; bin < BINS; bin++) {
        out->bins[bin] = (uint8_t)(out->bins[bin] + odd[bin]);
        out->used[out->used_count] = (uint8_t)bin;
        out->used_count += out->bins[bin] != 0;
    }
}

/* Values in the two longest bins that are used, those below the reference among them. */
static size_t lengths_top(const struct lengths *lengths)
{
    size_t top = 0;
    for (size_t u = lengths->used_count > 2 ? lengths->used_count - 2 : 0; u < lengths->used_count;
         u++)
        top += lengths->bins[lengths->used[u]];
    return top;
}

/* Bits of a patch whose missing part has `length` bits: its place and a zigzag varint. */
static size_t patch_cost(unsigned length)
{
    return 8 + 8 * (size_t)(length / 7 + 1);
}

/* The best width for packing above lengths->reference, the wider values patched. */
static struct plan plan_plain(const struct lengths *lengths, size_t count)
{
    struct plan best = {
        .layout = LAYOUT_PLAIN, .reference = lengths->reference, .width = 64, .cost = 64 * count};
    for (size_t u = 0; u < lengths->used_count && lengths->used[u] < 64; u++) {
        unsigned width = bits_width_allowed(lengths->used[u]);
        size_t cost = width * count;
        for (size_t above = u + 1; above < lengths->used_count && cost < best.cost; above++) {
            unsigned length = lengths->used[above] & 63;
            cost += lengths->bins[lengths->used[above]] *
                    patch_cost(length > width ? length - width : 0);
        }
        if (cost < best.cost) {
            best.cost = cost;
            best.width = width;
        }
    }
    best.cost += 8 + 8 * varint_length(zigzag((int64_t)lengths->reference));
    return best;
}

/* Half bits that the high part of a value takes beyond its final 1, when the value is `longer` bits longer than the low
 * part: the middle of what such values have, or the escape and its varint. */
static size_t unary_cost(unsigned longer)
{
    static const uint8_t half_bits[] = {0, 2, 5, 11, 23};
    if (longer < NX_ARRAY_LEN(half_bits))
        return half_bits[longer];
    return 2 * (UNARY_MAX + 8 * (size_t)(longer / 7 + 1));
}

/* The best width of the low parts for values of which bins[n] have n bits. It is near the median length: two below to
 * one above. Unary takes longer to read, so it is charged a quarter of a bit a value. */
static struct plan plan_unary(const uint8_t bins[65], enum layout layout, uint64_t reference,
                              size_t count)
{
    uint8_t used[65];
    size_t used_count = 0;
    unsigned median = 65;
    size_t seen = 0;
    for (unsigned bin = 0; bin < 65; bin++) {
        used[used_count] = (uint8_t)bin;
        used_count += bins[bin] != 0;
        seen += bins[bin];
        if (median == 65 && 2 * seen >= count)
            median = bin;
    }
    struct plan best = {.layout = layout, .reference = reference, .width = 0, .cost = SIZE_MAX};
    unsigned first = median > 2 ? median - 2 : 0;
    for (unsigned width = first; width <= median + 1 && width <= BITS_WIDTH_MAX; width++) {
        size_t half_bits = 2 * count * (width + 1) + count / 2;
        for (size_t u = 0; u < used_count; u++)
            half_bits += bins[used[u]] * unary_cost(used[u] > width ? used[u] - width : 0);
        if (half_bits / 2 < best.cost) {
            best.cost = half_bits / 2;
            best.width = width;
        }
    }
    if (best.cost != SIZE_MAX)
        best.cost += 8 + 8 * varint_length(zigzag((int64_t)reference));
    return best;
}

static struct plan plan_unary_above(const struct lengths *lengths, size_t count)
{
    uint8_t bins[65] = {0};
    memcpy(bins, lengths->bins, 64);
    if (lengths->used[lengths->used_count - 1] >= 64) /* wider than a signed number can tell */
        return (struct plan){.cost = SIZE_MAX};
    return plan_unary(bins, LAYOUT_UNARY, lengths->reference, count);
}

static struct plan plan_folded(const struct lengths *lengths, size_t count)
{
    uint8_t bins[65] = {0};
    for (size_t u = 0; u < lengths->used_count; u++) {
        unsigned bin = lengths->used[u];
        unsigned folded = (bin & 63) + 1; /* 0 itself needs no bit, but is counted as needing one */
        bins[folded] = (uint8_t)(bins[folded] + lengths->bins[bin]);
    }
    return plan_unary(bins, LAYOUT_FOLDED, lengths->reference, count);
}

static uint64_t lowest(const uint64_t *values, size_t count, uint64_t from)
{
    int64_t low = INT64_MAX;
    for (size_t i = 0; i < count; i++)
        if ((int64_t)values[i] < low && (int64_t)values[i] >= (int64_t)from)
            low = (int64_t)values[i];
    return (uint64_t)low;
}

static void keep_cheaper(struct plan *best, struct plan other)
{
    if (other.cost < best->cost)
        *best = other;
}

/* The best plan that is not sparse. */
static struct plan plan_values(const uint64_t *values, size_t count, uint64_t median)
{
    struct lengths lengths;
    lengths_count(values, count, lowest(values, count, (uint64_t)INT64_MIN), &lengths);
    struct plan best = plan_plain(&lengths, count);
    if (best.width == 0 && lengths.used_count == 1)
        return best;
    bool is_low_rare = count - lengths_top(&lengths) <= count / 8;
    keep_cheaper(&best, plan_unary_above(&lengths, count));
    lengths_count(values, count, median, &lengths);
    keep_cheaper(&best, plan_folded(&lengths, count));
    if (!is_low_rare)
        return best;
    /* Hardly a value is near the minimum. Look around the median instead, and take the lowest there. */
    unsigned width = plan_plain(&lengths, count).width;
    int64_t from;
    if (__builtin_sub_overflow((int64_t)median, (INT64_C(1) << (width < 62 ? width : 62)) - 1,
                               &from))
        return best;
    lengths_count(values, count, lowest(values, count, (uint64_t)from), &lengths);
    keep_cheaper(&best, plan_plain(&lengths, count));
    return best;
}

/* The values that are not `frequent`; returns their number. */
static size_t others_than(const uint64_t *values, size_t count, uint64_t frequent,
                          uint64_t out[MINIBLOCK_MAX])
{
    size_t others = 0;
    for (size_t i = 0; i < count; i++) {
        out[others] = values[i];
        others += values[i] != frequent;
    }
    return others;
}

struct block_plan {
    struct plan plan; /* of all values, or of `others` */
    bool is_sparse;
    uint64_t frequent;
    size_t others_count;
    uint64_t others[MINIBLOCK_MAX];
    size_t cost;
};

static void plan_block(const uint64_t *values, size_t count, struct block_plan *out)
{
    uint64_t median = sample_median(values, count);
    out->plan = plan_values(values, count, median);
    out->is_sparse = false;
    out->cost = out->plan.cost;
    size_t head = 8 + 8 * varint_length(zigzag((int64_t)median)) + 8 * ((count + 7) / 8);
    if (head >= out->cost)
        return;
    size_t others = others_than(values, count, median, out->others);
    if (others == 0 || others > count - count / 4)
        return;
    struct plan plan = plan_values(out->others, others, sample_median(out->others, others));
    if (head + plan.cost >= out->cost)
        return;
    out->is_sparse = true;
    out->frequent = median;
    out->others_count = others;
    out->plan = plan;
    out->cost = head + plan.cost;
}

static inline size_t estimate(const uint64_t *values, size_t count)
{
    struct lengths lengths;
    size_t half_bits = 0;
    lengths_count(values, count, sample_median(values, count), &lengths);
    for (size_t u = 0; u < lengths.used_count; u++) {
        size_t bin = lengths.used[u];
        half_bits += lengths.bins[bin] * (bin == 0 ? 1 : 2 * (bin & 63) + 3);
    }
    return half_bits / 2;
}

/* `rest` is what the reference leaves. What is above the packed bits is its high part as a signed number. */
static uint8_t *put_patches(const uint64_t *rest, size_t count, unsigned width, uint8_t *at)
{
    uint8_t *number = at++;
    size_t patches = 0;
    for (size_t i = 0; i < count; i++) {
        at[patches] = (uint8_t)i;
        patches += rest[i] >> width != 0;
    }
    const uint8_t *places = at;
    at += patches;
    *number = (uint8_t)(patches - 1);
    for (size_t p = 0; p < patches; p++)
        at += varint_put(at, zigzag((int64_t)rest[places[p]] >> width));
    return at;
}

/* High parts: as many 0 bits as they count, and a 1. Those of UNARY_MAX and more are that, and a varint at the end. */
static uint8_t *put_unary(const uint64_t *rest, size_t count, unsigned width, uint8_t *at)
{
    uint64_t escaped[MINIBLOCK_MAX];
    size_t escaped_count = 0;
    size_t bit = 0; /* next free */
    memset(at, 0, UNARY_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        uint64_t high = rest[i] >> width;
        if (high >= UNARY_MAX) {
            escaped[escaped_count++] = high - UNARY_MAX;
            high = UNARY_MAX;
        }
        bit += high;
        at[bit / 8] |= (uint8_t)(1u << (bit % 8));
        bit++;
    }
    at += (bit + 7) / 8;
    for (size_t e = 0; e < escaped_count; e++)
        at += varint_put(at, escaped[e]);
    return at;
}

static uint8_t *put_values(const uint64_t *values, size_t count, const struct plan *plan,
                           uint8_t *at)
{
    uint64_t rest[MINIBLOCK_MAX];
    uint64_t any = 0;
    for (size_t i = 0; i < count; i++) {
        rest[i] = values[i] - plan->reference;
        any |= rest[i];
    }
    if (plan->layout == LAYOUT_FOLDED)
        for (size_t i = 0; i < count; i++)
            rest[i] = zigzag((int64_t)rest[i]);
    enum layout layout = plan->layout;
    if (layout == LAYOUT_PLAIN && plan->width < 64 && any >> plan->width != 0)
        layout = LAYOUT_PATCHED;
    unsigned width_code = plan->width == 64 ? HEAD_WIDTH_64 : plan->width;
    *at++ = (uint8_t)(width_code | (unsigned)layout << HEAD_LAYOUT_SHIFT);
    at += varint_put(at, zigzag((int64_t)plan->reference));
    bits_pack(rest, count, plan->width, at);
    at += bits_bytes(count, plan->width);
    switch (layout) {
    case LAYOUT_PLAIN:
        break;
    case LAYOUT_PATCHED:
        return put_patches(rest, count, plan->width, at);
    case LAYOUT_UNARY:
    case LAYOUT_FOLDED:
        return put_unary(rest, count, plan->width, at);
    }
    return at;
}

static inline void put(const uint64_t *values, size_t count, struct nx_buf *out)
{
    struct block_plan plan;
    NX_DCHECK(count > 0 && count <= MINIBLOCK_MAX);
    plan_block(values, count, &plan);
    nx_buf_reserve(out, MINIBLOCK_BYTES_MAX);
    uint8_t *at = out->data + out->len;
    if (!plan.is_sparse) {
        at = put_values(values, count, &plan.plan, at);
    } else {
        *at++ = HEAD_SPARSE;
        at += varint_put(at, zigzag((int64_t)plan.frequent));
        memset(at, 0, (count + 7) / 8);
        for (size_t i = 0; i < count; i++)
            at[i / 8] |= (uint8_t)((values[i] != plan.frequent) << (i % 8));
        at += (count + 7) / 8;
        at = put_values(plan.others, plan.others_count, &plan.plan, at);
    }
    out->len = (size_t)(at - out->data);
}

static bool get_patches(struct byte_reader *reader, size_t count, unsigned width,
                        uint64_t out[MINIBLOCK_MAX])
{
    size_t patches = (size_t)byte_reader_u8(reader) + 1;
    struct nx_bytes places = byte_reader_take(reader, patches);
    if (reader->is_bad || width == 64)
        return false;
    for (size_t p = 0; p < patches; p++) {
        uint8_t place = places.data[p];
        if (place >= count || (p > 0 && place <= places.data[p - 1]))
            return false;
        out[place] += (uint64_t)byte_reader_varint_signed(reader) << width;
    }
    return !reader->is_bad;
}

/* Distances between the 1 bits at `in`, of which UNARY_BYTES_MAX + 8 bytes are readable. Returns the bytes that they
 * take, 0 when that is no list of `count` high parts. *out_longest is not below the longest of them. */
static size_t read_unary(const uint8_t *in, size_t count, uint64_t out[MINIBLOCK_MAX],
                         uint64_t *out_longest)
{
    uint64_t longest = 0;
    uint64_t word;
    size_t base = 0; /* bit that `word` begins with */
    size_t next = 0; /* bit behind the last 1 */
    memcpy(&word, in, sizeof(word));
    for (size_t i = 0; i < count; i++) {
        while (NX_UNLIKELY(word == 0)) {
            base += 64;
            if (base >= 8 * UNARY_BYTES_MAX)
                return 0;
            memcpy(&word, in + base / 8, sizeof(word));
        }
        size_t bit = base + (size_t)__builtin_ctzll(word);
        word &= word - 1;
        out[i] = bit - next;
        longest |= bit - next;
        next = bit + 1;
    }
    if (next % 8 != 0 && in[next / 8] >> (next % 8) != 0)
        return 0;
    *out_longest = longest;
    return (next + 7) / 8;
}

/* Reads the high parts, with the escaped ones complete. */
static bool get_high_parts(struct byte_reader *reader, size_t count, uint64_t out[MINIBLOCK_MAX])
{
    uint8_t padded[UNARY_BYTES_MAX + 8];
    uint64_t longest = 0;
    const uint8_t *in = reader->next;
    size_t left = byte_reader_left(reader);
    if (left < sizeof(padded)) {
        memset(padded, 0, sizeof(padded));
        if (left != 0)
            memcpy(padded, in, left);
        in = padded;
    }
    size_t bytes = read_unary(in, count, out, &longest);
    if (bytes == 0 || bytes > left)
        return false;
    reader->next += bytes;
    if (longest < UNARY_MAX)
        return true;
    for (size_t i = 0; i < count; i++) {
        if (out[i] > UNARY_MAX)
            return false;
        if (out[i] == UNARY_MAX)
            out[i] += byte_reader_varint(reader);
    }
    return !reader->is_bad;
}

/* Puts high parts above the low ones in `out`, undoes the folding, and adds the reference: one pass. */
static bool get_unary(struct byte_reader *reader, enum layout layout, size_t count, unsigned width,
                      uint64_t reference, uint64_t out[MINIBLOCK_MAX])
{
    uint64_t high[MINIBLOCK_MAX];
    if (width == 64 || !get_high_parts(reader, count, high))
        return false;
    if (layout == LAYOUT_UNARY)
        for (size_t i = 0; i < count; i++)
            out[i] = (out[i] | high[i] << width) + reference;
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (uint64_t)unzigzag(out[i] | high[i] << width) + reference;
    return true;
}

static bool get_values(struct byte_reader *reader, uint8_t head, size_t count,
                       uint64_t out[MINIBLOCK_MAX])
{
    enum layout layout = (enum layout)(head >> HEAD_LAYOUT_SHIFT);
    unsigned width_code = head & HEAD_WIDTH_MASK;
    unsigned width = width_code == HEAD_WIDTH_64 ? 64 : width_code;
    uint64_t reference = (uint64_t)byte_reader_varint_signed(reader);
    if (bits_width_allowed(width) != width)
        return false;
    struct nx_bytes packed = byte_reader_take(reader, bits_bytes(count, width));
    if (reader->is_bad)
        return false;
    bits_unpack(packed.data, packed.len + byte_reader_left(reader), count, width, out);
    if (layout == LAYOUT_UNARY || layout == LAYOUT_FOLDED)
        return get_unary(reader, layout, count, width, reference, out);
    for (size_t i = 0; i < count; i++)
        out[i] += reference;
    return layout == LAYOUT_PLAIN || get_patches(reader, count, width, out);
}

static bool get_sparse(struct byte_reader *reader, size_t count, uint64_t out[MINIBLOCK_MAX])
{
    uint64_t frequent = (uint64_t)byte_reader_varint_signed(reader);
    struct nx_bytes bitmap = byte_reader_take(reader, (count + 7) / 8);
    uint8_t head = byte_reader_u8(reader);
    if (reader->is_bad || head == HEAD_SPARSE)
        return false;
    size_t others = 0;
    for (size_t i = 0; i < bitmap.len; i++)
        others += (size_t)__builtin_popcount(bitmap.data[i]);
    bool is_beyond = count % 8 != 0 && bitmap.data[bitmap.len - 1] >> (count % 8) != 0;
    if (others == 0 || is_beyond)
        return false;
    uint64_t rest[MINIBLOCK_MAX + 1];
    if (!get_values(reader, head, others, rest))
        return false;
    rest[others] = frequent; /* read, but not used, behind the last */
    const uint64_t *next = rest;
    for (size_t i = 0; i < count; i++) {
        uint64_t is_other = bitmap.data[i / 8] >> (i % 8) & 1;
        out[i] = frequent ^ ((frequent ^ *next) & (0 - is_other)); /* no branch to guess */
        next += is_other;
    }
    return true;
}

static inline bool get(struct byte_reader *reader, size_t count, uint64_t out[MINIBLOCK_MAX])
{
    NX_DCHECK(count > 0 && count <= MINIBLOCK_MAX);
    uint8_t head = byte_reader_u8(reader);
    bool is_good = !reader->is_bad && (head == HEAD_SPARSE ? get_sparse(reader, count, out)
                                                           : get_values(reader, head, count, out));
    if (!is_good || reader->is_bad) {
        reader->next = reader->end;
        reader->is_bad = true;
        return false;
    }
    return true;
}

/* ---- the verbs, twice ---- */

static CODEC_ROOT_NARROW size_t estimate_narrow(const uint64_t *values, size_t count)
{
    return estimate(values, count);
}

static CODEC_ROOT_WIDE size_t estimate_wide(const uint64_t *values, size_t count)
{
    return estimate(values, count);
}

size_t miniblock_estimate(const uint64_t *values, size_t count)
{
    return codec_is_wide() ? estimate_wide(values, count) : estimate_narrow(values, count);
}

static CODEC_ROOT_NARROW void put_narrow(const uint64_t *values, size_t count, struct nx_buf *out)
{
    put(values, count, out);
}

static CODEC_ROOT_WIDE void put_wide(const uint64_t *values, size_t count, struct nx_buf *out)
{
    put(values, count, out);
}

void miniblock_put(const uint64_t *values, size_t count, struct nx_buf *out)
{
    if (codec_is_wide())
        put_wide(values, count, out);
    else
        put_narrow(values, count, out);
}

static CODEC_ROOT_NARROW bool get_narrow(struct byte_reader *reader, size_t count,
                                         uint64_t out[MINIBLOCK_MAX])
{
    return get(reader, count, out);
}

static CODEC_ROOT_WIDE bool get_wide(struct byte_reader *reader, size_t count,
                                     uint64_t out[MINIBLOCK_MAX])
{
    return get(reader, count, out);
}

bool miniblock_get(struct byte_reader *reader, size_t count, uint64_t out[MINIBLOCK_MAX])
{
    return codec_is_wide() ? get_wide(reader, count, out) : get_narrow(reader, count, out);
}
