/* SPDX-License-Identifier: Apache-2.0 */
/* parse_support.c - parse, print, complain. */
#include "parse_support.h"

#include <stdio.h>

const struct parse_options parse_everything = {
    .allow_experimental_functions = true,
    .allow_extended_range_selectors = true,
    .allow_fill_modifiers = true,
};
const struct parse_options parse_stable = {0};

struct parsed parsed_begin_with(struct nx_str text, const struct parse_options *options)
{
    struct parsed parsed = {0};
    arena_init(&parsed.arena, 0);
    parsed.code = promql_parse(text, options, &parsed.arena, &parsed.root, &parsed.err);
    return parsed;
}

struct parsed parsed_begin(const char *text)
{
    return parsed_begin_with(nx_str_from(text), &parse_everything);
}

void parsed_end(struct parsed *parsed)
{
    ast_deinit(parsed->root);
    arena_deinit(&parsed->arena);
}

static void print_to(struct nx_str text, struct nx_buf *out)
{
    struct parsed parsed = parsed_begin_with(text, &parse_everything);
    if (parsed.root == NULL)
        fail_msg("%.*s: %s", NX_STR_ARGS(text), parsed.err.msg);
    promql_print(parsed.root, out);
    nx_buf_append_byte(out, '\0');
    out->len--;
    parsed_end(&parsed);
}

void assert_prints(const char *text, const char *printed)
{
    struct nx_buf first = {0};
    struct nx_buf second = {0};
    print_to(nx_str_from(text), &first);
    assert_string_equal((const char *)first.data, printed);
    print_to(nx_buf_str(&first), &second);
    assert_string_equal((const char *)second.data, printed);
    nx_buf_deinit(&first);
    nx_buf_deinit(&second);
}

void assert_refused_with(const char *text, const struct parse_options *options, const char *message)
{
    struct parsed parsed = parsed_begin_with(nx_str_from(text), options);
    if (parsed.root != NULL)
        fail_msg("accepted: %s", text);
    if (strcmp(parsed.err.msg, message) != 0)
        fail_msg("%s\n  says   %s\n  wanted %s", text, parsed.err.msg, message);
    assert_int_equal(parsed.code, NX_E_INVALID);
    parsed_end(&parsed);
}

void assert_refused(const char *text, const char *message)
{
    assert_refused_with(text, &parse_everything, message);
}

static void shape_to(const struct ast_node *node, struct nx_buf *out)
{
    switch ((int)node->kind) {
    case AST_BINARY:
        nx_buf_printf(out, "(%s ", ast_op_text(node->u.binary.op));
        shape_to(node->u.binary.left, out);
        nx_buf_append_byte(out, ' ');
        shape_to(node->u.binary.right, out);
        nx_buf_append_byte(out, ')');
        break;
    case AST_UNARY:
        nx_buf_append_cstr(out, node->u.unary.is_negative ? "(neg " : "(pos ");
        shape_to(node->u.unary.expr, out);
        nx_buf_append_byte(out, ')');
        break;
    case AST_PAREN:
        nx_buf_append_cstr(out, "(paren ");
        shape_to(node->u.paren.expr, out);
        nx_buf_append_byte(out, ')');
        break;
    default:
        promql_print(node, out);
        break;
    }
}

void assert_shape(const char *text, const char *shape)
{
    struct nx_buf buf = {0};
    struct parsed parsed = parsed_begin(text);
    if (parsed.root == NULL)
        fail_msg("%s: %s", text, parsed.err.msg);
    shape_to(parsed.root, &buf);
    nx_buf_append_byte(&buf, '\0');
    assert_string_equal((const char *)buf.data, shape);
    nx_buf_deinit(&buf);
    parsed_end(&parsed);
}

const char *round_trip_problem(struct nx_str text, char *problem, size_t problem_bytes)
{
    struct nx_buf first = {0};
    struct nx_buf second = {0};
    const char *outcome = NULL;

    struct parsed parsed = parsed_begin_with(text, &parse_everything);
    struct parsed again = {0};
    if (parsed.root == NULL) {
        (void)snprintf(problem, problem_bytes, "does not parse: %s", parsed.err.msg);
        outcome = problem;
        goto done;
    }
    promql_print(parsed.root, &first);
    again = parsed_begin_with(nx_buf_str(&first), &parse_everything);
    if (again.root == NULL) {
        (void)snprintf(problem, problem_bytes, "its print does not parse: %s: %.*s", again.err.msg,
                       NX_STR_ARGS(nx_buf_str(&first)));
        outcome = problem;
        goto done;
    }
    promql_print(again.root, &second);
    if (!nx_str_eq(nx_buf_str(&first), nx_buf_str(&second))) {
        (void)snprintf(problem, problem_bytes, "prints as %.*s, and that as %.*s",
                       NX_STR_ARGS(nx_buf_str(&first)), NX_STR_ARGS(nx_buf_str(&second)));
        outcome = problem;
    }

done:
    parsed_end(&parsed);
    parsed_end(&again);
    nx_buf_deinit(&first);
    nx_buf_deinit(&second);
    return outcome;
}
