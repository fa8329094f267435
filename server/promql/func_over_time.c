/* SPDX-License-Identifier: Apache-2.0 */
/* func_over_time.c - what a window's samples come to: sums, extremes, ends, quantiles.
 *
 * Sums walk every window anew, oldest sample first, because a sum that slides would differ in its last bits from the
 * one that Prometheus makes. Extremes slide over a queue of candidates.
 *
 * Source   Prometheus' promql/functions.go.
 */
#include "narthex/model/staleness.h"

#include "eval_functions.h"

#include <math.h>

static int sum_window(const struct eval_window *window, double *out)
{
    double sum = 0;
    double compensation = 0;
    for (size_t i = 0; i < window->count; i++)
        eval_kahan_add(window->values[i], &sum, &compensation);
    *out = isinf(sum) ? sum : sum + compensation;
    return 1;
}

/* A plain mean while the sum is finite; from the sample on that would overflow it, an incremental one. */
static int avg_window(const struct eval_window *window, double *out)
{
    const double *values = window->values;
    double sum = values[0];
    double compensation = 0;
    size_t i = 1;
    for (; i < window->count; i++) {
        double next_sum = sum;
        double next_compensation = compensation;
        eval_kahan_add(values[i], &next_sum, &next_compensation);
        if (isinf(next_sum))
            break;
        sum = next_sum;
        compensation = next_compensation;
    }
    if (i == window->count) {
        double count = (double)window->count;
        *out = sum / count + compensation / count;
        return 1;
    }
    double mean = sum / (double)i;
    compensation /= (double)i;
    for (; i < window->count; i++) {
        double count = (double)(i + 1);
        double weight = (count - 1) / count;
        mean *= weight;
        compensation *= weight;
        eval_kahan_add(values[i] / count, &mean, &compensation);
    }
    *out = mean + compensation;
    return 1;
}

static int variance_window(const struct eval_window *window, double *out)
{
    double count = 0;
    double mean = 0;
    double mean_compensation = 0;
    double squares = 0;
    double squares_compensation = 0;
    for (size_t i = 0; i < window->count; i++) {
        double value = window->values[i];
        count++;
        double delta = value - (mean + mean_compensation);
        eval_kahan_add(delta / count, &mean, &mean_compensation);
        eval_kahan_add(delta * (value - (mean + mean_compensation)), &squares,
                       &squares_compensation);
    }
    *out = (squares + squares_compensation) / count;
    return 1;
}

static int deviation_window(const struct eval_window *window, double *out)
{
    variance_window(window, out);
    *out = sqrt(*out);
    return 1;
}

const struct eval_function eval_sum_over_time = {.window = sum_window};
const struct eval_function eval_avg_over_time = {.window = avg_window};
const struct eval_function eval_stdvar_over_time = {.window = variance_window};
const struct eval_function eval_stddev_over_time = {.window = deviation_window};

static bool count_columns(struct eval_range_call *call, const struct eval_samples *samples,
                          double *values, uint64_t *present)
{
    (void)samples;
    for (size_t i = 0; i < call->stream.grid->step_count; i++) {
        if (call->low[i] == call->high[i])
            continue;
        values[i] = call->high[i] - call->low[i];
        eval_bit_set(present, i);
    }
    return true;
}

static bool present_columns(struct eval_range_call *call, const struct eval_samples *samples,
                            double *values, uint64_t *present)
{
    (void)samples;
    for (size_t i = 0; i < call->stream.grid->step_count; i++) {
        if (call->low[i] == call->high[i])
            continue;
        values[i] = 1;
        eval_bit_set(present, i);
    }
    return true;
}

static int last_window(const struct eval_window *window, double *out)
{
    *out = window->values[window->count - 1];
    return 1;
}

static int first_window(const struct eval_window *window, double *out)
{
    *out = window->values[0];
    return 1;
}

const struct eval_function eval_count_over_time = {.columns = count_columns};
const struct eval_function eval_present_over_time = {.columns = present_columns};
const struct eval_function eval_last_over_time = {.window = last_window, .keeps_name = true};
const struct eval_function eval_first_over_time = {.window = first_window, .keeps_name = true};

static bool is_below(double a, double b)
{
    return a < b;
}

static bool is_above(double a, double b)
{
    return a > b;
}

/* The queue holds indices of samples, each better than or equal to those behind it, oldest first: its head is the
 * window's extreme, and of equals the oldest. NaNs never enter. */
