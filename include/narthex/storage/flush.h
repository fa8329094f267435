/* flush.h - the head's unflushed data becomes a level-0 block, and the journal behind it is recycled.
 *
 * Layer    storage.   Threads  one flush at a time.
 * Stages   cut -> seal -> encode -> publish -> recycle -> let go. Crash points between them: flush_cut,
 *          flush_sealed_head, (the block layer's flush_encoded, flush_indexed, flush_sealed, publish_begun,
 *          publish_renamed, publish_committed), flush_published, flush_recycled. Whatever step a crash stops at, a
 *          start finds every committed sample once at least.
 */
#pragma once

#include "narthex/block/block_list.h"
#include "narthex/head/head.h"
#include "narthex/storage/committer.h"
#include "narthex/storage/head_view.h"
#include "narthex/storage/metadata_table.h"

#include <stdbool.h>
#include <stdint.h>

#define FLUSH_VIEW_TIMEOUT_NS                                                                      \
 UINT64_C(300000000000) /* chosen: above the longest query time limit */

/* What a flush works on; all borrowed. */
struct flush_parts {
    const struct io *io;
    struct head *head;
    struct journal *journal;
    struct committer *committer; /* NULL: its thread has ended, nothing is being committed */
    struct block_list *blocks;
    struct head_views *views;
    struct metadata_table *metadata;  /* NULL: none */
    uint64_t *flushed_commit;         /* in and out: the newest commit that a block holds */
    const _Atomic bool *is_stopping;  /* true: views are waited for no longer; may be NULL */
    void (*on_sealed)(void *context); /* called when the head is sealed; may be NULL */
    void *on_sealed_context;
};

struct flush_result {
    bool has_block; /* false: there was nothing to flush */
    uint64_t series, samples;
};
/* Nothing is lost or changed when it fails: the next flush takes the same and more. Fails as the disk does. */
NX_NODISCARD nx_code flush_run(const struct flush_parts *parts, struct flush_result *out_result,
                               struct nx_err *err);
