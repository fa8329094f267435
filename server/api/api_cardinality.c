/* SPDX-License-Identifier: Apache-2.0
 *
 * api_cardinality.c - /api/v1/status/tsdb as Prometheus answers it, and /api/v1/status/cardinality with growth.
 *
 * In       limit 1..10000 (10); of status/cardinality one of metric=NAME, label=NAME, pair=NAME=VALUE instead.
 * Out      status/tsdb: headStats and four lists of {name, value}. status/cardinality: totals and, for each kind, the
 *          rows with the most series (values, of a label) and those that grew most in an hour and in a day; or one row.
 *          README tells the fields. Numbers of series and of one row are exact; lists are seconds old.
 * Fails    400 bad_data.
 */
#include "narthex/codec/json_write.h"
#include "narthex/head/cardinality.h"

#include "api_internal.h"

#define LIMIT_DEFAULT 10

/* Go's strconv.Atoi takes a plus sign, too. */
static nx_code param_limit(const struct http_params *params, size_t *out_limit, struct nx_err *err)
{
    struct nx_str text;
    int64_t limit;
    *out_limit = LIMIT_DEFAULT;
    if (!http_params_get(params, NX_STR("limit"), &text) || text.len == 0)
        return NX_OK;
    if (text.len > 1 && text.data[0] == '+' && text.data[1] != '-')
        text = (struct nx_str){.data = text.data + 1, .len = text.len - 1};
    if (!nx_str_to_i64(text, &limit) || limit < 1)
        return nx_err_set(err, NX_E_INVALID, "limit must be a positive number");
    if (limit > CARDINALITY_ROWS_MAX)
        return nx_err_set(err, NX_E_INVALID, "limit must not exceed %u", CARDINALITY_ROWS_MAX);
    *out_limit = (size_t)limit;
    return NX_OK;
}

static void put_key(struct nx_buf *out, const char *key)
{
    json_comma(out);
    json_string(out, nx_str_from(key));
    nx_buf_append_byte(out, ':');
}

static void put_int(struct nx_buf *out, const char *key, int64_t value)
{
    put_key(out, key);
    json_int(out, value);
}

static void put_uint(struct nx_buf *out, const char *key, uint64_t value)
{
    put_key(out, key);
    json_uint(out, value);
}

/* ---- status/tsdb ---- */

static void put_stats(struct api_answer *answer, const char *key,
                      const struct cardinality_view *view, enum cardinality_kind kind,
                      enum cardinality_order order, size_t limit)
{
    struct nx_buf *out = &answer->buf;
    size_t count = cardinality_view_count(view, kind, order);
    nx_buf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < count && i < limit; i++) {
        struct cardinality_row row = cardinality_view_row(view, kind, order, i);
        nx_buf_append_cstr(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        json_string(out, row.text);
        nx_buf_append_cstr(out, ",\"value\":");
        json_uint(out, order == CARDINALITY_BY_BYTES ? row.bytes : row.count);
        nx_buf_append_byte(out, '}');
        if (!api_answer_pace(answer))
            return;
    }
    nx_buf_append_byte(out, ']');
}

static void put_head_stats(struct nx_buf *out, struct api *api)
{
    struct store_stats stats;
    struct cardinality_totals totals;
    store_stats(api->store, &stats);
    cardinality_totals(store_cardinality(api->store), &totals);
    nx_buf_append_cstr(out, "\"headStats\":{");
    put_uint(out, "numSeries", totals.series);
    put_uint(out, "numLabelPairs", totals.pairs);
    put_uint(out, "chunkCount", stats.head.chunks);
    put_int(out, "minTime", stats.head.min_time_ms);
    put_int(out, "maxTime", stats.head.max_time_ms);
    nx_buf_append_byte(out, '}');
}

