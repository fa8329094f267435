/* SPDX-License-Identifier: Apache-2.0 */
/* test_chunk.c - float64 of every kind there and back by their bits, the codec that is chosen, the sizes, the stored
 * file of the format, and bytes that are no chunk.
 *
 * The golden file is made by `NX_TEST_GOLDEN_WRITE=1 test_chunk`: what golden_chunk below makes, each chunk behind its
 * number of values and its length (two u32). It changes only together with docs/formats/chunk.md.
 */
#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/varint.h"
#include "narthex/model/staleness.h"

#include "codec_support.h"
#include "wide.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Encodes behind other bytes, decodes from memory that ends with the chunk. Returns its size and its codec. */
static size_t check(const uint64_t *bits, size_t count, enum chunk_codec_id *out_codec)
{
    struct nx_buf buf = {0};
    nx_buf_append_byte(&buf, 0x33);
    chunk_encode(bits, count, &buf);
    assert_int_equal(buf.data[0], 0x33);
    size_t bytes = buf.len - 1;
    uint8_t *exact = nx_alloc(bytes);
    memcpy(exact, buf.data + 1, bytes);
    uint64_t *back = nx_alloc(count * sizeof(*back));
    assert_int_equal(chunk_decode((struct nx_bytes){exact, bytes}, count, back), NX_OK);
    assert_memory_equal(back, bits, count * sizeof(*bits));
    *out_codec = (enum chunk_codec_id)exact[0];
    nx_free(back);
    nx_free(exact);
    nx_buf_deinit(&buf);
    return bytes;
}

static size_t check_values(const double *values, size_t count, enum chunk_codec_id expected)
{
    uint64_t bits[CHUNK_SAMPLES_MAX];
    enum chunk_codec_id codec;
    memcpy(bits, values, count * sizeof(*values));
    size_t bytes = check(bits, count, &codec);
    assert_int_equal(codec, expected);
    return bytes;
}

/* One value of a random kind; `q` wanders on. */
static double make_value(struct rand_state *rand, uint64_t kind, int64_t *q)
{
    *q += (int64_t)rand_below(rand, 2000) - 800;
    unsigned decimals = (unsigned)(kind % 9) + 1;
    switch (kind / 9) {
    case 0:
        return (double)*q / pow(10, decimals);
    case 1:
        return (double)*q * pow(10, -(double)decimals);
    case 2:
        return (double)*q / 1000 / 1000;
    case 3:
        return (double)*q;
    case 4:
        return (double)*q * 4096;
    case 5:
        return sqrt(fabs((double)*q));
    case 6:
        return (double)(float)(0.001 * (double)*q);
    default:
        return float_from_bits(rand_u64(rand));
    }
}

static double make_special(struct rand_state *rand)
{
    switch (rand_below(rand, 8)) {
    case 0:
        return float_from_bits(ORDINARY_NAN_BITS);
    case 1:
        return -0.0;
    case 2:
        return (double)INFINITY;
    case 3:
        return -(double)INFINITY;
    case 4:
        return 5e-324;
    case 5:
        return float_from_bits(UINT64_C(0xfff8000000000abc));
    default:
        return float_from_bits(STALE_NAN_BITS);
    }
}

static void test_chunk_round_trips_every_kind_of_value(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 109);
    uint64_t bits[CHUNK_SAMPLES_MAX];
    enum chunk_codec_id codec;
    for (int trial = 0; trial < 6000; trial++) {
        size_t count = 1 + rand_below(&rand, trial % 4 == 0 ? CHUNK_SAMPLES_MAX : 600);
        uint64_t kind = rand_below(&rand, 72);
        uint64_t other = rand_below(&rand, 72);
        uint64_t specials = rand_below(&rand, 3) == 0 ? 1 + rand_below(&rand, 200) : 0;
        uint64_t mixed = rand_below(&rand, 3) == 0 ? 1 + rand_below(&rand, 200) : 0;
        int64_t q = (int64_t)(rand_u64(&rand) >> (13 + rand_below(&rand, 50)));
        for (size_t i = 0; i < count; i++) {
            double value = make_value(&rand, kind, &q);
            if (mixed != 0 && rand_below(&rand, mixed) == 0)
                value = make_value(&rand, other, &q);
            if (specials != 0 && rand_below(&rand, specials) == 0)
                value = make_special(&rand);
            bits[i] = float_bits(value);
            for (uint64_t run = rand_below(&rand, 8); run == 0 && i + 1 < count; run++, i++)
                bits[i + 1] = bits[i];
        }
        check(bits, count, &codec);
    }
}

