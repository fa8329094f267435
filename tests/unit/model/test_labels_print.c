/* SPDX-License-Identifier: Apache-2.0 */
/* test_labels_print.c - series as text; quoting as Go's, by a golden file. */
#include "narthex/base/io.h"

#include "model_support.h"

static void assert_printed(const char *text, const char *as_set, const char *as_series)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct nx_buf out = {0};
    struct labels labels = test_labels(&arena, text);
    labels_print(labels, &out);
    test_assert_buf(&out, as_set);
    labels_print_series(labels, &out);
    test_assert_buf(&out, as_series);
    nx_buf_deinit(&out);
    arena_deinit(&arena);
}

static void test_labels_print_both_forms(void **state)
{
    (void)state;
    assert_printed("", "{}", "{}");
    assert_printed("a=1,b=x y", "{a=\"1\", b=\"x y\"}", "{a=\"1\", b=\"x y\"}");
    assert_printed("__name__=up", "{__name__=\"up\"}", "up");
    assert_printed("__name__=a:b,job=n", "{__name__=\"a:b\", job=\"n\"}", "a:b{job=\"n\"}");
    assert_printed("A=1,__name__=up,job=n", "{A=\"1\", __name__=\"up\", job=\"n\"}",
                   "up{A=\"1\", job=\"n\"}");
    assert_printed("a.b=1", "{\"a.b\"=\"1\"}", "{\"a.b\"=\"1\"}");
    assert_printed("__name__=a.b", "{__name__=\"a.b\"}", "{\"a.b\"}");
    assert_printed("__name__=a.b,c=1", "{__name__=\"a.b\", c=\"1\"}", "{\"a.b\", c=\"1\"}");
}

static uint8_t hex_digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void test_labels_quoting_equals_the_golden_file(void **state)
{
    (void)state;
    struct nx_buf file = {0};
    struct nx_err err = {0};
    assert_int_equal(
        io_read_file(io_real(), NX_TEST_GOLDEN_DIR "/quoted_text.txt", 1 << 20, &file, &err),
        NX_OK);
    struct nx_str rest = nx_buf_str(&file);
    struct nx_str line;
    struct nx_buf bytes = {0};
    struct nx_buf out = {0};
    size_t checked = 0;
    while (nx_str_split(rest, '\n', &line, &rest)) {
        if (nx_str_starts_with(line, NX_STR("#")))
            continue;
        struct nx_str hex;
        struct nx_str quoted;
        assert_true(nx_str_split(line, ' ', &hex, &quoted));
        nx_buf_reset(&bytes);
        nx_buf_reset(&out);
        for (size_t i = 0; i + 1 < hex.len; i += 2)
            nx_buf_append_byte(&bytes,
                               (uint8_t)(hex_digit(hex.data[i]) << 4 | hex_digit(hex.data[i + 1])));
        labels_print_quoted(nx_buf_str(&bytes), &out);
        if (!nx_str_eq(nx_buf_str(&out), quoted))
            fail_msg("%.*s, expected %.*s", NX_STR_ARGS(nx_buf_str(&out)), NX_STR_ARGS(quoted));
        checked++;
    }
    assert_true(checked > 100);
    nx_buf_deinit(&file);
    nx_buf_deinit(&bytes);
    nx_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_print_both_forms),
        cmocka_unit_test(test_labels_quoting_equals_the_golden_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
