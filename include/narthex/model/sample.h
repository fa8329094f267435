/* sample.h - one measurement: when, in ms since the epoch, and what. */
#pragma once

#include <stdint.h>

struct sample {
    int64_t time_ms;
    double value;
};
