/* write_batch.h - one request between decode and write: columns of series, views into its raw bytes.
 *
 * Owner    a worker; arrays are reused from request to request. Views (regions, labels) live as long as the raw body
 *          and the request's arena.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/base/hash.h"
#include "narthex/base/str.h"
#include "narthex/head/head.h"
#include "narthex/model/exemplar.h"
#include "narthex/model/histogram.h"
#include "narthex/model/labels.h"
#include "narthex/model/metadata.h"
#include "narthex/model/sample.h"

#include <stdint.h>

/* Series and samples whose arrays a worker keeps from one request to the next; senders rarely put more into one. */
#define WRITE_BATCH_SERIES_KEPT  32768u
#define WRITE_BATCH_SAMPLES_KEPT 131072u
/* Of histograms, exemplars and metadata each. */
#define WRITE_BATCH_RARE_BYTES_KEPT ((size_t)1 << 20)

/* One series as decoded. */
struct batch_series {
    struct nx_bytes region; /* raw label bytes, empty when labels came from protobuf-c */
    struct labels labels;   /* filled on a miss (canonical, checked) or by protobuf-c */
    uint32_t sample_first;
    uint32_t sample_count;
    uint32_t histogram_first;
    uint32_t histogram_count;
    uint32_t exemplar_first;
    uint32_t exemplar_count;
    uint8_t refusal; /* 1 + enum ingest_refusal when the whole series is refused, 0 when fine */
};

struct write_batch {
    struct arena arena; /* labels of misses, protobuf-c's messages */
    struct batch_series *series;
    struct nx_hash128 *keys; /* parallel to series, valid when has_regions */
    struct series_ref *refs; /* parallel to series */
    size_t series_count, series_cap;
    struct sample *samples;
    size_t sample_count, sample_cap;
    /* Rare beside samples; what they point to is in the arena or the raw bytes. */
    struct nx_buf histograms; /* struct histogram_sample */
    struct nx_buf exemplars;  /* struct exemplar */
    struct nx_buf metadata;   /* struct metric_metadata */
    bool has_regions;
};

void write_batch_init(struct write_batch *batch, size_t arena_bytes_max);
void write_batch_deinit(struct write_batch *batch);
void write_batch_reset(struct write_batch *batch);
/* After a reset: frees the arrays that a request of unusual size has grown. */
void write_batch_trim(struct write_batch *batch);
struct batch_series *write_batch_push_series(struct write_batch *batch);
static inline struct histogram_sample *write_batch_histograms(const struct write_batch *batch)
{
    return (struct histogram_sample *)(void *)batch->histograms.data;
}
static inline struct exemplar *write_batch_exemplars(const struct write_batch *batch)
{
    return (struct exemplar *)(void *)batch->exemplars.data;
}
void write_batch_push_sample(struct write_batch *batch, int64_t time_ms, double value);
