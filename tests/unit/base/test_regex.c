/* SPDX-License-Identifier: Apache-2.0 */
/* test_regex.c - Prometheus' dialect, groups, refusals. */
#include "narthex/base/regex.h"

#include "base_support.h"

#include <string.h>

static struct regex *compile(const char *pattern)
{
    struct regex *regex = NULL;
    struct nx_err err = {0};
    if (regex_compile(&regex, nx_str_from(pattern), &err) != NX_OK)
        fail_msg("%s: %s", pattern, err.msg);
    return regex;
}

static bool matches(const char *pattern, struct nx_str text)
{
    struct regex *regex = compile(pattern);
    bool answer = regex_matches(regex, text);
    regex_free(regex);
    return answer;
}

static void test_regex_is_anchored_at_both_ends(void **state)
{
    (void)state;
    assert_true(matches("foo", NX_STR("foo")));
    assert_false(matches("foo", NX_STR("foobar")));
    assert_false(matches("foo", NX_STR("a foo")));
    assert_true(matches("a|ab", NX_STR("ab")));
    assert_false(matches("a|b", NX_STR("ab")));
    assert_true(matches("^foo$", NX_STR("foo")));
    assert_true(matches("", NX_STR("")));
    assert_true(matches("", (struct nx_str){0}));
    assert_false(matches("", NX_STR("x")));
}

static void test_regex_dot_matches_newline_and_characters(void **state)
{
    (void)state;
    assert_true(matches("a.b", NX_STR("a\nb")));
    assert_true(matches("a.b", NX_STR("a\xc3\xa9"
                                      "b")));
    assert_true(matches(".*", NX_STR("")));
    assert_false(matches("foo$", NX_STR("foo\n")));
    assert_true(matches("(?i)FOO", NX_STR("foo")));
    assert_true(matches("\\p{Greek}+", NX_STR("\xce\xb1\xce\xb2")));
    assert_true(matches("[[:digit:]]{2}", NX_STR("42")));
    struct nx_str with_nul = {.data = "a\0b", .len = 3};
    assert_true(matches("a.b", with_nul));
}

static void test_regex_takes_any_bytes_as_text(void **state)
{
    (void)state;
    struct regex *regex = compile("(.*)x(.*)");
    char text[3] = {0};
    struct nx_str groups[3];
    for (int a = 0; a < 256; a += 3) {
        for (int b = 0; b < 256; b += 5) {
            text[0] = (char)a;
            text[1] = (char)b;
            text[2] = 'x';
            struct nx_str s = {.data = text, .len = 3};
            bool yes = regex_matches(regex, s);
            assert_int_equal(yes, regex_match_groups(regex, s, groups, 3));
            if (!nx_utf8_is_valid(s))
                assert_false(yes);
            else
                assert_true(yes);
        }
    }
    regex_free(regex);
}

static void test_regex_groups_are_views_of_the_text(void **state)
{
    (void)state;
    struct regex *regex = compile("(?P<scheme>[a-z]+)://([^:/]+)(:([0-9]+))?(/.*)?");
    assert_int_equal(regex_group_count(regex), 5);
    test_assert_str(regex_group_name(regex, 1), "scheme");
    assert_null(regex_group_name(regex, 2).data);
    assert_null(regex_group_name(regex, 0).data);
    assert_null(regex_group_name(regex, 6).data);
    struct nx_str text = NX_STR("http://host/path");
    struct nx_str groups[8];
    assert_true(regex_match_groups(regex, text, groups, 8));
    test_assert_str(groups[0], "http://host/path");
    test_assert_str(groups[1], "http");
    test_assert_str(groups[2], "host");
    assert_null(groups[3].data);
    assert_null(groups[4].data);
    test_assert_str(groups[5], "/path");
    assert_null(groups[6].data);
    assert_null(groups[7].data);
    assert_ptr_equal(groups[2].data, text.data + 7);
    assert_true(regex_match_groups(regex, text, groups, 1));
    assert_false(regex_match_groups(regex, NX_STR("nothing"), groups, 8));
    regex_free(regex);
    regex = compile("(a*)(b)?");
    assert_true(regex_match_groups(regex, (struct nx_str){0}, groups, 3));
    assert_non_null(groups[1].data);
    assert_int_equal(groups[1].len, 0);
    assert_null(groups[2].data);
    regex_free(regex);
}

