/* SPDX-License-Identifier: Apache-2.0 */
/* mix_values.c - what the values of the load do, step by step.
 *
 * A kind is a rule and how its series differ: the share of steps in which nothing happens, the mean of the others, and
 * how much those vary. Each is a row of quantiles that was measured on real exporters over hours (decision 009 has the
 * capture and the tables); a series draws its three numbers from the rows and keeps them.
 */
#include "narthex/base/assert.h"

#include "mix_internal.h"

#include <math.h>

/* Values at the 5th, 25th, 50th, 75th and 95th percentile of the series of a kind. */
struct quantiles {
    float at[5];
};

struct kind_model {
    struct quantiles idle;      /* share of steps without a change */
    struct quantiles log2_step; /* of the mean of the others, in units */
    struct quantiles variation; /* their deviation, as a part of the mean */
    double unit;
    uint8_t decimals; /* values are integers divided by 10^decimals */
};

static const struct kind_model models[MIX_KINDS] = {
    [MIX_BUSY] = {{{0, 0, 0, 0, 0.09f}},
                  {{1.4f, 5.2f, 9.4f, 15.6f, 23.5f}},
                  {{0, 0.49f, 0.58f, 0.74f, 1.95f}},
                  1,
                  0},
    [MIX_FITFUL] = {{{0.31f, 0.62f, 0.7f, 0.75f, 0.79f}},
                    {{0, 1.6f, 5, 9.3f, 17.2f}},
                    {{0, 0, 0.53f, 0.93f, 1.57f}},
                    1,
                    0},
    [MIX_QUIET] =
        {{{0.91f, 0.97f, 0.99f, 0.99f, 0.99f}}, {{0, 0, 0, 1, 5.4f}}, {{0, 0, 0, 0, 0.5f}}, 1, 0},
    [MIX_BURSTY] = {{{0.91f, 0.97f, 0.99f, 0.99f, 0.99f}},
                    {{6, 10.5f, 14, 18.9f, 20.1f}},
                    {{0, 0, 0, 0.38f, 0.88f}},
                    1,
                    0},
    [MIX_PAGES_COUNTER] = {{{0, 0.7f, 0.9f, 0.98f, 0.99f}},
                           {{0.6f, 5.6f, 6.3f, 8.5f, 17.5f}},
                           {{0, 0.24f, 0.71f, 1.06f, 2.3f}},
                           4096,
                           0},
    [MIX_TICKS] = {{{0, 0.01f, 0.37f, 0.98f, 0.99f}},
                   {{0, 2.2f, 3.9f, 7.4f, 10}},
                   {{0, 0, 0.4f, 0.62f, 1.55f}},
                   1,
                   2},
    [MIX_MICROS] = {{{0, 0, 0, 0.64f, 0.93f}},
                    {{13.3f, 16.5f, 17.7f, 19.9f, 23.4f}},
                    {{0, 0.23f, 0.41f, 0.68f, 1.81f}},
                    1,
                    6},
    [MIX_INT_GAUGE] = {{{0, 0.8f, 0.99f, 0.99f, 0.99f}},
                       {{0, 0, 2.3f, 17.5f, 30}},
                       {{0, 0, 0, 0.18f, 1.68f}},
                       1,
                       0},
    [MIX_PAGES_GAUGE] = {{{0, 0.08f, 0.99f, 0.99f, 0.99f}},
                         {{4.3f, 8.3f, 9.9f, 13.1f, 17.1f}},
                         {{0, 0, 0, 0.94f, 2.02f}},
                         4096,
                         0},
    [MIX_RATIO] = {{{0.82f, 0.99f, 0.99f, 0.99f, 0.99f}},
                   {{1.6f, 4.6f, 4.6f, 5.1f, 6}},
                   {{0, 0, 0, 0, 0.3f}},
                   1,
                   5},
    [MIX_DURATION] = {{{0, 0, 0, 0.47f, 0.93f}},
                      {{9.2f, 12.8f, 16.6f, 19, 21.4f}},
                      {{0.67f, 1.38f, 2.53f, 4.53f, 6.23f}},
                      1,
                      9},
};

