/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - open and close: the lock, the directories, what the last run left, and the threads.
 *
 * In       a directory, empty or of an earlier run that ended anyhow
 * Out      a store that takes writes and answers queries, with every committed sample in it
 * Fails    NX_E_BUSY (another process), NX_E_INVALID (another format, not a directory), NX_E_IO
 *
 * The newest level-0 block names the series that the journal refers to by slot; the journal behind its commit brings
 * the samples. When that block is damaged it is set aside and the one before it is taken: what only it held is then
 * missing, and told.
 */
#include "narthex/base/assert.h"
#include "narthex/base/log.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"

#include "commit_value.h"
#include "store_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_PATH_MAX   4096
#define LOAD_THREADS_MAX 4u /* derived: one thread reads as fast as about three apply */

static nx_code join_path(char out[STORE_PATH_MAX], const char *dir, const char *name,
                         struct nx_err *err)
{
    int length = snprintf(out, STORE_PATH_MAX, "%s/%s", dir, name);
    if (length < 0 || length >= STORE_PATH_MAX)
        return nx_err_set(err, NX_E_INVALID, "the path of the data directory is too long");
    return NX_OK;
}

/* Makes it, durably. One that is there may be of a start that was killed before it had synced the name; where the
 * directory above may not be read, somebody else made it. */
static nx_code prepare_directory(struct store *store, struct nx_err *err)
{
    struct stat status;
    if (store->options.is_read_only)
        return data_dir_check(store->data_dir, err);
    nx_code code = data_dir_check_restored(store->data_dir, err);
    if (code != NX_OK)
        return code;
    bool is_there = stat(store->data_dir, &status) == 0;
    if (is_there && !S_ISDIR(status.st_mode))
        return nx_err_set(err, NX_E_INVALID, "%s is not a directory", store->data_dir);
    char above[STORE_PATH_MAX];
    code = join_path(above, store->data_dir, "..", err);
    if (code == NX_OK)
        code = store->options.io->mkdir(store->options.io, store->data_dir, err);
    if (code != NX_OK)
        return code;
    code = io_sync_dir(store->options.io, above, err);
    return is_there ? NX_OK : code;
}

/* As a tool does, and writes into the file LOCK who holds it. */
static nx_code take_lock(struct store *store, struct nx_err *err)
{
    const struct io *io = store->options.io;
    struct data_dir_lock *lock = &store->lock;
    if (store->options.is_read_only)
        return data_dir_lock(lock, store->data_dir, err);
    char path[STORE_PATH_MAX];
    nx_code code = join_path(path, store->data_dir, "LOCK", err);
    if (code == NX_OK)
        code = io->open(io, store->data_dir, O_RDONLY | O_DIRECTORY, 0, &lock->dir_fd, err);
    if (code == NX_OK)
        code = io->open(io, path, O_RDWR | O_CREAT, 0666, &lock->file_fd, err);
    if (code != NX_OK)
        return code;
    uint64_t holder = 0;
    code = data_dir_lock_opened(lock, store->data_dir, &holder, err);
    if (code == NX_E_BUSY)
        return nx_err_set(err, code, "another narthex (pid %" PRIu64 ") holds %s", holder,
                          store->data_dir);
    if (code != NX_OK)
        return code;
    char text[32];
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    struct nx_err ignored; /* the number is for messages; a full disk must not stop a start */
    if (io->ftruncate(io, lock->file_fd, 0, &ignored) == NX_OK)
        nx_ignore(io->pwrite(io, lock->file_fd, text, (size_t)length, 0, &ignored));
    return NX_OK;
}

static nx_code open_blocks(struct store *store, struct nx_err *err)
{
    struct block_list_options options = {
        .io = store->options.io,
        .clock = store->options.clock,
        .data_dir = store->data_dir,
        .cache_bytes = (size_t)store->options.cache_bytes,
        .is_read_only = store->options.is_read_only,
    };
    return block_list_open(&store->blocks, &options, err);
}

/* ---- series ---- */

