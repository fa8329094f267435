/* SPDX-License-Identifier: Apache-2.0
 *
 * querier_exemplars.c - exemplars of the series that matchers select, from the head and every block.
 *
 * In       matchers, a range.
 * Out      series in label order, each with its exemplars by time; what is in two places comes once.
 * Fails    NX_E_LIMIT (the query's memory), NX_E_TIMEOUT. What a disk refuses or what does not verify is left out,
 *          with a warning.
 */
#include "narthex/base/mem.h"

#include "querier_internal.h"

#include <stdlib.h>
#include <string.h>

/* One series of one place. */
struct found {
    struct labels labels;             /* in the arena */
    const struct exemplar *exemplars; /* likewise */
    size_t count;
};

struct search {
    struct querier *querier;
    int64_t min_ms, max_ms;
    struct arena *arena;
    struct series_warnings *warnings;
    struct nx_buf found;  /* struct found */
    struct nx_buf series; /* scratch: struct exemplar of the series at hand */
    struct nx_buf deleted;
};

static nx_code memory_spent(struct nx_err *err)
{
    return nx_err_set(err, NX_E_LIMIT,
                      "the answer needs more memory than --query.max-memory allows");
}

/* Keeps the exemplars in the scratch, if any, with a copy of the labels. */
static nx_code keep(struct search *search, struct labels labels, bool is_copied, struct nx_err *err)
{
    size_t count = search->series.len / sizeof(struct exemplar);
    if (count == 0)
        return NX_OK;
    struct found found = {
        .labels = is_copied ? labels : labels_copy(search->arena, labels),
        .exemplars = arena_copy(search->arena, search->series.data, search->series.len),
        .count = count,
    };
    if (arena_is_exhausted(search->arena))
        return memory_spent(err);
    nx_buf_append(&search->found, &found, sizeof(found));
    return NX_OK;
}

static nx_code search_head(struct search *search, const struct matcher *matchers,
                           size_t matcher_count, struct nx_err *err)
{
    struct head *head = search->querier->head;
    struct head_series *series;
    size_t count;
    nx_code code = head_select(head, matchers, matcher_count, search->min_ms, search->max_ms,
                               search->arena, &series, &count, err);
    for (size_t i = 0; i < count && code == NX_OK; i++) {
        if (!series[i].has_side)
            continue;
        nx_buf_reset(&search->series);
        code = head_read_exemplars(head, series[i].ref, search->min_ms, search->max_ms,
                                   search->arena, &search->series, err);
        if (code == NX_OK)
            code = keep(search, series[i].labels, true, err);
    }
    return code;
}

/* Takes out of the scratch what is deleted. */
static void mask(struct search *search, struct tombstones *tombstones, uint32_t rank)
{
    if (!tombstones_has(tombstones, rank))
        return;
    nx_buf_reset(&search->deleted);
    tombstones_ranges(tombstones, rank, &search->deleted);
    const struct time_range *ranges = (const struct time_range *)(const void *)search->deleted.data;
    size_t range_count = search->deleted.len / sizeof(*ranges);
    struct exemplar *exemplars = (struct exemplar *)(void *)search->series.data;
    size_t kept = time_ranges_filter_exemplars(ranges, range_count, exemplars,
                                               search->series.len / sizeof(*exemplars));
    search->series.len = kept * sizeof(*exemplars);
}

static nx_code search_ranks(struct search *search, struct block_reader *reader,
                            struct tombstones *tombstones, const uint32_t *ranks, size_t count,
                            struct nx_err *err)
{
    nx_code code = NX_OK;
    for (size_t i = 0; i < count && code == NX_OK; i++) {
        struct labels labels;
        nx_buf_reset(&search->series);
        code = block_reader_exemplars(reader, ranks[i], search->min_ms, search->max_ms,
                                      search->arena, &search->series, err);
        if (code == NX_OK)
            mask(search, tombstones, ranks[i]);
        if (code == NX_OK && search->series.len > 0) {
            code = block_reader_labels(reader, ranks[i], &labels, NULL, err);
            if (code == NX_OK)
                code = keep(search, labels, false, err);
        }
    }
    return code;
}

