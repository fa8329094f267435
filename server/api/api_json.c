/* SPDX-License-Identifier: Apache-2.0
 *
 * api_json.c - the envelope and the values of the query API, written as they go out.
 *
 * An answer below PIECE_BYTES is sent whole, with its length; above, in pieces with back-pressure, so that a large
 * matrix is never in memory twice. Key order is Prometheus': status, data, errorType, error, warnings, infos.
 */
#include "narthex/base/float_text.h"
#include "narthex/codec/json_write.h"

#include "api_internal.h"

#define PIECE_BYTES ((size_t)256 << 10)

/* Prometheus shows at most ten of each kind. */
#define ANNOTATIONS_SHOWN 10u

static struct http_headers json_headers(void)
{
    struct http_headers headers = {0};
    http_headers_add(&headers, "Content-Type", NX_STR("application/json"));
    headers.can_compress = true;
    return headers;
}

void api_answer_begin(struct api_answer *answer, struct http_request *request)
{
    *answer = (struct api_answer){.request = request};
    nx_buf_append_cstr(&answer->buf, "{\"status\":\"success\",\"data\":");
}

bool api_answer_pace(struct api_answer *answer)
{
    if (answer->buf.len < PIECE_BYTES)
        return !answer->is_cancelled;
    if (!answer->is_streaming) {
        struct http_headers headers = json_headers();
        http_respond_begin(answer->request, 200, &headers);
        answer->is_streaming = true;
    }
    if (!answer->is_cancelled &&
        http_respond_write(answer->request, nx_buf_bytes(&answer->buf)) != NX_OK)
        answer->is_cancelled = true;
    nx_buf_reset(&answer->buf);
    return !answer->is_cancelled;
}

/* "warnings":[...] or "infos":[...]; nothing when there is none. */
static void put_annotations(struct nx_buf *out, const char *key, const char *omitted,
                            enum annotation_kind kind, const struct annotations *annotations,
                            const struct series_warnings *warnings, bool is_truncated)
{
    size_t shown = 0, count = 0;
    struct nx_buf list = {0};
    if (kind == ANNOTATION_WARNING && is_truncated) {
        json_string(&list, NX_STR("results truncated due to limit"));
        count = shown = 1;
    }
    for (size_t i = 0; kind == ANNOTATION_WARNING && warnings != NULL && i < warnings->count;
         i++, count++) {
        json_comma(&list);
        json_string(&list, warnings->texts[i]);
        shown++;
    }
    for (size_t i = 0; annotations != NULL && i < annotations->count; i++) {
        if (annotations->items[i].kind != kind)
            continue;
        count++;
        if (shown >= ANNOTATIONS_SHOWN)
            continue;
        if (list.len > 0)
            nx_buf_append_byte(&list, ',');
        json_string(&list, annotations->items[i].text);
        shown++;
    }
    if (count > shown)
        nx_buf_printf(&list, ",\"%zu more %s omitted\"", count - shown, omitted);
    if (count > 0) {
        nx_buf_printf(out, ",\"%s\":[", key);
        nx_buf_append_str(out, nx_buf_str(&list));
        nx_buf_append_byte(out, ']');
    }
    nx_buf_deinit(&list);
}

void api_answer_end(struct api_answer *answer, const struct annotations *annotations,
                    const struct series_warnings *warnings, bool is_truncated)
{
    put_annotations(&answer->buf, "warnings", "warning annotations", ANNOTATION_WARNING,
                    annotations, warnings, is_truncated);
    put_annotations(&answer->buf, "infos", "info annotations", ANNOTATION_INFO, annotations, NULL,
                    false);
    nx_buf_append_byte(&answer->buf, '}');
    if (!answer->is_streaming) {
        struct http_headers headers = json_headers();
        http_respond(answer->request, 200, &headers, &answer->buf);
        return;
    }
    if (!answer->is_cancelled)
        nx_ignore(http_respond_write(answer->request, nx_buf_bytes(&answer->buf)));
    http_respond_end(answer->request);
    nx_buf_deinit(&answer->buf);
}

