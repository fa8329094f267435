/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - logfmt lines.
 *
 * A line is built in memory and written by one write(2), which the kernel keeps whole on pipes (up to PIPE_BUF) and
 * files opened for append. When the log cannot be written there is nobody to tell, and the line is lost.
 */
#include "narthex/base/log.h"

#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/base/clock.h"
#include "narthex/base/float_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define LOG_VALUE_BYTES_MAX 4096 /* chosen: a value from a client cannot fill the disk */

static _Atomic int log_level_now = LOG_LEVEL_INFO;
static _Atomic int log_fd = STDERR_FILENO;

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error",
};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

bool log_level_parse(struct nx_str text, enum log_level *out_level)
{
    for (size_t i = 0; i < NX_ARRAY_LEN(level_names); i++) {
        if (nx_str_eq(text, nx_str_from(level_names[i]))) {
            *out_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_fd(int fd)
{
    atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

static bool needs_quotes(struct nx_str text)
{
    if (text.len == 0)
        return true;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return true;
    }
    return !nx_utf8_is_valid(text);
}

static void append_escaped(struct nx_buf *line, struct nx_str text)
{
    bool is_utf8 = nx_utf8_is_valid(text);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\') {
            nx_buf_append_byte(line, '\\');
            nx_buf_append_byte(line, c);
        } else if (c == '\n') {
            nx_buf_append_cstr(line, "\\n");
        } else if (c == '\r') {
            nx_buf_append_cstr(line, "\\r");
        } else if (c == '\t') {
            nx_buf_append_cstr(line, "\\t");
        } else if (c < ' ' || c == 0x7f || (c >= 0x80 && !is_utf8)) {
            nx_buf_printf(line, "\\x%02x", c);
        } else {
            nx_buf_append_byte(line, c);
        }
    }
}

static void append_text(struct nx_buf *line, struct nx_str text)
{
    bool is_cut = text.len > LOG_VALUE_BYTES_MAX;
    if (is_cut)
        text.len = LOG_VALUE_BYTES_MAX;
    while (is_cut && text.len > 0 && ((unsigned char)text.data[text.len] & 0xc0) == 0x80)
        text.len--;
    if (!needs_quotes(text) && !is_cut) {
        nx_buf_append_str(line, text);
        return;
    }
    nx_buf_append_byte(line, '"');
    append_escaped(line, text);
    nx_buf_append_cstr(line, is_cut ? "...\"" : "\"");
}

static void append_field(struct nx_buf *line, const struct log_field *field)
{
    nx_buf_append_byte(line, ' ');
    nx_buf_append_cstr(line, field->key);
    nx_buf_append_byte(line, '=');
    switch (field->kind) {
    case LOG_FIELD_STR:
        append_text(line, field->value.str);
        return;
    case LOG_FIELD_INT:
        nx_buf_printf(line, "%" PRId64, field->value.i);
        return;
    case LOG_FIELD_UINT:
        nx_buf_printf(line, "%" PRIu64, field->value.u);
        return;
    case LOG_FIELD_FLOAT: {
        char text[FLOAT_TEXT_MAX];
        nx_buf_append(line, text, float_text_g(text, field->value.f));
        return;
    }
    }
}

static void append_time(struct nx_buf *line)
{
    int64_t now_ms = clock_wall_ms(clock_real());
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    NX_ASSERT(gmtime_r(&seconds, &utc) != NULL);
    nx_buf_printf(line, "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
                  utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                  (int)(now_ms % 1000));
}

void log_event(enum log_level level, const char *area, const char *msg,
               const struct log_field *fields, size_t field_count)
{
    if (!log_is_on(level))
        return;
    int errno_before = errno;
    struct nx_buf line = {0};
    nx_buf_reserve(&line, 512);
    append_time(&line);
    nx_buf_printf(&line, " level=%s area=%s msg=\"", level_names[level], area);
    append_escaped(&line, nx_str_from(msg));
    nx_buf_append_byte(&line, '"');
    for (size_t i = 0; i < field_count; i++)
        append_field(&line, &fields[i]);
    nx_buf_append_byte(&line, '\n');
    int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
    ssize_t put;
    do {
        put = write(fd, line.data, line.len);
    } while (put < 0 && errno == EINTR);
    nx_buf_deinit(&line);
    errno = errno_before;
}
