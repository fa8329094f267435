/* SPDX-License-Identifier: Apache-2.0 */
/* functions.c - the table of functions, made from functions.def, and the search in it.
 *
 * The rows are sorted by name, so that a name is found by halving; a unit test holds the order.
 */
#include "narthex/promql/functions.h"

#include "narthex/base/assert.h"

#include "eval_functions.h"

#define STABLE       false
#define EXPERIMENTAL true
#define FUNCTION(name, args, variadic, returns, stability, eval)                                   \
 {#name, (args), (variadic), VALUE_TYPE_##returns, (stability), (eval)},

static const struct function functions[] = {
#include "narthex/promql/functions.def"
};

#undef FUNCTION

const struct function *function_find(struct nx_str name)
{
    size_t low = 0;
    size_t high = NX_ARRAY_LEN(functions);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = nx_str_cmp(name, nx_str_from(functions[middle].name));
        if (order == 0)
            return &functions[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct function *functions_all(size_t *out_count)
{
    *out_count = NX_ARRAY_LEN(functions);
    return functions;
}

enum value_type function_arg_type(const struct function *function, size_t index)
{
    size_t declared = strlen(function->args);
    if (declared == 0)
        return VALUE_TYPE_NONE;
    switch (function->args[index < declared ? index : declared - 1]) {
    case 'v':
        return VALUE_TYPE_VECTOR;
    case 'm':
        return VALUE_TYPE_MATRIX;
    case 's':
        return VALUE_TYPE_SCALAR;
    case 't':
        return VALUE_TYPE_STRING;
    default:
        NX_ASSERT(false && "a letter of functions.def is one of v m s t");
        return VALUE_TYPE_NONE;
    }
}
