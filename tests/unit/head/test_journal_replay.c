/* SPDX-License-Identifier: Apache-2.0 */
/* test_journal_replay.c - torn ends, flipped bytes, stale bytes, lost files: what comes back, and what is told.
 *
 * An image is a segment's bytes with the places of its commits. Each test changes a copy, writes it into an empty
 * directory and replays it: whatever comes back must be what was committed, in order, and everything that is whole
 * must come back.
 *
 * The stored journal of tests/golden/journal_v3.nxj is made by running this program with NARTHEX_GOLDEN_WRITE=1.
 */
#include "narthex/base/hash.h"
#include "narthex/base/io_faulty.h"
#include "narthex/base/mem.h"
#include "narthex/model/staleness.h"

#include "journal_support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_COMMITS 5

struct image {
    struct nx_buf bytes;
    struct journal_log sent;
    size_t begin[IMAGE_COMMITS];      /* of each commit in the file */
    size_t end[IMAGE_COMMITS];        /* without padding */
    size_t sent_after[IMAGE_COMMITS]; /* samples up to and with each commit */
};

static void image_path(const struct scratch *scratch, const char *name, char out[700])
{
    snprintf(out, 700, "%s/%s", scratch->journal, name);
}

static void file_read(const char *path, struct nx_buf *out)
{
    struct nx_err err;
    nx_buf_reset(out);
    assert_int_equal(io_read_file(io_real(), path, 64u << 20, out, &err), NX_OK);
}

static void file_write(const char *path, const uint8_t *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void fill_small(struct journal_buffer *buffer, struct journal_log *log, unsigned commit)
{
    char pod[24];
    snprintf(pod, sizeof(pod), "pod-%u", commit);
    struct label items[] = {{.name = NX_STR("__name__"), .value = NX_STR("up")},
                            {.name = NX_STR("pod"), .value = nx_str_from(pod)}};
    struct labels labels = {.items = items, .count = 2};
    journal_buffer_define(buffer, commit * 1000, labels);
    journal_log_define(log, commit * 1000, labels);
    journal_buffer_reserve(buffer, 60);
    for (uint32_t i = 0; i < 60;
         i++) { /* slots of its own, so that no commit is coded against another */
        uint32_t slot = commit * 1000 + i;
        uint64_t bits = float_bits(1.0 / (commit + i + 3));
        journal_buffer_push(buffer, slot, 1000 * (int64_t)commit + i % 3, bits);
        journal_log_add(log, slot, 1000 * (int64_t)commit + i % 3, bits);
    }
}

/* Side entries of each kind, one without a byte. */
static void fill_blobs(struct journal_buffer *buffer, struct journal_log *log, unsigned commit)
{
    uint8_t bytes[150];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * (commit + 3) + i / 7);
    for (unsigned kind = JOURNAL_BLOB_HISTOGRAM; kind <= JOURNAL_BLOB_METADATA; kind++) {
        struct nx_bytes payload = {.data = bytes, .len = (commit * 11 + kind * 31) % sizeof(bytes)};
        int64_t time_ms = 1000 * (int64_t)commit - 3000;
        journal_buffer_push_blob(buffer, (enum journal_blob_kind)kind, commit * 1000, time_ms,
                                 payload);
        journal_log_blob(log, (enum journal_blob_kind)kind, commit * 1000, time_ms, payload);
    }
    journal_buffer_push_blob(buffer, JOURNAL_BLOB_EXEMPLAR, commit, 0, (struct nx_bytes){0});
    journal_log_blob(log, JOURNAL_BLOB_EXEMPLAR, commit, 0, (struct nx_bytes){0});
}

