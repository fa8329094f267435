/* SPDX-License-Identifier: Apache-2.0 */
/* metadata.c - the names of metric types. */
#include "narthex/model/metadata.h"

const char *metric_type_text(enum metric_type type)
{
    switch (type) {
    case METRIC_TYPE_COUNTER:
        return "counter";
    case METRIC_TYPE_GAUGE:
        return "gauge";
    case METRIC_TYPE_HISTOGRAM:
        return "histogram";
    case METRIC_TYPE_GAUGE_HISTOGRAM:
        return "gaugehistogram";
    case METRIC_TYPE_SUMMARY:
        return "summary";
    case METRIC_TYPE_INFO:
        return "info";
    case METRIC_TYPE_STATE_SET:
        return "stateset";
    case METRIC_TYPE_UNKNOWN:
    case METRIC_TYPE_COUNT:
        break;
    }
    return "unknown";
}
