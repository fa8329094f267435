/* SPDX-License-Identifier: Apache-2.0 */
/* scrub.c - one block at a time, one piece at a time, at a pace.
 *
 * The catalog's value "scrub": u32 1, ulid (26 bytes) and number (u64) of the next piece of the block at hand, zeros
 * when there is none; then for each block that was checked: ulid, wall time of the check in ms (i64). A value of
 * another shape is forgotten: everything is then checked anew.
 */
#include "narthex/block/scrub.h"

#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"

#include "block_files.h"
#include "block_piece.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define SCRUB_KEY         "scrub"
#define SCRUB_VERSION     1u
#define SCRUB_HEAD_BYTES  (4u + ULID_TEXT_LEN + 8u)
#define SCRUB_ROW_BYTES   (ULID_TEXT_LEN + 8u)
#define SCRUB_SAVE_PIECES 1024u /* chosen: a GiB is read twice after a crash at most */
#define SCRUB_BURST_NS    UINT64_C(500000000)

struct scrub_row {
    char ulid[ULID_TEXT_LEN + 1];
    int64_t checked_ms;
};

struct scrub {
    struct block_list *list;
    const struct clock *clock;
    uint64_t bytes_per_s;
    struct scrub_row
        *rows; /* blocks that were checked; those that are gone are dropped at a save */
    size_t count, cap;
    char at_ulid[ULID_TEXT_LEN + 1]; /* empty: none at hand */
    uint64_t at_piece;
    struct block *block; /* of at_ulid, referenced while it is at hand */
    uint64_t unsaved;    /* pieces since the last save */
    uint64_t last_ns;
    uint64_t allowance; /* bytes that may be read */
    struct nx_buf scratch, stored, raw;
};

/* ---- progress ---- */

static struct scrub_row *row_of(struct scrub *scrub, const char *ulid)
{
    for (size_t i = 0; i < scrub->count; i++)
        if (strcmp(scrub->rows[i].ulid, ulid) == 0)
            return &scrub->rows[i];
    return NULL;
}

static void row_set(struct scrub *scrub, const char *ulid, int64_t checked_ms)
{
    struct scrub_row *row = row_of(scrub, ulid);
    if (row == NULL) {
        if (scrub->count == scrub->cap) {
            scrub->cap = scrub->cap == 0 ? 64 : scrub->cap * 2;
            scrub->rows = nx_realloc_array(scrub->rows, scrub->cap, sizeof(*scrub->rows));
        }
        row = &scrub->rows[scrub->count++];
        memcpy(row->ulid, ulid, sizeof(row->ulid));
    }
    row->checked_ms = checked_ms;
}

static void progress_load(struct scrub *scrub)
{
    struct nx_buf value = {0};
    struct nx_err ignored;
    if (catalog_get(block_list_catalog(scrub->list), SCRUB_KEY, &value, &ignored) == NX_OK &&
        value.len >= SCRUB_HEAD_BYTES && (value.len - SCRUB_HEAD_BYTES) % SCRUB_ROW_BYTES == 0 &&
        load_u32(value.data) == SCRUB_VERSION) {
        char ulid[ULID_TEXT_LEN + 1] = {0};
        memcpy(ulid, value.data + 4, ULID_TEXT_LEN);
        if (ulid_is_valid(ulid)) {
            memcpy(scrub->at_ulid, ulid, sizeof(ulid));
            scrub->at_piece = load_u64(value.data + 4 + ULID_TEXT_LEN);
        }
        for (size_t at = SCRUB_HEAD_BYTES; at < value.len; at += SCRUB_ROW_BYTES) {
            memcpy(ulid, value.data + at, ULID_TEXT_LEN);
            if (ulid_is_valid(ulid))
                row_set(scrub, ulid, (int64_t)load_u64(value.data + at + ULID_TEXT_LEN));
        }
    }
    nx_buf_deinit(&value);
}

static void drop_gone(struct scrub *scrub, const struct block_snapshot *blocks)
{
    size_t kept = 0;
    for (size_t i = 0; i < scrub->count; i++) {
        bool is_there = false;
        for (size_t j = 0; j < blocks->count && !is_there; j++)
            is_there = strcmp(block_meta(blocks->blocks[j])->ulid, scrub->rows[i].ulid) == 0;
        if (is_there)
            scrub->rows[kept++] = scrub->rows[i];
    }
    scrub->count = kept;
}

