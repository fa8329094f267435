/* SPDX-License-Identifier: Apache-2.0
 *
 * mix.c - labels and values of the load; see mix.h for the shares.
 */
#include "narthex/base/assert.h"
#include "narthex/codec/protowire.h"

#include "mix_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The series of a pod, in the order in which it sends them. Those of a container have its own timestamps. */
static const struct family {
    const char *metric;
    enum mix_kind kind;
    unsigned count;
    bool is_container;
} families[] = {
    {"container_memory_working_set_bytes", MIX_PAGES_GAUGE, 2, true},
    {"container_memory_rss", MIX_PAGES_GAUGE, 1, true},
    {"container_cpu_usage_seconds_total", MIX_MICROS, 1, true},
    {"container_network_receive_bytes_total", MIX_BUSY, 1, true},
    {"container_fs_writes_bytes_total", MIX_PAGES_COUNTER, 1, true},
    {"container_spec_memory_limit_bytes", MIX_CONSTANT, 4, true},
    {"kube_pod_container_status_restarts_total", MIX_CONSTANT, 4, false},
    {"kube_pod_container_resource_limits", MIX_CONSTANT, 6, false},
    {"kube_pod_status_phase", MIX_CONSTANT, 8, false},
    {"http_requests_total", MIX_BUSY, 2, false},
    {"http_requests_total", MIX_FITFUL, 1, false},
    {"http_requests_total", MIX_QUIET, 1, false},
    {"http_requests_total", MIX_CONSTANT, 7, false},
    {"http_request_duration_seconds_bucket", MIX_BUCKET, MIX_BUCKETS, false},
    {"http_request_duration_seconds_count", MIX_COUNT, 1, false},
    {"http_request_duration_seconds_sum", MIX_SUM, 1, false},
    {"apiserver_request_duration_seconds_bucket", MIX_CONSTANT, MIX_BUCKETS, false},
    {"grpc_server_handled_total", MIX_CONSTANT, 12, false},
    {"process_resident_memory_bytes", MIX_PAGES_GAUGE, 1, false},
    {"process_cpu_seconds_total", MIX_TICKS, 1, false},
    {"process_start_time_seconds", MIX_CONSTANT, 1, false},
    {"go_memstats_heap_alloc_bytes", MIX_INT_GAUGE, 1, false},
    {"go_goroutines", MIX_INT_GAUGE, 3, false},
    {"node_network_transmit_packets_total", MIX_BUSY, 2, false},
    {"node_filesystem_files_free", MIX_INT_GAUGE, 4, false},
    {"node_disk_written_bytes_total", MIX_PAGES_COUNTER, 1, false},
    {"node_vmstat_oom_kill", MIX_CONSTANT, 6, false},
    {"node_scrape_collector_duration_seconds", MIX_DURATION, 3, false},
    {"queue_utilization_ratio", MIX_RATIO, 1, false},
    {"jvm_gc_pause_seconds_count", MIX_BURSTY, 1, false},
    {"kafka_consumer_lag", MIX_UNIFORM, 1, false}, /* of one pod in four; else constant */
    {"up", MIX_CONSTANT, 1, false},
};
static const char *const namespaces[] = {"payments-prod",  "checkout-prod",   "search-staging",
                                         "kube-system",    "monitoring",      "orders-prod",
                                         "inventory-prod", "identity-staging"};
static const char *const containers[] = {"server", "istio-proxy", "worker", "sidecar-metrics"};
static const char *const services[] = {"payments-api",  "checkout-web",     "search-indexer",
                                       "orders-worker", "identity-gateway", "inventory-sync"};
static const char *const bound_texts[MIX_BUCKETS] = {"0.005", "0.01", "0.025", "0.05", "0.1",
                                                     "0.25",  "0.5",  "1",     "2.5",  "+Inf"};
const double mix_bounds[MIX_BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, INFINITY};

const char *mix_name(void)
{
    return "kubernetes-15-labels-62-constant-v2";
}

static void put_label(struct nx_buf *out, struct nx_buf *scratch, const char *name,
                      const char *value)
{
    nx_buf_reset(scratch);
    protowire_put_bytes(scratch, 1, nx_bytes_from_str(nx_str_from(name)));
    protowire_put_bytes(scratch, 2, nx_bytes_from_str(nx_str_from(value)));
    protowire_put_bytes(out, 1, nx_buf_bytes(scratch));
}

/* Fifteen labels in the order of their names, as Prometheus sends them. */
static void put_labels(struct mix_pod *pod, const char *metric, uint32_t index, uint32_t bound,
                       const char *uid, struct nx_buf *scratch)
{
    uint32_t p = pod->number;
    char text[160];
    const char *service = services[p % NX_ARRAY_LEN(services)];
    const char *namespace = namespaces[(p / 3) % NX_ARRAY_LEN(namespaces)];
    const char *container = containers[(index / 25) % NX_ARRAY_LEN(containers)];
    struct nx_buf *out = &pod->labels;
    put_label(out, scratch, "__name__", metric);
    put_label(out, scratch, "cluster", "eu-central-1-production-blue");
    put_label(out, scratch, "container", container);
    snprintf(text, sizeof(text), "sha256-%08x%08x", p * 2654435761u, pod->generation + 77u);
    put_label(out, scratch, "container_id", text);
    put_label(out, scratch, "endpoint", "http-metrics");
    snprintf(text, sizeof(text), "registry.internal.example.com/platform/%s:v1.%u.%u", service,
             p % 40, p % 7);
    put_label(out, scratch, "image", text);
    snprintf(text, sizeof(text), "10.%u.%u.%u:8080", (p >> 16) & 255, (p >> 8) & 255, p & 255);
    put_label(out, scratch, "instance", text);
    snprintf(text, sizeof(text), "serviceMonitor/%s/%s/0", namespace, service);
    put_label(out, scratch, "job", text);
    put_label(out, scratch, "le", bound_texts[bound % MIX_BUCKETS]);
    put_label(out, scratch, "namespace", namespace);
    snprintf(text, sizeof(text), "ip-10-%u-%u-%u.eu-central-1.compute.internal", (p / 7680) & 255,
             (p / 30) & 255, (p / 30) % 251);
    put_label(out, scratch, "node", text);
    snprintf(text, sizeof(text), "%s-%08x-%05u", service, p * 40503u,
             (p ^ (pod->generation * 7919u)) % 100000u);
    put_label(out, scratch, "pod", text);
    put_label(out, scratch, "service", service);
    snprintf(text, sizeof(text), "shard-%u", index);
    put_label(out, scratch, "shard", text);
    put_label(out, scratch, "uid", uid);
}