struct loading {
    struct head *head;
    uint64_t series;
};

static nx_code load_pair(void *context, struct label pair, struct nx_err *err)
{
    (void)err;
    struct loading *loading = context;
    head_load_pair(loading->head, pair);
    return NX_OK;
}

static nx_code load_series(void *context, uint32_t rank, uint32_t slot, const uint32_t *pairs,
                           size_t count, struct nx_err *err)
{
    (void)rank;
    struct loading *loading = context;
    if (slot == BLOCK_SLOT_NONE)
        return nx_err_set(err, NX_E_CORRUPT, "a series of a flushed block has no slot");
    loading->series++;
    return head_load_series_pairs(loading->head, slot, pairs, count, err);
}

/* Of two processors both apply: reading, decoding and applying are stages, none of which is half of the work. */
static unsigned load_threads(void)
{
    unsigned count = thread_cpu_count();
    if (count == 1)
        return 0;
    return count < LOAD_THREADS_MAX ? count : LOAD_THREADS_MAX;
}

static nx_code load_block(struct store *store, struct block *block, uint64_t *out_series,
                          struct nx_err *err)
{
    struct head_options options = {.series_max = store->options.series_max,
                                   .admit = admission_series,
                                   .admit_context = &store->admission};
    head_free(store->head);
    store->head = NULL;
    nx_code code = head_new(&store->head, &options, err);
    if (code == NX_OK)
        code = head_load_threads(store->head, load_threads(), err);
    if (code != NX_OK || block == NULL)
        return code;
    struct loading loading = {.head = store->head};
    struct block_pairs_visitor visitor = {
        .context = &loading, .pair = load_pair, .series = load_series};
    code = block_verify(block, err);
    if (code == NX_OK)
        code = block_each_series_pairs(block, &visitor, err);
    if (code == NX_OK)
        code = head_load_wait(store->head, err);
    *out_series = loading.series;
    return code;
}

/* The head with the series of the newest flush that verifies. */
static nx_code load_head(struct store *store, struct store_open_result *result, struct nx_err *err)
{
    for (;;) {
        struct block *newest = block_list_newest_flush(store->blocks);
        result->series_loaded = 0;
        nx_code code = load_block(store, newest, &result->series_loaded, err);
        if (code == NX_E_CORRUPT && newest != NULL) {
            struct nx_err reason = *err;
            code = block_list_quarantine(store->blocks, newest, reason.msg, err);
            block_unref(newest);
            if (code != NX_OK)
                return code;
            continue;
        }
        block_unref(newest);
        return code;
    }
}

/* The newest commit that a block holds. */
static uint64_t flushed_commit(struct store *store)
{
    uint64_t commit = 0;
    struct block_snapshot snapshot;
    block_list_snapshot(store->blocks, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++) {
        if (block_meta(snapshot.blocks[i])->commit_max > commit)
            commit = block_meta(snapshot.blocks[i])->commit_max;
    }
    block_snapshot_end(&snapshot);
    return commit;
}

/* ---- samples ---- */

/* The first damage is told; what does not fit is cut. */
static void tell(struct store_open_result *result, const char *damage)
{
    size_t length = strnlen(damage, sizeof(result->damage) - 1);
    memcpy(result->damage, damage, length);
    result->damage[length] = '\0';
}

/* What is of no series is the store's, the rest is the head's. */
static nx_code visit_blob(void *context, enum journal_blob_kind kind, uint32_t slot,
                          int64_t time_ms, struct nx_bytes payload, struct nx_err *err)
{
    struct store *store = context;
    if (kind != JOURNAL_BLOB_METADATA)
        return head_journal_visitor.blob(store->head, kind, slot, time_ms, payload, err);
    struct byte_reader reader = byte_reader_of(payload);
    struct metric_metadata metadata;
    if (metadata_get(&reader, &metadata))
        metadata_table_put(store->metadata, &metadata);
    return NX_OK;
}

