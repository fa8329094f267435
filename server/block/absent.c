/* SPDX-License-Identifier: Apache-2.0 */
/* absent.c - which blocks answers lack, for how long they are in quarantine/ or cannot be read.
 *
 * In       what goes to quarantine/ now, and what is there at a start
 * Out      ulids, ranges of time, reasons
 * Fails    a directory that cannot be listed; what a reason file says is believed only where it parses
 *
 * The directory in quarantine/ is the record: when somebody removes it, or takes it back, nothing is absent any more.
 * The range stands in the reason file, because the block.meta may be what is damaged.
 */
#include "absent.h"

#include "narthex/base/mem.h"

#include "block_files.h"
#include "block_meta.h"
#include "merge_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REASON_FILE_MAX ((size_t)4096)
#define META_FILE_MAX   ((size_t)1 << 30)
#define REPLACED        "replaced by "
#define RANGE_LINE      "samples in ms: "

/* ---- the list ---- */

void absent_deinit(struct absent_list *absent)
{
    nx_free(absent->items);
    *absent = (struct absent_list){0};
}

static struct block_absent *find(struct absent_list *absent, const char *ulid)
{
    for (size_t i = 0; i < absent->count; i++)
        if (strcmp(absent->items[i].meta.ulid, ulid) == 0)
            return &absent->items[i];
    return NULL;
}

void absent_add(struct absent_list *absent, const struct block_absent *item)
{
    struct block_absent *old = find(absent, item->meta.ulid);
    if (old != NULL) {
        *old = *item;
        return;
    }
    if (item->is_unreadable || absent->count - absent_unreadable(absent) < BLOCKS_ABSENT_MAX) {
        if (absent->count == absent->cap) {
            absent->cap = absent->cap == 0 ? 8 : absent->cap * 2;
            absent->items = nx_realloc_array(absent->items, absent->cap, sizeof(*absent->items));
        }
        absent->items[absent->count++] = *item;
        return;
    }
    /* Stands for more than its own directory now, and so until the next start. */
    size_t at = absent->count - 1;
    while (absent->items[at].is_unreadable)
        at--;
    struct block_absent *last = &absent->items[at];
    last->is_kept = true;
    if (item->min_ms < last->min_ms)
        last->min_ms = item->min_ms;
    if (item->max_ms > last->max_ms)
        last->max_ms = item->max_ms;
}

void absent_remove(struct absent_list *absent, const char *ulid)
{
    struct block_absent *item = find(absent, ulid);
    if (item == NULL)
        return;
    size_t at = (size_t)(item - absent->items);
    absent->count--;
    memmove(item, item + 1, (absent->count - at) * sizeof(*item));
}

const struct block_absent *absent_find(const struct absent_list *absent, const char *ulid)
{
    for (size_t i = 0; i < absent->count; i++)
        if (strcmp(absent->items[i].meta.ulid, ulid) == 0)
            return &absent->items[i];
    return NULL;
}

struct block_absent *absent_copy(const struct absent_list *absent, int64_t min_ms, int64_t max_ms,
                                 size_t *out_count)
{
    struct block_absent *items = NULL;
    *out_count = 0;
    for (size_t i = 0; i < absent->count; i++) {
        if (absent->items[i].min_ms > max_ms || absent->items[i].max_ms < min_ms)
            continue;
        if (items == NULL)
            items = nx_calloc(absent->count, sizeof(*items));
        items[(*out_count)++] = absent->items[i];
    }
    return items;
}

size_t absent_unreadable(const struct absent_list *absent)
{
    size_t count = 0;
    for (size_t i = 0; i < absent->count; i++)
        count += absent->items[i].is_unreadable;
    return count;
}

struct block_absent absent_of(const char *ulid, const struct block_meta *meta, const char *reason)
{
    struct block_absent item = {.min_ms = INT64_MIN, .max_ms = INT64_MAX};
    if (meta != NULL) {
        struct time_range span = block_span(meta);
        item.meta = *meta;
        item.min_ms = span.min_ms;
        item.max_ms = span.max_ms;
    }
    snprintf(item.meta.ulid, sizeof(item.meta.ulid), "%s", ulid);
    snprintf(item.reason, sizeof(item.reason), "%s", reason);
    return item;
}

