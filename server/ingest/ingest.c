/* SPDX-License-Identifier: Apache-2.0
 *
 * ingest.c - the conductor of the write pipeline: unpack, decode, validate, write, wait.
 *
 * In       a compressed remote-write 1.0 body.
 * Out      an outcome, called back once everything accepted is durable.
 * Fails    see struct ingest_outcome.
 *
 * A request that is refused in part still waits for its commit: the good part must be durable before anything is said.
 */
#include "narthex/ingest/ingest.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"
#include "narthex/codec/snappy.h"
#include "narthex/codec/varint.h"
#include "narthex/ingest/decode_protobuf.h"
#include "narthex/ingest/decode_v1.h"
#include "narthex/ingest/validate.h"

#include "ingest_internal.h"

#include <stdio.h>
#include <string.h>

/* Rows of METRIC_INGEST_SECONDS and METRIC_INGEST_FAILED. */
enum stage_seconds {
    STAGE_UNPACK,
    STAGE_DECODE,
    STAGE_VALIDATE,
    STAGE_WRITE,
    STAGE_WAIT,
};
enum stage_failed {
    FAILED_RECEIVE,
    FAILED_UNPACK,
    FAILED_DECODE,
    FAILED_WRITE,
    FAILED_WAIT,
};

/* Memory that a worker keeps from one request to the next. */
#define WORKER_RAW_BYTES_KEPT ((size_t)4 << 20)
/* The raw cache holds this many entries more than twice the active series (new senders, churn). */
#define RAW_CACHE_ENTRIES_SPARE 65536u
#define RAW_CACHE_REFRESH_CALLS 64u

struct ingest *ingest_new(const struct ingest_options *options)
{
    struct ingest *ingest = nx_calloc(1, sizeof(*ingest));
    ingest->store = options->store;
    ingest->clock = options->clock;
    ingest->limits = options->limits;
    ingest->raw_cache_entries_max = RAW_CACHE_ENTRIES_SPARE;
    raw_cache_init(&ingest->raw_cache);
    ingest->budget = options->budget;
    mutex_init(&ingest->large, LOCK_RANK_INGEST_LARGE);
    mutex_init(&ingest->workers_lock, LOCK_RANK_HTTP_QUEUE);
    return ingest;
}

void ingest_free(struct ingest *ingest)
{
    if (ingest == NULL)
        return;
    while (ingest->free_workers != NULL) {
        struct ingest_worker *worker = ingest->free_workers;
        ingest->free_workers = worker->next_free;
        nx_buf_deinit(&worker->raw);
        write_batch_deinit(&worker->batch);
        nx_free(worker->writes);
        nx_free(worker->write_series);
        nx_free(worker);
    }
    raw_cache_deinit(&ingest->raw_cache);
    mutex_deinit(&ingest->workers_lock);
    mutex_deinit(&ingest->large);
    nx_free(ingest);
}

uint64_t ingest_raw_cache_bytes(const struct ingest *ingest)
{
    return raw_cache_bytes((struct raw_cache *)(uintptr_t)&ingest->raw_cache);
}

static struct ingest_worker *worker_acquire(struct ingest *ingest)
{
    mutex_lock(&ingest->workers_lock);
    struct ingest_worker *worker = ingest->free_workers;
    if (worker != NULL)
        ingest->free_workers = worker->next_free;
    mutex_unlock(&ingest->workers_lock);
    if (worker != NULL)
        return worker;
    worker = nx_calloc(1, sizeof(*worker));
    write_batch_init(&worker->batch, (size_t)ingest->limits.arena_bytes_max);
    return worker;
}

static void worker_release(struct ingest *ingest, struct ingest_worker *worker)
{
    write_batch_reset(&worker->batch);
    write_batch_trim(&worker->batch);
    if (worker->raw.cap > WORKER_RAW_BYTES_KEPT)
        nx_buf_deinit(&worker->raw);
    if (worker->write_cap > WRITE_BATCH_SERIES_KEPT) {
        nx_free(worker->writes);
        nx_free(worker->write_series);
        worker->writes = NULL;
        worker->write_series = NULL;
        worker->write_cap = 0;
    }
    mutex_lock(&ingest->workers_lock);
    worker->next_free = ingest->free_workers;
    ingest->free_workers = worker;
    mutex_unlock(&ingest->workers_lock);
}

