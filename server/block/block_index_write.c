/* SPDX-License-Identifier: Apache-2.0 */
/* block_index_write.c - collects the series of a block, then writes index.mdb in one go.
 *
 * While series come in label order, each label is compared with the same label of the series before; only what differs
 * is looked up. Pairs get temporary numbers; the final ones, in order of name and value, are known at the end.
 *
 *   rows      [n, slot, pair * n] [n, slot, pair * n] ...     in pieces of 4 MiB: 4 B per label of every series
 *   pairs     name, value, count of series                    one entry per distinct pair, found through a hash table
 *
 * Writing: sort names, sort the pairs of each name, renumber the rows in place, then one table after the other in key
 * order (MDB_APPEND fills pages), in transactions of at most 16 MiB. Posting lists are laid out by counting, for as
 * many pairs at a time as fit a fixed buffer.
 *
 * Memory: about 65 B per series of 15 labels, 100 B per distinct pair, and 64 MiB while posting lists are written.
 */
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"

#include "block_index.h"

#include <lmdb.h>
#include <stdlib.h>

#define ROW_PIECE_WORDS   (1u << 20)
#define POSTINGS_PASS_IDS (16u << 20)
#define INDEX_TXN_BYTES   ((size_t)16 << 20) /* dirty pages are held in memory until the commit */
#define INDEX_MAP_STEP    ((size_t)64 << 20)

const char *const index_table_names[INDEX_TABLE_COUNT] = {"sym", "pair", "post", "ser",
                                                          "grp", "vec",  "exm"};

struct builder_name {
    struct nx_str text; /* in texts */
    uint64_t hash;
    uint32_t pair_count;
    uint32_t first_pair; /* final number; set while writing */
};

struct builder_pair {
    struct nx_str value; /* in texts */
    uint32_t hash;       /* low half */
    uint32_t name;
    uint32_t series_count;
    uint32_t final;
};

struct row_piece {
    uint32_t *words;
    uint32_t used;
};

struct index_builder {
    struct arena texts;
    struct builder_name *names;
    uint32_t name_count, name_cap;
    struct builder_pair *pairs;
    uint32_t pair_count, pair_cap;
    uint32_t *name_slots,
        *pair_slots; /* open addressing: number + 1, 0 empty; sizes are powers of two */
    uint32_t name_slot_count, pair_slot_count;
    struct row_piece *pieces;
    uint32_t piece_count, piece_cap;
    uint32_t *previous; /* pairs of the last series */
    uint32_t previous_count, previous_cap;
    uint32_t series_count;
    bool has_slots;
    struct nx_buf group_rows, vector_rows;
    uint32_t group_count, vectors_count;
    struct nx_buf exemplars;     /* entries of `exm` */
    struct nx_buf exemplar_ends; /* uint64_t: where each ends in `exemplars` */
};

struct index_builder *index_builder_new(bool has_slots)
{
    struct index_builder *builder = nx_calloc(1, sizeof(*builder));
    arena_init(&builder->texts, 0);
    builder->has_slots = has_slots;
    builder->name_slot_count = 256;
    builder->name_slots = nx_calloc(builder->name_slot_count, sizeof(uint32_t));
    builder->pair_slot_count = 4096;
    builder->pair_slots = nx_calloc(builder->pair_slot_count, sizeof(uint32_t));
    return builder;
}

void index_builder_free(struct index_builder *builder)
{
    if (builder == NULL)
        return;
    for (uint32_t i = 0; i < builder->piece_count; i++)
        nx_free(builder->pieces[i].words);
    nx_free(builder->pieces);
    nx_free(builder->names);
    nx_free(builder->pairs);
    nx_free(builder->name_slots);
    nx_free(builder->pair_slots);
    nx_free(builder->previous);
    nx_buf_deinit(&builder->group_rows);
    nx_buf_deinit(&builder->vector_rows);
    nx_buf_deinit(&builder->exemplars);
    nx_buf_deinit(&builder->exemplar_ends);
    arena_deinit(&builder->texts);
    nx_free(builder);
}

