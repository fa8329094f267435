/* SPDX-License-Identifier: Apache-2.0
 *
 * api_labels.c - /api/v1/labels and /api/v1/label/<name>/values.
 *
 * In       match[] (any number, a union), start, end, limit; the name, perhaps in U__ escaping.
 * Out      sorted distinct strings.
 * Fails    400 bad_data; storage errors 500.
 */
#include "narthex/codec/json_write.h"

#include "api_internal.h"

#include <stdlib.h>

struct labels_call {
    struct arena arena;
    struct api_match match;
    int64_t start_ms, end_ms;
    size_t limit;
    bool is_values;
    struct nx_str name; /* of the values asked for */
    struct nx_str *strings;
    size_t count;
    bool is_truncated;
    struct series_warnings warnings;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static size_t put_utf8(char *out, uint32_t rune)
{
    if (rune < 0x80) {
        out[0] = (char)rune;
        return 1;
    }
    if (rune < 0x800) {
        out[0] = (char)(0xc0 | (rune >> 6));
        out[1] = (char)(0x80 | (rune & 0x3f));
        return 2;
    }
    if (rune < 0x10000) {
        out[0] = (char)(0xe0 | (rune >> 12));
        out[1] = (char)(0x80 | ((rune >> 6) & 0x3f));
        out[2] = (char)(0x80 | (rune & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | (rune >> 18));
    out[1] = (char)(0x80 | ((rune >> 12) & 0x3f));
    out[2] = (char)(0x80 | ((rune >> 6) & 0x3f));
    out[3] = (char)(0x80 | (rune & 0x3f));
    return 4;
}

/* "U__a_2e_b" is "a.b": __ stands for _, _HEX_ for a code point (Prometheus' value escaping). A name that does not
 * follow the rules is taken as it is. */
static struct nx_str unescape_name(struct arena *arena, struct nx_str name)
{
    if (!nx_str_starts_with(name, NX_STR("U__")))
        return name;
    char *out = arena_alloc(arena, name.len);
    size_t length = 0;
    if (out == NULL)
        return name;
    for (size_t i = 3; i < name.len;) {
        if (name.data[i] != '_') {
            out[length++] = name.data[i++];
            continue;
        }
        if (i + 1 < name.len && name.data[i + 1] == '_') {
            out[length++] = '_';
            i += 2;
            continue;
        }
        uint32_t rune = 0;
        unsigned digits = 0;
        int digit;
        for (i++; i < name.len && digits < 6 && (digit = hex_digit(name.data[i])) >= 0;
             i++, digits++)
            rune = rune * 16 + (uint32_t)digit;
        if (digits == 0 || i >= name.len || name.data[i] != '_' || rune > 0x10ffff ||
            (rune >= 0xd800 && rune < 0xe000))
            return name;
        length += put_utf8(out + length, rune);
        i++;
    }
    return (struct nx_str){.data = out, .len = length};
}

static nx_code read_params(struct api_job *job, struct labels_call *call, struct nx_err *err)
{
    if (call->is_values) {
        call->name = unescape_name(&call->arena, http_request_param(job->request));
        if (call->name.len == 0 || !nx_utf8_is_valid(call->name))
            return nx_err_set(err, NX_E_INVALID, "invalid label name: \"%.*s\"",
                              (int)(call->name.len < 100 ? call->name.len : 100), call->name.data);
    }
    nx_code code = api_param_limit(&job->params, &call->limit, err);
    if (code == NX_OK)
        code = api_param_time(&job->params, "start", INT64_MIN, &call->start_ms, err);
    if (code == NX_OK)
        code = api_param_time(&job->params, "end", INT64_MAX, &call->end_ms, err);
    if (code == NX_OK)
        code = api_param_match(&job->params, &call->arena, &call->match, err);
    return code;
}

static nx_code read_list(struct api_job *job, struct labels_call *call,
                         const struct matcher *matchers, size_t matcher_count, size_t limit,
                         struct nx_str **out, size_t *out_count, struct nx_err *err)
{
    struct series_source *source = store_source(job->api->store);
    if (call->is_values)
        return source->ops->label_values(source, call->name, matchers, matcher_count,
                                         call->start_ms, call->end_ms, limit, &call->arena, out,
                                         out_count, &call->is_truncated, &call->warnings, err);
    return source->ops->label_names(source, matchers, matcher_count, call->start_ms, call->end_ms,
                                    limit, &call->arena, out, out_count, &call->is_truncated,
                                    &call->warnings, err);
}

static int compare_strings(const void *a, const void *b)
{
    return nx_str_cmp(*(const struct nx_str *)a, *(const struct nx_str *)b);
}

/* Appends a list to the union, which is sorted and made distinct at the end. */
static nx_code add_list(struct labels_call *call, const struct nx_str *list, size_t count,
                        struct nx_err *err)
{
    if (count == 0)
        return NX_OK;
    struct nx_str *strings = arena_grow(&call->arena, call->strings, call->count * sizeof(*strings),
                                        (call->count + count) * sizeof(*strings));
    if (strings == NULL)
        return nx_err_set(err, NX_E_LIMIT,
                          "the answer needs more memory than --query.max-memory allows");
    memcpy(strings + call->count, list, count * sizeof(*strings));
    call->strings = strings;
    call->count += count;
    return NX_OK;
}

static nx_code read_union(struct api_job *job, struct labels_call *call, struct nx_err *err)
{
    for (size_t i = 0; i < call->match.list_count; i++) {
        struct nx_str *list;
        size_t count;
        nx_code code = read_list(job, call, call->match.lists[i], call->match.counts[i], 0, &list,
                                 &count, err);
        if (code == NX_OK)
            code = add_list(call, list, count, err);
        if (code == NX_OK)
            code = api_job_check(job, 0, err);
        if (code != NX_OK)
            return code;
    }
    if (call->count > 0)
        qsort(call->strings, call->count, sizeof(*call->strings), compare_strings);
    size_t kept = 0;
    for (size_t i = 0; i < call->count; i++)
        if (kept == 0 || !nx_str_eq(call->strings[kept - 1], call->strings[i]))
            call->strings[kept++] = call->strings[i];
    call->count = kept;
    return NX_OK;
}

static void respond(struct api_job *job, struct labels_call *call)
{
    struct api_answer answer;
    if (call->limit > 0 && call->count > call->limit) {
        call->count = call->limit;
        call->is_truncated = true;
    }
    api_answer_begin(&answer, job->request);
    nx_buf_append_byte(&answer.buf, '[');
    for (size_t i = 0; i < call->count; i++) {
        if (i > 0)
            nx_buf_append_byte(&answer.buf, ',');
        json_string(&answer.buf, call->strings[i]);
        if (!api_answer_pace(&answer))
            break;
    }
    nx_buf_append_byte(&answer.buf, ']');
    api_answer_end(&answer, NULL, &call->warnings, call->is_truncated);
}

static void run_call(struct api_job *job, bool is_values)
{
    struct labels_call call = {.is_values = is_values};
    struct nx_err err;
    arena_init(&call.arena, job->api->query_limits.memory_bytes_max);
    call.arena.pool = job->api->query_limits.pool;
    nx_code code = read_params(job, &call, &err);
    if (code == NX_OK && call.match.list_count > 1)
        code = read_union(job, &call, &err);
    else if (code == NX_OK)
        code = read_list(job, &call, call.match.list_count > 0 ? call.match.lists[0] : NULL,
                         call.match.list_count > 0 ? call.match.counts[0] : 0, call.limit,
                         &call.strings, &call.count, &err);
    if (code == NX_OK)
        respond(job, &call);
    else
        api_respond_error(job->request, &err);
    api_match_deinit(&call.match);
    arena_deinit(&call.arena);
}

static void run_names(struct api_job *job)
{
    run_call(job, false);
}

static void run_values(struct api_job *job)
{
    run_call(job, true);
}

static void handle_labels(void *context, struct http_request *request)
{
    api_job_submit(context, request, run_names);
}

static void handle_label_values(void *context, struct http_request *request)
{
    api_job_submit(context, request, run_values);
}

nx_code api_labels_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"GET", "/api/v1/labels", handle_labels, api, 0},
        {"POST", "/api/v1/labels", handle_labels, api, 0},
        {"GET", "/api/v1/label/{name}/values", handle_label_values, api, 0},
    };
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
