/* SPDX-License-Identifier: Apache-2.0 */
/* token_bucket.c - a bucket as one moment in time. */
#include "narthex/base/token_bucket.h"

#define MINUTE_NS UINT64_C(60000000000)

void token_bucket_init(struct token_bucket *bucket, uint64_t per_minute)
{
    /* More than one a nanosecond cannot be told apart from no limit. */
    bucket->per_minute = per_minute > MINUTE_NS ? 0 : per_minute;
    atomic_init(&bucket->full_at_ns, 0);
}

bool token_bucket_take(struct token_bucket *bucket, uint64_t now_ns)
{
    if (bucket->per_minute == 0)
        return true;
    uint64_t step_ns = MINUTE_NS / bucket->per_minute;
    uint64_t full_at = atomic_load_explicit(&bucket->full_at_ns, memory_order_relaxed);
    for (;;) {
        uint64_t next = (full_at > now_ns ? full_at : now_ns) + step_ns;
        if (next - now_ns > MINUTE_NS)
            return false;
        if (atomic_compare_exchange_weak_explicit(&bucket->full_at_ns, &full_at, next,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    }
}
