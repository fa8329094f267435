/* SPDX-License-Identifier: Apache-2.0 */
/* journal_support.c - see the header. */
#include "journal_support.h"

#include "narthex/base/mem.h"
#include "narthex/model/staleness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void journal_log_deinit(struct journal_log *log)
{
    nx_free(log->samples);
    nx_buf_deinit(&log->definitions);
    for (unsigned i = 0; i < JOURNAL_BLOB_KINDS; i++)
        nx_buf_deinit(&log->blobs[i]);
    *log = (struct journal_log){0};
}

void journal_log_add(struct journal_log *log, uint32_t slot, int64_t time_ms, uint64_t bits)
{
    if (log->count == log->cap) {
        log->cap = log->cap == 0 ? 1024 : log->cap * 2;
        log->samples = nx_realloc_array(log->samples, log->cap, sizeof(*log->samples));
    }
    log->samples[log->count++] =
        (struct journal_log_sample){.slot = slot, .time_ms = time_ms, .bits = bits};
}

void journal_log_define(struct journal_log *log, uint32_t slot, struct labels labels)
{
    nx_buf_printf(&log->definitions, "%u ", slot);
    labels_print(labels, &log->definitions);
    nx_buf_append_byte(&log->definitions, '\n');
    log->definition_count++;
}

void journal_log_blob(struct journal_log *log, enum journal_blob_kind kind, uint32_t slot,
                      int64_t time_ms, struct nx_bytes payload)
{
    struct nx_buf *text = &log->blobs[kind - JOURNAL_BLOB_HISTOGRAM];
    nx_buf_printf(text, "%u %lld ", slot, (long long)time_ms);
    for (size_t i = 0; i < payload.len; i++)
        nx_buf_printf(text, "%02x", payload.data[i]);
    nx_buf_append_byte(text, '\n');
    log->blob_count++;
}

static nx_code visit_define(void *context, uint32_t slot, struct labels labels, struct nx_err *err)
{
    struct journal_log *log = context;
    if (log->fail_with != NX_OK)
        return nx_err_set(err, log->fail_with, "as told");
    journal_log_define(log, slot, labels);
    return NX_OK;
}

static nx_code visit_samples(void *context, const uint32_t *slots, const int64_t *times_ms,
                             const uint64_t *value_bits, size_t count, struct nx_err *err)
{
    struct journal_log *log = context;
    if (log->fail_with != NX_OK)
        return nx_err_set(err, log->fail_with, "as told");
    for (size_t i = 0; i < count; i++)
        journal_log_add(log, slots[i], times_ms[i], value_bits[i]);
    return NX_OK;
}

static nx_code visit_blob(void *context, enum journal_blob_kind kind, uint32_t slot,
                          int64_t time_ms, struct nx_bytes payload, struct nx_err *err)
{
    struct journal_log *log = context;
    if (log->fail_with != NX_OK)
        return nx_err_set(err, log->fail_with, "as told");
    journal_log_blob(log, kind, slot, time_ms, payload);
    return NX_OK;
}

struct journal_visitor journal_log_visitor(struct journal_log *log)
{
    return (struct journal_visitor){
        .context = log, .define = visit_define, .samples = visit_samples, .blob = visit_blob};
}

static bool sample_equal(const struct journal_log_sample *a, const struct journal_log_sample *b)
{
    return a->slot == b->slot && a->time_ms == b->time_ms && a->bits == b->bits;
}

bool journal_log_is_prefix(const struct journal_log *part, const struct journal_log *whole)
{
    if (part->count > whole->count)
        return false;
    for (size_t i = 0; i < part->count; i++) {
        if (!sample_equal(&part->samples[i], &whole->samples[i]))
            return false;
    }
    return true;
}

bool journal_log_equal(const struct journal_log *a, const struct journal_log *b)
{
    for (unsigned i = 0; i < JOURNAL_BLOB_KINDS; i++) {
        if (!nx_str_eq(nx_buf_str(&a->blobs[i]), nx_buf_str(&b->blobs[i])))
            return false;
    }
    return a->count == b->count && journal_log_is_prefix(a, b) &&
           nx_str_eq(nx_buf_str(&a->definitions), nx_buf_str(&b->definitions));
}

static struct nx_str line_take(struct nx_str *text)
{
    size_t length = 0;
    while (length < text->len && text->data[length] != '\n')
        length++;
    struct nx_str line = {.data = text->data, .len = length};
    length += length < text->len;
    *text = (struct nx_str){.data = text->data + length, .len = text->len - length};
    return line;
}

static bool lines_are_subsequence(struct nx_str part, struct nx_str whole)
{
    while (part.len > 0) {
        struct nx_str line = line_take(&part);
        bool is_found = false;
        while (!is_found && whole.len > 0)
            is_found = nx_str_eq(line, line_take(&whole));
        if (!is_found)
            return false;
    }
    return true;
}

bool journal_log_is_subsequence(const struct journal_log *part, const struct journal_log *whole)
{
    for (unsigned i = 0; i < JOURNAL_BLOB_KINDS; i++) {
        if (!lines_are_subsequence(nx_buf_str(&part->blobs[i]), nx_buf_str(&whole->blobs[i])))
            return false;
    }
    size_t at = 0;
    for (size_t i = 0; i < part->count; i++) {
        while (at < whole->count && !sample_equal(&part->samples[i], &whole->samples[at]))
            at++;
        if (at == whole->count)
            return false;
        at++;
    }
    return true;
}

