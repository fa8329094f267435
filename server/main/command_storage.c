/* SPDX-License-Identifier: Apache-2.0
 *
 * command_storage.c - narthex storage verify|list|analyze|dump|repair|restore: looking after a data directory.
 *
 * The work is the storage layer's (inspect_dir.h, repair.h); here are flags, tables and exit statuses.
 */
#include "command_storage.h"

#include "narthex/base/assert.h"
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/codec/json_write.h"
#include "narthex/main/commands.h"
#include "narthex/storage/data_dir.h"
#include "narthex/storage/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- verify ---- */

enum verify_option {
    VERIFY_JSON,
};

struct verify_output {
    bool is_json;
    struct nx_buf damages, notes; /* JSON objects */
};

/* A line at once, or an object in `out` for later. */
static void put_finding(const struct verify_output *output, struct nx_buf *out, const char *kind,
                        const char *file, const char *what)
{
    if (!output->is_json) {
        printf("%-8s %s: %s\n", kind, file, what);
        return;
    }
    if (out->len > 0)
        nx_buf_append_byte(out, ',');
    nx_buf_append_cstr(out, "{\"file\":");
    json_string(out, nx_str_from(file));
    nx_buf_append_cstr(out, ",\"what\":");
    json_string(out, nx_str_from(what));
    nx_buf_append_byte(out, '}');
}

static void verify_damage(void *context, const char *file, const char *what)
{
    struct verify_output *output = context;
    put_finding(output, &output->damages, "DAMAGED", file, what);
}

static void verify_note(void *context, const char *file, const char *what)
{
    struct verify_output *output = context;
    put_finding(output, &output->notes, "note", file, what);
}

static void print_verified(const struct verify_result *result)
{
    struct nx_buf text = {0};
    nx_buf_append_cstr(&text, "blocks   ");
    put_count(&text, result->blocks);
    nx_buf_append_cstr(&text, " (");
    put_bytes(&text, result->block_bytes);
    nx_buf_append_cstr(&text, "), series ");
    put_count(&text, result->series);
    nx_buf_append_cstr(&text, ", samples ");
    put_count(&text, result->samples);
    nx_buf_append_cstr(&text, "\njournal  ");
    put_count(&text, result->journal.files);
    nx_buf_append_cstr(&text, " segments (");
    put_bytes(&text, result->journal.bytes);
    nx_buf_append_cstr(&text, "), commits not in a block ");
    put_count(&text, result->journal.replayed.commits);
    nx_buf_append_cstr(&text, ", samples ");
    put_count(&text, result->journal.replayed.samples);
    nx_buf_printf(&text, "%s\n",
                  result->journal.replayed.has_torn_tail ? ", torn tail (never acknowledged)" : "");
    fwrite(text.data, 1, text.len, stdout);
    nx_buf_deinit(&text);
    if (result->quarantined > 0)
        printf("aside    %" PRIu64 " in quarantine/\n", result->quarantined);
    if (result->damages == 0)
        printf("fine     everything verifies\n");
    else
        printf("damages  %" PRIu64 ", series with unreadable samples %" PRIu64 "\n",
               result->damages, result->hurt_series);
}

static void print_verified_json(const struct verify_output *output,
                                const struct verify_result *result)
{
    printf("{\"blocks\":%" PRIu64 ",\"blockBytes\":%" PRIu64 ",\"series\":%" PRIu64
           ",\"samples\":%" PRIu64 ",\"journalSegments\":%" PRIu64 ",\"journalCommits\":%" PRIu64
           ",\"journalSamples\":%" PRIu64 ",\"hasTornTail\":%s,\"quarantined\":%" PRIu64
           ",\"hurtSeries\":%" PRIu64 ",\"damages\":[%.*s],\"notes\":[%.*s]}\n",
           result->blocks, result->block_bytes, result->series, result->samples,
           result->journal.files, result->journal.replayed.commits,
           result->journal.replayed.samples,
           result->journal.replayed.has_torn_tail ? "true" : "false", result->quarantined,
           result->hurt_series, (int)output->damages.len, (const char *)output->damages.data,
           (int)output->notes.len, (const char *)output->notes.data);
}

