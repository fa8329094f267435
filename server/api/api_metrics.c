/* SPDX-License-Identifier: Apache-2.0
 *
 * api_metrics.c - /metrics: the registry as Prometheus text, gauges of the store filled in first.
 *
 * In       nothing.
 * Out      text exposition format 0.0.4.
 * Fails    never.
 */
#include "narthex/base/metrics.h"

#include "api_internal.h"

/* A count that the store keeps becomes a counter: what came since the last time is added. */
static void follow(enum metric_id id, uint64_t count, uint64_t *seen)
{
    metrics_add(id, count - *seen);
    *seen = count;
}

/* Gauges that are computed when asked for. The store is there only while the state says so: a stop closes it later. */
static void collect(void *context)
{
    struct api *api = context;
    metrics_set(METRIC_QUERIES_ACTIVE,
                (double)atomic_load_explicit(&api->jobs, memory_order_relaxed));
    if (api_state(api) != API_READY)
        return;
    if (api->budget != NULL)
        mem_budget_publish(api->budget);
    store_publish(api->store);
    struct store_stats stats;
    store_stats(api->store, &stats);
    metrics_set(METRIC_HEAD_SERIES, (double)stats.head.series);
    metrics_set(METRIC_HEAD_BYTES, (double)head_stats_bytes(&stats.head));
    metrics_set_at(METRIC_MEMORY_BYTES, 0, (double)stats.head.bytes_series);
    metrics_set_at(METRIC_MEMORY_BYTES, 1, (double)stats.head.bytes_labels);
    metrics_set_at(METRIC_MEMORY_BYTES, 2, (double)stats.head.bytes_index);
    metrics_set_at(METRIC_MEMORY_BYTES, 3, (double)stats.head.bytes_chunks);
    metrics_set_at(METRIC_MEMORY_BYTES, 4, (double)stats.head.bytes_late);
    metrics_set_at(METRIC_MEMORY_BYTES, 5, (double)stats.head.bytes_sides);
    metrics_set_at(METRIC_MEMORY_BYTES, 6, (double)stats.head.bytes_pending);
    metrics_set_at(METRIC_MEMORY_BYTES, 7, (double)stats.cache_bytes);
    metrics_set_at(METRIC_MEMORY_BYTES, 8, (double)ingest_raw_cache_bytes(api->ingest));
    metrics_set_at(METRIC_MEMORY_BYTES, 9, (double)stats.cardinality_bytes);
    metrics_set_at(METRIC_MEMORY_BYTES, 10, (double)stats.metadata_bytes);
    metrics_set(METRIC_JOURNAL_SEGMENTS, (double)stats.journal.segments_live);
    metrics_set(METRIC_BLOCKS, (double)stats.blocks);
    metrics_set(METRIC_BLOCKS_UNREADABLE, (double)stats.unreadable_blocks);
    metrics_set(METRIC_BLOCK_BYTES, (double)stats.block_bytes);
    metrics_set(METRIC_BLOCK_SAMPLES, (double)stats.block_samples);
    metrics_set(METRIC_TOMBSTONES, (double)stats.tombstones);
    metrics_set(METRIC_TOMBSTONE_BYTES, (double)stats.tombstone_bytes);
    follow(METRIC_HEAD_SERIES_CREATED, stats.head.series_created, &api->seen.series_created);
    follow(METRIC_HEAD_SERIES_REMOVED, stats.head.series_removed, &api->seen.series_removed);
    follow(METRIC_HEAD_LATE_SAMPLES, stats.head.late_samples, &api->seen.late_samples);
    follow(METRIC_BLOCKS_QUARANTINED, stats.quarantined_blocks, &api->seen.quarantined_blocks);
}

static void handle_metrics(void *context, struct http_request *request)
{
    struct nx_buf body = {0};
    struct http_headers headers = {0};
    (void)context;
    metrics_render(&body);
    headers.can_compress = true;
    http_headers_add(&headers, "Content-Type", NX_STR("text/plain; version=0.0.4; charset=utf-8"));
    http_respond(request, 200, &headers, &body);
}

void api_metrics_end(struct api *api)
{
    metrics_off_collect(collect, api);
}

nx_code api_metrics_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"GET", "/metrics", handle_metrics, api, 0},
    };
    metrics_on_collect(collect, api);
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
