/* metadata.h - what is known of a metric family: its type, help and unit (prometheus.MetricMetadata). */
#pragma once

#include "narthex/base/str.h"

#include <stdint.h>

enum metric_type { /* the numbers of the wire */
                   METRIC_TYPE_UNKNOWN = 0,
                   METRIC_TYPE_COUNTER = 1,
                   METRIC_TYPE_GAUGE = 2,
                   METRIC_TYPE_HISTOGRAM = 3,
                   METRIC_TYPE_GAUGE_HISTOGRAM = 4,
                   METRIC_TYPE_SUMMARY = 5,
                   METRIC_TYPE_INFO = 6,
                   METRIC_TYPE_STATE_SET = 7,
                   METRIC_TYPE_COUNT,
};

/* Borrowed texts. */
struct metric_metadata {
    struct nx_str family;
    enum metric_type type;
    struct nx_str help;
    struct nx_str unit;
};

/* "unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset": as in the API. */
const char *metric_type_text(enum metric_type type);
