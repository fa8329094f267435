/* SPDX-License-Identifier: Apache-2.0 */
/* journal_append.c - the commit: buffers -> records -> one write -> one fdatasync.
 *
 * In       the shards' pending buffers, borrowed
 * Out      their bytes in the current segment, durable; a number
 * Fails    NX_E_FULL, NX_E_IO: the segment at hand is left for good, and the same buffers go to another with the
 *          next call
 *
 *   file   | header page | commit 1 . . . pad | commit 2 . pad | ... |
 *            \__ one write for a segment's first commit __/
 *
 * A commit that would not fit the rest of the segment begins a new one, by its upper bound: the encoder needs to
 * know the place of every record before it writes it. A giant commit is cut in several, each synced.
 */
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"
#include "narthex/codec/varint.h"

#include "journal_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define COMMIT_BUFFER_KEPT  (8u << 20)
#define JOURNAL_BUFFERS_MAX 1024u /* far above the head's shards; below the samples of a record */

static_assert(JOURNAL_SEGMENT_MIN >
                  JOURNAL_PAGE_BYTES + JOURNAL_COMMIT_HEADER + 64 + JOURNAL_RECORD_SAMPLES * 26,
              "the largest record of samples fits the smallest segment");
static_assert(JOURNAL_SEGMENT_MIN >= JOURNAL_PAGE_BYTES + JOURNAL_COMMIT_HEADER +
                                         JOURNAL_RECORD_HEADER + JOURNAL_ENTRIES_RAW +
                                         JOURNAL_BLOB_BYTES_MAX + 64,
              "so does one of side entries");

/* Where we are in the buffers, and the commit being built in journal->out. */
struct commit_build {
    struct journal *journal;
    uint64_t bound; /* of all that is not encoded yet */
    uint64_t limit; /* bytes that this commit may have */
    uint32_t record_count;
    uint64_t sample_count;
    uint64_t blob_count; /* of all commits of this call */
};

static size_t entries_bound(size_t raw_bytes)
{
    return JOURNAL_RECORD_HEADER + raw_bytes + 8;
}

static size_t sample_total(struct journal_buffer *const *buffers, size_t count)
{
    size_t samples = 0;
    for (size_t i = 0; i < count; i++)
        samples += buffers[i]->sample_count;
    return samples;
}

/* Records that `samples` of `buffer_count` buffers are spread over: each takes its share of every buffer, rounded
 * up. */
static size_t record_count_of(size_t samples, size_t buffer_count)
{
    size_t per_record = JOURNAL_RECORD_SAMPLES - buffer_count;
    return (samples + per_record - 1) / per_record;
}

static uint64_t buffers_bound(struct journal_buffer *const *buffers, size_t count)
{
    uint64_t bound = JOURNAL_COMMIT_HEADER;
    for (size_t i = 0; i < count; i++) {
        uint64_t raw = buffers[i]->definitions.len;
        bound += raw + (raw / JOURNAL_ENTRIES_RAW + 1) * entries_bound(0);
        for (unsigned k = 0; k < JOURNAL_BLOB_KINDS; k++) {
            raw = buffers[i]->blobs[k].len;
            bound += raw + (raw / JOURNAL_ENTRIES_RAW + 1) * entries_bound(0);
        }
    }
    size_t samples = sample_total(buffers, count);
    return bound + samples * (journal_samples_bound(1) - journal_samples_bound(0)) +
           record_count_of(samples, count) * journal_samples_bound(0);
}

static void commit_begin(struct commit_build *build)
{
    struct journal *journal = build->journal;
    uint64_t left = journal->current->capacity - journal->current->end;
    build->limit = left < JOURNAL_COMMIT_BYTES_MAX ? left : JOURNAL_COMMIT_BYTES_MAX;
    build->record_count = 0;
    build->sample_count = 0;
    nx_buf_reset(&journal->out);
    nx_buf_extend(&journal->out, JOURNAL_PAGE_BYTES + JOURNAL_COMMIT_HEADER);
}

static uint64_t commit_bytes(const struct commit_build *build)
{
    return build->journal->out.len - JOURNAL_PAGE_BYTES;
}

/* A segment in which what is left to encode fits, as far as any can hold it, and an empty commit at its end. */
static nx_code commit_place(struct commit_build *build, struct nx_err *err)
{
    struct journal *journal = build->journal;
    if (journal->current != NULL) {
        uint64_t left = journal->current->capacity - journal->current->end;
        if (build->bound > left && journal->current->end > JOURNAL_PAGE_BYTES)
            journal_retire_current(journal);
    }
    if (journal->current == NULL) {
        nx_code code = journal_roll(journal, err);
        if (code != NX_OK)
            return code;
    }
    commit_begin(build);
    return NX_OK;
}

