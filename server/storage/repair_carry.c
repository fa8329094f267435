/* SPDX-License-Identifier: Apache-2.0 */
/* repair_carry.c - named values and tombstones of an old catalog, whole or damaged, for a new one.
 *
 * Tombstones are nowhere else. Those of a block only ever grow, so of several old rows for it the union is right: it
 * says at most what some delete asked for. A value is taken as it was last; of commits (8 bytes) the highest, since
 * each was true when it was written.
 */
#include "repair_carry.h"

#include "narthex/base/mem.h"
#include "narthex/block/tombstones.h"

#include "commit_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct carry {
    const struct catalog_salvage *from;
    bool is_intact;
    struct catalog *to;
    const struct carry_report *report;
    struct nx_buf text;
};

static void tell(struct carry *carry, void (*to)(void *context, const char *text))
{
    nx_buf_append_byte(&carry->text, 0);
    to(carry->report->context, (const char *)carry->text.data);
    nx_buf_reset(&carry->text);
}

static bool is_same(const struct catalog_salvaged_row *a, enum catalog_salvaged_kind kind,
                    const char *key)
{
    return a->kind == kind && strcmp(a->key, key) == 0;
}

static bool has_current(const struct carry *carry, enum catalog_salvaged_kind kind, const char *key)
{
    for (size_t i = 0; i < carry->from->count; i++)
        if (carry->from->rows[i].is_current && is_same(&carry->from->rows[i], kind, key))
            return true;
    return false;
}

/* ---- values ---- */

/* Whether row `at` is the one to take of its name. */
static bool is_chosen(const struct carry *carry, size_t at)
{
    const struct catalog_salvaged_row *row = &carry->from->rows[at];
    bool has_newest = has_current(carry, row->kind, row->key);
    if (has_newest || carry->is_intact)
        return row->is_current;
    for (size_t i = 0; i < carry->from->count; i++) {
        const struct catalog_salvaged_row *other = &carry->from->rows[i];
        if (i == at || !is_same(other, row->kind, row->key))
            continue;
        bool are_commits =
            row->value.len == COMMIT_VALUE_BYTES && other->value.len == COMMIT_VALUE_BYTES;
        uint64_t mine = are_commits ? commit_value_get(row->value.data) : 0;
        uint64_t theirs = are_commits ? commit_value_get(other->value.data) : 0;
        if (theirs > mine || (theirs == mine && i > at))
            return false;
    }
    return true;
}

static nx_code carry_values(struct carry *carry, struct nx_err *err)
{
    const struct catalog_salvage *from = carry->from;
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < from->count; i++) {
        const struct catalog_salvaged_row *row = &from->rows[i];
        if (row->kind == CATALOG_SALVAGED_VALUE && strlen(row->key) <= 256 && carry->to != NULL &&
            is_chosen(carry, i))
            code = catalog_put(carry->to, row->key, row->value, err);
    }
    return code;
}

/* ---- tombstones ---- */

static struct tombstones *tombstones_of(const struct carry *carry, const struct block_meta *block)
{
    bool has_newest = has_current(carry, CATALOG_SALVAGED_TOMBSTONES, block->ulid);
    struct tombstones *all = NULL;
    for (size_t i = 0; i < carry->from->count; i++) {
        const struct catalog_salvaged_row *row = &carry->from->rows[i];
        struct tombstones *one = NULL, *joined = NULL;
        struct nx_err ignored;
        if (!is_same(row, CATALOG_SALVAGED_TOMBSTONES, block->ulid) ||
            (!row->is_current && (has_newest || carry->is_intact)) ||
            tombstones_unpack(row->value, (uint32_t)block->series_count, &one, &ignored) != NX_OK)
            continue;
        if (tombstones_join(all, one, &joined, &ignored) == NX_OK) {
            tombstones_unref(all);
            all = joined;
        }
        tombstones_unref(one);
    }
    return all;
}

static nx_code carry_tombstones(struct carry *carry, const struct block_meta *live,
                                size_t live_count, struct nx_err *err)
{
    nx_code code = NX_OK;
    size_t blocks = 0, entries = 0;
    for (size_t i = 0; code == NX_OK && i < live_count; i++) {
        struct tombstones *all = tombstones_of(carry, &live[i]);
        if (all == NULL)
            continue;
        blocks++;
        entries += tombstones_count(all);
        const struct catalog_tombstones row = {live[i].ulid, tombstones_packed(all)};
        const struct catalog_change change = {.tombstones = &row, .tombstone_count = 1};
        if (carry->to != NULL)
            code = catalog_apply(carry->to, &change, err);
        tombstones_unref(all);
    }
    if (blocks > 0 && code == NX_OK) {
        nx_buf_printf(&carry->text, "catalog.mdb: deletes taken over: %zu entries of %zu blocks",
                      entries, blocks);
        tell(carry, carry->report->took);
    }
    return code;
}

/* Blocks of which no row was found, when there are rows that were not. */
static void tell_lost(struct carry *carry, const struct block_meta *live, size_t live_count)
{
    if (carry->is_intact || carry->from->has_all_tombstones || !carry->from->had_tombstones)
        return;
    size_t blocks = 0;
    for (size_t i = 0; i < live_count; i++) {
        if (has_current(carry, CATALOG_SALVAGED_TOMBSTONES, live[i].ulid))
            continue;
        nx_buf_printf(&carry->text, "%s%s", blocks == 0 ? "" : ", ", live[i].ulid);
        blocks++;
    }
    if (blocks == 0)
        return;
    struct nx_buf names = carry->text;
    carry->text = (struct nx_buf){0};
    nx_buf_printf(&carry->text,
                  "catalog.mdb: the newest deletes could not be read: deletes of blocks %.*s may "
                  "show again",
                  names.len < 600 ? (int)names.len : 600, (const char *)names.data);
    nx_buf_deinit(&names);
    tell(carry, carry->report->lost);
}

nx_code carry_rows(const char *old_path, bool is_intact, const struct block_meta *live,
                   size_t live_count, struct catalog *to, const struct carry_report *report,
                   struct nx_err *err)
{
    struct catalog_salvage from;
    nx_code code = catalog_salvage(old_path, &from, err);
    if (code != NX_OK)
        return code;
    struct carry carry = {.from = &from, .is_intact = is_intact, .to = to, .report = report};
    code = carry_values(&carry, err);
    if (code == NX_OK)
        code = carry_tombstones(&carry, live, live_count, err);
    if (code == NX_OK)
        tell_lost(&carry, live, live_count);
    if (code == NX_OK && !is_intact && !from.has_all_tombstones && !from.had_tombstones) {
        nx_buf_append_cstr(&carry.text, "catalog.mdb: deletes and metadata are only there, and it "
                                        "could not be read: deletes, if any, may show again");
        tell(&carry, report->took);
    } else if (code == NX_OK && !is_intact && !from.has_all_values) {
        nx_buf_append_cstr(&carry.text, "catalog.mdb: metadata of metrics may be gone or older");
        tell(&carry, report->took);
    }
    nx_buf_deinit(&carry.text);
    catalog_salvage_deinit(&from);
    return code;
}
