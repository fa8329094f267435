/* SPDX-License-Identifier: Apache-2.0 */
/* retention.c - drops whole blocks, by age and by size. Nothing is rewritten. */
#include "narthex/base/mem.h"

#include "merge_internal.h"

/* Publishes the retirement of those that are marked. */
static nx_code retire(struct block_list *list, const struct block_snapshot *snapshot,
                      const bool *is_out, unsigned *out_removed, struct nx_err *err)
{
    struct block **retired = nx_calloc(snapshot->count + 1, sizeof(*retired));
    size_t count = 0;
    for (size_t i = 0; i < snapshot->count; i++)
        if (is_out[i])
            retired[count++] = snapshot->blocks[i];
    nx_code code = count == 0 ? NX_OK : block_list_publish(list, NULL, 0, retired, count, err);
    if (code == NX_OK)
        *out_removed = (unsigned)count;
    nx_free(retired);
    return code;
}

static bool is_newest_flush(const struct block_snapshot *snapshot, size_t index)
{
    const struct block_meta *meta = block_meta(snapshot->blocks[index]);
    if (meta->level != 0)
        return false;
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct block_meta *other = block_meta(snapshot->blocks[i]);
        if (other->level == 0 && (other->commit_max > meta->commit_max ||
                                  (other->commit_max == meta->commit_max && i > index)))
            return false;
    }
    return true;
}

static nx_code retire_and_sweep(struct block_list *list, struct block_snapshot *snapshot,
                                bool *take_is_out, unsigned *out_removed, struct nx_err *err)
{
    nx_code code = retire(list, snapshot, take_is_out, out_removed, err);
    nx_free(take_is_out);
    block_snapshot_end(snapshot);
    if (code == NX_OK)
        block_list_sweep(list);
    return code;
}

nx_code retention_run(struct block_list *list, int64_t now_ms, int64_t retention_ms,
                      unsigned *out_removed, struct nx_err *err)
{
    struct block_snapshot snapshot;
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    bool *is_out = nx_calloc(snapshot.count + 1, sizeof(*is_out));
    for (size_t i = 0; i < snapshot.count; i++)
        is_out[i] = block_meta(snapshot.blocks[i])->max_time_ms < now_ms - retention_ms &&
                    !is_newest_flush(&snapshot, i);
    return retire_and_sweep(list, &snapshot, is_out, out_removed, err);
}

nx_code retention_run_bytes(struct block_list *list, uint64_t bytes_max, unsigned *out_removed,
                            struct nx_err *err)
{
    struct block_snapshot snapshot;
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    bool *is_out = nx_calloc(snapshot.count + 1, sizeof(*is_out));
    uint64_t bytes = 0;
    for (size_t i = 0; i < snapshot.count; i++)
        bytes += snapshot.blocks[i]->disk_bytes;
    while (bytes > bytes_max) {
        size_t oldest = SIZE_MAX;
        for (size_t i = 0; i < snapshot.count; i++) {
            const struct block_meta *meta = block_meta(snapshot.blocks[i]);
            if (!is_out[i] && !is_newest_flush(&snapshot, i) &&
                (oldest == SIZE_MAX ||
                 meta->max_time_ms < block_meta(snapshot.blocks[oldest])->max_time_ms))
                oldest = i;
        }
        if (oldest == SIZE_MAX)
            break;
        bytes -= snapshot.blocks[oldest]->disk_bytes;
        is_out[oldest] = true;
    }
    return retire_and_sweep(list, &snapshot, is_out, out_removed, err);
}
