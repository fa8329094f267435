/* SPDX-License-Identifier: Apache-2.0 */
/* journal_segment.c - the segment files: which there are, what their headers say, where a new one comes from and an
 * old one goes.
 *
 * Invariants
 *   1. The order of segments is that of their sequence numbers; names mean nothing.
 *   2. A segment's header tells where the records of the one before it end: so a torn end stays a torn end after later
 *      segments were written, and anything unreadable before that point is damage.
 *   3. A header and the first commit are one write: until that is synced the file still may show its old header, whose
 *      commits were all released, so that nothing of it is needed or missed.
 *   4. A file that failed to sync is not written again.
 */
#include "narthex/base/buf.h"
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"

#include "journal_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SEGMENT_SUFFIX      ".nxj"
#define SPARE_STEP_BYTES    (4u << 20) /* chosen: a few tens of ms on a slow volume */
#define SPARES_MIN          2u
#define SEGMENT_BYTES_LIMIT (UINT64_C(1) << 40)

static const uint8_t segment_magic[8] = {'N', 'X', 'J', 'S', 'E', 'G', '\r', '\n'};
static const uint8_t spare_magic[8] = {'N', 'X', 'J', 'F',
                                       'R', 'E', 'E', '\n'}; /* over a released segment's header */

void journal_segment_free(struct journal_segment *segment)
{
    if (segment == NULL)
        return;
    nx_free(segment->path);
    nx_free(segment);
}

void journal_note_damage(struct journal_segment *segment, const char *format, ...)
{
    if (segment->is_damaged)
        return;
    segment->is_damaged = true;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(segment->damage, sizeof(segment->damage), format, args);
    va_end(args);
    NX_ASSERT(length >= 0);
}

void segment_list_add(struct journal_segment_list *list, struct journal_segment *segment)
{
    if (list->count == list->cap) {
        list->cap = list->cap == 0 ? 8 : list->cap * 2;
        list->items = nx_realloc_array(list->items, list->cap, sizeof(struct journal_segment *));
    }
    list->items[list->count++] = segment;
}

struct journal_segment *segment_list_take(struct journal_segment_list *list, size_t index)
{
    struct journal_segment *segment = list->items[index];
    list->count--;
    for (size_t i = index; i < list->count; i++)
        list->items[i] = list->items[i + 1];
    return segment;
}

void journal_unsettled_clear(struct journal *journal)
{
    nx_free(journal->unsettled.path);
    nx_free(journal->unsettled.header);
    journal->unsettled.path = NULL;
    journal->unsettled.header = NULL;
}

static void segment_list_deinit(struct journal_segment_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        journal_segment_free(list->items[i]);
    nx_free(list->items);
    *list = (struct journal_segment_list){0};
}

/* ---- header ---- */

static void header_put(uint8_t *out, const struct journal_segment *segment)
{
    memcpy(out, segment_magic, sizeof(segment_magic));
    le32_put(out + 8, JOURNAL_FORMAT_VERSION);
    le64_put(out + 16, segment->capacity);
    le64_put(out + 24, segment->sequence);
    le64_put(out + 32, segment->epoch);
    le64_put(out + 40, segment->first_commit);
    le64_put(out + 48, segment->prior_sequence);
    le64_put(out + 56, segment->prior_end);
    le64_put(out + 120, nx_hash64(out, 120, 0));
}

void journal_segment_header_put(uint8_t out[JOURNAL_PAGE_BYTES],
                                const struct journal_segment *segment)
{
    memset(out, 0, JOURNAL_PAGE_BYTES);
    header_put(out, segment);
    header_put(out + JOURNAL_HEADER_COPY, segment);
}

/* False: no header here. *out_version is set for every header whose checksum holds. */
static bool header_get(const uint8_t *in, struct journal_segment *out, uint32_t *out_version)
{
    if (memcmp(in, segment_magic, sizeof(segment_magic)) != 0 ||
        nx_hash64(in, 120, 0) != le64_get(in + 120))
        return false;
    *out_version = le32_get(in + 8);
    if (*out_version != JOURNAL_FORMAT_VERSION)
        return true;
    out->capacity = le64_get(in + 16);
    out->sequence = le64_get(in + 24);
    out->epoch = le64_get(in + 32);
    out->first_commit = le64_get(in + 40);
    out->prior_sequence = le64_get(in + 48);
    out->prior_end = le64_get(in + 56);
    out->last_commit = out->first_commit - 1;
    bool has_prior_sense = out->prior_sequence == 0 || (out->prior_sequence < out->sequence &&
                                                        out->prior_end >= JOURNAL_PAGE_BYTES &&
                                                        out->prior_end <= SEGMENT_BYTES_LIMIT);
    return out->sequence > 0 && out->epoch != 0 && out->first_commit > 0 && has_prior_sense &&
           out->capacity >= JOURNAL_SEGMENT_MIN && out->capacity <= SEGMENT_BYTES_LIMIT;
}