void api_json_labels(struct nx_buf *out, struct labels labels)
{
    nx_buf_append_byte(out, '{');
    for (size_t i = 0; i < labels.count; i++) {
        if (i > 0)
            nx_buf_append_byte(out, ',');
        json_string_raw(out, labels.items[i].name);
        nx_buf_append_byte(out, ':');
        json_string_raw(out, labels.items[i].value);
    }
    nx_buf_append_byte(out, '}');
}

static void put_point(struct nx_buf *out, int64_t time_ms, double value)
{
    nx_buf_append_byte(out, '[');
    json_timestamp(out, time_ms);
    nx_buf_append_byte(out, ',');
    json_sample_value(out, value);
    nx_buf_append_byte(out, ']');
}

/* The time of a scalar or a string: a plain number, as Go's encoding/json writes it (Prometheus' promql/value.go). */
static void put_value_time(struct nx_buf *out, int64_t time_ms)
{
    char text[FLOAT_TEXT_MAX];
    nx_buf_append(out, text, float_text_json(text, (double)time_ms / 1000));
}

/* As a point, but never with an exponent. */
static void put_scalar(struct nx_buf *out, int64_t time_ms, double value)
{
    char text[FLOAT_TEXT_MAX];
    size_t length = float_text_f(text, value);
    nx_buf_append_byte(out, '[');
    put_value_time(out, time_ms);
    nx_buf_append_cstr(out, ",\"");
    nx_buf_append(out, text, length);
    nx_buf_append_cstr(out, "\"]");
}

static void put_vector_item(struct nx_buf *out, const struct value_series *series)
{
    nx_buf_append_cstr(out, "{\"metric\":");
    api_json_labels(out, series->labels);
    nx_buf_append_cstr(out, ",\"value\":");
    put_point(out, series->times_ms[0], series->values[0]);
    nx_buf_append_byte(out, '}');
}

static void put_matrix_item(struct api_answer *answer, const struct value_series *series)
{
    struct nx_buf *out = &answer->buf;
    nx_buf_append_cstr(out, "{\"metric\":");
    api_json_labels(out, series->labels);
    nx_buf_append_cstr(out, ",\"values\":[");
    for (size_t i = 0; i < series->count; i++) {
        if (i > 0)
            nx_buf_append_byte(out, ',');
        put_point(out, series->times_ms[i], series->values[i]);
        if ((i & 1023) == 1023 && !api_answer_pace(answer))
            return;
    }
    nx_buf_append_cstr(out, "]}");
}

static void put_series(struct api_answer *answer, const struct value *value, size_t limit,
                       bool *out_truncated)
{
    size_t count = value->series_count;
    if (limit > 0 && count > limit) {
        count = limit;
        *out_truncated = true;
    }
    nx_buf_append_byte(&answer->buf, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            nx_buf_append_byte(&answer->buf, ',');
        if (value->type == VALUE_TYPE_VECTOR)
            put_vector_item(&answer->buf, &value->series[i]);
        else
            put_matrix_item(answer, &value->series[i]);
        if (!api_answer_pace(answer))
            return;
    }
    nx_buf_append_byte(&answer->buf, ']');
}

void api_json_value(struct api_answer *answer, const struct value *value, size_t limit,
                    bool *out_truncated)
{
    struct nx_buf *out = &answer->buf;
    nx_buf_printf(out, "{\"resultType\":\"%s\",\"result\":", value_type_name(value->type));
    switch (value->type) {
    case VALUE_TYPE_VECTOR:
    case VALUE_TYPE_MATRIX:
        put_series(answer, value, limit, out_truncated);
        break;
    case VALUE_TYPE_SCALAR:
        put_scalar(out, value->time_ms, value->scalar);
        break;
    case VALUE_TYPE_STRING:
        nx_buf_append_byte(out, '[');
        put_value_time(out, value->time_ms);
        nx_buf_append_byte(out, ',');
        json_string(out, value->string);
        nx_buf_append_byte(out, ']');
        break;
    case VALUE_TYPE_NONE:
        nx_buf_append_cstr(out, "null");
        break;
    }
    nx_buf_append_byte(&answer->buf, '}');
}
