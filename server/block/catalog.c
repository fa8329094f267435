/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.c - the manifest in LMDB: a few hundred small rows, changed some times an hour.
 *
 *   table   key            payload
 *   block   ulid           state u8, and when live the fixed part of block.meta
 *   kv      a name         whatever its module put there
 *   state   "state"        format version u32, number of rows u64, sum of all rows' checksums u64
 *   tomb    ulid           what is deleted of the block (tombstones.c)
 *
 * `tomb` is made by the first delete, and makes it format 2: a directory that never saw one stays format 1.
 *
 * Invariants  1. every value ends with the XXH3-64 of table, key and payload.
 *             2. the state row counts and sums all others in the same transaction: a row that got lost, or came back
 *                from an older page, is found at the next open.
 *             3. one transaction at a time, reads too, behind the lock: the map may grow between any two.
 *
 * A commit that fails leaves open whether it happened; the environment is then closed, and read anew before its next
 * use.
 * Free pages are kept in the file (CATALOG_BALLAST_PAGES), since a transaction on a full disk needs some.
 */
#include "narthex/block/catalog.h"

#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/base/hash.h"
#include "narthex/base/io.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"

#include "block_format.h"
#include "block_meta.h"
#include "catalog_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <unistd.h>

#define CATALOG_MAP_BYTES      ((size_t)16 << 20)
#define CATALOG_MAP_BYTES_MAX  ((size_t)16 << 30)
#define CATALOG_BALLAST_PAGES  64u
#define CATALOG_KEY_BYTES_MAX  256u
#define CATALOG_STATE_BYTES    20u

#define CATALOG_SHARED_TRIES   20u /* chosen: together longer than a transaction on a slow disk */
#define CATALOG_SHARED_WAIT_US 25000u

static const char *const table_names[CATALOG_TABLE_COUNT] = {"block", "kv", "state", "tomb"};

struct catalog {
    char *path;                   /* [I] */
    bool is_read_only, is_shared; /* [I] */
    struct nx_mutex lock;
    MDB_env *env;                        /* [L:lock] NULL after a failed commit */
    MDB_dbi tables[CATALOG_TABLE_COUNT]; /* [L:lock] */
    size_t map_bytes;                    /* [L:lock] */
    uint64_t row_count, row_sum;         /* [L:lock] as the last transaction left them */
    bool has_tombstones;                 /* [L:lock] the table `tomb` is there */
};

/* A write in progress. */
struct change {
    MDB_txn *txn;
    uint64_t row_count, row_sum;
    bool has_tombstones;
};

static nx_code catalog_failed(struct nx_err *err, int status, const char *what)
{
    if (status > 0)
        return nx_err_sys(err, status, "catalog: %s", what);
    bool is_damage = status == MDB_CORRUPTED || status == MDB_PAGE_NOTFOUND ||
                     status == MDB_INVALID || status == MDB_BAD_VALSIZE || status == MDB_NOTFOUND ||
                     status == MDB_INCOMPATIBLE;
    return nx_err_set(err, is_damage ? NX_E_CORRUPT : NX_E_IO, "catalog: %s: %s", what,
                      mdb_strerror(status));
}

/* ---- rows ---- */

static uint64_t row_sum(enum catalog_table table, MDB_val key, const uint8_t *payload, size_t bytes)
{
    return catalog_row_sum(table, (struct nx_bytes){key.mv_data, key.mv_size},
                           (struct nx_bytes){payload, bytes});
}

/* *out_payload is a view of the map. */
static nx_code row_check(enum catalog_table table, MDB_val key, MDB_val value,
                         struct nx_bytes *out_payload, uint64_t *out_sum)
{
    if (value.mv_size < sizeof(uint64_t))
        return NX_E_CORRUPT;
    size_t bytes = value.mv_size - sizeof(uint64_t);
    const uint8_t *data = value.mv_data;
    uint64_t sum = load_u64(data + bytes);
    if (sum != row_sum(table, key, data, bytes))
        return NX_E_CORRUPT;
    *out_payload = (struct nx_bytes){data, bytes};
    *out_sum = sum;
    return NX_OK;
}

static MDB_val key_of(const char *text)
{
    /* LMDB does not write to keys; its type cannot say so. */
    union {
        const char *in;
        void *out;
    } data = {.in = text};
    return (MDB_val){.mv_size = strlen(text), .mv_data = data.out};
}

static nx_code damaged_row(const char *key, struct nx_err *err)
{
    return nx_err_set(err, NX_E_CORRUPT, "catalog: row %.64s: checksum differs", key);
}