static void test_regex_go_s_second_form_of_named_groups_is_understood(void **state)
{
    (void)state;
    struct regex *regex = compile("(?<first>a)[(?<](?P<second>b)\\(\\?<");
    test_assert_str(regex_group_name(regex, 1), "first");
    test_assert_str(regex_group_name(regex, 2), "second");
    assert_true(regex_matches(regex, NX_STR("a?b(?<")));
    assert_true(regex_matches(regex, NX_STR("a<b(?<")));
    regex_free(regex);
    assert_true(matches("\\Q(?<x>\\E", NX_STR("(?<x>")));
    assert_true(matches("[]x(?<]+", NX_STR("](?<x")));
    assert_true(matches("[^]x]+", NX_STR("ab")));
    assert_true(matches("[[:alpha:](?<]+", NX_STR("a(?<")));
}

static void assert_refused(const char *pattern)
{
    struct regex *regex = NULL;
    struct nx_err err = {0};
    if (regex_compile(&regex, nx_str_from(pattern), &err) != NX_E_INVALID)
        fail_msg("%s was compiled", pattern);
    assert_null(regex);
    assert_true(strncmp(err.msg, "error parsing regexp: ", 22) == 0);
    assert_true(strlen(err.msg) > 22);
}

static void test_regex_bad_patterns_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const bad[] = {"(",       ")",      "a)(b",    "[",     "[b-a]",
                                      "*",       "a**",    "\\",      "\\8",   "\\C",
                                      "a{1001}", "(?P<n>", "(?<=x)y", "(?!x)", "\xff"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(bad[i]);
}

static void test_regex_reasons_are_in_go_s_words(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"a(b", "missing closing ): `a(b`"},
        {"a)b", "unexpected ): `a)b`"},
        {"[a", "missing closing ]: `[a`"},
        {"*", "missing argument to repetition operator: `*`"},
        {"a**", "invalid nested repetition operator: `**`"},
        {"[b-a]", "invalid character class range: `b-a`"},
        {"a{1001}", "invalid repeat count: `{1001}`"},
        {"\\8", "invalid escape sequence: `\\8`"},
        {"\\C", "invalid escape sequence: `\\C`"},
        {"(?!x)", "invalid or unsupported Perl syntax: `(?!`"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct regex *regex = NULL;
        struct nx_err err = {0};
        assert_int_equal(regex_compile(&regex, nx_str_from(pairs[i][0]), &err), NX_E_INVALID);
        assert_string_equal(err.msg + strlen("error parsing regexp: "), pairs[i][1]);
    }
}

static void test_regex_too_large_to_compile_is_refused(void **state)
{
    (void)state;
    assert_refused("((((a{100}){10}){10}){10}){10}");
    assert_refused("(\\pL{500}\\pL{500}){1000}");
}

static void test_regex_many_groups_are_cut_not_overrun(void **state)
{
    (void)state;
    struct nx_buf pattern = {0};
    for (int i = 0; i < 150; i++)
        nx_buf_append_cstr(&pattern, "(a)");
    nx_buf_append_byte(&pattern, 0);
    struct regex *regex = compile((const char *)pattern.data);
    assert_int_equal(regex_group_count(regex), 150);
    char text[150];
    memset(text, 'a', sizeof(text));
    static struct nx_str groups[200];
    assert_true(regex_match_groups(regex, (struct nx_str){.data = text, .len = 150}, groups, 200));
    test_assert_str(groups[99], "a");
    assert_null(groups[100].data);
    assert_null(groups[199].data);
    regex_free(regex);
    nx_buf_deinit(&pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex_is_anchored_at_both_ends),
        cmocka_unit_test(test_regex_dot_matches_newline_and_characters),
        cmocka_unit_test(test_regex_takes_any_bytes_as_text),
        cmocka_unit_test(test_regex_groups_are_views_of_the_text),
        cmocka_unit_test(test_regex_go_s_second_form_of_named_groups_is_understood),
        cmocka_unit_test(test_regex_bad_patterns_are_refused_with_a_reason),
        cmocka_unit_test(test_regex_reasons_are_in_go_s_words),
        cmocka_unit_test(test_regex_too_large_to_compile_is_refused),
        cmocka_unit_test(test_regex_many_groups_are_cut_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
