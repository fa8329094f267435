/* block_delete.h - deletes of what blocks hold: masked at once, gone from the disk with the next merge or rewrite.
 *
 * Layer    block.   Owns  the rows of `tomb` in the catalog.
 * Promise  a delete is in one transaction: after a crash all of it holds or nothing. Snapshots taken later have it.
 *          Blocks that are published later are not touched by it, except by merges of blocks that were: those carry it.
 * Threads  any; deletes and publishes come one after the other.
 */
#pragma once

#include "narthex/block/block_list.h"

/* chosen: a fraction of what the catalog's check may read at start, with room for two versions of each row */
#define BLOCK_DELETE_BYTES_MAX ((uint64_t)192 << 20)

/* Series that satisfy all matchers of any list, and their samples in the range. All borrowed. */
struct block_delete {
    struct matcher *const *lists;
    const size_t *matcher_counts;
    size_t list_count;
    int64_t min_ms, max_ms;
    const char *key; /* a named value of the catalog that goes with it; NULL: none */
    struct nx_bytes value;
};
struct block_delete_result {
    uint64_t series; /* in all blocks: a series of two blocks counts twice */
    unsigned blocks;
};
/* Masks in every live block. A block that does not verify is quarantined, and the rest goes on.
 * NX_E_LIMIT: too many wait to be applied. NX_E_IO, NX_E_FULL: nothing was deleted; but with NX_E_IO from the commit
 * itself a restart may find that it was. */
NX_NODISCARD nx_code block_list_delete(struct block_list *list, const struct block_delete *what,
                                       struct block_delete_result *out_result, struct nx_err *err);

/* Retires blocks all of whose samples are deleted; the newest level-0 block stays, the journal needs its slots.
 * Threads: no merge runs. */
NX_NODISCARD nx_code block_list_drop_deleted(struct block_list *list, unsigned *out_removed,
                                             struct nx_err *err);

struct block_rewrite_result {
    uint64_t samples_in, samples_out, bytes_in, bytes_out;
};
/* Rewrites one block without what is deleted of it: same level, same commits. *out_worked false: no block needs it.
 * Level 0 keeps its slots. In the newest level-0 block, whose slots the journal uses, a series that is wholly
 * deleted keeps one sample, and that stays masked. `is_stopping` is polled; may be NULL. NX_E_FULL: no room for a copy.
 * Threads: no merge runs. */
NX_NODISCARD nx_code block_list_rewrite(struct block_list *list, _Atomic bool *is_stopping,
                                        bool *out_worked, struct block_rewrite_result *out_result,
                                        struct nx_err *err);