static int row_get(const struct catalog *catalog, MDB_txn *txn, enum catalog_table table,
                   const char *text, struct nx_bytes *out_payload, uint64_t *out_sum)
{
    MDB_val key = key_of(text), value;
    int status = mdb_get(txn, catalog->tables[table], &key, &value);
    if (status == 0 && row_check(table, key, value, out_payload, out_sum) != NX_OK)
        status = MDB_CORRUPTED;
    return status;
}

static int row_forget(struct catalog *catalog, struct change *change, enum catalog_table table,
                      const char *text)
{
    struct nx_bytes payload;
    uint64_t sum;
    int status = row_get(catalog, change->txn, table, text, &payload, &sum);
    if (status != 0)
        return status;
    MDB_val key = key_of(text);
    status = mdb_del(change->txn, catalog->tables[table], &key, NULL);
    if (status == 0) {
        change->row_count--;
        change->row_sum -= sum;
    }
    return status;
}

static int row_write(struct catalog *catalog, struct change *change, enum catalog_table table,
                     const char *text, struct nx_bytes payload)
{
    MDB_val key = key_of(text);
    MDB_val value = {.mv_size = payload.len + sizeof(uint64_t), .mv_data = NULL};
    int status = mdb_put(change->txn, catalog->tables[table], &key, &value, MDB_RESERVE);
    if (status != 0)
        return status;
    uint8_t *out = value.mv_data;
    if (payload.len > 0)
        memcpy(out, payload.data, payload.len);
    uint64_t sum = row_sum(table, key, out, payload.len);
    store_u64(out + payload.len, sum);
    if (table != CATALOG_TABLE_STATE) {
        change->row_count++;
        change->row_sum += sum;
    }
    return 0;
}

static int row_put(struct catalog *catalog, struct change *change, enum catalog_table table,
                   const char *text, struct nx_bytes payload)
{
    int status = row_forget(catalog, change, table, text);
    return status == 0 || status == MDB_NOTFOUND ? row_write(catalog, change, table, text, payload)
                                                 : status;
}

static int state_write(struct catalog *catalog, struct change *change)
{
    uint8_t payload[CATALOG_STATE_BYTES];
    store_u32(payload,
              change->has_tombstones ? CATALOG_FORMAT_VERSION : CATALOG_FORMAT_VERSION_MIN);
    store_u64(payload + 4, change->row_count);
    store_u64(payload + 12, change->row_sum);
    return row_write(catalog, change, CATALOG_TABLE_STATE, "state",
                     (struct nx_bytes){payload, sizeof(payload)});
}

/* ---- open ---- */

/* Those of format 1. */
static int tables_open(struct catalog *catalog, MDB_txn *txn, unsigned flags)
{
    int status = 0;
    for (unsigned i = 0; status == 0 && i < CATALOG_TABLE_TOMB; i++)
        status = mdb_dbi_open(txn, table_names[i], flags, &catalog->tables[i]);
    return status;
}

static nx_code verify_table(struct catalog *catalog, MDB_txn *txn, enum catalog_table table,
                            struct change *seen, struct nx_err *err)
{
    MDB_cursor *cursor = NULL;
    int status = mdb_cursor_open(txn, catalog->tables[table], &cursor);
    if (status != 0)
        return catalog_failed(err, status, table_names[table]);
    nx_code code = NX_OK;
    MDB_val key, value;
    for (MDB_cursor_op op = MDB_FIRST; code == NX_OK; op = MDB_NEXT) {
        status = mdb_cursor_get(cursor, &key, &value, op);
        if (status == MDB_NOTFOUND)
            break;
        struct nx_bytes payload;
        uint64_t sum = 0;
        if (status != 0)
            code = catalog_failed(err, status, table_names[table]);
        else if (row_check(table, key, value, &payload, &sum) != NX_OK)
            code = nx_err_set(err, NX_E_CORRUPT, "catalog: a row of %s: checksum differs",
                              table_names[table]);
        seen->row_count++;
        seen->row_sum += sum;
    }
    mdb_cursor_close(cursor);
    return code;
}