static void test_chunk_round_trips_integers_of_every_shape(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 113);
    uint64_t ints[1000];
    uint64_t bits[1000];
    enum chunk_codec_id codec;
    for (int trial = 0; trial < 3000; trial++) {
        size_t count = 1 + rand_below(&rand, 1000);
        make_integers(&rand, count, ints);
        for (size_t i = 0; i < count; i++)
            bits[i] = trial % 2 == 0 ? ints[i] : float_bits((double)(int64_t)ints[i]);
        check(bits, count, &codec);
    }
}

static void test_chunk_constants_take_a_few_bytes(void **state)
{
    (void)state;
    const double values[] = {0, 1, 0.5, 4096, 1e9, -7, 0.1};
    for (size_t v = 0; v < 7; v++) {
        double same[480];
        for (size_t i = 0; i < 480; i++)
            same[i] = values[v];
        assert_in_range(check_values(same, 480, CHUNK_CODEC_CONST), 2, 11);
        check_values(same, 1, CHUNK_CODEC_CONST);
    }
}

static void test_chunk_constant_with_stale_marker_stays_small(void **state)
{
    (void)state;
    double values[480];
    for (size_t i = 0; i < 480; i++)
        values[i] = 42;
    values[479] = float_from_bits(STALE_NAN_BITS);
    assert_in_range(check_values(values, 480, CHUNK_CODEC_INT), 2, 12);
    for (size_t i = 200; i < 400; i++)
        values[i] = float_from_bits(ORDINARY_NAN_BITS);
    assert_in_range(check_values(values, 480, CHUNK_CODEC_INT), 2, 16);
    for (size_t i = 0; i < 200; i++)
        values[i] = -0.0;
    assert_in_range(check_values(values, 480, CHUNK_CODEC_INT), 2, 20);
}

static void test_chunk_decimals_cost_what_their_integers_cost(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 127);
    for (unsigned decimals = 0; decimals <= 9; decimals++) {
        for (int way = 0; way < 3; way++) {
            double values[480];
            int64_t q = 5000;
            for (size_t i = 0; i < 480; i++) {
                q += (int64_t)rand_below(&rand, 16);
                values[i] = way == 0   ? (double)q / pow(10, decimals)
                            : way == 1 ? (double)q * pow(10, -(double)decimals)
                                       : (double)q / 1000 / 1000;
            }
            assert_in_range(check_values(values, 480, CHUNK_CODEC_INT), 200, 290);
        }
    }
}

static void test_chunk_one_odd_value_is_an_exception(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 131);
    double values[480];
    for (size_t i = 0; i < 480; i++)
        values[i] = (double)rand_below(&rand, 16);
    size_t without = check_values(values, 480, CHUNK_CODEC_INT);
    values[77] = sqrt(2);
    size_t with = check_values(values, 480, CHUNK_CODEC_INT);
    assert_in_range(with, without, without + 14);
}

static void test_chunk_rare_decimals_widen_the_scale(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 137);
    double values[480];
    for (size_t i = 0; i < 480; i++) {
        values[i] = (double)rand_below(&rand, 16);
        if (i % 30 == 1) /* missed by the sample, and too many for exceptions */
            values[i] += 0.25;
    }
    assert_in_range(check_values(values, 480, CHUNK_CODEC_INT), 1, 600);
}

