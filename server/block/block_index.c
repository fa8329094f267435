/* SPDX-License-Identifier: Apache-2.0 */
/* block_index.c - reads index.mdb in place.
 *
 * The file never changes, so one read transaction stays open for as long as the index does, and the address of every
 * page is looked up once: LMDB is not called again, and look-ups are array accesses that any number of threads share.
 *
 *   table   pages[]   address, length, first entry          16 B per page of 4 to 16 KB
 *           hints[]   page that holds entry 64 * i           so that finding a page costs one access, not a search
 *
 * LMDB believes its file, so the file has been verified against its checksums before. What the pages say is checked all
 * the same, here and in block_index_page.
 */
#include "block_index.h"

#include "narthex/base/mem.h"

#include "block_exemplars.h"

#include <inttypes.h>
#include <lmdb.h>

#define HINT_SHIFT 6

struct table_page {
    const uint8_t *data;
    uint32_t bytes;
    uint32_t first;
};

struct table {
    struct table_page *pages;
    uint32_t page_count;
    uint32_t entry_count;
    uint32_t *hints;
};

struct block_index { /* all [I] after open */
    MDB_env *env;
    MDB_txn *txn;
    uint64_t file_bytes;
    struct table tables[INDEX_TABLE_COUNT];
    struct index_name *names;
    uint32_t name_count;
};

/* ---- open ---- */

static nx_code index_damaged(struct nx_err *err, const char *what)
{
    return nx_err_set(err, NX_E_CORRUPT, "%s: %s", BLOCK_INDEX_NAME, what);
}

static nx_code index_failed(struct nx_err *err, int status, const char *what)
{
    if (status > 0)
        return nx_err_sys(err, status, "%s: %s", BLOCK_INDEX_NAME, what);
    return nx_err_set(err, NX_E_CORRUPT, "%s: %s: %s", BLOCK_INDEX_NAME, what,
                      mdb_strerror(status));
}

static nx_code index_open_env(struct block_index *index, const char *path, struct nx_err *err)
{
    int status = mdb_env_create(&index->env);
    if (status == 0)
        status = mdb_env_set_maxdbs(index->env, INDEX_TABLE_COUNT);
    if (status == 0)
        status = mdb_env_set_mapsize(index->env, (size_t)index->file_bytes);
    if (status == 0)
        status =
            mdb_env_open(index->env, path,
                         MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NORDAHEAD | MDB_NOTLS, 0640);
    if (status != 0)
        return index_failed(err, status, "open");
    MDB_envinfo info;
    MDB_stat stat;
    status = mdb_env_info(index->env, &info);
    if (status == 0)
        status = mdb_env_stat(index->env, &stat);
    if (status != 0)
        return index_failed(err, status, "open");
    /* LMDB would follow page numbers up to the last one into a SIGBUS. */
    if (info.me_last_pgno >= index->file_bytes / stat.ms_psize)
        return index_damaged(err, "shorter than its pages");
    status = mdb_txn_begin(index->env, NULL, MDB_RDONLY, &index->txn);
    if (status != 0)
        return index_failed(err, status, "begin");
    return NX_OK;
}

static nx_code table_add_page(struct block_index *index, struct table *table, MDB_val *key,
                              MDB_val *value, struct nx_err *err)
{
    const uint8_t *data = value->mv_data;
    struct index_page_head head;
    if (value->mv_size > index->file_bytes || value->mv_size > UINT32_MAX ||
        key->mv_size != sizeof(uint32_t) || load_u32(key->mv_data) != table->page_count ||
        index_page_read((struct nx_bytes){data, value->mv_size}, &head) != NX_OK ||
        head.first != table->entry_count)
        return index_damaged(err, "a page is out of place");
    table->pages[table->page_count++] =
        (struct table_page){.data = data, .bytes = (uint32_t)value->mv_size, .first = head.first};
    table->entry_count = head.first + head.count;
    return NX_OK;
}

static void table_make_hints(struct table *table)
{
    table->hints = nx_alloc((((size_t)table->entry_count >> HINT_SHIFT) + 1) * sizeof(uint32_t));
    uint32_t page = 0;
    for (uint32_t i = 0; i <= table->entry_count >> HINT_SHIFT; i++) {
        while (page + 1 < table->page_count && table->pages[page + 1].first <= i << HINT_SHIFT)
            page++;
        table->hints[i] = page;
    }
}

