/* storage_support.h - a store in a scratch directory, and a slow, obvious twin to compare it with. */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/rand.h"
#include "narthex/storage/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TWIN_SERIES_MAX 64
#define TWIN_START_MS   INT64_C(1700000000000)

/* Series i has the labels {__name__="metric_<i % 4>", series="<i>", pod="pod-<i % 8>"}. Of one time the first value
 * stays. */
struct twin_series {
    int64_t *times_ms;
    double *values;
    size_t count;
    size_t cap;
};
struct twin {
    struct twin_series series[TWIN_SERIES_MAX];
};
void twin_deinit(struct twin *twin);
/* False: another value is there for this time. */
bool twin_add(struct twin *twin, unsigned series, int64_t time_ms, double value);
/* Labels in `items` (three), text in `text` (at least 64 bytes). */
struct labels twin_labels(unsigned series, struct label items[3], char text[64]);

struct store_scratch {
    char path[512];
    struct clock_manual clock;
    const struct io *io; /* io_real unless set */
    struct store_options options;
};
void store_scratch_make(struct store_scratch *scratch);
void store_scratch_remove(struct store_scratch *scratch);
struct store *store_test_open(struct store_scratch *scratch, struct store_open_result *out_result);
void store_test_close(struct store *store);

/* Until the commit that covers what was written; its code. */
nx_code store_test_wait(struct store *store);

/* One request: samples of several series. Waits for the commit; its code. */
struct test_request {
    unsigned series[256];
    struct sample samples[256];
    size_t count;
};
/* Adds to the twin what the store accepted. */
nx_code store_test_write(struct store *store, const struct test_request *request,
                         struct twin *twin);
/* Random samples around the clock's now, some late, some again. */
void test_request_fill(struct test_request *request, struct rand_state *rand, int64_t now_ms,
                       unsigned series_max);

/* Every series of the twin in the range comes back from the store, and nothing else. `arena_bytes` 0: no limit. */
void store_test_compare(struct store *store, const struct twin *twin, int64_t min_ms,
                        int64_t max_ms);

/* A disk that fails while other threads use it (io_faulty's rules may not change then): pwrite or fdatasync, with `sys`
 * while that is not 0. */
struct gate_io {
    struct io io; /* first */
    _Atomic int pwrite_sys;
    _Atomic int fdatasync_sys;
};
void gate_io_init(struct gate_io *gate);