static nx_code search_block(struct search *search, struct block *block,
                            struct tombstones *tombstones, const struct matcher *matchers,
                            size_t matcher_count, struct nx_err *err)
{
    const struct block_meta *meta = block_meta(block);
    if (meta->exemplar_count == 0 || meta->exemplar_max_ms < search->min_ms ||
        meta->exemplar_min_ms > search->max_ms)
        return NX_OK;
    struct block_reader *reader = NULL;
    uint32_t *ranks;
    size_t count;
    nx_code code = block_select(block, matchers, matcher_count, search->arena, &ranks, &count, err);
    if (code == NX_OK)
        code = block_reader_new(block, &reader, err);
    if (code == NX_OK)
        code = search_ranks(search, reader, tombstones, ranks, count, err);
    block_reader_free(reader);
    if (code != NX_E_CORRUPT && code != NX_E_IO)
        return code;
    querier_drop_block(search->querier, block, search->warnings, search->arena, err);
    return NX_OK;
}

/* ---- together ---- */

static int compare_found(const void *a, const void *b)
{
    return labels_compare(((const struct found *)a)->labels, ((const struct found *)b)->labels);
}

/* All of one series, sorted, each once. */
static nx_code join(struct search *search, const struct found *found, size_t places,
                    struct exemplar_series *out, struct nx_err *err)
{
    size_t count = 0;
    for (size_t i = 0; i < places; i++)
        count += found[i].count;
    struct exemplar *all = arena_alloc(search->arena, count * sizeof(*all));
    if (all == NULL)
        return memory_spent(err);
    size_t at = 0;
    for (size_t i = 0; i < places; i++) {
        memcpy(all + at, found[i].exemplars, found[i].count * sizeof(*all));
        at += found[i].count;
    }
    *out = (struct exemplar_series){
        .labels = found[0].labels, .exemplars = all, .count = exemplars_sort(all, count)};
    return NX_OK;
}

static nx_code join_all(struct search *search, struct exemplar_series **out, size_t *out_count,
                        struct nx_err *err)
{
    struct found *found = (struct found *)(void *)search->found.data;
    size_t count = search->found.len / sizeof(*found);
    struct exemplar_series *series = arena_alloc(search->arena, count * sizeof(*series));
    if (series == NULL)
        return memory_spent(err);
    if (count > 0)
        qsort(found, count, sizeof(*found), compare_found);
    *out_count = 0;
    for (size_t i = 0; i < count;) {
        size_t places = 1;
        while (i + places < count && compare_found(&found[i], &found[i + places]) == 0)
            places++;
        nx_code code = join(search, &found[i], places, &series[(*out_count)++], err);
        if (code != NX_OK)
            return code;
        i += places;
    }
    *out = series;
    return NX_OK;
}

nx_code querier_exemplars(struct querier *querier, const struct matcher *matchers,
                          size_t matcher_count, int64_t min_ms, int64_t max_ms, struct arena *arena,
                          struct exemplar_series **out, size_t *out_count,
                          struct series_warnings *warnings, struct nx_err *err)
{
    struct search search = {.querier = querier,
                            .min_ms = min_ms,
                            .max_ms = max_ms,
                            .arena = arena,
                            .warnings = warnings};
    struct head_view view;
    struct block_snapshot snapshot;
    head_view_begin(querier->views, &view);
    nx_code code = search_head(&search, matchers, matcher_count, err);
    if (code == NX_OK && head_view_is_expired(&view))
        code =
            nx_err_set(err, NX_E_TIMEOUT, "the query ran on while what it reads was moved to disk");
    if (code == NX_OK) {
        /* Of all blocks: exemplars may lie beside the samples' range. */
        block_list_snapshot(querier->blocks, INT64_MIN, INT64_MAX, &snapshot);
        querier_warn_absent(querier, &snapshot, min_ms, max_ms, warnings, arena);
        for (size_t i = 0; i < snapshot.count && code == NX_OK; i++)
            code = search_block(&search, snapshot.blocks[i],
                                snapshot.tombstones != NULL ? snapshot.tombstones[i] : NULL,
                                matchers, matcher_count, err);
        block_snapshot_end(&snapshot);
    }
    head_view_end(querier->views, &view);
    if (code == NX_OK)
        code = join_all(&search, out, out_count, err);
    nx_buf_deinit(&search.found);
    nx_buf_deinit(&search.series);
    nx_buf_deinit(&search.deleted);
    return code;
}