/* The checks and the lock that tools for a stopped directory begin with. */
static nx_code open_stopped(const char *dir, struct data_dir_lock *lock, struct nx_err *err)
{
    *lock = DATA_DIR_LOCK_NONE;
    nx_code code = data_dir_check(dir, err);
    return code == NX_OK ? data_dir_lock(lock, dir, err) : code;
}

static int run_verify(const struct config *config, char **arguments)
{
    struct verify_output output = {.is_json = config->values[VERIFY_JSON].number != 0};
    const struct verify_report report = {&output, verify_damage, verify_note};
    struct verify_result result;
    struct data_dir_lock lock;
    struct nx_err err;
    nx_code code = open_stopped(arguments[0], &lock, &err);
    if (code == NX_OK)
        code = dir_verify(arguments[0], &report, &result, &err);
    data_dir_unlock(&lock);
    if (code == NX_OK && output.is_json)
        print_verified_json(&output, &result);
    else if (code == NX_OK)
        print_verified(&result);
    nx_buf_deinit(&output.damages);
    nx_buf_deinit(&output.notes);
    if (code != NX_OK)
        return tool_error(&err);
    return result.damages == 0 ? TOOL_FINE : TOOL_FAILED;
}

/* ---- list ---- */

enum list_option {
    LIST_JSON,
};

static void put_block_row(struct table_text *table, const struct dir_block *block)
{
    const struct block_meta *meta = &block->meta;
    uint64_t bytes = meta->index_bytes + meta->chunks_bytes;
    table_put(table, block->ulid);
    table_put(table, dir_block_state_name(block->state));
    nx_buf_printf(table_cell(table), "%u", meta->level);
    table_cell_end(table);
    table_put_time(table, meta->min_time_ms);
    table_put_time(table, meta->max_time_ms);
    table_put_count(table, meta->series_count);
    table_put_count(table, meta->sample_count);
    table_put_bytes(table, bytes);
    nx_buf_printf(table_cell(table), "%.3f", (double)bytes / (double)meta->sample_count);
    table_cell_end(table);
    nx_buf_printf(table_cell(table), "%u", meta->source_count);
    table_cell_end(table);
    nx_buf_printf(table_cell(table), "%" PRIu64, block->tombstones);
    table_cell_end(table);
    table_put_count(table, block->tombstone_series);
}

static void print_list(const struct dir_blocks *blocks)
{
    static const char *const heads[] = {"ULID",         "STATE",   "LEVEL",   "FROM (UTC)",
                                        "TO",           "SERIES",  "SAMPLES", "SIZE",
                                        "BYTES/SAMPLE", "SOURCES", "DELETES", "SERIES NAMED"};
    struct table_text table;
    uint64_t bytes = 0, samples = 0, live = 0;
    table_begin(&table, "llrllrrrrrrr");
    for (size_t i = 0; i < NX_ARRAY_LEN(heads); i++)
        table_put(&table, heads[i]);
    for (size_t i = 0; i < blocks->count; i++) {
        const struct dir_block *block = &blocks->items[i];
        if (!block->has_meta)
            continue;
        put_block_row(&table, block);
        if (block->state != DIR_BLOCK_LIVE)
            continue;
        live++;
        bytes += block->meta.index_bytes + block->meta.chunks_bytes;
        samples += block->meta.sample_count;
    }
    table_print(&table, "");
    for (size_t i = 0; i < blocks->count; i++)
        if (!blocks->items[i].has_meta)
            printf("%s  %s  %s\n", blocks->items[i].ulid,
                   dir_block_state_name(blocks->items[i].state),
                   blocks->items[i].state == DIR_BLOCK_MISSING ? "its directory is gone"
                                                               : blocks->items[i].why);
    struct nx_buf text = {0};
    put_count(&text, live);
    nx_buf_append_cstr(&text, " live blocks, ");
    put_bytes(&text, bytes);
    nx_buf_append_cstr(&text, ", ");
    put_count(&text, samples);
    nx_buf_printf(&text, " samples, %.3f bytes per sample\n",
                  samples == 0 ? 0.0 : (double)bytes / (double)samples);
    fwrite(text.data, 1, text.len, stdout);
    nx_buf_deinit(&text);
}