static const double power_of_10[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

static double draw(struct rand_state *rand, const struct quantiles *quantiles)
{
    static const double shares[] = {0.05, 0.25, 0.5, 0.75, 0.95};
    double at = rand_unit(rand);
    if (at <= shares[0])
        return (double)quantiles->at[0];
    for (size_t i = 1; i < NX_ARRAY_LEN(shares); i++)
        if (at < shares[i]) {
            double part = (at - shares[i - 1]) / (shares[i] - shares[i - 1]);
            return (double)quantiles->at[i - 1] +
                   part * (double)(quantiles->at[i] - quantiles->at[i - 1]);
        }
    return (double)quantiles->at[4];
}

static double normal(struct rand_state *rand)
{
    return sqrt(-2 * log(1 - rand_unit(rand))) * cos(6.283185307179586 * rand_unit(rand));
}

static double poisson(struct rand_state *rand, double mean)
{
    double limit = exp(-mean), product = rand_unit(rand), n = 0;
    for (; product > limit; n++)
        product *= rand_unit(rand);
    return n;
}

/* The day has a shape: most load in the middle of it, a fifth as much variation as there is load. */
static double load_at(uint32_t step)
{
    return 1 + 0.3 * sin(step * (6.283185307179586 * MIX_STEP_MS / 86400000.0));
}

void mix_series_init(struct mix_series *series, enum mix_kind kind, uint64_t seed)
{
    struct rand_state *rand = &series->rand;
    const struct kind_model *model = &models[kind];
    *series = (struct mix_series){.kind = (uint8_t)kind};
    rand_seed(rand, seed);
    if (kind == MIX_CONSTANT) /* two of three are 0 or 1 */
        series->total = (double)rand_below(rand, rand_below(rand, 3) == 0 ? 1000000 : 2);
    if (kind < MIX_BUSY)
        return;
    series->idle = (float)draw(rand, &model->idle);
    series->step = exp2(draw(rand, &model->log2_step));
    series->variation = (float)draw(rand, &model->variation);
    /* A counter has run for up to a week, a gauge is some steps above nothing. */
    double steps = kind >= MIX_INT_GAUGE ? 2 + 30 * rand_unit(rand) : 40000 * rand_unit(rand);
    series->level = floor(series->step * steps);
    series->total = series->level;
}

/* How far a step goes: log-normal, with the series' mean and variation. */
static double step_length(struct mix_series *series, uint32_t step)
{
    if (series->variation <= 0)
        return fmax(1, round(series->step));
    double spread = log1p((double)series->variation * (double)series->variation);
    double length = series->step * exp(sqrt(spread) * normal(&series->rand) - spread / 2);
    return fmax(1, round(length * load_at(step)));
}

static double scaled(const struct mix_series *series, double total)
{
    const struct kind_model *model = &models[series->kind];
    return total * model->unit / power_of_10[model->decimals];
}

double mix_series_next(struct mix_series *series, uint32_t step)
{
    struct rand_state *rand = &series->rand;
    switch ((enum mix_kind)series->kind) {
    case MIX_BUCKET:
    case MIX_COUNT:
    case MIX_SUM:
    case MIX_CONSTANT:
        return series->total;
    case MIX_UNIFORM:
        return rand_unit(rand) * 1000;
    case MIX_BUSY:
    case MIX_FITFUL:
    case MIX_QUIET:
    case MIX_BURSTY:
    case MIX_PAGES_COUNTER:
    case MIX_TICKS:
    case MIX_MICROS:
        if (rand_unit(rand) >= (double)series->idle)
            series->total += step_length(series, step);
        break;
    case MIX_INT_GAUGE:
    case MIX_PAGES_GAUGE:
    case MIX_RATIO:
        if (rand_unit(rand) >= (double)series->idle) {
            double length = step_length(series, step);
            bool is_up = rand_unit(rand) < (series->total < series->level ? 0.7 : 0.3);
            series->total += is_up || series->total < length ? length : -length;
        }
        break;
    case MIX_DURATION: /* each one is a new measurement */
        if (rand_unit(rand) >= (double)series->idle)
            series->total = round(series->level * 0.1 + step_length(series, step));
        break;
    }
    return scaled(series, series->total);
}

/* ---- a histogram: buckets, count and sum of one stream of observations ---- */

void mix_histogram_init(struct mix_histogram *histogram, uint64_t seed)
{
    static const struct quantiles log2_rate = {{-6.6f, -2.8f, 1.3f, 4.9f, 6.1f}};
    *histogram = (struct mix_histogram){0};
    rand_seed(&histogram->rand, seed);
    histogram->rate = exp2(draw(&histogram->rand, &log2_rate));
    histogram->median = 0.005 * exp2(9 * rand_unit(&histogram->rand)); /* to 2.5 s */
}

void mix_histogram_step(struct mix_histogram *histogram, uint32_t step)
{
    struct rand_state *rand = &histogram->rand;
    for (double n = poisson(rand, histogram->rate * load_at(step)); n > 0; n--) {
        /* A client adds whole nanoseconds, as seconds. */
        double duration = floor(histogram->median * exp(0.8 * normal(rand)) * 1e9) / 1e9;
        histogram->sum += duration;
        for (size_t i = 0; i < MIX_BUCKETS; i++)
            histogram->counts[i] += duration <= mix_bounds[i];
    }
}
