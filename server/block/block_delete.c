/* SPDX-License-Identifier: Apache-2.0 */
/* block_delete.c - a delete: matchers to ranks in every live block, ranks to tombstones, tombstones to one transaction.
 *
 * In       lists of matchers and a range of time
 * Out      the same blocks with more tombstones, on disk and in every snapshot to come
 * Fails    with nothing deleted: a disk, a limit. A damaged block is quarantined and left out
 *
 * The publishing lock is held from the first look to the last step, so that the set of blocks stays what it is.
 */
#include "narthex/block/block_delete.h"

#include "narthex/base/mem.h"
#include "narthex/codec/postings.h"

#include "merge_internal.h"

#include <inttypes.h>

struct deletion {
    const struct block_delete *what;
    struct arena arena;
    struct block **blocks;          /* those that change, borrowed of the snapshot */
    struct tombstones **tombstones; /* what they get, referenced */
    size_t count;
    uint64_t bytes; /* of all tombstones, as they will be */
    struct block_delete_result result;
};

/* Ranks of all lists together, in the arena. */
static nx_code resolve(struct deletion *deletion, struct block *block, uint32_t **out_ranks,
                       size_t *out_count, struct nx_err *err)
{
    const struct block_delete *what = deletion->what;
    arena_reset(&deletion->arena);
    if (what->list_count == 1)
        return block_select(block, what->lists[0], what->matcher_counts[0], &deletion->arena,
                            out_ranks, out_count, err);
    struct postings *all = postings_new();
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < what->list_count; i++) {
        uint32_t *ranks = NULL;
        size_t count = 0;
        code = block_select(block, what->lists[i], what->matcher_counts[i], &deletion->arena,
                            &ranks, &count, err);
        if (code == NX_OK)
            postings_add_many(all, ranks, count);
    }
    if (code == NX_OK) {
        *out_count = (size_t)postings_count(all);
        *out_ranks = arena_alloc(&deletion->arena, (*out_count + 1) * sizeof(**out_ranks));
        postings_to_array(all, *out_ranks);
    }
    postings_free(all);
    return code;
}

/* A block that does not verify is of no use to anybody: set aside, as queries do, and told of in the statistics. */
static nx_code set_aside(struct block_list *list, struct block *block, const struct nx_err *why)
{
    struct nx_err ignored;
    nx_ignore(block_list_quarantine(list, block, why->msg, &ignored));
    return NX_OK;
}

static nx_code delete_in(struct block_list *list, struct deletion *deletion, struct block *block,
                         struct tombstones *old, struct nx_err *err)
{
    const struct block_meta *meta = block_meta(block);
    const struct block_delete *what = deletion->what;
    struct time_range span = block_span(meta);
    int64_t min_ms = what->min_ms > span.min_ms ? what->min_ms : span.min_ms;
    int64_t max_ms = what->max_ms < span.max_ms ? what->max_ms : span.max_ms;
    size_t old_bytes = old == NULL ? 0 : tombstones_packed(old).len;
    deletion->bytes += old_bytes;
    if (min_ms > max_ms)
        return NX_OK;
    uint32_t *ranks = NULL;
    size_t count = 0;
    nx_code code = resolve(deletion, block, &ranks, &count, err);
    if (code == NX_E_CORRUPT)
        return set_aside(list, block, err);
    if (code != NX_OK || count == 0)
        return code;
    struct tombstones *made = NULL;
    code =
        tombstones_add(old, (uint32_t)meta->series_count, ranks, count, min_ms, max_ms, &made, err);
    if (code != NX_OK)
        return nx_err_wrap(err, "block %s", meta->ulid);
    deletion->result.series += count;
    deletion->result.blocks++;
    if (made == old) {
        tombstones_unref(made);
        return NX_OK;
    }
    deletion->bytes += tombstones_packed(made).len - old_bytes;
    deletion->blocks[deletion->count] = block;
    deletion->tombstones[deletion->count++] = made;
    return NX_OK;
}

static nx_code delete_all(struct block_list *list, struct deletion *deletion,
                          const struct block_snapshot *snapshot, struct nx_err *err)
{
    nx_code code = NX_OK;
    for (size_t i = 0; i < snapshot->absent_count; i++)
        if (snapshot->absent[i].is_unreadable &&
            snapshot->absent[i].min_ms <= deletion->what->max_ms &&
            snapshot->absent[i].max_ms >= deletion->what->min_ms)
            return nx_err_set(err, NX_E_IO,
                              "block %s cannot be read now, and what it holds would come back: "
                              "nothing was deleted",
                              snapshot->absent[i].meta.ulid);
    for (size_t i = 0; code == NX_OK && i < snapshot->count; i++)
        code = delete_in(list, deletion, snapshot->blocks[i], snapshot->tombstones[i], err);
    if (code != NX_OK)
        return code;
    if (deletion->count > 0 && deletion->bytes > BLOCK_DELETE_BYTES_MAX)
        return nx_err_set(err, NX_E_LIMIT,
                          "deletes that wait to be applied would need %" PRIu64
                          " bytes, above the limit of %" PRIu64 ": clean_tombstones applies them",
                          deletion->bytes, BLOCK_DELETE_BYTES_MAX);
    if (deletion->count == 0 && deletion->what->key == NULL)
        return NX_OK;
    return block_list_set_tombstones(list, deletion->blocks, deletion->tombstones, deletion->count,
                                     deletion->what->key, deletion->what->value, err);
}

nx_code block_list_delete(struct block_list *list, const struct block_delete *what,
                          struct block_delete_result *out_result, struct nx_err *err)
{
    struct deletion deletion = {.what = what};
    struct block_snapshot snapshot;
    block_list_lock_publishing(list);
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    arena_init(&deletion.arena, 0);
    deletion.blocks = nx_calloc(snapshot.count + 1, sizeof(struct block *));
    deletion.tombstones = nx_calloc(snapshot.count + 1, sizeof(struct tombstones *));
    nx_code code = delete_all(list, &deletion, &snapshot, err);
    block_list_unlock_publishing(list);
    for (size_t i = 0; i < deletion.count; i++)
        tombstones_unref(deletion.tombstones[i]);
    nx_free(deletion.blocks);
    nx_free(deletion.tombstones);
    arena_deinit(&deletion.arena);
    block_snapshot_end(&snapshot);
    if (code == NX_OK)
        *out_result = deletion.result;
    return code;
}

nx_code block_list_drop_deleted(struct block_list *list, unsigned *out_removed, struct nx_err *err)
{
    struct block_snapshot snapshot;
    struct block *newest = block_list_newest_flush(list);
    unsigned count = 0;
    nx_code code = NX_OK;
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    struct block **gone = nx_calloc(snapshot.count + 1, sizeof(struct block *));
    for (size_t i = 0; i < snapshot.count; i++) {
        const struct block_meta *meta = block_meta(snapshot.blocks[i]);
        if (snapshot.blocks[i] != newest &&
            tombstones_cover_all(snapshot.tombstones[i], meta->min_time_ms, meta->max_time_ms))
            gone[count++] = snapshot.blocks[i];
    }
    if (count > 0)
        code = block_list_publish(list, NULL, 0, gone, count, err);
    nx_free(gone);
    block_snapshot_end(&snapshot);
    block_unref(newest);
    if (code == NX_OK && count > 0)
        block_list_sweep(list);
    if (code == NX_OK)
        *out_removed = count;
    return code;
}
