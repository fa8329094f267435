/* SPDX-License-Identifier: Apache-2.0 */
/* committer.c - gather, write, sync, tell: one commit after the other.
 *
 *   idle --a waiter or a cut--> pace --> take the waiters, then the shards' buffers --> journal_commit --> tell them
 *                                 ^                                                        |
 *                                 |                            failed: keep the buffers, tell the error
 *                                 +------------- backoff, kept buffers first <-------------+
 *
 * Invariants
 *   1. Waiters are taken before the buffers: whatever a waiter appended is in them, or in an earlier commit.
 *   2. While buffers are kept, nothing newer is written: commits hold samples in the order in which they were taken.
 */
#include "narthex/storage/committer.h"

#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"

#include <stdatomic.h>

struct waiter {
    committer_done_fn done;
    void *context;
};

struct waiter_list {
    struct waiter *items;
    size_t count;
    size_t cap;
};

struct committer {
    struct head *head;       /* [I] borrowed */
    struct journal *journal; /* [I] borrowed; its write side is [T:committer] */
    struct nx_thread thread;

    struct nx_mutex lock;
    struct nx_cond work; /* there is something to do */
    struct nx_cond cut_done;
    struct waiter_list waiting; /* [L:lock] */
    bool is_cut_wanted;         /* [L:lock] */
    bool is_stopping;           /* [L:lock] */
    uint64_t cut_commit;        /* [L:lock] */

    _Atomic int failure;              /* [A] relaxed: the nx_code that lasts, NX_OK normally */
    _Atomic uint64_t pending_samples; /* [A] relaxed: appended since buffers were taken, about */

    _Atomic uint64_t pace_commits, pace_slowest_ns; /* [A] relaxed: until they are taken */
    _Atomic uint64_t usual_ns;                      /* [A] relaxed */

    /* [T:committer] */
    struct journal_buffer buffers[HEAD_SHARD_COUNT];
    bool has_kept;
    uint64_t retry_ns; /* wait before the next attempt; 0: none failed */
    uint64_t last_begun_ns;
    size_t last_released; /* waiters of the last commit */
};

/* ---- waiters ---- */

static void waiters_add(struct waiter_list *list, struct waiter waiter)
{
    if (list->count == list->cap) {
        list->cap = list->cap == 0 ? 64 : list->cap * 2;
        list->items = nx_realloc_array(list->items, list->cap, sizeof(*list->items));
    }
    list->items[list->count++] = waiter;
}

static void waiters_tell(struct waiter_list *list, nx_code code)
{
    for (size_t i = 0; i < list->count; i++)
        list->items[i].done(list->items[i].context, code);
    list->count = 0;
}

void committer_wait(struct committer *committer, committer_done_fn done, void *context)
{
    mutex_lock(&committer->lock);
    waiters_add(&committer->waiting, (struct waiter){.done = done, .context = context});
    cond_signal(&committer->work);
    mutex_unlock(&committer->lock);
}

nx_code committer_state(struct committer *committer)
{
    return (nx_code)atomic_load_explicit(&committer->failure, memory_order_relaxed);
}

nx_code committer_check(struct committer *committer, uint64_t samples, struct nx_err *err)
{
    nx_code code = committer_state(committer);
    if (code == NX_E_FULL)
        return nx_err_set(err, code, "the volume is full: nothing can be made durable");
    if (code != NX_OK)
        return nx_err_set(err, code, "the journal cannot be written: nothing can be made durable");
    atomic_fetch_add_explicit(&committer->pending_samples, samples, memory_order_relaxed);
    return NX_OK;
}

/* ---- one attempt ---- */

static nx_code commit_buffers(struct committer *committer, struct nx_err *err)
{
    struct journal_buffer *buffers[HEAD_SHARD_COUNT];
    for (unsigned i = 0; i < HEAD_SHARD_COUNT; i++)
        buffers[i] = &committer->buffers[i];
    uint64_t commit;
    nx_code code = journal_commit(committer->journal, buffers, HEAD_SHARD_COUNT, &commit, err);
    committer->has_kept = code != NX_OK;
    if (code != NX_OK)
        return code;
    for (unsigned i = 0; i < HEAD_SHARD_COUNT; i++)
        journal_buffer_reset(&committer->buffers[i]);
    return NX_OK;
}

/* Kept buffers first, then what is pending now. */
static nx_code attempt(struct committer *committer, struct nx_err *err)
{
    if (committer->has_kept) {
        nx_code code = commit_buffers(committer, err);
        if (code != NX_OK)
            return code;
    }
    atomic_store_explicit(&committer->pending_samples, 0, memory_order_relaxed);
    for (unsigned i = 0; i < HEAD_SHARD_COUNT; i++)
        head_take_pending(committer->head, i, &committer->buffers[i]);
    return commit_buffers(committer, err);
}

static void note_outcome(struct committer *committer, nx_code code)
{
    if (code == NX_OK)
        committer->retry_ns = 0;
    else if (committer->retry_ns == 0)
        committer->retry_ns = COMMITTER_RETRY_MIN_NS;
    else
        committer->retry_ns = committer->retry_ns * 2 < COMMITTER_RETRY_MAX_NS
                                  ? committer->retry_ns * 2
                                  : COMMITTER_RETRY_MAX_NS;
    /* Other codes than FULL and IO are faults of ours or of the configuration: the sender is told the same. */
    int failure = code == NX_OK || code == NX_E_FULL ? (int)code : (int)NX_E_IO;
    atomic_store_explicit(&committer->failure, failure, memory_order_relaxed);
}

/* ---- how long it takes ---- */

/* A slow commit moves the usual time little, a quick one much: it stays near that of an idle volume, and follows a
 * volume that has become another within some thousand commits. */
