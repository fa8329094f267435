/* block_group.h - the groups of chunks.nxc as bytes and as tables: pure functions, no files.
 *
 *   file   group | group | group ...          two kinds, in the order in which they were filled:
 *            chunk group    chunks of neighbouring series, and which time vector each has
 *            vector group   time vectors, each stored once per block however many series share it
 *
 * A vector is named by its number in the block, so a scrape's thousand series refer to one. Parsed groups are flat
 * allocations without pointers: they live in the group cache.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define GROUP_MAGIC        UINT32_C(0x3147584e) /* "NXG1" */
#define GROUP_HEADER_BYTES 32u
#define GROUP_RAW_BYTES_CUT                                                                        \
 (64u << 10) /* measured: larger groups gain 1 to 2 % and cost cold reads */
#define GROUP_RAW_BYTES_MAX    (1u << 20) /* cut + the largest chunk + directory, with a wide margin */
#define GROUP_CHUNKS_CUT       4096u      /* constant series: the directory is most of the group */
#define GROUP_CHUNKS_MAX       8192u
#define VECTOR_GROUP_TIMES_CUT 8192u /* 64 KB decoded */
#define VECTOR_GROUP_TIMES_MAX (VECTOR_GROUP_TIMES_CUT + 4096u)
#define VECTOR_GROUP_BYTES_CUT (64u << 10)

enum group_kind {
    GROUP_KIND_CHUNKS = 1,
    GROUP_KIND_VECTORS = 2,
};

/* ---- envelope ---- */

/* Appends header and body, packed by zstd where that saves a fiftieth. `first`: first rank or first vector number.
 * file_offset is where the group will lie: it seeds the checksum, so a group read from elsewhere does not verify. */
void group_pack(enum group_kind kind, uint32_t first, struct nx_bytes raw, int zstd_level,
                uint64_t file_offset, struct nx_buf *out);

/* The inverse. *out_raw is a view of `stored` or of `scratch`. NX_E_CORRUPT. */
NX_NODISCARD nx_code group_unpack(struct nx_bytes stored, uint64_t file_offset,
                                  enum group_kind kind, uint32_t first, struct nx_buf *scratch,
                                  struct nx_bytes *out_raw);

/* ---- chunk groups ---- */

struct group_chunk {
    uint32_t rank;
    uint32_t vector;
    uint32_t offset; /* into the chunk bytes; its length is the next entry's offset less this */
    uint32_t start;  /* its times lie in base + [start << 16, (start + span + 2) << 16), */
    uint32_t span;   /* open at the end when span is GROUP_SPAN_OPEN */
};
#define GROUP_SPAN_OPEN INT32_MAX

struct chunk_group {
    int64_t base_ms;
    uint32_t chunk_count;
    uint32_t byte_count;
    struct group_chunk
        chunks[]; /* chunk_count + 1: the last holds only the end offset; the bytes follow */
};

/* NX_E_CORRUPT unless ranks ascend from `first_rank` to exactly `last_rank`. *out_group is nx_alloc'd. */
NX_NODISCARD nx_code chunk_group_parse(struct nx_bytes raw, uint32_t first_rank, uint32_t last_rank,
                                       struct chunk_group **out_group, size_t *out_bytes);
/* Index of the first chunk of `rank`, or of the first of a later one; chunk_count when there is none. */
uint32_t chunk_group_find(const struct chunk_group *group, uint32_t rank);
struct nx_bytes chunk_group_bytes(const struct chunk_group *group, uint32_t index);
/* Whether the chunk may have samples in the range, and whether all of it surely lies inside. */
bool chunk_group_may_overlap(const struct chunk_group *group, uint32_t index, int64_t min_ms,
                             int64_t max_ms);
bool chunk_group_is_inside(const struct chunk_group *group, uint32_t index, int64_t min_ms,
                           int64_t max_ms);

struct group_builder {
    struct group_builder_chunk *chunks;
    uint32_t count, cap;
    struct nx_buf bytes; /* chunk bytes */
    struct nx_buf raw;   /* scratch of the last finish */
    int64_t min_ms, max_ms;
};
void group_builder_deinit(struct group_builder *builder);
void group_builder_add(struct group_builder *builder, uint32_t rank, uint32_t vector,
                       int64_t first_ms, int64_t last_ms, struct nx_bytes chunk);
uint32_t group_builder_first_rank(const struct group_builder *builder);
uint32_t group_builder_last_rank(const struct group_builder *builder);
size_t group_builder_size(const struct group_builder *builder); /* estimate of the raw size */
/* The raw body; valid until the builder changes. Empties it. */
struct nx_bytes group_builder_finish(struct group_builder *builder);

/* ---- vector groups ---- */

struct vector_group {
    uint32_t first;
    uint32_t count;
    uint32_t offsets[]; /* count + 1, in times; the times follow, 8-byte aligned */
};

NX_NODISCARD nx_code vector_group_parse(struct nx_bytes raw, uint32_t first, uint32_t count,
                                        struct vector_group **out_group, size_t *out_bytes);
/* Times of vector `number`, which lies in the group (asserted). */
const int64_t *vector_group_times(const struct vector_group *group, uint32_t number,
                                  uint32_t *out_count);

struct vector_builder {
    struct nx_buf counts, lengths; /* varints */
    struct nx_buf bytes, raw;
    uint32_t first, count;
    uint32_t times;
};
void vector_builder_deinit(struct vector_builder *builder);
void vector_builder_add(struct vector_builder *builder, const int64_t *times_ms, uint32_t count);
bool vector_builder_is_full(const struct vector_builder *builder);
/* The raw body; the next vector begins a new group. */
struct nx_bytes vector_builder_finish(struct vector_builder *builder);