static void image_make(struct image *image)
{
    *image = (struct image){0};
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    struct journal_buffer buffer = {0};
    for (unsigned i = 0; i < IMAGE_COMMITS; i++) {
        fill_small(&buffer, &image->sent, i);
        fill_blobs(&buffer, &image->sent, i);
        uint64_t commit;
        assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
        journal_buffer_reset(&buffer);
        image->sent_after[i] = image->sent.count;
    }
    journal_test_close(journal);
    char path[700];
    image_path(&scratch, "00000001.nxj", path);
    file_read(path, &image->bytes);
    uint64_t epoch = le64_get(image->bytes.data + 32);
    size_t at = JOURNAL_PAGE_BYTES;
    for (unsigned i = 0; i < IMAGE_COMMITS; i++) {
        struct journal_commit_header header;
        assert_true(journal_commit_header_get(image->bytes.data + at, epoch, at, &header));
        assert_int_equal(header.number, i + 1);
        image->begin[i] = at;
        image->end[i] = at + header.bytes;
        at = (size_t)journal_align(image->end[i], JOURNAL_PAGE_BYTES);
    }
    assert_int_equal(at, image->bytes.len);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

static void image_deinit(struct image *image)
{
    nx_buf_deinit(&image->bytes);
    journal_log_deinit(&image->sent);
}

/* An empty journal directory with one file. */
static void place(const struct scratch *scratch, const uint8_t *data, size_t bytes)
{
    struct nx_err err;
    assert_int_equal(io_remove_tree(io_real(), scratch->journal, &err), NX_OK);
    assert_int_equal(io_remove_tree(io_real(), scratch->quarantine, &err), NX_OK);
    assert_int_equal(io_real()->mkdir(io_real(), scratch->journal, &err), NX_OK);
    char path[700];
    image_path(scratch, "7.nxj", path);
    file_write(path, data, bytes);
}

/* Replays what was placed, commits once more, replays again: the second life must know all of the first. */
static void check_goes_on(const struct scratch *scratch, struct journal *journal,
                          struct journal_log *got)
{
    struct journal_buffer buffer = {0};
    uint64_t commit;
    fill_small(&buffer, got, 100);
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    journal_buffer_deinit(&buffer);
    journal_test_close(journal);
    struct journal_log again = {0};
    struct journal_replay_result result;
    journal = journal_test_replay(scratch, io_real(), 0, &again, &result);
    assert_true(journal_log_equal(got, &again));
    assert_int_equal(result.last_commit, commit);
    assert_false(result.has_torn_tail);
    journal_test_close(journal);
    journal_log_deinit(&again);
}

static void test_journal_torn_tail_is_dropped(void **state)
{
    (void)state;
    struct image image;
    image_make(&image);
    struct scratch scratch;
    scratch_make(&scratch);
    size_t begin = image.begin[IMAGE_COMMITS - 1];
    size_t end = image.end[IMAGE_COMMITS - 1];
    size_t before = image.sent_after[IMAGE_COMMITS - 2];
    uint8_t *torn = nx_alloc(image.bytes.len);
    for (size_t cut = begin; cut <= end; cut++) {
        for (unsigned kind = 0; kind < 3;
             kind++) { /* a growing file, a zeroed one, a recycled one */
            memcpy(torn, image.bytes.data, image.bytes.len);
            if (kind == 1)
                memset(torn + cut, 0, image.bytes.len - cut);
            if (kind == 2) /* another use of the file left the bytes of the first commit here */
                memcpy(torn + cut, image.bytes.data + image.begin[0] + (cut - begin),
                       image.bytes.len - cut);
            place(&scratch, torn, kind == 0 ? cut : image.bytes.len);
            struct journal_log got = {0};
            struct journal_replay_result result;
            struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
            assert_true(journal_log_is_prefix(&got, &image.sent));
            assert_true(got.count == before || got.count == image.sent.count);
            if (cut == end)
                assert_int_equal(got.count, image.sent.count);
            if (cut == end)
                assert_int_equal(got.blob_count, image.sent.blob_count);
            assert_true(got.definition_count >= IMAGE_COMMITS - 1);
            assert_int_equal(result.damaged_segments, 0);
            bool is_whole =
                got.count == image.sent.count && got.blob_count == image.sent.blob_count;
            if (is_whole)
                assert_false(result.has_torn_tail);
            else if (cut >= begin + JOURNAL_COMMIT_HEADER)
                assert_true(result.has_torn_tail);
            if (cut % 67 == 0 || (is_whole && kind == 0))
                check_goes_on(&scratch, journal, &got);
            else
                journal_test_close(journal);
            journal_log_deinit(&got);
        }
    }
    nx_free(torn);
    scratch_remove(&scratch);
    image_deinit(&image);
}

static int commit_of(const struct image *image, size_t at)
{
    for (int i = 0; i < IMAGE_COMMITS; i++) {
        if (at >= image->begin[i] && at < image->end[i])
            return i;
    }
    return -1; /* header page or padding */
}

/* Any byte of the file, changed in any one bit or altogether. */
static void test_journal_flipped_byte_loses_only_its_record_and_is_told(void **state)
{
    (void)state;
    struct image image;
    image_make(&image);
    struct scratch scratch;
    scratch_make(&scratch);
    for (size_t at = 0; at < image.bytes.len; at++) {
        int commit = commit_of(&image, at);
        if (journal_test_is_ahead && at % 16 > 1 && at % 9 != 8)
            continue;
        if (commit < 0 && at >= JOURNAL_PAGE_BYTES && at % 64 != 0)
            continue; /* padding: now and then is enough */
        if (at < JOURNAL_PAGE_BYTES && at % 2048 >= JOURNAL_HEADER_BYTES && at % 64 != 0)
            continue;
        uint8_t kept = image.bytes.data[at];
        image.bytes.data[at] = (uint8_t)(kept ^ (at % 9 == 8 ? 0xffu : 1u << (at % 9)));
        place(&scratch, image.bytes.data, image.bytes.len);
        struct journal_log got = {0};
        struct journal_replay_result result;
        struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
        assert_true(journal_log_is_subsequence(&got, &image.sent));
        if (commit < 0) {
            assert_int_equal(got.count, image.sent.count);
            assert_int_equal(got.definition_count, IMAGE_COMMITS);
            assert_int_equal(got.blob_count, image.sent.blob_count);
            assert_int_equal(result.damaged_segments, 0);
        } else {
            size_t of_commit =
                image.sent_after[commit] - (commit > 0 ? image.sent_after[commit - 1] : 0);
            bool lost_something = got.count < image.sent.count ||
                                  got.definition_count < IMAGE_COMMITS ||
                                  got.blob_count < image.sent.blob_count;
            assert_true(got.blob_count + 4 >= image.sent.blob_count);
            assert_true(got.count + of_commit >= image.sent.count);
            assert_true(got.definition_count + 1 >= IMAGE_COMMITS);
            assert_true(lost_something || kept == 0); /* padding behind a record */
            bool is_last = commit == IMAGE_COMMITS - 1;
            assert_int_equal(result.damaged_segments, is_last || !lost_something ? 0 : 1);
            assert_int_equal(result.last_commit, is_last && got.definition_count < IMAGE_COMMITS
                                                     ? IMAGE_COMMITS - 1
                                                     : IMAGE_COMMITS);
        }
        if (commit == 1 && result.damaged_segments == 1 && at % 16 == 0) {
            /* it stays until a block holds what was readable, then goes aside with a reason */
            assert_non_null(strstr(result.damage, "7.nxj"));
            assert_int_equal(scratch_count(scratch.quarantine, ""), 0);
            struct nx_err err;
            assert_int_equal(journal_release(journal, journal_cut(journal), &err), NX_OK);
            assert_int_equal(scratch_count(scratch.quarantine, ""), 2);
            assert_int_equal(scratch_count(scratch.quarantine, ".reason"), 1);
            assert_int_equal(scratch_count(scratch.journal, ".nxj"), 0);
        }
        journal_test_close(journal);
        journal_log_deinit(&got);
        image.bytes.data[at] = kept;
    }
    scratch_remove(&scratch);
    image_deinit(&image);
}

/* Damage of released commits is nobody's loss: the file may be in use again. */
static void test_journal_damage_of_released_commits_is_not_told(void **state)
{
    (void)state;
    struct image image;
    image_make(&image);
    struct scratch scratch;
    scratch_make(&scratch);
    for (unsigned released = 0; released <= IMAGE_COMMITS; released++) {
        struct nx_buf changed = {0};
        nx_buf_append(&changed, image.bytes.data, image.bytes.len);
        for (unsigned i = 0; i < released; i++)
            memset(changed.data + image.begin[i], 0x5a, image.end[i] - image.begin[i]);
        place(&scratch, changed.data, changed.len);
        struct journal_log got = {0};
        struct journal_replay_result result;
        struct journal *journal = journal_test_replay(&scratch, io_real(), released, &got, &result);
        size_t before = released == 0 ? 0 : image.sent_after[released - 1];
        assert_int_equal(got.count, image.sent.count - before);
        assert_int_equal(got.definition_count, IMAGE_COMMITS - released);
        assert_int_equal(result.damaged_segments, 0);
        assert_int_equal(result.last_commit, IMAGE_COMMITS);
        assert_int_equal(result.commits, IMAGE_COMMITS - released);
        journal_test_close(journal);
        journal_log_deinit(&got);
        nx_buf_deinit(&changed);
    }
    scratch_remove(&scratch);
    image_deinit(&image);
}

/* Values are coded against earlier commits: those above the released one still decode. */
static void
test_journal_released_commits_in_the_same_segment_are_decoded_for_what_follows(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log sent = {0};
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    struct rand_state rand;
    rand_seed(&rand, 31);
    struct journal_buffer buffer = {0};
    uint64_t commit;
    for (unsigned i = 1; i <= 10; i++) {
        journal_test_fill(&rand, &buffer, 300, 500, i * 15000, i > 6 ? &sent : NULL);
        assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
        journal_buffer_reset(&buffer);
    }
    journal_test_close(journal);
    journal = journal_test_replay(&scratch, io_real(), 6, &got, &result);
    assert_true(journal_log_equal(&sent, &got));
    assert_int_equal(result.damaged_segments, 0);
    journal_test_close(journal);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&sent);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

/* A recycled segment full of valid-looking commits of its earlier use: none of them is ever taken for a new one. */
static void test_journal_stale_commits_of_a_recycled_segment_never_verify(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_log sent = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    struct journal_buffer buffer = {0};
    uint64_t commit = 0;
    for (unsigned i = 0; i < 50;
         i++) { /* all commits of one size, so that old ones stand exactly where new ones would */
        fill_small(&buffer, &sent, i);
        assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
        journal_buffer_reset(&buffer);
    }
    struct nx_err err;
    uint64_t cut = journal_cut(journal);
    assert_int_equal(journal_release(journal, cut, &err), NX_OK);
    sent.count = 0;
    nx_buf_reset(&sent.definitions);
    for (unsigned i = 0; i < 10; i++) {
        fill_small(&buffer, &sent, i);
        assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
        journal_buffer_reset(&buffer);
    }
    assert_int_equal(scratch_count(scratch.journal, ".nxj"), 1); /* the same file */
    journal_test_close(journal);
    got.count = 0;
    journal = journal_test_replay(&scratch, io_real(), cut, &got, &result);
    assert_true(journal_log_equal(&sent, &got));
    assert_int_equal(result.last_commit, 60);
    assert_int_equal(result.damaged_segments, 0);
    assert_false(result.has_torn_tail);
    journal_test_close(journal);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&sent);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

/* Several segments; returns their number. */
static size_t make_segments(const struct scratch *scratch, struct journal_log *sent)
{
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(scratch, io_real(), 0, &got, &result);
    struct journal_buffer buffer = {0};
    uint64_t commit;
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned k = 0; k < 3; k++) {
            fill_small(&buffer, sent, i * 3 + k);
            assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
            journal_buffer_reset(&buffer);
        }
        journal_cut(journal);
    }
    journal_test_close(journal);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&got);
    return scratch_count(scratch->journal, ".nxj");
}

