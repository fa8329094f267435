/* SPDX-License-Identifier: Apache-2.0 */
/* journal_replay.c - what was committed, read back after a stop or a crash.
 *
 * In       the segments that journal_open found; the newest commit that a block holds
 * Out      definitions and samples of every later commit, in order; the journal ready for its next commit
 * Fails    what the visitor says. Damage does not fail: it is told, and the rest is handed over
 *
 * The chain: from the segment with the highest sequence back along `prior`, to the first whose predecessor holds
 * released commits alone. Files outside the chain hold released commits, or a commit that never succeeded: spares.
 *
 * Where a segment ends
 *   known   (its successor's header tells): every record before that point must verify, else it is damage
 *   open    (the newest): at the first record that does not verify; a valid header of a later commit behind it, which
 *           was written only after this one was durable, means damage as well; without one it is the torn end of a
 *           commit that nobody was told about. Such a header begins on a page and within the largest commit, so the
 *           search is bounded.
 * Only commits above the released one can be damaged: the others may be overwritten by a new use of the file.
 *
 * Threads  with options.is_replay_ahead this thread reads, verifies and unpacks, another (journal_ahead.h) decodes and
 *          calls the visitor. Before this one tells of damage, and at the end of a segment, it waits for the other: so
 *          the first damage is the same one.
 */
#include "narthex/base/mem.h"

#include "journal_ahead.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_BYTES (1u << 20)
#define END_OPEN     UINT64_MAX

/* A file, read in windows. What cannot be read is zeros, which verify nowhere, and noted. */
struct segment_reader {
    const struct io *io;
    int fd;
    struct nx_buf window;
    uint64_t window_at;
    bool has_read_error;
};

struct replay {
    struct journal *journal;
    const struct journal_visitor *visitor;
    struct journal_replay_result *result;
    uint64_t released_commit;
    struct segment_reader reader;
    struct journal_ahead *ahead; /* NULL: this thread decodes too */

    struct journal_segment
        *segment;     /* the one being read; changes when all records of it were taken */
    uint64_t stop;    /* its known end, or END_OPEN */
    bool is_finished; /* its torn end was met */
    bool is_skipping; /* released commits are passed over until one that is not released follows */

    uint64_t last_commit; /* highest number met, torn ones with a good record included */
    uint64_t last_begin;  /* where that commit begins */
    struct journal_segment *last_segment;
};

/* ---- reading ---- */

static size_t read_by_page(struct segment_reader *reader, uint64_t offset, size_t bytes)
{
    size_t done = 0;
    reader->has_read_error = true;
    while (done < bytes) {
        size_t part = bytes - done < JOURNAL_PAGE_BYTES ? bytes - done : JOURNAL_PAGE_BYTES;
        size_t got = 0;
        struct nx_err ignored;
        uint8_t *out = reader->window.data + done;
        if (reader->io->pread(reader->io, reader->fd, out, part, offset + done, &got, &ignored) !=
            NX_OK) {
            memset(out, 0, part);
            got = part;
        }
        done += got;
        if (got < part)
            break;
    }
    return done;
}

/* Up to `bytes` from `offset`, fewer only at the end of the file. Valid until the next call. */
static struct nx_bytes reader_view(struct segment_reader *reader, uint64_t offset, size_t bytes)
{
    uint64_t window_end = reader->window_at + reader->window.len;
    if (offset < reader->window_at || offset + bytes > window_end) {
        size_t want = bytes > WINDOW_BYTES ? bytes : WINDOW_BYTES;
        nx_buf_reset(&reader->window);
        nx_buf_reserve(&reader->window, want);
        size_t got = 0;
        struct nx_err ignored;
        if (reader->io->pread(reader->io, reader->fd, reader->window.data, want, offset, &got,
                              &ignored) != NX_OK)
            got = read_by_page(reader, offset, want);
        reader->window_at = offset;
        reader->window.len = got;
        window_end = offset + got;
    }
    size_t there = window_end > offset ? (size_t)(window_end - offset) : 0;
    return (struct nx_bytes){
        .data = reader->window.data + (offset - reader->window_at),
        .len = there < bytes ? there : bytes,
    };
}

/* ---- damage ---- */

