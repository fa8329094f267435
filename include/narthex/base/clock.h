/* clock.h - time, injected so that tests can turn it by hand.
 *
 * Wall time is int64_t milliseconds since the Unix epoch (Prometheus' unit), monotonic time is uint64_t nanoseconds.
 */
#pragma once

#include <stdint.h>

struct clock {
    int64_t (*wall_ms)(const struct clock *clock);
    uint64_t (*mono_ns)(const struct clock *clock);
};

/* The machine's clocks. Never NULL, process lifetime. */
const struct clock *clock_real(void);

/* A clock that stands still until it is moved; may be moved by one thread while others read. */
struct clock_manual {
    struct clock clock; /* first: &manual.clock is the handle */
    _Atomic int64_t now_ms;
    _Atomic uint64_t now_ns;
};
void clock_manual_init(struct clock_manual *manual, int64_t now_ms);
void clock_manual_advance(struct clock_manual *manual, int64_t by_ms);

static inline int64_t clock_wall_ms(const struct clock *clock)
{
    return clock->wall_ms(clock);
}

static inline uint64_t clock_mono_ns(const struct clock *clock)
{
    return clock->mono_ns(clock);
}
