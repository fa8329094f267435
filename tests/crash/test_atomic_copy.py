"""A copy of the whole directory at one instant, as a snapshot of the volume is, taken under ingest, flush and merge: whatever was
acknowledged before is in it, bit by bit, and it needs no repair. The server's threads are stopped (SIGSTOP) while cp runs."""

import os
import random
import signal
import struct
import subprocess
import time

from support.load import Load, bits
from support.server import Server
from support.tools import dump, storage, verify

FLAGS = ("--storage.flush-interval=1s", "--storage.flush-samples=2000", "--storage.journal-segment-size=1MB")


def stopped(pid):
    """Every thread has stopped."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] != "T":
                return False
    return True


def copy_at_once(server, target):
    pid = server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        while not stopped(pid):
            time.sleep(0.001)
        subprocess.run(["cp", "-a", str(server.data), str(target)], check=True)
    finally:
        os.kill(pid, signal.SIGCONT)


def bits_of(text):
    """Of a value as dump prints it: NaN(0x...) where the bits matter."""
    if text.startswith("NaN("):
        return struct.pack("<Q", int(text[4:-1], 16))
    return bits(float(text))


def missing(samples, load, acked):
    lost = []
    for key in acked:
        labels, at = key
        (_, name), (_, series), (_, writer) = labels
        value = samples.get(f'{name}{{series="{series}", writer="{writer}"}}', {}).get(at)
        if value is None or bits_of(value) != load.ledger.sent[key]:
            lost.append((key, load.ledger.sent[key], value))
    return lost


def test_a_copy_at_any_instant_has_everything_acknowledged(tmp_path, is_long):
    seed = int(os.environ.get("NARTHEX_CRASH_SEED", random.randrange(1 << 30)))
    print("replay with NARTHEX_CRASH_SEED =", seed)
    random_ = random.Random(seed)
    copies = []
    with Server(tmp_path / "data", *FLAGS) as server:
        load = Load(server, seed, is_deleting=False)
        load.start()
        for number in range(60 if is_long else 12):
            time.sleep(random_.uniform(0.05, 1.0))
            with load.lock:
                acked = set(load.ledger.acked)
            copy_at_once(server, tmp_path / f"copy{number}")
            copies.append((tmp_path / f"copy{number}", acked))
        load.stop()
        assert server.metric("narthex_flushes_total") > 2
    assert any(len(acked) > 1000 for _, acked in copies)
    for path, acked in copies:
        status, found = verify(path)
        # Half-made and retired blocks are in order; damage is not, and neither is a block that nobody knows.
        assert status == 0, (path, found["damages"])
        samples = dump(path)
        assert not missing(samples, load, acked), (path, len(acked))
        repaired = storage("repair", path)
        assert repaired.returncode == 0 and repaired.stdout.startswith("nothing to repair"), repaired.stdout
    # And a server starts on some of them, with the same samples.
    for path, acked in copies[:: 4]:
        with Server(path) as server:
            assert "level=error" not in server.log(), server.log()
        assert not missing(dump(path), load, acked)