/* By the thread that decodes. */
static void note_damage(struct replay *replay, struct journal_segment *segment, const char *what,
                        uint64_t offset, uint64_t first, uint64_t last)
{
    if (last <= replay->released_commit)
        return;
    if (!segment->is_damaged)
        journal_note_damage(segment, "%s at byte %" PRIu64 ", commits %" PRIu64 " to %" PRIu64,
                            what, offset, first, last);
}

/* By the thread that reads: what was read before is told before. A visitor's failure comes up with the next record. */
static void replay_damage(struct replay *replay, struct journal_segment *segment, const char *what,
                          uint64_t offset, uint64_t first, uint64_t last)
{
    struct nx_err later;
    if (replay->ahead != NULL)
        nx_ignore(journal_ahead_drain(replay->ahead, &later));
    note_damage(replay, segment, what, offset, first, last);
}

static bool commit_at(struct replay *replay, uint64_t offset, struct journal_commit_header *out)
{
    struct nx_bytes bytes = reader_view(&replay->reader, offset, JOURNAL_COMMIT_HEADER);
    return bytes.len == JOURNAL_COMMIT_HEADER &&
           journal_commit_header_get(bytes.data, replay->segment->epoch, offset, out) &&
           out->sequence == replay->segment->sequence;
}

/* The first page from `from` on where a commit later than `number` begins. */
static bool find_later_commit(struct replay *replay, uint64_t from, uint64_t number,
                              uint64_t *out_offset, struct journal_commit_header *out)
{
    uint64_t stop = replay->stop;
    if (stop == END_OPEN)
        stop = from + JOURNAL_COMMIT_BYTES_MAX + JOURNAL_PAGE_BYTES;
    for (uint64_t at = from; at < stop && at < replay->segment->file_bytes;
         at += JOURNAL_PAGE_BYTES) {
        if (commit_at(replay, at, out) && out->number > number) {
            *out_offset = at;
            return true;
        }
    }
    return false;
}

/* ---- one commit ---- */

/* A record of definitions or side entries. Codes other than the visitor's become damage. */
static nx_code replay_entries(struct replay *replay, const struct journal_record *record,
                              struct nx_bytes payload, uint64_t number, uint64_t offset,
                              struct nx_err *err)
{
    struct journal_codec *codec = replay->journal->codec;
    bool is_definitions = record->type == JOURNAL_RECORD_DEFINITIONS;
    bool is_visitor;
    struct nx_err reason;
    nx_code code = is_definitions
                       ? journal_record_get_definitions(codec, record, payload, replay->visitor,
                                                        &is_visitor, &reason)
                       : journal_record_get_blobs(codec, record, payload, replay->visitor,
                                                  &is_visitor, &reason);
    if (code == NX_OK) {
        uint64_t *count = is_definitions ? &replay->result->definitions : &replay->result->blobs;
        *count += record->count;
        return NX_OK;
    }
    if (!is_visitor) {
        note_damage(replay, replay->segment,
                    is_definitions ? "a record of definitions does not decode"
                                   : "a record of side entries does not decode",
                    offset, number, number);
        return NX_OK;
    }
    *err = reason;
    return code;
}

/* Hands over a record that verifies, unless its commit is released. Codes other than the visitor's become damage. */
static nx_code take_record(void *context, const struct journal_record *record,
                           struct nx_bytes payload, uint64_t number, uint64_t offset,
                           struct nx_err *err)
{
    struct replay *replay = context;
    struct journal_codec *codec = replay->journal->codec;
    bool is_wanted = number > replay->released_commit;
    if (record->type != JOURNAL_RECORD_SAMPLE_COLUMNS)
        return is_wanted ? replay_entries(replay, record, payload, number, offset, err) : NX_OK;
    /* unwanted ones too: later values build on them */
    nx_code code = journal_record_get_samples(codec, record, payload);
    if (code != NX_OK) {
        note_damage(replay, replay->segment, "a record of samples does not decode", offset, number,
                    number);
        return NX_OK;
    }
    if (!is_wanted)
        return NX_OK;
    code = replay->visitor->samples(replay->visitor->context, codec->slots, codec->times_ms,
                                    codec->value_bits, record->count, err);
    if (code == NX_OK) {
        replay->result->samples += record->count;
        replay->segment->sample_count += record->count;
    }
    return code;
}

static nx_code replay_record(struct replay *replay, const struct journal_record *record,
                             struct nx_bytes payload, uint64_t number, uint64_t offset,
                             struct nx_err *err)
{
    return replay->ahead != NULL
               ? journal_ahead_push(replay->ahead, record, payload, number, offset, err)
               : take_record(replay, record, payload, number, offset, err);
}

