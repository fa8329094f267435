/* repair.h - a data directory made whole again: a new catalog from what the blocks say, a snapshot put in its place.
 *
 * Layer    storage.   Threads  none.   Locks  the caller holds those of the directories (data_dir_lock), but that of a
 *          restore's target.
 */
#pragma once

#include "narthex/storage/inspect_dir.h"

/* ---- repair ---- */

struct repair_options {
    bool is_dry_run;
    bool takes_back; /* blocks of quarantine/ that verify become live again */
};
struct repair_report {
    void *context;
    void (*did)(void *context, const char *text); /* a step, done or, in a dry run, to be done */
    void (*lost)(void *context,
                 const char *text); /* samples that no block serves from now on, or only in part */
};
struct repair_result {
    uint64_t live, set_aside, taken_back;
    uint64_t losses;
    bool has_changed; /* or would have */
};
/* What is live: by the catalog when it verifies; else every block that is whole, but those that a merge has replaced
 * surely. A block whose meta or index is damaged goes to quarantine/, with a reason; one with damaged groups stays and
 * serves the rest. Nothing is deleted. A crash leaves the old catalog or the new one. */
NX_NODISCARD nx_code dir_repair(const char *dir, const struct repair_options *options,
                                const struct repair_report *report, struct repair_result *out,
                                struct nx_err *err);

/* ---- restore ---- */

struct restore_result {
    struct verify_result verified;
    uint64_t bytes;
    uint64_t blocks, journal_samples; /* as a start would find them */
};
/* Verifies the snapshot (NX_E_CORRUPT, after the damages were told: nothing was touched), copies it into `target`,
 * which must be absent or empty (NX_E_EXISTS), syncs, and opens the copy. Interrupted, it leaves a file RESTORING with
 * which no server starts. */
NX_NODISCARD nx_code dir_restore(const char *snapshot, const char *target,
                                 const struct verify_report *report, struct restore_result *out,
                                 struct nx_err *err);
