/* SPDX-License-Identifier: Apache-2.0 */
/* head_loader.c - the ring between the thread that reads and those that apply. */
#include "head_loader.h"

static void fail(struct head_loader *loader, const struct nx_err *err)
{
    mutex_lock(&loader->lock);
    if (loader->failure.code == NX_OK)
        loader->failure = *err;
    mutex_unlock(&loader->lock);
    atomic_store_explicit(&loader->has_failed, true, memory_order_relaxed);
}

static nx_code failure(struct head_loader *loader, struct nx_err *err)
{
    if (!atomic_load_explicit(&loader->has_failed, memory_order_relaxed))
        return NX_OK;
    mutex_lock(&loader->lock);
    *err = loader->failure;
    mutex_unlock(&loader->lock);
    return err->code;
}

static void apply(struct head_loader *loader, const struct load_batch *batch, unsigned number)
{
    struct nx_err err;
    if (atomic_load_explicit(&loader->has_failed, memory_order_relaxed))
        return;
    if (load_apply(loader->head, batch, number, loader->thread_count, &err) != NX_OK)
        fail(loader, &err);
}

static void run_thread(void *argument)
{
    struct loader_thread *thread = argument;
    struct head_loader *loader = thread->loader;
    mutex_lock(&loader->lock);
    for (;;) {
        while (thread->taken == loader->given && !loader->is_stopping)
            cond_wait(&loader->work, &loader->lock);
        if (thread->taken == loader->given)
            break;
        const struct load_batch *batch = &loader->batches[thread->taken % LOAD_BATCHES];
        mutex_unlock(&loader->lock);
        apply(loader, batch, thread->number);
        mutex_lock(&loader->lock);
        if (++thread->taken >= loader->wanted)
            cond_signal(&loader->room);
    }
    mutex_unlock(&loader->lock);
}

/* Batches that the slowest thread is done with. */
static uint64_t all_taken(const struct head_loader *loader) NX_REQUIRES(loader->lock)
{
    uint64_t taken = loader->given;
    for (unsigned i = 0; i < loader->thread_count; i++) {
        if (loader->threads[i].taken < taken)
            taken = loader->threads[i].taken;
    }
    return taken;
}

static void wait_until_taken(struct head_loader *loader, uint64_t count)
{
    mutex_lock(&loader->lock);
    loader->wanted = count;
    cond_broadcast(&loader->work);
    while (all_taken(loader) < count)
        cond_wait(&loader->room, &loader->lock);
    loader->wanted = UINT64_MAX;
    mutex_unlock(&loader->lock);
}

struct load_batch *head_loader_batch(struct head_loader *loader)
{
    return &loader->batches[loader->thread_count == 0 ? 0 : loader->given % LOAD_BATCHES];
}

static void batch_reset(struct load_batch *batch)
{
    batch->series_count = 0;
    batch->sample_count = 0;
    batch->blob_count = 0;
    nx_buf_reset(&batch->bytes);
}

nx_code head_loader_give(struct head_loader *loader, struct nx_err *err)
{
    if (loader->thread_count == 0) { /* the next call begins anew, whatever this one says */
        nx_code code = load_apply(loader->head, loader->batches, 0, 1, err);
        batch_reset(loader->batches);
        return code;
    }
    mutex_lock(&loader->lock);
    uint64_t given = ++loader->given;
    if (given % LOAD_WAKE == 0)
        cond_broadcast(&loader->work);
    bool is_full = given - all_taken(loader) >= LOAD_BATCHES;
    mutex_unlock(&loader->lock);
    if (is_full) /* half of the ring at once: each wait is two switches of threads */
        wait_until_taken(loader, given - LOAD_BATCHES / 2);
    batch_reset(head_loader_batch(loader));
    return failure(loader, err);
}

nx_code head_loader_wait(struct head_loader *loader, struct nx_err *err)
{
    const struct load_batch *batch = head_loader_batch(loader);
    bool is_empty = batch->series_count + batch->sample_count + batch->blob_count == 0;
    nx_code code = is_empty ? failure(loader, err) : head_loader_give(loader, err);
    if (code != NX_OK)
        return code;
    wait_until_taken(loader, loader->given);
    return failure(loader, err);
}

nx_code head_loader_new(struct head_loader **out_loader, struct head *head, unsigned threads,
                        struct nx_err *err)
{
    NX_ASSERT(threads <= HEAD_SHARD_COUNT);
    struct head_loader *loader = nx_calloc(1, sizeof(*loader));
    size_t batches = threads == 0 ? 1 : LOAD_BATCHES;
    loader->head = head;
    loader->batches = nx_calloc(batches, sizeof(*loader->batches));
    mutex_init(&loader->lock, LOCK_RANK_HEAD_LOAD);
    cond_init(&loader->work);
    cond_init(&loader->room);
    loader->wanted = UINT64_MAX;
    nx_code code = NX_OK;
    loader->thread_count = threads;
    for (unsigned i = 0; i < threads; i++) {
        struct loader_thread *thread = &loader->threads[i];
        thread->loader = loader;
        thread->number = i;
    }
    for (unsigned i = 0; i < threads && code == NX_OK; i++)
        code = thread_start(&loader->threads[i].thread, "head-load", run_thread,
                            &loader->threads[i], err);
    if (code != NX_OK) {
        head_loader_free(loader);
        return code;
    }
    *out_loader = loader;
    return NX_OK;
}

void head_loader_free(struct head_loader *loader)
{
    if (loader == NULL)
        return;
    mutex_lock(&loader->lock);
    loader->is_stopping = true;
    cond_broadcast(&loader->work);
    mutex_unlock(&loader->lock);
    size_t batches = loader->thread_count == 0 ? 1 : LOAD_BATCHES;
    for (unsigned i = 0; i < loader->thread_count; i++)
        thread_join(&loader->threads[i].thread);
    for (size_t i = 0; i < batches; i++)
        nx_buf_deinit(&loader->batches[i].bytes);
    nx_free(loader->batches);
    nx_buf_deinit(&loader->order);
    nx_buf_deinit(&loader->ids_before);
    nx_buf_deinit(&loader->hashes_before);
    nx_buf_deinit(&loader->ids);
    nx_buf_deinit(&loader->hashes);
    nx_buf_deinit(&loader->pairs);
    nx_buf_deinit(&loader->pairs_before);
    nx_buf_deinit(&loader->labels);
    cond_deinit(&loader->work);
    cond_deinit(&loader->room);
    mutex_deinit(&loader->lock);
    nx_free(loader);
}
