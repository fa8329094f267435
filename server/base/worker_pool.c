/* SPDX-License-Identifier: Apache-2.0 */
/* worker_pool.c - a fixed number of threads that take work from one bounded ring.
 *
 * Order    work starts in the order in which it was taken. Work may submit further work.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"

#include <stdio.h>

struct work {
    work_fn run;
    void *argument;
};

struct worker_pool {
    struct nx_mutex lock;
    struct nx_cond has_work; /* signalled per work, broadcast on stopping */
    struct work *ring;       /* [L:lock] queue_max entries */
    size_t queue_max;        /* [I] */
    size_t first;            /* [L:lock] oldest entry */
    size_t count;            /* [L:lock] */
    bool is_stopping;        /* [L:lock] */
    struct nx_thread *threads;
    unsigned thread_count; /* [I] after start */
};

static bool take_work(struct worker_pool *pool, struct work *out_work)
{
    mutex_lock(&pool->lock);
    while (pool->count == 0 && !pool->is_stopping)
        cond_wait(&pool->has_work, &pool->lock);
    bool has_work = pool->count > 0;
    if (has_work) {
        *out_work = pool->ring[pool->first];
        pool->first = (pool->first + 1) % pool->queue_max;
        pool->count--;
    }
    mutex_unlock(&pool->lock);
    return has_work;
}

static void worker_main(void *argument)
{
    struct worker_pool *pool = argument;
    struct work work;
    while (take_work(pool, &work))
        work.run(work.argument);
}

nx_code worker_pool_new(struct worker_pool **out_pool, const char *name, unsigned workers,
                        size_t queue_max, struct nx_err *err)
{
    NX_ASSERT(workers > 0 && queue_max > 0);
    struct worker_pool *pool = nx_calloc(1, sizeof(*pool));
    mutex_init(&pool->lock, LOCK_RANK_WORKER_POOL);
    cond_init(&pool->has_work);
    pool->ring = nx_calloc(queue_max, sizeof(*pool->ring));
    pool->queue_max = queue_max;
    pool->threads = nx_calloc(workers, sizeof(*pool->threads));
    for (unsigned i = 0; i < workers; i++) {
        char worker_name[32]; /* thread_start keeps what fits */
        snprintf(worker_name, sizeof(worker_name), "%.12s-%u", name, i);
        nx_code code = thread_start(&pool->threads[i], worker_name, worker_main, pool, err);
        if (code != NX_OK) {
            worker_pool_free(pool);
            return code;
        }
        pool->thread_count++;
    }
    *out_pool = pool;
    return NX_OK;
}

bool worker_pool_try_submit(struct worker_pool *pool, work_fn work, void *argument)
{
    mutex_lock(&pool->lock);
    bool is_taken = !pool->is_stopping && pool->count < pool->queue_max;
    if (is_taken) {
        pool->ring[(pool->first + pool->count) % pool->queue_max] =
            (struct work){.run = work, .argument = argument};
        pool->count++;
        cond_signal(&pool->has_work);
    }
    mutex_unlock(&pool->lock);
    return is_taken;
}

size_t worker_pool_queued(struct worker_pool *pool)
{
    mutex_lock(&pool->lock);
    size_t count = pool->count;
    mutex_unlock(&pool->lock);
    return count;
}

void worker_pool_free(struct worker_pool *pool)
{
    if (pool == NULL)
        return;
    mutex_lock(&pool->lock);
    pool->is_stopping = true;
    cond_broadcast(&pool->has_work);
    mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        thread_join(&pool->threads[i]);
    cond_deinit(&pool->has_work);
    mutex_deinit(&pool->lock);
    nx_free(pool->threads);
    nx_free(pool->ring);
    nx_free(pool);
}