/* ---- the stages ---- */

static nx_code unpack(struct ingest *ingest, struct nx_bytes body, struct ingest_worker *worker,
                      struct nx_err *err)
{
    return snappy_unpack(body, ingest->limits.raw_bytes_max, &worker->raw, err);
}

static nx_code decode_slow(struct ingest *ingest, struct ingest_worker *worker, struct nx_err *err)
{
    write_batch_reset(&worker->batch);
    return decode_protobuf(nx_buf_bytes(&worker->raw), ingest->limits.samples_max, &worker->batch,
                           err);
}

static nx_code decode(struct ingest *ingest, struct ingest_worker *worker, struct nx_err *err)
{
    struct write_batch *batch = &worker->batch;
    nx_code code = decode_v1(nx_buf_bytes(&worker->raw), ingest->limits.samples_max, batch);
    if (code == NX_E_UNSUPPORTED)
        return decode_slow(ingest, worker, err);
    if (code != NX_OK)
        return nx_err_set(err, code, "more than %u samples, or series, in one request",
                          ingest->limits.samples_max);
    for (size_t i = 0; i < batch->series_count; i++)
        batch->keys[i] =
            nx_hash128_secret(batch->series[i].region.data, batch->series[i].region.len);
    size_t hits = raw_cache_find(&ingest->raw_cache, batch->keys, batch->series_count, batch->refs);
    metrics_add_at(METRIC_INGEST_RAW_CACHE, 0, hits);
    metrics_add_at(METRIC_INGEST_RAW_CACHE, 1, batch->series_count - hits);
    return NX_OK;
}

/* Labels of a series in a form that may be changed: parsed from its region, or as protobuf-c gave them.
 * NX_E_UNSUPPORTED: the region is nothing that the scanner understands. */
static nx_code series_labels(struct write_batch *batch, const struct batch_series *series,
                             struct label **out_items, size_t *out_count)
{
    if (batch->has_regions) {
        /* One label above the limit is let through, so that validate_labels can name the number. */
        return decode_v1_labels(series->region, UINT32_MAX, &batch->arena, out_items, out_count);
    }
    struct label *items =
        arena_copy(&batch->arena, series->labels.items, series->labels.count * sizeof(*items));
    if (items == NULL)
        return NX_E_LIMIT;
    *out_items = items;
    *out_count = series->labels.count;
    return NX_OK;
}

/* Parses and checks the labels of one series that is not known by its bytes. A refused series is reported here. */
static nx_code validate_series(struct ingest *ingest, struct ingest_worker *worker,
                               struct batch_series *series, struct ingest_request *request)
{
    struct label *items;
    size_t count;
    struct nx_err reason;
    nx_code code = series_labels(&worker->batch, series, &items, &count);
    if (code != NX_OK)
        return code;
    code = validate_labels(items, count, &ingest->limits, &series->labels, &reason);
    if (code == NX_OK)
        return NX_OK;
    enum ingest_refusal refusal =
        code == NX_E_LIMIT ? INGEST_REFUSED_LABEL_LIMIT : INGEST_REFUSED_LABELS;
    series->refusal = (uint8_t)(1 + refusal);
    ingest_report_refusal(request, refusal, series->sample_count + series->histogram_count,
                          (struct labels){.items = items, .count = count}, reason.msg);
    return NX_OK;
}

static bool has_work(const struct batch_series *series)
{
    return series->sample_count + series->histogram_count + series->exemplar_count > 0;
}

