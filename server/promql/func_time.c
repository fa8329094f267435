/* SPDX-License-Identifier: Apache-2.0 */
/* func_time.c - dates of numbers, times of samples, and the times of the query itself. Everything is UTC. */
#include "eval_functions.h"

#include <stdio.h>

#define SECONDS_PER_DAY 86400

struct date {
    int64_t year;
    int month;       /* 1 to 12 */
    int day;         /* 1 to 31 */
    int day_of_year; /* 1 to 366 */
    int64_t days;    /* since 1970-01-01 */
    int second_of_day;
};

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int month_length(int64_t year, int month)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : lengths[month - 1];
}

/* Days from 1 January of year 1 to 1 January of `year`; years before 1 count down. */
static int64_t days_before_year(int64_t year)
{
    int64_t past = year - 1;
    int64_t fours = past / 4 - (past % 4 < 0);
    int64_t hundreds = past / 100 - (past % 100 < 0);
    int64_t four_hundreds = past / 400 - (past % 400 < 0);
    return past * 365 + fours - hundreds + four_hundreds;
}

static struct date date_from(int64_t unix_seconds)
{
    struct date date;
    int second_of_day = (int)(unix_seconds % SECONDS_PER_DAY);
    date.days = unix_seconds / SECONDS_PER_DAY - (second_of_day < 0);
    date.second_of_day = second_of_day < 0 ? second_of_day + SECONDS_PER_DAY : second_of_day;
    int64_t days = date.days + days_before_year(1970);
    /* A year has 365.2425 days: the guess is off by one at most. */
    date.year = days / 146097 * 400 + days % 146097 * 400 / 146097 + 1;
    while (days_before_year(date.year) > days)
        date.year--;
    while (days_before_year(date.year + 1) <= days)
        date.year++;
    int left = (int)(days - days_before_year(date.year));
    date.day_of_year = left + 1;
    date.month = 1;
    while (left >= month_length(date.year, date.month))
        left -= month_length(date.year, date.month++);
    date.day = left + 1;
    return date;
}

void eval_utc_text(int64_t unix_seconds, char out[40])
{
    struct date date = date_from(unix_seconds);
    int second = date.second_of_day;
    snprintf(out, 40, "%04lld-%02d-%02dT%02d:%02d:%02dZ", (long long)date.year, date.month,
             date.day, second / 3600, second / 60 % 60, second % 60);
}

static double date_year(int64_t unix_seconds)
{
    return (double)date_from(unix_seconds).year;
}

static double date_month(int64_t unix_seconds)
{
    return date_from(unix_seconds).month;
}

static double date_day_of_month(int64_t unix_seconds)
{
    return date_from(unix_seconds).day;
}

static double date_day_of_year(int64_t unix_seconds)
{
    return date_from(unix_seconds).day_of_year;
}

/* 1 January 1970 was a Thursday; Sunday is 0. */
static double date_day_of_week(int64_t unix_seconds)
{
    int64_t weekday = (date_from(unix_seconds).days + 4) % 7;
    return (double)(weekday < 0 ? weekday + 7 : weekday);
}

static double date_days_in_month(int64_t unix_seconds)
{
    struct date date = date_from(unix_seconds);
    return month_length(date.year, date.month);
}

static double date_hour(int64_t unix_seconds)
{
    return date_from(unix_seconds).second_of_day / 3600;
}

static double date_minute(int64_t unix_seconds)
{
    return date_from(unix_seconds).second_of_day / 60 % 60;
}

const struct eval_function eval_year = {.date = date_year};
const struct eval_function eval_month = {.date = date_month};
const struct eval_function eval_day_of_month = {.date = date_day_of_month};
const struct eval_function eval_day_of_year = {.date = date_day_of_year};
const struct eval_function eval_day_of_week = {.date = date_day_of_week};
const struct eval_function eval_days_in_month = {.date = date_days_in_month};
const struct eval_function eval_hour = {.date = date_hour};
const struct eval_function eval_minute = {.date = date_minute};

static void map_step_times(struct eval_stream *map, const void *context, struct eval_series *series)
{
    (void)context;
    for (size_t i = 0; i < map->grid->step_count; i++)
        series->values[i] = (double)eval_step_time(map->grid, i) / 1000;
}

/* Of a selector: the samples' own times. Of anything else: the time of evaluation. */
static nx_code open_timestamp(struct eval *eval, const struct ast_node *call,
                              const struct eval_grid *grid, struct eval_stream **out)
{
    const struct ast_node *arg = ast_unwrap_parens(call->u.call.args[0]);
    struct eval_stream *child;
    nx_code code;
    if (arg->kind == AST_VECTOR_SELECTOR) {
        code = eval_selector_open(eval, arg, true, grid, &child);
    } else {
        code = eval_open(eval, arg, grid, &child);
        if (code == NX_OK)
            code = eval_map_open(eval, child, map_step_times, NULL, &child);
    }
    return code == NX_OK ? eval_drop_open(eval, child, false, out) : code;
}

const struct eval_function eval_timestamp = {.open = open_timestamp};

static nx_code scalar_time(struct eval *eval, const struct ast_node *call,
                           const struct eval_grid *grid, double *out)
{
    (void)eval;
    (void)call;
    for (size_t i = 0; i < grid->step_count; i++)
        out[i] = (double)eval_step_time(grid, i) / 1000;
    return NX_OK;
}

static nx_code fill_seconds(const struct eval_grid *grid, int64_t ms, double *out)
{
    for (size_t i = 0; i < grid->step_count; i++)
        out[i] = (double)ms / 1000;
    return NX_OK;
}

static int64_t query_end_ms(const struct eval *eval)
{
    return eval->options->is_range ? eval->options->end_ms : eval->options->start_ms;
}

static nx_code scalar_start(struct eval *eval, const struct ast_node *call,
                            const struct eval_grid *grid, double *out)
{
    (void)call;
    return fill_seconds(grid, eval->options->start_ms, out);
}

static nx_code scalar_end(struct eval *eval, const struct ast_node *call,
                          const struct eval_grid *grid, double *out)
{
    (void)call;
    return fill_seconds(grid, query_end_ms(eval), out);
}

static nx_code scalar_step(struct eval *eval, const struct ast_node *call,
                           const struct eval_grid *grid, double *out)
{
    (void)call;
    return fill_seconds(grid, eval->options->is_range ? eval->options->step_ms : 0, out);
}

static nx_code scalar_range(struct eval *eval, const struct ast_node *call,
                            const struct eval_grid *grid, double *out)
{
    (void)call;
    return fill_seconds(grid, eval_time_sub(query_end_ms(eval), eval->options->start_ms), out);
}

const struct eval_function eval_time = {.scalar = scalar_time};
const struct eval_function eval_start = {.scalar = scalar_start};
const struct eval_function eval_end = {.scalar = scalar_end};
const struct eval_function eval_step = {.scalar = scalar_step};
const struct eval_function eval_range = {.scalar = scalar_range};
