/* SPDX-License-Identifier: Apache-2.0 */
/* test_matcher.c - conditions, with sets and prefixes giving the same answers as the regex itself. */
#include "narthex/base/regex.h"
#include "narthex/model/matcher.h"

#include "model_support.h"

static struct matcher make(enum matcher_type type, const char *name, const char *value)
{
    struct matcher matcher;
    struct nx_err err = {0};
    if (matcher_init(&matcher, type, nx_str_from(name), nx_str_from(value), &err) != NX_OK)
        fail_msg("%s: %s", value, err.msg);
    return matcher;
}

static bool answers(enum matcher_type type, const char *pattern, const char *value)
{
    struct matcher matcher = make(type, "n", pattern);
    bool yes = matcher_matches(&matcher, nx_str_from(value));
    matcher_deinit(&matcher);
    return yes;
}

static void test_matcher_four_conditions(void **state)
{
    (void)state;
    assert_true(answers(MATCHER_EQUAL, "a", "a"));
    assert_false(answers(MATCHER_EQUAL, "a", "ab"));
    assert_true(answers(MATCHER_NOT_EQUAL, "a", "b"));
    assert_false(answers(MATCHER_NOT_EQUAL, "a", "a"));
    assert_true(answers(MATCHER_REGEX, "a.*", "abc"));
    assert_false(answers(MATCHER_REGEX, "a.*", "xabc"));
    assert_true(answers(MATCHER_NOT_REGEX, "a.*", "xabc"));
    assert_false(answers(MATCHER_NOT_REGEX, "a.*", "a\nb"));
}

static void test_matcher_absent_label_is_the_empty_value(void **state)
{
    (void)state;
    static const struct {
        enum matcher_type type;
        const char *value;
        bool matches_empty;
    } cases[] = {
        {MATCHER_EQUAL, "", true},        {MATCHER_EQUAL, "x", false},
        {MATCHER_NOT_EQUAL, "", false},   {MATCHER_NOT_EQUAL, "x", true},
        {MATCHER_REGEX, ".*", true},      {MATCHER_REGEX, ".+", false},
        {MATCHER_REGEX, "a|", true},      {MATCHER_NOT_REGEX, ".+", true},
        {MATCHER_NOT_REGEX, "a?", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct matcher matcher = make(cases[i].type, "n", cases[i].value);
        assert_int_equal(matcher_matches_empty(&matcher), cases[i].matches_empty);
        assert_int_equal(matchers_match(&matcher, 1, (struct labels){0}), cases[i].matches_empty);
        matcher_deinit(&matcher);
    }
}

static void test_matcher_sets_and_prefixes_are_recognised(void **state)
{
    (void)state;
    struct matcher matcher = make(MATCHER_REGEX, "n", "b|a|c(d|e)");
    assert_int_equal(matcher.set_count, 4);
    assert_true(nx_str_eq(matcher.set[0], NX_STR("a")));
    assert_true(nx_str_eq(matcher.set[3], NX_STR("ce")));
    matcher_deinit(&matcher);
    assert_null(matcher.regex);
    matcher_deinit(&matcher);
    matcher = make(MATCHER_NOT_REGEX, "n", "prod-.+");
    assert_null(matcher.set);
    assert_true(nx_str_eq(matcher.prefix, NX_STR("prod-")));
    matcher_deinit(&matcher);
    matcher = make(MATCHER_EQUAL, "n", "a|b");
    assert_null(matcher.set);
    assert_null(matcher.regex);
    matcher_deinit(&matcher);
}

static void test_matcher_agrees_with_the_regex_alone(void **state)
{
    (void)state;
    static const char *const patterns[] = {"",       "a",    "a|b",   "ab?",    "(a|b)(b|c)?",
                                           ".*",     ".+",   "a.*",   ".*b",    "[abc]",
                                           "[^a]b*", "a+|b", "(?i)a", "^ab$|c", "a{2,}",
                                           "ab|a.",  "\\w+", "(ab)*", "b|",     "a$|^b"};
    static const char alphabet[] = "abcA";
    for (size_t p = 0; p < sizeof(patterns) / sizeof(patterns[0]); p++) {
        struct matcher yes = make(MATCHER_REGEX, "n", patterns[p]);
        struct matcher no = make(MATCHER_NOT_REGEX, "n", patterns[p]);
        for (size_t number = 0; number < 4 * 4 * 4 * 4; number++) {
            for (size_t len = 0; len <= 4; len++) {
                char text[4];
                for (size_t i = 0; i < len; i++)
                    text[i] = alphabet[number >> (2 * i) & 3];
                struct nx_str value = {.data = text, .len = len};
                bool expected = regex_matches(yes.regex, value);
                assert_int_equal(matcher_matches(&yes, value), expected);
                assert_int_equal(matcher_matches(&no, value), !expected);
            }
        }
        matcher_deinit(&yes);
        matcher_deinit(&no);
    }
}

static void test_matcher_all_conditions_must_hold(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct labels labels = test_labels(&arena, "__name__=up,job=node");
    struct matcher matchers[] = {make(MATCHER_EQUAL, "__name__", "up"),
                                 make(MATCHER_REGEX, "job", "n.*"),
                                 make(MATCHER_NOT_EQUAL, "instance", "x")};
    assert_true(matchers_match(matchers, 3, labels));
    assert_true(matchers_match(matchers, 0, labels));
    matcher_deinit(&matchers[2]);
    matchers[2] = make(MATCHER_NOT_EQUAL, "instance", "");
    assert_false(matchers_match(matchers, 3, labels));
    for (size_t i = 0; i < 3; i++)
        matcher_deinit(&matchers[i]);
    arena_deinit(&arena);
}

static void test_matcher_bad_regex_is_refused(void **state)
{
    (void)state;
    struct matcher matcher;
    struct nx_err err = {0};
    assert_int_equal(matcher_init(&matcher, MATCHER_REGEX, NX_STR("n"), NX_STR("a("), &err),
                     NX_E_INVALID);
    assert_string_equal(err.msg, "error parsing regexp: missing closing ): `a(`");
    assert_int_equal(matcher_init(&matcher, MATCHER_EQUAL, NX_STR("n"), NX_STR("a("), &err), NX_OK);
    matcher_deinit(&matcher);
}

static void test_matcher_prints_as_a_selector(void **state)
{
    (void)state;
    struct nx_buf out = {0};
    struct matcher matcher = make(MATCHER_NOT_REGEX, "job", "a\"b.*");
    matcher_print(&matcher, &out);
    test_assert_buf(&out, "job!~\"a\\\"b.*\"");
    matcher_deinit(&matcher);
    matcher = make(MATCHER_EQUAL, "a.b", "x");
    matcher_print(&matcher, &out);
    test_assert_buf(&out, "\"a.b\"=\"x\"");
    matcher_deinit(&matcher);
    assert_string_equal(matcher_type_text(MATCHER_NOT_EQUAL), "!=");
    assert_string_equal(matcher_type_text(MATCHER_REGEX), "=~");
    nx_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matcher_four_conditions),
        cmocka_unit_test(test_matcher_absent_label_is_the_empty_value),
        cmocka_unit_test(test_matcher_sets_and_prefixes_are_recognised),
        cmocka_unit_test(test_matcher_agrees_with_the_regex_alone),
        cmocka_unit_test(test_matcher_all_conditions_must_hold),
        cmocka_unit_test(test_matcher_bad_regex_is_refused),
        cmocka_unit_test(test_matcher_prints_as_a_selector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
