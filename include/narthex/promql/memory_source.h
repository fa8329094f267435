/* memory_source.h - a series_source over arrays in memory: for test scripts, and a double in tests of its readers.
 *
 * Layer    promql (model above base would do, but nothing that ships needs it).
 * Memory   the heap; labels and samples are copied in. Sets point into the source: do not add while one is open.
 * Threads  reads from many, writes from one with no readers.
 */
#pragma once

#include "narthex/model/series.h"

struct memory_source;

struct memory_source *memory_source_new(void);
void memory_source_free(struct memory_source *source); /* NULL is fine */
struct series_source *memory_source_handle(struct memory_source *source);

/* Forgets all series. */
void memory_source_clear(struct memory_source *source);

/* Adds a sample; one at the same time is replaced. Cost: constant when it is the series' newest. */
void memory_source_add(struct memory_source *source, struct labels labels, int64_t time_ms,
                       double value);
/* Notes a sample of a kind that cannot be read yet: a select whose range holds it fails with NX_E_UNSUPPORTED and
 * `what`, which must be a string literal. */
void memory_source_add_unreadable(struct memory_source *source, struct labels labels,
                                  int64_t time_ms, const char *what);
size_t memory_source_series_count(const struct memory_source *source);