void mix_pod_init(struct mix_pod *pod, uint64_t seed, uint32_t number, uint32_t generation)
{
    struct nx_buf scratch = {0};
    char uid[40];
    memset(pod, 0, sizeof(*pod));
    pod->number = number;
    pod->generation = generation;
    uint64_t pod_seed = seed * 0x9e3779b97f4a7c15u + ((uint64_t)generation << 32) + number;
    rand_seed(&pod->rand, pod_seed);
    pod->phase_ms = (int64_t)rand_below(&pod->rand, MIX_STEP_MS);
    uint64_t high = rand_u64(&pod->rand), low = rand_u64(&pod->rand);
    snprintf(uid, sizeof(uid), "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)(high >> 32),
             (unsigned)(high >> 16) & 0xffffu, (unsigned)high & 0xfffu, (unsigned)(low >> 52),
             (unsigned long long)(low & 0xffffffffffffu));
    uint32_t i = 0;
    for (size_t f = 0; f < NX_ARRAY_LEN(families); f++)
        for (uint32_t part = 0; part < families[f].count; part++, i++) {
            NX_ASSERT(i < MIX_POD_SERIES);
            enum mix_kind kind = families[f].kind;
            if (kind == MIX_UNIFORM && number % 4 != 0)
                kind = MIX_CONSTANT;
            put_labels(pod, families[f].metric, i, part, uid, &scratch);
            pod->label_end[i] = (uint32_t)pod->labels.len;
            mix_series_init(&pod->series[i], kind, pod_seed * 31 + i);
            pod->container_series += families[f].is_container;
        }
    NX_ASSERT(i == MIX_POD_SERIES);
    mix_histogram_init(&pod->histogram, pod_seed * 31 + i);
    nx_buf_deinit(&scratch);
}

void mix_pod_deinit(struct mix_pod *pod)
{
    nx_buf_deinit(&pod->labels);
}

/* One TimeSeries field: its label fields as they are, then one Sample. */
static void put_series(const uint8_t *labels, size_t label_bytes, int64_t time_ms, double value,
                       struct nx_buf *out)
{
    uint8_t sample[2 + 9 + 1 + VARINT_BYTES_MAX];
    size_t n = 2;
    if (value != 0 || signbit(value)) {
        sample[n++] = 0x09;
        memcpy(sample + n, &value, sizeof(value));
        n += sizeof(value);
    }
    sample[n++] = 0x10;
    n += varint_put(sample + n, (uint64_t)time_ms);
    sample[0] = 0x12;
    sample[1] = (uint8_t)(n - 2);
    nx_buf_append_byte(out, 0x0a);
    varint_append(out, label_bytes + n);
    nx_buf_append(out, labels, label_bytes);
    nx_buf_append(out, sample, n);
}

void mix_pod_step(struct mix_pod *pod, int64_t step_begins_ms, int64_t times_ms[MIX_POD_SERIES],
                  double values[MIX_POD_SERIES])
{
    int64_t scrape_ms = step_begins_ms + pod->phase_ms + (int64_t)rand_below(&pod->rand, 5);
    /* The container was last looked at some seconds before the scrape. */
    int64_t container_ms = scrape_ms - 200 - (int64_t)rand_below(&pod->rand, 9000);
    uint32_t bucket = 0;
    mix_histogram_step(&pod->histogram, pod->step);
    for (uint32_t i = 0; i < MIX_POD_SERIES; i++) {
        struct mix_series *series = &pod->series[i];
        if (series->kind == MIX_BUCKET)
            series->total = pod->histogram.counts[bucket++];
        if (series->kind == MIX_COUNT)
            series->total = pod->histogram.counts[MIX_BUCKETS - 1];
        if (series->kind == MIX_SUM)
            series->total = pod->histogram.sum;
        times_ms[i] = i < pod->container_series ? container_ms : scrape_ms;
        values[i] = mix_series_next(series, pod->step);
    }
    pod->step++;
}

void mix_pod_encode(struct mix_pod *pod, int64_t step_begins_ms, struct nx_buf *out)
{
    int64_t times_ms[MIX_POD_SERIES];
    double values[MIX_POD_SERIES];
    mix_pod_step(pod, step_begins_ms, times_ms, values);
    uint32_t begin = 0;
    for (uint32_t i = 0; i < MIX_POD_SERIES; i++) {
        put_series(pod->labels.data + begin, pod->label_end[i] - begin, times_ms[i], values[i],
                   out);
        begin = pod->label_end[i];
    }
}