/* Checks histograms and exemplars of one series; those refused are reported and taken out. */
static nx_code validate_sides(struct write_batch *batch, struct batch_series *series,
                              struct ingest_request *request)
{
    struct histogram_sample *histograms = write_batch_histograms(batch) + series->histogram_first;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < series->histogram_count; i++) {
        struct nx_err reason;
        struct histogram *histogram = (struct histogram *)(uintptr_t)histograms[i].histogram;
        nx_code code = histogram_reduce(histogram, &batch->arena, &reason);
        if (code == NX_E_LIMIT)
            return code;
        if (code == NX_OK)
            code = histogram_check(histogram, &reason);
        if (code == NX_OK)
            histograms[kept++] = histograms[i];
        else
            ingest_report_refusal(request, INGEST_REFUSED_HISTOGRAM, 1, series->labels, reason.msg);
    }
    series->histogram_count = kept;
    struct exemplar *exemplars = write_batch_exemplars(batch) + series->exemplar_first;
    kept = 0;
    for (uint32_t i = 0; i < series->exemplar_count; i++) {
        struct nx_err ignored;
        if (exemplar_check(&exemplars[i], &ignored) == NX_OK)
            exemplars[kept++] = exemplars[i];
    }
    request->outcome.refused_exemplars += series->exemplar_count - kept;
    series->exemplar_count = kept;
    return NX_OK;
}

static bool is_known(const struct write_batch *batch, size_t i)
{
    return batch->has_regions && batch->refs[i].slot != HEAD_SLOT_NONE;
}

static nx_code validate(struct ingest *ingest, struct ingest_worker *worker,
                        struct ingest_request *request, struct nx_err *err)
{
    struct write_batch *batch = &worker->batch;
    for (size_t i = 0; i < batch->series_count; i++) {
        struct batch_series *series = &batch->series[i];
        if (is_known(batch, i) || !has_work(series))
            continue;
        nx_code code = validate_series(ingest, worker, series, request);
        if (code == NX_E_UNSUPPORTED) /* odd label bytes: only protobuf-c can tell what they mean */
            return code;
        if (code == NX_OK && series->refusal == 0)
            code = validate_sides(batch, series, request);
        if (code != NX_OK)
            return nx_err_set(err, code, "the request needs too much memory");
    }
    return NX_OK;
}

static void push_write(struct ingest_worker *worker, size_t at, size_t series_index)
{
    const struct write_batch *batch = &worker->batch;
    const struct batch_series *series = &batch->series[series_index];
    worker->write_series[at] = (uint32_t)series_index;
    struct head_write *write = &worker->writes[at];
    *write = (struct head_write){
        .ref = {.slot = HEAD_SLOT_NONE},
        .samples = batch->samples + series->sample_first,
        .sample_count = series->sample_count,
        .histogram_count = series->histogram_count,
        .exemplar_count = series->exemplar_count,
    };
    if (series->histogram_count > 0)
        write->histograms = write_batch_histograms(batch) + series->histogram_first;
    if (series->exemplar_count > 0)
        write->exemplars = write_batch_exemplars(batch) + series->exemplar_first;
    if (is_known(batch, series_index))
        write->ref = batch->refs[series_index];
    else
        write->labels = series->labels;
}

/* After the store took `count` writes: refusals are reported, refs learnt. */
static void collect_writes(struct ingest_worker *worker, size_t count,
                           struct ingest_request *request)
{
    struct write_batch *batch = &worker->batch;
    for (size_t w = 0; w < count; w++) {
        const struct head_write *write = &worker->writes[w];
        size_t i = worker->write_series[w];
        request->outcome.accepted += write->refused[APPEND_OK];
        request->outcome.refused_exemplars += write->exemplars_refused;
        batch->refs[i] = write->ref;
        if (NX_LIKELY(write->refused[APPEND_OK] == write->sample_count + write->histogram_count))
            continue;
        if (write->refused[APPEND_STALE_REF] > 0) {
            batch->refs[i].slot = HEAD_SLOT_NONE;
            continue;
        }
        struct labels labels = batch->series[i].labels;
        struct label *items;
        size_t label_count;
        if (labels.count == 0 &&
            series_labels(batch, &batch->series[i], &items, &label_count) == NX_OK)
            labels = (struct labels){.items = items, .count = label_count};
        ingest_report_write(request, write, labels);
    }
}