static nx_code table_open(struct block_index *index, enum index_table which, struct nx_err *err)
{
    struct table *table = &index->tables[which];
    MDB_dbi dbi;
    MDB_stat stat;
    MDB_cursor *cursor = NULL;
    int status = mdb_dbi_open(index->txn, index_table_names[which], MDB_INTEGERKEY, &dbi);
    if (status == 0)
        status = mdb_stat(index->txn, dbi, &stat);
    if (status == 0)
        status = mdb_cursor_open(index->txn, dbi, &cursor);
    if (status != 0)
        return index_failed(err, status, index_table_names[which]);
    nx_code code = NX_OK;
    if (stat.ms_entries > index->file_bytes / INDEX_PAGE_HEADER)
        code = index_damaged(err, "more pages than bytes");
    else
        table->pages = nx_calloc(stat.ms_entries + 1, sizeof(*table->pages));
    MDB_val key, value;
    for (MDB_cursor_op op = MDB_FIRST; code == NX_OK; op = MDB_NEXT) {
        status = mdb_cursor_get(cursor, &key, &value, op);
        if (status == MDB_NOTFOUND)
            break;
        if (status != 0)
            code = index_failed(err, status, index_table_names[which]);
        else if (table->page_count >= stat.ms_entries)
            code = index_damaged(err, "more pages than it says");
        else
            code = table_add_page(index, table, &key, &value, err);
    }
    mdb_cursor_close(cursor);
    if (code == NX_OK && table->page_count == 0 && which != INDEX_TABLE_EXM)
        code = index_damaged(err, "an empty table");
    if (code == NX_OK)
        table_make_hints(table);
    return code;
}

static struct nx_bytes table_page_bytes(const struct table *table, uint32_t page)
{
    return (struct nx_bytes){table->pages[page].data, table->pages[page].bytes};
}

/* The page that holds entry `id`, which exists. */
static uint32_t table_find(const struct table *table, uint32_t id)
{
    NX_DCHECK(id < table->entry_count);
    uint32_t page = table->hints[id >> HINT_SHIFT];
    while (page + 1 < table->page_count && table->pages[page + 1].first <= id)
        page++;
    return page;
}

static nx_code table_blob(const struct table *table, uint32_t id, struct nx_bytes *out_blob)
{
    if (id >= table->entry_count)
        return NX_E_CORRUPT;
    uint32_t page = table_find(table, id);
    return blob_page_get(table_page_bytes(table, page), id - table->pages[page].first, out_blob);
}

/* Every page but the last is full, so that row i is found without a search. */
static nx_code rows_check(const struct table *table, uint32_t row_bytes, uint32_t rows_per_page,
                          struct nx_err *err)
{
    for (uint32_t i = 0; i < table->page_count; i++) {
        uint32_t end = i + 1 < table->page_count ? table->pages[i + 1].first : table->entry_count;
        uint32_t rows = end - table->pages[i].first;
        if (rows > rows_per_page || (i + 1 < table->page_count && rows != rows_per_page) ||
            table->pages[i].bytes != INDEX_PAGE_HEADER + rows * row_bytes)
            return index_damaged(err, "a page of rows has a wrong size");
    }
    return NX_OK;
}

static nx_code index_read_names(struct block_index *index, struct nx_err *err)
{
    const struct table *table = &index->tables[INDEX_TABLE_SYM];
    uint32_t pair_count = index->tables[INDEX_TABLE_PAIR].entry_count;
    index->names = nx_calloc((size_t)table->entry_count + 1, sizeof(*index->names));
    for (uint32_t i = 0; i < table->entry_count; i++) {
        struct nx_bytes blob = {0};
        if (table_blob(table, i, &blob) != NX_OK)
            return index_damaged(err, "a label name is out of bounds");
        struct byte_reader in = byte_reader_of(blob);
        uint64_t first = byte_reader_varint(&in);
        struct index_name *name = &index->names[i];
        name->text = (struct nx_str){(const char *)in.next, byte_reader_left(&in)};
        bool is_next = i == 0 ? first == 0
                              : first > index->names[i - 1].first_pair &&
                                    nx_str_cmp(index->names[i - 1].text, name->text) < 0;
        if (in.is_bad || !is_next || first >= pair_count)
            return index_damaged(err, "label names are out of order");
        name->first_pair = (uint32_t)first;
        name->end_pair = pair_count;
        if (i > 0)
            index->names[i - 1].end_pair = (uint32_t)first;
    }
    index->name_count = table->entry_count;
    return NX_OK;
}

/* Series that have no group have exemplars alone. */
static bool have_exemplars(const struct block_index *index, int64_t first_rank, int64_t end_rank)
{
    struct nx_bytes entry;
    for (int64_t rank = first_rank; rank < end_rank; rank++)
        if (block_index_exemplars(index, (uint32_t)rank, &entry) != NX_OK)
            return false;
    return true;
}

