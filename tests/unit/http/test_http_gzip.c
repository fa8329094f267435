/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_gzip.c - compressed answers come back whole, and only for clients that ask as Prometheus understands it. */
#include "narthex/base/assert.h"
#include "narthex/base/rand.h"
#include "narthex/http/http_gzip.h"

#include "http_support.h"

#include <stdint.h>
#include <string.h>

static void test_only_the_literal_token_is_accepted(void **state)
{
    (void)state;
    assert_true(http_gzip_is_accepted(NX_STR("gzip")));
    assert_true(http_gzip_is_accepted(NX_STR("deflate, gzip")));
    assert_true(http_gzip_is_accepted(NX_STR("br,\tgzip ,zstd")));
    assert_false(http_gzip_is_accepted(NX_STR("gzip;q=1.0")));
    assert_false(http_gzip_is_accepted(NX_STR("GZIP")));
    assert_false(http_gzip_is_accepted(NX_STR("x-gzip")));
    assert_false(http_gzip_is_accepted(NX_STR("*")));
    assert_false(http_gzip_is_accepted(NX_STR("")));
    assert_false(http_gzip_is_accepted(NX_STR(",,")));
}

static void assert_round_trip(struct nx_bytes data, size_t step)
{
    struct http_gzip *gzip = http_gzip_new();
    struct nx_buf packed = {0};
    for (size_t at = 0; at < data.len; at += step) {
        size_t left = data.len - at;
        struct nx_bytes piece = {.data = data.data + at, .len = left < step ? left : step};
        http_gzip_write(gzip, piece, &packed);
    }
    http_gzip_end(gzip, &packed);
    http_gzip_free(gzip);
    struct nx_buf unpacked = {0};
    assert_true(support_gunzip(nx_buf_bytes(&packed), &unpacked));
    assert_int_equal(unpacked.len, data.len);
    if (data.len > 0)
        assert_memory_equal(unpacked.data, data.data, data.len);
    nx_buf_deinit(&packed);
    nx_buf_deinit(&unpacked);
}

static void test_bytes_of_any_kind_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 16384, 100000, 1000000};
    for (size_t i = 0; i < NX_ARRAY_LEN(sizes); i++) {
        struct nx_buf data = {0};
        struct rand_state random;
        rand_seed(&random, i);
        for (size_t at = 0; at < sizes[i]; at++) /* half noise, half text */
            nx_buf_append_byte(&data, at % 1000 < 500 ? (uint8_t)rand_u64(&random)
                                                      : (uint8_t)('a' + at % 7));
        assert_round_trip(nx_buf_bytes(&data), 1 + sizes[i]);
        assert_round_trip(nx_buf_bytes(&data), 777);
        nx_buf_deinit(&data);
    }
}

static void test_a_coder_may_be_given_up(void **state)
{
    (void)state;
    struct http_gzip *gzip = http_gzip_new();
    struct nx_buf packed = {0};
    http_gzip_write(gzip, nx_bytes_from_str(NX_STR("half an answer")), &packed);
    http_gzip_free(gzip);
    http_gzip_free(NULL);
    nx_buf_deinit(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_literal_token_is_accepted),
        cmocka_unit_test(test_bytes_of_any_kind_come_back),
        cmocka_unit_test(test_a_coder_may_be_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
