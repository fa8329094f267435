/* SPDX-License-Identifier: Apache-2.0
 *
 * command_storage_analyze.c - narthex storage analyze: where the bytes of the blocks go.
 *
 * Each block is measured for itself and printed; with several, their sums follow: codecs and parts of the index add up,
 * metrics by name. Label tables are those of the block with most series: series of several blocks cannot be told apart
 * by counting.
 */
#include "narthex/base/assert.h"
#include "narthex/base/hash.h"
#include "narthex/base/io_copy.h"
#include "narthex/base/mem.h"
#include "narthex/block/group_cache.h"
#include "narthex/storage/inspect_dir.h"

#include "command_storage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANALYZE_CACHE_BYTES ((size_t)16 << 20)
#define NAME_TEXT_MAX       80

/* Metrics of all blocks by name: open addressing, texts owned. */
struct metric_sum {
    char *name; /* NULL: free */
    size_t name_len;
    uint64_t series, samples, stored_bytes; /* series: the largest number in one block */
};
struct metric_sums {
    struct metric_sum *items;
    size_t count, cap; /* cap is a power of two */
};

struct analysis {
    size_t limit;
    struct block_usage sum; /* its arrays are not used */
    struct metric_sums metrics;
    uint64_t blocks, samples, index_bytes, chunks_bytes;
};

/* ---- sums ---- */

static struct metric_sum *metric_slot(struct metric_sum *items, size_t cap, struct nx_str name)
{
    size_t at = nx_hash64(name.data, name.len, 0) & (cap - 1);
    while (items[at].name != NULL &&
           !nx_str_eq((struct nx_str){items[at].name, items[at].name_len}, name))
        at = (at + 1) & (cap - 1);
    return &items[at];
}

static void metric_sums_grow(struct metric_sums *sums)
{
    size_t cap = sums->cap == 0 ? 1024 : sums->cap * 2;
    struct metric_sum *items = nx_calloc(cap, sizeof(*items));
    for (size_t i = 0; i < sums->cap; i++) {
        const struct metric_sum *old = &sums->items[i];
        if (old->name != NULL)
            *metric_slot(items, cap, (struct nx_str){old->name, old->name_len}) = *old;
    }
    nx_free(sums->items);
    sums->items = items;
    sums->cap = cap;
}

static void metric_sums_add(struct metric_sums *sums, const struct usage_metric *metric)
{
    if (sums->count * 2 >= sums->cap)
        metric_sums_grow(sums);
    struct metric_sum *sum = metric_slot(sums->items, sums->cap, metric->name);
    if (sum->name == NULL) {
        sum->name = nx_alloc(metric->name.len + 1);
        if (metric->name.len > 0)
            memcpy(sum->name, metric->name.data, metric->name.len);
        sum->name_len = metric->name.len;
        sums->count++;
    }
    if (metric->series > sum->series)
        sum->series = metric->series;
    sum->samples += metric->samples;
    sum->stored_bytes += metric->stored_bytes;
}

static void metric_sums_add_all(struct metric_sums *sums, const struct block_usage *usage)
{
    for (size_t i = 0; i < usage->metric_count; i++)
        if (usage->metrics[i].series > 0)
            metric_sums_add(sums, &usage->metrics[i]);
}

static void metric_sums_deinit(struct metric_sums *sums)
{
    for (size_t i = 0; i < sums->cap; i++)
        nx_free(sums->items[i].name);
    nx_free(sums->items);
}

static void sum_add(struct analysis *all, const struct block_meta *meta,
                    const struct block_usage *usage)
{
    all->blocks++;
    all->samples += meta->sample_count;
    all->index_bytes += meta->index_bytes;
    all->chunks_bytes += meta->chunks_bytes;
    for (unsigned i = 0; i < USAGE_CODEC_COUNT; i++) {
        all->sum.codecs[i].chunks += usage->codecs[i].chunks;
        all->sum.codecs[i].samples += usage->codecs[i].samples;
        all->sum.codecs[i].raw_bytes += usage->codecs[i].raw_bytes;
        all->sum.codecs[i].stored_bytes += usage->codecs[i].stored_bytes;
    }
    all->sum.directory_bytes += usage->directory_bytes;
    all->sum.vector_bytes += usage->vector_bytes;
    all->sum.vectors += usage->vectors;
    all->sum.times += usage->times;
    for (unsigned i = 0; i < USAGE_TABLE_COUNT; i++)
        all->sum.table_bytes[i] += usage->table_bytes[i];
    for (unsigned i = 0; i < USAGE_LENGTHS; i++)
        all->sum.lengths[i] += usage->lengths[i];
    metric_sums_add_all(&all->metrics, usage);
}

/* ---- tables ---- */

static void cell_percent(struct table_text *table, double part, double whole)
{
    char text[32] = "-";
    if (whole > 0)
        snprintf(text, sizeof(text), "%.1f %%", part * 100 / whole);
    table_put(table, text);
}

static void cell_ratio(struct table_text *table, double part, double whole)
{
    char text[32] = "-";
    if (whole > 0)
        snprintf(text, sizeof(text), "%.3f", part / whole);
    table_put(table, text);
}