static void print_list_json(const struct dir_blocks *blocks)
{
    printf("[");
    for (size_t i = 0; i < blocks->count; i++) {
        const struct dir_block *block = &blocks->items[i];
        const struct block_meta *meta = &block->meta;
        printf(
            "%s{\"ulid\":\"%s\",\"state\":\"%s\",\"verifies\":%s,\"level\":%u,\"minTimeMs\":%" PRId64
            ",\"maxTimeMs\":%" PRId64 ",\"series\":%" PRIu64 ",\"samples\":%" PRIu64
            ",\"chunks\":%" PRIu64 ",\"indexBytes\":%" PRIu64 ",\"chunksBytes\":%" PRIu64
            ",\"commitMin\":%" PRIu64 ",\"commitMax\":%" PRIu64
            ",\"sources\":%u,\"histograms\":%" PRIu64 ",\"exemplars\":%" PRIu64
            ",\"tombstones\":%" PRIu64 ",\"tombstoneSeries\":%" PRIu64 "}",
            i == 0 ? "" : ",\n ", block->ulid, dir_block_state_name(block->state),
            block->has_meta ? "true" : "false", meta->level, meta->min_time_ms, meta->max_time_ms,
            meta->series_count, meta->sample_count, meta->chunk_count, meta->index_bytes,
            meta->chunks_bytes, meta->commit_min, meta->commit_max, meta->source_count,
            meta->histogram_count, meta->exemplar_count, block->tombstones,
            block->tombstone_series);
    }
    printf("]\n");
}

static int run_list(const struct config *config, char **arguments)
{
    struct dir_blocks blocks;
    struct nx_err err;
    if (dir_blocks_read(arguments[0], true, &blocks, &err) != NX_OK)
        return tool_error(&err);
    if (config->values[LIST_JSON].number != 0)
        print_list_json(&blocks);
    else
        print_list(&blocks);
    bool is_fine = blocks.catalog_damage[0] == '\0';
    if (!is_fine)
        fprintf(stderr, "narthex: catalog.mdb cannot be read, so nobody knows what is live: %s\n",
                blocks.catalog_damage);
    for (size_t i = 0; i < blocks.count; i++)
        is_fine = is_fine && blocks.items[i].has_meta;
    dir_blocks_deinit(&blocks);
    return is_fine ? TOOL_FINE : TOOL_FAILED;
}

/* ---- repair ---- */

enum repair_option {
    REPAIR_DRY_RUN,
    REPAIR_TAKE_BACK,
};

static void repair_did(void *context, const char *text)
{
    (void)context;
    printf("%s\n", text);
}

static void repair_lost(void *context, const char *text)
{
    (void)context;
    printf("LOST  %s\n", text);
}

static int run_repair(const struct config *config, char **arguments)
{
    const struct repair_options options = {
        .is_dry_run = config->values[REPAIR_DRY_RUN].number != 0,
        .takes_back = config->values[REPAIR_TAKE_BACK].number != 0,
    };
    const struct repair_report report = {NULL, repair_did, repair_lost};
    struct repair_result result;
    struct data_dir_lock lock;
    struct nx_err err;
    nx_code code = open_stopped(arguments[0], &lock, &err);
    if (code == NX_OK)
        code = dir_repair(arguments[0], &options, &report, &result, &err);
    data_dir_unlock(&lock);
    if (code != NX_OK)
        return tool_error(&err);
    if (!result.has_changed)
        printf("nothing to repair: %" PRIu64 " live blocks\n", result.live);
    else
        printf("%s: %" PRIu64 " live blocks, %" PRIu64 " set aside, %" PRIu64 " taken back\n",
               options.is_dry_run ? "dry run, nothing was changed" : "repaired", result.live,
               result.set_aside, result.taken_back);
    return result.losses == 0 ? TOOL_FINE : TOOL_FAILED;
}

/* ---- restore ---- */