static void run_tsdb(struct api_job *job)
{
    struct nx_err err;
    size_t limit;
    if (param_limit(&job->params, &limit, &err) != NX_OK) {
        api_respond_error(job->request, &err);
        return;
    }
    struct api_answer answer;
    api_answer_begin(&answer, job->request);
    nx_buf_append_byte(&answer.buf, '{');
    put_head_stats(&answer.buf, job->api);
    struct cardinality_view *view = cardinality_view_begin(store_cardinality(job->api->store));
    put_stats(&answer, "seriesCountByMetricName", view, CARDINALITY_METRIC, CARDINALITY_BY_COUNT,
              limit);
    put_stats(&answer, "labelValueCountByLabelName", view, CARDINALITY_LABEL, CARDINALITY_BY_COUNT,
              limit);
    put_stats(&answer, "memoryInBytesByLabelName", view, CARDINALITY_LABEL, CARDINALITY_BY_BYTES,
              limit);
    put_stats(&answer, "seriesCountByLabelValuePair", view, CARDINALITY_PAIR, CARDINALITY_BY_COUNT,
              limit);
    cardinality_view_end(view);
    nx_buf_append_byte(&answer.buf, '}');
    api_answer_end(&answer, NULL, NULL, false);
}

/* ---- status/cardinality ---- */

static void put_growth(struct nx_buf *out, const char *key, const struct cardinality_row *row,
                       int64_t growth)
{
    put_key(out, key);
    if (row->has_growth)
        json_int(out, growth);
    else
        nx_buf_append_cstr(out, "null");
}

/* The fields of a row after its name. */
static void put_counts(struct nx_buf *out, enum cardinality_kind kind,
                       const struct cardinality_row *row)
{
    if (kind == CARDINALITY_LABEL) {
        put_uint(out, "values", row->count);
        put_uint(out, "bytes", row->bytes);
    }
    put_uint(out, "series", row->series);
    put_growth(out, "growth_1h", row, row->growth_1h);
    put_growth(out, "growth_1d", row, row->growth_1d);
}

static void put_name(struct nx_buf *out, struct nx_str name)
{
    put_key(out, "name");
    json_string(out, name);
}

static void put_value(struct nx_buf *out, struct nx_str value)
{
    put_key(out, "value");
    json_string(out, value);
}

static void put_row(struct nx_buf *out, enum cardinality_kind kind,
                    const struct cardinality_row *row)
{
    nx_buf_append_byte(out, '{');
    put_name(out, (struct nx_str){.data = row->text.data, .len = row->name_len});
    if (kind == CARDINALITY_PAIR)
        put_value(out, (struct nx_str){.data = row->text.data + row->name_len + 1,
                                       .len = row->text.len - row->name_len - 1});
    put_counts(out, kind, row);
    nx_buf_append_byte(out, '}');
}

static void put_list(struct api_answer *answer, const char *key,
                     const struct cardinality_view *view, enum cardinality_kind kind,
                     enum cardinality_order order, size_t limit)
{
    struct nx_buf *out = &answer->buf;
    size_t count = cardinality_view_count(view, kind, order);
    put_key(out, key);
    nx_buf_append_byte(out, '[');
    for (size_t i = 0; i < count && i < limit; i++) {
        struct cardinality_row row = cardinality_view_row(view, kind, order, i);
        if (i > 0)
            nx_buf_append_byte(out, ',');
        put_row(out, kind, &row);
        if (!api_answer_pace(answer))
            return;
    }
    nx_buf_append_byte(out, ']');
}

static void put_kind(struct api_answer *answer, const char *key, uint64_t count,
                     const char *by_count, const struct cardinality_view *view,
                     enum cardinality_kind kind, size_t limit)
{
    nx_buf_printf(&answer->buf, ",\"%s\":{", key);
    put_uint(&answer->buf, "count", count);
    put_list(answer, by_count, view, kind, CARDINALITY_BY_COUNT, limit);
    put_list(answer, "by_growth_1h", view, kind, CARDINALITY_BY_GROWTH_1H, limit);
    put_list(answer, "by_growth_1d", view, kind, CARDINALITY_BY_GROWTH_1D, limit);
    nx_buf_append_byte(&answer->buf, '}');
}

/* From when on the growth of an answer counts. */
static void put_times(struct nx_buf *out, const struct cardinality_totals *totals)
{
    put_int(out, "since_ms", totals->since_ms);
    put_int(out, "since_1h_ms", totals->hour.since_ms);
    put_int(out, "since_1d_ms", totals->day.since_ms);
}

static void put_totals(struct nx_buf *out, const struct cardinality_totals *totals)
{
    nx_buf_append_cstr(out, ",\"series\":{");
    put_uint(out, "count", totals->series);
    put_int(out, "growth_1h", totals->hour.growth);
    put_int(out, "growth_1d", totals->day.growth);
    put_uint(out, "created_1h", totals->hour.created);
    put_uint(out, "created_1d", totals->day.created);
    put_uint(out, "removed_1h", totals->hour.removed);
    put_uint(out, "removed_1d", totals->day.removed);
    nx_buf_append_byte(out, '}');
}