static nx_code visit_define(void *context, uint32_t slot, struct labels labels, struct nx_err *err)
{
    struct store *store = context;
    return head_journal_visitor.define(store->head, slot, labels, err);
}

static nx_code visit_samples(void *context, const uint32_t *slots, const int64_t *times_ms,
                             const uint64_t *value_bits, size_t count, struct nx_err *err)
{
    struct store *store = context;
    return head_journal_visitor.samples(store->head, slots, times_ms, value_bits, count, err);
}

static nx_code load_metadata(struct store *store, struct nx_err *err)
{
    nx_code code = metadata_table_load(store->metadata, block_list_catalog(store->blocks), err);
    if (code != NX_E_CORRUPT)
        return code;
    log_warn("store", "metadata of some metrics is lost", LOG_STR("reason", err->msg));
    return NX_OK;
}

static nx_code replay_journal(struct store *store, struct store_open_result *result,
                              struct nx_err *err)
{
    char dir[STORE_PATH_MAX];
    char quarantine[STORE_PATH_MAX];
    nx_code code = join_path(dir, store->data_dir, "journal", err);
    if (code == NX_OK)
        code = join_path(quarantine, store->data_dir, "quarantine", err);
    if (code != NX_OK)
        return code;
    struct journal_options options = {
        .io = store->options.io,
        .dir = dir,
        .segment_bytes = store->options.journal_segment_bytes,
        .quarantine_dir = quarantine,
        .is_replay_ahead = load_threads() > 0,
    };
    if (store->options.is_read_only && !io_exists(dir)) {
        head_load_finish(store->head);
        return NX_OK;
    }
    code = journal_open(&store->journal, &options, err);
    if (code != NX_OK)
        return code;
    struct journal_visitor visitor = {
        .context = store,
        .define = visit_define,
        .samples = visit_samples,
        .blob = visit_blob,
    };
    struct journal_replay_result replayed;
    code = journal_replay(store->journal, store->flushed_commit, &visitor, &replayed, err);
    if (code == NX_OK)
        code = head_load_wait(store->head, err);
    if (code != NX_OK)
        return code;
    head_load_finish(store->head);
    result->journal_samples = replayed.samples;
    result->journal_commits = replayed.commits;
    result->has_torn_tail = replayed.has_torn_tail;
    result->damaged_segments = replayed.damaged_segments;
    tell(result, replayed.damage);
    return NX_OK;
}

/* ---- the note of the newest commit ---- */

#define NOTE_KEY "journal.newest_commit"

nx_code store_note_commit(struct store *store, struct nx_err *err)
{
    struct journal_stats stats;
    journal_stats(store->journal, &stats);
    uint64_t commit = stats.last_commit;
    if (commit == store->noted_commit)
        return NX_OK;
    uint8_t value[COMMIT_VALUE_BYTES];
    commit_value_put(value, commit);
    nx_code code = catalog_put(block_list_catalog(store->blocks), NOTE_KEY,
                               (struct nx_bytes){.data = value, .len = sizeof(value)}, err);
    if (code == NX_OK)
        store->noted_commit = commit;
    return code;
}

/* How many commits were durable and are not there any more. */
static nx_code compare_note(struct store *store, struct store_open_result *result,
                            struct nx_err *err)
{
    struct journal_stats stats;
    struct nx_buf value = {0};
    journal_stats(store->journal, &stats);
    nx_code code = catalog_get(block_list_catalog(store->blocks), NOTE_KEY, &value, err);
    if (code == NX_OK && value.len == COMMIT_VALUE_BYTES) {
        uint64_t noted = commit_value_get(value.data);
        store->noted_commit = noted;
        if (noted > stats.last_commit)
            result->missing_commits = noted - stats.last_commit;
        if (result->missing_commits > 0 && result->damage[0] == '\0')
            snprintf(result->damage, sizeof(result->damage),
                     "journal: commits %" PRIu64 " to %" PRIu64
                     " were durable and are missing: a segment was emptied, cut or removed",
                     stats.last_commit + 1, noted);
    }
    nx_buf_deinit(&value);
    return code == NX_E_NOT_FOUND ? NX_OK : code;
}