uint32_t index_builder_series_count(const struct index_builder *builder)
{
    return builder->series_count;
}

/* ---- interning ---- */

static void name_slots_grow(struct index_builder *builder)
{
    builder->name_slot_count *= 2;
    nx_free(builder->name_slots);
    builder->name_slots = nx_calloc(builder->name_slot_count, sizeof(uint32_t));
    uint32_t mask = builder->name_slot_count - 1;
    for (uint32_t i = 0; i < builder->name_count; i++) {
        uint32_t at = (uint32_t)builder->names[i].hash & mask;
        while (builder->name_slots[at] != 0)
            at = (at + 1) & mask;
        builder->name_slots[at] = i + 1;
    }
}

static uint32_t name_intern(struct index_builder *builder, struct nx_str text)
{
    uint64_t hash = nx_hash64_secret(text.data, text.len);
    uint32_t mask = builder->name_slot_count - 1;
    uint32_t at = (uint32_t)hash & mask;
    for (; builder->name_slots[at] != 0; at = (at + 1) & mask) {
        const struct builder_name *name = &builder->names[builder->name_slots[at] - 1];
        if (name->hash == hash && nx_str_eq(name->text, text))
            return builder->name_slots[at] - 1;
    }
    if (builder->name_count == builder->name_cap) {
        builder->name_cap = builder->name_cap == 0 ? 64 : builder->name_cap * 2;
        builder->names =
            nx_realloc_array(builder->names, builder->name_cap, sizeof(*builder->names));
    }
    builder->names[builder->name_count] =
        (struct builder_name){.text = arena_strdup(&builder->texts, text), .hash = hash};
    builder->name_slots[at] = ++builder->name_count;
    if (builder->name_count * 2 > builder->name_slot_count)
        name_slots_grow(builder);
    return builder->name_count - 1;
}

static void pair_slots_grow(struct index_builder *builder)
{
    builder->pair_slot_count *= 2;
    nx_free(builder->pair_slots);
    builder->pair_slots = nx_calloc(builder->pair_slot_count, sizeof(uint32_t));
    uint32_t mask = builder->pair_slot_count - 1;
    for (uint32_t i = 0; i < builder->pair_count; i++) {
        uint32_t at = builder->pairs[i].hash & mask;
        while (builder->pair_slots[at] != 0)
            at = (at + 1) & mask;
        builder->pair_slots[at] = i + 1;
    }
}

static uint32_t pair_intern(struct index_builder *builder, uint32_t name, struct nx_str value)
{
    uint32_t hash = (uint32_t)nx_hash_mix(nx_hash64_secret(value.data, value.len), name);
    uint32_t mask = builder->pair_slot_count - 1;
    uint32_t at = hash & mask;
    for (; builder->pair_slots[at] != 0; at = (at + 1) & mask) {
        const struct builder_pair *pair = &builder->pairs[builder->pair_slots[at] - 1];
        if (pair->hash == hash && pair->name == name && nx_str_eq(pair->value, value))
            return builder->pair_slots[at] - 1;
    }
    if (builder->pair_count == builder->pair_cap) {
        builder->pair_cap = builder->pair_cap == 0 ? 1024 : builder->pair_cap * 2;
        builder->pairs =
            nx_realloc_array(builder->pairs, builder->pair_cap, sizeof(*builder->pairs));
    }
    builder->pairs[builder->pair_count] = (struct builder_pair){
        .value = arena_strdup(&builder->texts, value), .hash = hash, .name = name};
    builder->names[name].pair_count++;
    builder->pair_slots[at] = ++builder->pair_count;
    if (builder->pair_count > builder->pair_slot_count / 2)
        pair_slots_grow(builder);
    return builder->pair_count - 1;
}

/* ---- collecting ---- */

