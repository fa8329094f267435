/* SPDX-License-Identifier: Apache-2.0 */
/* delete.c - deletes of series, and what is deleted leaving the disk.
 *
 * In       matchers and a range of time
 * Out      204 for the sender: from then on no query sees it, and no restart brings it back
 * Fails    with nothing deleted: NX_E_IO, NX_E_FULL (the flush needs the disk), NX_E_LIMIT
 *
 * Stages of a delete:
 *   close the gate    no writer is inside
 *   cut               commits up to S hold all that was appended so far
 *   flush             one more block with all that the head has; the gate opens as soon as that is sealed
 *   tombstones        in every live block, with S, in one transaction
 *   forget            the head's memory of flushed samples
 *
 * The gate is there because of the journal. A flush seals the head after the cut, so its block may hold samples of
 * commits above S, and the journal keeps those too. Masked in the block, they would come back with the next replay.
 * Without writers between cut and seal there are none; and S is kept with the tombstones, because a head without
 * unflushed samples makes no block that would say how far a replay may begin.
 */
#include "narthex/base/log.h"
#include "narthex/base/metrics.h"
#include "narthex/block/block_delete.h"

#include "commit_value.h"
#include "store_internal.h"

/* ---- the commit that is kept with the tombstones ---- */

nx_code delete_covered_commit(struct block_list *blocks, uint64_t *out_commit, struct nx_err *err)
{
    struct nx_buf value = {0};
    *out_commit = 0;
    nx_code code = catalog_get(block_list_catalog(blocks), COVERED_KEY, &value, err);
    if (code == NX_OK && value.len != COMMIT_VALUE_BYTES)
        code = nx_err_set(err, NX_E_CORRUPT, "catalog: value %s is damaged", COVERED_KEY);
    if (code == NX_OK)
        *out_commit = commit_value_get(value.data);
    nx_buf_deinit(&value);
    return code == NX_E_NOT_FOUND ? NX_OK : code;
}

nx_code delete_cover_commit(struct block_list *blocks, uint64_t commit, struct nx_err *err)
{
    uint8_t value[COMMIT_VALUE_BYTES];
    commit_value_put(value, commit);
    return catalog_put(block_list_catalog(blocks), COVERED_KEY,
                       (struct nx_bytes){value, sizeof(value)}, err);
}

/* ---- delete ---- */

static void open_gate(void *context)
{
    struct store *store = context;
    write_gate_open(&store->gate);
}

/* No writer is inside: what is unflushed now was not flushed. */
static nx_code check_flushed(struct store *store, struct nx_err *err)
{
    struct head_stats stats;
    head_stats(store->head, &stats);
    if (stats.unflushed_samples == 0)
        return NX_OK;
    return nx_err_set(err, NX_E_BUSY, "the head could not be flushed: nothing was deleted");
}

/* All that was appended so far is in blocks, and commits above *out_covered hold nothing of it. */
static nx_code flush_exactly(struct store *store, uint64_t *out_covered, struct nx_err *err)
    NX_REQUIRES(store->maintain)
{
    struct flush_result result;
    write_gate_close(&store->gate);
    uint64_t commit = committer_cut(store->committer);
    nx_code code = committer_state(store->committer);
    if (code == NX_OK) {
        code = maintenance_flush(store, open_gate, &result, err);
        if (code == NX_OK && !result.has_block)
            code = check_flushed(store, err);
    } else {
        nx_err_set(err, code,
                   "the journal cannot be written: what it cannot take cannot be deleted");
    }
    write_gate_open(&store->gate);
    *out_covered = commit > store->flushed_commit ? commit : store->flushed_commit;
    return code;
}

static nx_code delete_locked(struct store *store, struct block_delete *what,
                             struct block_delete_result *out, struct nx_err *err)
    NX_REQUIRES(store->maintain)
{
    uint64_t covered = 0;
    uint8_t value[COMMIT_VALUE_BYTES];
    nx_code code = flush_exactly(store, &covered, err);
    if (code == NX_OK) /* a flush without samples does not */
        code = metadata_table_save(store->metadata, block_list_catalog(store->blocks), err);
    if (code != NX_OK)
        return code;
    store->options.io->crash_point(store->options.io, "delete_flushed");
    commit_value_put(value, covered);
    what->key = COVERED_KEY;
    what->value = (struct nx_bytes){value, sizeof(value)};
    code = block_list_delete(store->blocks, what, out, err);
    if (code != NX_OK || out->blocks == 0)
        return code;
    head_forget_flushed(store->head);
    store->flushed_commit = covered;
    struct nx_err ignored; /* a segment that is not recycled now is recycled with the next flush */
    nx_ignore(journal_release(store->journal, covered, &ignored));
    store->options.io->crash_point(store->options.io, "delete_released");
    return NX_OK;
}

nx_code store_delete(struct store *store, const struct store_delete *what,
                     struct store_delete_result *out_result, struct nx_err *err)
{
    struct block_delete_result result = {0};
    struct block_delete inner = {
        .lists = what->lists,
        .matcher_counts = what->matcher_counts,
        .list_count = what->list_count,
        .min_ms = what->min_ms,
        .max_ms = what->max_ms,
    };
    mutex_lock(&store->maintain);
    nx_code code = delete_locked(store, &inner, &result, err);
    mutex_unlock(&store->maintain);
    metrics_add_at(METRIC_DELETES, code == NX_OK ? 0 : 1, 1);
    if (code != NX_OK)
        return code;
    metrics_add(METRIC_DELETED_SERIES, result.series);
    atomic_store_explicit(&store->is_retain_wanted, true, memory_order_relaxed);
    *out_result = (struct store_delete_result){.series = result.series, .blocks = result.blocks};
    return NX_OK;
}

/* ---- clean ---- */

static nx_code clean_once(struct store *store, bool *out_worked, struct nx_err *err)
{
    struct block_rewrite_result result = {0};
    unsigned dropped = 0;
    mutex_lock(&store->merging);
    pace_begin(store);
    nx_code code = block_list_drop_deleted(store->blocks, &dropped, err);
    if (code == NX_OK)
        code = block_list_rewrite(store->blocks, &store->is_stopping, out_worked, &result, err);
    mutex_unlock(&store->merging);
    metrics_add_at(METRIC_BLOCKS_RETIRED, RETIRED_DELETED, dropped);
    if (code == NX_OK && *out_worked)
        metrics_add(METRIC_DELETED_SAMPLES, result.samples_in - result.samples_out);
    return code;
}

nx_code store_clean(struct store *store, struct nx_err *err)
{
    /* The newest level-0 block cannot be cleaned wholly; with a newer one it is the newest no more. */
    nx_code code = store_flush(store, err);
    bool has_worked = true;
    while (code == NX_OK && has_worked) {
        has_worked = false;
        code = clean_once(store, &has_worked, err);
        if (code == NX_E_CORRUPT) {
            log_warn("store", "a damaged block is left as it is by clean_tombstones",
                     LOG_STR("reason", err->msg));
            code = NX_OK; /* it was set aside or marked: the others are next */
            has_worked = true;
        }
    }
    metrics_add_at(METRIC_TOMBSTONE_CLEANS, code == NX_OK ? 0 : 1, 1);
    return code;
}
