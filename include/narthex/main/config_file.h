/* config_file.h - the YAML file of --config.file, in Prometheus' keys.
 *
 *   global:
 *     evaluation_interval: 1m          default step of subqueries
 *   storage:
 *     tsdb:
 *       retention:
 *         time: 90d                    the flag wins when both are given
 *         size: 500GB                  likewise
 *
 * Unknown keys are errors that name file, line and column.
 */
#pragma once

#include "narthex/base/err.h"

#include <stdint.h>

struct config_file {
    int64_t evaluation_interval_ms; /* 0: not set */
    int64_t retention_ms;           /* 0: not set */
    int64_t retention_bytes;        /* 0: not set */
};

NX_NODISCARD nx_code config_file_read(const char *path, struct config_file *out,
                                      struct nx_err *err);
