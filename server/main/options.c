/* SPDX-License-Identifier: Apache-2.0
 *
 * options.c - the table of flags.
 */
#include "narthex/main/options.h"

const struct config_option options_table[OPTION_COUNT] = {
#define OPTION(id, option_name, option_kind, text, smallest, largest, value, repeatable,           \
               option_help)                                                                        \
 [OPTION_##id] = {.name = (option_name),                                                           \
                  .kind = (option_kind),                                                           \
                  .default_text = (text),                                                          \
                  .min = (smallest),                                                               \
                  .max = (largest),                                                                \
                  .value_name = (value),                                                           \
                  .help = (option_help),                                                           \
                  .is_repeatable = (repeatable)},
#include "narthex/main/options.def"
#undef OPTION
};
