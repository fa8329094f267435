/* SPDX-License-Identifier: Apache-2.0
 *
 * mix.c - labels and values of the load; see mix.h for the shares.
 */
#include "mix.h"

#include "narthex/base/assert.h"
#include "narthex/codec/protowire.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum kind {
    KIND_CONSTANT,
    KIND_COUNTER_QUIET,
    KIND_COUNTER_BUSY,
    KIND_COUNTER_BURSTY,
    KIND_BYTES,
    KIND_COUNTER_DECIMAL,
    KIND_SUM,
    KIND_BUCKET,
    KIND_GAUGE,
    KIND_UNIFORM,
};

/* Shares in percent, as in mix.h. */
static const struct {
    enum kind kind;
    unsigned percent;
} shares[] = {
    {KIND_CONSTANT, 62},    {KIND_COUNTER_QUIET, 3},
    {KIND_COUNTER_BUSY, 3}, {KIND_COUNTER_BURSTY, 2},
    {KIND_BYTES, 4},        {KIND_COUNTER_DECIMAL, 5},
    {KIND_SUM, 3},          {KIND_BUCKET, 9},
    {KIND_GAUGE, 7},        {KIND_UNIFORM, 2},
};

static const char *const metric_names[] = {
    "container_memory_working_set_bytes",
    "container_cpu_usage_seconds_total",
    "container_network_receive_bytes_total",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_resource_limits",
    "kube_pod_status_phase",
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "http_request_duration_seconds_sum",
    "process_resident_memory_bytes",
    "go_memstats_heap_alloc_bytes",
    "grpc_server_handled_total",
    "apiserver_request_duration_seconds_bucket",
    "node_network_transmit_packets_total",
    "queue_utilization_ratio",
    "jvm_gc_pause_seconds_count",
};
static const char *const namespaces[] = {"payments-prod",  "checkout-prod",   "search-staging",
                                         "kube-system",    "monitoring",      "orders-prod",
                                         "inventory-prod", "identity-staging"};
static const char *const containers[] = {"server", "istio-proxy", "worker", "sidecar-metrics"};
static const char *const services[] = {"payments-api",  "checkout-web",     "search-indexer",
                                       "orders-worker", "identity-gateway", "inventory-sync"};
static const char *const bounds[] = {"0.005", "0.01", "0.025", "0.05", "0.1",
                                     "0.25",  "0.5",  "1",     "2.5",  "+Inf"};

const char *mix_name(void)
{
    return "kubernetes-15-labels-62-constant-v1";
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
static void put_labels(struct mix_pod *pod, uint32_t index, const char *uid, struct nx_buf *scratch)
{
    uint32_t p = pod->number;
    char text[160];
    const char *service = services[p % NX_ARRAY_LEN(services)];
    const char *namespace = namespaces[(p / 3) % NX_ARRAY_LEN(namespaces)];
    const char *container = containers[(index / 25) % NX_ARRAY_LEN(containers)];
    struct nx_buf *out = &pod->labels;
    put_label(out, scratch, "__name__", metric_names[index % NX_ARRAY_LEN(metric_names)]);
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
    put_label(out, scratch, "le", bounds[(index / 16) % NX_ARRAY_LEN(bounds)]);
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

static enum kind kind_for(uint32_t percent)
{
    unsigned sum = 0;
    for (size_t i = 0; i < NX_ARRAY_LEN(shares); i++) {
        sum += shares[i].percent;
        if (percent < sum)
            return shares[i].kind;
    }
    return KIND_UNIFORM;
}

static double round_to(double value, unsigned decimals)
{
    double scale = pow(10, decimals);
    return round(value * scale) / scale;
}

static void series_init(struct mix_series *series, uint64_t seed)
{
    rand_seed(&series->rand, seed);
    series->kind = (uint8_t)kind_for((uint32_t)rand_below(&series->rand, 100));
    series->decimals = (uint8_t)(series->kind == KIND_GAUGE ? rand_below(&series->rand, 4)
                                                            : 2 + rand_below(&series->rand, 8));
    series->value = (double)rand_below(&series->rand, 1000000);
    if (series->kind == KIND_CONSTANT && rand_below(&series->rand, 3) == 0)
        series->value = (double)rand_below(&series->rand, 2);
    if (series->kind == KIND_BYTES)
        series->value *= 4096;
}

static double series_next(struct mix_series *series)
{
    struct rand_state *rand = &series->rand;
    switch ((enum kind)series->kind) {
    case KIND_CONSTANT:
        break;
    case KIND_COUNTER_QUIET:
        series->value += rand_below(rand, 10) == 0 ? 1 : 0;
        break;
    case KIND_COUNTER_BUSY:
        series->value += (double)(900 + rand_below(rand, 200));
        break;
    case KIND_COUNTER_BURSTY:
        series->value += rand_below(rand, 20) == 0 ? (double)rand_below(rand, 50000) : 0;
        break;
    case KIND_BYTES:
        series->value += 4096.0 * (double)rand_below(rand, 300);
        break;
    case KIND_COUNTER_DECIMAL:
        series->value = round_to(series->value + rand_unit(rand) * 3, series->decimals);
        break;
    case KIND_SUM:
        series->value += rand_unit(rand) * 17.3;
        break;
    case KIND_BUCKET:
        series->value += (double)rand_below(rand, 40);
        break;
    case KIND_GAUGE:
        series->value =
            round_to(fabs(series->value + (rand_unit(rand) - 0.5) * 20), series->decimals);
        break;
    case KIND_UNIFORM:
        return rand_unit(rand) * 1000;
    }
    return series->value;
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
    for (uint32_t i = 0; i < MIX_POD_SERIES; i++) {
        put_labels(pod, i, uid, &scratch);
        pod->label_end[i] = (uint32_t)pod->labels.len;
        series_init(&pod->series[i], pod_seed * 31 + i);
    }
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

void mix_pod_encode(struct mix_pod *pod, int64_t step_begins_ms, struct nx_buf *out)
{
    int64_t scrape_ms = step_begins_ms + pod->phase_ms + (int64_t)rand_below(&pod->rand, 5);
    /* Four containers' own clocks, a little before the scrape. */
    int64_t container_ms[4];
    for (size_t i = 0; i < NX_ARRAY_LEN(container_ms); i++)
        container_ms[i] = scrape_ms - 200 - (int64_t)rand_below(&pod->rand, 9000);
    uint32_t begin = 0;
    for (uint32_t i = 0; i < MIX_POD_SERIES; i++) {
        int64_t time_ms = i % 10 == 9 ? container_ms[(i / 25) % 4] : scrape_ms;
        put_series(pod->labels.data + begin, pod->label_end[i] - begin, time_ms,
                   series_next(&pod->series[i]), out);
        begin = pod->label_end[i];
    }
}
