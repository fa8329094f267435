/* SPDX-License-Identifier: Apache-2.0 */
/* test_regex_literals.c - the analysis of patterns: known answers, and random patterns judged by RE2.
 *
 * A set is right when exactly its strings match; RE2 cannot list a language, so the random test works over a tiny
 * alphabet and tries every short text.
 */
#include "narthex/base/rand.h"
#include "narthex/base/regex.h"

#include "base_support.h"

#include <string.h>

/* The set as a,b,c or "-" when there is none. */
static void assert_analysis(const char *pattern, const char *set, const char *prefix)
{
    struct regex *regex = NULL;
    struct nx_err err = {0};
    if (regex_compile(&regex, nx_str_from(pattern), &err) != NX_OK)
        fail_msg("%s: %s", pattern, err.msg);
    const struct nx_str *strings = NULL;
    size_t count = regex_literals(regex, &strings);
    struct nx_buf text = {0};
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            nx_buf_append_byte(&text, ',');
        nx_buf_append_str(&text, strings[i]);
    }
    if (count == 0)
        nx_buf_append_byte(&text, '-');
    nx_buf_append_byte(&text, 0);
    if (strcmp((const char *)text.data, set) != 0)
        fail_msg("%s: set %s, expected %s", pattern, (const char *)text.data, set);
    if (!nx_str_eq(regex_prefix(regex), nx_str_from(prefix)))
        fail_msg("%s: prefix %.*s, expected %s", pattern, NX_STR_ARGS(regex_prefix(regex)), prefix);
    nx_buf_deinit(&text);
    regex_free(regex);
}

static void test_regex_literals_of_finite_patterns(void **state)
{
    (void)state;
    assert_analysis("foo", "foo", "foo");
    assert_analysis("b|a|b", "a,b", "");
    assert_analysis("foo|foobar", "foo,foobar", "foo");
    assert_analysis("(?:foo|bar)baz", "barbaz,foobaz", "");
    assert_analysis("x(a|b)(c|d)y", "xacy,xady,xbcy,xbdy", "x");
    assert_analysis("(?P<n>a|b)", "a,b", "");
    assert_analysis("ab?", "a,ab", "a");
    assert_analysis("ab??c", "abc,ac", "a");
    assert_analysis("[ba]c", "ac,bc", "");
    assert_analysis("a|", ",a", "");
    assert_analysis("", "", "");
    assert_analysis("()", "", "");
    assert_analysis("10\\.0\\.0\\.1:9100", "10.0.0.1:9100", "10.0.0.1:9100");
    assert_analysis("^foo$|^bar$", "bar,foo", "");
    assert_analysis("\xc3\xa9?x", "x,\xc3\xa9x", "");
    assert_analysis("a\\nb", "a\nb", "a\nb");
    assert_analysis("a-b_c/d", "a-b_c/d", "a-b_c/d");
}

static void test_regex_literals_are_none_for_infinite_patterns(void **state)
{
    (void)state;
    assert_analysis(".*", "-", "");
    assert_analysis("foo.*", "-", "foo");
    assert_analysis("foo.+bar", "-", "foo");
    assert_analysis("ab*", "-", "a");
    assert_analysis("ab+", "-", "ab");
    assert_analysis("(ab)+c", "-", "ab");
    assert_analysis("ab{0,3}", "-", "a");
    assert_analysis("ab{2}", "-", "ab");
    assert_analysis("node-[0-9]+", "-", "node-");
    assert_analysis("node[^a]", "-", "node");
    assert_analysis("a\\d", "-", "a");
    assert_analysis("a\\pLb", "-", "a");
    assert_analysis("a\\p{Greek}b", "-", "a");
    assert_analysis("prod-a.*|prod-b.*", "-", "prod-");
    assert_analysis("a[|)]x|ab.", "-", "a");
    assert_analysis("a[[:alpha:]]|ab", "-", "a");
    assert_analysis("a$b", "-", "a");
    assert_analysis("a\\b", "-", "a");
}

static void test_regex_literals_give_up_where_the_meaning_is_not_plain(void **state)
{
    (void)state;
    assert_analysis("(?i)foo", "-", "");
    assert_analysis("(?i:foo)", "-", "");
    assert_analysis("foo(?i)bar", "-", "");
    assert_analysis("(?s).x", "-", "");
    assert_analysis("\\Qa.b\\E", "-", "");
    assert_analysis("\\x41", "-", "");
    assert_analysis("a{", "-", "");
}