/* Groups ascend: a search finds all there is. */
static nx_code groups_check(const struct block_index *index, uint64_t series_count,
                            struct nx_err *err)
{
    uint32_t count = block_index_group_count(index);
    int64_t last = -1;
    for (uint32_t i = 0; i < count; i++) {
        struct index_group_row row;
        block_index_group(index, i, &row);
        if (row.first_rank < last || row.last_rank < row.first_rank ||
            row.last_rank >= series_count || row.min_ms > row.max_ms)
            return index_damaged(err, "groups are out of order");
        if (!have_exemplars(index, last + 1, row.first_rank))
            return index_damaged(err, "a series has no group");
        last = row.last_rank;
    }
    return have_exemplars(index, last + 1, (int64_t)series_count)
               ? NX_OK
               : index_damaged(err, "groups end early");
}

static nx_code vectors_check(const struct block_index *index, struct nx_err *err)
{
    uint32_t count = block_index_vectors_count(index);
    uint64_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct index_vector_row row;
        block_index_vectors(index, i, &row);
        if (row.first_vector != next || row.vector_count == 0)
            return index_damaged(err, "vector groups are out of order");
        next += row.vector_count;
    }
    return NX_OK;
}

/* Ranks ascend, so that a search finds them. */
static nx_code exemplars_check(const struct block_index *index, uint64_t series_count,
                               struct nx_err *err)
{
    const struct table *table = &index->tables[INDEX_TABLE_EXM];
    int64_t last = -1;
    for (uint32_t i = 0; i < table->entry_count; i++) {
        struct nx_bytes entry = {0};
        uint32_t rank = 0;
        if (table_blob(table, i, &entry) != NX_OK || exemplars_rank(entry, &rank) != NX_OK ||
            rank <= last || rank >= series_count)
            return index_damaged(err, "exemplars are out of order");
        last = rank;
    }
    return NX_OK;
}

static nx_code index_check(struct block_index *index, uint64_t series_count, struct nx_err *err)
{
    const struct table *tables = index->tables;
    if (tables[INDEX_TABLE_SER].entry_count != series_count)
        return index_damaged(err, "another number of series than block.meta says");
    if (tables[INDEX_TABLE_POST].entry_count != tables[INDEX_TABLE_PAIR].entry_count)
        return index_damaged(err, "another number of lists than of pairs");
    nx_code code =
        rows_check(&tables[INDEX_TABLE_GRP], INDEX_GROUP_ROW_BYTES, INDEX_GROUP_ROWS, err);
    if (code == NX_OK)
        code = rows_check(&tables[INDEX_TABLE_VEC], INDEX_VECTOR_ROW_BYTES, INDEX_VECTOR_ROWS, err);
    if (code == NX_OK)
        code = exemplars_check(index, series_count, err);
    if (code == NX_OK)
        code = groups_check(index, series_count, err);
    if (code == NX_OK)
        code = vectors_check(index, err);
    return code == NX_OK ? index_read_names(index, err) : code;
}

nx_code block_index_open(struct block_index **out_index, const char *path, uint64_t file_bytes,
                         uint64_t series_count, struct nx_err *err)
{
    struct block_index *index = nx_calloc(1, sizeof(*index));
    index->file_bytes = file_bytes;
    nx_code code = index_open_env(index, path, err);
    for (unsigned i = 0; code == NX_OK && i < INDEX_TABLE_COUNT; i++)
        code = table_open(index, (enum index_table)i, err);
    if (code == NX_OK)
        code = index_check(index, series_count, err);
    if (code != NX_OK) {
        block_index_close(index);
        return code;
    }
    *out_index = index;
    return NX_OK;
}

void block_index_close(struct block_index *index)
{
    if (index == NULL)
        return;
    for (unsigned i = 0; i < INDEX_TABLE_COUNT; i++) {
        nx_free(index->tables[i].pages);
        nx_free(index->tables[i].hints);
    }
    nx_free(index->names);
    if (index->txn != NULL)
        mdb_txn_abort(index->txn);
    if (index->env != NULL)
        mdb_env_close(index->env);
    nx_free(index);
}

/* ---- names and pairs ---- */

uint32_t block_index_series_count(const struct block_index *index)
{
    return index->tables[INDEX_TABLE_SER].entry_count;
}

uint32_t block_index_pair_count(const struct block_index *index)
{
    return index->tables[INDEX_TABLE_PAIR].entry_count;
}

uint64_t block_index_table_bytes(const struct block_index *index, enum index_table table)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < index->tables[table].page_count; i++)
        bytes += index->tables[table].pages[i].bytes;
    return bytes;
}

const struct index_name *block_index_names(const struct block_index *index, uint32_t *out_count)
{
    *out_count = index->name_count;
    return index->names;
}

const struct index_name *block_index_name_find(const struct block_index *index, struct nx_str text)
{
    uint32_t low = 0, high = index->name_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = nx_str_cmp(index->names[middle].text, text);
        if (order == 0)
            return &index->names[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct index_name *block_index_name_of(const struct block_index *index, uint32_t pair)
{
    NX_ASSERT(pair < block_index_pair_count(index));
    uint32_t low = 0, high = index->name_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->names[middle].end_pair <= pair)
            low = middle + 1;
        else
            high = middle;
    }
    return &index->names[low];
}

