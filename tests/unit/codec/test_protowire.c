/* SPDX-License-Identifier: Apache-2.0 */
/* test_protowire.c - messages written and read back; what the wire format refuses. */
#include "narthex/codec/protowire.h"
#include "narthex/model/staleness.h"

#include "codec_support.h"

static void test_protowire_fields_round_trip(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    protowire_put_bytes(&buf, 1, nx_bytes_from_str(NX_STR("name")));
    protowire_put_varint(&buf, 2, UINT64_MAX);
    protowire_put_double(&buf, 536870911, float_from_bits(STALE_NAN_BITS));
    protowire_put_bytes(&buf, 16, (struct nx_bytes){0});

    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&buf));
    uint32_t field = 0;
    enum protowire_type type = PROTOWIRE_VARINT;
    assert_true(protowire_next(&reader, &field, &type));
    assert_int_equal(field, 1);
    assert_int_equal(type, PROTOWIRE_BYTES);
    assert_true(nx_str_eq(nx_str_from_bytes(protowire_bytes(&reader)), NX_STR("name")));
    assert_true(protowire_next(&reader, &field, &type));
    assert_int_equal(field, 2);
    assert_int_equal(type, PROTOWIRE_VARINT);
    assert_true(byte_reader_varint(&reader) == UINT64_MAX);
    assert_true(protowire_next(&reader, &field, &type));
    assert_int_equal(field, 536870911);
    assert_int_equal(type, PROTOWIRE_FIXED64);
    assert_true(float_bits(protowire_double(&reader)) == STALE_NAN_BITS);
    assert_true(protowire_next(&reader, &field, &type));
    assert_int_equal(protowire_bytes(&reader).len, 0);
    assert_false(protowire_next(&reader, &field, &type));
    assert_false(reader.is_bad);
    nx_buf_deinit(&buf);
}

static void test_protowire_bytes_on_the_wire_are_protobufs(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    protowire_put_varint(&buf, 1, 150);
    protowire_put_bytes(&buf, 2, nx_bytes_from_str(NX_STR("testing")));
    protowire_put_double(&buf, 3, 1.0);
    const uint8_t wire[] = {0x08, 0x96, 0x01, 0x12, 0x07, 't', 'e', 's', 't',  'i', 'n',
                            'g',  0x19, 0,    0,    0,    0,   0,   0,   0xf0, 0x3f};
    assert_int_equal(buf.len, sizeof(wire));
    assert_memory_equal(buf.data, wire, sizeof(wire));
    nx_buf_deinit(&buf);
}

static void test_protowire_skip_passes_every_type(void **state)
{
    (void)state;
    const uint8_t wire[] = {0x08, 0x96, 0x01, 0x11, 1,    2, 3, 4, 5, 6,    7,   8,
                            0x1a, 2,    9,    9,    0x25, 1, 2, 3, 4, 0x28, 0x07};
    struct byte_reader reader = byte_reader_of((struct nx_bytes){wire, sizeof(wire)});
    uint32_t field = 0;
    enum protowire_type type = PROTOWIRE_VARINT;
    for (uint32_t expected = 1; expected <= 4; expected++) {
        assert_true(protowire_next(&reader, &field, &type));
        assert_int_equal(field, expected);
        protowire_skip(&reader, type);
    }
    assert_true(protowire_next(&reader, &field, &type));
    assert_true(byte_reader_varint(&reader) == 7);
    assert_false(reader.is_bad);
}

static void check_refused(const uint8_t *wire, size_t len)
{
    struct byte_reader reader = byte_reader_of((struct nx_bytes){wire, len});
    uint32_t field = 0;
    enum protowire_type type = PROTOWIRE_VARINT;
    while (protowire_next(&reader, &field, &type))
        protowire_skip(&reader, type);
    assert_true(reader.is_bad);
    assert_int_equal(byte_reader_left(&reader), 0);
}

static void test_protowire_bad_tags_and_lengths_are_refused(void **state)
{
    (void)state;
    const uint8_t field_zero[] = {0x00, 0x01};
    const uint8_t group_start[] = {0x0b, 0x0c};
    const uint8_t group_end[] = {0x0c};
    const uint8_t type_six[] = {0x0e};
    const uint8_t type_seven[] = {0x0f};
    const uint8_t field_wide[] = {0x80, 0x80, 0x80, 0x80, 0x10, 0x00};
    const uint8_t short_bytes[] = {0x0a, 0x05, 1, 2, 3, 4};
    const uint8_t huge_bytes[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    const uint8_t short_fixed64[] = {0x09, 1, 2, 3, 4, 5, 6, 7};
    const uint8_t short_fixed32[] = {0x0d, 1, 2, 3};
    const uint8_t short_varint[] = {0x08, 0x80};
    check_refused(field_zero, sizeof(field_zero));
    check_refused(group_start, sizeof(group_start));
    check_refused(group_end, sizeof(group_end));
    check_refused(type_six, sizeof(type_six));
    check_refused(type_seven, sizeof(type_seven));
    check_refused(field_wide, sizeof(field_wide));
    check_refused(short_bytes, sizeof(short_bytes));
    check_refused(huge_bytes, sizeof(huge_bytes));
    check_refused(short_fixed64, sizeof(short_fixed64));
    check_refused(short_fixed32, sizeof(short_fixed32));
    check_refused(short_varint, sizeof(short_varint));
}

static void test_protowire_skip_of_an_unknown_type_is_bad(void **state)
{
    (void)state;
    const uint8_t wire[] = {1, 2, 3};
    struct byte_reader reader = byte_reader_of((struct nx_bytes){wire, sizeof(wire)});
    protowire_skip(&reader, (enum protowire_type)3);
    assert_true(reader.is_bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protowire_fields_round_trip),
        cmocka_unit_test(test_protowire_bytes_on_the_wire_are_protobufs),
        cmocka_unit_test(test_protowire_skip_passes_every_type),
        cmocka_unit_test(test_protowire_bad_tags_and_lengths_are_refused),
        cmocka_unit_test(test_protowire_skip_of_an_unknown_type_is_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
