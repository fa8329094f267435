/* SPDX-License-Identifier: Apache-2.0 */
/* test_mem_limit.c - the limits of control groups, of both versions, on the way up. */
#include "narthex/base/mem_limit.h"

#include "base_support.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[PATH_MAX];

static void put(const char *name, const char *text)
{
    char path[PATH_MAX + 300];
    for (const char *slash = strchr(name + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(path, sizeof(path), "%s%.*s", root, (int)(slash - name), name);
        (void)mkdir(path, 0777);
    }
    snprintf(path, sizeof(path), "%s%s", root, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static uint64_t limit_of(const char *groups, const char *mounts)
{
    char group_path[PATH_MAX + 20];
    char mount_path[PATH_MAX + 20];
    put("/groups", groups);
    put("/mounts", mounts);
    snprintf(group_path, sizeof(group_path), "%s/groups", root);
    snprintf(mount_path, sizeof(mount_path), "%s/mounts", root);
    return mem_limit_of_groups(group_path, mount_path, root);
}

#define MOUNT_V2 "30 24 0:26 / /cg rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT_V1                                                                                   \
 "29 24 0:25 / /cpu rw - cgroup cgroup rw,cpu\n31 24 0:27 / /mem rw - cgroup cgroup rw,memory\n"

static void test_mem_limit_takes_the_smallest_on_the_way_up(void **state)
{
    (void)state;
    put("/cg/a/b/memory.max", "max\n");
    put("/cg/a/memory.max", "300000000\n");
    assert_true(limit_of("0::/a/b\n", MOUNT_V2) == 300000000);
    put("/cg/a/b/memory.max", "200000000\n");
    assert_true(limit_of("0::/a/b\n", MOUNT_V2) == 200000000);
    assert_true(limit_of("0::/\n", MOUNT_V2) == UINT64_MAX);
    put("/cg/memory.max", "100000000\n");
    assert_true(limit_of("0::/\n", MOUNT_V2) == 100000000);
    assert_true(limit_of("0::/gone/away\n", MOUNT_V2) == 100000000);
}

static void test_mem_limit_reads_version_1_beside_version_2(void **state)
{
    (void)state;
    put("/mem/x/y/memory.limit_in_bytes", "9223372036854771712\n");
    put("/mem/x/memory.limit_in_bytes", "50000000\n");
    put("/mem/memory.limit_in_bytes", "9223372036854771712\n");
    assert_true(limit_of("9:name=systemd:/\n4:cpuset,memory:/x/y\n0::/\n", MOUNT_V1) == 50000000);
    assert_true(limit_of("4:cpuset:/x/y\n", MOUNT_V1) == UINT64_MAX);
    assert_true(limit_of("4:memory:/z\n", MOUNT_V1) == UINT64_MAX);
}

static void test_mem_limit_knows_a_mount_that_begins_at_the_group(void **state)
{
    (void)state;
    put("/mem2/memory.limit_in_bytes", "70000000\n");
    assert_true(limit_of("4:memory:/docker/abc\n",
                         "31 24 0:27 /docker/abc /mem2 rw - cgroup cgroup rw,memory\n") ==
                70000000);
}

static void test_mem_limit_survives_nonsense(void **state)
{
    (void)state;
    assert_true(limit_of("", "") == UINT64_MAX);
    assert_true(limit_of("::::\n0:\nx\n0::\n", " \n- \n1 2 3\n" MOUNT_V1) == UINT64_MAX);
    put("/mem/w/memory.limit_in_bytes", "12x\n");
    assert_true(limit_of("4:memory:/w\n", MOUNT_V1) == UINT64_MAX);
    assert_true(mem_limit_of_groups("/nowhere", "/nowhere", "") == UINT64_MAX);
    assert_true(mem_limit_detect() > 0);
    mem_heap_tune();
}

static void test_mem_anonymous_bytes_follow_what_is_touched(void **state)
{
    (void)state;
    uint64_t before = mem_anonymous_bytes();
    size_t bytes = (size_t)64 << 20;
    char *memory = malloc(bytes);
    assert_non_null(memory);
    memset(memory, 1, bytes);
    assert_true(memory[bytes / 2] == 1);
    assert_true(mem_anonymous_bytes() >= before + bytes / 2);
    free(memory);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/narthex_mem_limit_XXXXXX");
    return mkdtemp(root) == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    char command[PATH_MAX + 20];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_limit_takes_the_smallest_on_the_way_up),
        cmocka_unit_test(test_mem_limit_reads_version_1_beside_version_2),
        cmocka_unit_test(test_mem_limit_knows_a_mount_that_begins_at_the_group),
        cmocka_unit_test(test_mem_limit_survives_nonsense),
        cmocka_unit_test(test_mem_anonymous_bytes_follow_what_is_touched),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
