/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - options: reading them, and printing them for --help. */
#include "narthex/base/config.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HELP_COLUMNS     80
#define HELP_TEXT_COLUMN 33 /* as the help of Prometheus */

static nx_code parse_bool(struct nx_str text, int64_t *out_number, struct nx_err *err)
{
    if (nx_str_eq(text, NX_STR("true")) || nx_str_eq(text, NX_STR("1"))) {
        *out_number = 1;
        return NX_OK;
    }
    if (nx_str_eq(text, NX_STR("false")) || nx_str_eq(text, NX_STR("0"))) {
        *out_number = 0;
        return NX_OK;
    }
    return nx_err_set(err, NX_E_INVALID, "not true or false: \"%.*s\"", NX_STR_ARGS(text));
}

static nx_code parse_number(enum config_kind kind, struct nx_str text, int64_t *out_number,
                            struct nx_err *err)
{
    switch (kind) {
    case CONFIG_STRING:
        *out_number = 0;
        return NX_OK;
    case CONFIG_BOOL:
        return parse_bool(text, out_number, err);
    case CONFIG_INT:
        if (!nx_str_to_i64(text, out_number))
            return nx_err_set(err, NX_E_INVALID, "not a decimal integer: \"%.*s\"",
                              NX_STR_ARGS(text));
        return NX_OK;
    case CONFIG_BYTES:
        return config_parse_bytes(text, out_number, err);
    case CONFIG_DURATION:
        return config_parse_duration_ms(text, out_number, err);
    }
    NX_ASSERT(false);
    return NX_E_INVALID;
}

static void print_bytes(int64_t bytes, struct nx_buf *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t unit = 0;
    while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < NX_ARRAY_LEN(units)) {
        bytes /= 1024;
        unit++;
    }
    nx_buf_printf(out, "%" PRId64 "%s", bytes, units[unit]);
}

static void print_number(enum config_kind kind, int64_t number, struct nx_buf *out)
{
    switch (kind) {
    case CONFIG_STRING:
        return;
    case CONFIG_BOOL:
        nx_buf_append_cstr(out, number != 0 ? "true" : "false");
        return;
    case CONFIG_INT:
        nx_buf_printf(out, "%" PRId64, number);
        return;
    case CONFIG_BYTES:
        print_bytes(number, out);
        return;
    case CONFIG_DURATION:
        config_print_duration(number, out);
        return;
    }
}

static nx_code check_range(const struct config_option *option, int64_t number, struct nx_err *err)
{
    if (option->kind == CONFIG_STRING || option->kind == CONFIG_BOOL)
        return NX_OK;
    if (number >= option->min && number <= option->max)
        return NX_OK;
    struct nx_buf range = {0};
    print_number(option->kind, option->min, &range);
    nx_buf_append_cstr(&range, " to ");
    print_number(option->kind, option->max, &range);
    nx_code code = nx_err_set(err, NX_E_INVALID, "must be from %.*s", (int)range.len,
                              (const char *)range.data);
    nx_buf_deinit(&range);
    return code;
}

nx_code config_set(struct config *config, size_t option, struct nx_str text, struct nx_err *err)
{
    NX_ASSERT(option < config->option_count);
    const struct config_option *row = &config->options[option];
    struct config_value *value = &config->values[option];
    int64_t number;
    nx_code code = parse_number(row->kind, text, &number, err);
    if (code == NX_OK)
        code = check_range(row, number, err);
    if (code != NX_OK)
        return nx_err_wrap(err, "--%s", row->name);
    struct nx_buf canonical = {0};
    if (row->kind == CONFIG_STRING) {
        if (row->is_repeatable && value->is_set)
            nx_buf_printf(&canonical, "%s,", value->text);
        nx_buf_append_str(&canonical, text);
    } else {
        print_number(row->kind, number, &canonical);
    }
    nx_buf_append_byte(&canonical, 0);
    nx_free(value->text);
    *value =
        (struct config_value){.is_set = true, .text = (char *)canonical.data, .number = number};
    return NX_OK;
}

static void set_defaults(struct config *config)
{
    for (size_t i = 0; i < config->option_count; i++) {
        const struct config_option *row = &config->options[i];
        const char *text = row->default_text;
        if (text == NULL) {
            struct nx_buf zero = {0};
            print_number(row->kind, 0, &zero);
            nx_buf_append_byte(&zero, 0);
            config->values[i].text = (char *)zero.data;
            continue;
        }
        struct nx_err err = {0};
        nx_code code = config_set(config, i, nx_str_from(text), &err);
        if (code != NX_OK)
            fprintf(stderr, "default of option %s\n", err.msg);
        NX_ASSERT(code == NX_OK);
        config->values[i].is_set = false;
    }
}

static bool find_option(const struct config *config, struct nx_str name, size_t *out_option)
{
    for (size_t i = 0; i < config->option_count; i++) {
        if (nx_str_eq(name, nx_str_from(config->options[i].name))) {
            *out_option = i;
            return true;
        }
    }
    return false;
}

/* Finds the option of --name or --no-name. */
static nx_code resolve(const struct config *config, struct nx_str name, size_t *out_option,
                       bool *out_negated, struct nx_err *err)
{
    *out_negated = false;
    if (find_option(config, name, out_option))
        return NX_OK;
    if (nx_str_starts_with(name, NX_STR("no-"))) {
        struct nx_str positive = {.data = name.data + 3, .len = name.len - 3};
        if (find_option(config, positive, out_option) &&
            config->options[*out_option].kind == CONFIG_BOOL) {
            *out_negated = true;
            return NX_OK;
        }
    }
    return nx_err_set(err, NX_E_INVALID, "unknown flag --%.*s", NX_STR_ARGS(name));
}

