/* store_internal.h - the store's parts, for store.c, store_write.c, maintenance.c and their tests. */
#pragma once

#include "narthex/base/thread.h"
#include "narthex/block/merge.h"
#include "narthex/storage/committer.h"
#include "narthex/storage/flush.h"
#include "narthex/storage/head_view.h"
#include "narthex/storage/metadata_table.h"
#include "narthex/storage/querier.h"
#include "narthex/storage/store.h"
#include "narthex/storage/write_gate.h"

#include <stdatomic.h>

/* When a background job runs next, and whether its last run failed: logged when that changes. */
struct job {
    uint64_t next_ns;    /* monotonic */
    uint64_t backoff_ns; /* 0: the last run went well */
};

struct store {
    struct store_options options;    /* [I] data_dir is ours */
    char *data_dir;                  /* [I] */
    int lock_fd;                     /* [I] */
    int lock_dir_fd;                 /* [I] */
    struct head *head;               /* [I] */
    struct journal *journal;         /* [I] */
    struct block_list *blocks;       /* [I] */
    struct committer *committer;     /* [I] until close */
    struct querier *querier;         /* [I] */
    struct metadata_table *metadata; /* [I] */
    struct head_views views;
    struct write_gate gate; /* closed for a moment by deletes */

    _Atomic bool is_stopping;      /* [A] */
    _Atomic bool is_retain_wanted; /* [A] relaxed: retention runs with the next tick */

    struct nx_mutex maintain; /* one flush or delete at a time */
    struct nx_mutex
        merging; /* one merge, rewrite or retention at a time; never held with the other */
    uint64_t flushed_commit; /* [L:maintain] */
    uint64_t last_flush_ns;  /* [L:maintain] by the store's clock */
    uint64_t noted_commit;   /* [T:maintenance] what the catalog says */

    struct nx_thread maintenance;
    struct nx_mutex tick_lock;
    struct nx_cond tick; /* signalled to stop */
    struct {             /* [T:maintenance] */
        struct job spare, flush, merge, retain, verify, note;
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

/* The maintenance thread; nothing to stop when it was not started. */
NX_NODISCARD nx_code maintenance_start(struct store *store, struct nx_err *err);
void maintenance_stop(struct store *store);
