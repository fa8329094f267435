/* log.h - logfmt lines on stderr: ts=... level=... area=... msg="..." key=value ...
 *
 * `msg` is short and constant; what varies goes into the pairs, with the unit in the key (bytes, ms, count).
 * Layers base to promql never log above debug: they return errors, and the edge logs once.
 *
 *   log_info("store", "opened", LOG_STR("path", path), LOG_INT("blocks", count));
 */
#pragma once

#include "narthex/base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
};

struct log_field {
    const char *key;
    enum {
        LOG_FIELD_STR,
        LOG_FIELD_INT,
        LOG_FIELD_UINT,
        LOG_FIELD_FLOAT,
    } kind;
    union {
        struct nx_str str;
        int64_t i;
        uint64_t u;
        double f;
    } value;
};

#define LOG_STR(k, v)                                                                              \
 ((struct log_field){.key = (k), .kind = LOG_FIELD_STR, .value.str = nx_str_from(v)})
#define LOG_VIEW(k, v)  ((struct log_field){.key = (k), .kind = LOG_FIELD_STR, .value.str = (v)})
#define LOG_INT(k, v)   ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .value.i = (v)})
#define LOG_UINT(k, v)  ((struct log_field){.key = (k), .kind = LOG_FIELD_UINT, .value.u = (v)})
#define LOG_FLOAT(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_FLOAT, .value.f = (v)})

void log_set_level(enum log_level level);
bool log_level_parse(struct nx_str text, enum log_level *out_level);
void log_set_fd(int fd); /* default 2 */

/* One write(2) per line; a key or value that needs it is quoted. */
void log_event(enum log_level level, const char *area, const char *msg,
               const struct log_field *fields, size_t field_count);
bool log_is_on(enum log_level level);

#define LOG_AT(level, area, msg, ...)                                                              \
 do {                                                                                              \
  if (log_is_on(level)) {                                                                          \
   const struct log_field log_fields_[] = {{.key = NULL}, ##__VA_ARGS__};                          \
   log_event(level, area, msg, log_fields_ + 1, sizeof(log_fields_) / sizeof(log_fields_[0]) - 1); \
  }                                                                                                \
 } while (0)
#define log_debug(area, msg, ...) LOG_AT(LOG_LEVEL_DEBUG, area, msg, ##__VA_ARGS__)
#define log_info(area, msg, ...)  LOG_AT(LOG_LEVEL_INFO, area, msg, ##__VA_ARGS__)
#define log_warn(area, msg, ...)  LOG_AT(LOG_LEVEL_WARN, area, msg, ##__VA_ARGS__)
#define log_error(area, msg, ...) LOG_AT(LOG_LEVEL_ERROR, area, msg, ##__VA_ARGS__)