/* ---- reason files ---- */

void absent_reason_text(const struct block_absent *item, struct nx_buf *out)
{
    nx_buf_printf(out, "%s\n", item->reason);
    if (item->min_ms != INT64_MIN)
        nx_buf_printf(out, RANGE_LINE "%" PRId64 " to %" PRId64 "\n", item->min_ms, item->max_ms);
}

/* "MIN to MAX" */
static bool parse_range(const char *text, int64_t *out_min, int64_t *out_max)
{
    int end = 0;
    return sscanf(text, "%" SCNd64 " to %" SCNd64 "%n", out_min, out_max, &end) == 2 && end > 0 &&
           *out_min <= *out_max;
}

/* True: its range is known. */
static bool read_reason(const struct io *io, const char *path, struct block_absent *item)
{
    struct nx_buf text = {0};
    struct nx_err ignored;
    bool has_range = false;
    if (io_read_file(io, path, REASON_FILE_MAX, &text, &ignored) == NX_OK) {
        nx_buf_append_byte(&text, 0);
        const char *line = (const char *)text.data;
        size_t length = strcspn(line, "\n");
        snprintf(item->reason, sizeof(item->reason), "%.*s", (int)length, line);
        for (size_t i = 0; item->reason[i] != '\0'; i++) /* by hand, perhaps */
            if ((unsigned char)item->reason[i] < 0x20 || (unsigned char)item->reason[i] > 0x7e)
                item->reason[i] = '?';
        const char *found = strstr(line + length, "\n" RANGE_LINE);
        int64_t min_ms, max_ms;
        if (found != NULL && parse_range(found + strlen("\n" RANGE_LINE), &min_ms, &max_ms)) {
            item->min_ms = min_ms;
            item->max_ms = max_ms;
            has_range = true;
        }
    }
    nx_buf_deinit(&text);
    return has_range;
}

static void read_meta(const struct io *io, const char *dir, struct block_absent *item)
{
    struct nx_buf path = {0}, bytes = {0};
    struct block_meta_file file = {0};
    struct nx_err ignored;
    if (io_read_file(io, path_join(&path, dir, BLOCK_META_NAME), META_FILE_MAX, &bytes, &ignored) ==
            NX_OK &&
        block_meta_decode(nx_buf_bytes(&bytes), &file, &ignored) == NX_OK) {
        struct time_range span = block_span(&file.meta);
        item->min_ms = span.min_ms;
        item->max_ms = span.max_ms;
        block_meta_file_deinit(&file);
    }
    nx_buf_deinit(&path);
    nx_buf_deinit(&bytes);
}

struct scanning {
    struct absent_list *absent;
    const struct io *io;
    const char *dir;
};

static nx_code scan_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    (void)err;
    struct scanning *scanning = context;
    if (!is_directory || !ulid_is_valid(name))
        return NX_OK;
    struct block_absent item = absent_of(name, NULL, "no reason is left beside it");
    struct nx_buf path = {0};
    char reason[ULID_TEXT_LEN + sizeof(".reason")];
    snprintf(reason, sizeof(reason), "%s.reason", name);
    bool has_range = read_reason(scanning->io, path_join(&path, scanning->dir, reason), &item);
    if (strncmp(item.reason, REPLACED, strlen(REPLACED)) != 0) {
        if (!has_range)
            read_meta(scanning->io, path_join(&path, scanning->dir, name), &item);
        absent_add(scanning->absent, &item);
    }
    nx_buf_deinit(&path);
    return NX_OK;
}

nx_code absent_scan(struct absent_list *absent, const struct io *io, const char *quarantine_dir,
                    struct nx_err *err)
{
    struct scanning scanning = {absent, io, quarantine_dir};
    if (!io_exists(quarantine_dir))
        return NX_OK;
    return io_each_entry(io, quarantine_dir, scan_entry, &scanning, err);
}
