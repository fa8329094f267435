/* SPDX-License-Identifier: Apache-2.0
 *
 * api_params.c - times, durations, limits and selectors of the query API, read as Prometheus 3.14 web/api/v1/api.go
 * does.
 */
#include "narthex/base/config.h"
#include "narthex/base/float_text.h"
#include "narthex/promql/parse.h"

#include "api_internal.h"

#include <math.h>

#define NAME_BYTES_SHOWN 100

/* Prometheus accepts these two texts for "as early" and "as late as can be". */
#define TIME_MIN_TEXT "-292273086-05-16T16:47:06Z"
#define TIME_MAX_TEXT "292277025-08-18T07:12:54.999999999Z"

static nx_code invalid_time(const char *name, struct nx_str text, struct nx_err *err)
{
    int shown = (int)(text.len < NAME_BYTES_SHOWN ? text.len : NAME_BYTES_SHOWN);
    return nx_err_set(err, NX_E_INVALID,
                      "invalid parameter \"%s\": cannot parse \"%.*s\" to a valid timestamp", name,
                      shown, text.data);
}

/* `digits` decimal digits at *at; false when they are not there. */
static bool take_digits(struct nx_str text, size_t *at, unsigned digits, int64_t *out)
{
    int64_t value = 0;
    if (*at + digits > text.len)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        char c = text.data[*at + i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *at += digits;
    *out = value;
    return true;
}

static bool take_char(struct nx_str text, size_t *at, char wanted)
{
    if (*at >= text.len || text.data[*at] != wanted)
        return false;
    (*at)++;
    return true;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap);
}