static void test_journal_order_is_that_of_the_headers(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log sent = {0};
    assert_int_equal(make_segments(&scratch, &sent), 6);
    static const char *const names[] = {
        "zz.nxj", "5.nxj", "0.nxj", "a.nxj", "99999999999999999999.nxj", "1.nxj"};
    for (unsigned i = 0; i < 6; i++) {
        char from[700];
        char to[700];
        snprintf(from, sizeof(from), "%s/%08u.nxj", scratch.journal, i + 1);
        snprintf(to, sizeof(to), "%s/%s", scratch.journal, names[i]);
        assert_int_equal(rename(from, to), 0);
    }
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    assert_true(journal_log_equal(&sent, &got));
    check_goes_on(&scratch, journal, &got);
    journal_log_deinit(&got);
    journal_log_deinit(&sent);
    scratch_remove(&scratch);
}

static void test_journal_missing_segment_is_told(void **state)
{
    (void)state;
    for (unsigned missing = 1; missing <= 6; missing++) {
        struct scratch scratch;
        scratch_make(&scratch);
        struct journal_log sent = {0};
        assert_int_equal(make_segments(&scratch, &sent), 6);
        char path[700];
        snprintf(path, sizeof(path), "%s/%08u.nxj", scratch.journal, missing);
        assert_int_equal(remove(path), 0);
        struct journal_log got = {0};
        struct journal_replay_result result;
        struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
        assert_true(journal_log_is_subsequence(&got, &sent));
        assert_int_equal(got.count, sent.count - 180);
        assert_int_equal(result.damaged_segments,
                         missing == 6 ? 0 : 1); /* the newest: as if it had never been */
        journal_test_close(journal);
        journal_log_deinit(&got);
        journal_log_deinit(&sent);
        scratch_remove(&scratch);
    }
}