/* All rows against their checksums, and all of them against the state row. */
static nx_code verify_rows(struct catalog *catalog, MDB_txn *txn, struct nx_err *err)
{
    int status = tables_open(catalog, txn, 0);
    struct nx_bytes state = {0};
    uint64_t sum = 0;
    if (status == 0)
        status = row_get(catalog, txn, CATALOG_TABLE_STATE, "state", &state, &sum);
    if (status != 0)
        return catalog_failed(err, status, "the state row");
    if (state.len < sizeof(uint32_t))
        return nx_err_set(err, NX_E_CORRUPT, "catalog: the state row is too short");
    uint32_t version = load_u32(state.data);
    if (version < CATALOG_FORMAT_VERSION_MIN || version > CATALOG_FORMAT_VERSION)
        return nx_err_set(err, NX_E_INVALID,
                          "catalog: format version %" PRIu32 ", this program knows %u", version,
                          CATALOG_FORMAT_VERSION);
    struct change seen = {.has_tombstones = version == CATALOG_FORMAT_VERSION};
    nx_code code = verify_table(catalog, txn, CATALOG_TABLE_BLOCK, &seen, err);
    if (code == NX_OK)
        code = verify_table(catalog, txn, CATALOG_TABLE_KV, &seen, err);
    if (code == NX_OK && seen.has_tombstones) {
        status = mdb_dbi_open(txn, table_names[CATALOG_TABLE_TOMB], 0,
                              &catalog->tables[CATALOG_TABLE_TOMB]);
        code = status == 0 ? verify_table(catalog, txn, CATALOG_TABLE_TOMB, &seen, err)
                           : catalog_failed(err, status, "the tombstones");
    }
    if (code != NX_OK)
        return code;
    if (state.len != CATALOG_STATE_BYTES || load_u64(state.data + 4) != seen.row_count ||
        load_u64(state.data + 12) != seen.row_sum)
        return nx_err_set(err, NX_E_CORRUPT, "catalog: rows are missing or out of date");
    catalog->row_count = seen.row_count;
    catalog->row_sum = seen.row_sum;
    catalog->has_tombstones = seen.has_tombstones;
    return NX_OK;
}

/* Opens the environment in `path`; closed again by env_close, failed or not. */
static int env_open_file(struct catalog *catalog, const char *path, unsigned flags)
{
    int status = mdb_env_create(&catalog->env);
    if (status == 0)
        status = mdb_env_set_maxdbs(catalog->env, CATALOG_TABLE_COUNT);
    if (status == 0)
        status = mdb_env_set_mapsize(catalog->env, catalog->map_bytes);
    return status == 0 ? mdb_env_open(catalog->env, path, flags | MDB_NOSUBDIR | MDB_NOTLS, 0640)
                       : status;
}

static void env_close(struct catalog *catalog)
{
    if (catalog->env != NULL)
        mdb_env_close(catalog->env);
    catalog->env = NULL;
}

static nx_code create_rows(struct catalog *catalog, const char *path, struct nx_err *err)
{
    struct change change = {0};
    int status = env_open_file(catalog, path, MDB_NOLOCK);
    if (status == 0)
        status = mdb_txn_begin(catalog->env, NULL, 0, &change.txn);
    if (status == 0)
        status = tables_open(catalog, change.txn, MDB_CREATE);
    if (status == 0)
        status = state_write(catalog, &change);
    if (status == 0) {
        status = mdb_txn_commit(change.txn);
        change.txn = NULL;
    }
    if (change.txn != NULL)
        mdb_txn_abort(change.txn);
    env_close(catalog);
    return status == 0 ? NX_OK : catalog_failed(err, status, "create");
}

/* LMDB makes its file in several steps, the first ones unsynced: the name is given to what is whole. */
static nx_code catalog_create(struct catalog *catalog, struct nx_err *err)
{
    const struct io *io = io_real();
    struct nx_buf path = {0}, dir = {0};
    nx_buf_printf(&path, "%s.new", catalog->path);
    nx_buf_append_byte(&path, 0);
    const char *name = strrchr(catalog->path, '/');
    nx_buf_append(&dir, name == NULL ? "." : catalog->path,
                  name == NULL ? 1 : (size_t)(name - catalog->path) + 1);
    nx_buf_append_byte(&dir, 0);
    nx_code code = io_remove_tree(io, (const char *)path.data, err);
    if (code == NX_OK)
        code = create_rows(catalog, (const char *)path.data, err);
    if (code == NX_OK)
        code = io->rename(io, (const char *)path.data, catalog->path, err);
    if (code == NX_OK)
        code = io_sync_dir(io, (const char *)dir.data, err);
    nx_buf_deinit(&path);
    nx_buf_deinit(&dir);
    return code;
}

