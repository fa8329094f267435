/* SPDX-License-Identifier: Apache-2.0 */
/* test_exemplar_code.c - exemplars there and back, and bytes that are none. */
#include "narthex/base/mem.h"
#include "narthex/codec/exemplar_code.h"
#include "narthex/model/staleness.h"

#include "codec_support.h"

#include <string.h>

static void check(const struct exemplar *exemplar, int64_t base_ms)
{
    struct arena arena;
    struct nx_buf buf = {0};
    struct exemplar back = {0};
    arena_init(&arena, 0);
    exemplar_put(exemplar, base_ms, &buf);
    assert_true(buf.len <= EXEMPLAR_CODE_BYTES_MAX);
    uint8_t *exact = nx_alloc(buf.len);
    memcpy(exact, buf.data, buf.len);
    struct byte_reader reader = byte_reader_of((struct nx_bytes){exact, buf.len});
    assert_int_equal(exemplar_get(&reader, base_ms, &arena, &back), NX_OK);
    assert_int_equal(byte_reader_left(&reader), 0);
    assert_true(exemplar_equal(&back, exemplar));
    for (size_t cut = 0; cut < buf.len; cut++) {
        reader = byte_reader_of((struct nx_bytes){exact, cut});
        assert_int_equal(exemplar_get(&reader, base_ms, &arena, &back), NX_E_CORRUPT);
        assert_true(reader.is_bad);
    }
    nx_free(exact);
    nx_buf_deinit(&buf);
    arena_deinit(&arena);
}

static void test_exemplar_code_round_trips(void **state)
{
    (void)state;
    const struct label items[] = {{NX_STR("span_id"), NX_STR("00f067aa0ba902b7")},
                                  {NX_STR("trace_id"), NX_STR("4bf92f3577b34da6a3ce929d0e0e4736")}};
    struct exemplar exemplar = {.labels = {items, 2}, .value = 0.25, .time_ms = 1700000000123};
    check(&exemplar, 0);
    check(&exemplar, 1700000000000);
    check(&exemplar, INT64_MIN);
    exemplar.labels.count = 0;
    exemplar.value = float_from_bits(ORDINARY_NAN_BITS);
    exemplar.time_ms = INT64_MIN;
    check(&exemplar, INT64_MAX);
}

static void test_exemplar_code_refuses_what_check_refuses(void **state)
{
    (void)state;
    struct arena arena;
    struct exemplar out;
    arena_init(&arena, 0);
    const uint8_t good[] = {2, 0, 2, 1, 'a', 1, 'x', 1, 'b', 0};
    const uint8_t unsorted[] = {2, 0, 2, 1, 'b', 1, 'x', 1, 'a', 0};
    const uint8_t twice[] = {2, 0, 2, 1, 'a', 1, 'x', 1, 'a', 0};
    const uint8_t unnamed[] = {2, 0, 1, 0, 1, 'x'};
    const uint8_t not_utf8[] = {2, 0, 1, 1, 'a', 1, 0xff};
    const uint8_t many[] = {2, 0, 0xff, 0x7f, 1, 'a', 1, 'b'};
    uint8_t long_one[140] = {2, 0, 1, 1, 'a', 128, 1}; /* 129 characters */
    const struct {
        struct nx_bytes bytes;
        nx_code code;
    } cases[] = {
        {{good, sizeof(good)}, NX_OK},
        {{unsorted, sizeof(unsorted)}, NX_E_CORRUPT},
        {{twice, sizeof(twice)}, NX_E_CORRUPT},
        {{unnamed, sizeof(unnamed)}, NX_E_CORRUPT},
        {{not_utf8, sizeof(not_utf8)}, NX_E_CORRUPT},
        {{many, sizeof(many)}, NX_E_CORRUPT},
        {{long_one, sizeof(long_one)}, NX_E_CORRUPT},
    };
    memset(long_one + 7, 'x', sizeof(long_one) - 7);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct byte_reader reader = byte_reader_of(cases[i].bytes);
        assert_int_equal(exemplar_get(&reader, 0, &arena, &out), cases[i].code);
    }
    long_one[5] = 127;
    long_one[6] = 'x';
    struct byte_reader reader = byte_reader_of((struct nx_bytes){long_one, 6 + 127});
    assert_int_equal(exemplar_get(&reader, 0, &arena, &out), NX_OK);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exemplar_code_round_trips),
        cmocka_unit_test(test_exemplar_code_refuses_what_check_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