/* The end of a segment that has a successor is known: what is cut off there is damage, not a torn end. */
static void test_journal_truncated_older_segment_is_damage(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log sent = {0};
    assert_int_equal(make_segments(&scratch, &sent), 6);
    char path[700];
    image_path(&scratch, "00000003.nxj", path);
    struct nx_buf bytes = {0};
    file_read(path, &bytes);
    file_write(path, bytes.data, bytes.len - JOURNAL_PAGE_BYTES);
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    assert_int_equal(got.count, sent.count - 60);
    assert_true(journal_log_is_subsequence(&got, &sent));
    assert_int_equal(result.damaged_segments, 1);
    assert_false(result.has_torn_tail);
    journal_test_close(journal);
    nx_buf_deinit(&bytes);
    journal_log_deinit(&got);
    journal_log_deinit(&sent);
    scratch_remove(&scratch);
}

static void test_journal_lost_header_is_damage_and_its_commits_are_read(void **state)
{
    (void)state;
    for (unsigned lost = 1; lost <= 6; lost++) {
        struct scratch scratch;
        scratch_make(&scratch);
        struct journal_log sent = {0};
        assert_int_equal(make_segments(&scratch, &sent), 6);
        char path[700];
        snprintf(path, sizeof(path), "%s/%08u.nxj", scratch.journal, lost);
        struct nx_buf bytes = {0};
        file_read(path, &bytes);
        memset(bytes.data, lost % 2 == 0 ? 0 : 0x77, JOURNAL_PAGE_BYTES);
        file_write(path, bytes.data, bytes.len);
        struct journal_log got = {0};
        struct journal_replay_result result;
        struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
        assert_true(journal_log_equal(&sent, &got));
        assert_int_equal(result.damaged_segments, 1);
        journal_test_close(journal);
        nx_buf_deinit(&bytes);
        journal_log_deinit(&got);
        journal_log_deinit(&sent);
        scratch_remove(&scratch);
    }
}

