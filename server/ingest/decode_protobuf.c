/* SPDX-License-Identifier: Apache-2.0
 *
 * decode_protobuf.c - a remote write 1.0 message by protobuf-c, in the batch's arena.
 *
 * In       raw bytes, hostile.
 * Out      batch->series with labels, samples, histograms and exemplars; batch->metadata. Nothing is checked.
 * Fails    NX_E_INVALID, NX_E_LIMIT.
 */
#include "narthex/ingest/decode_protobuf.h"

#include "narthex/model/staleness.h"

#include "remote_write_v1.pb-c.h"

#include <string.h>

/* protobuf-c frees what it replaces; the arena keeps it until the request ends. */
static void *arena_allocator_alloc(void *arena, size_t bytes)
{
    return arena_alloc(arena, bytes);
}

static void arena_allocator_free(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

static struct nx_str str_of(const ProtobufCBinaryData *bytes)
{
    return (struct nx_str){.data = bytes->len == 0 ? "" : (const char *)bytes->data,
                           .len = bytes->len};
}

/* Copied even when it is sorted already: protobuf-c's array is one of pointers. False: the arena is exhausted. */
static bool decode_labels(Nxpb__V1__Label *const *from, size_t count, struct write_batch *batch,
                          struct label **out_items)
{
    struct label *items = arena_alloc(&batch->arena, count * sizeof(*items));
    for (size_t i = 0; i < count && items != NULL; i++) {
        items[i].name = str_of(&from[i]->name);
        items[i].value = str_of(&from[i]->value);
    }
    *out_items = items;
    return items != NULL;
}

/* ---- histograms ---- */

static bool decode_spans(Nxpb__V1__BucketSpan *const *from, size_t count, struct arena *arena,
                         struct histogram_side *out)
{
    struct histogram_span *spans = arena_alloc(arena, count * sizeof(*spans));
    for (size_t i = 0; i < count && spans != NULL; i++)
        spans[i] = (struct histogram_span){.offset = from[i]->offset, .length = from[i]->length};
    out->spans = spans;
    out->span_count = (uint32_t)count;
    return spans != NULL;
}

/* The wire has differences of integers, each from the bucket before. */
static bool decode_deltas(const int64_t *deltas, size_t count, struct arena *arena,
                          struct histogram_side *out)
{
    uint64_t *buckets = arena_alloc(arena, count * sizeof(*buckets));
    uint64_t at = 0;
    for (size_t i = 0; i < count && buckets != NULL; i++) {
        at += (uint64_t)deltas[i];
        buckets[i] = at;
    }
    out->buckets = buckets;
    out->bucket_count = (uint32_t)count;
    return buckets != NULL;
}

static bool decode_counts(const double *counts, size_t count, struct arena *arena,
                          struct histogram_side *out)
{
    out->buckets = arena_copy(arena, counts, count * sizeof(*counts));
    out->bucket_count = (uint32_t)count;
    return out->buckets != NULL;
}

/* NULL: the arena is exhausted. Which of both kinds it is, count_float decides, as in Prometheus. */
static struct histogram *decode_histogram(const Nxpb__V1__Histogram *from, struct arena *arena)
{
    struct histogram *out = arena_calloc(arena, 1, sizeof(*out));
    if (out == NULL)
        return NULL;
    struct histogram_side *positive = &out->sides[HISTOGRAM_POSITIVE];
    struct histogram_side *negative = &out->sides[HISTOGRAM_NEGATIVE];
    out->is_float = from->count_case == NXPB__V1__HISTOGRAM__COUNT_COUNT_FLOAT;
    out->schema = from->schema;
    out->hint = from->reset_hint > HISTOGRAM_HINT_GAUGE ? HISTOGRAM_HINT_UNKNOWN
                                                        : (uint8_t)from->reset_hint;
    out->sum = from->sum;
    out->zero_threshold = from->zero_threshold;
    bool fits = decode_spans(from->positive_spans, from->n_positive_spans, arena, positive) &&
                decode_spans(from->negative_spans, from->n_negative_spans, arena, negative);
    if (out->is_float) {
        out->count = float_bits(from->count_float);
        out->zero_count =
            float_bits(from->zero_count_case == NXPB__V1__HISTOGRAM__ZERO_COUNT_ZERO_COUNT_FLOAT
                           ? from->zero_count_float
                           : 0);
        fits = fits &&
               decode_counts(from->positive_counts, from->n_positive_counts, arena, positive) &&
               decode_counts(from->negative_counts, from->n_negative_counts, arena, negative);
    } else {
        if (from->count_case == NXPB__V1__HISTOGRAM__COUNT_COUNT_INT)
            out->count = from->count_int;
        if (from->zero_count_case == NXPB__V1__HISTOGRAM__ZERO_COUNT_ZERO_COUNT_INT)
            out->zero_count = from->zero_count_int;
        fits = fits &&
               decode_deltas(from->positive_deltas, from->n_positive_deltas, arena, positive) &&
               decode_deltas(from->negative_deltas, from->n_negative_deltas, arena, negative);
    }
    out->bounds = arena_copy(arena, from->custom_values,
                             from->n_custom_values * sizeof(*from->custom_values));
    out->bound_count = (uint32_t)from->n_custom_values;
    return fits && out->bounds != NULL ? out : NULL;
}

static bool decode_histograms(const Nxpb__V1__TimeSeries *from, struct batch_series *series,
                              struct write_batch *batch)
{
    series->histogram_first = (uint32_t)(batch->histograms.len / sizeof(struct histogram_sample));
    series->histogram_count = (uint32_t)from->n_histograms;
    for (size_t i = 0; i < from->n_histograms; i++) {
        struct histogram_sample sample = {
            .time_ms = from->histograms[i]->timestamp,
            .histogram = decode_histogram(from->histograms[i], &batch->arena),
        };
        if (sample.histogram == NULL)
            return false;
        nx_buf_append(&batch->histograms, &sample, sizeof(sample));
    }
    return true;
}

/* ---- exemplars, metadata ---- */

static bool decode_exemplars(const Nxpb__V1__TimeSeries *from, struct batch_series *series,
                             struct write_batch *batch)
{
    series->exemplar_first = (uint32_t)(batch->exemplars.len / sizeof(struct exemplar));
    series->exemplar_count = (uint32_t)from->n_exemplars;
    for (size_t i = 0; i < from->n_exemplars; i++) {
        const Nxpb__V1__Exemplar *exemplar = from->exemplars[i];
        struct label *items;
        if (!decode_labels(exemplar->labels, exemplar->n_labels, batch, &items))
            return false;
        struct exemplar out = {
            .labels = {.items = items, .count = labels_canonicalize(items, exemplar->n_labels)},
            .value = exemplar->value,
            .time_ms = exemplar->timestamp,
        };
        nx_buf_append(&batch->exemplars, &out, sizeof(out));
    }
    return true;
}

static void decode_metadata(const Nxpb__V1__WriteRequest *request, struct write_batch *batch)
{
    for (size_t i = 0; i < request->n_metadata; i++) {
        const Nxpb__V1__MetricMetadata *from = request->metadata[i];
        struct metric_metadata out = {
            .family = str_of(&from->metric_family_name),
            .type =
                from->type < METRIC_TYPE_COUNT ? (enum metric_type)from->type : METRIC_TYPE_UNKNOWN,
            .help = str_of(&from->help),
            .unit = str_of(&from->unit),
        };
        nx_buf_append(&batch->metadata, &out, sizeof(out));
    }
}

static nx_code decode_series(const Nxpb__V1__TimeSeries *from, struct write_batch *batch)
{
    struct label *items;
    if (!decode_labels(from->labels, from->n_labels, batch, &items))
        return NX_E_LIMIT;
    struct batch_series *series = write_batch_push_series(batch);
    series->labels = (struct labels){.items = items, .count = from->n_labels};
    series->sample_count = (uint32_t)from->n_samples;
    for (size_t i = 0; i < from->n_samples; i++)
        write_batch_push_sample(batch, from->samples[i]->timestamp, from->samples[i]->value);
    return decode_histograms(from, series, batch) && decode_exemplars(from, series, batch)
               ? NX_OK
               : NX_E_LIMIT;
}

nx_code decode_protobuf(struct nx_bytes raw, uint32_t samples_max, struct write_batch *batch,
                        struct nx_err *err)
{
    ProtobufCAllocator allocator = {.alloc = arena_allocator_alloc,
                                    .free = arena_allocator_free,
                                    .allocator_data = &batch->arena};
    Nxpb__V1__WriteRequest *request =
        nxpb__v1__write_request__unpack(&allocator, raw.len, raw.data);
    if (request == NULL) {
        if (arena_is_exhausted(&batch->arena))
            return nx_err_set(err, NX_E_LIMIT, "decoding the request needs too much memory");
        return nx_err_set(err, NX_E_INVALID, "proto: the body is not a prometheus.WriteRequest");
    }
    batch->has_regions = false;
    decode_metadata(request, batch);
    for (size_t i = 0; i < request->n_timeseries; i++) {
        nx_code code = decode_series(request->timeseries[i], batch);
        if (code != NX_OK)
            return nx_err_set(err, code, "decoding the request needs too much memory");
        if (batch->sample_count + batch->histograms.len / sizeof(struct histogram_sample) >
            samples_max)
            return nx_err_set(err, NX_E_LIMIT, "more than %u samples in one request", samples_max);
    }
    return NX_OK;
}