/* What another process is writing may be seen half-done: looked at again, some times. */
static nx_code check_file(const struct catalog *catalog, struct nx_err *err)
{
    nx_code code = catalog_check_file(catalog->path, err);
    for (unsigned i = 0; code == NX_E_CORRUPT && catalog->is_shared && i < CATALOG_SHARED_TRIES;
         i++) {
        usleep(CATALOG_SHARED_WAIT_US);
        code = catalog_check_file(catalog->path, err);
    }
    return code;
}

static unsigned open_flags(const struct catalog *catalog)
{
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS;
    if (catalog->is_read_only)
        flags |= MDB_RDONLY;
    if (catalog->is_read_only && !catalog->is_shared)
        flags |= MDB_NOLOCK;
    return flags;
}

static nx_code env_open(struct catalog *catalog, struct nx_err *err)
{
    nx_code code = check_file(catalog, err);
    if (code == NX_E_NOT_FOUND && !catalog->is_read_only)
        code = catalog_create(catalog, err);
    if (code != NX_OK)
        return code;
    int status = env_open_file(catalog, catalog->path, open_flags(catalog));
    code = status == 0 ? NX_OK : catalog_failed(err, status, "open");
    MDB_txn *txn = NULL;
    if (code == NX_OK) {
        status = mdb_txn_begin(catalog->env, NULL, MDB_RDONLY, &txn);
        code = status == 0 ? verify_rows(catalog, txn, err) : catalog_failed(err, status, "begin");
    }
    if (txn != NULL && code == NX_OK)
        status = mdb_txn_commit(txn); /* keeps the table handles */
    else if (txn != NULL)
        mdb_txn_abort(txn);
    if (code != NX_OK)
        env_close(catalog);
    return code;
}

/* ---- transactions ---- */

static nx_code catalog_ready_locked(struct catalog *catalog, struct nx_err *err)
    NX_REQUIRES(catalog->lock)
{
    return catalog->env != NULL ? NX_OK : env_open(catalog, err);
}

typedef int (*change_fn)(struct catalog *catalog, struct change *change, void *context);

/* One durable transaction of what `make` does. It is run again with a larger map when that was full. */
static nx_code catalog_change_locked(struct catalog *catalog, change_fn make, void *context,
                                     struct nx_err *err) NX_REQUIRES(catalog->lock)
{
    nx_code code = catalog_ready_locked(catalog, err);
    while (code == NX_OK) {
        struct change change = {.row_count = catalog->row_count,
                                .row_sum = catalog->row_sum,
                                .has_tombstones = catalog->has_tombstones};
        int status = mdb_txn_begin(catalog->env, NULL, 0, &change.txn);
        if (status == 0)
            status = make(catalog, &change, context);
        if (status == 0)
            status = state_write(catalog, &change);
        if (status == 0) {
            status = mdb_txn_commit(change.txn);
            if (status == 0) {
                catalog->row_count = change.row_count;
                catalog->row_sum = change.row_sum;
                catalog->has_tombstones = change.has_tombstones;
                return NX_OK;
            }
            if (status != MDB_MAP_FULL) {
                code = catalog_failed(err, status, "commit");
                env_close(catalog);
                return code;
            }
        } else if (change.txn != NULL) {
            mdb_txn_abort(change.txn);
        }
        if (status != MDB_MAP_FULL || catalog->map_bytes >= CATALOG_MAP_BYTES_MAX)
            return catalog_failed(err, status, "write");
        catalog->map_bytes *= 2;
        status = mdb_env_set_mapsize(catalog->env, catalog->map_bytes);
        if (status != 0)
            code = catalog_failed(err, status, "grow");
    }
    return code;
}

static nx_code catalog_change(struct catalog *catalog, change_fn make, void *context,
                              struct nx_err *err)
{
    mutex_lock(&catalog->lock);
    nx_code code = catalog_change_locked(catalog, make, context, err);
    mutex_unlock(&catalog->lock);
    return code;
}

/* ---- ballast ---- */

/* Pages that the free list names, from LMDB's own table of them. */
static int count_free_pages(MDB_txn *txn, size_t *out_pages)
{
    MDB_cursor *cursor = NULL;
    int status = mdb_cursor_open(txn, 0, &cursor);
    if (status != 0)
        return status;
    MDB_val key, value;
    *out_pages = 0;
    for (MDB_cursor_op op = MDB_FIRST; (status = mdb_cursor_get(cursor, &key, &value, op)) == 0;
         op = MDB_NEXT)
        *out_pages += (size_t)load_u64(value.mv_data);
    mdb_cursor_close(cursor);
    return status == MDB_NOTFOUND ? 0 : status;
}

