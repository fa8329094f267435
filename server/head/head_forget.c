/* SPDX-License-Identifier: Apache-2.0 */
/* head_forget.c - after a delete: the last sample of a series that was flushed may be stored again.
 *
 * A series remembers its last sample over a flush, and takes one of that time for a repetition. When what was flushed
 * was deleted, that is wrong: the sender means what it says. The time itself stays, so that the stream keeps ascending;
 * a sample at or before it goes to the late list.
 */
#include "head_internal.h"

#define FORGET_SERIES 256u /* chosen: some 10 us under the lock */

static void forget_some(struct head_shard *shard, uint32_t from, uint32_t end)
    NX_REQUIRES(shard->lock)
{
    for (uint32_t local = from; local < end; local++) {
        struct head_hot *hot = hot_live(shard, local);
        /* A last sample that is still here answers for itself. */
        if (hot != NULL && hot->pending == 0 && hot->stream == 0)
            hot->flags &= (uint8_t)~HOT_HAS_LAST;
    }
}

void head_forget_flushed(struct head *head)
{
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        struct head_shard *shard = &head->shards[s];
        mutex_lock(&shard->lock);
        uint32_t end = shard->local_count;
        for (uint32_t local = 0; local < end; local += FORGET_SERIES) {
            forget_some(shard, local, end - local > FORGET_SERIES ? local + FORGET_SERIES : end);
            lock_pause(&shard->lock);
        }
        mutex_unlock(&shard->lock);
    }
}
