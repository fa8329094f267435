/* SPDX-License-Identifier: Apache-2.0 */
/* block_usage.c - where a block's bytes go: by codec, by metric, by part of the index.
 *
 * A packed group's bytes are shared among its chunks by their size before packing, so the parts add up to the file.
 */
#include "narthex/base/mem.h"
#include "narthex/block/inspect.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/histogram_chunk.h"

#include "block_files.h"
#include "block_piece.h"

#include <stdlib.h>

struct measuring {
    struct block *block;
    const struct block_index *index;
    struct block_usage *usage;
    uint32_t *vector_times; /* per vector: its times */
    uint32_t vector_count;
    uint32_t *rank_metric;  /* per series: index into usage->metrics */
    uint64_t *rank_samples; /* per series */
    struct nx_buf stored, raw;
};

const char *usage_table_name(unsigned table)
{
    static_assert(USAGE_TABLE_COUNT == INDEX_TABLE_COUNT, "one row a database");
    return index_table_names[table];
}

const char *usage_codec_name(unsigned codec)
{
    const struct chunk_codec *found = chunk_codec_find((uint8_t)codec);
    if (codec == CHUNK_CODEC_HISTOGRAM)
        return "histogram";
    return found == NULL ? "other" : found->name;
}

void block_usage_deinit(struct block_usage *usage)
{
    nx_free(usage->metrics);
    nx_free(usage->labels);
    nx_free(usage->pairs);
    usage->metrics = NULL;
    usage->labels = NULL;
    usage->pairs = NULL;
}

/* ---- the index ---- */

static int compare_pairs(const void *a, const void *b)
{
    uint64_t left = ((const struct usage_pair *)a)->series;
    uint64_t right = ((const struct usage_pair *)b)->series;
    return (left < right) - (left > right);
}

/* Keeps the `max` pairs with most series: gathers twice as many, then cuts. */
static void pairs_cut(struct block_usage *usage, size_t max)
{
    if (usage->pair_count > 0)
        qsort(usage->pairs, usage->pair_count, sizeof(*usage->pairs), compare_pairs);
    if (usage->pair_count > max)
        usage->pair_count = max;
}

static nx_code measure_names(struct measuring *m, size_t pairs_max, struct nx_err *err)
{
    struct block_usage *usage = m->usage;
    uint32_t name_count = 0;
    const struct index_name *names = block_index_names(m->index, &name_count);
    usage->labels = nx_calloc((size_t)name_count + 1, sizeof(*usage->labels));
    usage->pairs = nx_calloc(2 * pairs_max + 2, sizeof(*usage->pairs));
    for (uint32_t i = 0; i < name_count; i++) {
        struct usage_label *label = &usage->labels[usage->label_count++];
        label->name = names[i].text;
        label->values = names[i].end_pair - names[i].first_pair;
        for (uint32_t pair = names[i].first_pair; pair < names[i].end_pair; pair++) {
            struct usage_pair row = {.name = names[i].text};
            if (block_index_value(m->index, pair, &row.value) != NX_OK ||
                block_index_postings_count(m->index, pair, &row.series) != NX_OK)
                return nx_err_set(err, NX_E_CORRUPT, "block %s: a label value is out of bounds",
                                  m->block->file.meta.ulid);
            label->series += row.series;
            usage->pairs[usage->pair_count++] = row;
            if (usage->pair_count == 2 * pairs_max + 1)
                pairs_cut(usage, pairs_max);
        }
    }
    pairs_cut(usage, pairs_max);
    return NX_OK;
}

/* Which metric each series is of. The last row of metrics is for series without a name. */
static nx_code measure_metrics(struct measuring *m, struct nx_err *err)
{
    struct block_usage *usage = m->usage;
    const struct index_name *name = block_index_name_find(m->index, NX_STR(LABEL_NAME_METRIC));
    uint32_t first = name == NULL ? 0 : name->first_pair;
    uint32_t count = name == NULL ? 0 : name->end_pair - first;
    uint32_t series = block_index_series_count(m->index);
    usage->metrics = nx_calloc((size_t)count + 1, sizeof(*usage->metrics));
    usage->metric_count = (size_t)count + 1;
    m->rank_metric = nx_calloc((size_t)series + 1, sizeof(*m->rank_metric));
    m->rank_samples = nx_calloc((size_t)series + 1, sizeof(*m->rank_samples));
    for (uint32_t i = 0; i < count; i++)
        if (block_index_value(m->index, first + i, &usage->metrics[i].name) != NX_OK)
            return nx_err_set(err, NX_E_CORRUPT, "block %s: a metric's name is out of bounds",
                              m->block->file.meta.ulid);
    struct series_cursor cursor = {0};
    nx_code code = NX_OK;
    for (uint32_t rank = 0; code == NX_OK && rank < series;) {
        struct nx_bytes page = {0};
        code = block_index_series_page(m->index, rank, &page);
        if (code == NX_OK)
            code = series_cursor_begin(&cursor, page);
        while (code == NX_OK && cursor.left > 0 && rank < series) {
            code = series_cursor_next(&cursor, block_index_pair_count(m->index));
            m->rank_metric[rank] = count;
            for (uint32_t i = 0; code == NX_OK && i < cursor.count; i++)
                if (cursor.pairs[i] >= first && cursor.pairs[i] - first < count)
                    m->rank_metric[rank] = cursor.pairs[i] - first;
            usage->metrics[m->rank_metric[rank]].series++;
            rank++;
        }
    }
    series_cursor_deinit(&cursor);
    return code == NX_OK ? NX_OK
                         : nx_err_set(err, NX_E_CORRUPT, "block %s: a page of series is damaged",
                                      m->block->file.meta.ulid);
}