/* Writes and syncs; the directory too when the file is new. */
static nx_code commit_write(struct commit_build *build, uint64_t begin, struct nx_err *err)
{
    struct journal *journal = build->journal;
    struct journal_segment *segment = journal->current;
    const uint8_t *data = journal->out.data + JOURNAL_PAGE_BYTES;
    size_t bytes = journal->out.len - JOURNAL_PAGE_BYTES;
    uint64_t at = begin;
    if (begin == JOURNAL_PAGE_BYTES) {
        journal_segment_header_put(journal->out.data, segment);
        data = journal->out.data;
        bytes = journal->out.len;
        at = 0;
    }
    nx_code code = journal->io->pwrite(journal->io, journal->fd, data, bytes, at, err);
    if (code != NX_OK)
        return nx_err_wrap(err, "%s", segment->path);
    journal->io->crash_point(journal->io, "journal_written");
    code = journal->io->fdatasync(journal->io, journal->fd, err);
    if (code == NX_OK)
        code = io_check_linked(journal->fd, err);
    if (code != NX_OK)
        return nx_err_wrap(err, "%s", segment->path);
    if (segment->is_new_file) {
        code = io_sync_dir(journal->io, journal->dir, err);
        if (code != NX_OK)
            return code;
        segment->is_new_file = false;
    }
    journal->io->crash_point(journal->io, "journal_synced");
    metrics_add(METRIC_JOURNAL_BYTES, bytes);
    return NX_OK;
}

/* Completes the commit in journal->out and makes it durable. */
static nx_code commit_end(struct commit_build *build, struct nx_err *err)
{
    struct journal *journal = build->journal;
    struct journal_segment *segment = journal->current;
    uint64_t begin = segment->end;
    uint64_t bytes = commit_bytes(build);
    NX_ASSERT(bytes <= build->limit && begin % JOURNAL_PAGE_BYTES == 0);
    struct journal_commit_header header = {
        .number = journal->last_commit + 1,
        .epoch = segment->epoch,
        .sequence = segment->sequence,
        .sample_count = build->sample_count,
        .bytes = (uint32_t)bytes,
        .record_count = build->record_count,
    };
    journal_commit_header_put(journal->out.data + JOURNAL_PAGE_BYTES, &header, begin);
    size_t padding = (size_t)(journal_align(bytes, JOURNAL_PAGE_BYTES) - bytes);
    if (padding > 0)
        memset(nx_buf_extend(&journal->out, padding), 0, padding);
    nx_code code = commit_write(build, begin, err);
    if (code != NX_OK)
        return code;
    mutex_lock(&journal->lock);
    journal->last_commit = header.number;
    segment->last_commit = header.number;
    segment->end = begin + bytes + padding;
    segment->sample_count += build->sample_count;
    if (segment->file_bytes < segment->end)
        segment->file_bytes = segment->end;
    mutex_unlock(&journal->lock);
    journal->tail_sequence = segment->sequence;
    journal->tail_end = segment->end;
    metrics_add(METRIC_JOURNAL_COMMITS, 1);
    metrics_add(METRIC_JOURNAL_SAMPLES, build->sample_count);
    return NX_OK;
}

/* Makes room for a record of at most `bytes`: ends this commit and begins another when it would not fit. */
static nx_code commit_make_room(struct commit_build *build, size_t bytes, struct nx_err *err)
{
    if (commit_bytes(build) + bytes <= build->limit)
        return NX_OK;
    nx_code code = NX_OK;
    if (build->record_count > 0)
        code = commit_end(build, err);
    if (code == NX_OK)
        code = commit_place(build, err);
    if (code != NX_OK || commit_bytes(build) + bytes <= build->limit)
        return code;
    if (build->journal->current->end >
        JOURNAL_PAGE_BYTES) { /* a fresh segment holds more than the rest of this one */
        journal_retire_current(build->journal);
        code = commit_place(build, err);
    }
    if (code == NX_OK && commit_bytes(build) + bytes > build->limit)
        code = nx_err_set(err, NX_E_LIMIT,
                          "a series definition of %zu bytes exceeds the journal's commit limit",
                          bytes);
    return code;
}

static uint64_t record_offset(const struct commit_build *build)
{
    return build->journal->current->end + commit_bytes(build);
}

