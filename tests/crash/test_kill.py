"""kill -9 under write load, at random moments and at every named crash point: what was acknowledged must be there, bit by bit.

The load is small and fast on purpose: a flush every second, samples that span days, so that every step of journal, flush, publish
and merge is passed within seconds. A failing round prints its seed; NARTHEX_CRASH_SEED replays it.
"""

import os
import pathlib
import random
import re
import threading
import time

import pytest

from support import remote_write as rw
from support.server import ROOT, Server

FLAGS = ("--storage.flush-interval=1s", "--storage.flush-samples=2000", "--storage.journal-segment-size=1MB")
SERIES = 40
MINUTE_MS = 60_000
DAYS_BACK = 60  # room for a long campaign, a minute of sample time a request


def crash_points():
    """Every name that the source passes to crash_point(): the list cannot fall behind the code."""
    names = set()
    for path in sorted(pathlib.Path(ROOT, "server").rglob("*.c")):
        names |= set(re.findall(r'crash_point\([^"]*"([a-z_]+)"\)', path.read_text()))
    # Not passed by this load; test_snapshot.py and test_kill_delete.py stop at the others.
    return sorted(name for name in names - {"snapshot_made", "restore_copied"} if not name.startswith("delete_"))


class Load:
    """Writers that remember what they sent and what was acknowledged."""

    def __init__(self, server, seed, writers=3):
        self.server = server
        self.random = random.Random(seed)
        self.sent = {}   # (series, time) -> float; each key is sent with one value only
        self.acked = set()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.write_all, args=(w,), daemon=True) for w in range(writers)]
        # Whole days in the past, so that partitions and days are complete and get merged.
        self.next_ms = [int(time.time() * 1000) // MINUTE_MS * MINUTE_MS - DAYS_BACK * 86_400_000 for _ in range(writers)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def value(self):
        kind = self.random.randrange(4)
        return (float(self.random.randrange(1000)), self.random.random() * 1e9, -0.0, round(self.random.random(), 3))[kind]

    def write_all(self, writer):
        while not self.stopping.is_set():
            batch, keys = [], []
            with self.lock:
                for s in range(SERIES):
                    labels = (("__name__", "crash"), ("series", str(s)), ("writer", str(writer)))
                    at = self.next_ms[writer] + (s % 3)
                    if self.random.randrange(20) == 0:
                        at -= 7 * MINUTE_MS + 500 + s  # late, at a time of its own
                    key = (labels, at)
                    value = self.sent.setdefault(key, self.value())
                    keys.append(key)
                    batch.append(rw.series(list(labels), [(at, value)]))
                self.next_ms[writer] += MINUTE_MS
            try:
                status = self.server.write(rw.body(*batch)).status
            except OSError:
                return  # killed
            if status == 204:
                with self.lock:
                    self.acked.update(keys)
            elif status != 503:
                raise AssertionError(f"status {status}")

    def verify(self):
        """Reads everything back: all that was acknowledged, and nothing that was not sent."""
        begin = min(self.next_ms) - 30 * 86_400_000
        found = {}
        for s in range(SERIES):
            for labels, points in self.server.samples(f'crash{{series="{s}"}}', begin, int(time.time() * 1000)).items():
                for at, text in points:
                    found[(labels, at)] = text
        lost = [key for key in self.acked if key not in found]
        assert not lost, f"{len(lost)} of {len(self.acked)} acknowledged samples are gone, first {lost[0]}"
        for key, text in found.items():
            assert key in self.sent, f"never sent: {key}"
            value = self.sent[key]
            same = float(text) == value and text.startswith("-") == (repr(value).startswith("-"))
            assert same, f"{key}: sent {value!r}, got {text}"
        return len(found)


def wait_for_end(server, timeout_s):
    deadline = time.monotonic() + timeout_s
    while server.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return server.process.poll() is not None


def test_kill_at_random_moments(tmp_path, is_long):
    seed = int(os.environ.get("NARTHEX_CRASH_SEED", random.randrange(1 << 30)))
    print("replay with NARTHEX_CRASH_SEED =", seed)
    moments = random.Random(seed)
    server = Server(tmp_path / "data", *FLAGS)
    load, verified = None, 0
    for _ in range(25 if is_long else 6):
        server.start()
        if load is not None:
            verified = load.verify()
            old = load
            load = Load(server, moments.random())
            load.sent, load.acked, load.next_ms = old.sent, old.acked, old.next_ms
        else:
            load = Load(server, moments.random())
        load.start()
        time.sleep(moments.uniform(0.3, 3.0))
        server.kill()
        load.stop()
    server.start()
    verified = load.verify()
    assert verified >= len(load.acked) > 1000
    assert server.stop() == 0
    server.start()
    load.verify()
    server.stop()


@pytest.mark.parametrize("point", crash_points())
def test_stop_at_a_named_crash_point(tmp_path, point):
    nth = 3 if point.startswith("journal") else 1
    server = Server(tmp_path / "data", *FLAGS, env={"NARTHEX_CRASH_POINT": f"{point}:{nth}"})
    server.start()
    load = Load(server, 1)
    load.start()
    reached = wait_for_end(server, 40)
    if not reached:
        server.kill()
    load.stop()
    assert reached, f"the load never passed {point}"
    server.env.pop("NARTHEX_CRASH_POINT")
    server.start()
    assert load.acked or point.startswith("journal")
    load.verify()
    # The next flush and merge over what the crash left behind.
    again = Load(server, 2)
    again.sent, again.acked, again.next_ms = load.sent, load.acked, load.next_ms
    again.start()
    time.sleep(2.5)
    again.stop()
    again.verify()
    assert server.stop() == 0


def test_a_torn_journal_tail_is_dropped_and_told(tmp_path):
    server = Server(tmp_path / "data", "--storage.flush-interval=1h").start()
    load = Load(server, 3)
    load.start()
    time.sleep(1)
    server.kill()
    load.stop()
    segments = sorted(pathlib.Path(server.data, "journal").glob("*.nxj"), key=lambda p: p.stat().st_mtime)
    with open(segments[-1], "r+b") as file:  # garbage where the next commit would stand
        data = file.read()
        end = len(data.rstrip(b"\0"))
        file.seek((end + 4095) // 4096 * 4096)
        file.write(b"\x5a" * 3000)
    server.start()
    load.verify()
    server.stop()