/* ---- the groups ---- */

static nx_code damaged(const struct measuring *m, struct nx_err *err)
{
    return nx_err_set(err, NX_E_CORRUPT, "block %s: a group does not parse",
                      m->block->file.meta.ulid);
}

static nx_code measure_vectors(struct measuring *m, const struct index_vector_row *row,
                               struct nx_bytes raw, struct nx_err *err)
{
    struct vector_group *group = NULL;
    size_t bytes;
    if (vector_group_parse(raw, row->first_vector, row->vector_count, &group, &bytes) != NX_OK)
        return damaged(m, err);
    /* Grown by what was parsed: a count in the index alone proves nothing. */
    NX_DCHECK(row->first_vector == m->vector_count);
    if (row->vector_count > UINT32_MAX - m->vector_count) {
        nx_free(group);
        return damaged(m, err);
    }
    m->vector_times = nx_realloc_array(m->vector_times, (size_t)m->vector_count + row->vector_count,
                                       sizeof(*m->vector_times));
    m->vector_count += row->vector_count;
    for (uint32_t i = 0; i < row->vector_count; i++) {
        uint32_t count = 0;
        vector_group_times(group, row->first_vector + i, &count);
        m->vector_times[row->first_vector + i] = count;
        m->usage->times += count;
    }
    m->usage->vectors += row->vector_count;
    m->usage->vector_bytes += row->stored_bytes;
    nx_free(group);
    return NX_OK;
}

static nx_code measure_chunks(struct measuring *m, const struct index_group_row *row,
                              struct nx_bytes raw, struct nx_err *err)
{
    struct chunk_group *group = NULL;
    size_t bytes;
    if (chunk_group_parse(raw, row->first_rank, row->last_rank, &group, &bytes) != NX_OK)
        return damaged(m, err);
    double packing = (double)row->stored_bytes / (double)raw.len;
    uint64_t shared = 0;
    nx_code code = NX_OK;
    for (uint32_t i = 0; i < group->chunk_count; i++) {
        const struct group_chunk *chunk = &group->chunks[i];
        struct nx_bytes body = chunk_group_bytes(group, i);
        if (chunk->vector >= m->vector_count || body.len == 0) {
            code = damaged(m, err);
            break;
        }
        unsigned codec = body.data[0] < USAGE_CODEC_COUNT ? body.data[0] : 0;
        uint64_t stored = (uint64_t)((double)body.len * packing + 0.5);
        struct usage_share *share = &m->usage->codecs[codec];
        share->chunks++;
        share->samples += m->vector_times[chunk->vector];
        share->raw_bytes += body.len;
        share->stored_bytes += stored;
        struct usage_metric *metric = &m->usage->metrics[m->rank_metric[chunk->rank]];
        metric->samples += m->vector_times[chunk->vector];
        metric->stored_bytes += stored;
        m->rank_samples[chunk->rank] += m->vector_times[chunk->vector];
        shared += stored;
    }
    m->usage->directory_bytes += shared < row->stored_bytes ? row->stored_bytes - shared : 0;
    nx_free(group);
    return code;
}

static nx_code measure_groups(struct measuring *m, struct nx_err *err)
{
    uint32_t vectors = block_index_vectors_count(m->index);
    uint32_t groups = block_index_group_count(m->index);
    nx_code code = NX_OK;
    /* Vectors first: chunks are measured by their times. */
    for (uint32_t i = 0; code == NX_OK && i < groups + vectors; i++) {
        uint32_t at = i < vectors ? groups + i : i - vectors;
        struct block_group_place place;
        struct nx_bytes raw = {0};
        if (!block_group_place_at(m->index, at, &place))
            break;
        code = block_group_load(m->block, &place, &m->stored, &m->raw, &raw, err);
        if (code != NX_OK)
            break;
        if (i < vectors) {
            struct index_vector_row row;
            block_index_vectors(m->index, i, &row);
            code = measure_vectors(m, &row, raw, err);
        } else {
            struct index_group_row row;
            block_index_group(m->index, at, &row);
            code = measure_chunks(m, &row, raw, err);
        }
    }
    return code;
}

static void measure_lengths(struct measuring *m)
{
    static const uint64_t bounds[USAGE_LENGTHS] = {1, 10, 100, 1000, UINT64_MAX};
    for (uint32_t rank = 0; rank < block_index_series_count(m->index); rank++) {
        unsigned i = 0;
        while (m->rank_samples[rank] > bounds[i])
            i++;
        m->usage->lengths[i]++;
    }
}

nx_code block_usage_measure(struct block *block, size_t pairs_max, struct block_usage *out,
                            struct nx_err *err)
{
    struct block_usage usage = {0};
    struct measuring m = {.block = block, .usage = &usage};
    nx_code code = block_index_of(block, &m.index, err);
    if (code != NX_OK)
        return code;
    for (unsigned i = 0; i < INDEX_TABLE_COUNT; i++)
        usage.table_bytes[i] = block_index_table_bytes(m.index, (enum index_table)i);
    code = measure_names(&m, pairs_max, err);
    if (code == NX_OK)
        code = measure_metrics(&m, err);
    if (code == NX_OK)
        code = measure_groups(&m, err);
    if (code == NX_OK)
        measure_lengths(&m);
    nx_free(m.vector_times);
    nx_free(m.rank_metric);
    nx_free(m.rank_samples);
    nx_buf_deinit(&m.stored);
    nx_buf_deinit(&m.raw);
    if (code != NX_OK) {
        block_usage_deinit(&usage);
        return code;
    }
    *out = usage;
    return NX_OK;
}
