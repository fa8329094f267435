/* store_internal.h - the store's parts, for store.c, store_write.c, maintenance.c and their tests. */
#pragma once

#include "narthex/base/thread.h"
#include "narthex/block/merge.h"
#include "narthex/block/scrub.h"
#include "narthex/storage/committer.h"
#include "narthex/storage/data_dir.h"
#include "narthex/storage/flush.h"
#include "narthex/storage/head_view.h"
#include "narthex/storage/metadata_table.h"
#include "narthex/storage/querier.h"
#include "narthex/storage/store.h"
#include "narthex/storage/write_gate.h"

#include "admission.h"
#include "disk_reserve.h"

#include <stdatomic.h>

/* When a background job runs next, and whether its last run failed: logged when that changes. */
struct job {
    uint64_t next_ns;    /* monotonic */
    uint64_t backoff_ns; /* 0: the last run went well */
};

struct store {
    struct store_options options;    /* [I] data_dir is ours */
    char *data_dir;                  /* [I] */
    struct data_dir_lock lock;       /* [I] */
    struct head *head;               /* [I] */
    struct journal *journal;         /* [I] */
    struct block_list *blocks;       /* [I] */
    struct committer *committer;     /* [I] until close */
    struct querier *querier;         /* [I] */
    struct metadata_table *metadata; /* [I] */
    struct cardinality *cardinality; /* [I] refreshed by: maintenance */
    struct scrub *scrub;             /* [T:maintenance] NULL: off */
    struct head_views views;
    struct write_gate gate; /* closed for a moment by deletes */

    struct admission admission;
    struct disk_reserve reserve;

    _Atomic bool is_stopping;      /* [A] */
    _Atomic bool is_snapshotting;  /* [A] one at a time */
    _Atomic bool is_retain_wanted; /* [A] relaxed: retention runs with the next tick */
    struct block_pace pace;        /* [I] of merges and rewrites: pace.c */
    uint64_t pace_since_ns;        /* [L:merging] monotonic: since when the merge has worked */
    _Atomic bool merge_stop;       /* [A] is_stopping, or memory is short */
    /* [A] A flush or merge runs, and the anonymous memory and the reserve when it began: see watch.c */
    _Atomic unsigned work; /* enum store_work */
    _Atomic uint64_t work_anonymous;
    _Atomic uint64_t work_reserve;
    struct nx_thread watch;
    struct nx_mutex watch_lock;
    struct nx_cond watch_tick; /* signalled to stop */

    struct nx_mutex maintain; /* one flush or delete at a time */
    struct nx_mutex
        merging; /* one merge, rewrite or retention at a time; never held with the other */
    uint64_t flushed_commit;  /* [L:maintain] */
    uint64_t last_flush_ns;   /* [L:maintain] by the store's clock */
    uint64_t last_leaving_ns; /* [L:maintain] of the last flush after which series could leave */
    uint64_t last_age_ns;     /* [L:maintain] of the last look at what has no samples */
    uint64_t noted_commit;    /* [T:maintenance] what the catalog says */

    struct nx_thread maintenance;
    struct nx_mutex tick_lock;
    struct nx_cond tick; /* signalled to stop */
    struct {             /* [T:maintenance] */
        struct job spare, flush, merge, retain, verify, note, scrub, cardinality, retry;
        bool was_low; /* the volume was nearly full */
    } jobs;
};

/* Notes the journal's newest commit in the catalog unless it is there already: a start then knows when a segment was
 * emptied, cut or removed meanwhile, at its end. Maintenance thread, or the only one. */
NX_NODISCARD nx_code store_note_commit(struct store *store, struct nx_err *err);

/* Values of the label of METRIC_BLOCKS_RETIRED. */
enum retired_reason {
    RETIRED_TIME,
    RETIRED_SIZE,
    RETIRED_DELETED,
};

/* A flush with its metrics. on_sealed is called with the store; may be NULL. */
NX_NODISCARD nx_code maintenance_flush(struct store *store, void (*on_sealed)(void *context),
                                       struct flush_result *out, struct nx_err *err)
    NX_REQUIRES(store->maintain);

/* The commit up to which a delete found everything in blocks; 0: there was none. */
NX_NODISCARD nx_code delete_covered_commit(struct block_list *blocks, uint64_t *out_commit,
                                           struct nx_err *err);

/* Notes a commit as that one. */
NX_NODISCARD nx_code delete_cover_commit(struct block_list *blocks, uint64_t commit,
                                         struct nx_err *err);

/* Series that have had no samples for two flushes or calls of this leave, when there is nothing to flush: else
 * *out_has_aged is false. */
NX_NODISCARD nx_code store_age_locked(struct store *store, bool *out_has_aged, struct nx_err *err)
    NX_REQUIRES(store->maintain);
NX_NODISCARD nx_code store_age(struct store *store, bool *out_has_aged, struct nx_err *err);

enum store_work { /* bits: a delete flushes while blocks are merged */
                  STORE_WORK_FLUSH = 1,
                  STORE_WORK_MERGE = 2,
};
/* Around what needs much memory for a while. */
void watch_work_begin(struct store *store, enum store_work work);
void watch_work_end(struct store *store, enum store_work work);
/* Tells the block list how long old data gathers, and has merges and rewrites pause while commits are slow. The
 * committer runs. */
void pace_init(struct store *store);
/* A merge or rewrite begins. */
void pace_begin(struct store *store) NX_REQUIRES(store->merging);
/* How long to pause after working for took_ns. */
uint64_t pace_pause_ns(const struct committer_pace *pace, uint64_t took_ns);
/* The thread that looks at memory and at the volume, ten times a second. */
NX_NODISCARD nx_code watch_start(struct store *store, struct nx_err *err);
void watch_stop(struct store *store);
/* Bytes that flushing all series of the head takes beside the head. */
uint64_t watch_flush_bytes(const struct head_stats *head);

/* The maintenance thread; nothing to stop when it was not started. */
NX_NODISCARD nx_code maintenance_start(struct store *store, struct nx_err *err);
void maintenance_stop(struct store *store);
