/* SPDX-License-Identifier: Apache-2.0 */
/* block_write.c - writes one block.
 *
 * In      series in label order, each with its samples
 * Out     a directory with chunks.nxc, index.mdb and block.meta, synced
 * Fails   NX_E_IO, NX_E_FULL; then the directory is removed with the writer
 *
 *   samples -> cut at CHUNK_SAMPLES_CUT -> chunk -> chunk group ---.
 *           -> times -> seen before? -> vector group --------------+-> chunks.nxc
 *   labels  -> index builder ----------------------------------------> index.mdb at the end
 *   exemplars -> packed -----------'
 *
 * Time vectors: a scrape's series share their times, so each chunk names a vector by its number in the block. Vectors
 * seen before are found by a 128-bit hash in a table of fixed size; of four candidates the least used makes room. To
 * forget a vector costs only its bytes once more.
 */
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/histogram_chunk.h"

#include "block_exemplars.h"
#include "block_files.h"
#include "block_internal.h"

#include <fcntl.h>

#define VECTOR_SETS 65536u /* times 4 entries of 24 B; untouched pages cost nothing */
#define VECTOR_WAYS 4u
/* A series' last chunk may be this much longer, so that no crumbs are left. */
#define CHUNK_TAIL_SAMPLES (CHUNK_SAMPLES_CUT / 4)
/* A group ends with a series, unless the series is long. */
#define GROUP_RAW_BYTES_SPLIT (GROUP_RAW_BYTES_CUT + GROUP_RAW_BYTES_CUT / 2)
#define CHUNK_BYTES_MAX       (GROUP_RAW_BYTES_MAX / 4)
static_assert(HISTOGRAM_CHUNK_ONE_BYTES_MAX <= CHUNK_BYTES_MAX, "any histogram fits");

struct vector_seen {
    struct nx_hash128 hash;
    uint32_t vector;
    uint32_t uses; /* 0: empty */
};

struct block_writer {
    const struct io *io;
    char *dir;
    struct block_meta_file file; /* filled as it goes */
    int zstd_level;
    const struct block_pace *pace; /* borrowed; NULL: none */
    bool is_finished;
    struct sum_file chunks;
    struct index_builder *index;
    struct group_builder group;
    struct vector_builder vectors;
    struct vector_seen *seen; /* VECTOR_SETS * VECTOR_WAYS */
    struct nx_buf chunk, packed;
    struct nx_buf times, histograms; /* of a call: int64_t, const struct histogram * */
    bool has_samples;                /* the series at hand: a chunk */
    bool has_exemplars;              /* likewise */
};

nx_code block_writer_new(struct block_writer **out_writer,
                         const struct block_writer_options *options, struct nx_err *err)
{
    NX_ASSERT(strlen(options->ulid) == ULID_TEXT_LEN && options->source_count <= BLOCK_SOURCES_MAX);
    nx_code code = options->io->mkdir(options->io, options->dir, err);
    if (code != NX_OK)
        return code;
    struct block_writer *writer = nx_calloc(1, sizeof(*writer));
    writer->io = options->io;
    writer->dir = nx_strdup(options->dir);
    writer->zstd_level = options->zstd_level;
    writer->pace = options->pace;
    struct block_meta *meta = &writer->file.meta;
    memcpy(meta->ulid, options->ulid, ULID_TEXT_LEN);
    meta->level = options->level;
    meta->commit_min = options->commit_min;
    meta->commit_max = options->commit_max;
    meta->min_time_ms = INT64_MAX;
    meta->max_time_ms = INT64_MIN;
    meta->source_count = options->source_count;
    writer->file.sources = nx_calloc(options->source_count + 1u, sizeof(*writer->file.sources));
    for (uint32_t i = 0; i < options->source_count; i++)
        memcpy(writer->file.sources[i], options->sources[i], ULID_TEXT_LEN);
    writer->index = index_builder_new(options->level == 0);
    writer->seen = nx_calloc((size_t)VECTOR_SETS * VECTOR_WAYS, sizeof(*writer->seen));
    struct nx_buf path = {0};
    code = sum_file_create(&writer->chunks, writer->io,
                           path_join(&path, writer->dir, BLOCK_CHUNKS_NAME), err);
    nx_buf_deinit(&path);
    writer->chunks.pace = options->pace;
    if (code != NX_OK) {
        block_writer_free(writer);
        return code;
    }
    *out_writer = writer;
    return NX_OK;
}

