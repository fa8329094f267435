/* SPDX-License-Identifier: Apache-2.0
 *
 * api_series.c - /api/v1/series: the label sets that selectors name.
 *
 * In       match[] (one at least), start, end, limit.
 * Out      a list of label objects in label order, each once.
 * Fails    400 bad_data; storage errors 500.
 *
 * Several selectors are a union: their sets, each in label order, are merged by smallest labels.
 */
#include "narthex/base/mem.h"

#include "api_internal.h"

/* Series written between two looks at the clock, the client and the memory. */
#define SERIES_PER_CHECK 256u

struct series_input {
    struct series_set *set;
    struct series_columns current;
    bool has_current;
};

static nx_code advance(struct series_input *input, struct nx_err *err)
{
    int more = input->set->ops->next(input->set, &input->current, err);
    input->has_current = more > 0;
    return more < 0 ? err->code : NX_OK;
}

/* The input with the smallest labels; NULL when all have ended. */
static struct series_input *smallest(struct series_input *inputs, size_t count)
{
    struct series_input *found = NULL;
    for (size_t i = 0; i < count; i++)
        if (inputs[i].has_current &&
            (found == NULL || labels_compare(inputs[i].current.labels, found->current.labels) < 0))
            found = &inputs[i];
    return found;
}

/* Passes over the series that `least` holds in every other input, then in `least` itself. */
static nx_code skip_equal(struct series_input *inputs, size_t count, struct series_input *least,
                          struct nx_err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (&inputs[i] == least || !inputs[i].has_current ||
            !labels_equal(inputs[i].current.labels, least->current.labels))
            continue;
        nx_code code = advance(&inputs[i], err);
        if (code != NX_OK)
            return code;
    }
    return advance(least, err);
}

struct series_call {
    struct api_match match;
    struct arena arena; /* matchers, and what the sets decode into: within one query's budget */
    struct series_input *inputs;
    size_t input_count;
    int64_t start_ms, end_ms;
    size_t limit;
    bool is_truncated;
    struct series_warnings warnings;
};

/* Writes the union of all inputs into `out`. */
static nx_code put_series(struct api_job *job, struct series_call *call, struct nx_buf *out,
                          struct nx_err *err)
{
    struct series_input *least;
    size_t written = 0;
    nx_buf_append_byte(out, '[');
    while ((least = smallest(call->inputs, call->input_count)) != NULL) {
        if (call->limit > 0 && written == call->limit) {
            call->is_truncated = true;
            break;
        }
        if (written++ > 0)
            nx_buf_append_byte(out, ',');
        api_json_labels(out, least->current.labels);
        nx_code code = NX_OK;
        if (written % SERIES_PER_CHECK == 0)
            code = api_job_check(job, out->len, err);
        if (code == NX_OK)
            code = skip_equal(call->inputs, call->input_count, least, err);
        if (code != NX_OK)
            return code;
    }
    nx_buf_append_byte(out, ']');
    return NX_OK;
}

static nx_code read_params(struct api_job *job, struct series_call *call, struct nx_err *err)
{
    nx_code code = api_param_limit(&job->params, &call->limit, err);
    if (code == NX_OK)
        code = api_param_time(&job->params, "start", INT64_MIN, &call->start_ms, err);
    if (code == NX_OK)
        code = api_param_time(&job->params, "end", INT64_MAX, &call->end_ms, err);
    if (code == NX_OK)
        code = api_param_match(&job->params, &call->arena, &call->match, err);
    if (code == NX_OK && call->match.list_count == 0)
        code = nx_err_set(err, NX_E_INVALID, "no match[] parameter provided");
    return code;
}

static nx_code select_all(struct api_job *job, struct series_call *call, struct nx_err *err)
{
    struct series_source *source = store_source(job->api->store);
    struct series_hints hints = {.labels_only = true,
                                 .arena = &call->arena,
                                 .is_cancelled = http_request_cancel_flag(job->request)};
    call->inputs = nx_calloc(call->match.list_count, sizeof(*call->inputs));
    for (size_t i = 0; i < call->match.list_count; i++) {
        struct series_input *input = &call->inputs[i];
        nx_code code =
            source->ops->select(source, call->match.lists[i], call->match.counts[i], call->start_ms,
                                call->end_ms, &hints, &input->set, &call->warnings, err);
        if (code != NX_OK)
            return code;
        call->input_count++;
        code = advance(input, err);
        if (code == NX_OK)
            code = api_job_check(job, 0, err);
        if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

static void run_series(struct api_job *job)
{
    struct series_call call = {0};
    struct api_answer answer;
    struct nx_err err;
    arena_init(&call.arena, job->api->query_limits.memory_bytes_max);
    call.arena.pool = job->api->query_limits.pool;
    api_answer_begin(&answer, job->request);
    nx_code code = read_params(job, &call, &err);
    if (code == NX_OK)
        code = select_all(job, &call, &err);
    if (code == NX_OK)
        code = put_series(job, &call, &answer.buf, &err);
    /* Before the answer: sets poll the request's cancel flag, which ends with it. */
    for (size_t i = 0; i < call.input_count; i++)
        call.inputs[i].set->ops->free(call.inputs[i].set);
    nx_free(call.inputs);
    api_match_deinit(&call.match);
    if (code == NX_OK) {
        api_answer_end(&answer, NULL, &call.warnings, call.is_truncated);
    } else {
        nx_buf_deinit(&answer.buf);
        api_respond_error(job->request, &err);
    }
    arena_deinit(&call.arena);
}

static void handle_series(void *context, struct http_request *request)
{
    api_job_submit(context, request, run_series);
}

nx_code api_series_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"GET", "/api/v1/series", handle_series, api, 0},
        {"POST", "/api/v1/series", handle_series, api, 0},
    };
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