static int run_restore(const struct config *config, char **arguments)
{
    (void)config;
    struct verify_output output = {0};
    const struct verify_report report = {&output, verify_damage, verify_note};
    struct restore_result result;
    struct data_dir_lock lock;
    struct nx_err err;
    nx_code code = open_stopped(arguments[0], &lock, &err);
    if (code == NX_OK)
        code = dir_restore(arguments[0], arguments[1], &report, &result, &err);
    data_dir_unlock(&lock);
    if (code != NX_OK)
        return tool_error(&err);
    struct nx_buf text = {0};
    nx_buf_printf(&text, "restored into %s: ", arguments[1]);
    put_bytes(&text, result.bytes);
    nx_buf_append_cstr(&text, " copied, ");
    put_count(&text, result.blocks);
    nx_buf_append_cstr(&text, " blocks with ");
    put_count(&text, result.verified.samples);
    nx_buf_append_cstr(&text, " samples, ");
    put_count(&text, result.journal_samples);
    nx_buf_append_cstr(&text, " more in the journal\n");
    fwrite(text.data, 1, text.len, stdout);
    nx_buf_deinit(&text);
    return TOOL_FINE;
}

/* ---- the tools ---- */

#define HELP_OPTION                                                                                \
 {                                                                                                 \
  "help", CONFIG_BOOL, "false", 0, 0, "", "Print this text and exit.", false                       \
 }

static const struct config_option verify_options[] = {
    {"json", CONFIG_BOOL, "false", 0, 0, "", "One JSON object instead of lines.", false},
    HELP_OPTION,
};
static const struct config_option list_options[] = {
    {"json", CONFIG_BOOL, "false", 0, 0, "", "A JSON array instead of a table.", false},
    HELP_OPTION,
};
static const struct config_option analyze_options[] = {
    {"block", CONFIG_STRING, "", 0, 0, "ULID", "Only this block.", false},
    {"limit", CONFIG_INT, "20", 1, 100000, "N", "Rows of each table.", false},
    HELP_OPTION,
};
static const struct config_option dump_options[] = {
    {"match", CONFIG_STRING, "", 0, 0, "SELECTOR", "Only series of this selector.", false},
    {"min-time", CONFIG_STRING, "", 0, 0, "MS", "Only samples from this time on, in ms.", false},
    {"max-time", CONFIG_STRING, "", 0, 0, "MS", "Only samples up to this time, in ms.", false},
    HELP_OPTION,
};
static const struct config_option repair_options_table[] = {
    {"dry-run", CONFIG_BOOL, "false", 0, 0, "", "Say what would be done, change nothing.", false},
    {"take-back", CONFIG_BOOL, "false", 0, 0, "",
     "Blocks in quarantine/ that verify and that no live block replaces become live again.", false},
    HELP_OPTION,
};
static const struct config_option restore_options[] = {HELP_OPTION};

static const struct tool tools[] = {
    {"verify", "DIR",
     "Checks every byte of a stopped data directory: catalog, every block (each sample is decoded),\n"
     "journal, and lists what was set aside. Changes nothing. Exit 1 when something is damaged.\n",
     verify_options, NX_ARRAY_LEN(verify_options), 1, run_verify},
    {"list", "DIR",
     "The blocks of a data directory, also beside a running server. Tells what block.meta says; use\n"
     "verify to check all of them.\n",
     list_options, NX_ARRAY_LEN(list_options), 1, run_list},
    {"analyze", "DIR",
     "Where the bytes of the live blocks go: by codec, metric and part of the index; which labels and\n"
     "metrics have most series. Also beside a running server. Reads every block.\n",
     analyze_options, NX_ARRAY_LEN(analyze_options), 1, storage_analyze},
    {"dump", "DIR",
     "Every sample of a stopped data directory, journal included, one line each, series in label order:\n"
     "    name{label=\"value\"} VALUE TIME_MS\n"
     "VALUE reads back to the same 64 bits; NaNs are written with theirs: NaN(0x7ff8000000000001), stale\n"
     "markers are NaN(0x7ff0000000000002); native histograms are histogram(...). Changes nothing.\n",
     dump_options, NX_ARRAY_LEN(dump_options), 1, storage_dump},
    {"repair", "DIR",
     "Makes a stopped data directory usable again: writes the catalog anew from the blocks when it is\n"
     "damaged, missing or wrong, and moves blocks that cannot be served to quarantine/. Deletes nothing;\n"
     "exit 1 when samples are lost or cannot be read. A block with damaged samples and a good index stays.\n",
     repair_options_table, NX_ARRAY_LEN(repair_options_table), 1, run_repair},
    {"restore", "SNAPSHOT DIR",
     "Verifies a snapshot (<data>/snapshots/<name>, or a copy of it) wholly, copies it into DIR, which\n"
     "must be absent or empty, and opens the copy. The snapshot stays as it is.\n",
     restore_options, NX_ARRAY_LEN(restore_options), 2, run_restore},
};

