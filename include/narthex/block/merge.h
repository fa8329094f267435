/* merge.h - several blocks become few: flushes into two-hour partitions, partitions into days. Retention drops blocks.
 *
 * Layer    block.  Threads  the maintenance thread only.
 * Plan     a pure function of the metas and the time, so that it can be tested as a table; the first that applies:
 *          - flushes: when a level-0 block lies wholly in ended partitions (ended: MERGE_GRACE_MS ago) and was made
 *            gather_ms ago, or MERGE_FLUSHES_MAX have gathered: all level-0 blocks, oldest first, up to
 *            the last with data of an ended partition. They are always a prefix by commit, so that whatever is merged
 *            precedes what is not. The newest level-0 block is never taken (it defines the slots that the journal
 *            uses). Small level-1 blocks in their range come along;
 *          - partition: an ended one with several level-1 blocks that are worth it, see below;
 *          - day: a past one with level-1 blocks: these and its level-2 blocks; or with several level-2 blocks worth
 *            it.
 *          Worth it: all but the largest hold a quarter of its bytes, and none was made in the last
 *          half of gather_ms: a backfill goes on for a while and must not rewrite a day with each flush. Else,
 *          with MERGE_PIECES_MAX blocks, they are merged among themselves; without the largest when it is half of all
 *          of them: late data trickles in, and must not rewrite a day every time.
 *          When a block was made is told by its ulid.
 * Outputs  a job's samples of past days go to day blocks (level 2), the others to partitions (level 1), one block each.
 * Run      streaming k-way in label order; of duplicates the one of the earlier commit stays, the others are counted.
 *          A float and a native histogram of one time are duplicates, too. Equal exemplars are kept once.
 *          Deleted samples are left out; when none is left there is no output. Chunks that need not join are copied
 *          as bytes. Needs free space for its output, checked first (NX_E_FULL).
 */
#pragma once

#include "narthex/block/block_list.h"

#define PARTITION_MS   (2 * 3600 * INT64_C(1000))
#define DAY_MS         (24 * 3600 * INT64_C(1000))
#define MERGE_GRACE_MS (30 * 60 * INT64_C(1000))
/* derived: in steady work the first flush of a partition is that old when the partition and its grace time end; see
 * block_list_set_gather */
#define MERGE_GATHER_MS   PARTITION_MS
#define MERGE_SOURCES_MAX 64u
#define MERGE_FLUSHES_MAX 24u /* of level 0: six hours of quiet flushes, or a flood */
#define MERGE_PIECES_MAX  8u
#define MERGE_OUTPUTS_MAX                                                                          \
 16u /* written at once; data of more partitions takes another pass over the sources */

struct merge_job {
    uint32_t source_index
        [MERGE_SOURCES_MAX]; /* into the metas given to merge_plan, in order of precedence */
    size_t source_count;
    int64_t
        day_before_ms; /* samples before this go to their day, level 2; the others to their partition, level 1 */
};
/* False: nothing to do. Metas in order of precedence. `force`: every partition counts as ended and everything is worth
 * it (tests, tools). */
bool merge_plan(const struct block_meta *metas, size_t count, int64_t now_ms, int64_t gather_ms,
                bool force, struct merge_job *out_job);

struct merge_result {
    uint64_t samples, duplicates, bytes_in, bytes_out; /* samples of both kinds */
    uint64_t deleted;
    uint64_t histograms; /* those of samples that are native histograms */
    uint64_t exemplars;
    unsigned sources, outputs;
};
/* Plans and runs one job. *out_worked false: nothing to do. `is_stopping` is polled (NX_E_CANCELLED); may be NULL.
 * NX_E_CORRUPT: a source is damaged; it was quarantined when its index is, else it keeps serving what is good and is
 * left out of merges from then on. Call again. */
NX_NODISCARD nx_code merge_run(struct block_list *list, int64_t now_ms, bool force,
                               _Atomic bool *is_stopping, bool *out_worked,
                               struct merge_result *out_result, struct nx_err *err);

/* Drops every block whose newest sample is older than the retention. The newest level-0 block stays: the journal needs
 * its slots. */
NX_NODISCARD nx_code retention_run(struct block_list *list, int64_t now_ms, int64_t retention_ms,
                                   unsigned *out_removed, struct nx_err *err);
/* Drops the blocks with the oldest data until all together have at most bytes_max. Likewise. */
NX_NODISCARD nx_code retention_run_bytes(struct block_list *list, uint64_t bytes_max,
                                         unsigned *out_removed, struct nx_err *err);
