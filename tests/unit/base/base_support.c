/* SPDX-License-Identifier: Apache-2.0 */
/* base_support.c - helpers of the tests of base. */
#include "base_support.h"

#include "narthex/base/io.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void test_dir_make(char out_path[TEST_PATH_SIZE])
{
    const char *base = getenv("TMPDIR");
    snprintf(out_path, TEST_PATH_SIZE, "%s/narthex-test-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(out_path));
}

void test_dir_remove(const char *path)
{
    struct nx_err err = {0};
    assert_int_equal(io_remove_tree(io_real(), path, &err), NX_OK);
}

void test_path(char out_path[TEST_PATH_SIZE], const char *dir, const char *name)
{
    int length = snprintf(out_path, TEST_PATH_SIZE, "%s/%s", dir, name);
    assert_true(length > 0 && length < TEST_PATH_SIZE);
}

void test_assert_str(struct nx_str actual, const char *expected)
{
    char text[4096];
    assert_true(actual.len < sizeof(text));
    if (actual.len > 0)
        memcpy(text, actual.data, actual.len);
    text[actual.len] = '\0';
    assert_string_equal(text, expected);
}

int test_in_child(void (*body)(void *), void *argument, struct nx_buf *out_stderr)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        body(argument);
        _exit(0);
    }
    close(ends[1]);
    char text[4096];
    ssize_t got;
    while ((got = read(ends[0], text, sizeof(text))) > 0) {
        if (out_stderr != NULL)
            nx_buf_append(out_stderr, text, (size_t)got);
    }
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}
