/* SPDX-License-Identifier: Apache-2.0 */
/* head.c - the head begins, ends, and tells its numbers. */
#include "head_internal.h"
#include "head_loader.h"

#include <stdlib.h>

static void shard_init(struct head_shard *shard)
{
    mutex_init(&shard->lock, LOCK_RANK_HEAD_SHARD);
    segvec_init(&shard->hots, sizeof(struct head_hot));
    segvec_init(&shard->colds, sizeof(struct head_cold));
    stream_store_init(&shard->store);
    sides_init(&shard->sides);
    shard->free_local = HEAD_SLOT_NONE;
    shard->open_span = TIME_SPAN_EMPTY;
    shard->sealed_span = TIME_SPAN_EMPTY;
}

static void shard_deinit(struct head_shard *shard)
{
    for (uint32_t local = 0; local < shard->local_count; local++) {
        if (!segvec_has(&shard->colds, local))
            continue;
        struct head_cold *cold = cold_at(shard, local);
        if (head_pool_usable(cold->labels_bytes) > POOL_CLASS_MAX)
            nx_free(cold->labels);
    }
    for (uint32_t i = 0; i < shard->lates_count; i++)
        nx_free(shard->lates[i].items);
    nx_free(shard->lates);
    nx_free(shard->arena_open.blocks);
    nx_free(shard->arena_next.blocks);
    nx_free(shard->arena_sealed.blocks);
    stream_store_deinit(&shard->store);
    sides_deinit(&shard->sides);
    segvec_deinit(&shard->hots);
    segvec_deinit(&shard->colds);
    id_table_deinit(&shard->table);
    head_pool_deinit(&shard->pool);
    journal_buffer_deinit(&shard->pending);
    nx_free(shard->fresh);
    nx_free(shard->hashes);
    nx_free(shard->ids);
    nx_free(shard->labels);
    nx_buf_deinit(&shard->bytes);
    mutex_deinit(&shard->lock);
}

nx_code head_new(struct head **out_head, const struct head_options *options, struct nx_err *err)
{
    (void)err;
    hash_secret_init();
    struct head *head = nx_calloc(1, sizeof(*head));
    size_t bytes = HEAD_SHARD_COUNT * sizeof(*head->shards);
    head->shards = nx_map_alloc(bytes); /* aligned to cache lines */
    head->series_max = options->series_max;
    head->admit = options->admit;
    head->admit_context = options->admit_context;
    head->is_leaving = true;
    index_init(&head->index);
    for (unsigned i = 0; i < HEAD_SHARD_COUNT; i++)
        shard_init(&head->shards[i]);
    *out_head = head;
    return NX_OK;
}

void head_free(struct head *head)
{
    if (head == NULL)
        return;
    NX_ASSERT(!head->is_flushing);
    head_loader_free(head->loader);
    for (unsigned i = 0; i < HEAD_SHARD_COUNT; i++)
        shard_deinit(&head->shards[i]);
    nx_map_free(head->shards, HEAD_SHARD_COUNT * sizeof(*head->shards));
    index_deinit(&head->index);
    nx_free(head->order);
    nx_free(head);
}

/* ---- numbers ---- */

/* Untouched pages of the last segments cost nothing, so only what is in use counts. Chunks include the blocks that
 * wait for the next ones. */
static void add_shard_stats(const struct head_shard *shard, struct head_stats *out)
    NX_REQUIRES(shard->lock)
{
    struct time_span span = shard->open_span;
    time_span_join(&span, &shard->sealed_span);
    out->min_time_ms = span.min_ms < out->min_time_ms ? span.min_ms : out->min_time_ms;
    out->max_time_ms = span.max_ms > out->max_time_ms ? span.max_ms : out->max_time_ms;
    out->series += shard->series;
    out->series_created += shard->created;
    out->series_removed += shard->removed;
    out->late_samples += shard->late_samples;
    out->unflushed_samples += shard->samples;
    out->bytes_series += shard->local_count * (sizeof(struct head_hot) + sizeof(struct head_cold)) +
                         id_table_bytes(&shard->table) + shard->fresh_cap * sizeof(*shard->fresh);
    out->bytes_labels += shard->pool.bytes;
    out->bytes_chunks += shard->store.bytes;
    out->chunks += shard->arena_open.chunks + shard->arena_next.chunks + shard->arena_sealed.chunks;
    out->bytes_late += shard->late_bytes + shard->lates_cap * sizeof(*shard->lates);
    out->histograms += shard->sides.histograms;
    out->exemplars += shard->sides.exemplars;
    out->bytes_sides += shard->sides.bytes;
    out->bytes_pending += journal_buffer_bytes(&shard->pending);
}

uint64_t head_release_spare(struct head *head, uint64_t bytes_wanted)
{
    uint64_t freed = 0;
    for (unsigned i = 0; i < HEAD_SHARD_COUNT && freed < bytes_wanted; i++) {
        struct head_shard *shard = &head->shards[i];
        mutex_lock(&shard->lock);
        uint64_t blocks = (bytes_wanted - freed - 1) / STREAM_BLOCK_BYTES + 1;
        uint32_t most = blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX;
        freed += (uint64_t)stream_store_give_back(&shard->store, most) * STREAM_BLOCK_BYTES;
        mutex_unlock(&shard->lock);
    }
    return freed;
}

void head_stats(struct head *head, struct head_stats *out)
{
    *out = (struct head_stats){.min_time_ms = INT64_MAX, .max_time_ms = INT64_MIN};
    for (unsigned i = 0; i < HEAD_SHARD_COUNT; i++) {
        struct head_shard *shard = &head->shards[i];
        mutex_lock(&shard->lock);
        add_shard_stats(shard, out);
        mutex_unlock(&shard->lock);
    }
    mutex_lock(&head->index.lock);
    out->bytes_index = index_bytes(&head->index);
    out->bytes_labels += index_text_bytes(&head->index);
    mutex_unlock(&head->index.lock);
    out->bytes_series += atomic_load_explicit(&head->order_bytes, memory_order_relaxed);
    uint64_t flushed = atomic_load_explicit(&head->flushed_samples, memory_order_relaxed);
    out->unflushed_samples =
        out->unflushed_samples > flushed ? out->unflushed_samples - flushed : 0;
    out->unknown_samples = atomic_load_explicit(&head->unknown_samples, memory_order_relaxed);
}