/* A first commit whose own page reached the disk while that of the header did not: a crash does that, damage need not
 * have. The next commit gives the segment its header back. */
static void test_journal_torn_header_of_a_first_commit_is_no_damage(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log sent = {0}, got = {0};
    struct journal_replay_result result;
    struct journal_buffer buffer = {0};
    uint64_t commit;
    assert_int_equal(make_segments(&scratch, &sent), 6);
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    fill_small(&buffer, &sent, 50);
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    journal_test_close(journal);
    char path[700];
    snprintf(path, sizeof(path), "%s/%08u.nxj", scratch.journal, 7u);
    struct nx_buf bytes = {0};
    file_read(path, &bytes);
    memset(bytes.data, 0, JOURNAL_PAGE_BYTES);
    file_write(path, bytes.data, bytes.len);
    for (unsigned i = 0; i < 2; i++) { /* as long as nothing is committed, it stays so */
        got.count = 0;
        nx_buf_reset(&got.definitions);
        got.definition_count = 0;
        journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
        assert_true(journal_log_equal(&sent, &got));
        assert_int_equal(result.damaged_segments, 0);
        assert_true(result.has_torn_tail);
        if (i == 0)
            journal_test_close(journal);
    }
    check_goes_on(&scratch, journal, &got);
    file_read(path, &bytes);
    assert_memory_equal(bytes.data, "NXJSEG", 6);
    assert_int_equal(scratch_count(scratch.quarantine, ".reason"), 0);
    journal_buffer_deinit(&buffer);
    nx_buf_deinit(&bytes);
    journal_log_deinit(&got);
    journal_log_deinit(&sent);
    scratch_remove(&scratch);
}

