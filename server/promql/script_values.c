/* SPDX-License-Identifier: Apache-2.0 */
/* script_values.c - a series line of a test script: a metric, then items.
 *
 *   _  _x3                    nothing, three times nothing
 *   1  stale  NaN  -Inf       one value
 *   1x3                       four times 1
 *   1+2x3  1-2x3              1 3 5 7, 1 -1 -3 -5
 *   {{sum:1 count:2}}x3       native histograms: noted as such, not read
 *   metric@st 1m -5sx3        start timestamps of the line that follows: noted, not read
 */
#include "narthex/base/float_text.h"
#include "narthex/model/staleness.h"
#include "narthex/promql/parse.h"

#include "script_internal.h"

#include <ctype.h>

/* Chosen: far above any script's need. */
#define VALUES_MAX ((size_t)1 << 22)

static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {
    {"ms", 1},       {"s", 1000},      {"m", 60000},       {"h", 3600000},
    {"d", 86400000}, {"w", 604800000}, {"y", 31536000000},
};

static const struct unit *find_unit(struct nx_str name)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (nx_str_eq(name, nx_str_from(units[i].name)))
            return &units[i];
    return NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return isalpha((unsigned char)c) != 0;
}

/* Length of the leading characters for which `is` holds, from `at` on. */
static size_t run_end(struct nx_str text, size_t at, bool (*is)(char))
{
    while (at < text.len && is(text.data[at]))
        at++;
    return at;
}

static struct nx_str slice(struct nx_str text, size_t from, size_t to)
{
    return (struct nx_str){.data = text.data + from, .len = to - from};
}

bool script_read_duration(struct nx_str text, int64_t *out_ms)
{
    bool is_negative = text.len > 0 && text.data[0] == '-';
    size_t at = is_negative ? 1 : 0;
    int64_t total = 0;
    if (nx_str_eq(slice(text, at, text.len), NX_STR("0"))) {
        *out_ms = 0;
        return true;
    }
    if (at == text.len)
        return false;
    while (at < text.len) {
        size_t digits = run_end(text, at, is_digit);
        size_t letters = run_end(text, digits, is_letter);
        const struct unit *unit = find_unit(slice(text, digits, letters));
        int64_t amount;
        if (unit == NULL || !nx_str_to_i64(slice(text, at, digits), &amount) ||
            __builtin_mul_overflow(amount, unit->ms, &amount) ||
            __builtin_add_overflow(total, amount, &total))
            return false;
        at = letters;
    }
    *out_ms = is_negative ? -total : total;
    return true;
}

bool script_read_number(struct nx_str text, double *out_value)
{
    int64_t ms;
    if (float_text_parse(text, out_value))
        return true;
    if (text.len > 1 && script_read_duration(text, &ms)) {
        *out_value = (double)ms / 1000;
        return true;
    }
    return false;
}

/* Where a number that starts at 0 ends: before x, a blank, or a sign that is not an exponent's. */
static size_t number_end(struct nx_str text)
{
    size_t at = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    if (at < text.len && is_letter(text.data[at]))
        return run_end(text, at, is_letter);
    for (; at < text.len; at++) {
        char c = text.data[at];
        bool is_exponent = (c == '-' || c == '+') && at > 0 &&
                           (text.data[at - 1] == 'e' || text.data[at - 1] == 'E');
        if (is_digit(c) || c == '.' || is_exponent || (is_letter(c) && c != 'x'))
            continue;
        break;
    }
    return at;
}

/* Where a histogram in {{ }} that starts at 0 ends; 0: it does not. */
static size_t histogram_end(struct nx_str text)
{
    for (size_t at = 2; at + 1 < text.len; at++)
        if (text.data[at] == '}' && text.data[at + 1] == '}')
            return at + 2;
    return 0;
}

static bool push(struct script_series *series, struct arena *arena, enum script_value_kind kind,
                 double value)
{
    if (series->count == series->cap) {
        size_t cap = series->cap == 0 ? 16 : series->cap * 2;
        if (cap > VALUES_MAX)
            return false;
        struct script_value *values =
            arena_grow(arena, series->values, series->cap * sizeof(*values), cap * sizeof(*values));
        if (values == NULL)
            return false;
        series->values = values;
        series->cap = cap;
    }
    series->values[series->count++] = (struct script_value){kind, value};
    return true;
}

static void advance(struct nx_str *text, size_t bytes)
{
    text->data += bytes;
    text->len -= bytes;
}

