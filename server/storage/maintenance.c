/* SPDX-License-Identifier: Apache-2.0 */
/* maintenance.c - what runs behind the writes: flush, merge, retention, verification, spare segments.
 *
 * One thread, one job at a time, each with its own time of next run. A job that fails is tried again after 5 s, then
 * twice as long each time, up to 5 min; its failure is logged once, and its recovery once. The same jobs may be
 * asked for from outside (store_flush, store_merge, store_retain): a mutex keeps flushes apart, another one merges and
 * what else retires blocks; a flush, or a delete, need not wait for a merge.
 */
#include "narthex/base/log.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"
#include "narthex/block/block_delete.h"

#include "store_internal.h"

#include <stddef.h>

#define MS_NS           UINT64_C(1000000)
#define SECOND_NS       UINT64_C(1000000000)
#define TICK_NS         (250 * MS_NS)
#define SPARE_PACE_NS   (20 * MS_NS) /* chosen: 4 MiB each: 200 MB/s at most */
#define SPARE_CHECK_NS  (1 * SECOND_NS)
#define MERGE_CHECK_NS  (30 * SECOND_NS)
#define RETAIN_CHECK_NS (60 * SECOND_NS)
#define LOW_CHECK_NS    (5 * SECOND_NS) /* of merge and retention while the volume is nearly full */
#define VERIFY_PACE_NS  (1 * SECOND_NS) /* chosen: one index a second leaves the disk to queries */
#define VERIFY_CHECK_NS (60 * SECOND_NS)
#define NOTE_PACE_NS    (10 * SECOND_NS) /* chosen: two small syncs */
#define CARDINALITY_NS  (15 * SECOND_NS) /* chosen: two passes in what Prometheus caches */
#define CARDINALITY_PART                                                                           \
 500u /* chosen: of passes that take long, one takes this part of the time */
#define BACKOFF_MIN_NS (5 * SECOND_NS)
#define BACKOFF_MAX_NS (300 * SECOND_NS)
#define RETRY_PACE_NS  (60 * SECOND_NS)
#define URGENT_PARTS                                                                               \
 16u /* chosen: samples in the head are worth a flush at this part of the limit */
#define URGENT_HEAVY_NS  (2 * SECOND_NS)
#define URGENT_QUIET_NS  (60 * SECOND_NS)
#define LEAVING_MIN_NS   (150 * SECOND_NS) /* chosen: scrapes are at most two minutes apart */
#define FLUSH_PER_SERIES 60u               /* samples a series: 15 minutes at 15 s */

static uint64_t now_ns(void)
{
    return clock_mono_ns(clock_real());
}

/* ---- the jobs ---- */

nx_code maintenance_flush(struct store *store, void (*on_sealed)(void *context),
                          struct flush_result *out, struct nx_err *err)
{
    struct flush_parts parts = {
        .io = store->options.io,
        .head = store->head,
        .journal = store->journal,
        .committer = store->committer,
        .blocks = store->blocks,
        .views = &store->views,
        .metadata = store->metadata,
        .flushed_commit = &store->flushed_commit,
        .is_stopping = &store->is_stopping,
        .on_sealed = on_sealed,
        .on_sealed_context = store,
    };
    uint64_t begun_ns = now_ns();
    watch_work_begin(store, STORE_WORK_FLUSH);
    nx_code code = flush_run(&parts, out, err);
    watch_work_end(store, STORE_WORK_FLUSH);
    nx_mem_release(); /* a flush needs some 100 bytes a series for a while */
    if (code == NX_OK)
        store->last_flush_ns = clock_mono_ns(store->options.clock);
    if (code != NX_OK || out->has_block) {
        metrics_add_at(METRIC_FLUSHES, code == NX_OK ? 0 : 1, 1);
        metrics_observe(METRIC_FLUSH_SECONDS, (double)(now_ns() - begun_ns) / 1e9);
    }
    return code;
}