static bool record_at(struct replay *replay, uint64_t offset, uint64_t limit,
                      struct journal_record *out, struct nx_bytes *out_bytes)
{
    if (limit - offset < JOURNAL_RECORD_HEADER)
        return false;
    *out_bytes = reader_view(&replay->reader, offset, JOURNAL_RECORD_HEADER);
    if (out_bytes->len < JOURNAL_RECORD_HEADER)
        return false;
    uint64_t bytes =
        journal_align(JOURNAL_RECORD_HEADER + (uint64_t)le32_get(out_bytes->data + 16), 8);
    if (bytes > limit - offset)
        return false;
    *out_bytes = reader_view(&replay->reader, offset, (size_t)bytes);
    return journal_record_parse(*out_bytes, out);
}

static void replay_passed(struct replay *replay, uint64_t begin, uint64_t number, uint64_t end)
{
    if (number > replay->last_commit)
        replay->last_commit = number;
    replay->last_begin = begin;
    replay->last_segment = replay->segment;
    replay->segment->last_commit = number;
    replay->segment->end = end;
}

/* Records of the commit at `begin`. A torn end sets is_finished. */
static nx_code replay_commit(struct replay *replay, uint64_t begin,
                             const struct journal_commit_header *header, struct nx_err *err)
{
    struct journal_segment *segment = replay->segment;
    uint64_t end = begin + header->bytes;
    uint64_t limit = end < replay->stop ? end : replay->stop;
    uint64_t at = begin + JOURNAL_COMMIT_HEADER;
    uint64_t good = 0;
    bool is_damaged = false;
    for (uint32_t i = 0; i < header->record_count && at < limit; i++) {
        struct journal_record record;
        struct nx_bytes bytes;
        bool is_plausible = record_at(replay, at, limit, &record, &bytes);
        if (is_plausible && journal_record_verifies(bytes, &record, segment->epoch, at)) {
            struct nx_bytes payload = {.data = bytes.data + JOURNAL_RECORD_HEADER,
                                       .len = record.payload_bytes};
            nx_code code = replay_record(replay, &record, payload, header->number, at, err);
            if (code != NX_OK)
                return code;
            good++;
            at += record.bytes;
            continue;
        }
        if (replay->stop == END_OPEN && !is_damaged && header->number > replay->released_commit) {
            struct journal_commit_header later;
            uint64_t later_at;
            if (!find_later_commit(replay, journal_align(end, JOURNAL_PAGE_BYTES), header->number,
                                   &later_at, &later)) {
                replay->result->has_torn_tail = true;
                replay->is_finished = true;
                break;
            }
        }
        is_damaged = true;
        replay_damage(replay, segment, "a record does not verify", at, header->number,
                      header->number);
        if (!is_plausible)
            break;
        at += record.bytes;
    }
    if (replay->is_finished && good == 0)
        return NX_OK; /* nothing of it is kept: its number is free */
    if (header->number > replay->released_commit)
        replay->result->commits++;
    bool is_cut = replay->is_finished || limit < end;
    replay_passed(replay, begin, header->number,
                  is_cut ? at : journal_align(end, JOURNAL_PAGE_BYTES));
    return NX_OK;
}

/* ---- one segment ---- */

static nx_code replay_commits(struct replay *replay, uint64_t next_first_commit, struct nx_err *err)
{
    struct journal_segment *segment = replay->segment;
    uint64_t at = JOURNAL_PAGE_BYTES;
    uint64_t expected = segment->first_commit;
    while (at < replay->stop && !replay->is_finished) {
        struct journal_commit_header header;
        if (!commit_at(replay, at, &header) || header.number != expected) {
            uint64_t found_at;
            if (!find_later_commit(replay, at + JOURNAL_PAGE_BYTES, expected, &found_at, &header)) {
                if (replay->stop != END_OPEN)
                    replay_damage(replay, segment, "commits are missing", at, expected,
                                  next_first_commit - 1);
                break;
            }
            replay_damage(replay, segment, "a commit does not verify", at, expected,
                          header.number - 1);
            at = found_at;
        }
        bool is_released = header.number <= replay->released_commit;
        if (replay->is_skipping && is_released) {
            expected = header.number + 1;
            uint64_t end = journal_align(at + header.bytes, JOURNAL_PAGE_BYTES);
            replay_passed(replay, at, header.number, end);
            at = end;
            continue;
        }
        if (replay
                ->is_skipping) { /* wanted values are coded against those passed over: from the beginning */
            replay->is_skipping = false;
            at = JOURNAL_PAGE_BYTES;
            expected = segment->first_commit;
            continue;
        }
        nx_code code = replay_commit(replay, at, &header, err);
        if (code != NX_OK)
            return code;
        at = journal_align(at + header.bytes, JOURNAL_PAGE_BYTES);
        expected = header.number + 1;
    }
    return NX_OK;
}

