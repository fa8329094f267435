/* head.h - the newest data, in memory: series table, open chunks, postings; append, read, seal for a flush.
 *
 * Layer    head (uses base, model, codec).
 * Shards   HEAD_SHARD_COUNT parts by label hash, each with its own lock; a slot's low bits name its shard, so slots
 *          are stable across restarts. Pairs and postings are shared behind one lock that only new series and
 *          queries take. Sixteen do for more cores than one committer can follow (docs/decisions/006-head-line.md).
 * Series   canonical labels -> slot; a slot is reused with a new generation. One hot line holds all an append
 *          touches; the values wait there and are encoded several at a time into a byte stream from a size-classed
 *          slab.
 * Late     samples at or before the series' last go to a small sorted side buffer.
 * Sides    native histograms and exemplars, which few series have, live beside the floats (head_side.h).
 * Threads  any number of appenders and readers. Readers copy compressed bytes under the shard's lock, in small
 *          batches, and decode outside it. One flusher at a time.
 * Memory   head_stats tells it by kind; budget: 500 bytes per active series all told, the raw cache included.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"
#include "narthex/head/journal.h"
#include "narthex/model/exemplar.h"
#include "narthex/model/histogram.h"
#include "narthex/model/labels.h"
#include "narthex/model/matcher.h"
#include "narthex/model/sample.h"

#include <stdbool.h>
#include <stdint.h>

#define HEAD_SHARD_COUNT 16u
#define HEAD_SLOT_NONE   UINT32_MAX

/* A series in the head: slot and generation. A stale ref (the series left, the slot has another) is found out. */
struct series_ref {
    uint32_t slot;
    uint32_t generation;
};
static inline unsigned series_ref_shard(struct series_ref ref)
{
    return ref.slot & (HEAD_SHARD_COUNT - 1);
}

enum append_result {
    APPEND_OK, /* stored, or already there with the same bits */
    APPEND_CONFLICT, /* another value is in the head for this time, or was the series' last and is flushed by now */
    APPEND_FUTURE,        /* beyond time_max_ms */
    APPEND_TOO_OLD,       /* before time_min_ms (retention) */
    APPEND_SERIES_LIMIT,  /* would be a new series above series_max */
    APPEND_SERIES_MEMORY, /* would be a new series, and memory is short */
    APPEND_SERIES_RATE,   /* would be a new series, and too many came lately */
    APPEND_STALE_REF, /* known ref no longer valid, nothing of the series taken: resolve by labels */
    APPEND_RESULT_COUNT,
};

struct head;
struct head_options {
    uint64_t series_max; /* active series, 0: no limit */
    /* Asked for every series that an append would make, under the shard's lock: APPEND_OK, or why not. NULL: always. */
    enum append_result (*admit)(void *context, struct labels labels);
    void *admit_context;
};
NX_NODISCARD nx_code head_new(struct head **out_head, const struct head_options *options,
                              struct nx_err *err);
void head_free(struct head *head);

/* ---- append ---- */

/* One series of a request. In: known (slot != HEAD_SLOT_NONE) or labels (canonical, checked). Out: the rest. */
struct head_write {
    struct series_ref ref;        /* in: known or slot NONE; out: resolved, for the raw cache */
    struct labels labels;         /* borrowed; may be empty when ref is known */
    const struct sample *samples; /* borrowed */
    const struct histogram_sample *histograms; /* borrowed, checked */
    const struct exemplar *exemplars; /* borrowed, checked; a series is not made for them alone */
    uint32_t sample_count;
    uint32_t histogram_count;
    uint32_t exemplar_count;
    uint32_t exemplars_refused; /* out: of an unknown series, out of bounds, or too many */
    /* out: floats and histograms per reason; APPEND_OK counts the accepted */
    uint32_t refused[APPEND_RESULT_COUNT];
    struct sample
        refused_first;     /* out: an example for the message, valid when anything was refused */
    double conflict_value; /* out: what is stored, for APPEND_CONFLICT between floats */
    bool
        has_histogram_conflict; /* out: one of the two is a histogram, and the values mean nothing */
};

