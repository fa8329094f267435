/* SPDX-License-Identifier: Apache-2.0 */
/* func_math.c - functions of one number, rounding and clamping, and scalars that are not times.
 *
 * log2 and log10 follow the formulas of the Go library, so that powers of two and ten are exact. The other
 * transcendental functions are libm's: their last bit may differ from Go's.
 */
#include "eval_functions.h"

#include <math.h>

/* Rounded once, from the exact quotients. */
#define ONE_BY_LN2  1.44269504088896340735992468100189214
#define LN2_BY_LN10 0.30102999566398119521373889472449302677

static double map_sgn(double value)
{
    return value < 0 ? -1 : value > 0 ? 1 : value;
}

static double map_deg(double value)
{
    return value * 180 / M_PI;
}

static double map_rad(double value)
{
    return value * M_PI / 180;
}

static double map_log2(double value)
{
    int exponent;
    double fraction = frexp(value, &exponent);
    if (fraction == 0.5)
        return exponent - 1;
    if (!isfinite(value) || value <= 0)
        return log(value);
    return log(fraction) * ONE_BY_LN2 + exponent;
}

static double map_log10(double value)
{
    return map_log2(value) * LN2_BY_LN10;
}

const struct eval_function eval_abs = {.map = fabs};
const struct eval_function eval_ceil = {.map = ceil};
const struct eval_function eval_floor = {.map = floor};
const struct eval_function eval_exp = {.map = exp};
const struct eval_function eval_sqrt = {.map = sqrt};
const struct eval_function eval_ln = {.map = log};
const struct eval_function eval_log2 = {.map = map_log2};
const struct eval_function eval_log10 = {.map = map_log10};
const struct eval_function eval_sgn = {.map = map_sgn};
const struct eval_function eval_sin = {.map = sin};
const struct eval_function eval_cos = {.map = cos};
const struct eval_function eval_tan = {.map = tan};
const struct eval_function eval_asin = {.map = asin};
const struct eval_function eval_acos = {.map = acos};
const struct eval_function eval_atan = {.map = atan};
const struct eval_function eval_sinh = {.map = sinh};
const struct eval_function eval_cosh = {.map = cosh};
const struct eval_function eval_tanh = {.map = tanh};
const struct eval_function eval_asinh = {.map = asinh};
const struct eval_function eval_acosh = {.map = acosh};
const struct eval_function eval_atanh = {.map = atanh};
const struct eval_function eval_deg = {.map = map_deg};
const struct eval_function eval_rad = {.map = map_rad};

/* Go's math.Min and math.Max: an infinity of their side wins over NaN, and -0 is less than 0. */
static double least(double a, double b)
{
    if (a == -INFINITY || b == -INFINITY)
        return -INFINITY;
    if (isnan(a) || isnan(b))
        return NAN;
    if (a == 0 && b == 0)
        return signbit(a) ? a : b;
    return a < b ? a : b;
}

static double greatest(double a, double b)
{
    if (a == INFINITY || b == INFINITY)
        return INFINITY;
    if (isnan(a) || isnan(b))
        return NAN;
    if (a == 0 && b == 0)
        return signbit(a) ? b : a;
    return a > b ? a : b;
}

struct clamp_bounds {
    const double *low; /* a column each */
    const double *high;
};

static void clamp_values(struct eval_stream *map, const void *context, struct eval_series *series)
{
    const struct clamp_bounds *bounds = context;
    for (size_t i = 0; i < map->grid->step_count; i++) {
        if (bounds->high[i] < bounds->low[i])
            eval_bit_clear(series->present, i);
        else if (eval_bit(series->present, i))
            series->values[i] = greatest(bounds->low[i], least(bounds->high[i], series->values[i]));
    }
}

static double *constant_column(struct eval *eval, const struct eval_grid *grid, double value)
{
    double *column = eval_alloc(eval, grid->step_count, sizeof(double));
    for (size_t i = 0; column != NULL && i < grid->step_count; i++)
        column[i] = value;
    return column;
}