static bool is_zero(struct nx_bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] != 0)
            return false;
    }
    return true;
}

enum journal_file_kind journal_segment_header_get(struct nx_bytes bytes,
                                                  struct journal_segment *out,
                                                  uint32_t *out_version)
{
    struct nx_bytes first = bytes;
    if (first.len > JOURNAL_PAGE_BYTES)
        first.len = JOURNAL_PAGE_BYTES;
    static const size_t copies[] = {0, JOURNAL_HEADER_COPY};
    for (size_t i = 0; i < NX_ARRAY_LEN(copies); i++) {
        if (first.len < copies[i] + JOURNAL_HEADER_BYTES)
            continue;
        struct journal_segment found = *out;
        if (!header_get(first.data + copies[i], &found, out_version))
            continue;
        if (*out_version != JOURNAL_FORMAT_VERSION)
            return JOURNAL_FILE_OTHER_FORMAT;
        *out = found;
        return JOURNAL_FILE_SEGMENT;
    }
    if (first.len >= sizeof(spare_magic) &&
        memcmp(first.data, spare_magic, sizeof(spare_magic)) == 0)
        return JOURNAL_FILE_SPARE;
    struct journal_commit_header commit;
    if (bytes.len >= JOURNAL_PAGE_BYTES + JOURNAL_COMMIT_HEADER &&
        journal_commit_header_get(bytes.data + JOURNAL_PAGE_BYTES, 0, JOURNAL_PAGE_BYTES,
                                  &commit) &&
        commit.sequence > 0 && commit.epoch != 0) {
        out->capacity = SEGMENT_BYTES_LIMIT;
        out->sequence = commit.sequence;
        out->epoch = commit.epoch;
        out->first_commit = commit.number;
        out->last_commit = commit.number - 1;
        out->prior_sequence = 0;
        out->prior_end = 0;
        return JOURNAL_FILE_HEADERLESS;
    }
    return is_zero(first) ? JOURNAL_FILE_SPARE : JOURNAL_FILE_UNKNOWN;
}

/* ---- open, close ---- */

/* The number in "<digits>.nxj", 0 for any other name. */
static uint64_t name_number(const char *name)
{
    struct nx_str text = nx_str_from(name);
    uint64_t number;
    if (!nx_str_ends_with(text, NX_STR(SEGMENT_SUFFIX)))
        return 0;
    text.len -= sizeof(SEGMENT_SUFFIX) - 1;
    return nx_str_to_u64(text, &number) ? number : 0;
}

static nx_code read_head(struct journal *journal, struct journal_segment *segment,
                         struct nx_buf *out, struct nx_err *err)
{
    int fd;
    nx_code code = journal->io->open(journal->io, segment->path, O_RDONLY, 0, &fd, err);
    if (code != NX_OK)
        return code;
    nx_buf_reset(out);
    nx_buf_reserve(out, 2 * JOURNAL_PAGE_BYTES);
    size_t got = 0;
    code = journal->io->pread(journal->io, fd, out->data, 2 * JOURNAL_PAGE_BYTES, 0, &got, err);
    out->len = got;
    struct nx_err ignored;
    nx_ignore(journal->io->close(journal->io, fd, &ignored));
    return code == NX_OK ? NX_OK : nx_err_wrap(err, "%s", segment->path);
}

