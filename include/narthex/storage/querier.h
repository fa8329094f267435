/* querier.h - the series_source over head and blocks: what a query sees.
 *
 * Layer    storage.   Threads  the source: any; a set: one at a time.
 * Order    labels_compare, each series once; of samples of one series and time the one of the earlier commit stays:
 *          blocks in their order of precedence, then the head.
 * Memory   selections live in the query's arena (hints->arena); columns are reused from series to series and counted
 *          against the same budget.
 * Damage   a block that does not verify is quarantined, a group that does not is left out; either way the answer
 *          carries a warning that names the block. `warnings` given to select must outlive the set.
 * Head     an open set holds a view of the head (head_view.h): one that lives minutes past a flush ends with
 *          NX_E_TIMEOUT.
 */
#pragma once

#include "narthex/block/block_list.h"
#include "narthex/head/head.h"
#include "narthex/model/exemplar.h"
#include "narthex/model/series.h"
#include "narthex/storage/head_view.h"

struct querier;
/* All borrowed. */
struct querier *querier_new(struct head *head, struct block_list *blocks, struct head_views *views);
void querier_free(struct querier *querier); /* no set is open; NULL is fine */
struct series_source *querier_source(struct querier *querier);

/* Exemplars of the selected series with some in [min_ms, max_ms], in label order; by time, each once. All in
 * `arena`. */
struct exemplar_series {
    struct labels labels;
    const struct exemplar *exemplars;
    size_t count;
};
NX_NODISCARD nx_code querier_exemplars(struct querier *querier, const struct matcher *matchers,
                                       size_t matcher_count, int64_t min_ms, int64_t max_ms,
                                       struct arena *arena, struct exemplar_series **out,
                                       size_t *out_count, struct series_warnings *warnings,
                                       struct nx_err *err);
