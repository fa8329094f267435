/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.c - a block against everything that it says about itself.
 *
 *   block.meta, file sizes -> each MiB of both files -> index opened -> series, lists -> every chunk decoded -> counts
 *
 * An index that does not verify is not opened: LMDB believes its file. A damaged group is told once, however many
 * series have samples in it, and the walk goes on behind it.
 */
#include "narthex/block/inspect.h"

#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/histogram_chunk.h"

#include "block_files.h"
#include "block_piece.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define INSPECT_CACHE_BYTES ((size_t)32 << 20)
#define META_BYTES_MAX      ((size_t)1 << 30)

struct inspection {
    inspect_damage_fn damage;
    void *context;
    struct block_inspection *out;
    struct block *block;
    const struct block_index *index;
    uint64_t *pair_series; /* per pair: series that have it */
    struct nx_buf told;    /* messages of groups, each ended by a NUL */
    struct nx_buf chunks, bits, scratch;
    struct arena arena; /* of one chunk or one series' exemplars */
    struct label *last; /* labels of the series before */
    size_t last_count, last_cap;
    int64_t min_ms, max_ms;
};

static void tell(struct inspection *in, const char *file, const char *format, ...) NX_PRINTF(3, 4);
static void tell(struct inspection *in, const char *file, const char *format, ...)
{
    char text[1100];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    NX_ASSERT(length >= 0);
    in->out->damages++;
    in->damage(in->context, file, text);
}

/* The message without what the caller knows: "block <ulid>: <file>: ". */
static const char *strip(const struct inspection *in, const char *file, const char *message)
{
    char head[64];
    int length = snprintf(head, sizeof(head), "block %s: ", in->out->meta.ulid);
    if (strncmp(message, head, (size_t)length) == 0)
        message += length;
    size_t name = strlen(file);
    if (strncmp(message, file, name) == 0 && strncmp(message + name, ": ", 2) == 0)
        message += name + 2;
    return message;
}

/* Tells a group's damage unless it was told for another series. */
static void tell_once(struct inspection *in, const struct nx_err *err)
{
    for (size_t at = 0; at < in->told.len; at += strlen((const char *)in->told.data + at) + 1)
        if (strcmp((const char *)in->told.data + at, err->msg) == 0)
            return;
    nx_buf_append(&in->told, err->msg, strlen(err->msg) + 1);
    tell(in, BLOCK_CHUNKS_NAME, "%s", strip(in, BLOCK_CHUNKS_NAME, err->msg));
}

/* ---- bytes ---- */

/* True when all of index.mdb verifies. */
static bool check_pieces(struct inspection *in)
{
    bool is_index_good = true;
    for (uint64_t i = 0; i < block_piece_count(in->block); i++) {
        struct nx_err err;
        if (block_piece_check(in->block, i, &in->scratch, &err) == NX_OK)
            continue;
        const char *file = block_piece_at(in->block, i).file;
        if (strcmp(file, BLOCK_INDEX_NAME) == 0)
            is_index_good = false;
        tell(in, file, "%s", strip(in, file, err.msg));
    }
    return is_index_good;
}

/* ---- series ---- */

/* The pairs of every series, counted: what the posting lists must agree with. */
static bool count_pairs(struct inspection *in)
{
    struct series_cursor cursor = {0};
    uint32_t pair_bound = block_index_pair_count(in->index);
    uint32_t count = block_index_series_count(in->index);
    bool is_good = true;
    in->pair_series = nx_calloc((size_t)pair_bound + 1, sizeof(*in->pair_series));
    for (uint32_t rank = 0; is_good && rank < count;) {
        struct nx_bytes page = {0};
        is_good = block_index_series_page(in->index, rank, &page) == NX_OK &&
                  series_cursor_begin(&cursor, page) == NX_OK && cursor.next_rank == rank &&
                  cursor.left > 0;
        while (is_good && cursor.left > 0) {
            is_good = series_cursor_next(&cursor, pair_bound) == NX_OK && cursor.rank == rank;
            for (uint32_t i = 0; is_good && i < cursor.count; i++)
                in->pair_series[cursor.pairs[i]]++;
            rank++;
        }
    }
    series_cursor_deinit(&cursor);
    if (!is_good)
        tell(in, BLOCK_INDEX_NAME, "a page of series is damaged or out of place");
    return is_good;
}

static void check_postings(struct inspection *in)
{
    for (uint32_t pair = 0; pair < block_index_pair_count(in->index); pair++) {
        struct postings *set = postings_new();
        nx_code code = block_index_postings(in->index, pair, set);
        uint64_t count = code == NX_OK ? postings_count(set) : 0;
        postings_free(set);
        if (code != NX_OK || count != in->pair_series[pair]) {
            tell(in, BLOCK_INDEX_NAME,
                 "the list of pair %" PRIu32 " has %" PRIu64 " series instead of %" PRIu64, pair,
                 count, in->pair_series[pair]);
            return; /* one is enough to know that the index is wrong */
        }
    }
}