nx_code store_flush(struct store *store, struct nx_err *err)
{
    struct flush_result result;
    mutex_lock(&store->maintain);
    nx_code code = maintenance_flush(store, NULL, &result, err);
    mutex_unlock(&store->maintain);
    return code;
}

static nx_code merge_once(struct store *store, bool force, bool *out_worked,
                          struct merge_result *out, struct nx_err *err)
{
    *out_worked = false;
    mutex_lock(&store->merging);
    atomic_store(&store->merge_stop, false);
    if (atomic_load(&store->is_stopping))
        atomic_store(&store->merge_stop, true);
    watch_work_begin(store, STORE_WORK_MERGE);
    pace_begin(store);
    nx_code code = merge_run(store->blocks, clock_wall_ms(store->options.clock), force,
                             &store->merge_stop, out_worked, out, err);
    watch_work_end(store, STORE_WORK_MERGE);
    mutex_unlock(&store->merging);
    if (*out_worked)
        nx_mem_release();
    if (code == NX_E_CANCELLED && !atomic_load(&store->is_stopping)) {
        metrics_add(METRIC_MEMORY_MERGES_STOPPED, 1);
        code = nx_err_set(err, NX_E_BUSY, "merge: broken off, memory is short");
    }
    if (code == NX_OK && *out_worked)
        metrics_add(METRIC_MERGE_DUPLICATES, out->duplicates);
    if (code == NX_OK && *out_worked)
        metrics_add(METRIC_DELETED_SAMPLES, out->deleted);
    if (code != NX_E_CANCELLED && (code != NX_OK || *out_worked))
        metrics_add_at(METRIC_MERGES, code == NX_OK ? 0 : 1, 1);
    return code;
}

