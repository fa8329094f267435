/* SPDX-License-Identifier: Apache-2.0
 *
 * api.c - life cycle of the HTTP surface: routes, pools, state.
 */
#include "narthex/api/api.h"

#include "narthex/base/mem.h"

#include "api_internal.h"

#define ADMIN_QUEUE_MAX 64u /* chosen: whoever deletes in a loop waits for each answer */

nx_code api_add_routes(struct http_router *router, const struct http_route *routes, size_t count,
                       struct nx_err *err)
{
    for (size_t i = 0; i < count; i++) {
        nx_code code = http_router_add(router, &routes[i], err);
        if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

nx_code api_new(struct api **out_api, const struct api_options *options, struct http_router *router,
                struct nx_err *err)
{
    struct api *api = nx_calloc(1, sizeof(*api));
    api->clock = options->clock;
    api->query_limits = options->query_limits;
    api->budget = options->budget;
    api->started_ms = clock_wall_ms(options->clock);
    nx_code code = worker_pool_new(&api->ingest_pool, "ingest", options->ingest_workers,
                                   options->ingest_queue_max, err);
    if (code != NX_OK)
        goto fail;
    code = worker_pool_new(&api->query_pool, "query", options->query_limits.concurrency_max,
                           options->query_limits.queue_max, err);
    if (code == NX_OK && options->is_admin_enabled)
        code = worker_pool_new(&api->admin_pool, "admin", 1, ADMIN_QUEUE_MAX, err);
    if (code != NX_OK)
        goto fail;
    code = api_write_routes(api, router, options->write_body_bytes_max, err);
    if (code == NX_OK)
        code = api_query_routes(api, router, err);
    if (code == NX_OK)
        code = api_series_routes(api, router, err);
    if (code == NX_OK)
        code = api_labels_routes(api, router, err);
    if (code == NX_OK)
        code = api_status_routes(api, router, err);
    if (code == NX_OK)
        code = api_cardinality_routes(api, router, err);
    if (code == NX_OK)
        code = api_metadata_routes(api, router, err);
    if (code == NX_OK)
        code = api_exemplars_routes(api, router, err);
    if (code == NX_OK)
        code = api_health_routes(api, router, err);
    if (code == NX_OK)
        code = api_admin_routes(api, router, err);
    if (code == NX_OK)
        code = api_metrics_routes(api, router, err);
    if (code == NX_OK)
        code = api_snapshot_routes(api, router, err);
    if (code != NX_OK)
        goto fail;
    *out_api = api;
    return NX_OK;

fail:
    api_free(api);
    return code;
}

void api_set_ready(struct api *api, struct store *store, struct ingest *ingest)
{
    api->store = store;
    api->ingest = ingest;
    atomic_store_explicit(&api->state, API_READY, memory_order_release);
}

void api_set_stopping(struct api *api)
{
    atomic_store_explicit(&api->state, API_STOPPING, memory_order_release);
}

void api_stop(struct api *api)
{
    api_set_stopping(api);
    worker_pool_free(api->ingest_pool);
    worker_pool_free(api->query_pool);
    worker_pool_free(api->admin_pool);
    api->ingest_pool = NULL;
    api->query_pool = NULL;
    api->admin_pool = NULL;
}

void api_free(struct api *api)
{
    if (api == NULL)
        return;
    api_stop(api);
    api_metrics_end(api);
    nx_free(api);
}
