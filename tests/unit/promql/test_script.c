/* SPDX-License-Identifier: Apache-2.0 */
/* test_script.c - the project's own scripts, the upstream ones where they are at hand, and the runner's honesty.
 *
 * With NARTHEX_CONFORMANCE_DIR set, every script in its promqltest folder is run. What cannot pass yet is listed in
 * tests/promql/known_failures.txt; a failure that is not listed fails the test, and so does a listed eval that passes.
 */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "narthex/base/buf.h"
#include "narthex/base/io.h"
#include "narthex/promql/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KNOWN_FILE NX_TEST_SOURCE_DIR "/tests/promql/known_failures.txt"

struct failures {
    struct nx_buf text; /* "file:line" lines */
    struct nx_buf why;
    size_t count;
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static void note_failure(void *context, const char *path, unsigned line, struct nx_str why)
{
    struct failures *failures = context;
    nx_buf_printf(&failures->text, "%s:%u\n", base_name(path), line);
    nx_buf_printf(&failures->why, "%s:%u: %.*s\n", base_name(path), line, NX_STR_ARGS(why));
    failures->count++;
}

static void failures_deinit(struct failures *failures)
{
    nx_buf_deinit(&failures->text);
    nx_buf_deinit(&failures->why);
}

struct folder {
    const char *path;
    struct failures *failures;
    size_t files;
    size_t passed;
};

static nx_code run_file(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    struct folder *folder = context;
    size_t length = strlen(name);
    if (is_directory || length < 5 || strcmp(name + length - 5, ".test") != 0)
        return NX_OK;
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    struct script_result result;
    nx_code code = script_run(path, note_failure, folder->failures, &result, err);
    if (code != NX_OK)
        return code;
    folder->files++;
    folder->passed += result.passed;
    return NX_OK;
}

static void run_folder(const char *path, struct folder *folder, struct failures *failures)
{
    struct nx_err err = {0};
    *folder = (struct folder){.path = path, .failures = failures};
    if (io_each_entry(io_real(), path, run_file, folder, &err) != NX_OK)
        fail_msg("%s", err.msg);
    print_message("%s: %zu files, %zu passed, %zu failed\n", path, folder->files, folder->passed,
                  failures->count);
}

static void test_own_scripts_pass(void **state)
{
    (void)state;
    struct failures failures = {0};
    struct folder folder;
    run_folder(NX_TEST_SOURCE_DIR "/tests/promql", &folder, &failures);
    if (failures.count > 0)
        print_message("%.*s", NX_STR_ARGS(nx_buf_str(&failures.why)));
    assert_int_equal(failures.count, 0);
    assert_true(folder.files >= 18);
    assert_true(folder.passed >= 330);
    failures_deinit(&failures);
}

/* Whether a line of `text` is `wanted`, or begins with it and a blank. */
static bool has_line(struct nx_str text, struct nx_str wanted)
{
    while (text.len > 0) {
        struct nx_str line;
        struct nx_str rest = {0};
        if (!nx_str_split(text, '\n', &line, &rest))
            rest = (struct nx_str){0};
        text = rest;
        struct nx_str head = line;
        struct nx_str reason;
        nx_str_split(line, ' ', &head, &reason);
        if (nx_str_eq(head, wanted))
            return true;
    }
    return false;
}

/* Counts lines of `text` that `other` lacks, and prints them. Comments and blank lines do not count. */
static size_t count_missing(struct nx_str text, struct nx_str other, const char *what)
{
    size_t missing = 0;
    while (text.len > 0) {
        struct nx_str line;
        struct nx_str rest = {0};
        if (!nx_str_split(text, '\n', &line, &rest))
            rest = (struct nx_str){0};
        text = rest;
        struct nx_str head = line;
        struct nx_str reason;
        nx_str_split(line, ' ', &head, &reason);
        if (head.len == 0 || head.data[0] == '#' || has_line(other, head))
            continue;
        print_message("%s: %.*s\n", what, NX_STR_ARGS(head));
        missing++;
    }
    return missing;
}

static void test_upstream_scripts_fail_only_where_known(void **state)
{
    (void)state;
    const char *conformance = getenv("NARTHEX_CONFORMANCE_DIR");
    if (conformance == NULL) {
        print_message("skipped: NARTHEX_CONFORMANCE_DIR is not set\n");
        skip();
    }
    char path[1024];
    snprintf(path, sizeof(path), "%s/promqltest", conformance);
    if (!io_exists(path)) {
        print_message("skipped: there is no %s\n", path);
        skip();
    }
    struct failures failures = {0};
    struct folder folder;
    struct nx_buf known = {0};
    struct nx_err err = {0};
    run_folder(path, &folder, &failures);
    if (io_read_file(io_real(), KNOWN_FILE, (size_t)1 << 20, &known, &err) != NX_OK)
        fail_msg("%s", err.msg);
    struct nx_str known_text = nx_buf_str(&known);
    struct nx_str failed_text = nx_buf_str(&failures.text);
    size_t unknown = count_missing(failed_text, known_text, "fails, and is not listed");
    size_t fixed = count_missing(known_text, failed_text, "is listed, and passes");
    if (unknown > 0)
        print_message("%.*s", NX_STR_ARGS(nx_buf_str(&failures.why)));
    assert_int_equal(unknown, 0);
    assert_int_equal(fixed, 0);
    nx_buf_deinit(&known);
    failures_deinit(&failures);
}

static nx_code run_text(const char *text, struct failures *failures, struct script_result *result,
                        struct nx_err *err)
{
    return script_run_text("inline.test", nx_str_from(text), note_failure, failures, result, err);
}

static void test_wrong_values_are_reported_with_their_line(void **state)
{
    (void)state;
    struct failures failures = {0};
    struct script_result result;
    struct nx_err err = {0};
    assert_int_equal(run_text("load 1m\n  m 1 2 3\n\n"
                              "eval instant at 1m m\n  m 2\n\n"
                              "eval instant at 1m m\n  m 2.1\n\n"
                              "eval range from 0 to 2m step 1m m\n  m 1 2\n\n"
                              "eval instant at 1m m\n\n"
                              "eval instant at 1m nothing\n  m 2\n",
                              &failures, &result, &err),
                     NX_OK);
    assert_int_equal(result.passed, 1);
    assert_int_equal(result.failed, 4);
    nx_buf_append_byte(&failures.text, '\0');
    assert_string_equal((const char *)failures.text.data,
                        "inline.test:7\ninline.test:10\ninline.test:13\ninline.test:15\n");
    failures_deinit(&failures);
}

static void test_annotations_and_failures_must_be_expected(void **state)
{
    (void)state;
    struct failures failures = {0};
    struct script_result result;
    struct nx_err err = {0};
    assert_int_equal(run_text("load 1m\n  m 1 2 3\n  n{x=\"1\"} 1\n  n{x=\"2\"} 1\n\n"
                              "eval instant at 2m rate(m[3m])\n  expect no_info\n  {} 0.01\n\n"
                              "eval instant at 2m m\n  expect warn\n  m 3\n\n"
                              "eval instant at 2m m\n  expect fail\n\n"
                              "eval instant at 0 n + on () n\n\n"
                              "eval instant at 0 n + on () n\n  expect fail msg: something else\n\n"
                              "eval_fail instant at 0 n + on () n\n\n",
                              &failures, &result, &err),
                     NX_OK);
    assert_int_equal(result.passed, 1);
    assert_int_equal(result.failed, 5);
    failures_deinit(&failures);
}

static void test_what_cannot_be_read_satisfies_nothing(void **state)
{
    (void)state;
    struct failures failures = {0};
    struct script_result result;
    struct nx_err err = {0};
    assert_int_equal(run_text("load 1m\n  h {{schema:0 sum:1 count:1}}x3\n  f 1 1 1\n\n"
                              "eval instant at 1m h\n\n"
                              "eval instant at 1m h\n  expect fail\n\n"
                              "eval instant at 1m info(f)\n  expect fail\n\n"
                              "eval instant at 1m f\n  f 1\n\n",
                              &failures, &result, &err),
                     NX_OK);
    assert_int_equal(result.passed, 1);
    assert_int_equal(result.failed, 3);
    failures_deinit(&failures);
}

static void test_bad_scripts_are_refused_with_their_line(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "load\n",
        "load 1x\n",
        "\nload 0\n",
        "load 1m\n  m{ 1\n",
        "load 1m\n  m 1+\n",
        "load 1m\n  m 1x\n",
        "load 1m\n  m _x99999999999\n",
        "load 1m\n  m {{schema:0\n",
        "evaluate this\n",
        "eval instant 5m m\n",
        "eval range from 0 to 5m m\n",
        "eval range from 0 to 5m step 0 m\n",
        "eval_maybe instant at 0 m\n",
        "eval instant at 0 m\n  expect nothing\n",
        "eval instant at 0 m\n  expect warn message\n",
        "eval instant at 0 m\n  expect fail regex: (\n",
        "eval instant at 0 m\n  m 1 2\n",
        "eval instant at 0 m\n  expected_fail_message x\n",
        "bogus\n",
    };
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        struct failures failures = {0};
        struct script_result result;
        struct nx_err err = {0};
        nx_code code = run_text(scripts[i], &failures, &result, &err);
        if (code != NX_E_INVALID || strncmp(err.msg, "inline.test:", 12) != 0)
            print_message("%s -> %s\n", scripts[i], err.msg);
        assert_int_equal(code, NX_E_INVALID);
        assert_memory_equal(err.msg, "inline.test:", 12);
        failures_deinit(&failures);
    }
}

static void test_a_missing_file_is_said_to_be_missing(void **state)
{
    (void)state;
    struct script_result result;
    struct nx_err err = {0};
    assert_int_equal(script_run("/nowhere/at/all.test", NULL, NULL, &result, &err), NX_E_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_scripts_pass),
        cmocka_unit_test(test_upstream_scripts_fail_only_where_known),
        cmocka_unit_test(test_wrong_values_are_reported_with_their_line),
        cmocka_unit_test(test_annotations_and_failures_must_be_expected),
        cmocka_unit_test(test_what_cannot_be_read_satisfies_nothing),
        cmocka_unit_test(test_bad_scripts_are_refused_with_their_line),
        cmocka_unit_test(test_a_missing_file_is_said_to_be_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
