/* SPDX-License-Identifier: Apache-2.0
 *
 * load.c - narthex-load: writes a Kubernetes-shaped load to any remote-write URL and reports what it cost the server.
 *
 *   narthex-load --url=http://127.0.0.1:9201/api/v1/write --series=100000 --steps=120 --pid=<server> --data-dir=<dir>
 *
 * Each connection is a thread with its share of the pods. A step is one sample of every series; steps are 15 s apart
 * in sample time and follow each other as fast as the server answers, unless --rate holds them back. With --end=now
 * (the default) the last step ends now, so the samples lie in the past. Encoding is done between answers, on this
 * process' CPU, not the server's.
 */
#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/config.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"
#include "narthex/codec/snappy.h"

#include "client.h"
#include "mix.h"
#include "process.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum option_id {
    OPTION_URL,
    OPTION_SERIES,
    OPTION_STEPS,
    OPTION_CONNECTIONS,
    OPTION_BATCH,
    OPTION_RATE,
    OPTION_SEED,
    OPTION_END,
    OPTION_CHURN,
    OPTION_PID,
    OPTION_DATA_DIR,
    OPTION_WARM_STEPS,
    OPTION_HELP,
    OPTION_COUNT,
};

static const struct config_option options[OPTION_COUNT] = {
    {"url", CONFIG_STRING, "http://127.0.0.1:9201/api/v1/write", 0, 0, "URL",
     "Remote-write endpoint.", false},
    {"series", CONFIG_INT, "100000", 100, 100000000, "N", "Active series, in pods of 100.", false},
    {"steps", CONFIG_INT, "120", 1, 10000000, "N", "Samples of each series that are measured.",
     false},
    {"connections", CONFIG_INT, "2", 1, 256, "N", "Connections, a thread each.", false},
    {"batch", CONFIG_INT, "2000", 100, 1000000, "N", "Samples in one request.", false},
    {"rate", CONFIG_INT, "0", 0, 1000000000, "N",
     "Samples per second over all connections. 0: as fast as it goes.", false},
    {"seed", CONFIG_INT, "1", 0, INT64_MAX, "N", "Same seed, same bytes.", false},
    {"end", CONFIG_STRING, "now", 0, 0, "MS",
     "Time of the last step in ms since the epoch, or now.", false},
    {"churn", CONFIG_INT, "0", 0, 100, "PERCENT", "Pods replaced in 10 minutes of sample time.",
     false},
    {"pid", CONFIG_INT, "0", 0, INT32_MAX, "PID", "Server whose CPU and memory is reported.",
     false},
    {"data-dir", CONFIG_STRING, "", 0, 0, "DIR", "Server's data directory, for its size.", false},
    {"warm-steps", CONFIG_INT, "1", 0, 1000000, "N",
     "Steps before the measurement: the first makes all series.", false},
    {"help", CONFIG_BOOL, "false", 0, 0, "", "Print this text and exit.", false},
};

#define LATENCY_BUCKETS 4096 /* of LATENCY_UNIT_US */
#define LATENCY_UNIT_US 100
#define RETRY_MAX       200
#define RETRY_WAIT_MS   100

struct run;
struct worker {
    struct run *run;
    struct nx_thread thread;
    struct client client;
    struct mix_pod *pods;
    uint32_t pod_count;
    uint32_t churn_next;
    uint64_t sent_samples, sent_bytes, raw_bytes, requests, retries, refused;
    uint32_t latencies[LATENCY_BUCKETS + 1];
    char failure[240];
};

struct run {
    struct config config;
    uint64_t seed;
    int64_t first_step_ms;
    uint64_t begun_ns;
    double rate_per_worker;
    int64_t step_begin, step_end; /* of the phase at hand */
    struct worker *workers;
    unsigned worker_count;
    _Atomic bool has_failed;
};

static int64_t number(const struct run *run, enum option_id id)
{
    return run->config.values[id].number;
}

static void note_latency(struct worker *worker, uint64_t ns)
{
    uint64_t bucket = ns / (LATENCY_UNIT_US * 1000);
    worker->latencies[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS]++;
}