static bool labels_are_canonical(struct labels labels)
{
    for (size_t i = 0; i < labels.count; i++)
        if (labels.items[i].value.len == 0 || labels.items[i].name.len == 0 ||
            (i > 0 && nx_str_cmp(labels.items[i - 1].name, labels.items[i].name) >= 0))
            return false;
    return true;
}

static bool check_order(struct inspection *in, uint32_t rank, struct labels labels)
{
    struct labels last = {in->last, in->last_count};
    bool is_good = labels_are_canonical(labels) && (rank == 0 || labels_compare(last, labels) < 0);
    if (labels.count > in->last_cap) {
        in->last_cap = labels.count * 2;
        in->last = nx_realloc_array(in->last, in->last_cap, sizeof(*in->last));
    }
    if (labels.count > 0)
        memcpy(in->last, labels.items, labels.count * sizeof(*in->last));
    in->last_count = labels.count;
    if (!is_good)
        tell(in, BLOCK_INDEX_NAME, "series %" PRIu32 " is out of order", rank);
    return is_good;
}

/* ---- samples ---- */

static bool decodes(struct inspection *in, const struct block_chunk *chunk, struct nx_bytes bytes)
{
    size_t each = chunk->is_histogram ? sizeof(struct histogram) : sizeof(uint64_t);
    nx_buf_reset(&in->bits);
    void *out = nx_buf_extend(&in->bits, chunk->count * each);
    if (!chunk->is_histogram)
        return chunk_decode(bytes, chunk->count, out) == NX_OK;
    arena_reset(&in->arena);
    return histogram_chunk_decode(bytes, chunk->count, &in->arena, out) == NX_OK;
}

static nx_code check_chunk(struct inspection *in, struct block_reader *reader,
                           const struct block_chunk *chunk, struct nx_err *err)
{
    const int64_t *times = NULL;
    struct nx_bytes bytes;
    nx_code code = block_reader_chunk(reader, chunk, &times, &bytes, err);
    if (code != NX_OK)
        return code;
    struct index_group_row row;
    block_index_group(in->index, chunk->group, &row);
    if (!decodes(in, chunk, bytes))
        return nx_err_set(err, NX_E_CORRUPT, "group at offset %" PRIu64 ": a chunk does not decode",
                          row.offset);
    for (uint32_t i = 1; i < chunk->count; i++)
        if (times[i - 1] >= times[i])
            return nx_err_set(err, NX_E_CORRUPT, "group at offset %" PRIu64 ": times do not ascend",
                              row.offset);
    if (times[0] < row.min_ms || times[chunk->count - 1] > row.max_ms)
        return nx_err_set(err, NX_E_CORRUPT,
                          "group at offset %" PRIu64 ": times outside of what the index says",
                          row.offset);
    if (times[0] < in->min_ms)
        in->min_ms = times[0];
    if (times[chunk->count - 1] > in->max_ms)
        in->max_ms = times[chunk->count - 1];
    in->out->chunks++;
    in->out->samples += chunk->count;
    in->out->histograms += chunk->is_histogram ? chunk->count : 0;
    return NX_OK;
}

/* How many the series has. */
static uint64_t check_exemplars(struct inspection *in, struct block_reader *reader, uint32_t rank)
{
    struct nx_err err;
    nx_buf_reset(&in->bits);
    arena_reset(&in->arena);
    if (block_reader_exemplars(reader, rank, INT64_MIN, INT64_MAX, &in->arena, &in->bits, &err) !=
        NX_OK) {
        tell(in, BLOCK_INDEX_NAME, "the exemplars of series %" PRIu32 " are damaged", rank);
        return 0;
    }
    uint64_t count = in->bits.len / sizeof(struct exemplar);
    in->out->exemplars += count;
    return count;
}

static void check_series(struct inspection *in, struct block_reader *reader, uint32_t rank)
{
    struct nx_err err;
    nx_buf_reset(&in->chunks);
    nx_code code = block_reader_chunks(reader, rank, &in->chunks, &err);
    const struct block_chunk *all = (const struct block_chunk *)(const void *)in->chunks.data;
    size_t count = in->chunks.len / sizeof(*all);
    uint64_t exemplars = check_exemplars(in, reader, rank);
    if (code == NX_OK && count == 0 && exemplars == 0)
        code = nx_err_set(&err, NX_E_CORRUPT, "series %" PRIu32 " has no samples", rank);
    if (code != NX_OK)
        tell_once(in, &err);
    bool is_hurt = code != NX_OK;
    for (size_t i = 0; i < count; i++) {
        if (check_chunk(in, reader, &all[i], &err) == NX_OK)
            continue;
        tell_once(in, &err);
        is_hurt = true;
    }
    in->out->hurt_series += is_hurt;
}

