/* SPDX-License-Identifier: Apache-2.0 */
/* func_rate.c - functions of counters: rate, increase, delta, irate, idelta, resets, changes.
 *
 * rate and its kin need the ends of a window, and what was lost at resets between. Prometheus adds the value before
 * each reset to the difference, oldest first, so the same is done here, bit for bit; but only windows that hold a reset
 * are walked: `last_reset` is the newest sample so far that is lower than the one before it.
 *
 * Anchored and smoothed windows are not extrapolated: their edges have values, taken from what lies around them.
 *
 * Source   extrapolatedRate, extendedRate and instantValue in Prometheus' promql/functions.go.
 */
#include "eval_functions.h"

#include <math.h>

/* Last index <= each high - 1 at which `values` decreases; 0: none. Carried from step to step. */
struct reset_scan {
    uint32_t seen;
    uint32_t last_reset;
};

static uint32_t scan_resets(struct reset_scan *scan, const double *values, uint32_t high)
{
    uint32_t i = scan->seen == 0 ? 1 : scan->seen;
    for (; i < high; i++)
        if (values[i] < values[i - 1])
            scan->last_reset = i;
    if (high > scan->seen)
        scan->seen = high;
    return scan->last_reset;
}

/* What a counter gained over values[low..last]. */
static double counter_gain(const double *values, uint32_t low, uint32_t last, uint32_t last_reset)
{
    double gain = values[last] - values[low];
    for (uint32_t i = low + 1; i <= last_reset; i++)
        if (values[i] < values[i - 1])
            gain += values[i - 1];
    return gain;
}

/* Where a window's samples lie. Windows of regular series are all alike, so the last one's sums are kept. */
struct geometry {
    int64_t to_start_ms;
    int64_t to_end_ms;
    int64_t sampled_ms;
    uint32_t count;
    double to_start; /* seconds, after the first rule of extrapolation */
    double to_end;
    double sampled;
};

static void measure(struct geometry *geometry, int64_t to_start_ms, int64_t to_end_ms,
                    int64_t sampled_ms, uint32_t count)
{
    if (geometry->count == count && geometry->sampled_ms == sampled_ms &&
        geometry->to_start_ms == to_start_ms && geometry->to_end_ms == to_end_ms)
        return;
    *geometry = (struct geometry){
        .to_start_ms = to_start_ms,
        .to_end_ms = to_end_ms,
        .sampled_ms = sampled_ms,
        .count = count,
        .to_start = (double)to_start_ms / 1000,
        .to_end = (double)to_end_ms / 1000,
        .sampled = (double)sampled_ms / 1000,
    };
    double between = geometry->sampled / (double)(count - 1);
    double threshold = between * 1.1;
    if (geometry->to_start >= threshold)
        geometry->to_start = between / 2;
    if (geometry->to_end >= threshold)
        geometry->to_end = between / 2;
}

/* How the change between the outermost samples grows to the whole window. A counter does not go back below zero. */
static double extrapolation(const struct geometry *geometry, bool is_counter, double first,
                            double change)
{
    double to_start = geometry->to_start;
    if (is_counter && change > 0 && first >= 0) {
        double to_zero = geometry->sampled * (first / change);
        if (to_zero < to_start)
            to_start = to_zero;
    }
    return (geometry->sampled + to_start + geometry->to_end) / geometry->sampled;
}

static void extrapolated_columns(struct eval_range_call *call, const struct eval_samples *samples,
                                 double *values, uint64_t *present, bool is_counter, bool is_rate)
{
    struct reset_scan scan = {0};
    struct geometry geometry = {0};
    size_t steps = call->stream.grid->step_count;
    for (size_t i = 0; i < steps; i++) {
        uint32_t low = call->low[i];
        uint32_t high = call->high[i];
        uint32_t last_reset = is_counter ? scan_resets(&scan, samples->values, high) : 0;
        if (high - low < 2)
            continue;
        int64_t end_ms = eval_range_end(call->range, i);
        int64_t start_ms = eval_time_sub(end_ms, call->range->range_ms);
        double change = counter_gain(samples->values, low, high - 1, last_reset);
        int64_t first_ms = samples->times_ms[low];
        int64_t last_ms = samples->times_ms[high - 1];
        measure(&geometry, eval_time_sub(first_ms, start_ms), eval_time_sub(end_ms, last_ms),
                eval_time_sub(last_ms, first_ms), high - low);
        double factor = extrapolation(&geometry, is_counter, samples->values[low], change);
        if (is_rate)
            factor /= call->range_seconds;
        values[i] = change * factor;
        eval_bit_set(present, i);
    }
}