void block_writer_free(struct block_writer *writer)
{
    if (writer == NULL)
        return;
    sum_file_deinit(&writer->chunks);
    if (!writer->is_finished) {
        struct nx_err ignored;
        nx_ignore(io_remove_tree(writer->io, writer->dir, &ignored));
    }
    index_builder_free(writer->index);
    group_builder_deinit(&writer->group);
    vector_builder_deinit(&writer->vectors);
    block_meta_file_deinit(&writer->file);
    nx_buf_deinit(&writer->chunk);
    nx_buf_deinit(&writer->packed);
    nx_buf_deinit(&writer->times);
    nx_buf_deinit(&writer->histograms);
    nx_free(writer->seen);
    nx_free(writer->dir);
    nx_free(writer);
}

bool block_writer_has_samples(const struct block_writer *writer)
{
    return writer->file.meta.chunk_count > 0;
}

void block_writer_set_commits(struct block_writer *writer, uint64_t commit_min, uint64_t commit_max)
{
    NX_ASSERT(commit_min <= commit_max);
    writer->file.meta.commit_min = commit_min;
    writer->file.meta.commit_max = commit_max;
}

/* ---- groups ---- */

static nx_code write_chunk_group(struct block_writer *writer, struct nx_err *err)
{
    struct group_builder *group = &writer->group;
    if (group->count == 0)
        return NX_OK;
    struct index_group_row row = {
        .offset = sum_file_offset(&writer->chunks),
        .first_rank = group_builder_first_rank(group),
        .last_rank = group_builder_last_rank(group),
        .min_ms = group->min_ms,
        .max_ms = group->max_ms,
    };
    nx_buf_reset(&writer->packed);
    group_pack(GROUP_KIND_CHUNKS, row.first_rank, group_builder_finish(group), writer->zstd_level,
               row.offset, &writer->packed);
    row.stored_bytes = (uint32_t)writer->packed.len;
    index_builder_add_group(writer->index, &row);
    return sum_file_write(&writer->chunks, nx_buf_bytes(&writer->packed), err);
}

static nx_code write_vector_group(struct block_writer *writer, struct nx_err *err)
{
    struct vector_builder *vectors = &writer->vectors;
    if (vectors->count == 0)
        return NX_OK;
    struct index_vector_row row = {
        .offset = sum_file_offset(&writer->chunks),
        .first_vector = vectors->first,
        .vector_count = vectors->count,
    };
    nx_buf_reset(&writer->packed);
    group_pack(GROUP_KIND_VECTORS, row.first_vector, vector_builder_finish(vectors),
               writer->zstd_level, row.offset, &writer->packed);
    row.stored_bytes = (uint32_t)writer->packed.len;
    index_builder_add_vectors(writer->index, &row);
    return sum_file_write(&writer->chunks, nx_buf_bytes(&writer->packed), err);
}

/* ---- time vectors ---- */

static bool times_ascend(const int64_t *times_ms, uint32_t count)
{
    bool is_ascending = true;
    for (uint32_t i = 1; i < count; i++)
        is_ascending &= times_ms[i - 1] < times_ms[i];
    return is_ascending;
}

/* The way to overwrite: an empty one, else the least used; the others age. */
static struct vector_seen *vector_victim(struct vector_seen *ways)
{
    struct vector_seen *victim = &ways[0];
    for (unsigned i = 1; i < VECTOR_WAYS; i++)
        if (ways[i].uses < victim->uses)
            victim = &ways[i];
    if (victim->uses > 0)
        for (unsigned i = 0; i < VECTOR_WAYS; i++)
            ways[i].uses -= ways[i].uses / 2;
    return victim;
}