void scratch_make(struct scratch *scratch)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch->path, sizeof(scratch->path), "%s/narthex-journal-XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(scratch->path));
    snprintf(scratch->journal, sizeof(scratch->journal), "%s/journal", scratch->path);
    snprintf(scratch->quarantine, sizeof(scratch->quarantine), "%s/quarantine", scratch->path);
}

void scratch_remove(struct scratch *scratch)
{
    struct nx_err err;
    assert_int_equal(io_remove_tree(io_real(), scratch->path, &err), NX_OK);
}

struct counting {
    struct nx_str suffix;
    size_t count;
};

static nx_code count_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    (void)is_directory;
    (void)err;
    struct counting *counting = context;
    if (nx_str_ends_with(nx_str_from(name), counting->suffix))
        counting->count++;
    return NX_OK;
}

size_t scratch_count(const char *dir, const char *suffix)
{
    struct counting counting = {.suffix = nx_str_from(suffix)};
    struct nx_err err;
    nx_ignore(io_each_entry(io_real(), dir, count_entry, &counting, &err));
    return counting.count;
}

bool journal_test_is_ahead;

struct journal *journal_test_open(const struct scratch *scratch, const struct io *io,
                                  uint64_t segment_bytes)
{
    struct journal *journal = NULL;
    struct nx_err err = {0};
    struct journal_options options = {
        .io = io,
        .dir = scratch->journal,
        .quarantine_dir = scratch->quarantine,
        .segment_bytes = segment_bytes,
        .is_replay_ahead = journal_test_is_ahead,
    };
    nx_code code = journal_open(&journal, &options, &err);
    if (code != NX_OK)
        print_error("journal_open: %s\n", err.msg);
    assert_int_equal(code, NX_OK);
    return journal;
}

struct journal *journal_test_replay(const struct scratch *scratch, const struct io *io,
                                    uint64_t released, struct journal_log *log,
                                    struct journal_replay_result *out)
{
    struct journal *journal = journal_test_open(scratch, io, JOURNAL_SEGMENT_MIN);
    struct journal_visitor visitor = journal_log_visitor(log);
    struct nx_err err = {0};
    nx_code code = journal_replay(journal, released, &visitor, out, &err);
    if (code != NX_OK)
        print_error("journal_replay: %s\n", err.msg);
    assert_int_equal(code, NX_OK);
    return journal;
}

void journal_test_close(struct journal *journal)
{
    struct nx_err err;
    assert_int_equal(journal_close(journal, &err), NX_OK);
}

static double value_of_kind(struct rand_state *rand, uint32_t slot, int64_t time_ms)
{
    uint64_t steps = (uint64_t)time_ms / 15000;
    switch (slot % 8) {
    case 0:
    case 1:
    case 2:
        return (double)slot; /* constant */
    case 3:
        return (double)(steps * 7 + rand_below(rand, 5));
    case 4:
        return (double)(rand_below(rand, 1000)) / 1000;
    case 5:
        return rand_unit(rand);
    case 6:
        return -(double)rand_below(rand, 100) * 4096;
    default:
        return float_from_bits(rand_below(rand, 4) == 0 ? STALE_NAN_BITS : rand_u64(rand));
    }
}

void journal_test_fill_shard(struct rand_state *rand, struct journal_buffer *buffer, unsigned shard,
                             uint32_t slots, size_t count, int64_t time_ms, struct journal_log *log)
{
    journal_buffer_reserve(buffer, count);
    uint32_t per_shard = slots / 16 + 1;
    uint32_t row = (uint32_t)rand_below(rand, per_shard);
    for (size_t i = 0; i < count; i++) {
        uint32_t slot = row * 16 + shard;
        int64_t at_ms =
            rand_below(rand, 10) == 0 ? time_ms - (int64_t)rand_below(rand, 20000) : time_ms;
        uint64_t bits = float_bits(value_of_kind(rand, row, time_ms));
        journal_buffer_push(buffer, slot, at_ms, bits);
        if (log != NULL)
            journal_log_add(log, slot, at_ms, bits);
        row = rand_below(rand, 8) == 0 ? (uint32_t)rand_below(rand, per_shard)
                                       : (row + 1) % per_shard;
    }
}

void journal_test_fill(struct rand_state *rand, struct journal_buffer *buffer, uint32_t slots,
                       size_t count, int64_t time_ms, struct journal_log *log)
{
    journal_test_fill_shard(rand, buffer, 3, slots, count, time_ms, log);
}

static void merge_by_slot(const struct journal_log_sample *from, struct journal_log_sample *to,
                          size_t begin, size_t middle, size_t end)
{
    size_t left = begin;
    size_t right = middle;
    for (size_t i = begin; i < end; i++) {
        bool takes_left = left < middle && (right == end || from[left].slot <= from[right].slot);
        to[i] = takes_left ? from[left++] : from[right++];
    }
}

void journal_log_sort(struct journal_log *log)
{
    struct journal_log_sample *other = nx_calloc(log->count + 1, sizeof(*other));
    for (size_t width = 1; width < log->count; width *= 2) {
        for (size_t begin = 0; begin < log->count; begin += 2 * width) {
            size_t middle = begin + width < log->count ? begin + width : log->count;
            size_t end = begin + 2 * width < log->count ? begin + 2 * width : log->count;
            merge_by_slot(log->samples, other, begin, middle, end);
        }
        memcpy(log->samples, other, log->count * sizeof(*other));
    }
    nx_free(other);
}

nx_code journal_test_commit(struct journal *journal, struct journal_buffer *buffer,
                            uint64_t *out_commit)
{
    struct nx_err err;
    struct journal_buffer *buffers[] = {buffer};
    return journal_commit(journal, buffers, 1, out_commit, &err);
}