static nx_code open_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    struct journal *journal = context;
    if (is_directory || !nx_str_ends_with(nx_str_from(name), NX_STR(SEGMENT_SUFFIX)))
        return NX_OK;
    struct journal_segment *segment = nx_calloc(1, sizeof(*segment));
    struct nx_buf path = {0}, head = {0};
    path_join(&path, journal->dir, name);
    segment->path = (char *)path.data; /* owned there from now on */
    nx_code code = io_file_size(journal->io, segment->path, &segment->file_bytes, err);
    if (code == NX_OK)
        code = read_head(journal, segment, &head, err);
    uint32_t version = 0;
    if (code == NX_OK) {
        switch (journal_segment_header_get(nx_buf_bytes(&head), segment, &version)) {
        case JOURNAL_FILE_SPARE:
        case JOURNAL_FILE_SEGMENT:
            break;
        case JOURNAL_FILE_HEADERLESS:
            segment->is_start_torn =
                is_zero((struct nx_bytes){.data = head.data, .len = JOURNAL_PAGE_BYTES});
            if (!segment->is_start_torn)
                journal_note_damage(segment, "the header does not verify");
            break;
        case JOURNAL_FILE_UNKNOWN:
            journal_note_damage(segment, "neither the header nor a first commit verifies");
            break;
        case JOURNAL_FILE_OTHER_FORMAT:
            code = nx_err_set(err, NX_E_INVALID,
                              "%s has journal format %u, this program reads format %u",
                              segment->path, version, JOURNAL_FORMAT_VERSION);
            break;
        }
    }
    nx_buf_deinit(&head);
    if (code != NX_OK) {
        journal_segment_free(segment);
        return code;
    }
    uint64_t number = name_number(name);
    if (number >= journal->next_name)
        journal->next_name = number + 1;
    if (segment->sequence >= journal->next_sequence)
        journal->next_sequence = segment->sequence + 1;
    segment_list_add(&journal->found, segment);
    return NX_OK;
}

/* Creates the directory, durably, when it is absent. */
static nx_code make_dir(const struct io *io, const char *dir, struct nx_err *err)
{
    if (io_exists(dir))
        return NX_OK;
    nx_code code = io->mkdir(io, dir, err);
    if (code != NX_OK)
        return code;
    struct nx_buf parent = {0};
    nx_buf_printf(&parent, "%s/..", dir);
    nx_buf_append_byte(&parent, 0);
    code = io_sync_dir(io, (const char *)parent.data, err);
    nx_buf_deinit(&parent);
    return code;
}

nx_code journal_open(struct journal **out_journal, const struct journal_options *options,
                     struct nx_err *err)
{
    uint64_t segment_bytes =
        options->segment_bytes == 0 ? JOURNAL_SEGMENT_BYTES : options->segment_bytes;
    if (segment_bytes < JOURNAL_SEGMENT_MIN || segment_bytes > SEGMENT_BYTES_LIMIT)
        return nx_err_set(err, NX_E_INVALID, "journal segment size %" PRIu64 ": at least %u bytes",
                          segment_bytes, JOURNAL_SEGMENT_MIN);
    struct journal *journal = nx_calloc(1, sizeof(*journal));
    journal->io = options->io;
    journal->dir = nx_strdup(options->dir);
    journal->quarantine_dir =
        options->quarantine_dir == NULL ? NULL : nx_strdup(options->quarantine_dir);
    journal->segment_bytes = segment_bytes / JOURNAL_PAGE_BYTES * JOURNAL_PAGE_BYTES;
    journal->is_replay_ahead = options->is_replay_ahead;
    mutex_init(&journal->lock, LOCK_RANK_JOURNAL);
    journal->next_name = 1;
    journal->next_sequence = 1;
    journal->spares_wanted = SPARES_MIN;
    journal->fd = -1;
    journal->codec = nx_calloc(1, sizeof(*journal->codec));
    journal_codec_init(journal->codec);
    nx_code code = make_dir(journal->io, journal->dir, err);
    /* A process that was killed may have left files whose names it had not synced yet: they are spares from now on. */
    if (code == NX_OK)
        code = io_sync_dir(journal->io, journal->dir, err);
    if (code == NX_OK)
        code = io_each_entry(journal->io, journal->dir, open_entry, journal, err);
    if (code != NX_OK) {
        struct nx_err ignored;
        nx_ignore(journal_close(journal, &ignored));
        return code;
    }
    *out_journal = journal;
    return NX_OK;
}

