/* tombstones.h - what is deleted of one block: sets of its series, each with a range of time.
 *
 * Layer    block.   Format  docs/formats/catalog.md (the rows of `tomb`).
 * Life     immutable once made and shared by reference: a snapshot keeps those that were there when it was taken.
 *          Adding makes new ones.
 * Masks    a block's tombstones mask that block alone, so what is written later, into later blocks, is never touched.
 * Limits   TOMBSTONES_MAX entries a block: a series that any of them names is looked up in each.
 * Threads  any may read.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/model/exemplar.h"
#include "narthex/model/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOMBSTONES_MAX 1000u /* chosen: some 20 us for a series that all of them name */

struct time_range {
    int64_t min_ms, max_ms; /* both inclusive */
};

/* Ranges ascend and neither overlap nor touch. */
bool time_ranges_overlap(const struct time_range *ranges, size_t count, int64_t min_ms,
                         int64_t max_ms);
bool time_ranges_cover(const struct time_range *ranges, size_t count, int64_t min_ms,
                       int64_t max_ms);
/* Removes the samples that lie in a range; times ascend, cells of 8 bytes (a double, a pointer) go along. Returns how
 * many are left. */
size_t time_ranges_filter(const struct time_range *ranges, size_t count, int64_t *times_ms,
                          void *cells, size_t sample_count);
/* The same, in any order. */
size_t time_ranges_filter_histograms(const struct time_range *ranges, size_t count,
                                     struct histogram_sample *samples, size_t sample_count);
size_t time_ranges_filter_exemplars(const struct time_range *ranges, size_t count,
                                    struct exemplar *exemplars, size_t exemplar_count);

struct tombstones;

/* `old` (NULL: none) and one more: ranks ascending, below series_count, count >= 1. What is there already changes
 * nothing: then *out is `old` again. The new reference is the caller's. NX_E_LIMIT: too many. */
NX_NODISCARD nx_code tombstones_add(struct tombstones *old, uint32_t series_count,
                                    const uint32_t *ranks, size_t count, int64_t min_ms,
                                    int64_t max_ms, struct tombstones **out, struct nx_err *err);
/* The same, with the mark that a rewrite cannot make the block smaller: what they mask is there to keep slots. */
struct tombstones *tombstones_settled(const struct tombstones *tombstones);
bool tombstones_is_settled(const struct tombstones *tombstones);

/* All that either says, of one block; either may be NULL, and both stay the caller's. NX_E_LIMIT: too many. */
NX_NODISCARD nx_code tombstones_join(struct tombstones *a, struct tombstones *b,
                                     struct tombstones **out, struct nx_err *err);

struct tombstones *tombstones_ref(struct tombstones *tombstones); /* NULL is fine */
void tombstones_unref(struct tombstones *tombstones);             /* NULL is fine */

size_t tombstones_count(const struct tombstones *tombstones); /* entries; 0 for NULL */
/* Whether any entry names the series; false for NULL. */
bool tombstones_has(const struct tombstones *tombstones, uint32_t rank);
/* What is deleted of a series, appended as struct time_range: ascending, neither overlapping nor touching. */
void tombstones_ranges(const struct tombstones *tombstones, uint32_t rank, struct nx_buf *out);
/* The series that any entry names, ascending, appended as uint32_t. */
void tombstones_ranks(const struct tombstones *tombstones, struct nx_buf *out);
/* Whether one entry names all series and covers the range. */
bool tombstones_cover_all(const struct tombstones *tombstones, int64_t min_ms, int64_t max_ms);

/* As the catalog keeps them. The view lives as long as the tombstones. */
struct nx_bytes tombstones_packed(const struct tombstones *tombstones);
/* NX_E_CORRUPT when the bytes are none of a block with that many series. */
NX_NODISCARD nx_code tombstones_unpack(struct nx_bytes bytes, uint32_t series_count,
                                       struct tombstones **out, struct nx_err *err);