static void test_chunk_doubles_take_their_bits(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 139);
    double values[480];
    for (size_t i = 0; i < 480; i++)
        values[i] = rand_unit(&rand);
    assert_in_range(check_values(values, 480, CHUNK_CODEC_FLOAT), 480 * 6, 480 * 71 / 10);
    uint64_t bits[480];
    enum chunk_codec_id codec;
    for (size_t i = 0; i < 480; i++)
        bits[i] = rand_u64(&rand);
    assert_in_range(check(bits, 480, &codec), 480 * 7, 480 * 8 + 64);
}

static void test_chunk_sums_of_decimals_take_less_than_their_bits(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 163);
    double values[480];
    double sum = 123.456;
    for (size_t i = 0; i < 480; i++) {
        for (uint64_t n = 1 + rand_below(&rand, 10); n > 0; n--)
            sum += (double)rand_below(&rand, 100000000) / 1e9;
        values[i] = sum;
    }
    size_t whole = check_values(values, 480, CHUNK_CODEC_SUM);
    assert_in_range(whole, 480 * 3, 480 * 42 / 10);
    values[100] = float_from_bits(STALE_NAN_BITS);
    values[200] = -(double)INFINITY;
    values[479] = float_from_bits(STALE_NAN_BITS);
    assert_in_range(check_values(values, 480, CHUNK_CODEC_SUM), whole, whole + 100);
}

static void test_chunk_find_knows_every_codec(void **state)
{
    (void)state;
    size_t count = 0;
    const struct chunk_codec *const *codecs = chunk_codecs_all(&count);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(chunk_codec_find((uint8_t)codecs[i]->id), codecs[i]);
    assert_null(chunk_codec_find(0));
    assert_null(chunk_codec_find(5));
    assert_null(chunk_codec_find(255));
}

static void test_chunk_codecs_decline_what_is_too_long(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 149);
    uint64_t bits[300];
    for (size_t i = 0; i < 300; i++)
        bits[i] = float_bits((double)rand_below(&rand, 1000));
    size_t count = 0;
    const struct chunk_codec *const *codecs = chunk_codecs_all(&count);
    for (size_t i = 1; i < count; i++) {
        struct nx_buf buf = {0};
        nx_buf_append_byte(&buf, 1);
        assert_true(codecs[i]->encode(bits, 300, SIZE_MAX, &buf));
        size_t bytes = buf.len - 1;
        buf.len = 1;
        assert_true(codecs[i]->encode(bits, 300, bytes, &buf));
        buf.len = 1;
        assert_false(codecs[i]->encode(bits, 300, bytes - 1, &buf));
        assert_int_equal(buf.len, 1);
        nx_buf_deinit(&buf);
    }
}

static void test_chunk_cut_or_longer_chunks_are_corrupt(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 151);
    uint64_t bits[300];
    uint64_t back[301];
    for (int trial = 0; trial < 60; trial++) {
        struct nx_buf buf = {0};
        int64_t q = 0;
        uint64_t kind = rand_below(&rand, 72);
        for (size_t i = 0; i < 300; i++)
            bits[i] = float_bits(trial == 0 ? 3.5 : make_value(&rand, kind, &q));
        if (trial % 3 == 0)
            bits[100] = STALE_NAN_BITS;
        chunk_encode(bits, 300, &buf);
        for (size_t cut = 0; cut < buf.len; cut++) {
            struct nx_bytes bytes = {buf.data, cut};
            assert_int_equal(chunk_decode(bytes, 300, back), NX_E_CORRUPT);
        }
        nx_buf_append_byte(&buf, 0);
        assert_int_equal(chunk_decode(nx_buf_bytes(&buf), 300, back), NX_E_CORRUPT);
        buf.len--;
        assert_int_equal(chunk_decode(nx_buf_bytes(&buf), 0, back), NX_E_CORRUPT);
        assert_int_equal(chunk_decode(nx_buf_bytes(&buf), CHUNK_SAMPLES_MAX + 1, back),
                         NX_E_CORRUPT);
        nx_buf_deinit(&buf);
    }
}