static nx_code replay_segment(struct replay *replay, struct journal_segment *segment, uint64_t stop,
                              uint64_t next_first_commit, struct nx_err *err)
{
    struct segment_reader *reader = &replay->reader;
    replay->segment = segment;
    replay->stop = stop;
    replay->is_finished = false;
    replay->is_skipping = segment->first_commit <= replay->released_commit;
    segment->end = JOURNAL_PAGE_BYTES;
    journal_bases_reset(&replay->journal->codec->bases);
    reader->io = replay->journal->io;
    reader->has_read_error = false;
    nx_buf_reset(&reader->window);
    nx_code code = reader->io->open(reader->io, segment->path, O_RDONLY, 0, &reader->fd, err);
    if (code != NX_OK)
        return code;
    code = replay_commits(replay, next_first_commit, err);
    struct nx_err ignored;
    if (replay->ahead != NULL) {
        nx_code taken = journal_ahead_drain(replay->ahead, code == NX_OK ? err : &ignored);
        code = code == NX_OK ? taken : code;
    }
    nx_ignore(reader->io->close(reader->io, reader->fd, &ignored));
    if (reader->has_read_error)
        journal_note_damage(segment, "the file cannot be read everywhere");
    return code;
}

/* ---- the chain ---- */

struct chain_link {
    size_t index; /* into journal->found */
    uint64_t stop;
};

static int compare_segments(const void *a, const void *b)
{
    uint64_t left = (*(struct journal_segment *const *)a)->sequence;
    uint64_t right = (*(struct journal_segment *const *)b)->sequence;
    return (left > right) - (left < right);
}

/* Newest first. Returns the number of links; 0 when there is no segment. */
static size_t build_chain(struct replay *replay, struct chain_link *chain)
{
    struct journal_segment_list *found = &replay->journal->found;
    size_t count = 0;
    size_t index = found->count;
    uint64_t stop = END_OPEN;
    while (index > 0 && found->items[index - 1]->sequence > 0) {
        struct journal_segment *segment = found->items[--index];
        chain[count++] = (struct chain_link){.index = index, .stop = stop};
        if (segment->first_commit - 1 <= replay->released_commit)
            break;
        stop = END_OPEN;
        if (segment->prior_sequence == 0) {
            if (!segment->is_damaged && !segment->is_start_torn && segment->first_commit > 1) {
                replay_damage(replay, segment, "commits before the first segment are missing", 0,
                              replay->released_commit + 1, segment->first_commit - 1);
                break;
            }
            continue; /* a lost header: whatever is the next lower */
        }
        size_t prior = index;
        while (prior > 0 && found->items[prior - 1]->sequence > segment->prior_sequence)
            prior--;
        if (prior > 0 && found->items[prior - 1]->sequence == segment->prior_sequence) {
            index = prior;
            stop = segment->prior_end;
        } else {
            replay_damage(replay, segment, "the segment before this one is missing", 0,
                          replay->released_commit + 1, segment->first_commit - 1);
        }
    }
    return count;
}

/* A segment whose first page is zeros. When it is the newest and has no second commit, its first one was cut off by a
 * crash that kept the commit's page and not the header's: the header is written with the next commit. Else a header is
 * lost. */
static void judge_torn_start(struct replay *replay, struct journal_segment *segment,
                             const struct journal_segment *prior, bool is_newest)
{
    if (!is_newest || segment->last_commit > segment->first_commit) {
        journal_note_damage(segment, "the header does not verify");
        return;
    }
    segment->capacity = replay->journal->segment_bytes;
    segment->prior_sequence = prior != NULL ? prior->sequence : 0;
    segment->prior_end = prior != NULL ? prior->end : 0;
    replay->result->has_torn_tail = true;
}