nx_code journal_close(struct journal *journal, struct nx_err *err)
{
    if (journal == NULL)
        return NX_OK;
    nx_code code = NX_OK;
    if (journal->fd >= 0)
        code = journal->io->close(journal->io, journal->fd, err);
    if (journal->preparing.segment != NULL) {
        struct nx_err ignored;
        nx_ignore(journal->io->close(journal->io, journal->preparing.fd, &ignored));
        journal_segment_free(journal->preparing.segment);
    }
    segment_list_deinit(&journal->found);
    segment_list_deinit(&journal->live);
    segment_list_deinit(&journal->spares);
    journal_segment_free(journal->current);
    journal_unsettled_clear(journal);
    journal_codec_deinit(journal->codec);
    nx_free(journal->codec);
    nx_buf_deinit(&journal->out);
    nx_buf_deinit(&journal->joined);
    mutex_deinit(&journal->lock);
    nx_free(journal->dir);
    nx_free(journal->quarantine_dir);
    nx_free(journal);
    return code;
}

/* ---- where a segment comes from ---- */

static struct journal_segment *segment_name_new(struct journal *journal)
{
    struct journal_segment *segment = nx_calloc(1, sizeof(*segment));
    struct nx_buf name = {0};
    mutex_lock(&journal->lock);
    uint64_t number = journal->next_name++;
    mutex_unlock(&journal->lock);
    nx_buf_printf(&name, "%s/%08" PRIu64 SEGMENT_SUFFIX, journal->dir, number);
    nx_buf_append_byte(&name, 0);
    segment->path = (char *)name.data;
    segment->is_new_file = true;
    return segment;
}

/* Whole spares first: they need no space and sync in fewer writes. NULL: there is none. */
static struct journal_segment *take_spare(struct journal *journal, bool short_only)
{
    struct journal_segment *segment = NULL;
    mutex_lock(&journal->lock);
    size_t pick = journal->spares.count;
    for (size_t i = 0; i < journal->spares.count; i++) {
        bool is_whole = journal->spares.items[i]->file_bytes >= journal->segment_bytes;
        if (is_whole && short_only)
            continue;
        if (pick == journal->spares.count || is_whole)
            pick = i;
        if (is_whole)
            break;
    }
    if (pick < journal->spares.count)
        segment = segment_list_take(&journal->spares, pick);
    mutex_unlock(&journal->lock);
    return segment;
}

static uint64_t new_epoch(void)
{
    uint64_t epoch = 0;
    while (epoch == 0)
        rand_bytes(&epoch, sizeof(epoch));
    return epoch;
}

nx_code journal_roll(struct journal *journal, struct nx_err *err)
{
    NX_ASSERT(journal->current == NULL && journal->fd < 0);
    struct journal_segment *segment = take_spare(journal, false);
    int flags = O_RDWR;
    if (segment == NULL) {
        segment = segment_name_new(journal);
        flags |= O_CREAT | O_EXCL;
    }
    int fd;
    nx_code code = journal->io->open(journal->io, segment->path, flags, 0666, &fd, err);
    if (code !=
        NX_OK) { /* a spare that cannot be opened is forgotten: the next call takes another */
        journal_segment_free(segment);
        return nx_err_wrap(err, "journal segment");
    }
    /* Never below the commit's number: were every header gone, numbers would still not go back. */
    if (journal->next_sequence <= journal->last_commit)
        journal->next_sequence = journal->last_commit + 1;
    segment->sequence = journal->next_sequence++;
    segment->epoch = new_epoch();
    segment->capacity = journal->segment_bytes;
    segment->prior_sequence = journal->tail_sequence;
    segment->prior_end = journal->tail_end;
    segment->end = JOURNAL_PAGE_BYTES;
    segment->sample_count = 0;
    journal_bases_reset(&journal->codec->bases);
    mutex_lock(&journal->lock);
    segment->first_commit = journal->last_commit + 1;
    segment->last_commit = journal->last_commit;
    journal->current = segment;
    mutex_unlock(&journal->lock);
    journal->fd = fd;
    return NX_OK;
}

void journal_retire_current(struct journal *journal)
{
    struct journal_segment *segment = journal->current;
    if (segment == NULL)
        return;
    struct nx_err ignored;
    nx_ignore(journal->io->close(journal->io, journal->fd, &ignored));
    journal->fd = -1;
    bool has_commits = segment->last_commit >= segment->first_commit;
    mutex_lock(&journal->lock);
    journal->current = NULL;
    if (has_commits)
        segment_list_add(&journal->live, segment);
    mutex_unlock(&journal->lock);
    if (!has_commits) {
        nx_ignore(journal->io->unlink(journal->io, segment->path, &ignored));
        journal_segment_free(segment);
    }
}

