/* SPDX-License-Identifier: Apache-2.0
 *
 * querier.c - the series_source over head and blocks: its table, its warnings, and what happens to a damaged block.
 *
 * In       selections, names and values asked for: querier_select.c, querier_labels.c.
 * Out      struct series_source.
 * Fails    see the two.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#include "querier_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define WARNING_BYTES_MAX 400
#define ABSENT_TOLD_MAX   4u /* chosen: half of the warnings that an answer can have */

static const struct series_source_ops querier_ops = {
    .select = querier_select,
    .label_names = querier_label_names,
    .label_values = querier_label_values,
};

struct querier *querier_new(struct head *head, struct block_list *blocks, struct head_views *views)
{
    struct querier *querier = nx_calloc(1, sizeof(*querier));
    querier->source.ops = &querier_ops;
    querier->head = head;
    querier->blocks = blocks;
    querier->views = views;
    return querier;
}

void querier_free(struct querier *querier)
{
    nx_free(querier);
}

struct series_source *querier_source(struct querier *querier)
{
    return &querier->source;
}

void querier_warn(struct series_warnings *warnings, struct arena *arena, const char *format, ...)
{
    char text[WARNING_BYTES_MAX];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    NX_ASSERT(length >= 0);
    struct nx_str view = nx_str_from(text);
    for (size_t i = 0; i < warnings->count; i++)
        if (nx_str_eq(warnings->texts[i], view))
            return;
    if (warnings->count < NX_ARRAY_LEN(warnings->texts))
        warnings->texts[warnings->count++] = arena_strdup(arena, view);
}

void querier_drop_block(struct querier *querier, struct block *block,
                        struct series_warnings *warnings, struct arena *arena,
                        const struct nx_err *reason)
{
    querier_warn(warnings, arena, "block %s is damaged and left out: %s", block_meta(block)->ulid,
                 reason->msg);
    if (reason->code != NX_E_CORRUPT)
        return; /* a disk that does not answer now may answer later */
    struct nx_err ignored;
    nx_ignore(block_list_quarantine(querier->blocks, block, reason->msg, &ignored));
}

static void warn_of(const struct block_absent *item, struct series_warnings *warnings,
                    struct arena *arena)
{
    char range[64];
    const char *state = item->is_unreadable ? "cannot be read now" : "is in quarantine";
    if (item->min_ms == INT64_MIN)
        snprintf(range, sizeof(range), "of an unknown range");
    else
        snprintf(range, sizeof(range), "from %" PRId64 " to %" PRId64 " ms", item->min_ms,
                 item->max_ms);
    querier_warn(warnings, arena, "block %s (%s) %s: %s; the answer may lack its samples",
                 item->meta.ulid, range, state, item->reason);
}

void querier_warn_absent(struct querier *querier, const struct block_snapshot *snapshot,
                         int64_t min_ms, int64_t max_ms, struct series_warnings *warnings,
                         struct arena *arena)
{
    size_t told = 0;
    for (size_t i = 0; i < snapshot->absent_count; i++) {
        const struct block_absent *item = &snapshot->absent[i];
        if (item->min_ms > max_ms || item->max_ms < min_ms ||
            !block_list_is_absent(querier->blocks, item))
            continue;
        if (++told <= ABSENT_TOLD_MAX)
            warn_of(item, warnings, arena);
    }
    if (told > ABSENT_TOLD_MAX)
        querier_warn(warnings, arena,
                     "%zu more blocks are in quarantine or cannot be read; the answer may lack "
                     "their samples",
                     told - ABSENT_TOLD_MAX);
}