/* One request until it is taken: 5xx and broken connections are sent again, as Prometheus does. */
static bool send_request(struct worker *worker, const struct nx_buf *raw, uint64_t samples)
{
    struct nx_buf body = {0};
    struct nx_err err;
    unsigned status = 0;
    char text[400] = "";
    snappy_pack(nx_buf_bytes(raw), &body);
    bool is_taken = false;
    for (unsigned attempt = 0; attempt < RETRY_MAX && !is_taken; attempt++) {
        uint64_t begun_ns = clock_mono_ns(clock_real());
        nx_code code =
            client_write(&worker->client, nx_buf_bytes(&body), &status, text, sizeof(text), &err);
        if (code == NX_OK && status < 500) {
            note_latency(worker, clock_mono_ns(clock_real()) - begun_ns);
            is_taken = true;
            break;
        }
        worker->retries++;
        usleep(RETRY_WAIT_MS * 1000);
    }
    if (!is_taken)
        snprintf(worker->failure, sizeof(worker->failure),
                 "gave up after %u attempts, last status %u: %.100s", RETRY_MAX, status,
                 status != 0 ? text : err.msg);
    else if (status / 100 != 2) {
        worker->refused++;
        snprintf(worker->failure, sizeof(worker->failure), "status %u: %.150s", status, text);
    }
    worker->requests++;
    worker->sent_samples += samples;
    worker->sent_bytes += body.len;
    worker->raw_bytes += raw->len;
    nx_buf_deinit(&body);
    return is_taken;
}

/* Sleeps until the samples sent so far are due. */
static void hold_rate(const struct worker *worker)
{
    double rate = worker->run->rate_per_worker;
    if (rate <= 0)
        return;
    uint64_t due_ns = worker->run->begun_ns + (uint64_t)((double)worker->sent_samples / rate * 1e9);
    uint64_t now_ns = clock_mono_ns(clock_real());
    if (now_ns < due_ns)
        usleep((useconds_t)((due_ns - now_ns) / 1000));
}

/* Replaces the pods that are due by this step: `churn` percent in 40 steps. */
static void churn_pods(struct worker *worker, int64_t step)
{
    int64_t percent = number(worker->run, OPTION_CHURN);
    uint64_t wanted =
        (uint64_t)((double)worker->pod_count * (double)percent / 100.0 * (double)step / 40.0);
    for (; worker->churn_next < wanted; worker->churn_next++) {
        struct mix_pod *pod = &worker->pods[worker->churn_next % worker->pod_count];
        uint32_t generation = pod->generation + 1, pod_number = pod->number;
        mix_pod_deinit(pod);
        mix_pod_init(pod, worker->run->seed, pod_number, generation);
    }
}

static void run_worker(void *argument)
{
    struct worker *worker = argument;
    struct run *run = worker->run;
    struct nx_buf raw = {0};
    uint64_t batch = (uint64_t)number(run, OPTION_BATCH), samples = 0;
    for (int64_t step = run->step_begin; step < run->step_end && !run->has_failed; step++) {
        churn_pods(worker, step);
        for (uint32_t p = 0; p < worker->pod_count && !run->has_failed; p++) {
            mix_pod_encode(&worker->pods[p], run->first_step_ms + step * MIX_STEP_MS, &raw);
            samples += MIX_POD_SERIES;
            if (samples < batch && p + 1 < worker->pod_count)
                continue;
            hold_rate(worker);
            if (!send_request(worker, &raw, samples))
                run->has_failed = true;
            nx_buf_reset(&raw);
            samples = 0;
        }
    }
    nx_buf_deinit(&raw);
}