static void walk_series(struct inspection *in)
{
    struct block_reader *reader = NULL;
    struct nx_err err;
    if (block_reader_new_walk(in->block, &reader, &err) != NX_OK) {
        tell(in, BLOCK_INDEX_NAME, "%s", strip(in, BLOCK_INDEX_NAME, err.msg));
        return;
    }
    uint32_t count = block_index_series_count(in->index);
    bool is_ordered = true;
    for (uint32_t rank = 0; rank < count; rank++) {
        struct labels labels;
        uint32_t slot;
        if (is_ordered && block_reader_labels(reader, rank, &labels, &slot, &err) != NX_OK) {
            tell(in, BLOCK_INDEX_NAME, "series %" PRIu32 " is damaged", rank);
            is_ordered = false;
        }
        if (is_ordered)
            is_ordered = check_order(in, rank, labels);
        in->out->series++;
        check_series(in, reader, rank);
    }
    block_reader_free(reader);
}

static void check_counts(struct inspection *in)
{
    const struct block_meta *meta = &in->out->meta;
    if (in->out->damages > 0)
        return; /* what cannot be read cannot be counted */
    if (in->out->series != meta->series_count || in->out->samples != meta->sample_count ||
        in->out->chunks != meta->chunk_count)
        tell(in, BLOCK_META_NAME,
             "says %" PRIu64 " series, %" PRIu64 " samples, %" PRIu64 " chunks; there are %" PRIu64
             ", %" PRIu64 ", %" PRIu64,
             meta->series_count, meta->sample_count, meta->chunk_count, in->out->series,
             in->out->samples, in->out->chunks);
    if (in->out->histograms != meta->histogram_count || in->out->exemplars != meta->exemplar_count)
        tell(in, BLOCK_META_NAME,
             "says %" PRIu64 " histograms, %" PRIu64 " exemplars; there are %" PRIu64 ", %" PRIu64,
             meta->histogram_count, meta->exemplar_count, in->out->histograms, in->out->exemplars);
    if (in->min_ms != meta->min_time_ms || in->max_ms != meta->max_time_ms)
        tell(in, BLOCK_META_NAME,
             "says times %" PRId64 " to %" PRId64 "; there are %" PRId64 " to %" PRId64,
             meta->min_time_ms, meta->max_time_ms, in->min_ms, in->max_ms);
}

/* ---- the whole ---- */

static void inspect_open_block(struct inspection *in)
{
    struct nx_err err;
    if (!check_pieces(in))
        return;
    if (block_index_of(in->block, &in->index, &err) != NX_OK) {
        tell(in, BLOCK_INDEX_NAME, "%s", strip(in, BLOCK_INDEX_NAME, err.msg));
        return;
    }
    if (count_pairs(in))
        check_postings(in);
    walk_series(in);
    check_counts(in);
}

void block_inspect(const struct io *io, const char *dir, inspect_damage_fn damage, void *context,
                   struct block_inspection *out)
{
    *out = (struct block_inspection){0};
    struct inspection in = {
        .damage = damage, .context = context, .out = out, .min_ms = INT64_MAX, .max_ms = INT64_MIN};
    struct nx_err err;
    if (block_meta_read(io, dir, &out->meta, NULL, &err) != NX_OK) {
        tell(&in, BLOCK_META_NAME, "%s", err.msg);
        return;
    }
    out->has_meta = true;
    arena_init(&in.arena, 0);
    struct group_cache *cache = group_cache_new(INSPECT_CACHE_BYTES);
    if (block_open(&in.block, io, dir, cache, &err) == NX_OK) {
        inspect_open_block(&in);
    } else {
        char head[4200];
        snprintf(head, sizeof(head), "block %s: ", dir);
        bool has_head = strncmp(err.msg, head, strlen(head)) == 0;
        tell(&in, ".", "%s", has_head ? err.msg + strlen(head) : err.msg);
    }
    block_unref(in.block);
    group_cache_free(cache);
    arena_deinit(&in.arena);
    nx_free(in.pair_series);
    nx_free(in.last);
    nx_buf_deinit(&in.told);
    nx_buf_deinit(&in.chunks);
    nx_buf_deinit(&in.bits);
    nx_buf_deinit(&in.scratch);
}

nx_code block_meta_read(const struct io *io, const char *dir, struct block_meta *out,
                        struct nx_buf *sources, struct nx_err *err)
{
    struct nx_buf path = {0}, bytes = {0};
    struct block_meta_file file = {0};
    nx_code code =
        io_read_file(io, path_join(&path, dir, BLOCK_META_NAME), META_BYTES_MAX, &bytes, err);
    nx_buf_deinit(&path);
    if (code == NX_E_NOT_FOUND)
        nx_err_set(err, code, "is missing");
    if (code == NX_OK)
        code = block_meta_decode(nx_buf_bytes(&bytes), &file, err);
    nx_buf_deinit(&bytes);
    if (code != NX_OK)
        return code;
    *out = file.meta;
    if (sources != NULL && file.meta.source_count > 0)
        nx_buf_append(sources, file.sources, file.meta.source_count * sizeof(file.sources[0]));
    block_meta_file_deinit(&file);
    return NX_OK;
}
