/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_sum.c - float64 that are near decimals, as sums of decimals are: the _sum of histograms and summaries.
 *
 * A client adds durations that are whole nanoseconds, in seconds: each addition rounds, so after some the total is no
 * decimal any more, but a few units in the last place away from one. The decimal moves by what was observed, the
 * distance by what was rounded, and both together take fewer bits than the float64 that holds them: where a nanosecond
 * is 2^13 units in the last place, about 10 bits a value.
 *
 *   value = bits of (q / 10^k) + residue, as integers; any float64 is that, for any q
 *
 * Body     k (1 .. 9), an int_pack of q, an int_pack of the residues. Declines unless a sample says that it pays.
 */
#include "narthex/codec/bits.h"
#include "narthex/codec/int_pack.h"

#include "chunk_internal.h"

#define PAIRS         16u /* neighbours in the sample */
#define PAIR_BITS_MIN 2u /* what a pair has to save; chosen: two int_packs have two sets of heads */

static inline uint64_t residue_of(uint64_t bits, double q, double power)
{
    return bits - float_bits(q / power);
}

static unsigned length_between(uint64_t a, uint64_t b)
{
    return bits_length(zigzag((int64_t)(b - a)));
}

/* Bits of the steps between sampled neighbours: of decimals and residues, or, with 0 decimals, of the bits alone. */
static unsigned sample_length(const uint64_t *bits, size_t count, unsigned decimals)
{
    double power = power_of_10[decimals];
    unsigned length = 0;
    for (size_t pair = 0; pair < PAIRS; pair++) {
        size_t at = pair * (count - 1) / PAIRS;
        if (decimals == 0) {
            length += length_between(bits[at], bits[at + 1]);
            continue;
        }
        uint64_t q[2];
        uint64_t residue[2];
        for (size_t i = 0; i < 2; i++) {
            double rounded = decimal_round(float_from_bits(bits[at + i]) * power, &q[i]);
            residue[i] = residue_of(bits[at + i], rounded, power);
        }
        length += length_between(q[0], q[1]) + length_between(residue[0], residue[1]);
    }
    return length;
}

/* The number of decimals that makes the steps shortest, 0 when that is no better than the bits are. */
static unsigned choose_decimals(const uint64_t *bits, size_t count)
{
    unsigned best = 0;
    unsigned least = sample_length(bits, count, 0);
    least = least > PAIRS * PAIR_BITS_MIN ? least - PAIRS * PAIR_BITS_MIN : 0;
    for (unsigned decimals = 1; decimals <= DECIMALS_MAX; decimals++) {
        unsigned length = sample_length(bits, count, decimals);
        if (length < least) {
            least = length;
            best = decimals;
        }
    }
    return best;
}

/* Numbers that are too large for a decimal, and those that are none, take the decimal before them. */
static void split(const uint64_t *bits, size_t count, unsigned decimals, uint64_t *out_ints,
                  uint64_t *out_residues)
{
    double power = power_of_10[decimals];
    uint64_t q = 0;
    for (size_t i = 0; i < count; i++) {
        double x = float_from_bits(bits[i]) * power;
        if (x > -DECIMAL_LIMIT && x < DECIMAL_LIMIT)
            decimal_round(x, &q);
        out_ints[i] = q;
        out_residues[i] = residue_of(bits[i], decimal_int(q), power);
    }
}

static bool sum_encode(const uint64_t *bits, size_t count, size_t bytes_max, struct nx_buf *out)
{
    uint64_t ints[CHUNK_SAMPLES_MAX];
    uint64_t residues[CHUNK_SAMPLES_MAX];
    size_t start = out->len;
    unsigned decimals = count < 2 ? 0 : choose_decimals(bits, count);
    if (decimals == 0)
        return false;
    split(bits, count, decimals, ints, residues);
    nx_buf_append_byte(out, (uint8_t)decimals);
    int_pack_put(ints, count, out);
    int_pack_put(residues, count, out);
    if (out->len - start > bytes_max) {
        out->len = start;
        return false;
    }
    return true;
}

static nx_code sum_decode(struct nx_bytes body, size_t count, uint64_t *out_bits)
{
    uint64_t ints[CHUNK_SAMPLES_MAX];
    struct byte_reader reader = byte_reader_of(body);
    uint8_t decimals = byte_reader_u8(&reader);
    if (decimals == 0 || decimals > DECIMALS_MAX)
        return NX_E_CORRUPT;
    if (!int_pack_get(&reader, count, ints) || !decimals_are_small(ints, count))
        return NX_E_CORRUPT;
    if (!int_pack_get(&reader, count, out_bits) || byte_reader_left(&reader) != 0)
        return NX_E_CORRUPT;
    double power = power_of_10[decimals];
    for (size_t i = 0; i < count; i++)
        out_bits[i] += float_bits(decimal_int(ints[i]) / power);
    return NX_OK;
}

const struct chunk_codec chunk_codec_sum = {
    .id = CHUNK_CODEC_SUM,
    .name = "sum",
    .encode = sum_encode,
    .decode = sum_decode,
};
