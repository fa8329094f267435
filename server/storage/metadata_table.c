/* SPDX-License-Identifier: Apache-2.0 */
/* metadata_table.c - metric families by name, in 64 buckets that the catalog stores one by one.
 *
 * In       what senders tell, journal entries, the catalog's values
 * Out      the newest of each family; the changed buckets to the catalog
 * Fails    NX_E_CORRUPT for a value that does not decode, NX_E_LIMIT for an answer above the query's memory
 */
#include "narthex/storage/metadata_table.h"

#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKET_COUNT 64u

struct family {
    uint64_t hash;
    char *texts; /* name, help, unit; back to back, heap */
    uint32_t name_bytes, help_bytes, unit_bytes;
    enum metric_type type;
};

struct bucket {
    struct family *families;
    uint32_t count, cap;
    bool is_dirty;
};

struct metadata_table {
    struct nx_mutex lock;
    struct bucket buckets[BUCKET_COUNT]; /* [L:lock] */
    uint32_t count;                      /* [L:lock] */
    uint64_t bytes;                      /* [L:lock] of texts */
};

struct metadata_table *metadata_table_new(void)
{
    struct metadata_table *table = nx_calloc(1, sizeof(*table));
    mutex_init(&table->lock, LOCK_RANK_METADATA);
    return table;
}

void metadata_table_free(struct metadata_table *table)
{
    if (table == NULL)
        return;
    for (unsigned b = 0; b < BUCKET_COUNT; b++) {
        for (uint32_t i = 0; i < table->buckets[b].count; i++)
            nx_free(table->buckets[b].families[i].texts);
        nx_free(table->buckets[b].families);
    }
    mutex_deinit(&table->lock);
    nx_free(table);
}

/* ---- one family ---- */

static struct metric_metadata family_view(const struct family *family)
{
    const char *text = family->texts;
    return (struct metric_metadata){
        .family = {.data = text, .len = family->name_bytes},
        .type = family->type,
        .help = {.data = text + family->name_bytes, .len = family->help_bytes},
        .unit = {.data = text + family->name_bytes + family->help_bytes, .len = family->unit_bytes},
    };
}

static size_t text_bytes(const struct metric_metadata *metadata)
{
    return metadata->family.len + metadata->help.len + metadata->unit.len;
}