static uint32_t *row_extend(struct index_builder *builder, uint32_t words)
{
    struct row_piece *piece =
        builder->piece_count == 0 ? NULL : &builder->pieces[builder->piece_count - 1];
    if (piece == NULL || ROW_PIECE_WORDS - piece->used < words) {
        if (builder->piece_count == builder->piece_cap) {
            builder->piece_cap = builder->piece_cap == 0 ? 16 : builder->piece_cap * 2;
            builder->pieces =
                nx_realloc_array(builder->pieces, builder->piece_cap, sizeof(*builder->pieces));
        }
        piece = &builder->pieces[builder->piece_count++];
        /* Uninitialised: a block of few series touches only the first pages of it. */
        *piece = (struct row_piece){.words = nx_alloc(ROW_PIECE_WORDS * sizeof(uint32_t))};
    }
    uint32_t *row = piece->words + piece->used;
    piece->used += words;
    return row;
}

void index_builder_add_series(struct index_builder *builder, struct labels labels, uint32_t slot)
{
    NX_ASSERT(labels.count > 0 && labels.count <= SERIES_LABELS_MAX &&
              builder->series_count < UINT32_MAX - 1);
    uint32_t count = (uint32_t)labels.count;
    uint32_t *row = row_extend(builder, count + 2);
    row[0] = count;
    row[1] = slot;
    if (count > builder->previous_cap) {
        builder->previous_cap = count < 64 ? 64 : count * 2;
        builder->previous =
            nx_realloc_array(builder->previous, builder->previous_cap, sizeof(uint32_t));
    }
    /* order: that of the first label which differs from the series before. */
    int order = builder->series_count == 0 ? 1 : 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct label *label = &labels.items[i];
        if (i < builder->previous_count) {
            const struct builder_pair *before = &builder->pairs[builder->previous[i]];
            int name_order = nx_str_cmp(label->name, builder->names[before->name].text);
            int value_order =
                name_order != 0 ? name_order : nx_str_cmp(label->value, before->value);
            if (order == 0)
                order = value_order;
            if (value_order == 0) {
                row[i + 2] = builder->previous[i];
                continue;
            }
            uint32_t name = name_order == 0 ? before->name : name_intern(builder, label->name);
            row[i + 2] = pair_intern(builder, name, label->value);
        } else {
            row[i + 2] = pair_intern(builder, name_intern(builder, label->name), label->value);
        }
    }
    NX_ASSERT(order > 0 || (order == 0 && count > builder->previous_count));
    for (uint32_t i = 0; i < count; i++)
        builder->pairs[row[i + 2]].series_count++;
    memcpy(builder->previous, row + 2, count * sizeof(uint32_t));
    builder->previous_count = count;
    builder->series_count++;
}

void index_builder_add_group(struct index_builder *builder, const struct index_group_row *row)
{
    index_group_row_store(row, nx_buf_extend(&builder->group_rows, INDEX_GROUP_ROW_BYTES));
    builder->group_count++;
}

void index_builder_add_vectors(struct index_builder *builder, const struct index_vector_row *row)
{
    index_vector_row_store(row, nx_buf_extend(&builder->vector_rows, INDEX_VECTOR_ROW_BYTES));
    builder->vectors_count++;
}

void index_builder_add_exemplars(struct index_builder *builder, struct nx_bytes entry)
{
    nx_buf_append(&builder->exemplars, entry.data, entry.len);
    uint64_t end = builder->exemplars.len;
    nx_buf_append(&builder->exemplar_ends, &end, sizeof(end));
}

/* ---- the LMDB file ---- */

struct index_file {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi tables[INDEX_TABLE_COUNT];
    uint32_t next_key[INDEX_TABLE_COUNT];
    size_t txn_bytes;
    size_t map_bytes;
};