/* Resolves, appends and queues for the journal, shard by shard (each lock taken once per 2048 writes). A write with
 * a ref is not looked up by labels, even when the ref is stale; no series is made when all its samples are out of
 * bounds. Accepted samples are visible to queries on return and part of the shard's pending journal buffer, after
 * their series' definition if the journal since the last flush, or that flush's block, lacks it. Cost: two cache
 * misses per known series. */
void head_append(struct head *head, struct head_write *writes, size_t count, int64_t time_min_ms,
                 int64_t time_max_ms);

/* Queues an entry of no series (metadata) for the journal. */
void head_push_blob(struct head *head, enum journal_blob_kind kind, struct nx_bytes payload);

/* Swaps the shard's pending journal buffer with `inout` (empty, memory reused). */
void head_take_pending(struct head *head, unsigned shard, struct journal_buffer *inout);

/* ---- start: before any other thread ----
 *
 * One thread loads and replays. With head_load_threads what it hands over is applied by others, shard by shard: the
 * order of a shard is kept, and what is wrong with a series is told by head_load_wait instead of by the call. */

#define LOAD_CHECK_EVERY 64u

/* Before the first series or sample. 0: none, everything is applied by the caller. At most HEAD_SHARD_COUNT. */
NX_NODISCARD nx_code head_load_threads(struct head *head, unsigned threads, struct nx_err *err);
/* Until everything is applied. The first failure: then the head can only be freed. */
NX_NODISCARD nx_code head_load_wait(struct head *head, struct nx_err *err);

/* A series of the newest level-0 block, with the slot that it has there and in the journal. Label order is fastest.
 * NX_E_CORRUPT: the slot is another shard's or too large, or slot or series is there already. The series limit does
 * not count. */
NX_NODISCARD nx_code head_load_series(struct head *head, uint32_t slot, struct labels labels,
                                      struct nx_err *err);
/* The same without texts again and again: first every pair of the block in its order (by name, then value), then series
 * as numbers of pairs from 0, ascending. One series in LOAD_CHECK_EVERY has its shard checked. NX_E_CORRUPT: a number
 * of no pair, too. */
void head_load_pair(struct head *head, struct label pair);
NX_NODISCARD nx_code head_load_series_pairs(struct head *head, uint32_t slot, const uint32_t *pairs,
                                            size_t count, struct nx_err *err);
/* Journal visitor over the head: pass head as context. Replaying what is already there changes nothing. A definition
 * takes the slot of a loaded series that has no samples here (that series is in the block); NX_E_CORRUPT when it has
 * some. Samples for a slot that nobody defined are counted in head_stats. */
extern const struct journal_visitor head_journal_visitor;
/* After both, once, also when there was nothing: fills the index and the free slots, and ends the threads. With threads
 * head_load_wait was NX_OK before. Before it nothing may be selected. */
void head_load_finish(struct head *head);

/* ---- read ---- */

struct head_series {
    struct series_ref ref;
    struct labels labels; /* in the arena given to head_select */
    bool has_side;        /* histograms or exemplars */
};

/* Series that satisfy all matchers and may have samples in [min_ms, max_ms], sorted by labels_compare, in `arena`.
 * NX_E_LIMIT when the arena is exhausted. */
NX_NODISCARD nx_code head_select(struct head *head, const struct matcher *matchers,
                                 size_t matcher_count, int64_t min_ms, int64_t max_ms,
                                 struct arena *arena, struct head_series **out_series,
                                 size_t *out_count, struct nx_err *err);

/* Samples of one series in the range (those sealed for a running flush included), ascending, one per time, appended
 * to the two buffers (int64_t and double elements). A series that left meanwhile gives none. */
NX_NODISCARD nx_code head_read(struct head *head, struct series_ref ref, int64_t min_ms,
                               int64_t max_ms, struct nx_buf *times_ms, struct nx_buf *values,
                               struct nx_err *err);

/* Native histograms of the series in the range, ascending, appended as struct histogram_sample; and exemplars as struct
 * exemplar, those of one time in the order of their arrival. What they point to is in `arena`. NX_E_LIMIT. */
