/* querier_internal.h - what querier.c, querier_select.c and querier_labels.c share. */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/storage/querier.h"

struct querier {
    struct series_source source; /* first: the source is this */
    struct head *head;           /* [I] borrowed */
    struct block_list *blocks;   /* [I] borrowed */
    struct head_views *views;    /* [I] borrowed */
};

/* Adds the text, in the arena, unless it is there or there is no room for more. */
void querier_warn(struct series_warnings *warnings, struct arena *arena, const char *format, ...)
    NX_PRINTF(3, 4);
/* A block that gave `reason`: quarantined when its bytes are wrong, with a warning either way. */
void querier_drop_block(struct querier *querier, struct block *block,
                        struct series_warnings *warnings, struct arena *arena,
                        const struct nx_err *reason);

/* A warning for each block that should be in the snapshot and is in quarantine/ or cannot be read, where it overlaps
 * the range. */
void querier_warn_absent(struct querier *querier, const struct block_snapshot *snapshot,
                         int64_t min_ms, int64_t max_ms, struct series_warnings *warnings,
                         struct arena *arena);

NX_NODISCARD nx_code querier_select(struct series_source *source, const struct matcher *matchers,
                                    size_t matcher_count, int64_t min_ms, int64_t max_ms,
                                    const struct series_hints *hints, struct series_set **out_set,
                                    struct series_warnings *warnings, struct nx_err *err);
NX_NODISCARD nx_code querier_label_names(struct series_source *source,
                                         const struct matcher *matchers, size_t matcher_count,
                                         int64_t min_ms, int64_t max_ms, size_t limit,
                                         struct arena *arena, struct nx_str **out,
                                         size_t *out_count, bool *out_truncated,
                                         struct series_warnings *warnings, struct nx_err *err);
NX_NODISCARD nx_code querier_label_values(struct series_source *source, struct nx_str name,
                                          const struct matcher *matchers, size_t matcher_count,
                                          int64_t min_ms, int64_t max_ms, size_t limit,
                                          struct arena *arena, struct nx_str **out,
                                          size_t *out_count, bool *out_truncated,
                                          struct series_warnings *warnings, struct nx_err *err);
