/* SPDX-License-Identifier: Apache-2.0 */
/* test_miniblock.c - blocks of every shape there and back, their sizes, and bytes that are no block. */
#include "narthex/base/mem.h"
#include "narthex/codec/miniblock.h"

#include "codec_support.h"

#include <string.h>

/* Packs, unpacks from memory that ends with the block, and from cut memory. Returns the size. */
static size_t check(const uint64_t *values, size_t count)
{
    struct nx_buf buf = {0};
    miniblock_put(values, count, &buf);
    uint8_t *exact = nx_alloc(buf.len);
    memcpy(exact, buf.data, buf.len);
    uint64_t back[MINIBLOCK_MAX];
    struct byte_reader reader = byte_reader_of((struct nx_bytes){exact, buf.len});
    assert_true(miniblock_get(&reader, count, back));
    assert_false(reader.is_bad);
    assert_int_equal(byte_reader_left(&reader), 0);
    assert_memory_equal(back, values, count * sizeof(*values));
    for (size_t cut = 0; cut < buf.len; cut += 1 + cut / 8) {
        reader = byte_reader_of((struct nx_bytes){exact, cut});
        assert_false(miniblock_get(&reader, count, back));
        assert_true(reader.is_bad);
        assert_int_equal(byte_reader_left(&reader), 0);
    }
    size_t bytes = buf.len;
    nx_free(exact);
    nx_buf_deinit(&buf);
    return bytes;
}

static void test_miniblock_round_trips_every_shape(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 67);
    for (int trial = 0; trial < 20000; trial++) {
        uint64_t values[MINIBLOCK_MAX];
        size_t count = 1 + rand_below(&rand, MINIBLOCK_MAX);
        make_integers(&rand, count, values);
        check(values, count);
    }
}

static void test_miniblock_extremes_round_trip(void **state)
{
    (void)state;
    uint64_t values[MINIBLOCK_MAX];
    const uint64_t corners[] = {0,
                                1,
                                UINT64_MAX,
                                (uint64_t)INT64_MAX,
                                (uint64_t)INT64_MIN,
                                (uint64_t)INT64_MIN + 1,
                                UINT64_C(1) << 56,
                                UINT64_C(1) << 57};
    for (size_t a = 0; a < 8; a++)
        for (size_t b = 0; b < 8; b++)
            for (size_t stride = 1; stride < MINIBLOCK_MAX; stride *= 3) {
                for (size_t i = 0; i < MINIBLOCK_MAX; i++)
                    values[i] = i % stride == 0 ? corners[a] : corners[b];
                check(values, MINIBLOCK_MAX);
            }
}

static void test_miniblock_equal_values_take_no_bits(void **state)
{
    (void)state;
    uint64_t values[MINIBLOCK_MAX];
    for (size_t i = 0; i < MINIBLOCK_MAX; i++)
        values[i] = 7;
    assert_int_equal(check(values, MINIBLOCK_MAX), 2);
}

static void test_miniblock_outliers_do_not_widen_the_rest(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 71);
    uint64_t values[128];
    for (size_t i = 0; i < 128; i++)
        values[i] = 1000 + rand_below(&rand, 16);
    values[50] = UINT64_C(1) << 40;
    assert_in_range(check(values, 128), 64, 90); /* above */
    values[50] = 0 - (UINT64_C(1) << 40);
    assert_in_range(check(values, 128), 64, 90); /* below */
    values[51] = UINT64_C(1) << 40;
    assert_in_range(check(values, 128), 64, 100); /* both */
}

static void test_miniblock_a_frequent_value_takes_a_bit(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 73);
    uint64_t values[128];
    for (size_t i = 0; i < 128; i++)
        values[i] = i % 4 == 0 ? rand_u64(&rand) >> 24 : 0;
    assert_in_range(check(values, 128), 32 * 5, 16 + 32 * 5 + 20);
}

static void test_miniblock_estimate_follows_the_size(void **state)
{
    (void)state;
    uint64_t values[MINIBLOCK_MAX];
    size_t before = 0;
    for (unsigned width = 1; width < 60; width += 4) {
        struct rand_state rand;
        rand_seed(&rand, 79);
        for (size_t i = 0; i < MINIBLOCK_MAX; i++)
            values[i] = rand_u64(&rand) >> (64 - width);
        size_t estimate = miniblock_estimate(values, MINIBLOCK_MAX);
        if (before != 0)
            assert_in_range(estimate, before + 2 * MINIBLOCK_MAX, before + 6 * MINIBLOCK_MAX);
        before = estimate;
    }
}

/* The layout of a block by its head, or -1 for a sparse one. */
static int layout_of(const uint64_t *values, size_t count)
{
    struct nx_buf buf = {0};
    miniblock_put(values, count, &buf);
    int layout = buf.data[0] == 62 ? -1 : buf.data[0] >> 6;
    nx_buf_deinit(&buf);
    return layout;
}

static void test_miniblock_each_layout_is_taken_where_it_fits(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 81);
    uint64_t even[MINIBLOCK_MAX];
    uint64_t bell[MINIBLOCK_MAX];
    uint64_t halving[MINIBLOCK_MAX];
    uint64_t rare[MINIBLOCK_MAX];
    for (size_t i = 0; i < MINIBLOCK_MAX; i++) {
        even[i] = rand_below(&rand, 256);
        bell[i] = 0;
        for (int n = 0; n < 12; n++)
            bell[i] += rand_below(&rand, 300);
        halving[i] = (uint64_t)__builtin_ctzll(rand_u64(&rand) | UINT64_C(1) << 63);
        rare[i] = rand_below(&rand, 4) == 0 ? rand_u64(&rand) >> 20 : 5;
    }
    assert_int_equal(layout_of(even, MINIBLOCK_MAX), 0);
    even[60] = UINT64_C(1) << 50;
    assert_int_equal(layout_of(even, MINIBLOCK_MAX), 1);
    assert_int_equal(layout_of(halving, MINIBLOCK_MAX), 2);
    assert_int_equal(layout_of(bell, MINIBLOCK_MAX), 3);
    assert_int_equal(layout_of(rare, MINIBLOCK_MAX), -1);
    /* Noise of a deviation of 300 holds 10.3 bits a value; eleven at most are taken, heads and all. */
    assert_in_range(check(bell, MINIBLOCK_MAX), 100 * MINIBLOCK_MAX / 80, 110 * MINIBLOCK_MAX / 80);
}

static void test_miniblock_any_bytes_are_safe(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 83);
    size_t accepted = 0;
    for (int trial = 0; trial < 200000; trial++) {
        uint8_t bytes[40];
        uint64_t out[MINIBLOCK_MAX];
        size_t len = rand_below(&rand, sizeof(bytes) + 1);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rand_u64(&rand);
        struct byte_reader reader = byte_reader_of((struct nx_bytes){bytes, len});
        accepted += miniblock_get(&reader, 1 + rand_below(&rand, MINIBLOCK_MAX), out);
        assert_true(reader.next <= reader.end);
    }
    assert_in_range(accepted, 1, 199999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_miniblock_round_trips_every_shape),
        cmocka_unit_test(test_miniblock_extremes_round_trip),
        cmocka_unit_test(test_miniblock_equal_values_take_no_bits),
        cmocka_unit_test(test_miniblock_outliers_do_not_widen_the_rest),
        cmocka_unit_test(test_miniblock_a_frequent_value_takes_a_bit),
        cmocka_unit_test(test_miniblock_estimate_follows_the_size),
        cmocka_unit_test(test_miniblock_each_layout_is_taken_where_it_fits),
        cmocka_unit_test(test_miniblock_any_bytes_are_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
