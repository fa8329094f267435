/* token_bucket.h - so many in a minute, with bursts of a minute's worth.
 *
 * Kept as one number, the time at which the bucket would be full again: each token moves it on, and none is to be had
 * when it lies more than a minute ahead.
 *
 * Threads  any, without a lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct token_bucket {
    uint64_t per_minute;         /* [I] 0: no limit */
    _Atomic uint64_t full_at_ns; /* [A] relaxed: monotonic */
};

void token_bucket_init(struct token_bucket *bucket, uint64_t per_minute);
bool token_bucket_take(struct token_bucket *bucket, uint64_t now_ns);
