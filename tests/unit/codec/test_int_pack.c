/* SPDX-License-Identifier: Apache-2.0 */
/* test_int_pack.c - series of integers there and back, and what the order and the divisor are worth. */
#include "narthex/base/mem.h"
#include "narthex/codec/int_pack.h"

#include "codec_support.h"

#include <string.h>

static size_t check(const uint64_t *values, size_t count)
{
    struct nx_buf buf = {0};
    int_pack_put(values, count, &buf);
    uint8_t *exact = nx_alloc(buf.len);
    memcpy(exact, buf.data, buf.len);
    uint64_t *back = nx_alloc(count * sizeof(*back));
    struct byte_reader reader = byte_reader_of((struct nx_bytes){exact, buf.len});
    assert_true(int_pack_get(&reader, count, back));
    assert_int_equal(byte_reader_left(&reader), 0);
    assert_memory_equal(back, values, count * sizeof(*values));
    for (size_t cut = 0; cut < buf.len; cut += 1 + cut / 4) {
        reader = byte_reader_of((struct nx_bytes){exact, cut});
        assert_false(int_pack_get(&reader, count, back));
        assert_true(reader.is_bad);
    }
    size_t bytes = buf.len;
    nx_free(exact);
    nx_free(back);
    nx_buf_deinit(&buf);
    return bytes;
}

static void test_int_pack_round_trips_every_shape(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 89);
    uint64_t values[1500];
    for (int trial = 0; trial < 6000; trial++) {
        size_t count = 1 + rand_below(&rand, trial % 2 == 0 ? 20 : 1500);
        make_integers(&rand, count, values);
        check(values, count);
    }
}

static void test_int_pack_linear_series_take_a_few_bytes(void **state)
{
    (void)state;
    uint64_t values[4000];
    for (size_t i = 0; i < 4000; i++)
        values[i] = 1700000000000 + 15000 * i;
    assert_in_range(check(values, 4000), 1, 12);
    assert_in_range(check(values, 1), 1, 12);
    for (size_t i = 0; i < 4000; i++)
        values[i] = 0 - UINT64_C(123456789123456789) * i; /* wraps */
    assert_in_range(check(values, 4000), 1, 24);
}

static void test_int_pack_divides_by_the_common_divisor(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 97);
    const uint64_t divisors[] = {2, 3, 10, 4096, 1000003, UINT64_C(3) << 40};
    for (size_t d = 0; d < 6; d++) {
        uint64_t values[480];
        uint64_t value = 17;
        for (size_t i = 0; i < 480; i++) {
            value += divisors[d] * (rand_below(&rand, 16) - 5);
            values[i] = value;
        }
        assert_in_range(check(values, 480), 240, 300); /* four bits each */
    }
}

static void test_int_pack_takes_the_best_order(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 101);
    uint64_t values[480];
    for (size_t i = 0; i < 480; i++)
        values[i] = 1000000 + rand_below(&rand, 256);
    assert_in_range(check(values, 480), 480, 510); /* order 0: 8 bits; deltas would take 9 */
    uint64_t value = 0;
    for (size_t i = 0; i < 480; i++)
        values[i] = value += 5000 + rand_below(&rand, 256);
    assert_in_range(check(values, 480), 480, 520);
    uint64_t slope = 0;
    for (size_t i = 0; i < 480; i++)
        values[i] = value += slope += 1000 + rand_below(&rand, 256);
    assert_in_range(check(values, 480), 480, 530);
}

static void test_int_pack_bad_heads_are_refused(void **state)
{
    (void)state;
    uint64_t out[8];
    for (unsigned head = 0; head < 256; head++) {
        const uint8_t bytes[] = {(uint8_t)head, 0, 0, 0, 0, 0, 0, 0};
        for (size_t count = 1; count < 4; count++) {
            struct byte_reader reader = byte_reader_of((struct nx_bytes){bytes, sizeof(bytes)});
            bool is_known = head == 3 || (head < 7 && (head & 3) != 3);
            bool is_long_enough = head == 3 || count >= ((head & 3) == 2 ? 3u : 2u);
            assert_int_equal(int_pack_get(&reader, count, out), is_known && is_long_enough);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int_pack_round_trips_every_shape),
        cmocka_unit_test(test_int_pack_linear_series_take_a_few_bytes),
        cmocka_unit_test(test_int_pack_divides_by_the_common_divisor),
        cmocka_unit_test(test_int_pack_takes_the_best_order),
        cmocka_unit_test(test_int_pack_bad_heads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
