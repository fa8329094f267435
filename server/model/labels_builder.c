/* SPDX-License-Identifier: Apache-2.0 */
/* labels_builder.c - changed copies of label sets.
 *
 * Pairs lie unsorted in one array; names stay unique, so finish only sorts. Sets are small (tens of pairs), so
 * look-ups are linear.
 */
#include "narthex/model/labels.h"

#define BUILDER_SPARE 8 /* chosen: room for what is usually added */

void labels_builder_begin(struct labels_builder *builder, struct arena *arena, struct labels base)
{
    *builder = (struct labels_builder){.arena = arena, .cap = base.count + BUILDER_SPARE};
    builder->items = arena_alloc(arena, builder->cap * sizeof(*builder->items));
    if (builder->items == NULL) {
        builder->is_exhausted = true;
        return;
    }
    for (size_t i = 0; i < base.count; i++)
        builder->items[i] = base.items[i];
    builder->count = base.count;
}

static void remove_at(struct labels_builder *builder, size_t index)
{
    builder->items[index] = builder->items[--builder->count];
}

void labels_builder_drop(struct labels_builder *builder, struct nx_str name)
{
    for (size_t i = 0; i < builder->count; i++) {
        if (nx_str_eq(builder->items[i].name, name)) {
            remove_at(builder, i);
            return;
        }
    }
}

static bool make_room(struct labels_builder *builder)
{
    if (builder->count < builder->cap)
        return true;
    size_t cap = builder->cap * 2;
    struct label *items = arena_grow(builder->arena, builder->items, builder->cap * sizeof(*items),
                                     cap * sizeof(*items));
    if (items == NULL)
        return false;
    builder->items = items;
    builder->cap = cap;
    return true;
}

void labels_builder_set(struct labels_builder *builder, struct nx_str name, struct nx_str value)
{
    if (builder->is_exhausted)
        return;
    if (value.len == 0) {
        labels_builder_drop(builder, name);
        return;
    }
    for (size_t i = 0; i < builder->count; i++) {
        if (nx_str_eq(builder->items[i].name, name)) {
            builder->items[i].value = value;
            return;
        }
    }
    if (!make_room(builder)) {
        builder->is_exhausted = true;
        return;
    }
    builder->items[builder->count++] = (struct label){.name = name, .value = value};
}

static bool is_listed(struct nx_str name, const struct nx_str *names, size_t name_count)
{
    for (size_t i = 0; i < name_count; i++) {
        if (nx_str_eq(names[i], name))
            return true;
    }
    return false;
}

static void filter(struct labels_builder *builder, const struct nx_str *names, size_t name_count,
                   bool keeps_listed)
{
    size_t kept = 0;
    for (size_t i = 0; i < builder->count; i++) {
        if (is_listed(builder->items[i].name, names, name_count) == keeps_listed)
            builder->items[kept++] = builder->items[i];
    }
    builder->count = kept;
}

void labels_builder_keep(struct labels_builder *builder, const struct nx_str *names,
                         size_t name_count)
{
    filter(builder, names, name_count, true);
}

void labels_builder_drop_all(struct labels_builder *builder, const struct nx_str *names,
                             size_t name_count)
{
    filter(builder, names, name_count, false);
}

nx_code labels_builder_finish(struct labels_builder *builder, struct labels *out_labels)
{
    if (builder->is_exhausted)
        return NX_E_LIMIT;
    size_t count = labels_canonicalize(builder->items, builder->count);
    *out_labels = (struct labels){.items = count == 0 ? NULL : builder->items, .count = count};
    return NX_OK;
}
