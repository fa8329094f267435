/* SPDX-License-Identifier: Apache-2.0 */
/* store_write.c - a request's samples into the head and towards the journal.
 *
 * In       series of a request, known or with labels
 * Out      appended, visible, queued for the journal; a promise to call back when that is durable
 * Fails    NX_E_FULL, NX_E_IO (nothing can be made durable now), NX_E_CANCELLED (stopping): before anything is appended
 */
#include "store_internal.h"

#include <stdint.h>

nx_code store_write(struct store *store, struct head_write *writes, size_t count,
                    struct nx_err *err)
{
    if (atomic_load_explicit(&store->is_stopping, memory_order_acquire))
        return nx_err_set(err, NX_E_CANCELLED, "the store is closing");
    nx_code code = mem_budget_check_write(store->options.budget, err);
    if (code == NX_OK)
        code = disk_reserve_check_write(&store->reserve, err);
    if (code != NX_OK)
        return code;
    uint64_t samples = 0;
    for (size_t i = 0; i < count; i++)
        samples += writes[i].sample_count + writes[i].histogram_count;
    code = committer_check(store->committer, samples, err);
    if (code != NX_OK)
        return code;
    int64_t now_ms = clock_wall_ms(store->options.clock);
    int64_t retention_ms = store->options.retention_ms;
    int64_t min_ms = retention_ms > 0 ? now_ms - retention_ms : INT64_MIN;
    write_gate_enter(&store->gate);
    head_append(store->head, writes, count, min_ms, now_ms + store->options.future_tolerance_ms);
    write_gate_leave(&store->gate);
    return NX_OK;
}

size_t store_write_metadata(struct store *store, const struct metric_metadata *items, size_t count)
{
    size_t refused = 0;
    struct nx_buf payload = {0};
    for (size_t i = 0; i < count; i++) {
        enum metadata_result result = metadata_table_put(store->metadata, &items[i]);
        refused += result == METADATA_REFUSED;
        if (result != METADATA_CHANGED)
            continue;
        nx_buf_reset(&payload);
        metadata_put(&items[i], &payload);
        head_push_blob(store->head, JOURNAL_BLOB_METADATA, nx_buf_bytes(&payload));
    }
    nx_buf_deinit(&payload);
    return refused;
}

void store_wait(struct store *store, store_done_fn done, void *context)
{
    committer_wait(store->committer, done, context);
}