NX_NODISCARD nx_code head_read_histograms(struct head *head, struct series_ref ref, int64_t min_ms,
                                          int64_t max_ms, struct arena *arena, struct nx_buf *out,
                                          struct nx_err *err);
NX_NODISCARD nx_code head_read_exemplars(struct head *head, struct series_ref ref, int64_t min_ms,
                                         int64_t max_ms, struct arena *arena, struct nx_buf *out,
                                         struct nx_err *err);

/* Distinct label names, or values of `name`, of all series (no matchers) that are in the head; unsorted, text in the
 * arena. */
NX_NODISCARD nx_code head_label_names(struct head *head, struct arena *arena, struct nx_str **out,
                                      size_t *out_count, struct nx_err *err);
NX_NODISCARD nx_code head_label_values(struct head *head, struct nx_str name, struct arena *arena,
                                       struct nx_str **out, size_t *out_count, struct nx_err *err);

/* ---- flush ---- */

/* What has to become a block: everything appended and not yet in one. Sealed data stays readable until
 * head_flush_end. */
struct head_flush;
NX_NODISCARD nx_code head_flush_begin(struct head *head, struct head_flush **out_flush,
                                      struct nx_err *err);
/* Series in label order: 1 a series, 0 the end, -1 failed. Columns are ascending, one sample per time, late ones
 * included; labels and columns live until the next call. A series may have exemplars alone. */
struct head_flush_series {
    struct labels labels;
    uint32_t slot;
    const int64_t *times_ms;
    const double *values;
    size_t count;
    const struct histogram_sample *histograms;
    size_t histogram_count;
    const struct exemplar *exemplars;
    size_t exemplar_count;
};
int head_flush_next(struct head_flush *flush, struct head_flush_series *out, struct nx_err *err);
/* published (all series were read): sealed data is let go of, series without samples in this and the previous flush
 * leave. Else it stays sealed and the next flush takes it again. Frees `flush`. */
void head_flush_end(struct head_flush *flush, bool is_published);
/* false: flushes that end from now on let no series leave; for flushes that follow each other faster than samples come.
 * By the flusher. */
void head_set_leaving(struct head *head, bool is_leaving);

/* From now on a sample of the time of a series' last one is new when that was flushed: it may have been deleted.
 * Before, it is taken for a repetition. Cost: one look at each series. */
void head_forget_flushed(struct head *head);

/* ---- numbers ---- */

struct head_stats {
    uint64_t series, series_created, series_removed, late_samples, unflushed_samples;
    int64_t min_time_ms, max_time_ms; /* of unflushed data; INT64_MAX/MIN when there is none */
    uint64_t
        unknown_samples; /* replayed for a slot that neither block nor journal defined: lost, to be reported */
    uint64_t chunks;                /* pieces of the series' streams, sealed ones included */
    uint64_t histograms, exemplars; /* taken since the start; samples count histograms too */
    /* Memory by kind: slots, tables and order; packed ids and texts; pairs and postings; streams, spare blocks
     * included; late samples; histograms and exemplars; what waits for the journal. */
    uint64_t bytes_series, bytes_labels, bytes_index, bytes_chunks, bytes_late, bytes_sides,
        bytes_pending;
};
void head_stats(struct head *head, struct head_stats *out);

/* What samples take that are not in a block yet, and everything together. */
static inline uint64_t head_stats_sample_bytes(const struct head_stats *stats)
{
    return stats->bytes_chunks + stats->bytes_late + stats->bytes_sides + stats->bytes_pending;
}
static inline uint64_t head_stats_bytes(const struct head_stats *stats)
{
    return stats->bytes_series + stats->bytes_labels + stats->bytes_index +
           head_stats_sample_bytes(stats);
}

/* When memory asks: frees blocks that wait for new chunks, most of them just after a flush. Returns the bytes freed,
 * which may be fewer than wanted, or a block more. Cost: a system call per 64 KiB. Threads: any. */
uint64_t head_release_spare(struct head *head, uint64_t bytes_wanted);
