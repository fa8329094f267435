/* api_internal.h - what the endpoints share: the API's state, jobs, parameters, errors, the JSON envelope. */
#pragma once

#include "narthex/api/api.h"
#include "narthex/base/buf.h"
#include "narthex/base/thread.h"
#include "narthex/http/http_query.h"
#include "narthex/http/http_response.h"
#include "narthex/http/http_server.h"
#include "narthex/model/series.h"
#include "narthex/promql/value.h"

enum api_state {
    API_STARTING,
    API_READY,
    API_STOPPING,
};

/* Counts of the store that were added to the counters so far. */
struct api_seen {
    uint64_t series_created, series_removed, late_samples, quarantined_blocks;
};

struct api {
    const struct clock *clock;        /* [I] */
    struct query_limits query_limits; /* [I] */
    struct mem_budget *budget;        /* [I] may be NULL */
    int64_t started_ms;               /* [I] */
    struct worker_pool *ingest_pool;  /* [I] */
    struct worker_pool *query_pool;   /* [I] */
    struct worker_pool *admin_pool;   /* [I] one thread; NULL: the admin API is off */
    struct store *store;              /* [I] once state is API_READY */
    struct ingest *ingest;            /* [I] once state is API_READY */
    _Atomic unsigned jobs;            /* [A] relaxed: running or waiting in the query pool */
    struct api_seen seen;             /* [T: whoever renders /metrics, under the metrics lock] */
    _Atomic int state;                /* [A] release on store, acquire on load: enum api_state */
};

static inline enum api_state api_state(const struct api *api)
{
    return (enum api_state)atomic_load_explicit(&api->state, memory_order_acquire);
}

NX_NODISCARD nx_code api_add_routes(struct http_router *router, const struct http_route *routes,
                                    size_t count, struct nx_err *err);

/* Routes of one endpoint file each. */
NX_NODISCARD nx_code api_write_routes(struct api *api, struct http_router *router,
                                      size_t body_bytes_max, struct nx_err *err);
NX_NODISCARD nx_code api_query_routes(struct api *api, struct http_router *router,
                                      struct nx_err *err);
NX_NODISCARD nx_code api_series_routes(struct api *api, struct http_router *router,
                                       struct nx_err *err);
NX_NODISCARD nx_code api_labels_routes(struct api *api, struct http_router *router,
                                       struct nx_err *err);
NX_NODISCARD nx_code api_status_routes(struct api *api, struct http_router *router,
                                       struct nx_err *err);
NX_NODISCARD nx_code api_cardinality_routes(struct api *api, struct http_router *router,
                                            struct nx_err *err);
NX_NODISCARD nx_code api_metadata_routes(struct api *api, struct http_router *router,
                                         struct nx_err *err);
NX_NODISCARD nx_code api_exemplars_routes(struct api *api, struct http_router *router,
                                          struct nx_err *err);
NX_NODISCARD nx_code api_health_routes(struct api *api, struct http_router *router,
                                       struct nx_err *err);
NX_NODISCARD nx_code api_admin_routes(struct api *api, struct http_router *router,
                                      struct nx_err *err);
NX_NODISCARD nx_code api_metrics_routes(struct api *api, struct http_router *router,
                                        struct nx_err *err);
NX_NODISCARD nx_code api_snapshot_routes(struct api *api, struct http_router *router,
                                         struct nx_err *err);

/* ---- api_job.c: work that may read the store leaves the transport thread ---- */

struct api_job;
typedef void (*api_job_fn)(struct api_job *job);
struct api_job {
    struct api *api;
    struct http_request *request;
    api_job_fn run;
    uint64_t received_ns;
    struct http_params params; /* parsed before run */
};
/* Hands the request to the query pool: `run` is called there and answers it. 503 when not ready or the queue is
 * full. */
void api_job_submit(struct api *api, struct http_request *request, api_job_fn run);
/* The same for admin calls: one at a time, on a thread of their own. "admin APIs disabled" unless they are enabled. */
void api_admin_submit(struct api *api, struct http_request *request, api_job_fn run);
/* For work that is not a query but has a query's limits: NX_E_CANCELLED when the client left, NX_E_TIMEOUT after
 * --query.timeout since receipt, NX_E_LIMIT when the answer so far exceeds --query.max-memory. */
NX_NODISCARD nx_code api_job_check(const struct api_job *job, size_t answer_bytes,
                                   struct nx_err *err);

#define API_REFUSED_OVERLOAD 5 /* row of METRIC_HTTP_REFUSED: a full queue */

/* ---- api_errors.c ---- */

/* {"status":"error","errorType":...,"error":...} with the status of the code. */
void api_respond_error(struct http_request *request, const struct nx_err *err);
/* What a flag has not enabled: 500 with errorType "unavailable", as Prometheus. */
void api_respond_disabled(struct http_request *request, const char *why);
/* 503 as plain text with Retry-After. */
void api_respond_unavailable(struct http_request *request, const char *why);
/* Status of a write outcome. */
unsigned api_write_status(nx_code code);

/* ---- api_params.c: each returns NX_E_INVALID with Prometheus' text, "invalid parameter ..." ---- */

NX_NODISCARD nx_code api_param_time(const struct http_params *params, const char *name,
                                    int64_t default_ms, int64_t *out_ms, struct nx_err *err);
NX_NODISCARD nx_code api_param_time_required(const struct http_params *params, const char *name,
                                             int64_t *out_ms, struct nx_err *err);
NX_NODISCARD nx_code api_param_duration(const struct http_params *params, const char *name,
                                        int64_t default_ms, int64_t *out_ms, struct nx_err *err);
NX_NODISCARD nx_code api_param_duration_required(const struct http_params *params, const char *name,
                                                 int64_t *out_ms, struct nx_err *err);
NX_NODISCARD nx_code api_param_limit(const struct http_params *params, size_t *out_limit,
                                     struct nx_err *err);

/* match[] parameters: one matcher list each. The regexes are freed by api_match_deinit. */
struct api_match {
    struct matcher **lists; /* in the request's arena */
    size_t *counts;
    size_t list_count;
};
NX_NODISCARD nx_code api_param_match(const struct http_params *params, struct arena *arena,
                                     struct api_match *out_match, struct nx_err *err);
void api_match_deinit(struct api_match *match); /* safe on a zeroed struct and twice */

/* ---- api_json.c: answers ---- */

/* An answer in the making: sent whole when it is short, streamed when it grows. */
struct api_answer {
    struct http_request *request;
    struct nx_buf buf;
    bool is_streaming;
    bool is_cancelled;
};
void api_answer_begin(struct api_answer *answer,
                      struct http_request *request); /* {"status":"success","data": */
/* Call between elements: hands pieces over once the buffer is large. False: the client is gone, stop. */
bool api_answer_pace(struct api_answer *answer);
/* Warnings and infos, the closing brace, and off it goes. */
void api_answer_end(struct api_answer *answer, const struct annotations *annotations,
                    const struct series_warnings *warnings, bool is_truncated);

void api_json_labels(struct nx_buf *out, struct labels labels);
void api_json_value(struct api_answer *answer, const struct value *value, size_t limit,
                    bool *out_truncated);

/* ---- api_metrics.c ---- */

void api_metrics_end(struct api *api); /* takes back the collect hook */