static void print_tool_help(const struct tool *tool)
{
    struct nx_buf text = {0};
    nx_buf_printf(&text, "usage: narthex storage %s %s [<flags>]\n\n%s\n", tool->name,
                  tool->arguments, tool->about);
    config_help(tool->options, tool->option_count, &text);
    fwrite(text.data, 1, text.len, stdout);
    nx_buf_deinit(&text);
}

static void print_usage(FILE *to)
{
    fprintf(to, "usage: narthex storage verify|list|analyze|dump|repair|restore DIR [<flags>]\n\n"
                "Tools for a data directory; --help behind each tells more.\n");
}

static const struct config_option *find_option(const struct tool *tool, const char *argument)
{
    for (size_t i = 0; i < tool->option_count; i++)
        if (strcmp(argument + 2, tool->options[i].name) == 0)
            return &tool->options[i];
    return NULL;
}

/* Flags may stand before and behind the arguments; config_init wants them first. */
static char **flags_first(const struct tool *tool, int argc, char **argv, int *out_flags)
{
    char **sorted = nx_calloc((size_t)argc + 2, sizeof(*sorted));
    int flags = 0, rest = 0;
    char **others = nx_calloc((size_t)argc + 1, sizeof(*others));
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            others[rest++] = argv[i];
            continue;
        }
        sorted[++flags] = argv[i];
        bool has_name_only = argv[i][1] == '-' && strchr(argv[i], '=') == NULL;
        const struct config_option *option = has_name_only ? find_option(tool, argv[i]) : NULL;
        if (option != NULL && option->kind != CONFIG_BOOL && i + 1 < argc)
            sorted[++flags] = argv[++i];
    }
    for (int i = 0; i < rest; i++)
        sorted[flags + 1 + i] = others[i];
    nx_free(others);
    *out_flags = flags + 1;
    return sorted;
}

static int run_tool(const struct tool *tool, int argc, char **argv)
{
    struct config config = {0};
    struct nx_err err;
    int flags, rest, status;
    char **sorted = flags_first(tool, argc, argv, &flags);
    sorted[0] = argv[-1];
    if (config_init(&config, tool->options, tool->option_count, argc + 1, sorted, &rest, &err) !=
        NX_OK) {
        status = tool_error(&err);
    } else if (config.values[tool->option_count - 1].number != 0) {
        print_tool_help(tool);
        status = TOOL_FINE;
    } else if ((size_t)(argc + 1 - rest) != tool->argument_count) {
        fprintf(stderr, "usage: narthex storage %s %s [<flags>]; --help tells more\n", tool->name,
                tool->arguments);
        status = TOOL_USAGE;
    } else {
        status = tool->run(&config, sorted + rest);
    }
    config_deinit(&config);
    nx_free(sorted);
    if (fflush(stdout) != 0 && status == TOOL_FINE) {
        fprintf(stderr, "narthex: the output could not be written\n");
        status = TOOL_FAILED;
    }
    return status;
}

int command_storage(int argc, char **argv)
{
    hash_secret_init();
    if (argc == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        print_usage(argc == 0 ? stderr : stdout);
        return argc == 0 ? TOOL_USAGE : TOOL_FINE;
    }
    for (size_t i = 0; i < NX_ARRAY_LEN(tools); i++)
        if (strcmp(argv[0], tools[i].name) == 0)
            return run_tool(&tools[i], argc - 1, argv + 1);
    fprintf(stderr,
            "narthex: storage knows no \"%.100s\"; verify, list, analyze, dump, repair, restore\n",
            argv[0]);
    return TOOL_USAGE;
}
