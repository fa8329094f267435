/* SPDX-License-Identifier: Apache-2.0 */
/* test_disk_reserve.c - when writes are put off and taken again, and what becomes of the ballast. */
#include "narthex/base/io_faulty.h"

#include "server/storage/disk_reserve.h"
#include "storage_support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MIB UINT64_C(1048576)

static uint64_t volume_free, volume_total;
static nx_code volume_code;

static nx_code fake_volume(const char *path, uint64_t *out_free, uint64_t *out_total,
                           struct nx_err *err)
{
    (void)path;
    if (volume_code != NX_OK)
        return nx_err_set(err, volume_code, "fake");
    *out_free = volume_free;
    *out_total = volume_total;
    return NX_OK;
}

struct scene {
    struct store_scratch scratch;
    struct disk_reserve reserve;
    char ballast[600];
};

static void scene_make(struct scene *scene, uint64_t min_free, uint64_t total)
{
    store_scratch_make(&scene->scratch);
    struct nx_err err;
    assert_int_equal(io_real()->mkdir(io_real(), scene->scratch.path, &err), NX_OK);
    disk_reserve_init(&scene->reserve, io_real(), scene->scratch.path, min_free);
    scene->reserve.volume = fake_volume;
    snprintf(scene->ballast, sizeof(scene->ballast), "%s/ballast", scene->scratch.path);
    volume_code = NX_OK;
    volume_total = total;
}

static void scene_end(struct scene *scene)
{
    disk_reserve_deinit(&scene->reserve);
    store_scratch_remove(&scene->scratch);
}

static nx_code look_at(struct scene *scene, uint64_t free_bytes)
{
    struct nx_err err;
    volume_free = free_bytes;
    disk_reserve_look(&scene->reserve);
    nx_code code = disk_reserve_check_write(&scene->reserve, &err);
    if (code != NX_OK)
        assert_non_null(strstr(err.msg, "--storage.min-free"));
    return code;
}

static uint64_t held_by(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

static void test_writes_are_put_off_below_the_threshold_and_taken_a_quarter_above(void **state)
{
    (void)state;
    struct scene scene;
    scene_make(&scene, 100 * MIB, 10000 * MIB);
    assert_int_equal(look_at(&scene, 100 * MIB), NX_OK);
    assert_int_equal(look_at(&scene, 100 * MIB - 1), NX_E_FULL);
    assert_int_equal(look_at(&scene, 124 * MIB), NX_E_FULL);
    assert_int_equal(look_at(&scene, 125 * MIB), NX_OK);
    assert_int_equal(look_at(&scene, 0), NX_E_FULL);
    volume_code = NX_E_IO; /* who cannot be asked keeps its state */
    assert_int_equal(look_at(&scene, 500 * MIB), NX_E_FULL);
    scene_end(&scene);
}

static void test_the_threshold_follows_the_size_of_the_volume(void **state)
{
    (void)state;
    struct scene scene;
    scene_make(&scene, 0, 20 * MIB);
    assert_int_equal(look_at(&scene, 1 * MIB), NX_OK);
    assert_int_equal(look_at(&scene, 1 * MIB - 1), NX_E_FULL);
    volume_total = 100000 * MIB; /* it grew */
    assert_int_equal(look_at(&scene, 319 * MIB), NX_E_FULL);
    assert_int_equal(look_at(&scene, 320 * MIB), NX_OK);
    assert_int_equal(look_at(&scene, 256 * MIB), NX_OK);
    assert_int_equal(look_at(&scene, 255 * MIB), NX_E_FULL);
    scene_end(&scene);
}

static void test_the_ballast_is_made_given_up_and_made_again(void **state)
{
    (void)state;
    struct scene scene;
    scene_make(&scene, 10 * MIB, 320 * MIB); /* 10 MiB of ballast */
    assert_int_equal(look_at(&scene, 29 * MIB), NX_OK);
    assert_int_equal(held_by(scene.ballast), 0);
    assert_false(disk_reserve_release(&scene.reserve));
    assert_int_equal(look_at(&scene, 30 * MIB), NX_OK);
    assert_true(held_by(scene.ballast) >= 10 * MIB);
    assert_int_equal(look_at(&scene, 5 * MIB), NX_E_FULL);
    assert_true(held_by(scene.ballast) >= 10 * MIB);
    assert_true(disk_reserve_release(&scene.reserve));
    assert_int_equal(held_by(scene.ballast), 0);
    assert_false(disk_reserve_release(&scene.reserve));
    assert_int_equal(look_at(&scene, 15 * MIB), NX_OK);
    assert_int_equal(held_by(scene.ballast), 0);
    assert_int_equal(look_at(&scene, 40 * MIB), NX_OK);
    assert_true(held_by(scene.ballast) >= 10 * MIB);
    /* The next run finds it. */
    disk_reserve_deinit(&scene.reserve);
    disk_reserve_init(&scene.reserve, io_real(), scene.scratch.path, 10 * MIB);
    scene.reserve.volume = fake_volume;
    assert_int_equal(look_at(&scene, 0), NX_E_FULL);
    assert_true(scene.reserve.ballast_bytes >= 10 * MIB);
    assert_true(disk_reserve_release(&scene.reserve));
    scene_end(&scene);
}

static void test_a_small_volume_has_a_small_ballast_and_a_tiny_one_none(void **state)
{
    (void)state;
    struct scene scene;
    scene_make(&scene, 0, 20 * MIB);
    look_at(&scene, 15 * MIB);
    assert_true(held_by(scene.ballast) >= 640 * 1024 && held_by(scene.ballast) < MIB);
    assert_true(disk_reserve_release(&scene.reserve));
    volume_total = MIB;
    look_at(&scene, MIB);
    assert_int_equal(held_by(scene.ballast), 0);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_are_put_off_below_the_threshold_and_taken_a_quarter_above),
        cmocka_unit_test(test_the_threshold_follows_the_size_of_the_volume),
        cmocka_unit_test(test_the_ballast_is_made_given_up_and_made_again),
        cmocka_unit_test(test_a_small_volume_has_a_small_ballast_and_a_tiny_one_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
