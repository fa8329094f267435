/* SPDX-License-Identifier: Apache-2.0 */
/* test_hash.c - hashes that are written to disk never change; secret ones differ by process. */
#include "narthex/base/hash.h"

#include "base_support.h"

#include <string.h>
#include <unistd.h>

static void test_hash_values_are_pinned(void **state)
{
    (void)state;
    /* XXH3's own test value of the empty input, and three of ours. */
    assert_true(nx_hash64("", 0, 0) == UINT64_C(0x2d06800538d394c2));
    assert_true(nx_hash64("narthex", 7, 0) == UINT64_C(0x70ae073422dafb99));
    assert_true(nx_hash64("narthex", 7, 1) == UINT64_C(0x0e6e8f91d5e466d9));
    struct nx_hash128 wide = nx_hash128("narthex", 7);
    assert_true(wide.low == UINT64_C(0x28b367919bf8938f) &&
                wide.high == UINT64_C(0x81c53d742977e935));
}

struct secret_hashes {
    uint64_t narrow;
    struct nx_hash128 wide;
};

static struct secret_hashes secret_hashes(void)
{
    hash_secret_init();
    return (struct secret_hashes){.narrow = nx_hash64_secret("narthex", 7),
                                  .wide = nx_hash128_secret("narthex", 7)};
}

static void send_hashes(void *argument)
{
    struct secret_hashes hashes = secret_hashes();
    int fd = *(int *)argument;
    if (write(fd, &hashes, sizeof(hashes)) != (ssize_t)sizeof(hashes))
        _exit(1);
}

static void test_hash_secret_differs_between_processes_and_not_within_one(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(test_in_child(send_hashes, &ends[1], NULL), 0);
    struct secret_hashes other;
    assert_int_equal(read(ends[0], &other, sizeof(other)), sizeof(other));
    close(ends[0]);
    close(ends[1]);
    struct secret_hashes mine = secret_hashes();
    struct secret_hashes again = secret_hashes();
    assert_true(mine.narrow == again.narrow && mine.wide.low == again.wide.low);
    assert_true(mine.narrow != other.narrow);
    assert_true(mine.wide.low != other.wide.low && mine.wide.high != other.wide.high);
    assert_true(mine.narrow != nx_hash64("narthex", 7, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_values_are_pinned),
        cmocka_unit_test(test_hash_secret_differs_between_processes_and_not_within_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
