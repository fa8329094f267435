/* block_list.h - the live blocks: opened at start from the catalog, changed by publishing, seen by queries as
 * snapshots.
 *
 * Layer    block.  Owns <data>/blocks, <data>/quarantine, <data>/tmp and the catalog.
 * Publish  a block is built in tmp/ and synced; publish renames it into blocks/, syncs that directory, and one catalog
 *          transaction names it and retires its sources. Crash points: publish_begun, publish_renamed,
 *          publish_committed.
 * Start    directories named `building` or `retired` are removed; an unknown one goes to quarantine/ with a reason file
 *          and is reported, never deleted; a live block that does not verify goes there too and the rest serves. One
 *          that the disk does not give (EIO) stays where it is, and is tried again; but without the newest level-0
 *          block, whose series the journal names, there is no start.
 * Absent   what is in quarantine/, or cannot be read, is in every snapshot that overlaps its range, until it is back or
 *          its directory is removed from quarantine/.
 */
#pragma once

#include "narthex/base/clock.h"
#include "narthex/block/block.h"
#include "narthex/block/catalog.h"
#include "narthex/block/group_cache.h"
#include "narthex/block/tombstones.h"

struct block_list;
struct block_list_options {
    const struct io *io;       /* borrowed */
    const struct clock *clock; /* borrowed */
    const char *data_dir;      /* copied */
    size_t cache_bytes;        /* of decompressed groups */
    bool is_read_only; /* for tools: only what the catalog names live, nothing moves on disk */
};
NX_NODISCARD nx_code block_list_open(struct block_list **out_list,
                                     const struct block_list_options *options, struct nx_err *err);
void block_list_close(struct block_list *list); /* NULL is fine */
struct catalog *block_list_catalog(struct block_list *list);

/* All live blocks that overlap [min_ms, max_ms], in order of precedence (commit_min, then ulid), each with a
 * reference, and with what is deleted of it, as of one moment: a delete is seen in all of them or in none. */
#define BLOCKS_ABSENT_MAX 64u /* of quarantine/ */
struct block_absent {
    struct block_meta meta; /* at least the ulid */
    int64_t min_ms, max_ms; /* of samples and exemplars, both inclusive */
    bool is_unreadable;     /* in blocks/ still; else in quarantine/ */
    bool is_kept;           /* whatever is in quarantine/ */
    char reason[256];
};
struct block_snapshot {
    struct block **blocks; /* nx_alloc'd */
    struct tombstones *
        *tombstones; /* nx_alloc'd: what is deleted of each, referenced; NULL: nothing */
    size_t count;
    struct block_absent *absent; /* nx_alloc'd: what should be there and is not */
    size_t absent_count;
};
void block_list_snapshot(struct block_list *list, int64_t min_ms, int64_t max_ms,
                         struct block_snapshot *out);
void block_snapshot_end(struct block_snapshot *snapshot); /* safe twice */

/* A new ulid, entered as building; out_dir is its directory in tmp/. */
NX_NODISCARD nx_code block_list_begin(struct block_list *list, char out_ulid[ULID_TEXT_LEN + 1],
                                      struct nx_buf *out_dir, struct nx_err *err);
/* A block that block_list_begin named will not come: its row and what there is of its directory go. */
void block_list_abandon(struct block_list *list, const char *ulid);
/* Blocks finished in tmp/ become live, `retired` go (their directories once the last reader is done: block_list_sweep).
 * All or none. When the commit itself fails with NX_E_IO, it is open whether it happened: what was made stays on
 * disk, and the next start finds out; until then the sources serve. Threads: one publisher at a time. */
NX_NODISCARD nx_code block_list_publish(struct block_list *list, const struct block_meta *live,
                                        size_t live_count, struct block *const *retired,
                                        size_t retired_count, struct nx_err *err);
/* Removes the directories of retired blocks that nobody reads any more. Called by publish; a maintenance loop calls
 * it now and then, so that space comes back after a long query too. Returns how many still wait. */
unsigned block_list_sweep(struct block_list *list);
/* Sets a damaged block aside: out of the list, directory to quarantine/ with the reason. Idempotent. */
NX_NODISCARD nx_code block_list_quarantine(struct block_list *list, struct block *block,
                                           const char *reason, struct nx_err *err);
/* Whether that block is absent still: false once somebody removed its directory from quarantine/. */
bool block_list_is_absent(struct block_list *list, const struct block_absent *item);
/* Tries again to open the blocks that the disk did not give at the start. Returns how many still fail. */
size_t block_list_retry(struct block_list *list);
/* The level-0 block with the highest commit_max, referenced; NULL when there is none. */
struct block *block_list_newest_flush(struct block_list *list);

/* Borrowed: the pace of merges and rewrites that begin from now on; NULL: none. Before there are other threads. */
void block_list_set_pace(struct block_list *list, const struct block_pace *pace);

/* How long old data waits for more of it before it is merged: see merge.h. MERGE_GATHER_MS unless set; before there are
 * other threads. */
void block_list_set_gather(struct block_list *list, int64_t gather_ms);

/* Another bound for the cache of decompressed groups, from now on. */
void block_list_set_cache(struct block_list *list, size_t bytes_max);

struct block_list_stats {
    uint64_t blocks, bytes, samples;
    uint64_t quarantined; /* since the list was opened, found at start included */
    uint64_t unreadable;  /* live blocks that the disk does not give */
    uint64_t waiting;     /* retired, still read by somebody */
    uint64_t cache_bytes;
    uint64_t tombstones, tombstone_bytes; /* entries, and their rows in the catalog */
    uint64_t tombstone_blocks;            /* blocks that have some */
    char damage[240];                     /* what the last quarantine was about; empty: none */
};
void block_list_stats(struct block_list *list, struct block_list_stats *out);