static void test_regex_literals_are_limited(void **state)
{
    (void)state;
    struct nx_buf pattern = {0};
    nx_buf_append_cstr(&pattern, "x(");
    for (int i = 0; i < REGEX_LITERALS_MAX; i++)
        nx_buf_printf(&pattern, "%s%04d", i == 0 ? "" : "|", i);
    nx_buf_append_cstr(&pattern, ")");
    struct regex *regex = NULL;
    struct nx_err err = {0};
    const struct nx_str *set = NULL;
    assert_int_equal(regex_compile(&regex, nx_buf_str(&pattern), &err), NX_OK);
    assert_int_equal(regex_literals(regex, &set), REGEX_LITERALS_MAX);
    test_assert_str(set[REGEX_LITERALS_MAX - 1], "x4095");
    regex_free(regex);
    pattern.len--;
    nx_buf_append_cstr(&pattern, "|4096)");
    assert_int_equal(regex_compile(&regex, nx_buf_str(&pattern), &err), NX_OK);
    assert_int_equal(regex_literals(regex, &set), 0);
    test_assert_str(regex_prefix(regex), "x");
    regex_free(regex);
    nx_buf_deinit(&pattern);
    /* 3^20 strings: recognised as too many before they are built. */
    nx_buf_append_cstr(&pattern, "q");
    for (int i = 0; i < 20; i++)
        nx_buf_append_cstr(&pattern, "[abc]");
    assert_int_equal(regex_compile(&regex, nx_buf_str(&pattern), &err), NX_OK);
    assert_int_equal(regex_literals(regex, &set), 0);
    test_assert_str(regex_prefix(regex), "q");
    regex_free(regex);
    nx_buf_deinit(&pattern);
}

/* A random pattern of pieces that mean something, joined without regard for sense. */
static void random_pattern(struct rand_state *rand, struct nx_buf *out)
{
    static const char *const pieces[] = {
        "a",    "b",    "c",     "a",    "b",       "|",     "|",    "(",     "(?:",    ")",
        ")",    "?",    "*",     "+",    "??",      "{2}",   "{0}",  "{0,1}", "[ab]",   "[a]",
        "[^a]", "[]a]", "[a-c]", ".",    "^",       "$",     "\\.",  "\\b",   "(?P<n>", "{",
        "}",    "]",    "\\w",   "(?i)", "\\Qa\\E", "[a|b]", "[(c]", "-"};
    nx_buf_reset(out);
    size_t length = 1 + rand_below(rand, 9);
    for (size_t i = 0; i < length; i++)
        nx_buf_append_cstr(out, pieces[rand_below(rand, sizeof(pieces) / sizeof(pieces[0]))]);
}

static bool is_in(const struct nx_str *set, size_t count, struct nx_str text)
{
    for (size_t i = 0; i < count; i++) {
        if (nx_str_eq(set[i], text))
            return true;
    }
    return false;
}

/* Every text of up to four characters of the alphabet: in the set iff it matches, with the prefix if it matches. */
static void check_all_texts(const struct regex *regex, struct nx_str pattern)
{
    static const char alphabet[] = "abc.-B";
    const struct nx_str *set = NULL;
    size_t count = regex_literals(regex, &set);
    for (size_t i = 0; i < count; i++) {
        if (!regex_matches(regex, set[i]))
            fail_msg("%.*s does not match %.*s of its set", NX_STR_ARGS(pattern),
                     NX_STR_ARGS(set[i]));
        if (i > 0)
            assert_true(nx_str_cmp(set[i - 1], set[i]) < 0);
    }
    size_t base = sizeof(alphabet) - 1;
    size_t total = 1;
    for (size_t len = 0; len <= 4; len++, total *= base) {
        for (size_t number = 0; number < total; number++) {
            char text[4];
            size_t rest = number;
            for (size_t i = 0; i < len; i++, rest /= base)
                text[i] = alphabet[rest % base];
            struct nx_str s = {.data = text, .len = len};
            bool yes = regex_matches(regex, s);
            if (count > 0 && yes != is_in(set, count, s))
                fail_msg("%.*s: set and RE2 differ on %.*s", NX_STR_ARGS(pattern), NX_STR_ARGS(s));
            if (yes && !nx_str_starts_with(s, regex_prefix(regex)))
                fail_msg("%.*s: %.*s matches without the prefix", NX_STR_ARGS(pattern),
                         NX_STR_ARGS(s));
        }
    }
}

static void test_regex_literals_of_random_patterns_agree_with_re2(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 31);
    struct nx_buf pattern = {0};
    int compiled = 0;
    int with_set = 0;
    int with_prefix = 0;
    for (int i = 0; i < 6000; i++) {
        random_pattern(&rand, &pattern);
        struct regex *regex = NULL;
        struct nx_err err = {0};
        if (regex_compile(&regex, nx_buf_str(&pattern), &err) != NX_OK)
            continue;
        compiled++;
        const struct nx_str *set = NULL;
        with_set += regex_literals(regex, &set) > 0;
        with_prefix += regex_prefix(regex).len > 0;
        check_all_texts(regex, nx_buf_str(&pattern));
        regex_free(regex);
    }
    assert_true(compiled > 1500 && with_set > 300 && with_prefix > 300);
    nx_buf_deinit(&pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex_literals_of_finite_patterns),
        cmocka_unit_test(test_regex_literals_are_none_for_infinite_patterns),
        cmocka_unit_test(test_regex_literals_give_up_where_the_meaning_is_not_plain),
        cmocka_unit_test(test_regex_literals_are_limited),
        cmocka_unit_test(test_regex_literals_of_random_patterns_agree_with_re2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
