/* SPDX-License-Identifier: Apache-2.0 */
/* flush.c - the third conductor: a list of stages, each a function of this file or of a layer below.
 *
 * In       the head, and the number of the newest commit that a block holds
 * Out      one more level-0 block, journal segments to reuse, memory
 * Fails    at any stage, with everything as it was
 *
 * Why nothing is lost: the cut returns commit S when all commits up to S are durable and their samples are in the
 * head. Sealing comes after, so the block holds all of them (and some newer ones, which the journal keeps as well:
 * replaying them changes nothing). Only when the block is published are the segments up to S recycled, and only then
 * does the head let go.
 */
#include "narthex/storage/flush.h"

#include "narthex/base/assert.h"
#include "narthex/base/buf.h"

#include <stdatomic.h>

struct flush {
    const struct flush_parts *parts;
    uint64_t commit; /* S */
    struct head_flush *sealed;
    char ulid[ULID_TEXT_LEN + 1];
    struct block_meta meta;
    uint64_t series, samples;
};

static void crash_point(const struct flush *flush, const char *name)
{
    flush->parts->io->crash_point(flush->parts->io, name);
}

static void flush_cut(struct flush *flush)
{
    const struct flush_parts *parts = flush->parts;
    flush->commit =
        parts->committer != NULL ? committer_cut(parts->committer) : journal_cut(parts->journal);
    crash_point(flush, "flush_cut");
}

static nx_code flush_seal(struct flush *flush, struct nx_err *err)
{
    nx_code code = head_flush_begin(flush->parts->head, &flush->sealed, err);
    if (code == NX_OK)
        crash_point(flush, "flush_sealed_head");
    return code;
}

static nx_code add_series(struct flush *flush, struct block_writer *writer, struct nx_err *err)
{
    for (;;) {
        struct head_flush_series series;
        int got = head_flush_next(flush->sealed, &series, err);
        if (got <= 0)
            return got == 0 ? NX_OK : err->code;
        nx_code code = block_writer_add(writer, series.labels, series.slot, series.times_ms,
                                        series.values, series.count, err);
        if (code == NX_OK && series.histogram_count > 0)
            code =
                block_writer_add_histograms(writer, series.histograms, series.histogram_count, err);
        if (code == NX_OK && series.exemplar_count > 0)
            code = block_writer_add_exemplars(writer, series.exemplars, series.exemplar_count, err);
        if (code != NX_OK)
            return code;
        flush->series++;
        flush->samples += series.count + series.histogram_count;
    }
}

static nx_code flush_encode(struct flush *flush, struct nx_err *err)
{
    const struct flush_parts *parts = flush->parts;
    struct nx_buf dir = {0};
    nx_code code = block_list_begin(parts->blocks, flush->ulid, &dir, err);
    if (code != NX_OK) {
        nx_buf_deinit(&dir);
        return code;
    }
    nx_buf_append_byte(&dir, 0);
    /* Samples may be newer than S, or, while the journal cannot be written, of no commit at all. */
    uint64_t first = *parts->flushed_commit + 1;
    struct block_writer_options options = {
        .io = parts->io,
        .dir = (const char *)dir.data,
        .ulid = flush->ulid,
        .level = 0,
        .commit_min = first < flush->commit ? first : flush->commit,
        .commit_max = flush->commit,
        .zstd_level = 1,
    };
    struct block_writer *writer = NULL;
    code = block_writer_new(&writer, &options, err);
    if (code == NX_OK)
        code = add_series(flush, writer, err);
    if (code == NX_OK && flush->series > 0)
        code = block_writer_finish(writer, &flush->meta, err);
    block_writer_free(writer);
    nx_buf_deinit(&dir);
    if (code != NX_OK || flush->series == 0)
        block_list_abandon(parts->blocks, flush->ulid);
    return code;
}

static nx_code flush_publish(struct flush *flush, struct nx_err *err)
{
    nx_code code = block_list_publish(flush->parts->blocks, &flush->meta, 1, NULL, 0, err);
    if (code != NX_OK)
        return code;
    *flush->parts->flushed_commit = flush->commit;
    crash_point(flush, "flush_published");
    return NX_OK;
}

/* Metadata of the journal goes to the catalog before its segments do. */
static nx_code flush_metadata(const struct flush *flush, struct nx_err *err)
{
    const struct flush_parts *parts = flush->parts;
    if (parts->metadata == NULL)
        return NX_OK;
    return metadata_table_save(parts->metadata, block_list_catalog(parts->blocks), err);
}

/* A segment that is not recycled now is recycled with the next flush: the block is published all the same. */
static void flush_recycle(struct flush *flush)
{
    struct nx_err ignored;
    nx_ignore(journal_release(flush->parts->journal, flush->commit, &ignored));
    crash_point(flush, "flush_recycled");
}

static void flush_let_go(struct flush *flush)
{
    const _Atomic bool *is_stopping = flush->parts->is_stopping;
    bool is_patient = is_stopping == NULL || !atomic_load(is_stopping);
    head_views_drain(flush->parts->views, is_patient ? FLUSH_VIEW_TIMEOUT_NS : 0);
    head_flush_end(flush->sealed, true);
    flush->sealed = NULL;
}

static bool has_work(const struct flush_parts *parts)
{
    struct head_stats stats;
    head_stats(parts->head, &stats);
    return stats.unflushed_samples > 0;
}

nx_code flush_run(const struct flush_parts *parts, struct flush_result *out_result,
                  struct nx_err *err)
{
    *out_result = (struct flush_result){0};
    if (!has_work(parts))
        return NX_OK;
    struct flush flush = {.parts = parts};
    flush_cut(&flush);
    if (flush.commit <= *parts->flushed_commit && parts->committer != NULL)
        return NX_OK; /* nothing was committed since: nothing to recycle, and the head keeps what it has */
    nx_code code = flush_seal(&flush, err);
    if (code != NX_OK)
        return code;
    if (parts->on_sealed != NULL)
        parts->on_sealed(parts->on_sealed_context);
    code = flush_encode(&flush, err);
    if (code == NX_OK && flush.series > 0)
        code = flush_metadata(&flush, err);
    if (code == NX_OK && flush.series > 0)
        code = flush_publish(&flush, err);
    if (code != NX_OK || flush.series == 0) {
        head_flush_end(flush.sealed, false);
        return code;
    }
    flush_recycle(&flush);
    flush_let_go(&flush);
    *out_result =
        (struct flush_result){.has_block = true, .series = flush.series, .samples = flush.samples};
    return NX_OK;
}