/* RFC 3339 with any number of fraction digits, to ms. */
static bool parse_rfc3339(struct nx_str text, int64_t *out_ms)
{
    size_t at = 0;
    int64_t year, month, day, hour, minute, second, ms = 0, offset_minutes = 0;
    if (!take_digits(text, &at, 4, &year) || !take_char(text, &at, '-') ||
        !take_digits(text, &at, 2, &month) || !take_char(text, &at, '-') ||
        !take_digits(text, &at, 2, &day) || !take_char(text, &at, 'T') ||
        !take_digits(text, &at, 2, &hour) || !take_char(text, &at, ':') ||
        !take_digits(text, &at, 2, &minute) || !take_char(text, &at, ':') ||
        !take_digits(text, &at, 2, &second))
        return false;
    if (take_char(text, &at, '.')) {
        int64_t digit;
        unsigned seen = 0;
        for (; take_digits(text, &at, 1, &digit); seen++)
            if (seen < 3)
                ms = ms * 10 + digit;
        if (seen == 0)
            return false;
        for (; seen < 3; seen++)
            ms *= 10;
    }
    if (!take_char(text, &at, 'Z')) {
        int64_t hours, minutes;
        bool is_west = at < text.len && text.data[at] == '-';
        if (!take_char(text, &at, '+') && !take_char(text, &at, '-'))
            return false;
        if (!take_digits(text, &at, 2, &hours) || !take_char(text, &at, ':') ||
            !take_digits(text, &at, 2, &minutes) || hours > 23 || minutes > 59)
            return false;
        offset_minutes = (is_west ? -1 : 1) * (hours * 60 + minutes);
    }
    if (at != text.len || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    int64_t seconds =
        days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *out_ms = (seconds - offset_minutes * 60) * 1000 + ms;
    return true;
}

static nx_code parse_time(const char *name, struct nx_str text, int64_t *out_ms, struct nx_err *err)
{
    double seconds;
    if (float_text_parse(text, &seconds)) {
        if (!(fabs(seconds) < 9.2e15))
            return invalid_time(name, text, err);
        double whole;
        double fraction = modf(seconds, &whole);
        *out_ms = (int64_t)whole * 1000 + (int64_t)round(fraction * 1000);
        return NX_OK;
    }
    if (parse_rfc3339(text, out_ms))
        return NX_OK;
    if (nx_str_eq(text, NX_STR(TIME_MIN_TEXT))) {
        *out_ms = INT64_MIN;
        return NX_OK;
    }
    if (nx_str_eq(text, NX_STR(TIME_MAX_TEXT))) {
        *out_ms = INT64_MAX;
        return NX_OK;
    }
    return invalid_time(name, text, err);
}

nx_code api_param_time(const struct http_params *params, const char *name, int64_t default_ms,
                       int64_t *out_ms, struct nx_err *err)
{
    struct nx_str text;
    if (!http_params_get(params, nx_str_from(name), &text) || text.len == 0) {
        *out_ms = default_ms;
        return NX_OK;
    }
    return parse_time(name, text, out_ms, err);
}

nx_code api_param_time_required(const struct http_params *params, const char *name, int64_t *out_ms,
                                struct nx_err *err)
{
    struct nx_str text;
    if (!http_params_get(params, nx_str_from(name), &text))
        text = NX_STR("");
    return parse_time(name, text, out_ms, err);
}

static nx_code parse_duration(const char *name, struct nx_str text, int64_t *out_ms,
                              struct nx_err *err)
{
    int shown = (int)(text.len < NAME_BYTES_SHOWN ? text.len : NAME_BYTES_SHOWN);
    double seconds;
    if (float_text_parse(text, &seconds)) {
        double ns = seconds * 1e9;
        if (!(ns <= 9223372036854775807.0 && ns >= -9223372036854775808.0))
            return nx_err_set(
                err, NX_E_INVALID,
                "invalid parameter \"%s\": cannot parse \"%.*s\" to a valid duration. It overflows int64",
                name, shown, text.data);
        *out_ms = (int64_t)(ns / 1e6);
        return NX_OK;
    }
    struct nx_err why;
    if (config_parse_duration_ms(text, out_ms, &why) == NX_OK)
        return NX_OK;
    return nx_err_set(err, NX_E_INVALID,
                      "invalid parameter \"%s\": cannot parse \"%.*s\" to a valid duration", name,
                      shown, text.data);
}

nx_code api_param_duration(const struct http_params *params, const char *name, int64_t default_ms,
                           int64_t *out_ms, struct nx_err *err)
{
    struct nx_str text;
    if (!http_params_get(params, nx_str_from(name), &text) || text.len == 0) {
        *out_ms = default_ms;
        return NX_OK;
    }
    return parse_duration(name, text, out_ms, err);
}

nx_code api_param_duration_required(const struct http_params *params, const char *name,
                                    int64_t *out_ms, struct nx_err *err)
{
    struct nx_str text;
    if (!http_params_get(params, nx_str_from(name), &text))
        text = NX_STR("");
    return parse_duration(name, text, out_ms, err);
}

nx_code api_param_limit(const struct http_params *params, size_t *out_limit, struct nx_err *err)
{
    struct nx_str text;
    int64_t limit;
    *out_limit = 0;
    if (!http_params_get(params, NX_STR("limit"), &text) || text.len == 0)
        return NX_OK;
    int shown = (int)(text.len < NAME_BYTES_SHOWN ? text.len : NAME_BYTES_SHOWN);
    if (!nx_str_to_i64(text, &limit))
        return nx_err_set(err, NX_E_INVALID,
                          "invalid parameter \"limit\": cannot parse \"%.*s\" to a valid limit",
                          shown, text.data);
    if (limit < 0)
        return nx_err_set(err, NX_E_INVALID,
                          "invalid parameter \"limit\": limit must be non-negative");
    *out_limit = (size_t)limit;
    return NX_OK;
}

nx_code api_param_match(const struct http_params *params, struct arena *arena,
                        struct api_match *out_match, struct nx_err *err)
{
    struct nx_str text;
    size_t count = 0;
    for (size_t cursor = 0; http_params_next(params, NX_STR("match[]"), &cursor, &text);)
        count++;
    out_match->lists = arena_calloc(arena, count, sizeof(*out_match->lists));
    out_match->counts = arena_calloc(arena, count, sizeof(*out_match->counts));
    out_match->list_count = 0;
    if (out_match->lists == NULL || out_match->counts == NULL)
        return nx_err_set(err, NX_E_LIMIT, "the selectors need too much memory");
    for (size_t cursor = 0; http_params_next(params, NX_STR("match[]"), &cursor, &text);) {
        size_t i = out_match->list_count;
        nx_code code =
            promql_parse_selector(text, arena, &out_match->lists[i], &out_match->counts[i], err);
        if (code != NX_OK) {
            api_match_deinit(out_match);
            return nx_err_wrap(err, "invalid parameter \"match[]\"");
        }
        out_match->list_count++;
    }
    return NX_OK;
}

void api_match_deinit(struct api_match *match)
{
    for (size_t i = 0; i < match->list_count; i++)
        for (size_t j = 0; j < match->counts[i]; j++)
            matcher_deinit(&match->lists[i][j]);
    match->list_count = 0;
}