static nx_code vector_intern(struct block_writer *writer, const int64_t *times_ms, uint32_t count,
                             uint32_t *out_vector, struct nx_err *err)
{
    struct nx_hash128 hash = nx_hash128_secret(times_ms, count * sizeof(*times_ms));
    struct vector_seen *ways = writer->seen + (size_t)(hash.low % VECTOR_SETS) * VECTOR_WAYS;
    for (unsigned i = 0; i < VECTOR_WAYS; i++) {
        if (ways[i].uses > 0 && ways[i].hash.low == hash.low && ways[i].hash.high == hash.high) {
            if (ways[i].uses < UINT32_MAX)
                ways[i].uses++;
            *out_vector = ways[i].vector;
            return NX_OK;
        }
    }
    NX_ASSERT(times_ascend(times_ms, count));
    if (vector_builder_is_full(&writer->vectors)) {
        nx_code code = write_vector_group(writer, err);
        if (code != NX_OK)
            return code;
    }
    uint32_t vector = writer->vectors.first + writer->vectors.count;
    if (vector >= UINT32_MAX - 1)
        return nx_err_set(err, NX_E_LIMIT, "block %s: too many time vectors",
                          writer->file.meta.ulid);
    vector_builder_add(&writer->vectors, times_ms, count);
    *vector_victim(ways) = (struct vector_seen){.hash = hash, .vector = vector, .uses = 1};
    *out_vector = vector;
    return NX_OK;
}

/* ---- series ---- */

nx_code block_writer_begin_series(struct block_writer *writer, struct labels labels, uint32_t slot,
                                  struct nx_err *err)
{
    if (labels.count == 0 || labels.count > SERIES_LABELS_MAX ||
        index_builder_series_count(writer->index) >= UINT32_MAX - 2)
        return nx_err_set(err, NX_E_LIMIT, "block %s: no, or too many, labels or series",
                          writer->file.meta.ulid);
    if (writer->group.count >= GROUP_CHUNKS_CUT ||
        (writer->group.count > 0 && group_builder_size(&writer->group) >= GROUP_RAW_BYTES_CUT)) {
        nx_code code = write_chunk_group(writer, err);
        if (code != NX_OK)
            return code;
    }
    NX_ASSERT(writer->has_samples || writer->has_exemplars ||
              index_builder_series_count(writer->index) == 0);
    index_builder_add_series(writer->index, labels, slot);
    writer->has_samples = false;
    writer->has_exemplars = false;
    return NX_OK;
}

nx_code block_writer_put_chunk(struct block_writer *writer, const int64_t *times_ms, uint32_t count,
                               struct nx_bytes chunk, struct nx_err *err)
{
    NX_ASSERT(count > 0 && count <= CHUNK_SAMPLES_MAX && chunk.len > 0 &&
              chunk.len <= CHUNK_BYTES_MAX);
    uint32_t vector = 0;
    nx_code code = vector_intern(writer, times_ms, count, &vector, err);
    if (code != NX_OK)
        return code;
    if (writer->group.count == GROUP_CHUNKS_MAX ||
        (writer->group.count > 0 &&
         group_builder_size(&writer->group) + chunk.len > GROUP_RAW_BYTES_SPLIT)) {
        code = write_chunk_group(writer, err);
        if (code != NX_OK)
            return code;
    }
    uint32_t rank = index_builder_series_count(writer->index) - 1;
    group_builder_add(&writer->group, rank, vector, times_ms[0], times_ms[count - 1], chunk);
    struct block_meta *meta = &writer->file.meta;
    if (times_ms[0] < meta->min_time_ms)
        meta->min_time_ms = times_ms[0];
    if (times_ms[count - 1] > meta->max_time_ms)
        meta->max_time_ms = times_ms[count - 1];
    meta->sample_count += count;
    meta->histogram_count += chunk_is_histogram(chunk) ? count : 0;
    meta->chunk_count++;
    writer->has_samples = true;
    return NX_OK;
}

