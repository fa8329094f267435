/* SPDX-License-Identifier: Apache-2.0
 *
 * startup.c - the fourth conductor: what the server opens, in order, and closes in the opposite one.
 *
 * HTTP listens first, so that a taken address is found before the data directory is touched and health checks are
 * answered while the journal is replayed; until the store is open everything else gets 503.
 */
#include "narthex/main/startup.h"

#include "narthex/api/api.h"
#include "narthex/base/log.h"
#include "narthex/base/mem.h"
#include "narthex/base/mem_budget.h"
#include "narthex/base/mem_limit.h"
#include "narthex/base/thread.h"
#include "narthex/base/version.h"
#include "narthex/http/http_server.h"
#include "narthex/main/config_file.h"
#include "narthex/main/options.h"

#include <inttypes.h>

/* Longest wait for running requests at a stop; load balancers give up earlier. */
#define DRAIN_TIMEOUT_MS 10000
/* Complete bodies that may wait for an ingest worker. */
#define INGEST_QUEUE_MAX               1024
#define DEFAULT_EVALUATION_INTERVAL_MS 60000

#define MEMORY_LIMIT_MIN               (UINT64_C(64) << 20)
#define SCALED_MIN                     (UINT64_C(1) << 10)
#define BODIES_PARTS                   16u /* of the memory limit: all bodies */
#define BODY_PARTS                     32u /* one body, one decoded body, its labels */
#define SAMPLE_MEMORY                  8192u /* bytes of the limit for each sample that a request may have */
#define INGEST_WORKER_MEMORY           (UINT64_C(64) << 20) /* of the limit, for each worker */
#define BODIES_BYTES_MAX               (UINT64_C(256) << 20)
/* Labels of misses and protobuf-c's messages: a body of 32 MiB may need more than its own size, and no more than this.
 */
#define BATCH_ARENA_BYTES_MAX (UINT64_C(256) << 20)
#define LARGE_PARTS           64u /* of the limit: decoded bodies above take turns */
#define CACHE_PARTS           8u

struct server {
    const struct config *config;
    const struct clock *clock;
    struct config_file file;
    struct mem_budget budget;
    struct http_router *router;
    struct http_server *http;
    struct api *api;
    struct store *store;
    struct ingest *ingest;
};

static nx_code read_config_file(struct server *server, struct nx_err *err)
{
    const char *path = option_text(server->config, OPTION_CONFIG_FILE);
    if (path[0] == '\0')
        return NX_OK;
    return config_file_read(path, &server->file, err);
}

static nx_code listen_all(struct server *server, struct nx_err *err)
{
    struct nx_str rest = nx_str_from(option_text(server->config, OPTION_WEB_LISTEN_ADDRESS));
    bool more = true;
    while (more) {
        struct nx_str address;
        char text[300];
        more = nx_str_split(rest, ',', &address, &rest);
        if (address.len == 0 || address.len >= sizeof(text))
            return nx_err_set(err, NX_E_INVALID, "--web.listen-address: \"%.*s\" is not HOST:PORT",
                              (int)(address.len < 100 ? address.len : 100), address.data);
        memcpy(text, address.data, address.len);
        text[address.len] = '\0';
        if (http_server_listen(server->http, text, err) != NX_OK)
            return nx_err_wrap(err, "--web.listen-address");
    }
    return NX_OK;
}

/* ---- memory ---- */

static uint64_t measure_memory(void *context)
{
    (void)context;
    return mem_anonymous_bytes();
}

static nx_code open_budget(struct server *server, struct nx_err *err)
{
    uint64_t limit = (uint64_t)option_number(server->config, OPTION_STORAGE_MEMORY_LIMIT);
    if (limit == 0)
        limit = mem_limit_detect() / 4 * 3;
    if (limit < MEMORY_LIMIT_MIN)
        return nx_err_set(err, NX_E_INVALID,
                          "--storage.memory-limit: %" PRIu64
                          " bytes are not enough, at least %" PRIu64 " are needed",
                          limit, MEMORY_LIMIT_MIN);
    mem_budget_init(&server->budget, limit, (struct mem_measure){measure_memory, NULL});
    return NX_OK;
}

/* What bounds one request or a cache is scaled down where the memory limit is small: worst cases happen together. */
static uint64_t scaled(const struct server *server, enum option_id id, uint64_t divisor)
{
    uint64_t value = (uint64_t)option_number(server->config, id);
    return mem_share(server->budget.limit_bytes, divisor, SCALED_MIN, value);
}

static unsigned ingest_workers(const struct server *server)
{
    return (unsigned)mem_share(server->budget.limit_bytes, INGEST_WORKER_MEMORY, 1,
                               thread_cpu_count());
}