static void test_journal_unknown_file_is_set_aside(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    uint8_t noise[10000];
    memset(noise, 0xa5, sizeof(noise));
    place(&scratch, noise, sizeof(noise));
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 3, &got, &result);
    assert_int_equal(result.damaged_segments, 1);
    assert_int_equal(result.last_commit, 3);
    assert_int_equal(scratch_count(scratch.journal, ".nxj"), 0);
    assert_int_equal(scratch_count(scratch.quarantine, ".reason"), 1);
    check_goes_on(&scratch, journal, &got);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

static void test_journal_of_another_format_is_refused(void **state)
{
    (void)state;
    struct image image;
    image_make(&image);
    struct scratch scratch;
    scratch_make(&scratch);
    for (unsigned copy = 0; copy < 2; copy++) {
        uint8_t *header = image.bytes.data + copy * JOURNAL_HEADER_COPY;
        le32_put(header + 8, JOURNAL_FORMAT_VERSION - 1);
        le64_put(header + 120, nx_hash64(header, 120, 0));
    }
    place(&scratch, image.bytes.data, image.bytes.len);
    struct journal *journal = NULL;
    struct nx_err err;
    struct journal_options options = {.io = io_real(), .dir = scratch.journal};
    assert_int_equal(journal_open(&journal, &options, &err), NX_E_INVALID);
    assert_non_null(strstr(err.msg, "format 2"));
    assert_null(journal);
    scratch_remove(&scratch);
    image_deinit(&image);
}

static void test_journal_visitor_that_fails_stops_the_replay(void **state)
{
    (void)state;
    struct image image;
    image_make(&image);
    struct scratch scratch;
    scratch_make(&scratch);
    place(&scratch, image.bytes.data, image.bytes.len);
    struct journal *journal = journal_test_open(&scratch, io_real(), JOURNAL_SEGMENT_MIN);
    struct journal_log log = {.fail_with = NX_E_LIMIT};
    struct journal_visitor visitor = journal_log_visitor(&log);
    struct journal_replay_result result;
    struct nx_err err;
    assert_int_equal(journal_replay(journal, 0, &visitor, &result, &err), NX_E_LIMIT);
    journal_test_close(journal);
    scratch_remove(&scratch);
    image_deinit(&image);
}