static void family_set(struct family *family, const struct metric_metadata *metadata)
{
    const struct nx_str parts[3] = {metadata->family, metadata->help, metadata->unit};
    char *texts = nx_alloc(text_bytes(metadata) + 1);
    size_t at = 0;
    for (unsigned i = 0; i < 3; i++) {
        if (parts[i].len > 0)
            memcpy(texts + at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    nx_free(family->texts);
    family->texts = texts;
    family->name_bytes = (uint32_t)metadata->family.len;
    family->help_bytes = (uint32_t)metadata->help.len;
    family->unit_bytes = (uint32_t)metadata->unit.len;
    family->type = metadata->type;
}

static bool is_same(const struct metric_metadata *a, const struct metric_metadata *b)
{
    return a->type == b->type && nx_str_eq(a->help, b->help) && nx_str_eq(a->unit, b->unit);
}

static bool is_acceptable(const struct metric_metadata *metadata)
{
    return metadata->family.len > 0 && metadata->family.len <= METADATA_NAME_BYTES_MAX &&
           metadata->help.len <= METADATA_TEXT_BYTES_MAX &&
           metadata->unit.len <= METADATA_TEXT_BYTES_MAX;
}

static struct family *find_family(const struct bucket *bucket, struct nx_str name, uint64_t hash)
{
    for (uint32_t i = 0; i < bucket->count; i++) {
        struct family *family = &bucket->families[i];
        if (family->hash == hash && nx_str_eq(family_view(family).family, name))
            return family;
    }
    return NULL;
}

static uint64_t name_hash(struct nx_str name)
{
    return nx_hash64(name.data, name.len, 0);
}

static struct family *new_family(struct metadata_table *table, struct bucket *bucket, uint64_t hash)
    NX_REQUIRES(table->lock)
{
    if (bucket->count == bucket->cap) {
        bucket->cap = bucket->cap == 0 ? 8 : bucket->cap * 2;
        bucket->families =
            nx_realloc_array(bucket->families, bucket->cap, sizeof(*bucket->families));
    }
    struct family *family = &bucket->families[bucket->count++];
    *family = (struct family){.hash = hash};
    table->count++;
    return family;
}

static enum metadata_result put_locked(struct metadata_table *table,
                                       const struct metric_metadata *metadata, bool is_saved)
    NX_REQUIRES(table->lock)
{
    uint64_t hash = name_hash(metadata->family);
    struct bucket *bucket = &table->buckets[hash % BUCKET_COUNT];
    struct family *family = find_family(bucket, metadata->family, hash);
    size_t bytes_before = 0;
    if (family != NULL) {
        struct metric_metadata stored = family_view(family);
        if (is_same(&stored, metadata))
            return METADATA_SAME;
        bytes_before = text_bytes(&stored);
    }
    if (table->bytes - bytes_before + text_bytes(metadata) > METADATA_BYTES_MAX ||
        (family == NULL && table->count == METADATA_FAMILIES_MAX))
        return METADATA_REFUSED;
    if (family == NULL)
        family = new_family(table, bucket, hash);
    family_set(family, metadata);
    table->bytes += text_bytes(metadata) - bytes_before;
    bucket->is_dirty |= !is_saved;
    return METADATA_CHANGED;
}

enum metadata_result metadata_table_put(struct metadata_table *table,
                                        const struct metric_metadata *metadata)
{
    if (!is_acceptable(metadata))
        return METADATA_REFUSED;
    mutex_lock(&table->lock);
    enum metadata_result result = put_locked(table, metadata, false);
    mutex_unlock(&table->lock);
    return result;
}

uint64_t metadata_table_bytes(struct metadata_table *table)
{
    mutex_lock(&table->lock);
    uint64_t bytes = table->bytes + (uint64_t)table->count * sizeof(struct family);
    mutex_unlock(&table->lock);
    return bytes;
}

/* ---- list ---- */

static int compare_families(const void *a, const void *b)
{
    const struct metric_metadata *x = a;
    const struct metric_metadata *y = b;
    return nx_str_cmp(x->family, y->family);
}

/* Views of what is asked for, sorted; nx_alloc'd. */
static struct metric_metadata *collect(struct metadata_table *table, struct nx_str family,
                                       size_t *out_count) NX_REQUIRES(table->lock)
{
    struct metric_metadata *views = nx_alloc((table->count + 1u) * sizeof(*views));
    size_t count = 0;
    for (unsigned b = 0; b < BUCKET_COUNT; b++) {
        for (uint32_t i = 0; i < table->buckets[b].count; i++) {
            views[count] = family_view(&table->buckets[b].families[i]);
            count += family.len == 0 || nx_str_eq(family, views[count].family);
        }
    }
    qsort(views, count, sizeof(*views), compare_families);
    *out_count = count;
    return views;
}

nx_code metadata_table_list(struct metadata_table *table, struct nx_str family, size_t limit,
                            struct arena *arena, struct metric_metadata **out, size_t *out_count,
                            struct nx_err *err)
{
    size_t count = 0;
    mutex_lock(&table->lock);
    struct metric_metadata *views = collect(table, family, &count);
    if (limit > 0 && count > limit)
        count = limit;
    struct metric_metadata *items = arena_alloc(arena, count * sizeof(*items));
    for (size_t i = 0; i < count && items != NULL; i++) {
        items[i] = views[i];
        items[i].family = arena_strdup(arena, views[i].family);
        items[i].help = arena_strdup(arena, views[i].help);
        items[i].unit = arena_strdup(arena, views[i].unit);
    }
    mutex_unlock(&table->lock);
    nx_free(views);
    if (arena_is_exhausted(arena))
        return nx_err_set(err, NX_E_LIMIT, "the metadata needs more memory than a query may use");
    *out = items;
    *out_count = count;
    return NX_OK;
}

/* ---- bytes ---- */

static void put_text(struct nx_buf *out, struct nx_str text)
{
    varint_append(out, text.len);
    nx_buf_append_str(out, text);
}

static struct nx_str get_text(struct byte_reader *reader)
{
    uint64_t len = byte_reader_varint(reader);
    return nx_str_from_bytes(byte_reader_take(reader, len));
}

void metadata_put(const struct metric_metadata *metadata, struct nx_buf *out)
{
    nx_buf_append_byte(out, (uint8_t)metadata->type);
    put_text(out, metadata->family);
    put_text(out, metadata->help);
    put_text(out, metadata->unit);
}

bool metadata_get(struct byte_reader *reader, struct metric_metadata *out)
{
    uint8_t type = byte_reader_u8(reader);
    out->family = get_text(reader);
    out->help = get_text(reader);
    out->unit = get_text(reader);
    if (type >= METRIC_TYPE_COUNT)
        reader->is_bad = true;
    out->type = reader->is_bad ? METRIC_TYPE_UNKNOWN : (enum metric_type)type;
    return !reader->is_bad && is_acceptable(out);
}

/* ---- catalog ---- */

static void bucket_key(unsigned bucket, char out[16])
{
    snprintf(out, 16, "metadata/%02u", bucket);
}

static nx_code load_bucket(struct metadata_table *table, unsigned number, struct nx_bytes value,
                           struct nx_err *err)
{
    struct byte_reader reader = byte_reader_of(value);
    nx_code code = NX_OK;
    mutex_lock(&table->lock);
    while (code == NX_OK && byte_reader_left(&reader) > 0) {
        struct metric_metadata metadata;
        if (metadata_get(&reader, &metadata))
            put_locked(table, &metadata, true);
        else
            code = nx_err_set(err, NX_E_CORRUPT, "catalog: metadata/%02u does not decode", number);
    }
    mutex_unlock(&table->lock);
    return code;
}

nx_code metadata_table_load(struct metadata_table *table, struct catalog *catalog,
                            struct nx_err *err)
{
    struct nx_buf value = {0};
    struct nx_err reason;
    nx_code code = NX_OK;
    for (unsigned b = 0; b < BUCKET_COUNT && (code == NX_OK || code == NX_E_CORRUPT); b++) {
        char key[16];
        bucket_key(b, key);
        nx_buf_reset(&value);
        nx_code got = catalog_get(catalog, key, &value, &reason);
        if (got == NX_OK)
            got = load_bucket(table, b, nx_buf_bytes(&value), &reason);
        if (got == NX_OK || got == NX_E_NOT_FOUND)
            continue;
        code = got;
        *err = reason;
    }
    nx_buf_deinit(&value);
    return code;
}

/* Takes the bucket's bytes if it changed; what changes from now on is of the next save. */
static bool take_dirty(struct metadata_table *table, unsigned number, struct nx_buf *out)
{
    nx_buf_reset(out);
    mutex_lock(&table->lock);
    struct bucket *bucket = &table->buckets[number];
    bool is_dirty = bucket->is_dirty;
    for (uint32_t i = 0; i < bucket->count && is_dirty; i++) {
        struct metric_metadata metadata = family_view(&bucket->families[i]);
        metadata_put(&metadata, out);
    }
    bucket->is_dirty = false;
    mutex_unlock(&table->lock);
    return is_dirty;
}

nx_code metadata_table_save(struct metadata_table *table, struct catalog *catalog,
                            struct nx_err *err)
{
    struct nx_buf value = {0};
    nx_code code = NX_OK;
    for (unsigned b = 0; b < BUCKET_COUNT && code == NX_OK; b++) {
        if (!take_dirty(table, b, &value))
            continue;
        char key[16];
        bucket_key(b, key);
        code = catalog_put(catalog, key, nx_buf_bytes(&value), err);
        if (code == NX_OK)
            continue;
        mutex_lock(&table->lock);
        table->buckets[b].is_dirty = true;
        mutex_unlock(&table->lock);
    }
    nx_buf_deinit(&value);
    return code;
}