static nx_code open_http(struct server *server, struct nx_err *err)
{
    const struct config *config = server->config;
    struct http_server_options options;
    http_server_options_init(&options);
    options.connections_max = (unsigned)option_number(config, OPTION_WEB_MAX_CONNECTIONS);
    options.bodies_bytes_max =
        (size_t)mem_share(server->budget.limit_bytes, BODIES_PARTS, SCALED_MIN, BODIES_BYTES_MAX);
    options.bodies_gauge = &server->budget.kind_bytes[MEM_KIND_BODIES];
    options.idle_timeout_ms = (unsigned)option_number(config, OPTION_WEB_IDLE_TIMEOUT);

    int64_t interval_ms = server->file.evaluation_interval_ms;
    const struct api_options api_options = {
        .clock = server->clock,
        .budget = &server->budget,
        .ingest_workers = ingest_workers(server),
        .ingest_queue_max = INGEST_QUEUE_MAX,
        .is_admin_enabled = option_number(config, OPTION_WEB_ENABLE_ADMIN_API) != 0,
        .write_body_bytes_max = (size_t)scaled(server, OPTION_WRITE_MAX_BODY, BODY_PARTS),
        .query_limits =
            {
                .timeout_ms = option_number(config, OPTION_QUERY_TIMEOUT),
                .lookback_ms = option_number(config, OPTION_QUERY_LOOKBACK_DELTA),
                .subquery_step_ms = interval_ms > 0 ? interval_ms : DEFAULT_EVALUATION_INTERVAL_MS,
                .samples_max = (uint64_t)option_number(config, OPTION_QUERY_MAX_SAMPLES),
                .memory_bytes_max = (uint64_t)option_number(config, OPTION_QUERY_MAX_MEMORY),
                .pool = &server->budget.queries,
                .concurrency_max = (unsigned)option_number(config, OPTION_QUERY_MAX_CONCURRENCY),
                .queue_max = (unsigned)option_number(config, OPTION_QUERY_MAX_QUEUE),
            },
    };
    server->router = http_router_new();
    nx_code code = api_new(&server->api, &api_options, server->router, err);
    if (code == NX_OK)
        code = http_server_new(&server->http, &options, server->router, err);
    if (code == NX_OK)
        code = listen_all(server, err);
    if (code == NX_OK)
        code = http_server_start(server->http, err);
    return code;
}

static int64_t retention_ms(const struct server *server)
{
    const struct config *config = server->config;
    if (!config->values[OPTION_STORAGE_RETENTION_TIME].is_set && server->file.retention_ms > 0)
        return server->file.retention_ms;
    return option_number(config, OPTION_STORAGE_RETENTION_TIME);
}

static uint64_t retention_bytes(const struct server *server)
{
    const struct config *config = server->config;
    if (!config->values[OPTION_STORAGE_RETENTION_SIZE].is_set && server->file.retention_bytes > 0)
        return (uint64_t)server->file.retention_bytes;
    return (uint64_t)option_number(config, OPTION_STORAGE_RETENTION_SIZE);
}

static void log_opened(const struct store_open_result *result)
{
    log_info("store", "opened", LOG_UINT("blocks", result->blocks),
             LOG_UINT("series", result->series_loaded),
             LOG_UINT("journal_commits", result->journal_commits),
             LOG_UINT("journal_samples", result->journal_samples),
             LOG_UINT("load_ms", result->load_ms), LOG_UINT("replay_ms", result->replay_ms));
    if (result->has_torn_tail)
        log_warn("journal", "the last commit was torn and is dropped: it was never acknowledged");
    if (result->damaged_segments > 0)
        log_error("journal", "damaged segments set aside in quarantine/",
                  LOG_UINT("segments", result->damaged_segments),
                  LOG_STR("damage", result->damage));
    if (result->missing_commits > 0)
        log_error("journal",
                  "the end of the journal is missing: a segment was emptied, cut or removed",
                  LOG_UINT("commits", result->missing_commits), LOG_STR("damage", result->damage));
    if (result->unknown_samples > 0)
        log_error("journal", "samples of series that nothing defines are lost",
                  LOG_UINT("samples", result->unknown_samples), LOG_STR("damage", result->damage));
    if (result->quarantined_blocks > 0)
        log_error("store", "blocks set aside in quarantine/",
                  LOG_UINT("blocks", result->quarantined_blocks));
}

static uint64_t cache_bytes(const struct server *server)
{
    uint64_t bytes = (uint64_t)option_number(server->config, OPTION_STORAGE_CACHE);
    return bytes > 0 ? bytes : server->budget.limit_bytes / CACHE_PARTS;
}