static nx_code progress_save(struct scrub *scrub, struct nx_err *err)
{
    struct block_snapshot blocks;
    block_list_snapshot(scrub->list, INT64_MIN, INT64_MAX, &blocks);
    drop_gone(scrub, &blocks);
    block_snapshot_end(&blocks);
    struct nx_buf value = {0};
    nx_buf_append_u32(&value, SCRUB_VERSION);
    nx_buf_append(&value, scrub->at_ulid, ULID_TEXT_LEN);
    nx_buf_append_u64(&value, scrub->at_piece);
    for (size_t i = 0; i < scrub->count; i++) {
        nx_buf_append(&value, scrub->rows[i].ulid, ULID_TEXT_LEN);
        nx_buf_append_u64(&value, (uint64_t)scrub->rows[i].checked_ms);
    }
    nx_code code =
        catalog_put(block_list_catalog(scrub->list), SCRUB_KEY, nx_buf_bytes(&value), err);
    nx_buf_deinit(&value);
    scrub->unsaved = 0;
    return code;
}

/* ---- which block ---- */

static int64_t checked_ms(struct scrub *scrub, const char *ulid)
{
    const struct scrub_row *row = row_of(scrub, ulid);
    return row == NULL ? ulid_time_ms(ulid) : row->checked_ms;
}

static void let_go(struct scrub *scrub)
{
    block_unref(scrub->block);
    scrub->block = NULL;
    memset(scrub->at_ulid, 0, sizeof(scrub->at_ulid));
    scrub->at_piece = 0;
}

/* The block at hand, else the one whose check is longest ago and due. False: none. */
static bool take_block(struct scrub *scrub)
{
    struct block_snapshot blocks;
    struct block *found = NULL;
    int64_t oldest_ms = clock_wall_ms(scrub->clock) - SCRUB_AGAIN_MS;
    block_list_snapshot(scrub->list, INT64_MIN, INT64_MAX, &blocks);
    bool is_at_hand = false;
    for (size_t i = 0; i < blocks.count && !is_at_hand; i++) {
        const char *ulid = block_meta(blocks.blocks[i])->ulid;
        is_at_hand = strcmp(ulid, scrub->at_ulid) == 0;
        int64_t at_ms = checked_ms(scrub, ulid);
        if (!is_at_hand && at_ms > oldest_ms)
            continue;
        oldest_ms = at_ms;
        found = blocks.blocks[i];
    }
    if (!is_at_hand)
        let_go(scrub); /* the one at hand was merged or dropped */
    if (found != NULL && scrub->block != found) {
        block_unref(scrub->block);
        scrub->block = block_ref(found);
        memcpy(scrub->at_ulid, block_meta(found)->ulid, sizeof(scrub->at_ulid));
    }
    block_snapshot_end(&blocks);
    return scrub->block != NULL;
}

/* ---- damage ---- */

static bool is_damage(const struct nx_err *err)
{
    return err->code == NX_E_CORRUPT || err->code == NX_E_NOT_FOUND ||
           (err->code == NX_E_IO && (err->sys == EIO || err->sys == ENOENT));
}

static void tell(struct scrub *scrub, struct scrub_result *out, bool is_index, const char *damage)
{
    out->damages++;
    out->is_index = is_index;
    memcpy(out->ulid, scrub->at_ulid, sizeof(out->ulid));
    snprintf(out->damage, sizeof(out->damage), "%s", damage);
    metrics_add_at(METRIC_SCRUB_DAMAGES, is_index ? 0 : 1, 1);
}

/* The groups that lie in a damaged piece: those that do not verify make the block a damaged one. */
static nx_code check_groups(struct scrub *scrub, const struct block_piece *piece,
                            struct scrub_result *out, struct nx_err *err)
{
    const struct block_index *index = NULL;
    nx_code code = block_index_of(scrub->block, &index, err);
    if (code != NX_OK)
        return code;
    struct block_group_place place;
    for (uint64_t i = 0; block_group_place_at(index, i, &place); i++) {
        struct nx_bytes raw;
        struct nx_err why;
        if (place.offset >= piece->offset + piece->bytes ||
            place.offset + place.stored_bytes <= piece->offset)
            continue;
        nx_code loaded =
            block_group_load(scrub->block, &place, &scrub->stored, &scrub->raw, &raw, &why);
        if (loaded == NX_OK || !is_damage(&why))
            continue;
        atomic_store_explicit(&scrub->block->is_damaged, true, memory_order_relaxed);
        tell(scrub, out, false, why.msg);
    }
    return NX_OK;
}

