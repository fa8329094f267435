/* SPDX-License-Identifier: Apache-2.0 */
/* test_snappy.c - blocks there and back; what is refused before memory is taken. */
#include "narthex/base/rand.h"
#include "narthex/codec/snappy.h"

#include "codec_support.h"

#define LIMIT (1u << 20)

static void check_round_trip(struct nx_bytes raw)
{
    struct nx_err err = {0};
    struct nx_buf packed = {0};
    struct nx_buf unpacked = {0};
    nx_buf_append_cstr(&packed, "before");
    snappy_pack(raw, &packed);
    assert_memory_equal(packed.data, "before", 6);
    struct nx_bytes block = {packed.data + 6, packed.len - 6};
    nx_buf_append_cstr(&unpacked, "is reset");
    assert_int_equal(snappy_unpack(block, LIMIT, &unpacked, &err), NX_OK);
    assert_int_equal(unpacked.len, raw.len);
    if (raw.len != 0)
        assert_memory_equal(unpacked.data, raw.data, raw.len);
    if (raw.len != 0) {
        assert_int_equal(snappy_unpack(block, raw.len, &unpacked, &err), NX_OK);
        assert_int_equal(snappy_unpack(block, raw.len - 1, &unpacked, &err), NX_E_LIMIT);
        assert_int_equal(err.code, NX_E_LIMIT);
    }
    for (size_t cut = 0; cut < block.len; cut += 1 + cut / 8)
        assert_int_not_equal(
            snappy_unpack((struct nx_bytes){block.data, cut}, LIMIT, &unpacked, &err), NX_OK);
    nx_buf_deinit(&packed);
    nx_buf_deinit(&unpacked);
}

static void test_snappy_round_trips(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 11);
    check_round_trip((struct nx_bytes){0});
    struct nx_buf raw = {0};
    for (size_t size = 1; size < 300000; size = size * 3 + 1) {
        for (unsigned spread = 1; spread <= 256; spread *= 16) {
            nx_buf_reset(&raw);
            for (size_t i = 0; i < size; i++)
                nx_buf_append_byte(&raw, (uint8_t)rand_below(&rand, spread));
            check_round_trip(nx_buf_bytes(&raw));
        }
    }
    nx_buf_deinit(&raw);
}

static void test_snappy_declared_length_is_bounded(void **state)
{
    (void)state;
    struct nx_err err = {0};
    struct nx_buf out = {0};
    const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0x00};
    assert_int_equal(snappy_unpack((struct nx_bytes){huge, sizeof(huge)}, LIMIT, &out, &err),
                     NX_E_LIMIT);
    /* 1 MiB declared by five bytes: within the limit, but no block is that dense. */
    const uint8_t dense[] = {0x80, 0x80, 0x40, 0x00, 0x61};
    assert_int_equal(snappy_unpack((struct nx_bytes){dense, sizeof(dense)}, LIMIT, &out, &err),
                     NX_E_INVALID);
    assert_int_equal(out.cap, 0);
    nx_buf_deinit(&out);
}

static void test_snappy_densest_block_is_accepted(void **state)
{
    (void)state;
    struct nx_buf zeros = {0};
    memset(nx_buf_extend(&zeros, LIMIT), 0, LIMIT);
    check_round_trip(nx_buf_bytes(&zeros));
    nx_buf_deinit(&zeros);
}

static void test_snappy_garbage_is_invalid(void **state)
{
    (void)state;
    struct nx_err err = {0};
    struct nx_buf out = {0};
    const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80};
    const uint8_t copy_first[] = {0x04, 0x01, 0x01}; /* a copy with nothing before it */
    const uint8_t trailing[] = {0x01, 0x00, 'a', 'b'};
    assert_int_equal(snappy_unpack((struct nx_bytes){0}, LIMIT, &out, &err), NX_E_INVALID);
    assert_int_equal(snappy_unpack((struct nx_bytes){endless, 6}, LIMIT, &out, &err), NX_E_INVALID);
    assert_int_equal(snappy_unpack((struct nx_bytes){copy_first, 3}, LIMIT, &out, &err),
                     NX_E_INVALID);
    assert_int_equal(snappy_unpack((struct nx_bytes){trailing, 4}, LIMIT, &out, &err),
                     NX_E_INVALID);
    nx_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snappy_round_trips),
        cmocka_unit_test(test_snappy_declared_length_is_bounded),
        cmocka_unit_test(test_snappy_densest_block_is_accepted),
        cmocka_unit_test(test_snappy_garbage_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