static nx_code open_store(struct server *server, struct nx_err *err)
{
    const struct config *config = server->config;
    const struct store_options options = {
        .data_dir = option_text(config, OPTION_STORAGE_PATH),
        .io = io_real(),
        .clock = server->clock,
        .retention_ms = retention_ms(server),
        .retention_bytes = retention_bytes(server),
        .future_tolerance_ms = option_number(config, OPTION_WRITE_FUTURE_TOLERANCE),
        .flush_interval_ms = option_number(config, OPTION_STORAGE_FLUSH_INTERVAL),
        .flush_samples_min = (uint64_t)option_number(config, OPTION_STORAGE_FLUSH_SAMPLES),
        .journal_segment_bytes = (uint64_t)option_number(config, OPTION_STORAGE_JOURNAL_SEGMENT),
        .series_max = (uint64_t)option_number(config, OPTION_STORAGE_MAX_SERIES),
        .new_series_per_minute = (uint64_t)option_number(config, OPTION_STORAGE_MAX_NEW_SERIES),
        .min_free_bytes = (uint64_t)option_number(config, OPTION_STORAGE_MIN_FREE),
        .budget = &server->budget,
        .cache_bytes = cache_bytes(server),
        .scrub_bytes_per_s = (uint64_t)option_number(config, OPTION_STORAGE_SCRUB_RATE),
        .is_maintained = true,
    };
    struct store_open_result result;
    nx_code code = store_open(&server->store, &options, &result, err);
    if (code == NX_OK)
        log_opened(&result);
    return code;
}

static void open_ingest(struct server *server)
{
    const struct config *config = server->config;
    const struct ingest_options options = {
        .store = server->store,
        .clock = server->clock,
        .budget = &server->budget,
        .limits =
            {
                .raw_bytes_max = scaled(server, OPTION_WRITE_MAX_RAW, BODY_PARTS),
                .samples_max = (uint32_t)scaled(server, OPTION_WRITE_MAX_SAMPLES, SAMPLE_MEMORY),
                .arena_bytes_max = mem_share(server->budget.limit_bytes, BODY_PARTS, SCALED_MIN,
                                             BATCH_ARENA_BYTES_MAX),
                .large_bytes = server->budget.limit_bytes / LARGE_PARTS,
                .labels_max = (uint32_t)option_number(config, OPTION_WRITE_MAX_LABELS),
                .label_name_bytes_max =
                    (uint32_t)option_number(config, OPTION_WRITE_MAX_NAME_BYTES),
                .label_value_bytes_max =
                    (uint32_t)option_number(config, OPTION_WRITE_MAX_VALUE_BYTES),
            },
    };
    server->ingest = ingest_new(&options);
}

nx_code server_start(struct server **out_server, const struct config *config, struct nx_err *err)
{
    struct server *server = nx_calloc(1, sizeof(*server));
    server->config = config;
    server->clock = clock_real();
    nx_code code = read_config_file(server, err);
    if (code == NX_OK)
        code = open_budget(server, err);
    if (code == NX_OK)
        code = open_http(server, err);
    if (code == NX_OK)
        code = open_store(server, err);
    if (code != NX_OK) {
        struct nx_err ignored;
        nx_ignore(server_stop(server, &ignored));
        return code;
    }
    open_ingest(server);
    api_set_ready(server->api, server->store, server->ingest);
    log_info("main", "ready", LOG_STR("version", NARTHEX_VERSION),
             LOG_STR("address", option_text(config, OPTION_WEB_LISTEN_ADDRESS)),
             LOG_STR("data", option_text(config, OPTION_STORAGE_PATH)),
             LOG_INT("retention_h", retention_ms(server) / 3600000),
             LOG_UINT("memory_limit", server->budget.limit_bytes));
    *out_server = server;
    return NX_OK;
}

nx_code server_stop(struct server *server, struct nx_err *err)
{
    if (server == NULL)
        return NX_OK;
    if (server->api != NULL)
        api_set_stopping(server->api);
    if (server->http != NULL && server->store != NULL &&
        !http_server_drain(server->http, DRAIN_TIMEOUT_MS)) {
        log_warn("main", "requests still running are broken off",
                 LOG_INT("waited_ms", DRAIN_TIMEOUT_MS));
        /* Else the pools would wait for queries until their time-outs. */
        http_server_cut(server->http);
    }
    /* The pools and the committer answer through the transport, so they end first; handlers may still run and see
     * that the API is stopping, so it goes after the transport. */
    if (server->api != NULL)
        api_stop(server->api);
    nx_code code = store_close(server->store, err);
    http_server_free(server->http);
    api_free(server->api);
    http_router_free(server->router);
    ingest_free(server->ingest);
    nx_free(server);
    return code;
}