/* Reads xN at the front. False when there is none, or it is wrong. */
static bool read_times(struct nx_str *text, uint64_t *out_times)
{
    if (text->len == 0 || text->data[0] != 'x')
        return false;
    size_t end = run_end(*text, 1, is_digit);
    if (!nx_str_to_u64(slice(*text, 1, end), out_times) || *out_times > VALUES_MAX)
        return false;
    advance(text, end);
    return true;
}

static bool ends_item(struct nx_str text)
{
    return text.len == 0 || text.data[0] == ' ' || text.data[0] == '\t';
}

static bool read_gap(struct nx_str *text, struct arena *arena, struct script_series *series)
{
    uint64_t times = 1;
    advance(text, 1);
    if (!ends_item(*text) && !read_times(text, &times))
        return false;
    for (uint64_t i = 0; i < times; i++)
        if (!push(series, arena, SCRIPT_VALUE_ABSENT, 0))
            return false;
    return ends_item(*text);
}

static bool read_histogram(struct nx_str *text, struct arena *arena, struct script_series *series)
{
    uint64_t times = 0;
    size_t end = histogram_end(*text);
    if (end == 0)
        return false;
    advance(text, end);
    if (text->len > 2 && (text->data[0] == '+' || text->data[0] == '-')) {
        advance(text, 1);
        end = histogram_end(*text);
        if (end == 0)
            return false;
        advance(text, end);
    }
    if (!ends_item(*text) && !read_times(text, &times))
        return false;
    for (uint64_t i = 0; i <= times; i++)
        if (!push(series, arena, SCRIPT_VALUE_HISTOGRAM, 0))
            return false;
    return ends_item(*text);
}

static bool read_float(struct nx_str *text, struct arena *arena, struct script_series *series)
{
    uint64_t times = 0;
    double step = 0;
    double value;
    size_t end = number_end(*text);
    struct nx_str number = slice(*text, 0, end);
    if (nx_str_eq(number, NX_STR("stale")))
        value = float_from_bits(STALE_NAN_BITS);
    else if (!script_read_number(number, &value))
        return false;
    advance(text, end);
    if (text->len > 0 && (text->data[0] == '+' || text->data[0] == '-')) {
        bool is_down = text->data[0] == '-';
        advance(text, 1);
        end = number_end(*text);
        if (!script_read_number(slice(*text, 0, end), &step))
            return false;
        advance(text, end);
        step = is_down ? -step : step;
        if (!read_times(text, &times))
            return false;
    } else if (!ends_item(*text) && !read_times(text, &times)) {
        return false;
    }
    for (uint64_t i = 0; i <= times; i++) {
        if (!push(series, arena, SCRIPT_VALUE_FLOAT, value))
            return false;
        /* Prometheus adds the step again and again, so do we: the last bits agree. */
        if (times > 0)
            value += step;
    }
    return ends_item(*text);
}

static bool read_item(struct nx_str *text, struct arena *arena, struct script_series *series)
{
    if (text->data[0] == '_')
        return read_gap(text, arena, series);
    if (nx_str_starts_with(*text, NX_STR("{{")))
        return read_histogram(text, arena, series);
    return read_float(text, arena, series);
}

/* Where the metric ends: behind its braces, or at the first blank when it has none. */
static size_t metric_end(struct nx_str line)
{
    size_t at = 0;
    while (at < line.len && line.data[at] != '{' && line.data[at] != ' ' && line.data[at] != '\t' &&
           line.data[at] != '@')
        at++;
    if (at == line.len || line.data[at] != '{')
        return at;
    char quote = '\0';
    for (at++; at < line.len; at++) {
        char c = line.data[at];
        if (quote != '\0') {
            if (c == '\\' && quote != '`')
                at++;
            else if (c == quote)
                quote = '\0';
        } else if (c == '"' || c == '\'' || c == '`') {
            quote = c;
        } else if (c == '}') {
            return at + 1;
        }
    }
    return line.len;
}

nx_code script_read_series(struct nx_str line, struct arena *arena, struct script_series *out,
                           bool *out_is_start_times, struct nx_err *err)
{
    *out = (struct script_series){0};
    size_t end = metric_end(line);
    nx_code code = promql_parse_labels(slice(line, 0, end), arena, &out->labels, err);
    if (code != NX_OK)
        return code;
    struct nx_str rest = slice(line, end, line.len);
    *out_is_start_times = nx_str_starts_with(rest, NX_STR("@st"));
    if (*out_is_start_times)
        return NX_OK;
    for (rest = nx_str_trim(rest); rest.len > 0; rest = nx_str_trim(rest))
        if (!read_item(&rest, arena, out))
            return nx_err_set(err, NX_E_INVALID, "bad item in series line at \"%.*s\"",
                              NX_STR_ARGS(rest));
    return NX_OK;
}
