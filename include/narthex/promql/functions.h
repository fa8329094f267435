/* functions.h - the table of PromQL functions, from functions.def.
 *
 * A row: FUNCTION(name, "args", variadic, returns, EXPERIMENTAL or STABLE, eval). `args` has one letter per declared
 * argument: v instant vector, m range vector, s scalar, t string. `variadic`: 0 takes exactly the declared ones; n > 0
 * takes from one less than declared up to n - 1 more, so that 1 makes the last one optional; -1 has no upper bound.
 * Arguments beyond the declared ones have the type of the last.
 * `eval` is how eval_call.c computes it: &eval_<name of a row>, or NULL while the function is known but not evaluated,
 * when a query that uses it is answered NX_E_UNSUPPORTED with its name.
 */
#pragma once

#include "narthex/base/str.h"
#include "narthex/promql/ast.h"

#include <stdbool.h>

struct eval_function; /* eval_internal.h */

struct function {
    const char *name;
    const char *args;
    int variadic;
    enum value_type returns;
    bool is_experimental;
    const struct eval_function *eval;
};

const struct function *function_find(struct nx_str name); /* NULL: no such function */
const struct function *
functions_all(size_t *out_count); /* for the features page and for messages */
enum value_type function_arg_type(const struct function *function, size_t index);
