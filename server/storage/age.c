/* SPDX-License-Identifier: Apache-2.0 */
/* age.c - series leave a head that has nothing to flush.
 *
 * In       a head all of whose samples are in blocks
 * Out      series without samples since the last two of flushes and of these have left their slots
 * Fails    as the disk does, with everything as it was
 *
 * Stages
 *   cut       commits up to S hold all that was appended so far
 *   sweep     as a flush; when anything was appended meanwhile, that is a flush's work, and this ends
 *   cover     metadata, and S as the commit behind which a replay begins, in the catalog
 *   release   segments up to S
 *   leave
 *
 * Why a slot may be used again: nothing of the head was unflushed when its series was swept, so commits up to S are in
 * blocks wholly, and what comes after S speaks of a slot only with a definition before it. The newest level-0 block may
 * name the slot's old series still: a start loads that without samples, and the definition displaces it. Without S in
 * the catalog a start could give the old series samples of the journal first, which a flush's block has as well.
 */
#include "store_internal.h"

/* Whether the sweep found nothing. A series that was taken out of the flush stays sealed for the next one. */
static nx_code is_empty(struct head_flush *sealed, bool *out_is_empty, struct nx_err *err)
{
    struct head_flush_series series;
    int got = head_flush_next(sealed, &series, err);
    *out_is_empty = got == 0;
    return got < 0 ? err->code : NX_OK;
}

static nx_code cover(struct store *store, uint64_t commit, struct nx_err *err)
    NX_REQUIRES(store->maintain)
{
    struct catalog *catalog = block_list_catalog(store->blocks);
    if (commit <= store->flushed_commit)
        return NX_OK;
    nx_code code = metadata_table_save(store->metadata, catalog, err);
    if (code == NX_OK)
        code = delete_cover_commit(store->blocks, commit, err);
    if (code != NX_OK)
        return code;
    store->flushed_commit = commit;
    struct nx_err ignored; /* a segment that is not recycled now is recycled with the next flush */
    nx_ignore(journal_release(store->journal, commit, &ignored));
    return NX_OK;
}

nx_code store_age_locked(struct store *store, bool *out_has_aged, struct nx_err *err)
{
    struct head_stats stats;
    struct head_flush *sealed = NULL;
    *out_has_aged = false;
    head_stats(store->head, &stats);
    if (stats.unflushed_samples > 0 || stats.series == 0)
        return NX_OK;
    uint64_t commit = committer_cut(store->committer);
    nx_code code = committer_state(store->committer);
    if (code != NX_OK)
        return nx_err_set(err, code, "the journal cannot be written");
    code = head_flush_begin(store->head, &sealed, err);
    if (code != NX_OK)
        return code;
    bool is_done = false;
    code = is_empty(sealed, &is_done, err);
    if (code == NX_OK && is_done)
        code = cover(store, commit, err);
    *out_has_aged = code == NX_OK && is_done;
    head_flush_end(sealed, *out_has_aged);
    return code;
}

nx_code store_age(struct store *store, bool *out_has_aged, struct nx_err *err)
{
    mutex_lock(&store->maintain);
    nx_code code = store_age_locked(store, out_has_aged, err);
    mutex_unlock(&store->maintain);
    return code;
}