static void tell_damage(struct store *store, struct store_open_result *result)
{
    struct block_list_stats blocks;
    struct head_stats head;
    block_list_stats(store->blocks, &blocks);
    head_stats(store->head, &head);
    result->blocks = blocks.blocks;
    result->quarantined_blocks = (unsigned)blocks.quarantined;
    result->unknown_samples = head.unknown_samples;
    if (result->damage[0] == '\0' && blocks.quarantined > 0)
        tell(result, blocks.damage);
    if (result->damage[0] == '\0' && head.unknown_samples > 0)
        snprintf(result->damage, sizeof(result->damage),
                 "%" PRIu64 " samples of series that nothing defines any more",
                 head.unknown_samples);
}

/* ---- open, close ---- */

static nx_code open_stages(struct store *store, struct store_open_result *result,
                           struct nx_err *err)
{
    nx_code code = prepare_directory(store, err);
    if (code == NX_OK)
        code = take_lock(store, err);
    if (code == NX_OK)
        code = open_blocks(store, err);
    if (code != NX_OK)
        return code;
    uint64_t begun_ns = clock_mono_ns(clock_real());
    code = load_head(store, result, err);
    if (code != NX_OK)
        return code;
    uint64_t loaded_ns = clock_mono_ns(clock_real());
    code = delete_covered_commit(store->blocks, &store->flushed_commit, err);
    if (code != NX_OK)
        return code;
    uint64_t newest_commit = flushed_commit(store);
    if (newest_commit > store->flushed_commit)
        store->flushed_commit = newest_commit;
    code = load_metadata(store, err);
    if (code != NX_OK)
        return code;
    code = replay_journal(store, result, err);
    if (code != NX_OK)
        return code;
    code = compare_note(store, result, err);
    if (code != NX_OK)
        return code;
    result->load_ms = (loaded_ns - begun_ns) / 1000000;
    result->replay_ms = (clock_mono_ns(clock_real()) - loaded_ns) / 1000000;
    tell_damage(store, result);
    store->last_flush_ns = clock_mono_ns(store->options.clock);
    store->querier = querier_new(store->head, store->blocks, &store->views);
    store->cardinality = cardinality_new(store->head, store->options.clock);
    if (store->options.is_read_only)
        return NX_OK;
    if (store->options.scrub_bytes_per_s > 0) {
        const struct scrub_options scrub = {.list = store->blocks,
                                            .clock = store->options.clock,
                                            .bytes_per_s = store->options.scrub_bytes_per_s};
        store->scrub = scrub_new(&scrub);
    }
    code = committer_start(&store->committer, store->head, store->journal, err);
    if (code == NX_OK)
        pace_init(store);
    if (code == NX_OK && store->options.is_maintained)
        code = watch_start(store, err);
    if (code == NX_OK && store->options.is_maintained)
        code = maintenance_start(store, err);
    return code;
}

/* Everything but the flush. Keeps an error that is set already. */
static nx_code close_parts(struct store *store, nx_code code, struct nx_err *err)
{
    querier_free(store->querier);
    struct nx_err closing;
    nx_code close_code = journal_close(store->journal, &closing);
    if (code == NX_OK && close_code != NX_OK) {
        *err = closing;
        code = close_code;
    }
    scrub_free(store->scrub);
    block_list_close(store->blocks);
    cardinality_free(store->cardinality);
    head_free(store->head);
    metadata_table_free(store->metadata);
    data_dir_unlock(&store->lock);
    head_views_deinit(&store->views);
    disk_reserve_deinit(&store->reserve);
    cond_deinit(&store->watch_tick);
    mutex_deinit(&store->watch_lock);
    cond_deinit(&store->tick);
    mutex_deinit(&store->tick_lock);
    mutex_deinit(&store->maintain);
    mutex_deinit(&store->merging);
    write_gate_deinit(&store->gate);
    nx_free(store->data_dir);
    nx_free(store);
    return code;
}