/* Long and odd texts shortened and made printable. */
static void cell_text(struct table_text *table, struct nx_str text)
{
    struct nx_buf *cell = table_cell(table);
    size_t length = text.len < NAME_TEXT_MAX ? text.len : NAME_TEXT_MAX;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        nx_buf_append_byte(cell, byte < ' ' || byte == 0x7f ? '?' : byte);
    }
    if (length < text.len)
        nx_buf_append_cstr(cell, "...");
    table_cell_end(table);
}

static void heads(struct table_text *table, const char *const *names)
{
    for (; *names != NULL; names++)
        table_put(table, *names);
}

/* The row of something that is not counted in chunks. */
static void put_part(struct table_text *table, const char *name, uint64_t bytes, double all,
                     uint64_t samples)
{
    table_put(table, name);
    table_put_bytes(table, bytes);
    cell_percent(table, (double)bytes, all);
    table_put(table, "");
    table_put_count(table, samples);
    cell_ratio(table, (double)bytes, (double)samples);
    table_put(table, "");
}

static void print_bytes(const struct block_usage *usage, uint64_t samples, uint64_t index_bytes,
                        uint64_t chunks_bytes)
{
    static const char *const names[] = {"PART",    "BYTES",        "OF ALL",      "CHUNKS",
                                        "SAMPLES", "BYTES/SAMPLE", "BEFORE ZSTD", NULL};
    double all = (double)(index_bytes + chunks_bytes);
    struct table_text table;
    table_begin(&table, "lrrrrrr");
    heads(&table, names);
    for (unsigned i = 0; i < USAGE_CODEC_COUNT; i++) {
        const struct usage_share *share = &usage->codecs[i];
        if (share->chunks == 0)
            continue;
        nx_buf_printf(table_cell(&table), "codec %s", usage_codec_name(i));
        table_cell_end(&table);
        table_put_bytes(&table, share->stored_bytes);
        cell_percent(&table, (double)share->stored_bytes, all);
        table_put_count(&table, share->chunks);
        table_put_count(&table, share->samples);
        cell_ratio(&table, (double)share->stored_bytes, (double)share->samples);
        table_put_bytes(&table, share->raw_bytes);
    }
    put_part(&table, "chunk directories", usage->directory_bytes, all, samples);
    put_part(&table, "time vectors", usage->vector_bytes, all, samples);
    uint64_t tables_bytes = 0;
    for (unsigned i = 0; i < USAGE_TABLE_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof(name), "index %s", usage_table_name(i));
        put_part(&table, name, usage->table_bytes[i], all, samples);
        tables_bytes += usage->table_bytes[i];
    }
    put_part(&table, "index pages of LMDB",
             index_bytes > tables_bytes ? index_bytes - tables_bytes : 0, all, samples);
    put_part(&table, "all", index_bytes + chunks_bytes, all, samples);
    table_print(&table, "  ");
    printf("  %" PRIu64 " time vectors with %" PRIu64 " times for %" PRIu64 " samples\n",
           usage->vectors, usage->times, samples);
    printf("  series with 1 sample: %" PRIu64 ", to 10: %" PRIu64 ", to 100: %" PRIu64
           ", to 1000: %" PRIu64 ", more: %" PRIu64 "\n",
           usage->lengths[0], usage->lengths[1], usage->lengths[2], usage->lengths[3],
           usage->lengths[4]);
}

static int compare_metrics(const void *a, const void *b)
{
    const struct metric_sum *left = a, *right = b;
    if ((left->name == NULL) != (right->name == NULL)) /* free places last */
        return left->name == NULL ? 1 : -1;
    return (left->stored_bytes < right->stored_bytes) - (left->stored_bytes > right->stored_bytes);
}

static int compare_labels(const void *a, const void *b)
{
    uint64_t left = ((const struct usage_label *)a)->values;
    uint64_t right = ((const struct usage_label *)b)->values;
    return (left < right) - (left > right);
}

/* Largest first; the sums can only be freed then. */
static void print_metrics(struct metric_sums *sums, size_t limit, uint64_t bytes)
{
    static const char *const names[] = {"METRIC",    "SERIES",       "SAMPLES", "BYTES",
                                        "OF CHUNKS", "BYTES/SAMPLE", NULL};
    struct table_text table;
    table_begin(&table, "lrrrrr");
    heads(&table, names);
    if (sums->cap > 0)
        qsort(sums->items, sums->cap, sizeof(*sums->items), compare_metrics);
    const struct metric_sum *metrics = sums->items;
    for (size_t i = 0; i < sums->count && i < limit; i++) {
        cell_text(&table, (struct nx_str){metrics[i].name, metrics[i].name_len});
        table_put_count(&table, metrics[i].series);
        table_put_count(&table, metrics[i].samples);
        table_put_bytes(&table, metrics[i].stored_bytes);
        cell_percent(&table, (double)metrics[i].stored_bytes, (double)bytes);
        cell_ratio(&table, (double)metrics[i].stored_bytes, (double)metrics[i].samples);
    }
    table_print(&table, "  ");
}