nx_code block_index_value(const struct block_index *index, uint32_t pair, struct nx_str *out_text)
{
    struct nx_bytes blob = {0};
    nx_code code = table_blob(&index->tables[INDEX_TABLE_PAIR], pair, &blob);
    if (code == NX_OK)
        *out_text = nx_str_from_bytes(blob);
    return code;
}

nx_code block_index_lower_bound(const struct block_index *index, const struct index_name *name,
                                struct nx_str value, uint32_t *out_pair)
{
    uint32_t low = name->first_pair, high = name->end_pair;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct nx_str text = {0};
        nx_code code = block_index_value(index, middle, &text);
        if (code != NX_OK)
            return code;
        if (nx_str_cmp(text, value) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out_pair = low;
    return NX_OK;
}

nx_code block_index_postings(const struct block_index *index, uint32_t pair, struct postings *set)
{
    struct nx_bytes blob = {0};
    nx_code code = table_blob(&index->tables[INDEX_TABLE_POST], pair, &blob);
    return code == NX_OK ? postings_decode_into(blob, block_index_series_count(index), set) : code;
}

nx_code block_index_postings_count(const struct block_index *index, uint32_t pair,
                                   uint64_t *out_count)
{
    struct nx_bytes blob = {0};
    nx_code code = table_blob(&index->tables[INDEX_TABLE_POST], pair, &blob);
    if (code == NX_OK)
        *out_count = postings_encoded_count(blob);
    return code;
}

/* ---- series, groups ---- */

nx_code block_index_series_page(const struct block_index *index, uint32_t rank,
                                struct nx_bytes *out_page)
{
    const struct table *table = &index->tables[INDEX_TABLE_SER];
    if (rank >= table->entry_count)
        return NX_E_CORRUPT;
    *out_page = table_page_bytes(table, table_find(table, rank));
    return NX_OK;
}

uint32_t block_index_group_count(const struct block_index *index)
{
    return index->tables[INDEX_TABLE_GRP].entry_count;
}

void block_index_group(const struct block_index *index, uint32_t i, struct index_group_row *out_row)
{
    const struct table *table = &index->tables[INDEX_TABLE_GRP];
    NX_ASSERT(i < table->entry_count);
    index_group_row_load(table->pages[i / INDEX_GROUP_ROWS].data + INDEX_PAGE_HEADER +
                             (size_t)(i % INDEX_GROUP_ROWS) * INDEX_GROUP_ROW_BYTES,
                         out_row);
}

uint32_t block_index_group_find(const struct block_index *index, uint32_t rank)
{
    uint32_t low = 0, high = block_index_group_count(index);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct index_group_row row;
        block_index_group(index, middle, &row);
        if (row.last_rank < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

nx_code block_index_exemplars(const struct block_index *index, uint32_t rank,
                              struct nx_bytes *out_entry)
{
    const struct table *table = &index->tables[INDEX_TABLE_EXM];
    uint32_t low = 0, high = table->entry_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct nx_bytes entry = {0};
        uint32_t found = 0;
        nx_code code = table_blob(table, middle, &entry);
        if (code == NX_OK)
            code = exemplars_rank(entry, &found);
        if (code != NX_OK)
            return code;
        if (found == rank) {
            *out_entry = entry;
            return NX_OK;
        }
        if (found < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return NX_E_NOT_FOUND;
}

uint32_t block_index_vectors_count(const struct block_index *index)
{
    return index->tables[INDEX_TABLE_VEC].entry_count;
}

void block_index_vectors(const struct block_index *index, uint32_t i,
                         struct index_vector_row *out_row)
{
    const struct table *table = &index->tables[INDEX_TABLE_VEC];
    NX_ASSERT(i < table->entry_count);
    index_vector_row_load(table->pages[i / INDEX_VECTOR_ROWS].data + INDEX_PAGE_HEADER +
                              (size_t)(i % INDEX_VECTOR_ROWS) * INDEX_VECTOR_ROW_BYTES,
                          out_row);
}

nx_code block_index_vectors_find(const struct block_index *index, uint32_t vector, uint32_t *out_i)
{
    uint32_t low = 0, high = block_index_vectors_count(index);
    struct index_vector_row row;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        block_index_vectors(index, middle, &row);
        if (row.first_vector <= vector)
            low = middle;
        else
            high = middle;
    }
    block_index_vectors(index, low, &row);
    if (vector < row.first_vector || vector - row.first_vector >= row.vector_count)
        return NX_E_CORRUPT;
    *out_i = low;
    return NX_OK;
}