/* ---- where a segment goes ---- */

/* Moves it, with the reason beside it. What fails is left where it is: nothing is ever deleted here. */
static void quarantine(struct journal *journal, struct journal_segment *segment)
{
    struct nx_err ignored;
    if (journal->quarantine_dir == NULL)
        return;
    if (journal->io->mkdir(journal->io, journal->quarantine_dir, &ignored) != NX_OK)
        return;
    const char *name = strrchr(segment->path, '/') + 1;
    struct nx_buf target = {0};
    nx_buf_printf(&target, "%s/journal-%" PRIu64 "-%s", journal->quarantine_dir, segment->sequence,
                  name);
    size_t name_end = target.len;
    nx_buf_append_byte(&target, 0);
    nx_code code =
        journal->io->rename(journal->io, segment->path, (const char *)target.data, &ignored);
    if (code == NX_OK) {
        target.len = name_end;
        nx_buf_append_cstr(&target, ".reason");
        nx_buf_append_byte(&target, 0);
        struct nx_buf reason = {0};
        nx_buf_printf(&reason, "journal segment %" PRIu64 " (%s), first commit %" PRIu64 ": %s\n",
                      segment->sequence, name, segment->first_commit, segment->damage);
        nx_ignore(
            io_write_file(journal->io, (const char *)target.data, nx_buf_bytes(&reason), &ignored));
        nx_buf_deinit(&reason);
        nx_ignore(io_sync_dir(journal->io, journal->quarantine_dir, &ignored));
        nx_ignore(io_sync_dir(journal->io, journal->dir, &ignored));
    }
    nx_buf_deinit(&target);
}

/* Replaces the header, durably, so that a start need not look at the segment again. */
static nx_code forget_header(struct journal *journal, struct journal_segment *segment)
{
    uint8_t page[JOURNAL_PAGE_BYTES] = {0};
    memcpy(page, spare_magic, sizeof(spare_magic));
    struct nx_err ignored;
    int fd;
    nx_code code = journal->io->open(journal->io, segment->path, O_RDWR, 0, &fd, &ignored);
    if (code != NX_OK)
        return code;
    code = journal->io->pwrite(journal->io, fd, page, sizeof(page), 0, &ignored);
    if (code == NX_OK)
        code = journal->io->fdatasync(journal->io, fd, &ignored);
    nx_code close_code = journal->io->close(journal->io, fd, &ignored);
    return code == NX_OK ? close_code : code;
}

void journal_dispose(struct journal *journal, struct journal_segment *segment)
{
    if (segment->is_damaged) {
        quarantine(journal, segment);
        journal_segment_free(segment);
        return;
    }
    mutex_lock(&journal->lock);
    bool is_kept = journal->spares.count < journal->spares_wanted;
    if (is_kept) {
        segment->sequence = 0;
        segment_list_add(&journal->spares, segment);
    }
    mutex_unlock(&journal->lock);
    if (is_kept)
        return;
    struct nx_err ignored;
    nx_ignore(journal->io->unlink(journal->io, segment->path, &ignored));
    journal_segment_free(segment);
}

nx_code journal_release(struct journal *journal, uint64_t commit, struct nx_err *err)
{
    (void)err;
    mutex_lock(&journal->lock);
    size_t wanted = journal->live.count + 1;
    journal->spares_wanted = wanted > SPARES_MIN ? wanted : SPARES_MIN;
    mutex_unlock(&journal->lock);
    for (;;) {
        struct journal_segment *segment = NULL;
        mutex_lock(&journal->lock);
        for (size_t i = 0; i < journal->live.count && segment == NULL; i++) {
            if (journal->live.items[i]->last_commit <= commit)
                segment = segment_list_take(&journal->live, i);
        }
        if (segment != NULL && journal->unsettled.path != NULL &&
            journal->unsettled.sequence == segment->sequence)
            journal_unsettled_clear(journal); /* a block holds it now */
        mutex_unlock(&journal->lock);
        if (segment == NULL)
            return NX_OK;
        if (!segment->is_damaged && forget_header(journal, segment) != NX_OK) {
            struct nx_err ignored; /* a file that cannot be written is no spare */
            nx_ignore(journal->io->unlink(journal->io, segment->path, &ignored));
            journal_segment_free(segment);
            continue;
        }
        journal_dispose(journal, segment);
    }
}

