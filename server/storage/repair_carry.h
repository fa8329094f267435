/* repair_carry.h - what a repair takes over from the old catalog: named values and tombstones. */
#pragma once

#include "narthex/block/catalog.h"

struct carry_report {
    void *context;
    void (*took)(void *context, const char *text);
    void (*lost)(void *context, const char *text);
};
/* Into `to` (NULL: only told), for the blocks that are live there. `is_intact`: the old catalog verifies, so its rows
 * are the right ones; else they are taken from what is left of it, older rows too where newer ones are gone. */
NX_NODISCARD nx_code carry_rows(const char *old_path, bool is_intact, const struct block_meta *live,
                                size_t live_count, struct catalog *to,
                                const struct carry_report *report, struct nx_err *err);
