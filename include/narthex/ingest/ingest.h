/* ingest.h - the write pipeline: a remote-write body in, an outcome out once its samples are durable.
 *
 * Layer    ingest (uses storage, codec, model, base).
 * Stages   unpack (codec/snappy) > decode (decode_v1, decode_protobuf) > validate > write (storage/store) > wait >
 *          outcome.
 * Threads  ingest_write: any number of workers at once; outcomes come from the committer thread or, when nothing was
 *          appended, from the caller.
 * Memory   a request's memory is its worker's, reused; the outcome lives until its callback returns.
 */
#pragma once

#include "narthex/base/clock.h"
#include "narthex/base/err.h"
#include "narthex/base/mem_budget.h"
#include "narthex/base/str.h"
#include "narthex/storage/store.h"

#include <stdint.h>

struct ingest;

/* Limits of one request: each has a flag, and a refusal that names it. */
struct ingest_limits {
    uint64_t raw_bytes_max; /* decoded body: 32 MiB */
    uint32_t samples_max;   /* per request */
    uint32_t labels_max;    /* per series */
    uint32_t label_name_bytes_max;
    uint32_t label_value_bytes_max;
    uint64_t arena_bytes_max; /* labels of one request, protobuf-c's messages: 256 MiB */
    uint64_t large_bytes;     /* decoded bodies above this take turns; 0: none do */
};

struct ingest_options {
    struct store *store; /* borrowed */
    const struct clock *clock;
    struct ingest_limits limits;
    struct mem_budget *budget; /* borrowed, told of the raw cache; may be NULL */
};
struct ingest *ingest_new(const struct ingest_options *options);
void ingest_free(struct ingest *ingest); /* NULL is fine; no request may be running */

/* Why samples were not stored; the order is that of the label values of METRIC_INGEST_REFUSED. */
enum ingest_refusal {
    INGEST_REFUSED_LABELS,
    INGEST_REFUSED_DUPLICATE,
    INGEST_REFUSED_FUTURE,
    INGEST_REFUSED_TOO_OLD,
    INGEST_REFUSED_HISTOGRAM,
    INGEST_REFUSED_SERIES_LIMIT,
    INGEST_REFUSED_LABEL_LIMIT,
    INGEST_REFUSED_SAMPLES_LIMIT,
    INGEST_REFUSED_MEMORY,
    INGEST_REFUSED_SERIES_RATE,
    INGEST_REFUSED_COUNT,
};

#define INGEST_MESSAGE_BYTES 2048

/* code
 *   NX_OK          everything in the request is durable
 *   NX_E_INVALID   the good part is durable, the rest was refused: `message` says what and why; or nothing could be
 *                  decoded
 *   NX_E_LIMIT     the decoded body is too large, nothing was taken
 *   NX_E_FULL, NX_E_IO, NX_E_CANCELLED, NX_E_BUSY   nothing may be acknowledged; a resend is harmless */
struct ingest_outcome {
    nx_code code;
    uint64_t accepted;
    uint64_t refused[INGEST_REFUSED_COUNT];
    uint64_t refused_exemplars; /* counted, and no reason for another code: as Prometheus does */
    char message[INGEST_MESSAGE_BYTES]; /* one or more lines without a final newline */
};

typedef void (*ingest_done_fn)(void *context, const struct ingest_outcome *outcome);

/* `body` is borrowed until ingest_write returns; `done` is called exactly once, perhaps before that, perhaps later from
 * another thread: quickly, please. */
void ingest_write(struct ingest *ingest, struct nx_bytes body, ingest_done_fn done, void *context);

uint64_t ingest_raw_cache_bytes(const struct ingest *ingest);
