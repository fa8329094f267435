/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_response.c - dates, status texts and header fields. Whole answers are tested over sockets in
 * test_http_server.c. */
#include "narthex/base/assert.h"
#include "narthex/http/http_response.h"

#include "http_support.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

static void test_dates_agree_with_the_c_library(void **state)
{
    (void)state;
    /* Every day at a different second, 1970 to 2120, and the last second of 9999. */
    for (int64_t day = 0; day < 150 * 366; day++) {
        time_t at = (time_t)(day < 150 * 366 - 1 ? day * 86400 + day * 7919 % 86400 : 253402300799);
        struct nx_buf date = {0};
        http_append_date(&date, at);
        nx_buf_append_byte(&date, '\0');
        struct tm parts;
        char expected[64];
        assert_non_null(gmtime_r(&at, &parts));
        (void)strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &parts);
        assert_string_equal((const char *)date.data, expected);
        nx_buf_deinit(&date);
    }
}

static void test_a_value_cannot_split_the_answer(void **state)
{
    (void)state;
    struct http_headers headers = {0};
    http_headers_add(&headers, "X-Origin", NX_STR("a\r\nSet-Cookie: x\0y\x7f"));
    http_headers_add(&headers, "X-Tab", NX_STR(""));
    nx_buf_append_byte(&headers.fields, '\0');
    assert_string_equal((const char *)headers.fields.data,
                        "X-Origin: a  Set-Cookie: x y \r\nX-Tab: \r\n");
    http_headers_deinit(&headers);
    http_headers_deinit(&headers);
}

static void test_known_status_codes_have_their_text(void **state)
{
    (void)state;
    assert_string_equal(http_status_text(200), "OK");
    assert_string_equal(http_status_text(422), "Unprocessable Content");
    assert_string_equal(http_status_text(505), "HTTP Version Not Supported");
    assert_string_equal(http_status_text(299), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates_agree_with_the_c_library),
        cmocka_unit_test(test_a_value_cannot_split_the_answer),
        cmocka_unit_test(test_known_status_codes_have_their_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
