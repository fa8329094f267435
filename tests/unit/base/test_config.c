/* SPDX-License-Identifier: Apache-2.0 */
/* test_config.c - the command line, and its help. */
#include "narthex/base/config.h"

#include "base_support.h"

#include <string.h>

enum option {
    OPTION_HELP,
    OPTION_PATH,
    OPTION_CACHE,
    OPTION_COUNT,
    OPTION_SIZE,
    OPTION_RETENTION,
    OPTION_FLAGS,
    OPTION_TOTAL,
};

static const struct config_option options[OPTION_TOTAL] = {
    [OPTION_HELP] = {.name = "help", .kind = CONFIG_BOOL, .help = "Show this help."},
    [OPTION_PATH] = {.name = "storage.path",
                     .kind = CONFIG_STRING,
                     .default_text = "data/",
                     .value_name = "DIR",
                     .help = "Base path for all data."},
    [OPTION_CACHE] = {.name = "cache",
                      .kind = CONFIG_BOOL,
                      .default_text = "true",
                      .help = "Cache."},
    [OPTION_COUNT] = {.name = "count",
                      .kind = CONFIG_INT,
                      .default_text = "20",
                      .min = 1,
                      .max = 100,
                      .help = "Number of things."},
    [OPTION_SIZE] = {.name = "size",
                     .kind = CONFIG_BYTES,
                     .default_text = "512MB",
                     .min = 0,
                     .max = INT64_MAX,
                     .value_name = "BYTES",
                     .help = "Size."},
    [OPTION_RETENTION] =
        {.name = "storage.retention.time.of.blocks",
         .kind = CONFIG_DURATION,
         .default_text = "15d",
         .min = 1000,
         .max = INT64_MAX,
         .value_name = "DURATION",
         .help = "How long to keep blocks. A block is removed when all of its samples are "
                 "older than this, never a part of it."},
    [OPTION_FLAGS] = {.name = "flag",
                      .kind = CONFIG_STRING,
                      .help = "A flag.",
                      .is_repeatable = true},
};

/* Reads the words of `line`, separated by one space. */
static nx_code read_line(struct config *config, const char *line, int *out_rest, struct nx_err *err)
{
    static char text[512];
    static char *argv[32];
    snprintf(text, sizeof(text), "narthex %s", line);
    int argc = 0;
    char *next = text;
    while (next != NULL && *next != '\0') {
        argv[argc++] = next;
        next = strchr(next, ' ');
        if (next != NULL)
            *next++ = '\0';
    }
    return config_init(config, options, OPTION_TOTAL, argc, argv, out_rest, err);
}

static void test_config_defaults_are_read_like_values(void **state)
{
    (void)state;
    struct config config;
    struct nx_err err = {0};
    int rest = -1;
    assert_int_equal(read_line(&config, "", &rest, &err), NX_OK);
    assert_int_equal(rest, 1);
    assert_string_equal(config.values[OPTION_PATH].text, "data/");
    assert_int_equal(config.values[OPTION_CACHE].number, 1);
    assert_int_equal(config.values[OPTION_HELP].number, 0);
    assert_string_equal(config.values[OPTION_HELP].text, "false");
    assert_int_equal(config.values[OPTION_COUNT].number, 20);
    assert_int_equal(config.values[OPTION_SIZE].number, 512 << 20);
    assert_string_equal(config.values[OPTION_SIZE].text, "512MiB");
    assert_int_equal(config.values[OPTION_RETENTION].number, INT64_C(15) * 86400000);
    assert_string_equal(config.values[OPTION_RETENTION].text, "15d");
    assert_string_equal(config.values[OPTION_FLAGS].text, "");
    for (size_t i = 0; i < OPTION_TOTAL; i++)
        assert_false(config.values[i].is_set);
    config_deinit(&config);
    config_deinit(&config);
}

