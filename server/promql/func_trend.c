/* SPDX-License-Identifier: Apache-2.0 */
/* func_trend.c - straight lines through windows: deriv, predict_linear, double_exponential_smoothing.
 *
 * Source   Prometheus' promql/functions.go.
 */
#include "eval_functions.h"

#include <math.h>

struct line {
    double slope;
    double intercept; /* at the time asked for */
};

/* Least squares with compensated sums. A constant window has slope 0 whatever rounding says. */
static struct line fit_line(const struct eval_window *window, int64_t intercept_ms)
{
    double sum_x = 0, sum_y = 0, sum_xy = 0, sum_x2 = 0;
    double comp_x = 0, comp_y = 0, comp_xy = 0, comp_x2 = 0;
    double first = window->values[0];
    bool is_constant = true;
    for (size_t i = 0; i < window->count; i++) {
        double y = window->values[i];
        double x = (double)eval_time_sub(window->times_ms[i], intercept_ms) / 1e3;
        if (i > 0 && y != first)
            is_constant = false;
        eval_kahan_add(x, &sum_x, &comp_x);
        eval_kahan_add(y, &sum_y, &comp_y);
        eval_kahan_add(x * y, &sum_xy, &comp_xy);
        eval_kahan_add(x * x, &sum_x2, &comp_x2);
    }
    if (is_constant)
        return isinf(first) ? (struct line){NAN, NAN} : (struct line){0, first};
    double n = (double)window->count;
    sum_x += comp_x;
    sum_y += comp_y;
    sum_xy += comp_xy;
    sum_x2 += comp_x2;
    double covariance = sum_xy - sum_x * sum_y / n;
    double variance = sum_x2 - sum_x * sum_x / n;
    double slope = covariance / variance;
    return (struct line){slope, sum_y / n - slope * sum_x / n};
}

static int deriv_window(const struct eval_window *window, double *out)
{
    if (window->count < 2)
        return 0;
    *out = fit_line(window, window->times_ms[0]).slope;
    return 1;
}

static int predict_window(const struct eval_window *window, double *out)
{
    if (window->count < 2)
        return 0;
    struct line line = fit_line(window, window->time_ms);
    *out = line.slope * window->params[0] + line.intercept;
    return 1;
}

static int smoothing_window(const struct eval_window *window, double *out)
{
    struct eval *eval = window->call->stream.eval;
    double smoothing = window->params[0];
    double trend_factor = window->params[1];
    if (smoothing <= 0 || smoothing >= 1) {
        nx_ignore(eval_fail(eval, NX_E_EXECUTION,
                            "invalid smoothing factor. Expected: 0 < sf < 1, got: %f", smoothing));
        return -1;
    }
    if (trend_factor <= 0 || trend_factor >= 1) {
        nx_ignore(eval_fail(eval, NX_E_EXECUTION,
                            "invalid trend factor. Expected: 0 < tf < 1, got: %f", trend_factor));
        return -1;
    }
    if (window->count < 2)
        return 0;
    const double *values = window->values;
    double before = 0;
    double smoothed = values[0];
    double trend = values[1] - values[0];
    for (size_t i = 1; i < window->count; i++) {
        double scaled = smoothing * values[i];
        if (i > 1)
            trend = trend_factor * (smoothed - before) + (1 - trend_factor) * trend;
        double carried = (1 - smoothing) * (smoothed + trend);
        before = smoothed;
        smoothed = scaled + carried;
    }
    *out = smoothed;
    return 1;
}

const struct eval_function eval_deriv = {.window = deriv_window};
const struct eval_function eval_predict_linear = {.window = predict_window};
const struct eval_function eval_double_exponential_smoothing = {.window = smoothing_window};