static void answer_lists(struct api_job *job, size_t limit)
{
    struct cardinality *cardinality = store_cardinality(job->api->store);
    struct cardinality_totals totals;
    struct api_answer answer;
    cardinality_totals(cardinality, &totals);
    struct cardinality_view *view = cardinality_view_begin(cardinality);
    api_answer_begin(&answer, job->request);
    nx_buf_append_byte(&answer.buf, '{');
    put_int(&answer.buf, "refreshed_ms", totals.refreshed_ms);
    put_times(&answer.buf, &totals);
    put_totals(&answer.buf, &totals);
    put_kind(&answer, "metrics", totals.metrics, "by_series", view, CARDINALITY_METRIC, limit);
    put_kind(&answer, "labels", totals.labels, "by_values", view, CARDINALITY_LABEL, limit);
    put_kind(&answer, "pairs", totals.pairs, "by_series", view, CARDINALITY_PAIR, limit);
    cardinality_view_end(view);
    nx_buf_append_byte(&answer.buf, '}');
    api_answer_end(&answer, NULL, NULL, false);
}

static void answer_one(struct api_job *job, enum cardinality_kind kind, struct nx_str name,
                       struct nx_str value)
{
    struct cardinality *cardinality = store_cardinality(job->api->store);
    struct cardinality_totals totals;
    struct cardinality_row row;
    struct api_answer answer;
    cardinality_totals(cardinality, &totals);
    cardinality_find(cardinality, kind, name, value, &row);
    api_answer_begin(&answer, job->request);
    nx_buf_append_byte(&answer.buf, '{');
    put_name(&answer.buf, name);
    if (kind == CARDINALITY_PAIR)
        put_value(&answer.buf, value);
    put_counts(&answer.buf, kind, &row);
    put_times(&answer.buf, &totals);
    nx_buf_append_byte(&answer.buf, '}');
    api_answer_end(&answer, NULL, NULL, false);
}

/* Which item is asked for. *out_kind is CARDINALITY_KIND_COUNT when none is. */
static nx_code param_item(const struct http_params *params, enum cardinality_kind *out_kind,
                          struct nx_str *out_name, struct nx_str *out_value, struct nx_err *err)
{
    static const char *const names[CARDINALITY_KIND_COUNT] = {"metric", "label", "pair"};
    unsigned given = 0;
    *out_kind = CARDINALITY_KIND_COUNT;
    *out_value = NX_STR("");
    for (unsigned i = 0; i < CARDINALITY_KIND_COUNT; i++) {
        if (!http_params_get(params, nx_str_from(names[i]), out_name))
            continue;
        *out_kind = i;
        given++;
    }
    if (given > 1)
        return nx_err_set(err, NX_E_INVALID,
                          "only one of the parameters metric, label and pair may be given");
    if (given == 0)
        return NX_OK;
    http_params_get(params, nx_str_from(names[*out_kind]), out_name);
    struct nx_str text = *out_name;
    if (*out_kind == CARDINALITY_PAIR && !nx_str_split(text, '=', out_name, out_value))
        return nx_err_set(err, NX_E_INVALID, "invalid parameter \"pair\": it is not name=value");
    return NX_OK;
}

static void run_cardinality(struct api_job *job)
{
    struct nx_err err;
    size_t limit;
    enum cardinality_kind kind = CARDINALITY_KIND_COUNT;
    struct nx_str name;
    struct nx_str value;
    nx_code code = param_limit(&job->params, &limit, &err);
    if (code == NX_OK)
        code = param_item(&job->params, &kind, &name, &value, &err);
    if (code != NX_OK)
        api_respond_error(job->request, &err);
    else if (kind == CARDINALITY_KIND_COUNT)
        answer_lists(job, limit);
    else
        answer_one(job, kind, name, value);
}

static void handle_tsdb(void *context, struct http_request *request)
{
    api_job_submit(context, request, run_tsdb);
}

static void handle_cardinality(void *context, struct http_request *request)
{
    api_job_submit(context, request, run_cardinality);
}

nx_code api_cardinality_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"GET", "/api/v1/status/tsdb", handle_tsdb, api, 0},
        {"GET", "/api/v1/status/cardinality", handle_cardinality, api, 0},
    };
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