nx_code store_open(struct store **out_store, const struct store_options *options,
                   struct store_open_result *out_result, struct nx_err *err)
{
    struct store *store = nx_calloc(1, sizeof(*store));
    struct store_open_result result = {0};
    store->options = *options;
    store->data_dir = nx_strdup(options->data_dir);
    store->options.data_dir = store->data_dir;
    store->lock = DATA_DIR_LOCK_NONE;
    mutex_init(&store->maintain, LOCK_RANK_STORE);
    mutex_init(&store->merging, LOCK_RANK_STORE);
    write_gate_init(&store->gate);
    mutex_init(&store->tick_lock, LOCK_RANK_STORE);
    cond_init(&store->tick);
    head_views_init(&store->views);
    store->metadata = metadata_table_new();
    mutex_init(&store->watch_lock, LOCK_RANK_STORE);
    cond_init(&store->watch_tick);
    admission_init(&store->admission, options->budget, options->new_series_per_minute,
                   options->clock);
    disk_reserve_init(&store->reserve, options->io, store->data_dir, options->min_free_bytes);
    nx_code code = open_stages(store, &result, err);
    if (code != NX_OK) {
        atomic_store(&store->is_stopping, true);
        watch_stop(store);
        committer_stop(store->committer);
        return close_parts(store, code, err);
    }
    *out_result = result;
    *out_store = store;
    return NX_OK;
}

nx_code store_close(struct store *store, struct nx_err *err)
{
    if (store == NULL)
        return NX_OK;
    atomic_store_explicit(&store->is_stopping, true, memory_order_release);
    atomic_store(&store->merge_stop, true);
    if (store->options.is_read_only)
        return close_parts(store, NX_OK, err);
    maintenance_stop(store);
    watch_stop(store);
    committer_stop(store->committer);
    store->committer = NULL;
    nx_code code = store_flush(store, err);
    if (code != NX_OK) { /* the journal has it: a start should find all of it */
        struct nx_err ignored;
        nx_ignore(store_note_commit(store, &ignored));
    }
    return close_parts(store, code, err);
}

/* ---- facade ---- */

struct series_source *store_source(struct store *store)
{
    return querier_source(store->querier);
}

nx_code store_exemplars(struct store *store, const struct matcher *matchers, size_t matcher_count,
                        int64_t min_ms, int64_t max_ms, struct arena *arena,
                        struct exemplar_series **out, size_t *out_count,
                        struct series_warnings *warnings, struct nx_err *err)
{
    return querier_exemplars(store->querier, matchers, matcher_count, min_ms, max_ms, arena, out,
                             out_count, warnings, err);
}

nx_code store_metadata(struct store *store, struct nx_str family, size_t limit, struct arena *arena,
                       struct metric_metadata **out, size_t *out_count, struct nx_err *err)
{
    return metadata_table_list(store->metadata, family, limit, arena, out, out_count, err);
}

struct cardinality *store_cardinality(struct store *store)
{
    return store->cardinality;
}

void store_publish(struct store *store)
{
    disk_reserve_publish(&store->reserve);
}

void store_stats(struct store *store, struct store_stats *out)
{
    *out = (struct store_stats){0};
    head_stats(store->head, &out->head);
    journal_stats(store->journal, &out->journal);
    struct block_list_stats blocks;
    block_list_stats(store->blocks, &blocks);
    out->blocks = blocks.blocks;
    out->block_bytes = blocks.bytes;
    out->block_samples = blocks.samples;
    out->cache_bytes = blocks.cache_bytes;
    out->quarantined_blocks = blocks.quarantined;
    out->unreadable_blocks = blocks.unreadable;
    out->tombstones = blocks.tombstones;
    out->tombstone_bytes = blocks.tombstone_bytes;
    out->cardinality_bytes = cardinality_bytes(store->cardinality);
    out->metadata_bytes = metadata_table_bytes(store->metadata);
    out->is_writable = committer_state(store->committer) == NX_OK;
}