static void test_config_reads_all_forms(void **state)
{
    (void)state;
    struct config config;
    struct nx_err err = {0};
    int rest = -1;
    assert_int_equal(
        read_line(&config,
                  "--storage.path=/a=b --count 7 --no-cache --help --size=0 "
                  "--storage.retention.time.of.blocks 1h30m --flag=x --flag y rest --count",
                  &rest, &err),
        NX_OK);
    assert_int_equal(rest, 12);
    assert_string_equal(config.values[OPTION_PATH].text, "/a=b");
    assert_true(config.values[OPTION_PATH].is_set);
    assert_int_equal(config.values[OPTION_COUNT].number, 7);
    assert_string_equal(config.values[OPTION_COUNT].text, "7");
    assert_int_equal(config.values[OPTION_CACHE].number, 0);
    assert_true(config.values[OPTION_CACHE].is_set);
    assert_int_equal(config.values[OPTION_HELP].number, 1);
    assert_string_equal(config.values[OPTION_SIZE].text, "0B");
    assert_string_equal(config.values[OPTION_RETENTION].text, "1h30m");
    assert_string_equal(config.values[OPTION_FLAGS].text, "x,y");
    config_deinit(&config);
    assert_int_equal(read_line(&config, "-h --cache=false -- --count", &rest, &err), NX_OK);
    assert_int_equal(rest, 4);
    assert_int_equal(config.values[OPTION_HELP].number, 1);
    assert_int_equal(config.values[OPTION_CACHE].number, 0);
    config_deinit(&config);
    assert_int_equal(read_line(&config, "-", &rest, &err), NX_OK);
    assert_int_equal(rest, 1);
    config_deinit(&config);
}

static void test_config_mistakes_name_the_flag(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"--nothing=1", "unknown flag --nothing"},
        {"--no-count", "unknown flag --no-count"},
        {"-x", "unknown flag -x"},
        {"--count", "--count: expects a value"},
        {"--count=", "--count: not a decimal integer: \"\""},
        {"--count=1x", "--count: not a decimal integer: \"1x\""},
        {"--count=0", "--count: must be from 1 to 100"},
        {"--count=101", "--count: must be from 1 to 100"},
        {"--count=5 --count=6", "--count: given twice"},
        {"--size=12QB", "--size: not a size (number and KB, MB, GB, TB): \"12QB\""},
        {"--storage.retention.time.of.blocks=5ms",
         "--storage.retention.time.of.blocks: must be from 1s to "},
        {"--cache=maybe", "--cache: not true or false: \"maybe\""},
        {"--no-cache=true", "--no-cache: takes no value"},
        {"--storage.path", "--storage.path: expects a value"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config;
        struct nx_err err = {0};
        int rest;
        assert_int_equal(read_line(&config, cases[i][0], &rest, &err), NX_E_INVALID);
        if (!nx_str_starts_with(nx_str_from(err.msg), nx_str_from(cases[i][1])))
            fail_msg("%s: %s", cases[i][0], err.msg);
        config_deinit(&config);
    }
}

static void test_config_set_leaves_a_bad_value_out(void **state)
{
    (void)state;
    struct config config;
    struct nx_err err = {0};
    int rest;
    assert_int_equal(read_line(&config, "--count=9", &rest, &err), NX_OK);
    assert_int_equal(config_set(&config, OPTION_COUNT, NX_STR("1000"), &err), NX_E_INVALID);
    assert_int_equal(config.values[OPTION_COUNT].number, 9);
    assert_string_equal(config.values[OPTION_COUNT].text, "9");
    assert_int_equal(config_set(&config, OPTION_COUNT, NX_STR("10"), &err), NX_OK);
    assert_int_equal(config.values[OPTION_COUNT].number, 10);
    config_deinit(&config);
}

static void test_config_help_has_two_columns_within_eighty(void **state)
{
    (void)state;
    struct nx_buf out = {0};
    config_help(options, OPTION_TOTAL, &out);
    test_assert_str(
        nx_buf_str(&out),
        "  -h, --[no-]help                Show this help.\n"
        "      --storage.path=DIR         Base path for all data. (default data/)\n"
        "      --[no-]cache               Cache. (default true)\n"
        "      --count=VALUE              Number of things. (default 20)\n"
        "      --size=BYTES               Size. (default 512MB)\n"
        "      --storage.retention.time.of.blocks=DURATION\n"
        "                                 How long to keep blocks. A block is removed\n"
        "                                 when all of its samples are older than this,\n"
        "                                 never a part of it. (default 15d)\n"
        "      --flag=VALUE ...           A flag.\n");
    nx_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_defaults_are_read_like_values),
        cmocka_unit_test(test_config_reads_all_forms),
        cmocka_unit_test(test_config_mistakes_name_the_flag),
        cmocka_unit_test(test_config_set_leaves_a_bad_value_out),
        cmocka_unit_test(test_config_help_has_two_columns_within_eighty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
