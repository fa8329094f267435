/* SPDX-License-Identifier: Apache-2.0 */
/* test_log.c - lines are logfmt whatever their values hold. */
#include "narthex/base/log.h"
#include "narthex/base/thread.h"

#include "base_support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int ends[2];

static int setup(void **state)
{
    (void)state;
    assert_int_equal(pipe(ends), 0);
    log_set_fd(ends[1]);
    log_set_level(LOG_LEVEL_INFO);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_set_fd(STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* What was logged, without the time; the buffer is static. */
static const char *logged(void)
{
    static char text[65536];
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    ssize_t got = read(ends[0], text, sizeof(text) - 1);
    text[got > 0 ? got : 0] = '\0';
    if (got <= 0)
        return text;
    assert_int_equal(text[got - 1], '\n');
    text[got - 1] = '\0';
    /* ts=2024-01-02T03:04:05.678Z and a space */
    static const char shape[] = "ts=0000-00-00T00:00:00.000Z ";
    for (size_t i = 0; i < sizeof(shape) - 1; i++) {
        if (shape[i] == '0')
            assert_in_range(text[i], '0', '9');
        else
            assert_int_equal(text[i], shape[i]);
    }
    return text + sizeof(shape) - 1;
}

static void test_log_line_has_level_area_message_and_pairs(void **state)
{
    (void)state;
    log_info("store", "opened", LOG_STR("path", "/data"), LOG_INT("delta", -3),
             LOG_UINT("bytes", UINT64_MAX), LOG_FLOAT("ratio", 0.5));
    assert_string_equal(logged(), "level=info area=store msg=\"opened\" path=/data delta=-3 "
                                  "bytes=18446744073709551615 ratio=0.5");
    log_error("main", "no pairs");
    assert_string_equal(logged(), "level=error area=main msg=\"no pairs\"");
}

static void test_log_values_that_need_it_are_quoted(void **state)
{
    (void)state;
    log_warn("api", "odd", LOG_STR("empty", ""), LOG_STR("space", "a b"), LOG_STR("eq", "a=b"),
             LOG_STR("quote", "say \"hi\" \\"), LOG_STR("lines", "1\n2\r\t3\x01\x7f"),
             LOG_STR("utf8", "gr\xc3\xbc\xc3\x9f"), LOG_STR("bytes", "\xff\xc3"));
    assert_string_equal(logged(),
                        "level=warn area=api msg=\"odd\" empty=\"\" space=\"a b\" eq=\"a=b\" "
                        "quote=\"say \\\"hi\\\" \\\\\" lines=\"1\\n2\\r\\t3\\x01\\x7f\" "
                        "utf8=gr\xc3\xbc\xc3\x9f bytes=\"\\xff\\xc3\"");
}

static void test_log_a_message_cannot_forge_a_line(void **state)
{
    (void)state;
    log_info("api", "a\nlevel=error", LOG_VIEW("v", ((struct nx_str){.data = "x\ny", .len = 3})));
    const char *text = logged();
    assert_null(strchr(text, '\n'));
    assert_string_equal(text, "level=info area=api msg=\"a\\nlevel=error\" v=\"x\\ny\"");
}

static void test_log_long_values_are_cut_at_a_character(void **state)
{
    (void)state;
    struct nx_buf value = {0};
    nx_buf_append_byte(&value, 'a');
    for (int i = 0; i < 3000; i++)
        nx_buf_append_cstr(&value, "\xe2\x82\xac");
    log_info("api", "long", LOG_VIEW("v", nx_buf_str(&value)));
    const char *text = logged();
    assert_true(strlen(text) < 4200);
    assert_true(nx_utf8_is_valid(nx_str_from(text)));
    assert_true(nx_str_ends_with(nx_str_from(text), NX_STR("...\"")));
    nx_buf_deinit(&value);
}

static void test_log_levels_filter_and_parse(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_INFO;
    log_debug("x", "hidden");
    assert_string_equal(logged(), "");
    assert_true(log_level_parse(NX_STR("debug"), &level));
    log_set_level(level);
    log_debug("x", "shown");
    assert_string_equal(logged(), "level=debug area=x msg=\"shown\"");
    assert_true(log_level_parse(NX_STR("error"), &level));
    log_set_level(level);
    assert_false(log_is_on(LOG_LEVEL_WARN));
    assert_true(log_is_on(LOG_LEVEL_ERROR));
    log_warn("x", "hidden");
    log_event(LOG_LEVEL_WARN, "x", "hidden", NULL, 0);
    assert_string_equal(logged(), "");
    assert_false(log_level_parse(NX_STR("verbose"), &level));
    assert_int_equal(level, LOG_LEVEL_ERROR);
}

static void test_log_keeps_errno(void **state)
{
    (void)state;
    errno = ENOSPC;
    log_info("x", "y");
    assert_int_equal(errno, ENOSPC);
    log_set_fd(-1);
    log_info("x", "nobody hears it");
    assert_int_equal(errno, ENOSPC);
}

static void log_many(void *argument)
{
    (void)argument;
    for (int i = 0; i < 50; i++)
        log_info("thread", "line", LOG_STR("filler", "0123456789012345678901234567890123456789"));
}

static void test_log_lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    struct nx_thread threads[4] = {0};
    struct nx_err err = {0};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(thread_start(&threads[i], "log", log_many, NULL, &err), NX_OK);
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    static char text[65536];
    ssize_t got = read(ends[0], text, sizeof(text));
    struct nx_str rest = {.data = text, .len = (size_t)got};
    struct nx_str line;
    int count = 0;
    while (nx_str_split(rest, '\n', &line, &rest)) {
        assert_true(nx_str_starts_with(line, NX_STR("ts=")));
        assert_true(nx_str_ends_with(line, NX_STR("6789")));
        count++;
    }
    assert_int_equal(count, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_line_has_level_area_message_and_pairs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_log_values_that_need_it_are_quoted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_a_message_cannot_forge_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_long_values_are_cut_at_a_character, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_log_levels_filter_and_parse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_keeps_errno, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_lines_of_threads_do_not_mix, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
