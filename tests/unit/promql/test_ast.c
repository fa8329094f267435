/* SPDX-License-Identifier: Apache-2.0 */
/* test_ast.c - walking a tree, and durations that depend on the query. */
#include "parse_support.h"

#include <stdio.h>

static void collect(void *context, struct ast_node *node)
{
    struct nx_buf *out = context;
    nx_buf_printf(out, "%u ", node->pos.start);
}

static void test_ast_walk_visits_parents_first_and_left_before_right(void **state)
{
    (void)state;
    struct nx_buf visits = {0};
    /*                                   0123456789012345678901234567890123456789 */
    struct parsed parsed = parsed_begin("topk(1, -abs(a)) + (rate(b[step()]) * 2)");
    assert_non_null(parsed.root);
    ast_walk(parsed.root, collect, &visits);
    nx_buf_append_byte(&visits, '\0');
    /* +, topk, 1, -, abs, a; paren, *, rate, b[...], b, step(), 2 */
    assert_string_equal((const char *)visits.data, "0 0 5 8 9 13 19 20 20 25 25 27 38 ");
    nx_buf_deinit(&visits);
    parsed_end(&parsed);
}

static void test_ast_walk_and_deinit_of_a_high_tree(void **state)
{
    (void)state;
    struct nx_buf text = {0};
    struct nx_buf visits = {0};
    nx_buf_append_cstr(&text, "{a=~\"x.*\"}");
    for (int i = 0; i < 12000; i++)
        nx_buf_append_cstr(&text, "-b");
    struct parsed parsed = parsed_begin_with(nx_buf_str(&text), &parse_everything);
    assert_non_null(parsed.root);
    ast_walk(parsed.root, collect, &visits);
    assert_true(visits.len > 24000);
    parsed_end(&parsed);
    nx_buf_deinit(&visits);
    nx_buf_deinit(&text);
    ast_deinit(NULL);
}

static void test_ast_unwrap_parens(void **state)
{
    (void)state;
    struct parsed parsed = parsed_begin("((a))");
    assert_int_equal(ast_unwrap_parens(parsed.root)->kind, AST_VECTOR_SELECTOR);
    parsed_end(&parsed);
}

/* The range of `text` in an instant or range query; the message when it has none. */
static void assert_range(const char *text, int64_t step_ms, int64_t range_ms, int64_t expected)
{
    struct nx_err err;
    struct parsed parsed = parsed_begin(text);
    assert_non_null(parsed.root);
    if (ast_resolve_durations(parsed.root, step_ms, range_ms, &err) != NX_OK)
        fail_msg("%s: %s", text, err.msg);
    assert_int_equal(parsed.root->u.matrix.range.ms, expected);
    parsed_end(&parsed);
}

static void assert_unresolved(const char *text, const char *message)
{
    struct nx_err err;
    struct parsed parsed = parsed_begin(text);
    assert_non_null(parsed.root);
    assert_int_equal(ast_resolve_durations(parsed.root, 0, 0, &err), NX_E_INVALID);
    assert_string_equal(err.msg, message);
    parsed_end(&parsed);
}

static void test_ast_durations_are_computed(void **state)
{
    (void)state;
    assert_range("a[5m]", 0, 0, 300000);
    assert_range("a[24m+((1.5*2m)+2m)]", 0, 0, 1740000);
    assert_range("a[30m1s-30m1s % 1m]", 0, 0, 1800000);
    assert_range("a[0 - -2^2]", 0, 0, 4000);
    assert_range("a[2^3^2*1ms]", 0, 0, 512);
    assert_range("a[7-2-1]", 0, 0, 4000);
    assert_range("a[step()]", 15000, 3600000, 15000);
    assert_range("a[range()/step()]", 15000, 3600000, 240000);
    assert_range("a[max_of(min_of(step()+1,1h),1ms)]", 5000, 10000, 6000);
    assert_range("a[1/3]", 0, 0, 333);
}

static void test_ast_offsets_and_steps_are_computed(void **state)
{
    (void)state;
    struct nx_err err;
    struct parsed parsed = parsed_begin("sum_over_time(a[2*step():step()/2] offset -(step()))");
    assert_non_null(parsed.root);
    assert_int_equal(ast_resolve_durations(parsed.root, 10000, 60000, &err), NX_OK);
    const struct ast_node *subquery = parsed.root->u.call.args[0];
    assert_int_equal(subquery->u.subquery.range.ms, 20000);
    assert_int_equal(subquery->u.subquery.step.ms, 5000);
    assert_int_equal(subquery->u.subquery.modifiers.offset.ms, -10000);
    parsed_end(&parsed);
}

static void test_ast_durations_that_cannot_be(void **state)
{
    (void)state;
    assert_unresolved("a[step()]", "duration must be greater than 0");
    assert_unresolved("a[1m-1m]", "duration must be greater than 0");
    assert_unresolved("a[1m:-(1)]", "duration must be greater than 0");
    assert_unresolved("a[1/step()]", "division by zero");
    assert_unresolved("a[1%range()]", "modulo by zero");
    assert_unresolved("a[1h^20]", "duration is out of range");
    assert_unresolved("a offset (0^-1)", "duration is out of range");
    assert_unresolved("a offset (-(1h^20))", "duration is out of range");
    assert_unresolved("a[max_of((0^-1)-(0^-1), 1h)]", "duration is out of range");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ast_walk_visits_parents_first_and_left_before_right),
        cmocka_unit_test(test_ast_walk_and_deinit_of_a_high_tree),
        cmocka_unit_test(test_ast_unwrap_parens),
        cmocka_unit_test(test_ast_durations_are_computed),
        cmocka_unit_test(test_ast_offsets_and_steps_are_computed),
        cmocka_unit_test(test_ast_durations_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