/* Series whose cached ref had gone stale are parsed after all and written by their labels. */
static nx_code write_stale(struct ingest *ingest, struct ingest_worker *worker, size_t count,
                           struct ingest_request *request, struct nx_err *err)
{
    struct write_batch *batch = &worker->batch;
    size_t stale = 0;
    for (size_t w = 0; w < count; w++) {
        size_t i = worker->write_series[w];
        if (worker->writes[w].refused[APPEND_STALE_REF] == 0)
            continue;
        nx_code code = validate_series(ingest, worker, &batch->series[i], request);
        if (code != NX_OK)
            return nx_err_set(err, NX_E_BUSY, "the labels of the request need too much memory");
        if (batch->series[i].refusal == 0)
            push_write(worker, stale++, i);
    }
    if (stale == 0)
        return NX_OK;
    nx_code code = store_write(ingest->store, worker->writes, stale, err);
    if (code == NX_OK)
        collect_writes(worker, stale, request);
    return code;
}

static void remember_refs(struct ingest *ingest, struct write_batch *batch)
{
    uint32_t calls = atomic_fetch_add_explicit(&ingest->insert_calls, 1, memory_order_relaxed);
    if (calls % RAW_CACHE_REFRESH_CALLS == 0) {
        struct store_stats stats;
        store_stats(ingest->store, &stats);
        atomic_store_explicit(&ingest->raw_cache_entries_max,
                              2 * stats.head.series + RAW_CACHE_ENTRIES_SPARE,
                              memory_order_relaxed);
        if (ingest->budget != NULL)
            mem_budget_note(ingest->budget, MEM_KIND_RAW_CACHE, ingest_raw_cache_bytes(ingest));
    }
    raw_cache_insert(&ingest->raw_cache, batch->keys, batch->refs, batch->series_count,
                     atomic_load_explicit(&ingest->raw_cache_entries_max, memory_order_relaxed));
}

static nx_code write_samples(struct ingest *ingest, struct ingest_worker *worker,
                             struct ingest_request *request, struct nx_err *err)
{
    struct write_batch *batch = &worker->batch;
    if (batch->series_count > worker->write_cap) {
        worker->write_cap = batch->series_cap;
        worker->writes =
            nx_realloc_array(worker->writes, worker->write_cap, sizeof(*worker->writes));
        worker->write_series = nx_realloc_array(worker->write_series, worker->write_cap,
                                                sizeof(*worker->write_series));
    }
    size_t count = 0;
    bool has_misses = false;
    for (size_t i = 0; i < batch->series_count; i++) {
        if (batch->series[i].refusal != 0 || !has_work(&batch->series[i]))
            continue;
        has_misses |= !is_known(batch, i);
        push_write(worker, count++, i);
    }
    nx_code code = store_write(ingest->store, worker->writes, count, err);
    if (code != NX_OK)
        return code;
    collect_writes(worker, count, request);
    bool has_stale = false;
    for (size_t w = 0; w < count; w++)
        has_stale |= worker->writes[w].refused[APPEND_STALE_REF] > 0;
    if (has_stale)
        code = write_stale(ingest, worker, count, request, err);
    if (code == NX_OK && batch->has_regions && (has_misses || has_stale))
        remember_refs(ingest, batch);
    return code;
}

/* Senders repeat what they know of every family each minute: what is refused is counted, and told again. */
static void write_metadata(struct ingest *ingest, const struct write_batch *batch)
{
    const struct metric_metadata *items =
        (const struct metric_metadata *)(const void *)batch->metadata.data;
    size_t count = batch->metadata.len / sizeof(*items);
    size_t refused = store_write_metadata(ingest->store, items, count);
    metrics_add_at(METRIC_INGEST_METADATA, 0, count - refused);
    metrics_add_at(METRIC_INGEST_METADATA, 1, refused);
}

/* ---- the outcome ---- */

static void finish(struct ingest_request *request)
{
    ingest_report_finish(request);
    request->done(request->context, &request->outcome);
    nx_free(request);
}

static void on_durable(void *context, nx_code code)
{
    struct ingest_request *request = context;
    uint64_t waited_ns = clock_mono_ns(request->ingest->clock) - request->wait_begun_ns;
    metrics_add_at(METRIC_INGEST_SECONDS, STAGE_WAIT, waited_ns);
    if (code != NX_OK) {
        metrics_add_at(METRIC_INGEST_FAILED, FAILED_WAIT, 1);
        request->outcome.code = code;
        snprintf(request->outcome.message, sizeof(request->outcome.message),
                 "the samples could not be made durable (%s); send them again", nx_code_name(code));
    } else {
        metrics_add(METRIC_INGEST_SAMPLES, request->outcome.accepted);
    }
    finish(request);
}

