/* api.h - the HTTP surface: routes, parameters, status codes, JSON. One file per endpoint in server/api.
 *
 * Layer    api (uses http, ingest, query and what lies below).
 * Threads  handlers run on the transport thread and hand work to two pools: ingest and query. Nothing blocks the
 *          transport.
 * Start    routes answer from the first moment; until api_set_ready everything that needs the store is answered 503.
 */
#pragma once

#include "narthex/base/clock.h"
#include "narthex/base/err.h"
#include "narthex/base/mem_budget.h"
#include "narthex/http/http_router.h"
#include "narthex/ingest/ingest.h"
#include "narthex/query/query_limits.h"
#include "narthex/storage/store.h"

struct api;
struct api_options {
    const struct clock *clock;   /* borrowed */
    unsigned ingest_workers;     /* one a core */
    unsigned ingest_queue_max;   /* complete bodies waiting for a worker; above that 503 */
    size_t write_body_bytes_max; /* compressed; above that 413 */
    bool is_admin_enabled;       /* --web.enable-admin-api */
    struct query_limits query_limits;
    struct mem_budget *budget; /* borrowed, may be NULL */
};

/* Adds all routes to `router`, which must outlive the API. */
NX_NODISCARD nx_code api_new(struct api **out_api, const struct api_options *options,
                             struct http_router *router, struct nx_err *err);

/* From now on requests reach the store. All borrowed until api_free. */
void api_set_ready(struct api *api, struct store *store, struct ingest *ingest);

/* From now on writes and new queries get 503 with Retry-After; what runs goes on. */
void api_set_stopping(struct api *api);

/* Stopping, and: finishes what is queued, ends the pools. The store must still be open. Not on the transport thread. */
void api_stop(struct api *api);

/* After the HTTP server is gone, whose handlers look at it until then. NULL is fine. */
void api_free(struct api *api);
