/* eval_functions.h - declares eval_<name> for every row of functions.def, for the files that define them. */
#pragma once

#include "eval_internal.h"

#define FUNCTION(name, args, variadic, returns, stability, eval)                                   \
 extern const struct eval_function eval_##name;
#include "narthex/promql/functions.def"
#undef FUNCTION