/* What anchored and smoothed windows need of their edges. */
struct edges {
    size_t first; /* the newest sample up to the start, or the first of all */
    size_t last;
    double left;
    double right;
};

/* The first sample for which `value > limit` (or >=) holds, of the first `count`; `count` when there is none. */
static size_t find_later(const int64_t *times_ms, size_t count, int64_t limit_ms, bool or_equal)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (times_ms[middle] > limit_ms || (or_equal && times_ms[middle] == limit_ms))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* False: the window has nothing to say. */
static bool find_edges(const struct eval_window *window, bool is_smoothed, bool is_counter,
                       struct edges *out)
{
    const int64_t *times_ms = window->times_ms;
    const double *values = window->values;
    size_t last = window->count - 1;
    size_t after = find_later(times_ms, last, window->start_ms, false);
    size_t first = after > 0 ? after - 1 : 0;
    if (is_smoothed)
        last = find_later(times_ms, last, window->end_ms, true);
    if (times_ms[last] <= window->start_ms || (is_smoothed && times_ms[first] > window->end_ms))
        return false;
    *out = (struct edges){first, last, values[first], values[last]};
    if (is_smoothed && times_ms[first] < window->start_ms)
        out->left = eval_interpolate(times_ms[first], values[first], times_ms[first + 1],
                                     values[first + 1], window->start_ms, is_counter);
    if (is_smoothed && last > 0 && times_ms[last] > window->end_ms)
        out->right = eval_interpolate(times_ms[last - 1], values[last - 1], times_ms[last],
                                      values[last], window->end_ms, is_counter);
    return true;
}

/* Samples strictly inside the window: [*out_from, *out_to). */
static void inner_samples(const struct eval_window *window, const struct edges *edges,
                          size_t *out_from, size_t *out_to)
{
    *out_from = edges->first + (window->times_ms[edges->first] <= window->start_ms);
    *out_to = edges->last + (window->times_ms[edges->last] < window->end_ms);
    if (*out_to < *out_from)
        *out_to = *out_from;
}

void eval_extend_window(const struct eval_window *window, bool is_smoothed, int64_t *times_ms,
                        double *values, size_t *out_count)
{
    struct edges edges;
    size_t from;
    size_t to;
    *out_count = 0;
    if (!find_edges(window, is_smoothed, false, &edges))
        return;
    inner_samples(window, &edges, &from, &to);
    times_ms[0] = window->start_ms;
    values[0] = edges.left;
    memcpy(times_ms + 1, window->times_ms + from, (to - from) * sizeof(*times_ms));
    memcpy(values + 1, window->values + from, (to - from) * sizeof(*values));
    times_ms[to - from + 1] = window->end_ms;
    values[to - from + 1] = edges.right;
    *out_count = to - from + 2;
}

/* The change from edge to edge, without extrapolation. */
static int extended_change(const struct eval_window *window, bool is_counter, bool is_rate,
                           double *out)
{
    struct edges edges;
    if (!find_edges(window, window->call->range->is_smoothed, is_counter, &edges))
        return 0;
    double change = edges.right - edges.left;
    if (is_counter) {
        size_t from;
        size_t to;
        double correction = 0;
        double before = edges.left;
        inner_samples(window, &edges, &from, &to);
        for (size_t i = from; i < to; i++) {
            if (window->values[i] < before)
                correction += before;
            before = window->values[i];
        }
        if (edges.right < before)
            correction += before;
        change += correction;
    }
    *out = is_rate ? change / window->call->range_seconds : change;
    return 1;
}

static int rate_extended(const struct eval_window *window, double *out)
{
    return extended_change(window, true, true, out);
}

static int increase_extended(const struct eval_window *window, double *out)
{
    return extended_change(window, true, false, out);
}

static int delta_extended(const struct eval_window *window, double *out)
{
    return extended_change(window, false, false, out);
}

