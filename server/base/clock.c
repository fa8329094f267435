/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - the machine's clocks and one that is turned by hand. */
#include "narthex/base/clock.h"

#include "narthex/base/assert.h"

#include <stdatomic.h>
#include <time.h>

static int64_t real_wall_ms(const struct clock *clock)
{
    (void)clock;
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    NX_ASSERT(failed == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t real_mono_ns(const struct clock *clock)
{
    (void)clock;
    struct timespec now;
    int failed = clock_gettime(CLOCK_MONOTONIC, &now);
    NX_ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

const struct clock *clock_real(void)
{
    static const struct clock real = {.wall_ms = real_wall_ms, .mono_ns = real_mono_ns};
    return &real;
}

static int64_t manual_wall_ms(const struct clock *clock)
{
    const struct clock_manual *manual = (const struct clock_manual *)clock;
    return atomic_load_explicit(&manual->now_ms, memory_order_acquire);
}

static uint64_t manual_mono_ns(const struct clock *clock)
{
    const struct clock_manual *manual = (const struct clock_manual *)clock;
    return atomic_load_explicit(&manual->now_ns, memory_order_acquire);
}

void clock_manual_init(struct clock_manual *manual, int64_t now_ms)
{
    manual->clock = (struct clock){.wall_ms = manual_wall_ms, .mono_ns = manual_mono_ns};
    atomic_init(&manual->now_ms, now_ms);
    atomic_init(&manual->now_ns, 1);
}

void clock_manual_advance(struct clock_manual *manual, int64_t by_ms)
{
    NX_ASSERT(by_ms >= 0);
    atomic_fetch_add_explicit(&manual->now_ns, (uint64_t)by_ms * 1000000, memory_order_acq_rel);
    atomic_fetch_add_explicit(&manual->now_ms, by_ms, memory_order_acq_rel);
}
