/* options.h - the flags of `narthex` by name; the rows are in options.def. */
#pragma once

#include "narthex/base/config.h"

enum option_id {
#define OPTION(id, name, kind, default_text, min, max, value_name, is_repeatable, help) OPTION_##id,
#include "narthex/main/options.def"
#undef OPTION
    OPTION_COUNT,
};

extern const struct config_option options_table[OPTION_COUNT];

static inline int64_t option_number(const struct config *config, enum option_id id)
{
    return config->values[id].number;
}

static inline const char *option_text(const struct config *config, enum option_id id)
{
    return config->values[id].text;
}