static void test_chunk_damage_is_survived(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 157);
    uint64_t bits[300];
    uint64_t back[300];
    struct nx_buf buf = {0};
    for (int trial = 0; trial < 30000; trial++) {
        if (trial % 100 == 0) {
            int64_t q = 0;
            uint64_t kind = rand_below(&rand, 72);
            for (size_t i = 0; i < 300; i++)
                bits[i] = float_bits(rand_below(&rand, 20) == 0 ? make_special(&rand)
                                                                : make_value(&rand, kind, &q));
            nx_buf_reset(&buf);
            chunk_encode(bits, 300, &buf);
        }
        size_t at = rand_below(&rand, trial % 2 == 0 && buf.len > 20 ? 20 : buf.len);
        uint8_t was = buf.data[at];
        buf.data[at] ^= (uint8_t)(1 + rand_below(&rand, 255));
        nx_ignore(chunk_decode(nx_buf_bytes(&buf), 300, back));
        buf.data[at] = was;
    }
    nx_buf_deinit(&buf);
}

#define GOLDEN_COUNT 300u

/* The chunks of the golden file, by number: every codec, way back, order and layout. Only arithmetic that IEEE 754
 * fixes to the last bit. False behind the last. */
static bool golden_chunk(unsigned number, uint64_t bits[GOLDEN_COUNT])
{
    struct rand_state rand;
    rand_seed(&rand, 5000 + number);
    int64_t q = 100000;
    int64_t slope = 7;
    double sum = 0;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        int64_t noise = 0; /* around 0, rarer far from it */
        for (int n = 0; n < 8; n++)
            noise += (int64_t)rand_below(&rand, 101) - 50;
        q += 1000 + noise;
        slope += noise;
        double value = 0;
        switch (number) {
        case 0: /* constant */
            value = 0.25;
            break;
        case 1: /* linear, then a stale marker */
            value = i + 1 < GOLDEN_COUNT ? 10 + 3 * (double)i : float_from_bits(STALE_NAN_BITS);
            break;
        case 2: /* order 1, folded */
            value = (double)q;
            break;
        case 3: /* order 0, plain: every value below 256 alike */
            value = (double)rand_below(&rand, 256);
            break;
        case 4: /* order 2 */
            value = (double)(q += slope);
            break;
        case 5: /* pages: a divisor; sparse */
            if (rand_below(&rand, 3) != 0 && i > 0)
                value = float_from_bits(bits[i - 1]);
            else
                value = (double)(q * 4096);
            break;
        case 6: /* quotients */
            value = (double)q / 100;
            break;
        case 7: /* products */
            value = (double)q * 0.001;
            break;
        case 8: /* thousands of thousands */
            value = (double)q / 1000 / 1000;
            break;
        case 9: /* patched: evenly spread, with resets; exceptions of every kind */
            value = (double)((i + 1) * 5000 + rand_below(&rand, 1024));
            if (i % 100 == 50)
                value = i == 50 ? -0.0 : sqrt(2);
            if (i >= 210 && i < 220)
                value = float_from_bits(ORDINARY_NAN_BITS);
            if (i == 77 || i == 78)
                value = (double)INFINITY;
            if (i == 90)
                value = 0;
            break;
        case 10: /* unary above the minimum: halving */
            value = (double)i * 10 + (double)__builtin_ctzll(rand_u64(&rand) | UINT64_C(1) << 63);
            break;
        case 11: /* sums of decimals */
            sum += (double)(1000000 + noise * 1000) / 1e9 + (double)rand_below(&rand, 1000) / 1e9;
            value = sum;
            break;
        case 12: /* doubles */
            value = rand_unit(&rand) - 0.5;
            break;
        case 13: /* any bits */
            value = float_from_bits(rand_u64(&rand));
            break;
        default:
            return false;
        }
        bits[i] = float_bits(value);
    }
    return true;
}

static void golden_make(struct nx_buf *out)
{
    uint64_t bits[GOLDEN_COUNT];
    struct nx_buf chunk = {0};
    for (unsigned number = 0; golden_chunk(number, bits); number++) {
        nx_buf_reset(&chunk);
        chunk_encode(bits, GOLDEN_COUNT, &chunk);
        nx_buf_append_u32(out, GOLDEN_COUNT);
        nx_buf_append_u32(out, (uint32_t)chunk.len);
        nx_buf_append(out, chunk.data, chunk.len);
    }
    nx_buf_deinit(&chunk);
}