static nx_code index_file_failed(struct nx_err *err, int status, const char *what)
{
    if (status > 0)
        return nx_err_sys(err, status, "%s: %s", BLOCK_INDEX_NAME, what);
    return nx_err_set(err, NX_E_IO, "%s: %s: %s", BLOCK_INDEX_NAME, what, mdb_strerror(status));
}

/* The map must have room for a whole transaction, a large value included; it can only grow between transactions. */
static nx_code index_file_begin(struct index_file *file, size_t value_bytes, struct nx_err *err)
{
    MDB_envinfo info;
    int status = mdb_env_info(file->env, &info);
    size_t used = (info.me_last_pgno + 1) * 4096;
    size_t needed = used + 2 * INDEX_TXN_BYTES + 2 * value_bytes;
    if (status == 0 && needed > file->map_bytes) {
        file->map_bytes = (needed + INDEX_MAP_STEP) / INDEX_MAP_STEP * INDEX_MAP_STEP * 2;
        status = mdb_env_set_mapsize(file->env, file->map_bytes);
    }
    if (status == 0)
        status = mdb_txn_begin(file->env, NULL, 0, &file->txn);
    file->txn_bytes = 0;
    return status == 0 ? NX_OK : index_file_failed(err, status, "begin");
}

static nx_code index_file_commit(struct index_file *file, struct nx_err *err)
{
    int status = mdb_txn_commit(file->txn);
    file->txn = NULL;
    return status == 0 ? NX_OK : index_file_failed(err, status, "commit");
}

static nx_code index_file_open(struct index_file *file, const char *path, struct nx_err *err)
{
    int status = mdb_env_create(&file->env);
    if (status == 0)
        status = mdb_env_set_maxdbs(file->env, INDEX_TABLE_COUNT);
    file->map_bytes = INDEX_MAP_STEP;
    if (status == 0)
        status = mdb_env_set_mapsize(file->env, file->map_bytes);
    if (status == 0)
        status = mdb_env_open(file->env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOLOCK, 0640);
    if (status != 0)
        return index_file_failed(err, status, "create");
    nx_code code = index_file_begin(file, 0, err);
    for (unsigned i = 0; code == NX_OK && i < INDEX_TABLE_COUNT; i++) {
        status = mdb_dbi_open(file->txn, index_table_names[i], MDB_CREATE | MDB_INTEGERKEY,
                              &file->tables[i]);
        if (status != 0)
            code = index_file_failed(err, status, "create table");
    }
    return code;
}

static nx_code index_file_put(struct index_file *file, enum index_table table, struct nx_bytes page,
                              struct nx_err *err)
{
    if (file->txn_bytes + page.len > INDEX_TXN_BYTES) {
        nx_code code = index_file_commit(file, err);
        if (code == NX_OK)
            code = index_file_begin(file, page.len, err);
        if (code != NX_OK)
            return code;
    }
    uint32_t number = file->next_key[table]++;
    MDB_val key = {.mv_size = sizeof(number), .mv_data = &number};
    /* MDB_RESERVE gives the place: mdb_put would want bytes that are not const. */
    MDB_val room = {.mv_size = page.len, .mv_data = NULL};
    int status = mdb_put(file->txn, file->tables[table], &key, &room, MDB_APPEND | MDB_RESERVE);
    if (status != 0)
        return index_file_failed(err, status, "put");
    memcpy(room.mv_data, page.data, page.len);
    file->txn_bytes += page.len + 64;
    return NX_OK;
}

static void index_file_close(struct index_file *file)
{
    if (file->txn != NULL)
        mdb_txn_abort(file->txn);
    if (file->env != NULL)
        mdb_env_close(file->env);
}

/* ---- sorting ---- */

struct sort_key {
    uint64_t prefix; /* the first eight bytes, big-endian: most comparisons end here */
    struct nx_str text;
    uint32_t number;
};

static uint64_t sort_prefix(struct nx_str text)
{
    uint8_t bytes[8] = {0};
    memcpy(bytes, text.data, text.len < 8 ? text.len : 8);
    return __builtin_bswap64(load_u64(bytes));
}