#define USUAL_DOWN 8u
#define USUAL_UP   1024u

static void note_pace(struct committer *committer, uint64_t took_ns)
{
    uint64_t usual_ns = atomic_load_explicit(&committer->usual_ns, memory_order_relaxed);
    if (usual_ns == 0)
        usual_ns = took_ns;
    else if (took_ns < usual_ns)
        usual_ns -= (usual_ns - took_ns) / USUAL_DOWN;
    else
        usual_ns += usual_ns / USUAL_UP;
    atomic_store_explicit(&committer->usual_ns, usual_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&committer->pace_commits, 1, memory_order_relaxed);
    /* Taken in between it may come back once more: it is a hint. */
    if (took_ns > atomic_load_explicit(&committer->pace_slowest_ns, memory_order_relaxed))
        atomic_store_explicit(&committer->pace_slowest_ns, took_ns, memory_order_relaxed);
}

void committer_take_pace(struct committer *committer, struct committer_pace *out)
{
    *out = (struct committer_pace){
        .commits = atomic_exchange_explicit(&committer->pace_commits, 0, memory_order_relaxed),
        .slowest_ns =
            atomic_exchange_explicit(&committer->pace_slowest_ns, 0, memory_order_relaxed),
        .usual_ns = atomic_load_explicit(&committer->usual_ns, memory_order_relaxed)};
}

/* ---- the thread ---- */

static bool is_enough(struct committer *committer)
{
    return committer->is_cut_wanted || committer->is_stopping ||
           (committer->waiting.count >= committer->last_released &&
            atomic_load_explicit(&committer->pending_samples, memory_order_relaxed) >=
                COMMITTER_PAGE_SAMPLES);
}

/* Waits until a commit should begin. False: stop. */
static bool wait_for_work(struct committer *committer) NX_REQUIRES(committer->lock)
{
    uint64_t begun_ns = clock_mono_ns(clock_real());
    for (;;) {
        uint64_t now_ns = clock_mono_ns(clock_real());
        bool has_work = committer->waiting.count > 0 || committer->is_cut_wanted;
        if (committer->is_stopping)
            return has_work;
        if (committer->retry_ns >
            0) { /* on its own clock, waiters or not; a cut need not wait for the disk */
            if (committer->is_cut_wanted || now_ns - begun_ns >= committer->retry_ns)
                return true;
            cond_wait_for(&committer->work, &committer->lock,
                          committer->retry_ns - (now_ns - begun_ns));
            continue;
        }
        uint64_t since_ns = now_ns - committer->last_begun_ns;
        if (has_work && (since_ns >= COMMITTER_INTERVAL_NS || is_enough(committer)))
            return true;
        if (has_work)
            cond_wait_for(&committer->work, &committer->lock, COMMITTER_INTERVAL_NS - since_ns);
        else
            cond_wait(&committer->work, &committer->lock);
    }
}

static void committer_run(void *argument)
{
    struct committer *committer = argument;
    struct waiter_list told = {0};
    mutex_lock(&committer->lock);
    while (wait_for_work(committer)) {
        struct waiter_list empty = told;
        told = committer->waiting;
        committer->waiting = empty;
        bool is_cut = committer->is_cut_wanted;
        mutex_unlock(&committer->lock);

        struct nx_err err;
        committer->last_begun_ns = clock_mono_ns(clock_real());
        committer->last_released = told.count;
        nx_code code = attempt(committer, &err);
        note_outcome(committer, code);
        if (code == NX_OK && told.count > 0)
            note_pace(committer, clock_mono_ns(clock_real()) - committer->last_begun_ns);
        waiters_tell(&told, code);
        uint64_t cut_commit = is_cut ? journal_cut(committer->journal) : 0;

        mutex_lock(&committer->lock);
        if (is_cut) {
            committer->is_cut_wanted = false;
            committer->cut_commit = cut_commit;
            cond_broadcast(&committer->cut_done);
        }
    }
    mutex_unlock(&committer->lock);
    nx_free(told.items);
}

uint64_t committer_cut(struct committer *committer)
{
    mutex_lock(&committer->lock);
    NX_ASSERT(!committer->is_cut_wanted && !committer->is_stopping);
    committer->is_cut_wanted = true;
    cond_signal(&committer->work);
    while (committer->is_cut_wanted)
        cond_wait(&committer->cut_done, &committer->lock);
    uint64_t commit = committer->cut_commit;
    mutex_unlock(&committer->lock);
    return commit;
}

nx_code committer_start(struct committer **out_committer, struct head *head,
                        struct journal *journal, struct nx_err *err)
{
    struct committer *committer = nx_calloc(1, sizeof(*committer));
    committer->head = head;
    committer->journal = journal;
    mutex_init(&committer->lock, LOCK_RANK_JOURNAL);
    cond_init(&committer->work);
    cond_init(&committer->cut_done);
    nx_code code = thread_start(&committer->thread, "committer", committer_run, committer, err);
    if (code != NX_OK) {
        committer_stop(committer);
        return code;
    }
    *out_committer = committer;
    return NX_OK;
}

void committer_stop(struct committer *committer)
{
    if (committer == NULL)
        return;
    mutex_lock(&committer->lock);
    committer->is_stopping = true;
    cond_signal(&committer->work);
    mutex_unlock(&committer->lock);
    thread_join(&committer->thread);
    for (unsigned i = 0; i < HEAD_SHARD_COUNT; i++)
        journal_buffer_deinit(&committer->buffers[i]);
    nx_free(committer->waiting.items);
    cond_deinit(&committer->work);
    cond_deinit(&committer->cut_done);
    mutex_deinit(&committer->lock);
    nx_free(committer);
}