static bool run_phase(struct run *run, int64_t begin, int64_t end)
{
    struct nx_err err;
    run->step_begin = begin;
    run->step_end = end;
    run->begun_ns = clock_mono_ns(clock_real());
    for (unsigned i = 0; i < run->worker_count; i++) {
        struct worker *worker = &run->workers[i];
        worker->sent_samples = worker->sent_bytes = worker->raw_bytes = worker->requests =
            worker->retries = 0;
        memset(worker->latencies, 0, sizeof(worker->latencies));
        if (thread_start(&worker->thread, "load", run_worker, worker, &err) != NX_OK) {
            fprintf(stderr, "narthex-load: %s\n", err.msg);
            exit(1);
        }
    }
    for (unsigned i = 0; i < run->worker_count; i++)
        thread_join(&run->workers[i].thread);
    for (unsigned i = 0; i < run->worker_count; i++)
        if (run->workers[i].failure[0] != '\0')
            fprintf(stderr, "narthex-load: %s\n", run->workers[i].failure);
    return !run->has_failed;
}

static void make_workers(struct run *run)
{
    uint32_t pods = (uint32_t)(number(run, OPTION_SERIES) / MIX_POD_SERIES);
    struct nx_err err;
    run->worker_count = (unsigned)number(run, OPTION_CONNECTIONS);
    if (run->worker_count > pods)
        run->worker_count = pods;
    run->workers = nx_calloc(run->worker_count, sizeof(*run->workers));
    for (unsigned i = 0; i < run->worker_count; i++) {
        struct worker *worker = &run->workers[i];
        uint32_t first = (uint32_t)((uint64_t)pods * i / run->worker_count);
        worker->run = run;
        worker->pod_count = (uint32_t)((uint64_t)pods * (i + 1) / run->worker_count) - first;
        worker->pods = nx_calloc(worker->pod_count, sizeof(*worker->pods));
        for (uint32_t p = 0; p < worker->pod_count; p++)
            mix_pod_init(&worker->pods[p], run->seed, first + p, 0);
        if (client_init(&worker->client, run->config.values[OPTION_URL].text, &err) != NX_OK) {
            fprintf(stderr, "narthex-load: %s\n", err.msg);
            exit(2);
        }
    }
}

static double percentile_ms(const struct run *run, double share)
{
    uint64_t total = 0, seen = 0;
    for (unsigned w = 0; w < run->worker_count; w++)
        total += run->workers[w].requests;
    for (unsigned b = 0; b <= LATENCY_BUCKETS; b++) {
        for (unsigned w = 0; w < run->worker_count; w++)
            seen += run->workers[w].latencies[b];
        if ((double)seen >= share * (double)total)
            return (b + 1) * LATENCY_UNIT_US / 1000.0;
    }
    return 0;
}

struct totals {
    uint64_t samples, bytes, raw_bytes, requests, retries, refused;
};

static struct totals sum_up(const struct run *run)
{
    struct totals sum = {0};
    for (unsigned i = 0; i < run->worker_count; i++) {
        const struct worker *worker = &run->workers[i];
        sum.samples += worker->sent_samples;
        sum.bytes += worker->sent_bytes;
        sum.raw_bytes += worker->raw_bytes;
        sum.requests += worker->requests;
        sum.retries += worker->retries;
        sum.refused += worker->refused;
    }
    return sum;
}

static void report_server(const struct run *run, const struct process_usage *before,
                          const struct process_usage *after, const struct totals *sum)
{
    double user_s = after->user_s - before->user_s, system_s = after->system_s - before->system_s;
    double cpu_s = user_s + system_s;
    printf("server cpu            %.2f s (user %.2f, system %.2f)\n", cpu_s, user_s, system_s);
    printf("samples per cpu-s     %.0f\n", cpu_s > 0 ? (double)sum->samples / cpu_s : 0);
    printf(
        "server memory         rss %.1f MB, anonymous %.1f MB, %.0f B anonymous per active series\n",
        (double)after->rss_bytes / 1e6, (double)after->anon_bytes / 1e6,
        (double)after->anon_bytes / (double)number(run, OPTION_SERIES));
}