static void test_chunk_golden_file_is_what_we_write_and_read(void **state)
{
    (void)state;
    struct nx_buf made = {0};
    golden_make(&made);
    check_golden("chunk_v2.bin", nx_buf_bytes(&made));
    uint64_t bits[GOLDEN_COUNT];
    uint64_t back[GOLDEN_COUNT];
    unsigned codecs = 0;
    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&made));
    for (unsigned number = 0; golden_chunk(number, bits); number++) {
        uint32_t count = byte_reader_u32(&reader);
        struct nx_bytes chunk = byte_reader_take(&reader, byte_reader_u32(&reader));
        assert_int_equal(count, GOLDEN_COUNT);
        assert_int_equal(chunk_decode(chunk, count, back), NX_OK);
        assert_memory_equal(back, bits, sizeof(bits));
        codecs |= 1u << chunk.data[0];
    }
    assert_int_equal(byte_reader_left(&reader), 0);
    assert_int_equal(codecs, 1u << CHUNK_CODEC_CONST | 1u << CHUNK_CODEC_INT |
                                 1u << CHUNK_CODEC_SUM | 1u << CHUNK_CODEC_FLOAT);
    nx_buf_deinit(&made);
}

/* Two processors, one format: each writes the bytes of the other, and reads them. */
static void test_chunk_is_the_same_with_and_without_avx2(void **state)
{
    (void)state;
    struct rand_state rand;
    struct nx_buf wide = {0}, narrow = {0};
    uint64_t bits[600], back[600];
    rand_seed(&rand, 173);
    for (int trial = 0; trial < 4000; trial++) {
        size_t count = 1 + rand_below(&rand, 600);
        double unit = pow(10, (double)rand_below(&rand, 6));
        make_integers(&rand, count, bits);
        for (size_t i = 0; i < count && trial % 4 != 0; i++)
            bits[i] = float_bits((double)((int64_t)bits[i] >> (trial % 40)) / unit);
        nx_buf_reset(&wide);
        nx_buf_reset(&narrow);
        chunk_encode(bits, count, &wide);
        codec_wide_off = true;
        chunk_encode(bits, count, &narrow);
        assert_int_equal(chunk_decode(nx_buf_bytes(&wide), count, back), NX_OK);
        codec_wide_off = false;
        assert_memory_equal(back, bits, count * sizeof(*bits));
        assert_int_equal(narrow.len, wide.len);
        assert_memory_equal(narrow.data, wide.data, wide.len);
        assert_int_equal(chunk_decode(nx_buf_bytes(&narrow), count, back), NX_OK);
        assert_memory_equal(back, bits, count * sizeof(*bits));
    }
    nx_buf_deinit(&wide);
    nx_buf_deinit(&narrow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunk_round_trips_every_kind_of_value),
        cmocka_unit_test(test_chunk_round_trips_integers_of_every_shape),
        cmocka_unit_test(test_chunk_constants_take_a_few_bytes),
        cmocka_unit_test(test_chunk_constant_with_stale_marker_stays_small),
        cmocka_unit_test(test_chunk_decimals_cost_what_their_integers_cost),
        cmocka_unit_test(test_chunk_one_odd_value_is_an_exception),
        cmocka_unit_test(test_chunk_rare_decimals_widen_the_scale),
        cmocka_unit_test(test_chunk_doubles_take_their_bits),
        cmocka_unit_test(test_chunk_sums_of_decimals_take_less_than_their_bits),
        cmocka_unit_test(test_chunk_find_knows_every_codec),
        cmocka_unit_test(test_chunk_codecs_decline_what_is_too_long),
        cmocka_unit_test(test_chunk_cut_or_longer_chunks_are_corrupt),
        cmocka_unit_test(test_chunk_damage_is_survived),
        cmocka_unit_test(test_chunk_golden_file_is_what_we_write_and_read),
        cmocka_unit_test(test_chunk_is_the_same_with_and_without_avx2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