/* ---- spares ---- */

/* Opens what is to be zeroed: a short spare, else a new file. False: a whole spare is there. */
static nx_code prepare_begin(struct journal *journal, bool *out_begun, struct nx_err *err)
{
    *out_begun = false;
    mutex_lock(&journal->lock);
    bool has_whole = false;
    for (size_t i = 0; i < journal->spares.count; i++)
        has_whole = has_whole || journal->spares.items[i]->file_bytes >= journal->segment_bytes;
    mutex_unlock(&journal->lock);
    if (has_whole)
        return NX_OK;
    struct journal_segment *segment = take_spare(journal, true);
    int flags = O_RDWR;
    if (segment == NULL) {
        segment = segment_name_new(journal);
        flags |= O_CREAT | O_EXCL;
    }
    int fd;
    nx_code code = journal->io->open(journal->io, segment->path, flags, 0666, &fd, err);
    if (code != NX_OK) {
        journal_segment_free(segment);
        return nx_err_wrap(err, "journal spare");
    }
    journal->preparing.segment = segment;
    journal->preparing.fd = fd;
    *out_begun = true;
    return NX_OK;
}

static nx_code prepare_step(struct journal *journal, struct nx_err *err)
{
    static const uint8_t zeros[256u << 10];
    struct journal_segment *segment = journal->preparing.segment;
    uint64_t stop = segment->file_bytes + SPARE_STEP_BYTES;
    if (stop > journal->segment_bytes)
        stop = journal->segment_bytes;
    uint64_t at = segment->file_bytes;
    while (at < stop) {
        size_t part = stop - at < sizeof(zeros) ? (size_t)(stop - at) : sizeof(zeros);
        nx_code code =
            journal->io->pwrite(journal->io, journal->preparing.fd, zeros, part, at, err);
        if (code != NX_OK)
            return code;
        at += part;
    }
    nx_code code = journal->io->fdatasync(journal->io, journal->preparing.fd, err);
    if (code == NX_OK)
        segment->file_bytes = stop;
    return code;
}

/* Ends the preparation: the file is a spare now, whole or not, or gone when it is new and useless. */
static nx_code prepare_end(struct journal *journal, nx_code code, struct nx_err *err)
{
    struct journal_segment *segment = journal->preparing.segment;
    struct nx_err ignored;
    nx_ignore(journal->io->close(journal->io, journal->preparing.fd, &ignored));
    journal->preparing.segment = NULL;
    if (code == NX_OK && segment->is_new_file) {
        code = io_sync_dir(journal->io, journal->dir, err);
        segment->is_new_file = code != NX_OK;
    }
    if (code == NX_OK || (code == NX_E_FULL && segment->file_bytes > 0)) {
        mutex_lock(&journal->lock);
        segment_list_add(&journal->spares, segment);
        mutex_unlock(&journal->lock);
        return code;
    }
    nx_ignore(journal->io->unlink(journal->io, segment->path, &ignored));
    journal_segment_free(segment);
    return code;
}

nx_code journal_prepare_spare(struct journal *journal, bool *out_worked, struct nx_err *err)
{
    *out_worked = false;
    bool is_begun = journal->preparing.segment != NULL;
    if (!is_begun) {
        nx_code code = prepare_begin(journal, &is_begun, err);
        if (code != NX_OK || !is_begun)
            return code;
    }
    nx_code code = prepare_step(journal, err);
    if (code != NX_OK || journal->preparing.segment->file_bytes >= journal->segment_bytes)
        code = prepare_end(journal, code, err);
    *out_worked = code == NX_OK;
    return code;
}

/* ---- numbers ---- */

static void stats_add(struct journal_stats *stats, const struct journal_segment *segment)
{
    if (segment->last_commit < segment->first_commit)
        return;
    stats->segments_live++;
    stats->bytes_live += segment->end;
    stats->samples_live += segment->sample_count;
}

void journal_stats(struct journal *journal, struct journal_stats *out)
{
    *out = (struct journal_stats){0};
    mutex_lock(&journal->lock);
    for (size_t i = 0; i < journal->live.count; i++)
        stats_add(out, journal->live.items[i]);
    if (journal->current != NULL)
        stats_add(out, journal->current);
    out->segments_spare = journal->spares.count;
    out->last_commit = journal->last_commit;
    mutex_unlock(&journal->lock);
}
