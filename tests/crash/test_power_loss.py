"""Power goes at any moment: each disk that this may leave starts without a complaint and holds all that was acknowledged, bit by bit.

NARTHEX_POWER_SEED replays the choice of a run; the recording of a failed one is kept, and the failure tells how to look at the disk.
"""

import os
import random
import shutil
import tempfile

import pytest

import power_loss


def check(recording, seed, count):
    failures = power_loss.check(recording, seed, count)
    if failures:
        kept = tempfile.mkdtemp(prefix="narthex-power-")
        shutil.copytree(recording, kept, dirs_exist_ok=True)
        number, reason = min(failures.items())
        raise AssertionError(f"{len(failures)} of {count} disks, first: {reason}\n"
                             f"replay: tests/crash/power_loss.py replay {kept} {seed} {number}")
    shutil.rmtree(recording)


def campaign(tmp_path, seed, count, seconds):
    recording = power_loss.record(tmp_path / "recording", seed, seconds)
    followed = power_loss.Recording(recording)
    assert followed.unseen() == []
    kinds = {entry.kind for entry in followed.log.entries}
    model = power_loss.disk_model
    assert kinds >= {model.WRITE, model.SYNC_END, model.WRITE_SYNCED, model.RENAME, model.UNLINK, model.RMDIR}, "the load did too little"
    check(recording, seed, count)


@pytest.mark.parametrize("number", range(2))
def test_disks_after_a_loss_of_power(tmp_path, is_long, number):
    seed = int(os.environ.get("NARTHEX_POWER_SEED", random.randrange(1 << 30)))
    print("replay with NARTHEX_POWER_SEED =", seed)
    for i in range(10 if is_long else 1):
        campaign(tmp_path, seed + number + 2 * i, 100 if is_long else 30, 4 if is_long else 2)


def test_disks_after_a_killed_start_and_a_loss_of_power(tmp_path, is_long):
    seed = int(os.environ.get("NARTHEX_POWER_SEED", random.randrange(1 << 30)))
    print("replay with NARTHEX_POWER_SEED =", seed)
    changes = range(2, 44) if is_long else random.Random(seed).sample(range(2, 44), 6)
    for change in changes:
        check(power_loss.record_after_killed_start(tmp_path / f"change-{change}", seed, change), seed, 12 if is_long else 6)
