/* parse_support.h - what the tests of the PromQL front end share: cmocka in the order that it needs; parse, print,
 * complain. */
#pragma once

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/promql/parse.h"
#include "narthex/promql/print.h"

extern const struct parse_options parse_everything; /* all experimental syntax allowed */
extern const struct parse_options parse_stable;     /* none of it */

/* A parsed expression and all that it needs. */
struct parsed {
    struct arena arena;
    struct ast_node *root; /* NULL when it did not parse */
    struct nx_err err;     /* why */
    nx_code code;
};
struct parsed parsed_begin(const char *text);
struct parsed parsed_begin_with(struct nx_str text, const struct parse_options *options);
void parsed_end(struct parsed *parsed);

/* `text` parses and prints as `printed`, which in turn parses and prints as itself. */
void assert_prints(const char *text, const char *printed);
/* `text` is refused with `message`, position included. */
void assert_refused(const char *text, const char *message);
void assert_refused_with(const char *text, const struct parse_options *options,
                         const char *message);

/* `text` parses to a tree of this shape: operators first, in parentheses: (+ a (* b 2)). Leaves as printed. */
void assert_shape(const char *text, const char *shape);

/* Prints `text` reparsed from its own print and compares. Returns NULL, or what went wrong in `problem`. */
const char *round_trip_problem(struct nx_str text, char *problem, size_t problem_bytes);