static void fail(struct ingest_request *request, enum stage_failed stage, const struct nx_err *err)
{
    metrics_add_at(METRIC_INGEST_FAILED, stage, 1);
    request->outcome.code = err->code;
    snprintf(request->outcome.message, sizeof(request->outcome.message), "%s", err->msg);
    finish(request);
}

/* Adds the time since *begun_ns to a stage, and starts the next. */
static void stage_done(struct ingest *ingest, enum stage_seconds stage, uint64_t *begun_ns)
{
    uint64_t now_ns = clock_mono_ns(ingest->clock);
    metrics_add_at(METRIC_INGEST_SECONDS, stage, now_ns - *begun_ns);
    *begun_ns = now_ns;
}

/* Everything between the body and the head. On failure *out_stage says where. */
static nx_code run_stages(struct ingest *ingest, struct ingest_worker *worker, struct nx_bytes body,
                          struct ingest_request *request, enum stage_failed *out_stage,
                          struct nx_err *err)
{
    uint64_t begun_ns = clock_mono_ns(ingest->clock);
    *out_stage = FAILED_UNPACK;
    nx_code code = unpack(ingest, body, worker, err);
    stage_done(ingest, STAGE_UNPACK, &begun_ns);
    if (code != NX_OK)
        return code;

    *out_stage = FAILED_DECODE;
    code = decode(ingest, worker, err);
    stage_done(ingest, STAGE_DECODE, &begun_ns);
    if (code != NX_OK)
        return code;

    code = validate(ingest, worker, request, err);
    if (code == NX_E_UNSUPPORTED) {
        /* Odd label bytes: nothing was reported for good yet, start over with protobuf-c. */
        memset(&request->outcome, 0, sizeof(request->outcome));
        request->message_lines = 0;
        code = decode_slow(ingest, worker, err);
        if (code == NX_OK)
            code = validate(ingest, worker, request, err);
    }
    stage_done(ingest, STAGE_VALIDATE, &begun_ns);
    if (code != NX_OK)
        return code;

    *out_stage = FAILED_WRITE;
    code = write_samples(ingest, worker, request, err);
    stage_done(ingest, STAGE_WRITE, &begun_ns);
    if (code == NX_OK)
        write_metadata(ingest, &worker->batch);
    return code;
}

/* By the length that the block declares: large requests take turns, so that the memory that they need is not multiplied
 * by the number of workers. */
static bool is_large_body(const struct ingest *ingest, struct nx_bytes body)
{
    struct byte_reader reader = byte_reader_of(body);
    return ingest->limits.large_bytes > 0 &&
           byte_reader_varint(&reader) > ingest->limits.large_bytes;
}

static nx_code run_body(struct ingest *ingest, struct nx_bytes body, struct ingest_request *request,
                        enum stage_failed *out_stage, struct nx_err *err)
{
    struct ingest_worker *worker = worker_acquire(ingest);
    nx_code code = run_stages(ingest, worker, body, request, out_stage, err);
    worker_release(ingest, worker);
    return code;
}

void ingest_write(struct ingest *ingest, struct nx_bytes body, ingest_done_fn done, void *context)
{
    struct ingest_request *request = nx_calloc(1, sizeof(*request));
    request->ingest = ingest;
    request->done = done;
    request->context = context;
    metrics_add(METRIC_INGEST_REQUESTS, 1);
    metrics_add(METRIC_INGEST_BODY_BYTES, body.len);

    struct nx_err err = {.code = NX_OK};
    enum stage_failed stage;
    nx_code code;
    if (is_large_body(ingest, body)) {
        mutex_lock(&ingest->large);
        code = run_body(ingest, body, request, &stage, &err);
        mutex_unlock(&ingest->large);
    } else {
        code = run_body(ingest, body, request, &stage, &err);
    }
    if (code != NX_OK) {
        fail(request, stage, &err);
        return;
    }
    request->wait_begun_ns = clock_mono_ns(ingest->clock);
    store_wait(ingest->store, on_durable, request);
}