/* NULL for an argument that is not there: no bound on that side. */
static nx_code open_clamp_between(struct eval *eval, const struct ast_node *call,
                                  const struct ast_node *low, const struct ast_node *high,
                                  const struct eval_grid *grid, struct eval_stream **out)
{
    struct clamp_bounds *bounds = eval_alloc(eval, 1, sizeof(*bounds));
    if (bounds == NULL)
        return eval->err->code;
    bounds->low =
        low != NULL ? eval_scalar_column(eval, low, grid) : constant_column(eval, grid, -INFINITY);
    if (bounds->low == NULL)
        return eval->err->code;
    bounds->high =
        high != NULL ? eval_scalar_column(eval, high, grid) : constant_column(eval, grid, INFINITY);
    if (bounds->high == NULL)
        return eval->err->code;
    struct eval_stream *child;
    nx_code code = eval_open(eval, call->u.call.args[0], grid, &child);
    if (code == NX_OK)
        code = eval_map_open(eval, child, clamp_values, bounds, &child);
    return code == NX_OK ? eval_drop_open(eval, child, false, out) : code;
}

static nx_code open_clamp(struct eval *eval, const struct ast_node *call,
                          const struct eval_grid *grid, struct eval_stream **out)
{
    return open_clamp_between(eval, call, call->u.call.args[1], call->u.call.args[2], grid, out);
}

static nx_code open_clamp_min(struct eval *eval, const struct ast_node *call,
                              const struct eval_grid *grid, struct eval_stream **out)
{
    return open_clamp_between(eval, call, call->u.call.args[1], NULL, grid, out);
}

static nx_code open_clamp_max(struct eval *eval, const struct ast_node *call,
                              const struct eval_grid *grid, struct eval_stream **out)
{
    return open_clamp_between(eval, call, NULL, call->u.call.args[1], grid, out);
}

const struct eval_function eval_clamp = {.open = open_clamp};
const struct eval_function eval_clamp_min = {.open = open_clamp_min};
const struct eval_function eval_clamp_max = {.open = open_clamp_max};

static void round_values(struct eval_stream *map, const void *context, struct eval_series *series)
{
    const double *nearest = context;
    for (size_t i = 0; i < map->grid->step_count; i++) {
        if (!eval_bit(series->present, i))
            continue;
        double inverse = 1.0 / nearest[i];
        series->values[i] = floor(series->values[i] * inverse + 0.5) / inverse;
    }
}

static nx_code open_round(struct eval *eval, const struct ast_node *call,
                          const struct eval_grid *grid, struct eval_stream **out)
{
    double *nearest = call->u.call.arg_count > 1
                          ? eval_scalar_column(eval, call->u.call.args[1], grid)
                          : constant_column(eval, grid, 1);
    if (nearest == NULL)
        return eval->err->code;
    struct eval_stream *child;
    nx_code code = eval_open(eval, call->u.call.args[0], grid, &child);
    if (code == NX_OK)
        code = eval_map_open(eval, child, round_values, nearest, &child);
    return code == NX_OK ? eval_drop_open(eval, child, false, out) : code;
}

const struct eval_function eval_round = {.open = open_round};

static nx_code scalar_pi(struct eval *eval, const struct ast_node *call,
                         const struct eval_grid *grid, double *out)
{
    (void)eval;
    (void)call;
    for (size_t i = 0; i < grid->step_count; i++)
        out[i] = M_PI;
    return NX_OK;
}

static nx_code scalar_of_two(struct eval *eval, const struct ast_node *call,
                             const struct eval_grid *grid, double (*pick)(double, double),
                             double *out)
{
    double *right = eval_scalar_column(eval, call->u.call.args[1], grid);
    if (right == NULL)
        return eval->err->code;
    nx_code code = eval_scalar_fill(eval, call->u.call.args[0], grid, out);
    for (size_t i = 0; code == NX_OK && i < grid->step_count; i++)
        out[i] = pick(out[i], right[i]);
    return code;
}

static nx_code scalar_min_of(struct eval *eval, const struct ast_node *call,
                             const struct eval_grid *grid, double *out)
{
    return scalar_of_two(eval, call, grid, least, out);
}

static nx_code scalar_max_of(struct eval *eval, const struct ast_node *call,
                             const struct eval_grid *grid, double *out)
{
    return scalar_of_two(eval, call, grid, greatest, out);
}

const struct eval_function eval_pi = {.scalar = scalar_pi};
const struct eval_function eval_min_of = {.scalar = scalar_min_of};
const struct eval_function eval_max_of = {.scalar = scalar_max_of};
