/* command_storage.h - what the files of `narthex storage` share: flags, and text for people. */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/config.h"

/* Exit statuses of all tools. */
enum {
    TOOL_FINE = 0,
    TOOL_FAILED = 1, /* damage was found, something was lost, or it did not work */
    TOOL_USAGE = 2,
};

struct tool {
    const char *name;                    /* "verify" */
    const char *arguments;               /* "DIR" */
    const char *about;                   /* sentences for --help, each line ended */
    const struct config_option *options; /* the last is help */
    size_t option_count;
    size_t argument_count;
    /* `arguments` has argument_count entries. */
    int (*run)(const struct config *config, char **arguments);
};

int tool_failed(const struct nx_err *err); /* "narthex: ...", TOOL_FAILED */
int tool_error(const struct nx_err *err);  /* the same, TOOL_USAGE for NX_E_INVALID */

/* Cells of a table: each call appends one text. */
void put_time(struct nx_buf *out, int64_t time_ms); /* 2026-01-31 23:59:59.999 */
void put_bytes(struct nx_buf *out, uint64_t bytes); /* 1.5 MiB */
void put_count(struct nx_buf *out, uint64_t count); /* 12,345 */

/* A table: cells row by row, columns as wide as their widest; numbers to the right. */
struct table_text {
    struct nx_buf cells; /* texts, each ended by a NUL */
    size_t columns, count;
    const char *rights; /* per column: 'r' or 'l' */
};
void table_begin(struct table_text *table, const char *rights);
struct nx_buf *table_cell(struct table_text *table); /* append the text, then table_cell_end */
void table_cell_end(struct table_text *table);
void table_put(struct table_text *table, const char *text);
void table_put_time(struct table_text *table, int64_t time_ms);
void table_put_bytes(struct table_text *table, uint64_t bytes);
void table_put_count(struct table_text *table, uint64_t count);
void table_print(struct table_text *table, const char *indent); /* to stdout; ends the table */

int storage_dump(const struct config *config, char **arguments);
int storage_analyze(const struct config *config, char **arguments);

enum dump_option {
    DUMP_MATCH,
    DUMP_MIN_TIME,
    DUMP_MAX_TIME,
};
enum analyze_option {
    ANALYZE_BLOCK,
    ANALYZE_LIMIT,
};
