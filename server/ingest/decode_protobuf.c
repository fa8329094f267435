/* SPDX-License-Identifier: Apache-2.0
 *
 * decode_protobuf.c - a remote write 1.0 message by protobuf-c, in the batch's arena.
 *
 * In       raw bytes, hostile.
 * Out      batch->series with labels, samples and counts of what is not stored.
 * Fails    NX_E_INVALID, NX_E_LIMIT.
 */
#include "narthex/ingest/decode_protobuf.h"

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

static nx_code decode_series(const Nxpb__V1__TimeSeries *from, struct write_batch *batch)
{
    struct label *items = arena_alloc(&batch->arena, from->n_labels * sizeof(*items));
    if (items == NULL)
        return NX_E_LIMIT;
    for (size_t i = 0; i < from->n_labels; i++) {
        items[i].name = str_of(&from->labels[i]->name);
        items[i].value = str_of(&from->labels[i]->value);
    }
    struct batch_series *series = write_batch_push_series(batch);
    series->labels = (struct labels){.items = items, .count = from->n_labels};
    series->histogram_count = (uint32_t)from->n_histograms;
    series->exemplar_count = (uint32_t)from->n_exemplars;
    series->sample_count = (uint32_t)from->n_samples;
    for (size_t i = 0; i < from->n_samples; i++)
        write_batch_push_sample(batch, from->samples[i]->timestamp, from->samples[i]->value);
    return NX_OK;
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
    batch->metadata_count = request->n_metadata;
    for (size_t i = 0; i < request->n_timeseries; i++) {
        nx_code code = decode_series(request->timeseries[i], batch);
        if (code != NX_OK)
            return nx_err_set(err, code, "decoding the request needs too much memory");
        if (batch->sample_count > samples_max)
            return nx_err_set(err, NX_E_LIMIT, "more than %u samples in one request", samples_max);
    }
    return NX_OK;
}
