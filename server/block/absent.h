/* absent.h - the blocks that should answer and do not: those in quarantine/, and those that a start could not read.
 *
 * Threads  none of its own: the list that has it guards it.
 * Limits   BLOCKS_ABSENT_MAX of quarantine/; what comes then widens the range of the last. Those that cannot be read
 *          are live blocks in the catalog, and as many.
 */
#pragma once

#include "narthex/block/block_list.h"

struct absent_list {
    struct block_absent *items; /* nx_alloc'd */
    size_t count, cap;
};
void absent_deinit(struct absent_list *absent); /* safe on a zeroed struct */

/* Replaces the entry of that ulid. */
void absent_add(struct absent_list *absent, const struct block_absent *item);
void absent_remove(struct absent_list *absent, const char *ulid);
const struct block_absent *absent_find(const struct absent_list *absent, const char *ulid);
/* A copy of those that overlap the range, nx_alloc'd; NULL when there are none. */
struct block_absent *absent_copy(const struct absent_list *absent, int64_t min_ms, int64_t max_ms,
                                 size_t *out_count);
/* How many a start could not read. */
size_t absent_unreadable(const struct absent_list *absent);

/* One of the block with that meta (NULL: its range is not known). */
struct block_absent absent_of(const char *ulid, const struct block_meta *meta, const char *reason);
/* What the file beside a directory in quarantine/ says: the reason, and the range in a line of its own. */
void absent_reason_text(const struct block_absent *item, struct nx_buf *out);
/* The directories in quarantine/, each with the range that its reason or its block.meta tells; without either it
 * overlaps everything. One that a merge replaced lacks nobody. */
NX_NODISCARD nx_code absent_scan(struct absent_list *absent, const struct io *io,
                                 const char *quarantine_dir, struct nx_err *err);