static int ballast_add(struct catalog *catalog, struct change *change, void *context)
{
    size_t *missing = context;
    uint8_t page[4000] = {0};
    int status = 0;
    for (size_t i = 0; status == 0 && i < *missing; i++) {
        char key[32];
        snprintf(key, sizeof(key), "ballast-%zu", i);
        status =
            row_put(catalog, change, CATALOG_TABLE_KV, key, (struct nx_bytes){page, sizeof(page)});
    }
    return status;
}

static int ballast_free(struct catalog *catalog, struct change *change, void *context)
{
    size_t *missing = context;
    int status = 0;
    for (size_t i = 0; (status == 0 || status == MDB_NOTFOUND) && i < *missing; i++) {
        char key[32];
        snprintf(key, sizeof(key), "ballast-%zu", i);
        status = row_forget(catalog, change, CATALOG_TABLE_KV, key);
    }
    return status == MDB_NOTFOUND ? 0 : status;
}

static nx_code keep_ballast(struct catalog *catalog, struct nx_err *err)
{
    MDB_txn *txn = NULL;
    size_t pages = 0;
    int status = mdb_txn_begin(catalog->env, NULL, MDB_RDONLY, &txn);
    if (status == 0)
        status = count_free_pages(txn, &pages);
    if (txn != NULL)
        mdb_txn_abort(txn);
    if (status != 0)
        return catalog_failed(err, status, "the free list");
    if (pages >= CATALOG_BALLAST_PAGES / 2)
        return NX_OK;
    size_t missing = CATALOG_BALLAST_PAGES - pages;
    nx_code code = catalog_change(catalog, ballast_add, &missing, err);
    nx_code freed = code == NX_OK || catalog->env != NULL
                        ? catalog_change(catalog, ballast_free, &missing, err)
                        : code;
    return code == NX_OK ? freed : code;
}

static struct catalog *catalog_new(const char *path)
{
    struct catalog *catalog = nx_calloc(1, sizeof(*catalog));
    catalog->path = nx_strdup(path);
    catalog->map_bytes = CATALOG_MAP_BYTES;
    mutex_init(&catalog->lock, LOCK_RANK_CATALOG);
    return catalog;
}

nx_code catalog_open_read_only(struct catalog **out_catalog, const char *path, bool is_shared,
                               struct nx_err *err)
{
    struct catalog *catalog = catalog_new(path);
    struct nx_buf lock_path = {0};
    nx_buf_printf(&lock_path, "%s-lock", path);
    nx_buf_append_byte(&lock_path, 0);
    catalog->is_read_only = true;
    /* Without a lock file nobody writes, and LMDB would make one. */
    catalog->is_shared = is_shared && io_exists((const char *)lock_path.data);
    nx_buf_deinit(&lock_path);
    nx_code code = env_open(catalog, err);
    if (code != NX_OK) {
        catalog_close(catalog);
        return code;
    }
    *out_catalog = catalog;
    return NX_OK;
}

nx_code catalog_open(struct catalog **out_catalog, const char *path, struct nx_err *err)
{
    struct catalog *catalog = catalog_new(path);
    nx_code code = env_open(catalog, err);
    if (code == NX_OK)
        code = keep_ballast(catalog, err);
    /* A full disk is no reason not to start: the ballast is missing exactly then. */
    if (code == NX_E_FULL && catalog->env != NULL)
        code = NX_OK;
    if (code != NX_OK) {
        catalog_close(catalog);
        return code;
    }
    *out_catalog = catalog;
    return NX_OK;
}

void catalog_close(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    env_close(catalog);
    mutex_deinit(&catalog->lock);
    nx_free(catalog->path);
    nx_free(catalog);
}

/* ---- blocks ---- */

#define BLOCK_ROW_BYTES_MAX (1 + BLOCK_META_FIXED_BYTES)

static int put_block(struct catalog *catalog, struct change *change, const char *ulid,
                     enum catalog_state state, const struct block_meta *meta)
{
    uint8_t payload[BLOCK_ROW_BYTES_MAX] = {(uint8_t)state};
    size_t bytes = 1;
    if (meta != NULL) {
        block_meta_pack(meta, payload + 1);
        bytes = sizeof(payload);
    }
    return row_put(catalog, change, CATALOG_TABLE_BLOCK, ulid, (struct nx_bytes){payload, bytes});
}

struct ulid_context {
    const char *ulid;
};

static int make_begin(struct catalog *catalog, struct change *change, void *context)
{
    const struct ulid_context *begin = context;
    return put_block(catalog, change, begin->ulid, CATALOG_BUILDING, NULL);
}

