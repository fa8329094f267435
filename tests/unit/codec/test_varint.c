/* SPDX-License-Identifier: Apache-2.0 */
/* test_varint.c - integers there and back, and the reader at its last and first bad byte. */
#include "narthex/base/rand.h"
#include "narthex/codec/varint.h"

#include "codec_support.h"

static void test_varint_round_trips_at_every_width(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit <= 64; bit++) {
        uint64_t around = bit == 64 ? 0 : UINT64_C(1) << bit;
        for (int step = -2; step <= 2; step++) {
            uint64_t value = around + (uint64_t)(int64_t)step;
            uint8_t bytes[VARINT_BYTES_MAX];
            size_t len = varint_put(bytes, value);
            assert_in_range(len, 1, VARINT_BYTES_MAX);
            assert_int_equal(len, varint_length(value));
            struct byte_reader reader = byte_reader_of((struct nx_bytes){bytes, len});
            assert_true(byte_reader_varint(&reader) == value);
            assert_false(reader.is_bad);
            assert_int_equal(byte_reader_left(&reader), 0);
        }
    }
}

static void test_varint_signed_round_trips(void **state)
{
    (void)state;
    const int64_t values[] = {0, -1, 1, -2, 63, -64, 64, INT64_MAX, INT64_MIN, -123456789};
    struct nx_buf buf = {0};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        varint_append_signed(&buf, values[i]);
    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&buf));
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        assert_true(byte_reader_varint_signed(&reader) == values[i]);
    assert_false(reader.is_bad);
    assert_int_equal(byte_reader_left(&reader), 0);
    nx_buf_deinit(&buf);
}

static void test_varint_cut_short_is_bad_and_sticky(void **state)
{
    (void)state;
    uint8_t bytes[VARINT_BYTES_MAX];
    size_t len = varint_put(bytes, UINT64_MAX);
    assert_int_equal(len, 10);
    for (size_t cut = 0; cut < len; cut++) {
        struct byte_reader reader = byte_reader_of((struct nx_bytes){bytes, cut});
        assert_true(byte_reader_varint(&reader) == 0);
        assert_true(reader.is_bad);
        assert_int_equal(byte_reader_left(&reader), 0);
        assert_true(byte_reader_u8(&reader) == 0);
        assert_true(byte_reader_take(&reader, 0).len == 0);
        assert_true(reader.is_bad);
    }
}

static void test_varint_beyond_64_bits_is_bad(void **state)
{
    (void)state;
    uint8_t wide[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    struct byte_reader reader = byte_reader_of((struct nx_bytes){wide, sizeof(wide)});
    assert_true(byte_reader_varint(&reader) == 0);
    assert_true(reader.is_bad);
    uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    reader = byte_reader_of((struct nx_bytes){endless, sizeof(endless)});
    assert_true(byte_reader_varint(&reader) == 0);
    assert_true(reader.is_bad);
    uint8_t padded[] = {0x81, 0x80, 0x00, 0x07};
    reader = byte_reader_of((struct nx_bytes){padded, sizeof(padded)});
    assert_true(byte_reader_varint(&reader) == 1);
    assert_true(byte_reader_varint(&reader) == 7);
    assert_false(reader.is_bad);
}

static void test_byte_reader_fixed_widths_are_little_endian(void **state)
{
    (void)state;
    uint8_t bytes[15];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i + 1);
    struct byte_reader reader = byte_reader_of((struct nx_bytes){bytes, sizeof(bytes)});
    assert_true(byte_reader_u8(&reader) == 0x01);
    assert_true(byte_reader_u16(&reader) == 0x0302);
    assert_true(byte_reader_u32(&reader) == 0x07060504);
    assert_true(byte_reader_u64(&reader) == UINT64_C(0x0f0e0d0c0b0a0908));
    assert_false(reader.is_bad);
    assert_true(byte_reader_u8(&reader) == 0);
    assert_true(reader.is_bad);
}

static void test_byte_reader_short_fixed_reads_are_bad(void **state)
{
    (void)state;
    uint8_t bytes[7] = {1, 2, 3, 4, 5, 6, 7};
    struct byte_reader reader = byte_reader_of((struct nx_bytes){bytes, 7});
    assert_true(byte_reader_u64(&reader) == 0);
    assert_true(reader.is_bad);
    reader = byte_reader_of((struct nx_bytes){bytes, 3});
    assert_true(byte_reader_u32(&reader) == 0);
    assert_true(reader.is_bad);
    reader = byte_reader_of((struct nx_bytes){bytes, 1});
    assert_true(byte_reader_u16(&reader) == 0);
    assert_true(reader.is_bad);
}

static void test_byte_reader_take_is_bounded(void **state)
{
    (void)state;
    uint8_t bytes[4] = {1, 2, 3, 4};
    struct byte_reader reader = byte_reader_of((struct nx_bytes){bytes, 4});
    struct nx_bytes taken = byte_reader_take(&reader, 3);
    assert_ptr_equal(taken.data, bytes);
    assert_int_equal(taken.len, 3);
    assert_int_equal(byte_reader_take(&reader, UINT64_MAX).len, 0);
    assert_true(reader.is_bad);
    assert_int_equal(byte_reader_left(&reader), 0);
    reader = byte_reader_of((struct nx_bytes){0});
    assert_int_equal(byte_reader_take(&reader, 0).len, 0);
    assert_false(reader.is_bad);
}

static void test_varint_random_sequences_round_trip(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 7);
    struct nx_buf buf = {0};
    uint64_t values[500];
    for (size_t i = 0; i < 500; i++) {
        values[i] = rand_u64(&rand) >> (rand_u64(&rand) % 64);
        varint_append(&buf, values[i]);
    }
    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&buf));
    for (size_t i = 0; i < 500; i++)
        assert_true(byte_reader_varint(&reader) == values[i]);
    assert_int_equal(byte_reader_left(&reader), 0);
    nx_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint_round_trips_at_every_width),
        cmocka_unit_test(test_varint_signed_round_trips),
        cmocka_unit_test(test_varint_cut_short_is_bad_and_sticky),
        cmocka_unit_test(test_varint_beyond_64_bits_is_bad),
        cmocka_unit_test(test_byte_reader_fixed_widths_are_little_endian),
        cmocka_unit_test(test_byte_reader_short_fixed_reads_are_bad),
        cmocka_unit_test(test_byte_reader_take_is_bounded),
        cmocka_unit_test(test_varint_random_sequences_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