static int sort_key_compare(const void *left, const void *right)
{
    const struct sort_key *a = left, *b = right;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    return nx_str_cmp(a->text, b->text);
}

/* How many bytes all texts share: the prefix is taken behind them. */
static size_t sort_common_length(const struct sort_key *keys, uint32_t count)
{
    struct nx_str first = keys[0].text;
    size_t common = first.len;
    for (uint32_t i = 1; i < count && common > 0; i++) {
        size_t n = keys[i].text.len < common ? keys[i].text.len : common;
        size_t same = 0;
        while (same < n && keys[i].text.data[same] == first.data[same])
            same++;
        common = same;
    }
    return common;
}

static void sort_texts(struct sort_key *keys, uint32_t count)
{
    if (count < 2)
        return;
    size_t common = sort_common_length(keys, count);
    for (uint32_t i = 0; i < count; i++)
        keys[i].prefix =
            sort_prefix((struct nx_str){keys[i].text.data + common, keys[i].text.len - common});
    qsort(keys, count, sizeof(*keys), sort_key_compare);
}

/* Gives every pair its final number. *out_order: temporary numbers by final number; *out_names: names in order. */
static void number_pairs(struct index_builder *builder, uint32_t **out_order, uint32_t **out_names)
{
    struct sort_key *names = nx_alloc((builder->name_count + 1) * sizeof(*names));
    for (uint32_t i = 0; i < builder->name_count; i++)
        names[i] = (struct sort_key){.text = builder->names[i].text, .number = i};
    sort_texts(names, builder->name_count);
    uint32_t next = 0;
    *out_names = nx_alloc((builder->name_count + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < builder->name_count; i++) {
        struct builder_name *name = &builder->names[names[i].number];
        (*out_names)[i] = names[i].number;
        name->first_pair = next;
        next += name->pair_count;
    }
    nx_free(names);

    struct sort_key *values = nx_alloc(((size_t)builder->pair_count + 1) * sizeof(*values));
    uint32_t *fill = nx_calloc(builder->name_count + 1, sizeof(*fill));
    for (uint32_t i = 0; i < builder->pair_count; i++) {
        uint32_t name = builder->pairs[i].name;
        values[builder->names[name].first_pair + fill[name]++] =
            (struct sort_key){.text = builder->pairs[i].value, .number = i};
    }
    nx_free(fill);
    for (uint32_t i = 0; i < builder->name_count; i++)
        sort_texts(values + builder->names[i].first_pair, builder->names[i].pair_count);
    *out_order = nx_alloc(((size_t)builder->pair_count + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < builder->pair_count; i++) {
        (*out_order)[i] = values[i].number;
        builder->pairs[values[i].number].final = i;
    }
    nx_free(values);
}

/* ---- tables ---- */

static nx_code write_blob(struct index_file *file, enum index_table table,
                          struct blob_page_builder *page, struct nx_bytes blob, struct nx_err *err)
{
    if (!blob_page_builder_fits(page, blob.len)) {
        nx_code code = index_file_put(file, table, blob_page_builder_finish(page), err);
        if (code != NX_OK)
            return code;
    }
    blob_page_builder_add(page, blob);
    return NX_OK;
}

static nx_code write_blobs_end(struct index_file *file, enum index_table table,
                               struct blob_page_builder *page, nx_code code, struct nx_err *err)
{
    if (code == NX_OK && page->count > 0)
        code = index_file_put(file, table, blob_page_builder_finish(page), err);
    blob_page_builder_deinit(page);
    return code;
}

static nx_code write_names(struct index_builder *builder, struct index_file *file,
                           const uint32_t *names, struct nx_err *err)
{
    struct blob_page_builder page = {0};
    struct nx_buf blob = {0};
    nx_code code = NX_OK;
    for (uint32_t i = 0; code == NX_OK && i < builder->name_count; i++) {
        const struct builder_name *name = &builder->names[names[i]];
        nx_buf_reset(&blob);
        varint_append(&blob, name->first_pair);
        nx_buf_append_str(&blob, name->text);
        code = write_blob(file, INDEX_TABLE_SYM, &page, nx_buf_bytes(&blob), err);
    }
    nx_buf_deinit(&blob);
    return write_blobs_end(file, INDEX_TABLE_SYM, &page, code, err);
}

static nx_code write_values(struct index_builder *builder, struct index_file *file,
                            const uint32_t *order, struct nx_err *err)
{
    struct blob_page_builder page = {0};
    nx_code code = NX_OK;
    for (uint32_t i = 0; code == NX_OK && i < builder->pair_count; i++)
        code = write_blob(file, INDEX_TABLE_PAIR, &page,
                          nx_bytes_from_str(builder->pairs[order[i]].value), err);
    return write_blobs_end(file, INDEX_TABLE_PAIR, &page, code, err);
}

/* Series pages; the rows hold final numbers afterwards. */
static nx_code write_series(struct index_builder *builder, struct index_file *file,
                            struct nx_err *err)
{
    struct series_page_builder page = {.has_slots = builder->has_slots};
    uint32_t *names = nx_alloc(SERIES_LABELS_MAX * sizeof(*names)); /* of the series before */
    uint32_t name_count = 0;
    nx_code code = NX_OK;
    for (uint32_t p = 0; code == NX_OK && p < builder->piece_count; p++) {
        uint32_t *row = builder->pieces[p].words, *end = row + builder->pieces[p].used;
        for (; code == NX_OK && row < end; row += row[0] + 2) {
            uint32_t count = row[0];
            bool is_same_shape = count == name_count;
            for (uint32_t i = 0; i < count; i++) {
                const struct builder_pair *pair = &builder->pairs[row[i + 2]];
                is_same_shape = is_same_shape && names[i] == pair->name;
                names[i] = pair->name;
                row[i + 2] = pair->final;
            }
            name_count = count;
            if (series_page_builder_try_add(&page, row + 2, count, is_same_shape, row[1]))
                continue;
            code = index_file_put(file, INDEX_TABLE_SER, series_page_builder_finish(&page), err);
            bool is_added = series_page_builder_try_add(&page, row + 2, count, false, row[1]);
            NX_ASSERT(is_added);
        }
    }
    if (code == NX_OK && page.count > 0)
        code = index_file_put(file, INDEX_TABLE_SER, series_page_builder_finish(&page), err);
    series_page_builder_deinit(&page);
    nx_free(names);
    return code;
}

/* Ranks of the pairs first .. end - 1 into `ids`, list behind list; ends[i] is where list i stops. */
static void postings_lay_out(const struct index_builder *builder, const uint32_t *order,
                             uint32_t first, uint32_t end, uint32_t *ids, uint32_t *ends)
{
    uint32_t at = 0;
    for (uint32_t pair = first; pair < end; pair++) {
        ends[pair - first] = at;
        at += builder->pairs[order[pair]].series_count;
    }
    uint32_t rank = 0;
    for (uint32_t p = 0; p < builder->piece_count; p++) {
        const uint32_t *row = builder->pieces[p].words, *row_end = row + builder->pieces[p].used;
        for (; row < row_end; row += row[0] + 2, rank++)
            for (uint32_t i = 0; i < row[0]; i++) {
                uint32_t list = row[i + 2] - first;
                if (list < end - first)
                    ids[ends[list]++] = rank;
            }
    }
}

static nx_code write_postings(struct index_builder *builder, struct index_file *file,
                              const uint32_t *order, struct nx_err *err)
{
    struct blob_page_builder page = {0};
    struct nx_buf list = {0};
    nx_code code = NX_OK;
    for (uint32_t first = 0, end; code == NX_OK && first < builder->pair_count; first = end) {
        uint64_t total = 0;
        for (end = first; end < builder->pair_count; end++) {
            uint32_t count = builder->pairs[order[end]].series_count;
            if (end > first && total + count > POSTINGS_PASS_IDS)
                break;
            total += count;
        }
        uint32_t *ids = nx_alloc(total * sizeof(*ids));
        uint32_t *ends = nx_alloc((end - first) * sizeof(*ends));
        postings_lay_out(builder, order, first, end, ids, ends);
        for (uint32_t pair = first; code == NX_OK && pair < end; pair++) {
            uint32_t count = builder->pairs[order[pair]].series_count;
            nx_buf_reset(&list);
            postings_encode(ids + ends[pair - first] - count, count, &list);
            code = write_blob(file, INDEX_TABLE_POST, &page, nx_buf_bytes(&list), err);
        }
        nx_free(ids);
        nx_free(ends);
    }
    nx_buf_deinit(&list);
    return write_blobs_end(file, INDEX_TABLE_POST, &page, code, err);
}

static nx_code write_exemplars(struct index_builder *builder, struct index_file *file,
                               struct nx_err *err)
{
    struct blob_page_builder page = {0};
    const uint64_t *ends = (const uint64_t *)(const void *)builder->exemplar_ends.data;
    uint64_t start = 0;
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < builder->exemplar_ends.len / sizeof(*ends); i++) {
        struct nx_bytes entry = {builder->exemplars.data + start, (size_t)(ends[i] - start)};
        code = write_blob(file, INDEX_TABLE_EXM, &page, entry, err);
        start = ends[i];
    }
    return write_blobs_end(file, INDEX_TABLE_EXM, &page, code, err);
}

static nx_code write_rows(struct index_file *file, enum index_table table,
                          const struct nx_buf *rows, uint32_t row_bytes, uint32_t rows_per_page,
                          struct nx_err *err)
{
    uint32_t total = (uint32_t)(rows->len / row_bytes);
    nx_code code = NX_OK;
    struct nx_buf page = {0};
    for (uint32_t first = 0; code == NX_OK && first < total; first += rows_per_page) {
        uint32_t count = total - first < rows_per_page ? total - first : rows_per_page;
        nx_buf_reset(&page);
        nx_buf_append_u32(&page, first);
        nx_buf_append_u16(&page, (uint16_t)count);
        nx_buf_append_u16(&page, 0);
        nx_buf_append(&page, rows->data + (size_t)first * row_bytes, (size_t)count * row_bytes);
        code = index_file_put(file, table, nx_buf_bytes(&page), err);
    }
    nx_buf_deinit(&page);
    return code;
}

nx_code index_builder_write(struct index_builder *builder, const char *path, struct nx_err *err)
{
    NX_ASSERT(builder->series_count > 0 && !arena_is_exhausted(&builder->texts));
    uint32_t *order = NULL, *names = NULL;
    number_pairs(builder, &order, &names);
    struct index_file file = {0};
    nx_code code = index_file_open(&file, path, err);
    if (code == NX_OK)
        code = write_names(builder, &file, names, err);
    if (code == NX_OK)
        code = write_values(builder, &file, order, err);
    if (code == NX_OK)
        code = write_series(builder, &file, err);
    if (code == NX_OK)
        code = write_postings(builder, &file, order, err);
    if (code == NX_OK)
        code = write_rows(&file, INDEX_TABLE_GRP, &builder->group_rows, INDEX_GROUP_ROW_BYTES,
                          INDEX_GROUP_ROWS, err);
    if (code == NX_OK)
        code = write_rows(&file, INDEX_TABLE_VEC, &builder->vector_rows, INDEX_VECTOR_ROW_BYTES,
                          INDEX_VECTOR_ROWS, err);
    if (code == NX_OK)
        code = write_exemplars(builder, &file, err);
    if (code == NX_OK)
        code = index_file_commit(&file, err);
    index_file_close(&file);
    nx_free(order);
    nx_free(names);
    return code;
}
