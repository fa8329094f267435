/* print.h - an expression back to text: the normal form that rules, logs and the query API show.
 *
 * Layer    promql.   Source  Prometheus 3.14 promql/parser/printer.go.
 * Promise  parsing what is printed gives the same tree, positions aside.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/promql/ast.h"

/* Appends the text of `node`. */
void promql_print(const struct ast_node *node, struct nx_buf *out);

/* Parts of it, for annotations: " on (a, b) group_left (c)" with its leading space. */
void promql_print_matching(const struct ast_matching *matching, struct nx_buf *out);