static bool rate_columns(struct eval_range_call *call, const struct eval_samples *samples,
                         double *values, uint64_t *present)
{
    extrapolated_columns(call, samples, values, present, true, true);
    return true;
}

static bool increase_columns(struct eval_range_call *call, const struct eval_samples *samples,
                             double *values, uint64_t *present)
{
    extrapolated_columns(call, samples, values, present, true, false);
    return true;
}

static bool delta_columns(struct eval_range_call *call, const struct eval_samples *samples,
                          double *values, uint64_t *present)
{
    extrapolated_columns(call, samples, values, present, false, false);
    return true;
}

const struct eval_function eval_rate = {
    .columns = rate_columns,
    .extended = rate_extended,
    .is_smoothable = true,
    .wants_counter = true,
};
const struct eval_function eval_increase = {
    .columns = increase_columns,
    .extended = increase_extended,
    .is_smoothable = true,
    .wants_counter = true,
};
const struct eval_function eval_delta = {
    .columns = delta_columns,
    .extended = delta_extended,
    .is_smoothable = true,
};

static int irate_window(const struct eval_window *window, double *out)
{
    if (window->count < 2)
        return 0;
    double last = window->values[window->count - 1];
    double before = window->values[window->count - 2];
    int64_t interval_ms =
        eval_time_sub(window->times_ms[window->count - 1], window->times_ms[window->count - 2]);
    double change = last < before ? last : last - before;
    *out = change / ((double)interval_ms / 1000);
    return 1;
}

static int idelta_window(const struct eval_window *window, double *out)
{
    if (window->count < 2)
        return 0;
    *out = window->values[window->count - 1] - window->values[window->count - 2];
    return 1;
}

const struct eval_function eval_irate = {.window = irate_window};
const struct eval_function eval_idelta = {.window = idelta_window};

static bool is_reset(double before, double value)
{
    return value < before;
}

static bool is_change(double before, double value)
{
    return value != before && !(isnan(value) && isnan(before));
}

/* Counts pairs of neighbours in each window: pairs come in at its newer end and leave at its older one. */
static void count_pairs(struct eval_range_call *call, const struct eval_samples *samples,
                        double *values, uint64_t *present, bool (*counts)(double, double))
{
    uint32_t first = 0; /* the pairs (k - 1, k) with first < k < next are counted */
    uint32_t next = 1;
    int64_t count = 0;
    size_t steps = call->stream.grid->step_count;
    for (size_t i = 0; i < steps; i++) {
        uint32_t low = call->low[i];
        uint32_t high = call->high[i];
        for (; first < low; first++)
            if (first + 1 < next)
                count -= counts(samples->values[first], samples->values[first + 1]);
        if (next <= low)
            next = low + 1;
        for (; next < high; next++)
            count += counts(samples->values[next - 1], samples->values[next]);
        if (low == high)
            continue;
        values[i] = (double)count;
        eval_bit_set(present, i);
    }
}

static bool resets_columns(struct eval_range_call *call, const struct eval_samples *samples,
                           double *values, uint64_t *present)
{
    count_pairs(call, samples, values, present, is_reset);
    return true;
}

static bool changes_columns(struct eval_range_call *call, const struct eval_samples *samples,
                            double *values, uint64_t *present)
{
    count_pairs(call, samples, values, present, is_change);
    return true;
}

/* anchored: from the newest sample up to the window's start on. */
static int count_anchored(const struct eval_window *window, bool (*counts)(double, double),
                          double *out)
{
    struct edges edges;
    if (!find_edges(window, false, false, &edges))
        return 0;
    int64_t count = 0;
    for (size_t i = edges.first + 1; i < window->count; i++)
        count += counts(window->values[i - 1], window->values[i]);
    *out = (double)count;
    return 1;
}

static int resets_extended(const struct eval_window *window, double *out)
{
    return count_anchored(window, is_reset, out);
}

static int changes_extended(const struct eval_window *window, double *out)
{
    return count_anchored(window, is_change, out);
}

const struct eval_function eval_resets = {.columns = resets_columns, .extended = resets_extended};
const struct eval_function eval_changes = {
    .columns = changes_columns,
    .extended = changes_extended,
};