/* Reads the option at argv[*index] and leaves *index at the next argument. */
static nx_code read_option(struct config *config, int argc, char *const *argv, int *index,
                           struct nx_err *err)
{
    struct nx_str argument = nx_str_from(argv[(*index)++]);
    if (nx_str_eq(argument, NX_STR("-h")))
        argument = NX_STR("--help");
    if (!nx_str_starts_with(argument, NX_STR("--")))
        return nx_err_set(err, NX_E_INVALID, "unknown flag %.*s", NX_STR_ARGS(argument));
    struct nx_str name;
    struct nx_str text;
    bool has_text = nx_str_split(
        (struct nx_str){.data = argument.data + 2, .len = argument.len - 2}, '=', &name, &text);
    size_t option = 0;
    bool is_negated = false;
    nx_code code = resolve(config, name, &option, &is_negated, err);
    if (code != NX_OK)
        return code;
    const struct config_option *row = &config->options[option];
    if (config->values[option].is_set && !row->is_repeatable)
        return nx_err_set(err, NX_E_INVALID, "--%s: given twice", row->name);
    if (row->kind == CONFIG_BOOL) {
        if (has_text && is_negated)
            return nx_err_set(err, NX_E_INVALID, "--no-%s: takes no value", row->name);
        if (!has_text)
            text = is_negated ? NX_STR("false") : NX_STR("true");
        return config_set(config, option, text, err);
    }
    if (!has_text) {
        if (*index >= argc)
            return nx_err_set(err, NX_E_INVALID, "--%s: expects a value", row->name);
        text = nx_str_from(argv[(*index)++]);
    }
    return config_set(config, option, text, err);
}

nx_code config_init(struct config *config, const struct config_option *options, size_t option_count,
                    int argc, char *const *argv, int *out_rest, struct nx_err *err)
{
    *config = (struct config){.options = options, .option_count = option_count};
    config->values = nx_calloc(option_count, sizeof(*config->values));
    set_defaults(config);
    int index = 1;
    while (index < argc && argv[index][0] == '-' && argv[index][1] != '\0') {
        if (strcmp(argv[index], "--") == 0) {
            index++;
            break;
        }
        nx_code code = read_option(config, argc, argv, &index, err);
        if (code != NX_OK)
            return code;
    }
    *out_rest = index < argc ? index : argc;
    return NX_OK;
}

void config_deinit(struct config *config)
{
    for (size_t i = 0; config->values != NULL && i < config->option_count; i++)
        nx_free(config->values[i].text);
    nx_free(config->values);
    *config = (struct config){0};
}

/* Wraps `text` between HELP_TEXT_COLUMN and HELP_COLUMNS; the cursor stands at the column. */
static void help_text(const char *text, struct nx_buf *out)
{
    size_t column = HELP_TEXT_COLUMN;
    struct nx_str rest = nx_str_from(text);
    struct nx_str word;
    bool has_more = true;
    while (has_more) {
        has_more = nx_str_split(rest, ' ', &word, &rest);
        if (word.len == 0)
            continue;
        bool is_first = column == HELP_TEXT_COLUMN;
        if (!is_first && column + 1 + word.len > HELP_COLUMNS) {
            nx_buf_printf(out, "\n%*s", HELP_TEXT_COLUMN, "");
            column = HELP_TEXT_COLUMN;
            is_first = true;
        }
        if (!is_first) {
            nx_buf_append_byte(out, ' ');
            column++;
        }
        nx_buf_append_str(out, word);
        column += word.len;
    }
    nx_buf_append_byte(out, '\n');
}

void config_help(const struct config_option *options, size_t option_count, struct nx_buf *out)
{
    struct nx_buf left = {0};
    struct nx_buf right = {0};
    for (size_t i = 0; i < option_count; i++) {
        const struct config_option *row = &options[i];
        nx_buf_reset(&left);
        nx_buf_reset(&right);
        bool is_help = strcmp(row->name, "help") == 0;
        nx_buf_printf(&left, "%s--%s%s", is_help ? "  -h, " : "      ",
                      row->kind == CONFIG_BOOL ? "[no-]" : "", row->name);
        if (row->kind != CONFIG_BOOL)
            nx_buf_printf(&left, "=%s", row->value_name == NULL ? "VALUE" : row->value_name);
        if (row->is_repeatable)
            nx_buf_append_cstr(&left, " ...");
        nx_buf_append_cstr(&right, row->help);
        bool tells_default = row->default_text != NULL && row->default_text[0] != '\0' &&
                             strcmp(row->default_text, "false") != 0;
        if (tells_default)
            nx_buf_printf(&right, " (default %s)", row->default_text);
        nx_buf_append_byte(&right, 0);
        nx_buf_append_str(out, nx_buf_str(&left));
        if (left.len + 2 > HELP_TEXT_COLUMN)
            nx_buf_printf(out, "\n%*s", HELP_TEXT_COLUMN, "");
        else
            nx_buf_printf(out, "%*s", (int)(HELP_TEXT_COLUMN - left.len), "");
        help_text((const char *)right.data, out);
    }
    nx_buf_deinit(&left);
    nx_buf_deinit(&right);
}
