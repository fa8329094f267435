/* histogram_internal.h - what the code of one native histogram and chunks of them share: layouts as bytes, and the
 * buckets of several layouts as columns. */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/codec/varint.h"
#include "narthex/model/histogram.h"

/* Schema, threshold and bounds. */
void histogram_frame_put(const struct histogram *histogram, struct nx_buf *out);
/* The inverse, into *out, which has no spans yet, and is well-formed then. NX_E_CORRUPT on anything else, NX_E_LIMIT
 * when the arena is exhausted. */
NX_NODISCARD nx_code histogram_frame_get(struct byte_reader *reader, struct arena *arena,
                                         struct histogram *out);

/* The spans of both signs. */
void histogram_spans_put(const struct histogram *histogram, struct nx_buf *out);
/* The inverse, into *out, which has a frame; sets bucket_count, and no buckets. Likewise. */
NX_NODISCARD nx_code histogram_spans_get(struct byte_reader *reader, struct arena *arena,
                                         struct histogram *out);

/* The buckets of one sign that any of several layouts has, ascending: each is a column. */
struct bucket_range {
    int64_t first, end; /* indexes of buckets, `end` not included */
    uint32_t column;    /* of the first */
};
struct bucket_union {
    struct nx_buf ranges; /* struct bucket_range, neither overlapping nor touching */
    struct nx_buf next;   /* the same with a side added, until it is committed */
    uint32_t columns, next_columns;
};
void bucket_union_deinit(struct bucket_union *columns);
void bucket_union_reset(struct bucket_union *columns);
/* Adds a well-formed side, but not yet: returns how many columns that would be. */
uint32_t bucket_union_prepare(struct bucket_union *columns, const struct histogram_side *side);
void bucket_union_commit(struct bucket_union *columns); /* the last prepare */
/* The column of a bucket that is there. */
uint32_t bucket_union_column(const struct bucket_union *columns, int64_t index);

/* The same schema, threshold, bounds and kind of counts: buckets of one index are the same bucket. */
bool histogram_same_frame(const struct histogram *a, const struct histogram *b);
/* The same spans, too. */
bool histogram_same_spans(const struct histogram *a, const struct histogram *b);

/* What a chunk keeps of a count: how it differs from the total, 0 nearly always. Its own inverse but for the sign. */
static inline uint64_t histogram_count_from_total(bool is_float, uint64_t count, uint64_t total)
{
    return is_float ? count ^ total : count - total;
}
static inline uint64_t histogram_count_of_total(bool is_float, uint64_t kept, uint64_t total)
{
    return is_float ? kept ^ total : kept + total;
}

/* Columns of a section before those of the buckets: the count, the zero bucket. */
#define SECTION_COLUMN_COUNT   0u
#define SECTION_COLUMN_ZERO    1u
#define SECTION_COLUMN_BUCKETS 2u

/* First word of a section: number of samples << 1 | counts are floats. */
#define SECTION_FLOAT 1u