static void print_block_metrics(const struct block_usage *usage, size_t limit, uint64_t bytes)
{
    struct metric_sums sums = {0};
    metric_sums_add_all(&sums, usage);
    print_metrics(&sums, limit, bytes);
    metric_sums_deinit(&sums);
}

static void print_labels(struct block_usage *usage, size_t limit)
{
    static const char *const label_heads[] = {"LABEL", "VALUES", "SERIES", NULL};
    static const char *const pair_heads[] = {"PAIR", "VALUE", "SERIES", NULL};
    struct table_text table;
    table_begin(&table, "lrr");
    heads(&table, label_heads);
    if (usage->label_count > 0)
        qsort(usage->labels, usage->label_count, sizeof(*usage->labels), compare_labels);
    for (size_t i = 0; i < usage->label_count && i < limit; i++) {
        cell_text(&table, usage->labels[i].name);
        table_put_count(&table, usage->labels[i].values);
        table_put_count(&table, usage->labels[i].series);
    }
    table_print(&table, "  ");
    table_begin(&table, "llr");
    heads(&table, pair_heads);
    for (size_t i = 0; i < usage->pair_count; i++) {
        cell_text(&table, usage->pairs[i].name);
        cell_text(&table, usage->pairs[i].value);
        table_put_count(&table, usage->pairs[i].series);
    }
    table_print(&table, "  ");
}

/* ---- blocks ---- */

static nx_code analyze_block(struct analysis *all, const char *dir, const struct dir_block *item,
                             struct group_cache *cache, struct nx_err *err)
{
    struct nx_buf path = {0};
    struct block *block = NULL;
    struct block_usage usage = {0};
    nx_buf_printf(&path, "%s/blocks/%s", dir, item->ulid);
    nx_buf_append_byte(&path, 0);
    nx_code code = block_open(&block, io_read_only(), (const char *)path.data, cache, err);
    if (code == NX_OK)
        code = block_usage_measure(block, all->limit, &usage, err);
    if (code == NX_OK) {
        const struct block_meta *meta = block_meta(block);
        struct nx_buf text = {0};
        nx_buf_printf(&text, "block %s, level %u, ", item->ulid, meta->level);
        put_time(&text, meta->min_time_ms);
        nx_buf_append_cstr(&text, " to ");
        put_time(&text, meta->max_time_ms);
        nx_buf_append_cstr(&text, ", series ");
        put_count(&text, meta->series_count);
        printf("%.*s\n", NX_STR_ARGS(nx_buf_str(&text)));
        nx_buf_deinit(&text);
        print_bytes(&usage, meta->sample_count, meta->index_bytes, meta->chunks_bytes);
        print_block_metrics(&usage, all->limit, meta->chunks_bytes);
        print_labels(&usage, all->limit);
        sum_add(all, meta, &usage);
    }
    block_usage_deinit(&usage);
    block_unref(block);
    nx_buf_deinit(&path);
    return code;
}

static void print_all(struct analysis *all)
{
    if (all->blocks <= 1)
        return;
    printf("all %" PRIu64 " blocks (series of a metric: most in one block)\n", all->blocks);
    print_bytes(&all->sum, all->samples, all->index_bytes, all->chunks_bytes);
    print_metrics(&all->metrics, all->limit, all->chunks_bytes);
}

/* Blocks that a running server removed since the list was read are passed over. */
static bool is_gone(const char *dir, const struct dir_block *block)
{
    struct nx_buf path = {0};
    nx_buf_printf(&path, "%s/blocks/%s/block.meta", dir, block->ulid);
    nx_buf_append_byte(&path, 0);
    bool exists = io_exists((const char *)path.data);
    nx_buf_deinit(&path);
    return !exists;
}

int storage_analyze(const struct config *config, char **arguments)
{
    struct analysis all = {.limit = (size_t)config->values[ANALYZE_LIMIT].number};
    const char *only = config->values[ANALYZE_BLOCK].text;
    struct dir_blocks blocks;
    struct nx_err err;
    if (dir_blocks_read(arguments[0], true, &blocks, &err) != NX_OK)
        return tool_error(&err);
    struct group_cache *cache = group_cache_new(ANALYZE_CACHE_BYTES);
    int status = TOOL_FINE;
    bool is_found = false;
    for (size_t i = 0; i < blocks.count; i++) {
        const struct dir_block *block = &blocks.items[i];
        bool is_meant = only[0] != '\0'
                            ? strcmp(only, block->ulid) == 0
                            : block->state == DIR_BLOCK_LIVE || block->state == DIR_BLOCK_UNKNOWN;
        if (!is_meant)
            continue;
        is_found = true;
        if (analyze_block(&all, arguments[0], block, cache, &err) != NX_OK &&
            !is_gone(arguments[0], block))
            status = tool_failed(&err);
    }
    print_all(&all);
    metric_sums_deinit(&all.metrics);
    group_cache_free(cache);
    dir_blocks_deinit(&blocks);
    if (only[0] != '\0' && !is_found) {
        nx_err_set(&err, NX_E_INVALID, "--block: there is no block %.40s in %s", only,
                   arguments[0]);
        return tool_error(&err);
    }
    return status;
}