nx_code catalog_begin(struct catalog *catalog, const char *ulid, struct nx_err *err)
{
    NX_ASSERT(ulid_is_valid(ulid));
    struct ulid_context context = {ulid};
    return catalog_change(catalog, make_begin, &context, err);
}

/* ---- tombstones ---- */

static int forget_tombstones(struct catalog *catalog, struct change *change, const char *ulid)
{
    if (!change->has_tombstones)
        return 0;
    int status = row_forget(catalog, change, CATALOG_TABLE_TOMB, ulid);
    return status == MDB_NOTFOUND ? 0 : status;
}

static int put_tombstones(struct catalog *catalog, struct change *change,
                          const struct catalog_tombstones *row)
{
    if (row->packed.len == 0)
        return forget_tombstones(catalog, change, row->ulid);
    int status = 0;
    if (!change->has_tombstones) {
        status = mdb_dbi_open(change->txn, table_names[CATALOG_TABLE_TOMB], MDB_CREATE,
                              &catalog->tables[CATALOG_TABLE_TOMB]);
        change->has_tombstones = status == 0;
    }
    return status == 0 ? row_put(catalog, change, CATALOG_TABLE_TOMB, row->ulid, row->packed)
                       : status;
}

static int make_forget(struct catalog *catalog, struct change *change, void *context)
{
    const struct ulid_context *forget = context;
    int status = row_forget(catalog, change, CATALOG_TABLE_BLOCK, forget->ulid);
    if (status == 0 || status == MDB_NOTFOUND)
        status = forget_tombstones(catalog, change, forget->ulid);
    return status;
}

nx_code catalog_forget(struct catalog *catalog, const char *ulid, struct nx_err *err)
{
    struct ulid_context context = {ulid};
    return catalog_change(catalog, make_forget, &context, err);
}

static int make_change(struct catalog *catalog, struct change *change, void *context)
{
    const struct catalog_change *made = context;
    int status = 0;
    for (size_t i = 0; status == 0 && i < made->live_count; i++)
        status = put_block(catalog, change, made->live[i].ulid, CATALOG_LIVE, &made->live[i]);
    for (size_t i = 0; status == 0 && i < made->tombstone_count; i++)
        status = put_tombstones(catalog, change, &made->tombstones[i]);
    for (size_t i = 0; status == 0 && i < made->retired_count; i++) {
        status = put_block(catalog, change, made->retired[i], CATALOG_RETIRED, NULL);
        if (status == 0)
            status = forget_tombstones(catalog, change, made->retired[i]);
    }
    if (status == 0 && made->key != NULL)
        status = row_put(catalog, change, CATALOG_TABLE_KV, made->key, made->value);
    return status;
}

nx_code catalog_apply(struct catalog *catalog, const struct catalog_change *change,
                      struct nx_err *err)
{
    struct catalog_change context = *change;
    return catalog_change(catalog, make_change, &context, err);
}

nx_code catalog_publish(struct catalog *catalog, const struct block_meta *live, size_t live_count,
                        const char *const *retired, size_t retired_count, struct nx_err *err)
{
    const struct catalog_change change = {
        .live = live, .live_count = live_count, .retired = retired, .retired_count = retired_count};
    return catalog_apply(catalog, &change, err);
}

struct block_row {
    char ulid[ULID_TEXT_LEN + 1];
    enum catalog_state state;
    struct block_meta meta;
};

static nx_code block_row_read(MDB_val key, MDB_val value, struct block_row *out_row,
                              struct nx_err *err)
{
    struct block_row row = {0};
    struct nx_bytes payload = {0};
    uint64_t sum;
    if (key.mv_size != ULID_TEXT_LEN)
        return damaged_row("of a block", err);
    memcpy(row.ulid, key.mv_data, ULID_TEXT_LEN);
    if (!ulid_is_valid(row.ulid))
        return damaged_row("of a block", err);
    if (row_check(CATALOG_TABLE_BLOCK, key, value, &payload, &sum) != NX_OK || payload.len == 0)
        return damaged_row(row.ulid, err);
    switch (payload.data[0]) {
    case CATALOG_BUILDING:
    case CATALOG_RETIRED:
        row.state = (enum catalog_state)payload.data[0];
        break;
    case CATALOG_LIVE:
        row.state = CATALOG_LIVE;
        if (payload.len > BLOCK_META_VERSION_BYTES &&
            block_meta_version(payload.data + 1) != BLOCK_FORMAT_VERSION)
            return nx_err_set(err, NX_E_INVALID,
                              "catalog: block %s: format version %" PRIu32
                              ", this program knows %u",
                              row.ulid, block_meta_version(payload.data + 1), BLOCK_FORMAT_VERSION);
        if (payload.len != BLOCK_ROW_BYTES_MAX ||
            block_meta_unpack(payload.data + 1, &row.meta) != NX_OK ||
            strcmp(row.meta.ulid, row.ulid) != 0)
            return damaged_row(row.ulid, err);
        break;
    default:
        return damaged_row(row.ulid, err);
    }
    *out_row = row;
    return NX_OK;
}