static bool extreme_columns(struct eval_range_call *call, const struct eval_samples *samples,
                            double *values, uint64_t *present, bool (*is_better)(double, double))
{
    if (!eval_range_call_reserve(call, samples->count))
        return false;
    uint32_t *queue = (uint32_t *)call->scratch;
    size_t head = 0;
    size_t tail = 0;
    uint32_t next = 0;
    for (size_t i = 0; i < call->stream.grid->step_count; i++) {
        uint32_t low = call->low[i];
        uint32_t high = call->high[i];
        for (; next < high; next++) {
            double value = samples->values[next];
            if (isnan(value))
                continue;
            while (tail > head && is_better(value, samples->values[queue[tail - 1]]))
                tail--;
            queue[tail++] = next;
        }
        while (head < tail && queue[head] < low)
            head++;
        if (low == high)
            continue;
        values[i] = head < tail ? samples->values[queue[head]] : samples->values[high - 1];
        eval_bit_set(present, i);
    }
    return true;
}

static bool min_columns(struct eval_range_call *call, const struct eval_samples *samples,
                        double *values, uint64_t *present)
{
    return extreme_columns(call, samples, values, present, is_below);
}

static bool max_columns(struct eval_range_call *call, const struct eval_samples *samples,
                        double *values, uint64_t *present)
{
    return extreme_columns(call, samples, values, present, is_above);
}

const struct eval_function eval_min_over_time = {.columns = min_columns};
const struct eval_function eval_max_over_time = {.columns = max_columns};

static int ts_first_window(const struct eval_window *window, double *out)
{
    *out = (double)window->times_ms[0] / 1000;
    return 1;
}

static int ts_last_window(const struct eval_window *window, double *out)
{
    *out = (double)window->times_ms[window->count - 1] / 1000;
    return 1;
}

/* Of equal extremes the newest; a NaN yields to anything after it. */
static int ts_min_window(const struct eval_window *window, double *out)
{
    size_t best = 0;
    for (size_t i = 1; i < window->count; i++)
        if (window->values[i] <= window->values[best] || isnan(window->values[best]))
            best = i;
    *out = (double)window->times_ms[best] / 1000;
    return 1;
}

static int ts_max_window(const struct eval_window *window, double *out)
{
    size_t best = 0;
    for (size_t i = 1; i < window->count; i++)
        if (window->values[i] >= window->values[best] || isnan(window->values[best]))
            best = i;
    *out = (double)window->times_ms[best] / 1000;
    return 1;
}

const struct eval_function eval_ts_of_first_over_time = {.window = ts_first_window};
const struct eval_function eval_ts_of_last_over_time = {.window = ts_last_window};
const struct eval_function eval_ts_of_min_over_time = {.window = ts_min_window};
const struct eval_function eval_ts_of_max_over_time = {.window = ts_max_window};

static int quantile_window(const struct eval_window *window, double *out)
{
    struct eval_range_call *call = window->call;
    double q = window->params[0];
    bool is_warned = call->has_warned && float_bits(call->warned) == float_bits(q);
    if (!(q >= 0 && q <= 1) && !is_warned) {
        char text[32];
        call->has_warned = true;
        call->warned = q;
        eval_annotate(call->stream.eval, ANNOTATION_WARNING, call->param_args[0],
                      "quantile value should be between 0 and 1, got %s", eval_float_text(q, text));
    }
    if (!eval_range_call_reserve(call, window->count))
        return -1;
    memcpy(call->scratch, window->values, window->count * sizeof(double));
    *out = eval_quantile(q, call->scratch, window->count);
    return 1;
}

/* The median of the distances from the median; a NaN anywhere makes it NaN. */
static int mad_window(const struct eval_window *window, double *out)
{
    struct eval_range_call *call = window->call;
    if (!eval_range_call_reserve(call, window->count))
        return -1;
    *out = NAN;
    for (size_t i = 0; i < window->count; i++)
        if (isnan(window->values[i]))
            return 1;
    memcpy(call->scratch, window->values, window->count * sizeof(double));
    double median = eval_quantile(0.5, call->scratch, window->count);
    for (size_t i = 0; i < window->count; i++)
        call->scratch[i] = fabs(window->values[i] - median);
    *out = eval_quantile(0.5, call->scratch, window->count);
    return 1;
}

const struct eval_function eval_quantile_over_time = {.window = quantile_window};
const struct eval_function eval_mad_over_time = {.window = mad_window};
