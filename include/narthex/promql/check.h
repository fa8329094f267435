/* check.h - whether the parts of a parsed expression fit together.
 *
 * Layer    promql.   Source  Prometheus 3.14 promql/parser/parse.go (checkAST).
 * Use      promql_parse calls it; nobody else needs to.
 */
#pragma once

#include "narthex/promql/ast.h"

/* Types of operands and arguments, number of arguments, modifiers of operators, selectors that would select all.
 * Settles two things in place: set operators match many to many, and an operator without vectors on both sides has no
 * matching. `text` is for positions. NX_E_INVALID with the first problem in Prometheus' order and words. */
NX_NODISCARD nx_code promql_check(struct ast_node *root, struct nx_str text, struct nx_err *err);
