/* SPDX-License-Identifier: Apache-2.0 */
/* journal_copy.c - segments copied while they are written, and segments checked while nobody writes.
 *
 * A copy ends where the last commit ended when the list was taken: behind it the committer may be writing, and half of
 * a later commit in front of a whole one would look like damage. Segments that are released during the copy may be
 * overwritten, so the list is compared again at the end.
 */
#include "narthex/head/journal_copy.h"

#include "narthex/base/io_copy.h"
#include "narthex/base/mem.h"

#include "journal_internal.h"

#include <inttypes.h>
#include <string.h>

/* ---- copy ---- */

struct segment_extent {
    char *path;
    uint64_t sequence, bytes;
};

struct extent_list {
    struct segment_extent *items;
    size_t count;
};

static void extent_add(struct extent_list *list, const struct journal_segment *segment)
{
    if (segment->last_commit < segment->first_commit)
        return;
    list->items[list->count++] = (struct segment_extent){
        .path = nx_strdup(segment->path),
        .sequence = segment->sequence,
        /* All of a damaged one: what it may still hold is behind its damage too. */
        .bytes = segment->is_damaged ? UINT64_MAX : segment->end,
    };
}

static struct extent_list extents_take(struct journal *journal)
{
    struct extent_list list = {0};
    mutex_lock(&journal->lock);
    list.items = nx_calloc(journal->live.count + 1, sizeof(*list.items));
    for (size_t i = 0; i < journal->live.count; i++)
        extent_add(&list, journal->live.items[i]);
    if (journal->current != NULL)
        extent_add(&list, journal->current);
    mutex_unlock(&journal->lock);
    return list;
}

static void extents_deinit(struct extent_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        nx_free(list->items[i].path);
    nx_free(list->items);
}

static bool extents_have(const struct extent_list *list, uint64_t sequence)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].sequence == sequence)
            return true;
    return false;
}

nx_code journal_copy(struct journal *journal, const char *to_dir, bool *out_is_whole,
                     uint64_t *out_bytes, struct nx_err *err)
{
    struct extent_list list = extents_take(journal);
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < list.count; i++) {
        struct nx_buf to = {0};
        nx_buf_printf(&to, "%s%s", to_dir, strrchr(list.items[i].path, '/'));
        nx_buf_append_byte(&to, 0);
        code = io_copy_file(journal->io, list.items[i].path, (const char *)to.data,
                            list.items[i].bytes, out_bytes, err);
        nx_buf_deinit(&to);
    }
    struct extent_list after = extents_take(journal);
    *out_is_whole = true;
    for (size_t i = 0; i < list.count; i++)
        *out_is_whole = *out_is_whole && extents_have(&after, list.items[i].sequence);
    /* A file that went away in the middle is no failure of the disk. */
    if (code != NX_OK && !*out_is_whole)
        code = NX_OK;
    extents_deinit(&list);
    extents_deinit(&after);
    return code;
}

/* ---- check ---- */

static nx_code check_define(void *context, uint32_t slot, struct labels labels, struct nx_err *err)
{
    (void)context, (void)slot, (void)labels, (void)err;
    return NX_OK;
}

static nx_code check_samples(void *context, const uint32_t *slots, const int64_t *times_ms,
                             const uint64_t *value_bits, size_t count, struct nx_err *err)
{
    (void)context, (void)slots, (void)times_ms, (void)value_bits, (void)count, (void)err;
    return NX_OK;
}

struct check {
    journal_damage_fn damage;
    void *context;
    struct nx_buf names; /* of the files told, each ended by a NUL */
    unsigned told;
};

static bool is_told(const struct check *check, const char *name)
{
    for (size_t at = 0; at < check->names.len;
         at += strlen((const char *)check->names.data + at) + 1)
        if (strcmp((const char *)check->names.data + at, name) == 0)
            return true;
    return false;
}

static void tell_damaged(struct check *check, const struct journal_segment_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *name = strrchr(list->items[i]->path, '/') + 1;
        if (!list->items[i]->is_damaged || is_told(check, name))
            continue;
        nx_buf_append(&check->names, name, strlen(name) + 1);
        check->told++;
        check->damage(check->context, name, list->items[i]->damage);
    }
}

/* Segments that the replay did not keep: told by their number and the first of them. */
static void tell_rest(struct check *check, const struct journal_replay_result *replayed)
{
    if (replayed->damaged_segments <= check->told)
        return;
    const char *what = strstr(replayed->damage, ": ");
    char file[64] = ".";
    if (what != NULL && (size_t)(what - replayed->damage) < sizeof(file)) {
        memcpy(file, replayed->damage, (size_t)(what - replayed->damage));
        file[what - replayed->damage] = '\0';
    }
    check->damage(check->context, file, what == NULL ? replayed->damage : what + 2);
}

nx_code journal_check(const char *dir, uint64_t released_commit, journal_damage_fn damage,
                      void *context, struct journal_check_result *out, struct nx_err *err)
{
    struct journal_options options = {.io = io_read_only(), .dir = dir};
    struct journal *journal = NULL;
    struct journal_check_result result = {0};
    nx_code code = journal_open(&journal, &options, err);
    if (code != NX_OK)
        return code;
    struct check check = {.damage = damage, .context = context};
    for (size_t i = 0; i < journal->found.count; i++) {
        result.files++;
        result.bytes += journal->found.items[i]->file_bytes;
    }
    /* Those without a header now: the replay lets go of them. */
    tell_damaged(&check, &journal->found);
    const struct journal_visitor visitor = {.define = check_define, .samples = check_samples};
    code = journal_replay(journal, released_commit, &visitor, &result.replayed, err);
    if (code == NX_OK) {
        tell_damaged(&check, &journal->live);
        tell_rest(&check, &result.replayed);
        *out = result;
    }
    nx_buf_deinit(&check.names);
    struct nx_err ignored;
    nx_ignore(journal_close(journal, &ignored));
    return code;
}