static void report(const struct run *run, const char *phase, double wall_s,
                   const struct process_usage *before, const struct process_usage *after)
{
    struct totals sum = sum_up(run);
    printf("-- %s: %" PRIu64 " samples, %" PRIu64 " requests, %" PRIu64 " resent, %" PRIu64
           " refused\n",
           phase, sum.samples, sum.requests, sum.retries, sum.refused);
    printf("wall                  %.2f s, %.0f samples/s\n", wall_s, (double)sum.samples / wall_s);
    printf("body                  %.1f B per sample, raw %.0f B\n",
           (double)sum.bytes / (double)sum.samples, (double)sum.raw_bytes / (double)sum.samples);
    printf("acknowledged in       p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms\n",
           percentile_ms(run, 0.5), percentile_ms(run, 0.99), percentile_ms(run, 0.999));
    if (before != NULL)
        report_server(run, before, after, &sum);
    fflush(stdout);
}

/* One phase with its report. False: the load could not be delivered. */
static bool measure(struct run *run, const char *name, int64_t begin, int64_t end)
{
    struct process_usage before = {0}, after = {0};
    pid_t pid = (pid_t)number(run, OPTION_PID);
    bool has_server = pid > 0 && process_usage_read(pid, &before);
    uint64_t begun_ns = clock_mono_ns(clock_real());
    bool is_done = run_phase(run, begin, end);
    double wall_s = (double)(clock_mono_ns(clock_real()) - begun_ns) / 1e9;
    has_server = has_server && process_usage_read(pid, &after);
    report(run, name, wall_s, has_server ? &before : NULL, &after);
    return is_done;
}

static bool read_end(const struct run *run, int64_t *out_ms)
{
    struct nx_str text = nx_str_from(run->config.values[OPTION_END].text);
    if (nx_str_eq(text, NX_STR("now"))) {
        *out_ms = clock_wall_ms(clock_real());
        return true;
    }
    return nx_str_to_i64(text, out_ms);
}

static int run_load(struct run *run)
{
    int64_t warm = number(run, OPTION_WARM_STEPS), steps = number(run, OPTION_STEPS), end_ms;
    if (!read_end(run, &end_ms)) {
        fprintf(stderr, "narthex-load: --end: not a time in ms\n");
        return 2;
    }
    run->seed = (uint64_t)number(run, OPTION_SEED);
    run->first_step_ms = end_ms - (warm + steps + 1) * MIX_STEP_MS;
    make_workers(run);
    run->rate_per_worker = (double)number(run, OPTION_RATE) / run->worker_count;
    printf("mix %s, seed %" PRIu64 ", %" PRId64 " series, %u connections, %" PRId64
           " samples a request\n",
           mix_name(), run->seed, number(run, OPTION_SERIES), run->worker_count,
           number(run, OPTION_BATCH));
    bool is_done = warm == 0 || measure(run, "warm-up (new series)", 0, warm);
    is_done = is_done && measure(run, "measured", warm, warm + steps);
    const char *dir = run->config.values[OPTION_DATA_DIR].text;
    if (dir[0] != '\0') {
        uint64_t samples = (uint64_t)(warm + steps) * (uint64_t)number(run, OPTION_SERIES),
                 bytes = directory_bytes(dir);
        printf("-- data directory: %.1f MB, %.2f B per sample\n", (double)bytes / 1e6,
               (double)bytes / (double)samples);
    }
    for (unsigned i = 0; i < run->worker_count; i++) {
        for (uint32_t p = 0; p < run->workers[i].pod_count; p++)
            mix_pod_deinit(&run->workers[i].pods[p]);
        nx_free(run->workers[i].pods);
        client_deinit(&run->workers[i].client);
    }
    nx_free(run->workers);
    return is_done ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct run run = {0};
    struct nx_err err;
    int rest = argc;
    if (config_init(&run.config, options, OPTION_COUNT, argc, argv, &rest, &err) != NX_OK ||
        rest < argc) {
        fprintf(stderr, "narthex-load: %s\n", rest < argc ? "unexpected argument" : err.msg);
        return 2;
    }
    int status = 0;
    if (number(&run, OPTION_HELP) != 0) {
        struct nx_buf text = {0};
        config_help(options, OPTION_COUNT, &text);
        fwrite(text.data, 1, text.len, stdout);
        nx_buf_deinit(&text);
    } else {
        status = run_load(&run);
    }
    config_deinit(&run.config);
    return status;
}