nx_code block_writer_put_samples(struct block_writer *writer, const int64_t *times_ms,
                                 const double *values, size_t count, struct nx_err *err)
{
    const uint64_t *bits = (const uint64_t *)(const void *)values;
    while (count > 0) {
        uint32_t part =
            count <= CHUNK_SAMPLES_CUT + CHUNK_TAIL_SAMPLES ? (uint32_t)count : CHUNK_SAMPLES_CUT;
        nx_buf_reset(&writer->chunk);
        chunk_encode(bits, part, &writer->chunk);
        nx_code code =
            block_writer_put_chunk(writer, times_ms, part, nx_buf_bytes(&writer->chunk), err);
        if (code != NX_OK)
            return code;
        times_ms += part;
        bits += part;
        count -= part;
    }
    return NX_OK;
}

/* Chunks that hold as many samples as may be, and no more bytes than a group takes: halves until it fits. */
nx_code block_writer_put_histograms(struct block_writer *writer, const int64_t *times_ms,
                                    const struct histogram *const *samples, size_t count,
                                    struct nx_err *err)
{
    while (count > 0) {
        size_t part = histogram_chunk_fit(samples, count);
        for (;; part /= 2) {
            nx_buf_reset(&writer->chunk);
            histogram_chunk_encode(samples, part, &writer->chunk);
            if (writer->chunk.len <= CHUNK_BYTES_MAX)
                break;
            NX_ASSERT(part > 1);
        }
        nx_code code = block_writer_put_chunk(writer, times_ms, (uint32_t)part,
                                              nx_buf_bytes(&writer->chunk), err);
        if (code != NX_OK)
            return code;
        times_ms += part;
        samples += part;
        count -= part;
    }
    return NX_OK;
}

nx_code block_writer_add_histograms(struct block_writer *writer,
                                    const struct histogram_sample *samples, size_t count,
                                    struct nx_err *err)
{
    nx_buf_reset(&writer->times);
    nx_buf_reset(&writer->histograms);
    for (size_t i = 0; i < count; i++) {
        nx_buf_append(&writer->times, &samples[i].time_ms, sizeof(samples[i].time_ms));
        nx_buf_append(&writer->histograms, &samples[i].histogram, sizeof(samples[i].histogram));
    }
    return block_writer_put_histograms(
        writer, (const int64_t *)(const void *)writer->times.data,
        (const struct histogram *const *)(const void *)writer->histograms.data, count, err);
}

nx_code block_writer_add_exemplars(struct block_writer *writer, const struct exemplar *exemplars,
                                   size_t count, struct nx_err *err)
{
    struct block_meta *meta = &writer->file.meta;
    uint32_t series_count = index_builder_series_count(writer->index);
    NX_ASSERT(series_count > 0 && !writer->has_exemplars);
    if (count == 0)
        return NX_OK;
    for (size_t i = 0; i < count; i++)
        if (exemplar_check(&exemplars[i], err) != NX_OK)
            return nx_err_wrap(err, "block %s", meta->ulid);
    writer->has_exemplars = true;
    struct nx_buf sorted = {0};
    nx_buf_append(&sorted, exemplars, count * sizeof(*exemplars));
    struct exemplar *all = (struct exemplar *)(void *)sorted.data;
    count = exemplars_sort(all, count);
    nx_buf_reset(&writer->packed);
    size_t kept = exemplars_pack(series_count - 1, all, count, &writer->packed);
    index_builder_add_exemplars(writer->index, nx_buf_bytes(&writer->packed));
    int64_t min_ms = all[count - kept].time_ms, max_ms = all[count - 1].time_ms;
    nx_buf_deinit(&sorted);
    if (meta->exemplar_count == 0 || min_ms < meta->exemplar_min_ms)
        meta->exemplar_min_ms = min_ms;
    if (meta->exemplar_count == 0 || max_ms > meta->exemplar_max_ms)
        meta->exemplar_max_ms = max_ms;
    meta->exemplar_count += kept;
    return NX_OK;
}

