/* store.h - one store over head, journal and blocks: open, write, read, close.
 *
 * Layer    storage.   Owns <data>/LOCK and everything below <data>.
 * Threads  store_write: any number of ingest workers. Queries: any number. Inside: the committer and the maintenance
 *          thread.
 * Promise  a write's completion is called with NX_OK only after an fdatasync that covers it; what is complete is
 *          visible to every query that starts later.
 */
#pragma once

#include "narthex/base/clock.h"
#include "narthex/base/err.h"
#include "narthex/base/io.h"
#include "narthex/base/mem_budget.h"
#include "narthex/head/cardinality.h"
#include "narthex/head/head.h"
#include "narthex/model/matcher.h"
#include "narthex/model/metadata.h"
#include "narthex/model/series.h"
#include "narthex/storage/querier.h"

#include <stdbool.h>
#include <stdint.h>

struct store;
struct store_options {
    const char *data_dir;        /* created when absent */
    const struct io *io;         /* borrowed */
    const struct clock *clock;   /* borrowed */
    int64_t retention_ms;        /* 0: none; older samples are refused, older blocks dropped */
    uint64_t retention_bytes;    /* 0: none; of blocks: the oldest go */
    int64_t future_tolerance_ms; /* 10 min */
    int64_t flush_interval_ms;   /* 15 min */
    uint64_t
        flush_samples_min; /* 60 M: a flush begins when the journal holds max(this, 60 x active series) */
    uint64_t journal_segment_bytes; /* 0: the default */
    uint64_t series_max;            /* 0: no limit */
    uint64_t cache_bytes;           /* decompressed groups */
    uint64_t new_series_per_minute; /* with a burst of a minute's worth; 0: no limit */
    uint64_t min_free_bytes;        /* of the volume, below: NX_E_FULL; 0: by its size */
    struct mem_budget
        *budget; /* borrowed, ticked by the store when it is maintained; may be NULL */
    uint64_t scrub_bytes_per_s; /* 0: blocks are not read again in the background */
    bool
        is_read_only; /* for tools, with io_read_only: nothing is written, not even at the close; no writes */
    bool
        is_maintained; /* false: no maintenance thread; tests call store_flush, store_merge themselves */
};

struct store_open_result {
    uint64_t blocks, series_loaded, journal_samples, journal_commits;
    uint64_t load_ms, replay_ms;
    bool has_torn_tail;
    unsigned damaged_segments, quarantined_blocks;
    uint64_t unknown_samples; /* replayed, of series that nothing defines any more: lost */
    uint64_t missing_commits; /* of the journal's end, known from a note in the catalog: lost */
    char damage[240];
};

/* LOCK, directories, catalog, series of the newest flush, journal. When it returns the store is ready.
 * NX_E_BUSY: another process holds the directory. NX_E_INVALID: another format. */
NX_NODISCARD nx_code store_open(struct store **out_store, const struct store_options *options,
                                struct store_open_result *out_result, struct nx_err *err);
/* Commits what is pending, flushes, joins the threads, frees. NULL is fine. No write and no query may run. A failed
 * flush is returned, and everything is closed all the same: the journal has it. */
NX_NODISCARD nx_code store_close(struct store *store, struct nx_err *err);

/* ---- write ---- */

/* Called exactly once per store_wait, from the committer thread: be quick, never call back into the store's write
 * side. code NX_OK: durable. Else the commit failed: nothing may be acknowledged, a resend is harmless. */
typedef void (*store_done_fn)(void *context, nx_code code);

/* Appends the series of one request (see head_append for what comes back in `writes`). Blocks on shard locks, and while
 * a delete seals the head.
 * NX_OK: taken, possibly with refusals in `writes`; then call store_wait.
 * NX_E_FULL, NX_E_IO: the journal cannot take anything now; NX_E_BUSY: memory is short; nothing was appended.
 * NX_E_CANCELLED: stopping. */
NX_NODISCARD nx_code store_write(struct store *store, struct head_write *writes, size_t count,
                                 struct nx_err *err);

/* Takes metadata of families, the newest of each; call store_wait as after store_write. Returns how many were refused:
 * no name, too long, too many families. */
size_t store_write_metadata(struct store *store, const struct metric_metadata *items, size_t count);

/* `done` is called after the first commit that begins from now on is durable (or failed). Call once per request,
 * after its last store_write, even if that added nothing: a resend must not be acknowledged before the original is
 * durable. */
void store_wait(struct store *store, store_done_fn done, void *context);

/* ---- read ---- */

/* The series_source over everything; process lifetime of the store. */
struct series_source *store_source(struct store *store);
/* See querier_exemplars. */
NX_NODISCARD nx_code store_exemplars(struct store *store, const struct matcher *matchers,
                                     size_t matcher_count, int64_t min_ms, int64_t max_ms,
                                     struct arena *arena, struct exemplar_series **out,
                                     size_t *out_count, struct series_warnings *warnings,
                                     struct nx_err *err);
/* Families sorted by name; see metadata_table_list. */
NX_NODISCARD nx_code store_metadata(struct store *store, struct nx_str family, size_t limit,
                                    struct arena *arena, struct metric_metadata **out,
                                    size_t *out_count, struct nx_err *err);

/* What the head's series are made of; refreshed by the maintenance thread. Process lifetime of the store. */
struct cardinality *store_cardinality(struct store *store);

/* ---- delete ---- */

/* Series that satisfy all matchers of any list, and their samples in [min_ms, max_ms]. All borrowed. */
struct store_delete {
    struct matcher *const *lists;
    const size_t *matcher_counts;
    size_t list_count;
    int64_t min_ms, max_ms;
};
struct store_delete_result {
    uint64_t series; /* a series of two blocks counts twice */
    unsigned blocks;
};
/* Everything acknowledged before the call is deleted when it returns: durably, at once for every query that starts
 * later, and all of it or nothing. What is written later is not touched, whatever its time. Waits for a running flush.
 * Threads: any, one delete at a time. NX_E_FULL, NX_E_IO, NX_E_LIMIT: nothing was deleted. Crash points:
 * delete_flushed, delete_begun, delete_committed, delete_released. */
NX_NODISCARD nx_code store_delete(struct store *store, const struct store_delete *what,
                                  struct store_delete_result *out_result, struct nx_err *err);
/* Rewrites the blocks of which something is deleted, one after the other. NX_E_FULL: no room for a copy of one. */
NX_NODISCARD nx_code store_clean(struct store *store, struct nx_err *err);

/* ---- maintenance, also called by its own thread ---- */

NX_NODISCARD nx_code store_flush(struct store *store, struct nx_err *err);
/* Runs merges until there is nothing to do; force: without waiting for the grace time. */
NX_NODISCARD nx_code store_merge(struct store *store, bool force, struct nx_err *err);
NX_NODISCARD nx_code store_retain(struct store *store, struct nx_err *err);

struct store_stats {
    struct head_stats head;
    struct journal_stats journal;
    uint64_t blocks, block_bytes, block_samples, cache_bytes;
    uint64_t quarantined_blocks; /* since the start */
    uint64_t unreadable_blocks;  /* now */
    uint64_t tombstones, tombstone_bytes;
    uint64_t cardinality_bytes, metadata_bytes;
    bool is_writable;
};
void store_stats(struct store *store, struct store_stats *out);
/* Sets the gauges of the volume. */
void store_publish(struct store *store);