static nx_code damaged_piece(struct scrub *scrub, const struct block_piece *piece,
                             const struct nx_err *why, struct scrub_result *out, struct nx_err *err)
{
    if (strcmp(piece->file, BLOCK_INDEX_NAME) == 0) {
        tell(scrub, out, true, why->msg);
        nx_code code = block_list_quarantine(scrub->list, scrub->block, why->msg, err);
        let_go(scrub);
        return code;
    }
    nx_code code = check_groups(scrub, piece, out, err);
    if (code == NX_E_CORRUPT) { /* the index, which was not opened before */
        struct nx_err reason = *err;
        tell(scrub, out, true, reason.msg);
        code = block_list_quarantine(scrub->list, scrub->block, reason.msg, err);
        let_go(scrub);
    }
    return code;
}

/* ---- run ---- */

static nx_code check_piece(struct scrub *scrub, struct scrub_result *out, struct nx_err *err)
{
    struct block_piece piece = block_piece_at(scrub->block, scrub->at_piece);
    struct nx_err why;
    nx_code code = block_piece_check(scrub->block, scrub->at_piece, &scrub->scratch, &why);
    if (code != NX_OK && is_damage(&why))
        /* Once more: what was wrong in memory alone is no damage. */
        code = block_piece_check(scrub->block, scrub->at_piece, &scrub->scratch, &why);
    if (code != NX_OK && !is_damage(&why)) {
        *err = why;
        return code;
    }
    scrub->allowance -= piece.bytes < scrub->allowance ? piece.bytes : scrub->allowance;
    scrub->at_piece++;
    scrub->unsaved++;
    out->bytes += piece.bytes;
    metrics_add(METRIC_SCRUB_BYTES, piece.bytes);
    return code == NX_OK ? NX_OK : damaged_piece(scrub, &piece, &why, out, err);
}

static nx_code end_block(struct scrub *scrub, struct scrub_result *out, struct nx_err *err)
{
    row_set(scrub, scrub->at_ulid, clock_wall_ms(scrub->clock));
    out->blocks++;
    metrics_add(METRIC_SCRUB_BLOCKS, 1);
    let_go(scrub);
    return progress_save(scrub, err);
}

static void earn(struct scrub *scrub)
{
    uint64_t now_ns = clock_mono_ns(scrub->clock);
    uint64_t passed_ns = now_ns > scrub->last_ns ? now_ns - scrub->last_ns : 0;
    scrub->last_ns = now_ns;
    if (passed_ns > 10 * SCRUB_BURST_NS)
        passed_ns = 10 * SCRUB_BURST_NS;
    uint64_t most =
        scrub->bytes_per_s / 2 > FILE_SUM_BYTES ? scrub->bytes_per_s / 2 : FILE_SUM_BYTES;
    scrub->allowance += (uint64_t)((double)scrub->bytes_per_s * (double)passed_ns / 1e9);
    if (scrub->allowance > most)
        scrub->allowance = most;
}

nx_code scrub_run(struct scrub *scrub, const _Atomic bool *is_stopping, struct scrub_result *out,
                  struct nx_err *err)
{
    *out = (struct scrub_result){0};
    earn(scrub);
    nx_code code = NX_OK;
    while (code == NX_OK && !(is_stopping != NULL && atomic_load(is_stopping))) {
        if (!take_block(scrub))
            break;
        if (scrub->at_piece >= block_piece_count(scrub->block)) {
            code = end_block(scrub, out, err);
            continue;
        }
        if (scrub->allowance < block_piece_at(scrub->block, scrub->at_piece).bytes)
            break;
        code = check_piece(scrub, out, err);
        if (code == NX_OK && scrub->unsaved >= SCRUB_SAVE_PIECES)
            code = progress_save(scrub, err);
    }
    /* A reference would keep a retired block's directory. */
    block_unref(scrub->block);
    scrub->block = NULL;
    return code;
}

struct scrub *scrub_new(const struct scrub_options *options)
{
    struct scrub *scrub = nx_calloc(1, sizeof(*scrub));
    scrub->list = options->list;
    scrub->clock = options->clock;
    scrub->bytes_per_s = options->bytes_per_s;
    scrub->last_ns = clock_mono_ns(options->clock);
    progress_load(scrub);
    return scrub;
}

void scrub_free(struct scrub *scrub)
{
    if (scrub == NULL)
        return;
    block_unref(scrub->block);
    nx_buf_deinit(&scrub->scratch);
    nx_buf_deinit(&scrub->stored);
    nx_buf_deinit(&scrub->raw);
    nx_free(scrub->rows);
    nx_free(scrub);
}
