/* journal_support.h - what the journal's tests share: a scratch directory, a log of what was committed, a visitor. */
#pragma once

#include "narthex/base/io.h"
#include "narthex/base/rand.h"
#include "narthex/head/journal.h"

#include "journal_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The largest samples_count that a test commits at once. */
struct journal_log_sample {
    uint32_t slot;
    int64_t time_ms;
    uint64_t bits;
};

/* Everything handed over or committed, in order; definitions as text "slot {labels}" lines, side entries as
 * "slot time payload" lines by kind. */
struct journal_log {
    struct journal_log_sample *samples;
    size_t count;
    size_t cap;
    struct nx_buf definitions;
    size_t definition_count;
    struct nx_buf blobs[JOURNAL_BLOB_KINDS];
    size_t blob_count;
    nx_code fail_with; /* the visitor's answer, NX_OK normally */
};
void journal_log_deinit(struct journal_log *log);
void journal_log_add(struct journal_log *log, uint32_t slot, int64_t time_ms, uint64_t bits);
void journal_log_define(struct journal_log *log, uint32_t slot, struct labels labels);
void journal_log_blob(struct journal_log *log, enum journal_blob_kind kind, uint32_t slot,
                      int64_t time_ms, struct nx_bytes payload);
struct journal_visitor journal_log_visitor(struct journal_log *log);
/* The first `count` samples of `whole` are exactly those of `part`. */
bool journal_log_is_prefix(const struct journal_log *part, const struct journal_log *whole);
bool journal_log_equal(const struct journal_log *a, const struct journal_log *b);
/* Every sample and every side entry of `part` is in `whole`, in the same order. */
bool journal_log_is_subsequence(const struct journal_log *part, const struct journal_log *whole);

/* A directory under $TMPDIR or /tmp, removed by scratch_remove. */
struct scratch {
    char path[512];
    char journal[600];
    char quarantine[600];
};
void scratch_make(struct scratch *scratch);
void scratch_remove(struct scratch *scratch);
size_t scratch_count(const char *dir, const char *suffix); /* entries whose name ends so */

/* Journals that are opened from now on replay by two threads. */
extern bool journal_test_is_ahead;
struct journal *journal_test_open(const struct scratch *scratch, const struct io *io,
                                  uint64_t segment_bytes);
/* Opens and replays above `released` into `log`; fails the test when that fails. */
struct journal *journal_test_replay(const struct scratch *scratch, const struct io *io,
                                    uint64_t released, struct journal_log *log,
                                    struct journal_replay_result *out);
void journal_test_close(struct journal *journal);

/* A request's worth of samples: `count` of `shard`'s slots below `slots`, values of many kinds, into buffer and log
 * (may be NULL). */
void journal_test_fill_shard(struct rand_state *rand, struct journal_buffer *buffer, unsigned shard,
                             uint32_t slots, size_t count, int64_t time_ms,
                             struct journal_log *log);
void journal_test_fill(struct rand_state *rand, struct journal_buffer *buffer, uint32_t slots,
                       size_t count, int64_t time_ms, struct journal_log *log);
/* By slot, each slot's samples in order: what is promised for samples of several buffers. */
void journal_log_sort(struct journal_log *log);
/* Commits one buffer; returns its code. */
nx_code journal_test_commit(struct journal *journal, struct journal_buffer *buffer,
                            uint64_t *out_commit);
