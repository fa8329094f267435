/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_journal.c - a segment's bytes into the replay, and payloads into the record decoders: any answer, never a crash.
 *
 * The first byte chooses: 0 the rest is a segment file as it is; 1 it is the payload of samples, 2 of definitions,
 * 3 of side entries; else it becomes the records of a commit whose checksums are right, so that what is behind them
 * is reached.
 */
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"

#include "server/head/journal_internal.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static nx_code define(void *context, uint32_t slot, struct labels labels, struct nx_err *err)
{
    (void)err;
    uint64_t *sum = context;
    *sum += slot;
    for (size_t i = 0; i < labels.count; i++)
        *sum += labels.items[i].name.len + (uint8_t)labels.items[i].value.data[0];
    return NX_OK;
}

static nx_code samples(void *context, const uint32_t *slots, const int64_t *times_ms,
                       const uint64_t *value_bits, size_t count, struct nx_err *err)
{
    (void)err;
    uint64_t *sum = context;
    for (size_t i = 0; i < count; i++) {
        NX_ASSERT(slots[i] < JOURNAL_SLOT_LIMIT);
        *sum += slots[i] + (uint64_t)times_ms[i] + value_bits[i];
    }
    return NX_OK;
}

static nx_code blob(void *context, enum journal_blob_kind kind, uint32_t slot, int64_t time_ms,
                    struct nx_bytes payload, struct nx_err *err)
{
    (void)err;
    uint64_t *sum = context;
    NX_ASSERT(kind >= JOURNAL_BLOB_HISTOGRAM && kind <= JOURNAL_BLOB_METADATA);
    NX_ASSERT(slot < JOURNAL_SLOT_LIMIT && payload.len <= JOURNAL_BLOB_BYTES_MAX);
    *sum += slot + (uint64_t)time_ms;
    for (size_t i = 0; i < payload.len; i++)
        *sum += payload.data[i];
    return NX_OK;
}

static uint64_t sum;
static const struct journal_visitor visitor = {
    .context = &sum, .define = define, .samples = samples, .blob = blob};

static const char *scratch_dir(void)
{
    static char dir[64];
    if (dir[0] == '\0') {
        snprintf(dir, sizeof(dir), "/dev/shm/fuzz-journal-%d", (int)getpid());
        struct nx_err err;
        if (io_real()->mkdir(io_real(), dir, &err) != NX_OK)
            abort();
    }
    return dir;
}

static void replay_file(const uint8_t *data, size_t size)
{
    char path[128];
    char quarantine[128];
    struct nx_err err;
    snprintf(path, sizeof(path), "%s/1.nxj", scratch_dir());
    snprintf(quarantine, sizeof(quarantine), "%s/q", scratch_dir());
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    struct journal_options options = {.io = io_real(),
                                      .dir = scratch_dir(),
                                      .quarantine_dir = quarantine,
                                      .segment_bytes = JOURNAL_SEGMENT_MIN};
    struct journal *journal;
    if (journal_open(&journal, &options, &err) == NX_OK) {
        struct journal_replay_result result;
        nx_ignore(journal_replay(journal, size % 3, &visitor, &result, &err));
        nx_ignore(journal_close(journal, &err));
    }
    nx_ignore(io_remove_tree(io_real(), quarantine, &err));
    unlink(path);
}

/* `data` as the records of one commit: lengths and kinds are its own, checksums ours. */
static void replay_records(const uint8_t *data, size_t size)
{
    struct nx_buf file = {0};
    struct journal_segment segment = {
        .capacity = JOURNAL_SEGMENT_MIN, .sequence = 1, .epoch = 9, .first_commit = 1};
    journal_segment_header_put(nx_buf_extend(&file, JOURNAL_PAGE_BYTES), &segment);
    struct journal_commit_header commit = {
        .number = 1, .epoch = 9, .sequence = 1, .record_count = UINT32_MAX};
    nx_buf_extend(&file, JOURNAL_COMMIT_HEADER);
    size_t at = file.len;
    nx_buf_append(&file, data, size);
    while (file.len - at >= JOURNAL_RECORD_HEADER) {
        uint8_t *header = file.data + at;
        size_t left = file.len - at - JOURNAL_RECORD_HEADER;
        uint32_t payload = le32_get(header + 16) % 4096;
        if (payload > left)
            payload = (uint32_t)left;
        le32_put(header + 16, payload);
        le32_put(header + 20, header[29] == 0 ? payload : le32_get(header + 20) % 100000);
        le64_put(header, nx_hash64(header + 8, JOURNAL_RECORD_HEADER - 8 + payload, 9 ^ at));
        at += (size_t)journal_align(JOURNAL_RECORD_HEADER + payload, 8);
        if (at > file.len)
            break;
    }
    commit.bytes = (uint32_t)(file.len - JOURNAL_PAGE_BYTES);
    journal_commit_header_put(file.data + JOURNAL_PAGE_BYTES, &commit, JOURNAL_PAGE_BYTES);
    replay_file(file.data, file.len);
    nx_buf_deinit(&file);
}

static void decode_payload(uint8_t type, const uint8_t *data, size_t size)
{
    struct journal_record record = {
        .type = type,
        .count = size < 1 ? 1 : 1u + data[0] * 16u,
        .raw_bytes = (uint32_t)size,
        .payload_bytes = (uint32_t)size,
    };
    struct nx_bytes payload = {.data = data, .len = size};
    struct journal_codec *codec = nx_calloc(1, sizeof(*codec));
    bool is_visitor;
    struct nx_err err;
    if (type == JOURNAL_RECORD_DEFINITIONS)
        nx_ignore(
            journal_record_get_definitions(codec, &record, payload, &visitor, &is_visitor, &err));
    else if (type == JOURNAL_RECORD_SAMPLE_COLUMNS)
        nx_ignore(journal_record_get_samples(codec, &record, payload));
    else
        nx_ignore(journal_record_get_blobs(codec, &record, payload, &visitor, &is_visitor, &err));
    journal_codec_deinit(codec);
    nx_free(codec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > (1u << 20))
        return 0;
    switch (data[0]) {
    case 0:
        replay_file(data + 1, size - 1);
        break;
    case 1:
        decode_payload(JOURNAL_RECORD_SAMPLE_COLUMNS, data + 1, size - 1);
        break;
    case 2:
        decode_payload(JOURNAL_RECORD_DEFINITIONS, data + 1, size - 1);
        break;
    case 3:
        decode_payload(JOURNAL_RECORD_EXEMPLARS, data + 1, size - 1);
        break;
    default:
        replay_records(data + 1, size - 1);
        break;
    }
    return 0;
}
