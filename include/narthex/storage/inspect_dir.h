/* inspect_dir.h - a data directory looked at by tools: what is in it, and is every byte right.
 *
 * Layer    storage.   Threads  none.
 * Writes   nothing.
 */
#pragma once

#include "narthex/block/catalog.h"
#include "narthex/block/inspect.h"
#include "narthex/head/journal_copy.h"

/* ---- list: also beside a running server ---- */

enum dir_block_state {
    DIR_BLOCK_LIVE,
    DIR_BLOCK_RETIRED,  /* replaced or expired: goes once nobody reads it */
    DIR_BLOCK_BUILDING, /* half-made */
    DIR_BLOCK_UNKNOWN,  /* not in the catalog, or the catalog cannot be read */
    DIR_BLOCK_MISSING,  /* live in the catalog, no such directory */
};

struct dir_block {
    char ulid[ULID_TEXT_LEN + 1];
    enum dir_block_state state;
    bool has_meta; /* block.meta verifies */
    struct block_meta meta;
    uint64_t tombstones, tombstone_series; /* deletes that mask it; series that they name */
    char why[240];                         /* unless has_meta */
};
struct dir_blocks {
    struct dir_block *items; /* by min_time_ms, then ulid; those without meta first */
    size_t count;
    char catalog_damage[240]; /* empty: it was read */
};
/* is_shared: a server may run there. NX_E_INVALID: see data_dir_check. */
NX_NODISCARD nx_code dir_blocks_read(const char *dir, bool is_shared, struct dir_blocks *out,
                                     struct nx_err *err);
void dir_blocks_deinit(struct dir_blocks *blocks); /* safe on a zeroed struct and twice */
const char *dir_block_state_name(enum dir_block_state state);

/* ---- verify ---- */

struct verify_report {
    void *context;
    void (*damage)(void *context, const char *file,
                   const char *what); /* file: path in the directory */
    void (*note)(void *context, const char *file, const char *what); /* to know, no damage */
};
struct verify_result {
    uint64_t blocks, series, samples, block_bytes; /* of live blocks */
    struct journal_check_result journal;
    uint64_t damages, hurt_series, quarantined;
};
/* Everything in a stopped directory, which the caller has locked. Fails only when it cannot begin. */
NX_NODISCARD nx_code dir_verify(const char *dir, const struct verify_report *report,
                                struct verify_result *out, struct nx_err *err);