static nx_code replay_chain(struct replay *replay, const struct chain_link *chain, size_t count,
                            struct nx_err *err)
{
    struct journal_segment_list *found = &replay->journal->found;
    const struct journal_segment *prior = NULL;
    for (size_t i = count; i-- > 0;) {
        struct journal_segment *segment = found->items[chain[i].index];
        uint64_t next_first = i > 0 ? found->items[chain[i - 1].index]->first_commit : 0;
        if (i > 0 && next_first - 1 <= replay->released_commit)
            continue;
        nx_code code = replay_segment(replay, segment, chain[i].stop, next_first, err);
        if (code != NX_OK)
            return nx_err_wrap(err, "replay of %s", segment->path);
        if (segment->is_start_torn)
            judge_torn_start(replay, segment, prior, i == 0);
        prior = segment;
    }
    return NX_OK;
}

/* File name and reason; what does not fit is cut. */
static void tell_damage(struct journal_replay_result *result, const struct journal_segment *segment)
{
    const char *name = strrchr(segment->path, '/') + 1;
    int length =
        snprintf(result->damage, sizeof(result->damage), "%.*s: %s", 64, name, segment->damage);
    NX_ASSERT(length > 0);
}

/* Every found segment goes to the live ones, to the spares or to quarantine. */
static void settle_segments(struct replay *replay)
{
    struct journal *journal = replay->journal;
    struct journal_segment_list found = journal->found;
    journal->found = (struct journal_segment_list){0};
    for (size_t i = 0; i < found.count; i++) {
        struct journal_segment *segment = found.items[i];
        if (segment->is_damaged) {
            if (replay->result->damaged_segments++ == 0)
                tell_damage(replay->result, segment);
        }
        bool is_live = segment->sequence > 0 && segment->last_commit >= segment->first_commit &&
                       segment->last_commit > replay->released_commit;
        if (!is_live) {
            journal_dispose(journal, segment);
            continue;
        }
        mutex_lock(&journal->lock);
        segment_list_add(&journal->live, segment);
        mutex_unlock(&journal->lock);
        if (segment == replay->last_segment) {
            journal->unsettled.path = nx_strdup(segment->path);
            journal->unsettled.sequence = segment->sequence;
            journal->unsettled.begin = replay->last_begin;
            journal->unsettled.end = segment->end;
            if (segment->is_start_torn && !segment->is_damaged) {
                journal->unsettled.header = nx_alloc(JOURNAL_PAGE_BYTES);
                journal_segment_header_put(journal->unsettled.header, segment);
            }
        }
    }
    nx_free(found.items);
}

nx_code journal_replay(struct journal *journal, uint64_t released_commit,
                       const struct journal_visitor *visitor, struct journal_replay_result *out,
                       struct nx_err *err)
{
    NX_ASSERT(!journal->is_replayed);
    *out = (struct journal_replay_result){0};
    struct replay replay = {
        .journal = journal,
        .visitor = visitor,
        .result = out,
        .released_commit = released_commit,
        .last_commit = released_commit,
    };
    struct journal_segment_list *found = &journal->found;
    if (found->count > 1)
        qsort(found->items, found->count, sizeof(struct journal_segment *), compare_segments);
    struct chain_link *chain = nx_calloc(found->count + 1, sizeof(*chain));
    size_t count = build_chain(&replay, chain);
    if (count > 0 && found->items[chain[0].index]->first_commit - 1 > replay.last_commit)
        replay.last_commit = found->items[chain[0].index]->first_commit - 1;
    nx_code code = NX_OK;
    if (journal->is_replay_ahead && count > 0)
        code = journal_ahead_new(&replay.ahead, take_record, &replay, err);
    if (code == NX_OK)
        code = replay_chain(&replay, chain, count, err);
    journal_ahead_free(replay.ahead);
    nx_free(chain);
    nx_buf_deinit(&replay.reader.window);
    if (code != NX_OK)
        return code;
    if (replay.last_segment != NULL) {
        journal->tail_sequence = replay.last_segment->sequence;
        journal->tail_end = replay.last_segment->end;
    }
    journal->last_commit = replay.last_commit;
    out->last_commit = replay.last_commit;
    settle_segments(&replay);
    journal->is_replayed = true;
    return NX_OK;
}
