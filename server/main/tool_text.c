/* SPDX-License-Identifier: Apache-2.0
 *
 * tool_text.c - numbers, times and tables as people read them, on stdout.
 */
#include "narthex/base/assert.h"

#include "command_storage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TABLE_COLUMNS_MAX 16

int tool_failed(const struct nx_err *err)
{
    fprintf(stderr, "narthex: %s\n", err->msg);
    return TOOL_FAILED;
}

int tool_error(const struct nx_err *err)
{
    int status = tool_failed(err);
    return err->code == NX_E_INVALID ? TOOL_USAGE : status;
}

void put_time(struct nx_buf *out, int64_t time_ms)
{
    int64_t seconds = time_ms >= 0 ? time_ms / 1000 : -((999 - time_ms) / 1000);
    time_t whole = (time_t)seconds;
    struct tm utc;
    if (gmtime_r(&whole, &utc) == NULL) {
        nx_buf_printf(out, "%" PRId64 " ms", time_ms);
        return;
    }
    nx_buf_printf(out, "%04d-%02d-%02d %02d:%02d:%02d.%03d", utc.tm_year + 1900, utc.tm_mon + 1,
                  utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                  (int)(time_ms - seconds * 1000));
}

void put_bytes(struct nx_buf *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit + 1 < NX_ARRAY_LEN(units)) {
        value /= 1024;
        unit++;
    }
    nx_buf_printf(out, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
}

void put_count(struct nx_buf *out, uint64_t count)
{
    char digits[32];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, count);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            nx_buf_append_byte(out, ',');
        nx_buf_append_byte(out, (uint8_t)digits[i]);
    }
}

/* ---- tables ---- */

void table_begin(struct table_text *table, const char *rights)
{
    *table = (struct table_text){.columns = strlen(rights), .rights = rights};
    NX_ASSERT(table->columns <= TABLE_COLUMNS_MAX);
}

struct nx_buf *table_cell(struct table_text *table)
{
    return &table->cells;
}

void table_cell_end(struct table_text *table)
{
    nx_buf_append_byte(&table->cells, 0);
    table->count++;
}

void table_put(struct table_text *table, const char *text)
{
    nx_buf_append_cstr(&table->cells, text);
    table_cell_end(table);
}

void table_put_time(struct table_text *table, int64_t time_ms)
{
    put_time(table_cell(table), time_ms);
    table_cell_end(table);
}

void table_put_bytes(struct table_text *table, uint64_t bytes)
{
    put_bytes(table_cell(table), bytes);
    table_cell_end(table);
}

void table_put_count(struct table_text *table, uint64_t count)
{
    put_count(table_cell(table), count);
    table_cell_end(table);
}

static void table_widths(const struct table_text *table, size_t widths[TABLE_COLUMNS_MAX])
{
    const char *at = (const char *)table->cells.data;
    for (size_t i = 0; i < table->count; i++) {
        size_t length = strlen(at);
        if (length > widths[i % table->columns])
            widths[i % table->columns] = length;
        at += length + 1;
    }
}

void table_print(struct table_text *table, const char *indent)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    table_widths(table, widths);
    const char *at = (const char *)table->cells.data;
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        size_t length = strlen(at);
        bool is_last = column + 1 == table->columns;
        int pad = (int)(widths[column] - length);
        fputs(column == 0 ? indent : "  ", stdout);
        if (table->rights[column] == 'r')
            printf("%*s%s", pad, "", at);
        else
            printf("%s%*s", at, is_last ? 0 : pad, "");
        if (is_last)
            fputc('\n', stdout);
        at += length + 1;
    }
    nx_buf_deinit(&table->cells);
}
