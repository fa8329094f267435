/* SPDX-License-Identifier: Apache-2.0
 *
 * write_batch.c - the growing columns of one request; see write_batch.h.
 */
#include "narthex/ingest/write_batch.h"

#include "narthex/base/mem.h"

#include <string.h>

void write_batch_init(struct write_batch *batch, size_t arena_bytes_max)
{
    memset(batch, 0, sizeof(*batch));
    arena_init(&batch->arena, arena_bytes_max);
}

void write_batch_deinit(struct write_batch *batch)
{
    arena_deinit(&batch->arena);
    nx_free(batch->series);
    nx_free(batch->keys);
    nx_free(batch->refs);
    nx_free(batch->samples);
    nx_buf_deinit(&batch->histograms);
    nx_buf_deinit(&batch->exemplars);
    nx_buf_deinit(&batch->metadata);
    memset(batch, 0, sizeof(*batch));
}

void write_batch_reset(struct write_batch *batch)
{
    arena_reset(&batch->arena);
    batch->series_count = 0;
    batch->sample_count = 0;
    nx_buf_reset(&batch->histograms);
    nx_buf_reset(&batch->exemplars);
    nx_buf_reset(&batch->metadata);
    batch->has_regions = false;
}

void write_batch_trim(struct write_batch *batch)
{
    if (batch->series_cap > WRITE_BATCH_SERIES_KEPT) {
        nx_free(batch->series);
        nx_free(batch->keys);
        nx_free(batch->refs);
        batch->series = NULL;
        batch->keys = NULL;
        batch->refs = NULL;
        batch->series_cap = 0;
    }
    if (batch->sample_cap > WRITE_BATCH_SAMPLES_KEPT) {
        nx_free(batch->samples);
        batch->samples = NULL;
        batch->sample_cap = 0;
    }
    struct nx_buf *rare[] = {&batch->histograms, &batch->exemplars, &batch->metadata};
    for (size_t i = 0; i < sizeof(rare) / sizeof(rare[0]); i++)
        if (rare[i]->cap > WRITE_BATCH_RARE_BYTES_KEPT)
            nx_buf_deinit(rare[i]);
}

struct batch_series *write_batch_push_series(struct write_batch *batch)
{
    if (batch->series_count == batch->series_cap) {
        size_t cap = batch->series_cap == 0 ? 1024 : batch->series_cap * 2;
        batch->series = nx_realloc_array(batch->series, cap, sizeof(*batch->series));
        batch->keys = nx_realloc_array(batch->keys, cap, sizeof(*batch->keys));
        batch->refs = nx_realloc_array(batch->refs, cap, sizeof(*batch->refs));
        batch->series_cap = cap;
    }
    struct batch_series *series = &batch->series[batch->series_count++];
    *series = (struct batch_series){.sample_first = (uint32_t)batch->sample_count};
    return series;
}

void write_batch_push_sample(struct write_batch *batch, int64_t time_ms, double value)
{
    if (batch->sample_count == batch->sample_cap) {
        batch->sample_cap = batch->sample_cap == 0 ? 2048 : batch->sample_cap * 2;
        batch->samples =
            nx_realloc_array(batch->samples, batch->sample_cap, sizeof(*batch->samples));
    }
    batch->samples[batch->sample_count++] = (struct sample){.time_ms = time_ms, .value = value};
}