nx_code block_writer_add(struct block_writer *writer, struct labels labels, uint32_t slot,
                         const int64_t *times_ms, const double *values, size_t count,
                         struct nx_err *err)
{
    nx_code code = block_writer_begin_series(writer, labels, slot, err);
    if (code == NX_OK)
        code = block_writer_put_samples(writer, times_ms, values, count, err);
    return code;
}

/* ---- finish ---- */

/* LMDB wrote the file itself: sync it and take its checksums through our own calls. */
static nx_code seal_index(struct block_writer *writer, const char *path, struct nx_buf *sums,
                          struct nx_err *err)
{
    const struct io *io = writer->io;
    int fd = -1;
    nx_code code = io->open(io, path, O_RDWR, 0, &fd, err);
    if (code != NX_OK)
        return code;
    code = io_file_size(io, path, &writer->file.meta.index_bytes, err);
    if (code == NX_OK && writer->pace != NULL)
        code = file_write_back(fd, 0, writer->file.meta.index_bytes, writer->pace, err);
    if (code == NX_OK)
        code = io->fsync(io, fd, err);
    if (code == NX_OK)
        code = file_sums_read(io, fd, writer->file.meta.index_bytes, sums, err);
    struct nx_err close_err;
    nx_code closed = io->close(io, fd, code == NX_OK ? err : &close_err);
    return code == NX_OK ? closed : code;
}

static uint64_t *take_sums(struct nx_buf *sums)
{
    uint64_t *taken = (uint64_t *)(void *)sums->data;
    *sums = (struct nx_buf){0};
    return taken;
}

static nx_code write_meta(struct block_writer *writer, struct nx_err *err)
{
    struct nx_buf path = {0}, bytes = {0};
    block_meta_encode(&writer->file, &bytes);
    nx_code code = io_write_file(writer->io, path_join(&path, writer->dir, BLOCK_META_NAME),
                                 nx_buf_bytes(&bytes), err);
    nx_buf_deinit(&path);
    nx_buf_deinit(&bytes);
    return code;
}

nx_code block_writer_finish(struct block_writer *writer, struct block_meta *out_meta,
                            struct nx_err *err)
{
    struct block_meta *meta = &writer->file.meta;
    struct nx_buf path = {0}, sums = {0};
    NX_ASSERT(!writer->is_finished);
    NX_ASSERT(writer->has_samples || writer->has_exemplars ||
              index_builder_series_count(writer->index) == 0);
    if (meta->chunk_count == 0)
        return nx_err_set(err, NX_E_INVALID, "block %s: no samples", meta->ulid);
    nx_code code = write_chunk_group(writer, err);
    if (code == NX_OK)
        code = write_vector_group(writer, err);
    if (code == NX_OK)
        code = sum_file_finish(&writer->chunks, err);
    if (code != NX_OK)
        goto done;
    meta->series_count = index_builder_series_count(writer->index);
    meta->chunks_bytes = sum_file_offset(&writer->chunks);
    writer->file.chunks_sums = take_sums(&writer->chunks.sums);
    writer->io->crash_point(writer->io, "flush_encoded");

    code = index_builder_write(writer->index, path_join(&path, writer->dir, BLOCK_INDEX_NAME), err);
    if (code == NX_OK)
        code = seal_index(writer, (const char *)path.data, &sums, err);
    if (code != NX_OK)
        goto done;
    writer->file.index_sums = take_sums(&sums);
    writer->io->crash_point(writer->io, "flush_indexed");

    code = write_meta(writer, err);
    if (code == NX_OK)
        code = io_sync_dir(writer->io, writer->dir, err);
    if (code != NX_OK)
        goto done;
    writer->io->crash_point(writer->io, "flush_sealed");
    writer->is_finished = true;
    *out_meta = *meta;
done:
    nx_buf_deinit(&path);
    nx_buf_deinit(&sums);
    return code == NX_OK ? NX_OK : nx_err_wrap(err, "block %s", meta->ulid);
}