/* Definitions or side entries: whole entries, cut into records of about JOURNAL_ENTRIES_RAW. */
static nx_code put_entries(struct commit_build *build, enum journal_record_type type,
                           struct nx_bytes entries, struct nx_err *err)
{
    struct byte_reader reader = byte_reader_of(entries);
    while (byte_reader_left(&reader) > 0) {
        const uint8_t *first = reader.next;
        size_t count = 0;
        size_t bytes = 0;
        while (byte_reader_left(&reader) > 0 && bytes < JOURNAL_ENTRIES_RAW) {
            uint64_t entry = byte_reader_varint(&reader);
            byte_reader_take(&reader, entry);
            NX_ASSERT(!reader.is_bad); /* journal_buffer.c wrote it */
            bytes = (size_t)(reader.next - first);
            count++;
        }
        nx_code code = commit_make_room(build, entries_bound(bytes), err);
        if (code != NX_OK)
            return code;
        journal_record_put_entries(type, (struct nx_bytes){.data = first, .len = bytes}, count,
                                   build->journal->current->epoch, record_offset(build),
                                   &build->journal->out);
        build->record_count++;
        build->bound -= bytes;
    }
    return NX_OK;
}

/* Fills the codec's columns with part `index` of `parts` of every buffer: samples that arrived at about the same
 * time, so that a record has few distinct times. The order within a buffer is kept. Returns the number of samples. */
static size_t gather_samples(struct journal_codec *codec, struct journal_buffer *const *buffers,
                             size_t buffer_count, size_t index, size_t parts)
{
    size_t filled = 0;
    for (size_t i = 0; i < buffer_count; i++) {
        const struct journal_buffer *buffer = buffers[i];
        size_t begin = buffer->sample_count * index / parts;
        size_t part = buffer->sample_count * (index + 1) / parts - begin;
        NX_ASSERT(filled + part <= JOURNAL_RECORD_SAMPLES);
        if (part == 0)
            continue;
        memcpy(codec->slots + filled, buffer->slots + begin, part * sizeof(*buffer->slots));
        memcpy(codec->times_ms + filled, buffer->times_ms + begin,
               part * sizeof(*buffer->times_ms));
        memcpy(codec->value_bits + filled, buffer->value_bits + begin,
               part * sizeof(*buffer->value_bits));
        filled += part;
    }
    return filled;
}

static nx_code put_samples(struct commit_build *build, struct journal_buffer *const *buffers,
                           size_t buffer_count, struct nx_err *err)
{
    struct journal *journal = build->journal;
    size_t parts = record_count_of(sample_total(buffers, buffer_count), buffer_count);
    for (size_t i = 0; i < parts; i++) {
        size_t count = gather_samples(journal->codec, buffers, buffer_count, i, parts);
        if (count == 0)
            continue;
        size_t bound = journal_samples_bound(count);
        nx_code code = commit_make_room(build, bound, err);
        if (code != NX_OK)
            return code;
        journal_record_put_samples(journal->codec, count, journal->current->epoch,
                                   record_offset(build), &journal->out);
        build->record_count++;
        build->sample_count += count;
        build->bound -= bound - journal_samples_bound(0);
    }
    return NX_OK;
}

/* Kind by kind. Those of several buffers share a record: a commit has few of them, and records compress better. */
static nx_code put_blobs(struct commit_build *build, struct journal_buffer *const *buffers,
                         size_t buffer_count, struct nx_err *err)
{
    struct nx_buf *joined = &build->journal->joined;
    nx_code code = NX_OK;
    for (unsigned kind = 0; kind < JOURNAL_BLOB_KINDS && code == NX_OK; kind++) {
        size_t count = 0;
        nx_buf_reset(joined);
        for (size_t i = 0; i < buffer_count; i++) {
            nx_buf_append(joined, buffers[i]->blobs[kind].data, buffers[i]->blobs[kind].len);
            count += buffers[i]->blob_counts[kind];
        }
        code = put_entries(build, (enum journal_record_type)(JOURNAL_BLOB_HISTOGRAM + kind),
                           nx_buf_bytes(joined), err);
        if (code == NX_OK)
            build->blob_count += count;
    }
    if (joined->cap > COMMIT_BUFFER_KEPT)
        nx_buf_deinit(joined);
    return code;
}

static bool buffer_is_empty(const struct journal_buffer *buffer)
{
    size_t blobs = 0;
    for (unsigned i = 0; i < JOURNAL_BLOB_KINDS; i++)
        blobs += buffer->blob_counts[i];
    return buffer->sample_count + buffer->definition_count + blobs == 0;
}

/* ---- settle ---- */

