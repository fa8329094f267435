/* scrub.h - every byte of every block read again now and then, so that what rots on the disk is found while there are
 * other copies of it.
 *
 * Layer    block.   Threads  one at a time.
 * Order    the block whose last check is longest ago; a new one counts as checked when it was made. None more often
 *          than every SCRUB_AGAIN_MS.
 * Pace     bytes per second, a MiB at a time. What the page cache holds is read from there: that is what queries see.
 * Memory   progress survives a restart: the catalog's value "scrub" (docs/formats/catalog.md).
 * Damage   index: the block goes to quarantine/. A group: the block is marked, serves the rest with a warning, and is
 *          not merged.
 */
#pragma once

#include "narthex/block/block_list.h"

#define SCRUB_AGAIN_MS                                                                             \
 INT64_C(86400000) /* chosen: a day; two weeks hold 5 TB at the default pace */

struct scrub;
struct scrub_options {
    struct block_list *list;   /* borrowed */
    const struct clock *clock; /* borrowed */
    uint64_t bytes_per_s;      /* > 0 */
};
struct scrub *scrub_new(const struct scrub_options *options);
void scrub_free(struct scrub *scrub); /* NULL is fine */

struct scrub_result {
    uint64_t bytes;   /* read in this run */
    unsigned blocks;  /* done with in this run */
    unsigned damages; /* found in this run */
    bool is_index;    /* of the last damage: the block was set aside */
    char ulid[ULID_TEXT_LEN + 1];
    char damage[240]; /* the last */
};
/* Reads as much as the time since the last run allows. Call it some times a second. NX_E_IO: something but the block's
 * bytes; the next run goes on. */
NX_NODISCARD nx_code scrub_run(struct scrub *scrub, const _Atomic bool *is_stopping,
                               struct scrub_result *out, struct nx_err *err);