/* Read back is not yet durable: the first commit, even of nothing, writes the last one again and syncs. */
static void test_journal_first_commit_settles_what_was_replayed(void **state)
{
    (void)state;
    struct image image;
    image_make(&image);
    struct scratch scratch;
    scratch_make(&scratch);
    place(&scratch, image.bytes.data, image.bytes.len);
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, &faulty.io, 0, &got, &result);
    assert_int_equal(io_faulty_calls(&faulty, IO_CALL_PWRITE), 0);
    struct journal_buffer nothing = {0};
    uint64_t commit = 0;
    io_faulty_clear(&faulty);
    io_faulty_add(&faulty, (struct io_fault){.call = IO_CALL_FDATASYNC, .nth = 1, .sys = EIO});
    assert_int_equal(journal_test_commit(journal, &nothing, &commit), NX_E_IO);
    assert_int_equal(journal_test_commit(journal, &nothing, &commit), NX_OK);
    assert_int_equal(commit, IMAGE_COMMITS);
    assert_int_equal(io_faulty_calls(&faulty, IO_CALL_PWRITE), 2);
    assert_int_equal(io_faulty_calls(&faulty, IO_CALL_FDATASYNC), 2);
    assert_int_equal(journal_test_commit(journal, &nothing, &commit), NX_OK);
    assert_int_equal(io_faulty_calls(&faulty, IO_CALL_PWRITE), 2);
    journal_test_close(journal);
    struct nx_buf bytes = {0};
    char path[700];
    image_path(&scratch, "7.nxj", path);
    file_read(path, &bytes);
    assert_int_equal(bytes.len, image.bytes.len);
    assert_memory_equal(bytes.data, image.bytes.data, bytes.len);
    nx_buf_deinit(&bytes);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
    image_deinit(&image);
}

/* Lives that end at a random step with an unfinished commit, one after the other. */
static void test_journal_many_torn_lives_lose_nothing_acknowledged(void **state)
{
    (void)state;
    static const char *const points[] = {"journal_written", "journal_synced", NULL};
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct scratch scratch;
        scratch_make(&scratch);
        struct rand_state rand;
        rand_seed(&rand, seed);
        struct journal_log known = {
            0}; /* what the next life must begin with; the unacknowledged may be behind it */
        uint64_t released = 0;
        for (unsigned life = 0; life < 8; life++) {
            struct io_faulty faulty;
            io_faulty_init(&faulty, io_real());
            struct journal_log got = {0};
            struct journal_replay_result result;
            struct journal *journal =
                journal_test_replay(&scratch, &faulty.io, released, &got, &result);
            if (!journal_log_is_prefix(&known, &got))
                print_error("seed %u, life %u\n", (unsigned)seed, life);
            assert_true(journal_log_is_prefix(&known, &got));
            assert_int_equal(result.damaged_segments, 0);
            journal_log_deinit(&known);
            known = got;
            struct journal_buffer buffer = {0};
            uint64_t commit = 0;
            unsigned commits = (unsigned)rand_below(&rand, 6);
            for (unsigned i = 0; i <= commits; i++) {
                struct journal_log more = {0};
                journal_test_fill(&rand, &buffer, 2000, 1 + rand_below(&rand, 6000), life * 100 + i,
                                  &more);
                if (i == commits) { /* the last step of this life */
                    io_faulty_clear(&faulty);
                    uint64_t kind = rand_below(&rand, 3);
                    if (kind < 2)
                        io_faulty_stop_at(&faulty, points[kind]);
                    else
                        io_faulty_add(&faulty, (struct io_fault){
                                                   .call = IO_CALL_PWRITE,
                                                   .nth = 1,
                                                   .is_lasting = true,
                                                   .sys = EIO,
                                                   .torn_bytes = (size_t)rand_below(&rand, 60000)});
                }
                nx_code code = journal_test_commit(journal, &buffer, &commit);
                journal_buffer_reset(&buffer);
                for (size_t k = 0; k < more.count && code == NX_OK; k++)
                    journal_log_add(&known, more.samples[k].slot, more.samples[k].time_ms,
                                    more.samples[k].bits);
                journal_log_deinit(&more);
                if (code == NX_OK && rand_below(&rand, 12) == 0) {
                    struct nx_err err;
                    released = journal_cut(journal);
                    assert_int_equal(journal_release(journal, released, &err), NX_OK);
                    known.count = 0;
                }
            }
            journal_buffer_deinit(&buffer);
            journal_test_close(journal);
        }
        journal_log_deinit(&known);
        scratch_remove(&scratch);
    }
}

/* ---- the stored journal ---- */