static nx_code rewrite(struct journal *journal, const char *path, uint64_t begin, uint64_t end,
                       const uint8_t *header, struct nx_err *err)
{
    int fd;
    nx_code code = journal->io->open(journal->io, path, O_RDWR, 0, &fd, err);
    if (code != NX_OK)
        return code;
    size_t bytes = (size_t)(end - begin);
    size_t got = 0;
    uint8_t *data = nx_alloc(bytes);
    code = journal->io->pread(journal->io, fd, data, bytes, begin, &got, err);
    if (code == NX_OK) /* a torn file may lack some padding */
        code = journal->io->pwrite(journal->io, fd, data, got, begin, err);
    if (code == NX_OK && header != NULL)
        code = journal->io->pwrite(journal->io, fd, header, JOURNAL_PAGE_BYTES, 0, err);
    if (code == NX_OK)
        code = journal->io->fdatasync(journal->io, fd, err);
    nx_free(data);
    struct nx_err ignored;
    nx_ignore(journal->io->close(journal->io, fd, &ignored));
    if (code == NX_OK)
        code = io_sync_dir(journal->io, journal->dir, err);
    return code == NX_OK ? NX_OK : nx_err_wrap(err, "settle %s", path);
}

/* The last replayed commit was read back, but perhaps only from memory, and a failed sync would not be told again:
 * the same bytes are written once more before anything that builds on them is acknowledged. */
static nx_code settle(struct journal *journal, struct nx_err *err)
{
    mutex_lock(&journal->lock);
    char *path = journal->unsettled.path == NULL ? NULL : nx_strdup(journal->unsettled.path);
    uint64_t begin = journal->unsettled.begin;
    uint64_t end = journal->unsettled.end;
    uint8_t header[JOURNAL_PAGE_BYTES];
    bool has_header = journal->unsettled.header != NULL;
    if (has_header)
        memcpy(header, journal->unsettled.header, sizeof(header));
    mutex_unlock(&journal->lock);
    if (path == NULL)
        return NX_OK;
    nx_code code = rewrite(journal, path, begin, end, has_header ? header : NULL, err);
    nx_free(path);
    if (code != NX_OK)
        return code;
    mutex_lock(&journal->lock);
    journal_unsettled_clear(journal);
    mutex_unlock(&journal->lock);
    return NX_OK;
}

/* ---- commit ---- */

static nx_code commit_buffers(struct journal *journal, struct journal_buffer *const *buffers,
                              size_t buffer_count, struct nx_err *err)
{
    struct commit_build build = {.journal = journal, .bound = buffers_bound(buffers, buffer_count)};
    nx_code code = commit_place(&build, err);
    for (size_t i = 0; i < buffer_count && code == NX_OK; i++)
        code = put_entries(&build, JOURNAL_RECORD_DEFINITIONS,
                           nx_buf_bytes(&buffers[i]->definitions), err);
    if (code == NX_OK)
        code = put_samples(&build, buffers, buffer_count, err);
    if (code == NX_OK)
        code = put_blobs(&build, buffers, buffer_count, err);
    if (code == NX_OK && build.record_count > 0)
        code = commit_end(&build, err);
    if (code == NX_OK)
        metrics_add(METRIC_JOURNAL_BLOBS, build.blob_count);
    if (journal->out.cap > COMMIT_BUFFER_KEPT)
        nx_buf_deinit(&journal->out);
    return code;
}

nx_code journal_commit(struct journal *journal, struct journal_buffer *const *buffers,
                       size_t buffer_count, uint64_t *out_commit, struct nx_err *err)
{
    NX_ASSERT(journal->is_replayed && buffer_count <= JOURNAL_BUFFERS_MAX);
    nx_code code = settle(journal, err);
    bool is_empty = true;
    for (size_t i = 0; i < buffer_count; i++)
        is_empty = is_empty && buffer_is_empty(buffers[i]);
    if (code == NX_OK && !is_empty) {
        uint64_t begun_ns = clock_mono_ns(clock_real());
        code = commit_buffers(journal, buffers, buffer_count, err);
        if (code == NX_OK)
            metrics_observe(METRIC_JOURNAL_COMMIT_SECONDS,
                            (double)(clock_mono_ns(clock_real()) - begun_ns) / 1e9);
        else
            journal_retire_current(journal);
    }
    if (code != NX_OK) {
        metrics_add(METRIC_JOURNAL_FAILURES, 1);
        return code;
    }
    *out_commit = journal->last_commit;
    return NX_OK;
}

uint64_t journal_cut(struct journal *journal)
{
    journal_retire_current(journal);
    return journal->last_commit;
}
