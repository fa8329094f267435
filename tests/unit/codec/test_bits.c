/* SPDX-License-Identifier: Apache-2.0 */
/* test_bits.c - every width and count, at the end of memory too. */
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/codec/bits.h"

#include "codec_support.h"

#include <string.h>

static uint64_t mask_of(unsigned width)
{
    return width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

static void test_bits_round_trip_at_every_width_and_count(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 61);
    for (unsigned width = 0; width <= 64; width = width == BITS_WIDTH_MAX ? 64 : width + 1) {
        for (size_t count = 1; count <= BITS_COUNT_MAX; count++) {
            uint64_t values[BITS_COUNT_MAX];
            uint64_t back[BITS_COUNT_MAX];
            uint8_t packed[BITS_COUNT_MAX * 8 + BITS_PAD];
            for (size_t i = 0; i < count; i++)
                values[i] = rand_u64(&rand); /* bits above the width are dropped */
            size_t bytes = bits_bytes(count, width);
            bits_pack(values, count, width, packed);
            bits_unpack(packed, sizeof(packed), count, width, back);
            for (size_t i = 0; i < count; i++)
                assert_true(back[i] == (values[i] & mask_of(width)));
            /* The same from memory that ends with the last packed byte. */
            uint8_t *exact = nx_alloc(bytes + 1);
            memcpy(exact + 1, packed, bytes);
            bits_unpack(exact + 1, bytes, count, width, back);
            for (size_t i = 0; i < count; i++)
                assert_true(back[i] == (values[i] & mask_of(width)));
            nx_free(exact);
        }
    }
}

static void test_bits_are_little_endian(void **state)
{
    (void)state;
    const uint64_t values[] = {5, 2, 7, 0, 1};
    uint8_t packed[2 + BITS_PAD] = {0};
    bits_pack(values, 5, 3, packed);
    /* 101 010 111 000 001, least significant first: 0x11d5 */
    assert_int_equal(bits_bytes(5, 3), 2);
    assert_int_equal(packed[0], 0xd5);
    assert_int_equal(packed[1], 0x11);
}

static void test_bits_lengths_and_allowed_widths(void **state)
{
    (void)state;
    assert_int_equal(bits_length(0), 0);
    assert_int_equal(bits_length(1), 1);
    assert_int_equal(bits_length(255), 8);
    assert_int_equal(bits_length(UINT64_MAX), 64);
    assert_int_equal(bits_width_allowed(0), 0);
    assert_int_equal(bits_width_allowed(56), 56);
    assert_int_equal(bits_width_allowed(57), 64);
    assert_int_equal(bits_width_allowed(64), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_round_trip_at_every_width_and_count),
        cmocka_unit_test(test_bits_are_little_endian),
        cmocka_unit_test(test_bits_lengths_and_allowed_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