nx_code store_merge(struct store *store, bool force, struct nx_err *err)
{
    bool has_worked = true;
    while (has_worked) {
        struct merge_result result;
        nx_code code = merge_once(store, force, &has_worked, &result, err);
        if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

nx_code store_retain(struct store *store, struct nx_err *err)
{
    unsigned by_age = 0;
    unsigned by_size = 0;
    unsigned deleted = 0;
    mutex_lock(&store->merging);
    nx_code code = block_list_drop_deleted(store->blocks, &deleted, err);
    if (code == NX_OK && store->options.retention_ms > 0)
        code = retention_run(store->blocks, clock_wall_ms(store->options.clock),
                             store->options.retention_ms, &by_age, err);
    if (code == NX_OK && store->options.retention_bytes > 0)
        code = retention_run_bytes(store->blocks, store->options.retention_bytes, &by_size, err);
    block_list_sweep(store->blocks);
    mutex_unlock(&store->merging);
    metrics_add_at(METRIC_BLOCKS_RETIRED, RETIRED_TIME, by_age);
    metrics_add_at(METRIC_BLOCKS_RETIRED, RETIRED_SIZE, by_size);
    metrics_add_at(METRIC_BLOCKS_RETIRED, RETIRED_DELETED, deleted);
    return code;
}

/* ---- the thread ---- */

static bool is_stopping(const struct store *store)
{
    return atomic_load_explicit(&store->is_stopping, memory_order_acquire);
}

/* Logs when a job begins to fail and when it works again; sets its next run. */
static void job_done(struct job *job, const char *area, nx_code code, const struct nx_err *err,
                     uint64_t again_ns)
{
    if (code == NX_OK) {
        if (job->backoff_ns > 0)
            log_info(area, "works again");
        job->backoff_ns = 0;
        job->next_ns = now_ns() + again_ns;
        return;
    }
    if (job->backoff_ns == 0)
        log_error(area, "failed, will be tried again", LOG_STR("code", nx_code_name(code)),
                  LOG_STR("reason", err->msg));
    job->backoff_ns = job->backoff_ns == 0 ? BACKOFF_MIN_NS : job->backoff_ns * 2;
    if (job->backoff_ns > BACKOFF_MAX_NS)
        job->backoff_ns = BACKOFF_MAX_NS;
    job->next_ns = now_ns() + job->backoff_ns;
}

static void run_spare(struct store *store)
{
    struct nx_err err;
    bool has_worked = false;
    nx_code code = journal_prepare_spare(store->journal, &has_worked, &err);
    job_done(&store->jobs.spare, "journal", code, &err,
             has_worked ? SPARE_PACE_NS : SPARE_CHECK_NS);
}

static uint64_t since_flush_ns(struct store *store)
{
    mutex_lock(&store->maintain);
    uint64_t since_ns = clock_mono_ns(store->options.clock) - store->last_flush_ns;
    mutex_unlock(&store->maintain);
    return since_ns;
}

static bool flush_is_due(struct store *store, const struct head_stats *head)
{
    struct journal_stats journal;
    journal_stats(store->journal, &journal);
    uint64_t samples_max = FLUSH_PER_SERIES * head->series;
    if (samples_max < store->options.flush_samples_min)
        samples_max = store->options.flush_samples_min;
    return journal.samples_live > samples_max ||
           (head->unflushed_samples > 0 &&
            since_flush_ns(store) >= (uint64_t)store->options.flush_interval_ms * MS_NS);
}

/* Memory is short: samples become a block when they take much of it; else now and then, so that series leave. */
static bool flush_is_urgent(struct store *store, const struct head_stats *head)
{
    const struct mem_budget *budget = store->options.budget;
    if (budget == NULL || mem_budget_state(budget) < MEM_STATE_FLUSH)
        return false;
    bool is_heavy = head_stats_sample_bytes(head) > budget->limit_bytes / URGENT_PARTS;
    return head->unflushed_samples > 0 &&
           since_flush_ns(store) >= (is_heavy ? URGENT_HEAVY_NS : URGENT_QUIET_NS);
}

/* Urgent flushes may follow each other faster than samples come: series leave only after some time. */
static void choose_leaving(struct store *store, bool is_urgent) NX_REQUIRES(store->maintain)
{
    uint64_t now = clock_mono_ns(store->options.clock);
    bool is_leaving = !is_urgent || now - store->last_leaving_ns >= LEAVING_MIN_NS;
    if (is_leaving)
        store->last_leaving_ns = now;
    head_set_leaving(store->head, is_leaving);
}

/* Nothing to flush: series leave all the same, as often as flushes would let them. */
static bool age_is_due(struct store *store) NX_REQUIRES(store->maintain)
{
    struct head_stats head;
    head_stats(store->head, &head);
    if (head.unflushed_samples > 0 || head.series == 0)
        return false;
    uint64_t now = clock_mono_ns(store->options.clock);
    uint64_t last_ns =
        store->last_age_ns > store->last_flush_ns ? store->last_age_ns : store->last_flush_ns;
    uint64_t pace_ns = (uint64_t)store->options.flush_interval_ms * MS_NS;
    const struct mem_budget *budget = store->options.budget;
    if (budget != NULL && mem_budget_state(budget) >= MEM_STATE_FLUSH && pace_ns > LEAVING_MIN_NS)
        pace_ns = LEAVING_MIN_NS;
    return now - last_ns >= pace_ns;
}

static void run_age(struct store *store)
{
    struct nx_err err;
    nx_code code = NX_OK;
    bool has_aged = false;
    mutex_lock(&store->maintain);
    bool is_due = age_is_due(store);
    if (is_due) {
        code = store_age_locked(store, &has_aged, &err);
        store->last_age_ns = clock_mono_ns(store->options.clock);
    }
    mutex_unlock(&store->maintain);
    if (has_aged)
        nx_mem_release();
    job_done(&store->jobs.flush, "flush", code, &err, SECOND_NS);
}

static void run_flush(struct store *store)
{
    struct head_stats head;
    head_stats(store->head, &head);
    bool is_urgent = flush_is_urgent(store, &head);
    if (!is_urgent && !flush_is_due(store, &head)) {
        run_age(store);
        return;
    }
    metrics_add(METRIC_MEMORY_FLUSHES, is_urgent);
    struct nx_err err;
    struct flush_result result;
    uint64_t begun_ns = now_ns();
    mutex_lock(&store->maintain);
    choose_leaving(store, is_urgent);
    nx_code code = maintenance_flush(store, NULL, &result, &err);
    head_set_leaving(store->head, true);
    if (code == NX_E_FULL && disk_reserve_release(&store->reserve))
        code = maintenance_flush(store, NULL, &result, &err);
    mutex_unlock(&store->maintain);
    job_done(&store->jobs.flush, "flush", code, &err, SECOND_NS);
    /* A new block may be one too many; and on a full disk, dropping old ones is what helps. */
    if ((code == NX_OK && result.has_block) || code == NX_E_FULL)
        atomic_store_explicit(&store->is_retain_wanted, true, memory_order_relaxed);
    if (code == NX_OK && result.has_block) {
        log_info("flush", "block written", LOG_UINT("series", result.series),
                 LOG_UINT("samples", result.samples),
                 LOG_UINT("duration_ms", (now_ns() - begun_ns) / MS_NS));
        store->jobs.merge.next_ns = now_ns();
    }
}

static void run_merge(struct store *store)
{
    struct nx_err err;
    struct merge_result result;
    bool has_worked;
    uint64_t begun_ns = now_ns();
    nx_code code = merge_once(store, false, &has_worked, &result, &err);
    if (code == NX_E_FULL && disk_reserve_release(&store->reserve))
        code = merge_once(store, false, &has_worked, &result, &err);
    if (code == NX_E_CANCELLED)
        return;
    uint64_t idle_ns = store->jobs.was_low ? LOW_CHECK_NS : MERGE_CHECK_NS;
    job_done(&store->jobs.merge, "merge", code, &err, has_worked ? 0 : idle_ns);
    if (code == NX_OK && has_worked)
        log_info("merge", "blocks merged", LOG_UINT("sources", result.sources),
                 LOG_UINT("outputs", result.outputs), LOG_UINT("samples", result.samples),
                 LOG_UINT("duplicates", result.duplicates), LOG_UINT("bytes_in", result.bytes_in),
                 LOG_UINT("bytes_out", result.bytes_out),
                 LOG_UINT("duration_ms", (now_ns() - begun_ns) / MS_NS));
}

static void run_retain(struct store *store)
{
    struct nx_err err;
    nx_code code = store_retain(store, &err);
    if (code == NX_E_FULL && disk_reserve_release(&store->reserve))
        code = store_retain(store, &err);
    job_done(&store->jobs.retain, "retention", code, &err,
             store->jobs.was_low ? LOW_CHECK_NS : RETAIN_CHECK_NS);
}

/* Newest first, one index that was not verified yet a run; a damaged block goes aside. */
static void run_verify(struct store *store)
{
    struct block_snapshot snapshot;
    struct nx_err err = {.code = NX_OK};
    nx_code code = NX_OK;
    bool is_paced = false;
    block_list_snapshot(store->blocks, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = snapshot.count; i-- > 0 && !is_paced && !is_stopping(store);) {
        struct block *block = snapshot.blocks[i];
        uint64_t begun_ns = now_ns();
        struct nx_err reason;
        nx_code verified = block_verify(block, &reason);
        is_paced = now_ns() - begun_ns > MS_NS;
        if (verified == NX_E_CORRUPT) {
            struct nx_err ignored;
            nx_ignore(block_list_quarantine(store->blocks, block, reason.msg, &ignored));
        } else if (verified != NX_OK) {
            code = verified;
            err = reason;
        }
    }
    block_snapshot_end(&snapshot);
    job_done(&store->jobs.verify, "verify", code, &err,
             is_paced ? VERIFY_PACE_NS : VERIFY_CHECK_NS);
}

static void run_note(struct store *store)
{
    struct nx_err err;
    nx_code code = store_note_commit(store, &err);
    job_done(&store->jobs.note, "journal", code, &err, NOTE_PACE_NS);
}

/* Blocks that the disk did not give when the store was opened. */
static void run_retry(struct store *store)
{
    size_t left = block_list_retry(store->blocks);
    store->jobs.retry.next_ns = left > 0 ? now_ns() + RETRY_PACE_NS : UINT64_MAX;
}

/* A piece now and then; one line for a run that found something. */
static void run_scrub(struct store *store)
{
    if (store->scrub == NULL) {
        store->jobs.scrub.next_ns = UINT64_MAX;
        return;
    }
    struct scrub_result result;
    struct nx_err err;
    nx_code code = scrub_run(store->scrub, &store->is_stopping, &result, &err);
    if (result.damages > 0)
        log_error("scrub",
                  result.is_index ? "block is damaged and set aside in quarantine/"
                                  : "block is damaged and serves the rest",
                  LOG_STR("block", result.ulid), LOG_UINT("damages", result.damages),
                  LOG_STR("reason", result.damage));
    job_done(&store->jobs.scrub, "scrub", code, &err, TICK_NS);
}

static void run_cardinality(struct store *store)
{
    uint64_t begun_ns = now_ns();
    cardinality_refresh(store->cardinality);
    uint64_t rest_ns = (now_ns() - begun_ns) * CARDINALITY_PART;
    store->jobs.cardinality.next_ns =
        now_ns() + (rest_ns > CARDINALITY_NS ? rest_ns : CARDINALITY_NS);
}

static void run_due_jobs(struct store *store)
{
    static const struct {
        size_t offset;
        void (*run)(struct store *store);
    } rows[] = {
        {offsetof(struct store, jobs.spare), run_spare},
        {offsetof(struct store, jobs.flush), run_flush},
        {offsetof(struct store, jobs.merge), run_merge},
        {offsetof(struct store, jobs.retain), run_retain},
        {offsetof(struct store, jobs.verify), run_verify},
        {offsetof(struct store, jobs.note), run_note},
        {offsetof(struct store, jobs.scrub), run_scrub},
        {offsetof(struct store, jobs.cardinality), run_cardinality},
        {offsetof(struct store, jobs.retry), run_retry},
    };
    if (atomic_exchange_explicit(&store->is_retain_wanted, false, memory_order_relaxed))
        store->jobs.retain.next_ns = 0;
    bool is_low = disk_reserve_is_low(&store->reserve);
    if (is_low && !store->jobs.was_low)
        store->jobs.retain.next_ns = store->jobs.merge.next_ns = now_ns();
    store->jobs.was_low = is_low;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !is_stopping(store); i++) {
        const struct job *job =
            (const struct job *)(const void *)((const char *)store + rows[i].offset);
        if (now_ns() >= job->next_ns)
            rows[i].run(store);
    }
}

static uint64_t pause_ns(const struct store *store)
{
    uint64_t now = now_ns();
    uint64_t next = store->jobs.spare.next_ns; /* the one job that comes in quick steps */
    uint64_t left = next > now ? next - now : MS_NS;
    return left < TICK_NS ? left : TICK_NS;
}

static void maintenance_run(void *argument)
{
    struct store *store = argument;
    while (!is_stopping(store)) {
        run_due_jobs(store);
        mutex_lock(&store->tick_lock);
        if (!is_stopping(store))
            cond_wait_for(&store->tick, &store->tick_lock, pause_ns(store));
        mutex_unlock(&store->tick_lock);
    }
}

nx_code maintenance_start(struct store *store, struct nx_err *err)
{
    uint64_t now = now_ns();
    store->jobs.merge.next_ns = now + SECOND_NS;
    store->jobs.retain.next_ns = now + 2 * SECOND_NS;
    store->jobs.verify.next_ns = now + SECOND_NS;
    store->jobs.note.next_ns = now + SECOND_NS;
    store->jobs.cardinality.next_ns = now + SECOND_NS;
    store->jobs.retry.next_ns = now + RETRY_PACE_NS;
    return thread_start(&store->maintenance, "maintenance", maintenance_run, store, err);
}

void maintenance_stop(struct store *store)
{
    mutex_lock(&store->tick_lock);
    cond_signal(&store->tick);
    mutex_unlock(&store->tick_lock);
    thread_join(&store->maintenance);
}
