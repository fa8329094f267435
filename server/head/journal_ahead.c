/* SPDX-License-Identifier: Apache-2.0 */
/* journal_ahead.c - the ring between the thread that reads the journal and the one that decodes it.
 *
 * In       records that verify           Out      the same, unpacked, handed to `take` one after the other
 * Limits   AHEAD_RECORDS records of at most AHEAD_KEPT bytes; one that is larger is waited for, so a hostile file
 *          makes us hold one such record and not a ring of them
 */
#include "journal_ahead.h"

#include "narthex/base/mem.h"
#include "narthex/codec/zstd_block.h"

#define AHEAD_RECORDS 16u
#define AHEAD_WAKE                                                                                 \
 4u /* records: the taking thread is woken for so many, or when they are waited for */
#define AHEAD_KEPT                                                                                 \
 (512u << 10) /* above every record that a writer of ours makes but a huge entry's */

struct ahead_item {
    struct journal_record record;
    struct nx_buf bytes;
    uint64_t number;
    uint64_t offset;
};

struct journal_ahead {
    journal_take_fn take;
    void *context;
    struct nx_thread thread;
    struct ahead_item items[AHEAD_RECORDS];

    struct nx_mutex lock;
    struct nx_cond work;   /* an item, or the end */
    struct nx_cond room;   /* one was taken */
    uint64_t pushed;       /* [L:lock] to change; the pushing thread's */
    uint64_t taken;        /* [L:lock] to change; the taking thread's */
    uint64_t wanted;       /* [L:lock] so many taken are waited for */
    bool is_stopping;      /* [L:lock] */
    struct nx_err failure; /* [L:lock] NX_OK: none */
};

static void run_ahead(void *argument)
{
    struct journal_ahead *ahead = argument;
    mutex_lock(&ahead->lock);
    for (;;) {
        while (ahead->taken == ahead->pushed && !ahead->is_stopping)
            cond_wait(&ahead->work, &ahead->lock);
        if (ahead->taken == ahead->pushed)
            break;
        bool has_failed = ahead->failure.code != NX_OK;
        mutex_unlock(&ahead->lock);
        const struct ahead_item *item = &ahead->items[ahead->taken % AHEAD_RECORDS];
        struct nx_err err = {0};
        nx_code code = NX_OK;
        if (!has_failed)
            code = ahead->take(ahead->context, &item->record, nx_buf_bytes(&item->bytes),
                               item->number, item->offset, &err);
        err.code = code;
        mutex_lock(&ahead->lock);
        if (code != NX_OK)
            ahead->failure = err;
        if (++ahead->taken >= ahead->wanted)
            cond_signal(&ahead->room);
    }
    mutex_unlock(&ahead->lock);
}

/* When more than `open` records are not taken: until `left` are not. */
static nx_code wait_for_room(struct journal_ahead *ahead, uint64_t open, uint64_t left,
                             struct nx_err *err)
{
    mutex_lock(&ahead->lock);
    if (ahead->pushed - ahead->taken > open) {
        ahead->wanted = ahead->pushed - left;
        cond_signal(&ahead->work);
        while (ahead->taken < ahead->wanted)
            cond_wait(&ahead->room, &ahead->lock);
        ahead->wanted = UINT64_MAX;
    }
    nx_code code = ahead->failure.code;
    if (code != NX_OK)
        *err = ahead->failure;
    mutex_unlock(&ahead->lock);
    return code;
}

nx_code journal_ahead_drain(struct journal_ahead *ahead, struct nx_err *err)
{
    return wait_for_room(ahead, 0, 0, err);
}

/* What does not unpack is copied as it is: whoever decodes it tells. */
static void item_fill(struct ahead_item *item, const struct journal_record *record,
                      struct nx_bytes payload)
{
    item->record = *record;
    nx_buf_reset(&item->bytes);
    if (record->is_packed != 0) {
        nx_buf_reserve(&item->bytes, (size_t)record->raw_bytes + 1);
        if (zstd_unpack(payload, item->bytes.data, record->raw_bytes) == NX_OK) {
            item->bytes.len = record->raw_bytes;
            item->record.is_packed = 0;
            item->record.payload_bytes = record->raw_bytes;
            return;
        }
    }
    nx_buf_append(&item->bytes, payload.data, payload.len);
}

nx_code journal_ahead_push(struct journal_ahead *ahead, const struct journal_record *record,
                           struct nx_bytes payload, uint64_t number, uint64_t offset,
                           struct nx_err *err)
{
    nx_code code = wait_for_room(ahead, AHEAD_RECORDS - 1, AHEAD_RECORDS / 2, err);
    if (code != NX_OK)
        return code;
    struct ahead_item *item = &ahead->items[ahead->pushed % AHEAD_RECORDS];
    item_fill(item, record, payload);
    item->number = number;
    item->offset = offset;
    bool is_huge = (size_t)record->raw_bytes + record->payload_bytes > AHEAD_KEPT;
    mutex_lock(&ahead->lock);
    if (++ahead->pushed % AHEAD_WAKE == 0)
        cond_signal(&ahead->work);
    mutex_unlock(&ahead->lock);
    if (!is_huge)
        return NX_OK;
    code = journal_ahead_drain(ahead, err);
    nx_buf_deinit(&item->bytes);
    return code;
}

nx_code journal_ahead_new(struct journal_ahead **out_ahead, journal_take_fn take, void *context,
                          struct nx_err *err)
{
    struct journal_ahead *ahead = nx_calloc(1, sizeof(*ahead));
    ahead->take = take;
    ahead->context = context;
    ahead->wanted = UINT64_MAX;
    mutex_init(&ahead->lock, LOCK_RANK_JOURNAL);
    cond_init(&ahead->work);
    cond_init(&ahead->room);
    nx_code code = thread_start(&ahead->thread, "journal-ahead", run_ahead, ahead, err);
    if (code != NX_OK) {
        journal_ahead_free(ahead);
        return code;
    }
    *out_ahead = ahead;
    return NX_OK;
}

void journal_ahead_free(struct journal_ahead *ahead)
{
    if (ahead == NULL)
        return;
    mutex_lock(&ahead->lock);
    ahead->is_stopping = true;
    cond_signal(&ahead->work);
    mutex_unlock(&ahead->lock);
    thread_join(&ahead->thread);
    for (size_t i = 0; i < AHEAD_RECORDS; i++)
        nx_buf_deinit(&ahead->items[i].bytes);
    cond_deinit(&ahead->work);
    cond_deinit(&ahead->room);
    mutex_deinit(&ahead->lock);
    nx_free(ahead);
}