static void golden_fill(struct journal_buffer *buffer, struct journal_log *log, unsigned commit)
{
    fill_small(buffer, log, commit);
    fill_blobs(buffer, log, commit);
    journal_buffer_reserve(buffer, 40);
    for (uint32_t i = 0; i < 40; i++) {
        uint64_t bits = float_bits(i % 2 == 0 ? 42.0 : 1000.0 * i + commit * 15);
        if (i == 7)
            bits = STALE_NAN_BITS;
        journal_buffer_push(buffer, i * 16, 1700000000000 + 15000 * (int64_t)commit, bits);
        journal_log_add(log, i * 16, 1700000000000 + 15000 * (int64_t)commit, bits);
    }
}

static void golden_write(const char *path)
{
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log log = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &log, &result);
    struct journal_buffer buffer = {0};
    uint64_t commit;
    for (unsigned i = 0; i < 3; i++) {
        golden_fill(&buffer, &log, i);
        assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
        journal_buffer_reset(&buffer);
    }
    journal_test_close(journal);
    struct nx_buf bytes = {0};
    char from[700];
    image_path(&scratch, "00000001.nxj", from);
    file_read(from, &bytes);
    file_write(path, bytes.data, bytes.len);
    nx_buf_deinit(&bytes);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&log);
    scratch_remove(&scratch);
}

static void test_journal_stored_segment_is_read(void **state)
{
    (void)state;
    const char *golden = NX_TEST_GOLDEN_DIR "/journal_v3.nxj";
    if (getenv("NARTHEX_GOLDEN_WRITE") != NULL)
        golden_write(golden);
    struct nx_buf bytes = {0};
    file_read(golden, &bytes);
    struct scratch scratch;
    scratch_make(&scratch);
    place(&scratch, bytes.data, bytes.len);
    struct journal_log sent = {0};
    struct journal_log got = {0};
    struct journal_buffer buffer = {0};
    for (unsigned i = 0; i < 3; i++)
        golden_fill(&buffer, &sent, i);
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    assert_true(journal_log_equal(&sent, &got));
    assert_int_equal(result.commits, 3);
    assert_int_equal(result.last_commit, 3);
    assert_int_equal(result.samples, 300);
    assert_int_equal(result.definitions, 3);
    assert_int_equal(result.blobs, 12);
    journal_test_close(journal);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&got);
    journal_log_deinit(&sent);
    nx_buf_deinit(&bytes);
    scratch_remove(&scratch);
}

/* Everything above once more, replayed by two threads. */
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_torn_tail_is_dropped),
        cmocka_unit_test(test_journal_flipped_byte_loses_only_its_record_and_is_told),
        cmocka_unit_test(test_journal_damage_of_released_commits_is_not_told),
        cmocka_unit_test(
            test_journal_released_commits_in_the_same_segment_are_decoded_for_what_follows),
        cmocka_unit_test(test_journal_stale_commits_of_a_recycled_segment_never_verify),
        cmocka_unit_test(test_journal_order_is_that_of_the_headers),
        cmocka_unit_test(test_journal_missing_segment_is_told),
        cmocka_unit_test(test_journal_truncated_older_segment_is_damage),
        cmocka_unit_test(test_journal_lost_header_is_damage_and_its_commits_are_read),
        cmocka_unit_test(test_journal_torn_header_of_a_first_commit_is_no_damage),
        cmocka_unit_test(test_journal_unknown_file_is_set_aside),
        cmocka_unit_test(test_journal_of_another_format_is_refused),
        cmocka_unit_test(test_journal_visitor_that_fails_stops_the_replay),
        cmocka_unit_test(test_journal_first_commit_settles_what_was_replayed),
        cmocka_unit_test(test_journal_many_torn_lives_lose_nothing_acknowledged),
        cmocka_unit_test(test_journal_stored_segment_is_read),
    };
    int failed = cmocka_run_group_tests_name("one thread", tests, NULL, NULL);
    journal_test_is_ahead = true;
    return failed + cmocka_run_group_tests_name("two threads", tests, NULL, NULL);
}