/* Appends what is wanted of a row. */
typedef nx_code (*row_take_fn)(MDB_val key, MDB_val value, struct nx_buf *rows, struct nx_err *err);

/* All rows of a table, in the order of their keys. */
static nx_code rows_read_locked(struct catalog *catalog, enum catalog_table table, row_take_fn take,
                                struct nx_buf *rows, struct nx_err *err) NX_REQUIRES(catalog->lock)
{
    nx_code code = catalog_ready_locked(catalog, err);
    if (code != NX_OK || (table == CATALOG_TABLE_TOMB && !catalog->has_tombstones))
        return code;
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    int status = mdb_txn_begin(catalog->env, NULL, MDB_RDONLY, &txn);
    if (status == 0)
        status = mdb_cursor_open(txn, catalog->tables[table], &cursor);
    if (status != 0)
        code = catalog_failed(err, status, "read");
    MDB_val key, value;
    for (MDB_cursor_op op = MDB_FIRST; code == NX_OK; op = MDB_NEXT) {
        status = mdb_cursor_get(cursor, &key, &value, op);
        if (status == MDB_NOTFOUND)
            break;
        code = status == 0 ? take(key, value, rows, err) : catalog_failed(err, status, "read");
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (txn != NULL)
        mdb_txn_abort(txn);
    return code;
}

static nx_code take_block(MDB_val key, MDB_val value, struct nx_buf *rows, struct nx_err *err)
{
    struct block_row row;
    nx_code code = block_row_read(key, value, &row, err);
    if (code == NX_OK)
        nx_buf_append(rows, &row, sizeof(row));
    return code;
}

nx_code catalog_each(struct catalog *catalog, catalog_each_fn each, void *context,
                     struct nx_err *err)
{
    /* Copied first: `each` may change the catalog. */
    struct nx_buf rows = {0};
    mutex_lock(&catalog->lock);
    nx_code code = rows_read_locked(catalog, CATALOG_TABLE_BLOCK, take_block, &rows, err);
    mutex_unlock(&catalog->lock);
    const struct block_row *all = (const struct block_row *)(const void *)rows.data;
    for (size_t i = 0; code == NX_OK && i < rows.len / sizeof(*all); i++)
        code = each(context, all[i].ulid, all[i].state,
                    all[i].state == CATALOG_LIVE ? &all[i].meta : NULL, err);
    nx_buf_deinit(&rows);
    return code;
}

/* One row of `tomb`, copied: ulid, length, bytes. */
struct tombstone_row {
    char ulid[ULID_TEXT_LEN + 1];
    size_t bytes;
};

static nx_code take_tombstones(MDB_val key, MDB_val value, struct nx_buf *rows, struct nx_err *err)
{
    struct tombstone_row row = {0};
    struct nx_bytes packed = {0};
    uint64_t sum;
    if (key.mv_size != ULID_TEXT_LEN ||
        row_check(CATALOG_TABLE_TOMB, key, value, &packed, &sum) != NX_OK)
        return damaged_row("of tombstones", err);
    memcpy(row.ulid, key.mv_data, ULID_TEXT_LEN);
    row.bytes = packed.len;
    nx_buf_append(rows, &row, sizeof(row));
    nx_buf_append(rows, packed.data, packed.len);
    return NX_OK;
}

nx_code catalog_each_tombstones(struct catalog *catalog, catalog_tombstones_fn each, void *context,
                                struct nx_err *err)
{
    struct nx_buf rows = {0};
    mutex_lock(&catalog->lock);
    nx_code code = rows_read_locked(catalog, CATALOG_TABLE_TOMB, take_tombstones, &rows, err);
    mutex_unlock(&catalog->lock);
    for (size_t at = 0; code == NX_OK && at < rows.len;) {
        struct tombstone_row row;
        memcpy(&row, rows.data + at, sizeof(row));
        at += sizeof(row);
        code = each(context, row.ulid, (struct nx_bytes){rows.data + at, row.bytes}, err);
        at += row.bytes;
    }
    nx_buf_deinit(&rows);
    return code;
}

/* ---- named values ---- */

static nx_code value_read_locked(struct catalog *catalog, const char *key, struct nx_buf *out,
                                 struct nx_err *err) NX_REQUIRES(catalog->lock)
{
    nx_code code = catalog_ready_locked(catalog, err);
    if (code != NX_OK)
        return code;
    MDB_txn *txn = NULL;
    struct nx_bytes payload = {0};
    uint64_t sum;
    int status = mdb_txn_begin(catalog->env, NULL, MDB_RDONLY, &txn);
    if (status == 0)
        status = row_get(catalog, txn, CATALOG_TABLE_KV, key, &payload, &sum);
    if (status == 0)
        nx_buf_append(out, payload.data, payload.len);
    else if (status == MDB_NOTFOUND)
        code = nx_err_set(err, NX_E_NOT_FOUND, "catalog: no value %s", key);
    else
        code = catalog_failed(err, status, key);
    if (txn != NULL)
        mdb_txn_abort(txn);
    return code;
}

nx_code catalog_get(struct catalog *catalog, const char *key, struct nx_buf *out,
                    struct nx_err *err)
{
    mutex_lock(&catalog->lock);
    nx_code code = value_read_locked(catalog, key, out, err);
    mutex_unlock(&catalog->lock);
    return code;
}

struct value_context {
    const char *key;
    struct nx_bytes value;
};

static int make_value(struct catalog *catalog, struct change *change, void *context)
{
    const struct value_context *put = context;
    return row_put(catalog, change, CATALOG_TABLE_KV, put->key, put->value);
}

nx_code catalog_put(struct catalog *catalog, const char *key, struct nx_bytes value,
                    struct nx_err *err)
{
    NX_ASSERT(strlen(key) > 0 && strlen(key) <= CATALOG_KEY_BYTES_MAX);
    struct value_context context = {key, value};
    return catalog_change(catalog, make_value, &context, err);
}

static nx_code take_value(MDB_val key, MDB_val value, struct nx_buf *rows, struct nx_err *err)
{
    struct nx_bytes payload;
    uint64_t sum;
    if (row_check(CATALOG_TABLE_KV, key, value, &payload, &sum) != NX_OK)
        return catalog_failed(err, MDB_CORRUPTED, "read");
    nx_buf_append_u32(rows, (uint32_t)key.mv_size);
    nx_buf_append_u32(rows, (uint32_t)payload.len);
    nx_buf_append(rows, key.mv_data, key.mv_size);
    nx_buf_append_byte(rows, 0);
    nx_buf_append(rows, payload.data, payload.len);
    return NX_OK;
}

nx_code catalog_each_value(struct catalog *catalog, catalog_value_fn each, void *context,
                           struct nx_err *err)
{
    /* Copied first: `each` may change the catalog. */
    struct nx_buf rows = {0};
    mutex_lock(&catalog->lock);
    nx_code code = rows_read_locked(catalog, CATALOG_TABLE_KV, take_value, &rows, err);
    mutex_unlock(&catalog->lock);
    for (size_t at = 0; code == NX_OK && at < rows.len;) {
        uint32_t key_bytes = load_u32(rows.data + at), value_bytes = load_u32(rows.data + at + 4);
        const char *key = (const char *)rows.data + at + 8;
        code = each(context, key,
                    (struct nx_bytes){rows.data + at + 8 + key_bytes + 1, value_bytes}, err);
        at += 8 + (size_t)key_bytes + 1 + value_bytes;
    }
    nx_buf_deinit(&rows);
    return code;
}

/* ---- copy ---- */

nx_code catalog_copy(struct catalog *catalog, const char *path, struct nx_err *err)
{
    mutex_lock(&catalog->lock);
    nx_code code = catalog_ready_locked(catalog, err);
    if (code == NX_OK) {
        int status = mdb_env_copy2(catalog->env, path, MDB_CP_COMPACT);
        if (status != 0)
            code = catalog_failed(err, status, "copy");
    }
    mutex_unlock(&catalog->lock);
    if (code != NX_OK)
        return code;
    int fd = -1;
    const struct io *io = io_real();
    code = io->open(io, path, O_RDONLY, 0, &fd, err);
    if (code != NX_OK)
        return code;
    code = io->fsync(io, fd, err);
    struct nx_err ignored;
    nx_ignore(io->close(io, fd, &ignored));
    return code;
}
