"""kill -9 under write load: at random moments, before a change of a file chosen by number, within a start, and at every named crash
point. What was acknowledged is there, bit by bit and once; nothing else is; no file is left over; starting again shows the same.

The load is small and fast on purpose: a flush every second, samples that span days, so that every step of journal, flush, publish,
merge and retention (and deletion, where the server has it) is passed within seconds. NARTHEX_CRASH_SEED replays a campaign.
"""

import concurrent.futures
import os
import pathlib
import random
import re
import shutil
import time

from support.load import ADMIN_FLAGS, DAY_MS, Ledger, Load, mono_ns
from support.recovery import recover, recover_twice
from support.server import ROOT, Server
from support.shim import Shim

FLAGS = ("--storage.flush-interval=1s", "--storage.flush-samples=2000", "--storage.journal-segment-size=1MB", "--storage.cache-size=4MB",
         *ADMIN_FLAGS)
LANES = 2
ROUNDS_PER_DIRECTORY = 6
RETENTION_DAYS = 40


def crash_points():
    """Every name that the source passes to crash_point(): the list cannot fall behind the code."""
    names = set()
    for path in sorted(pathlib.Path(ROOT, "server").rglob("*.c")):
        names |= set(re.findall(r'crash_point\([^"]*"([a-z_]+)"\)', path.read_text()))
    # Not passed by this load; test_snapshot.py and test_kill_delete.py stop at the others.
    return sorted(name for name in names - {"snapshot_made", "restore_copied"} if not name.startswith("delete_"))


class Lane:
    """One data directory after the other, each through some rounds."""

    def __init__(self, directory, seed):
        self.directory = directory
        self.random = random.Random(seed)
        self.number = 0
        self.samples = 0
        directory.mkdir()
        self.renew()

    def renew(self):
        self.data = self.directory / f"data-{self.number}"
        self.shim = Shim(self.data, self.directory)
        self.ledger = Ledger()
        self.days_back = 80
        self.retention = 90

    def round(self, way):
        self.number += 1
        what = f"round {self.number}: {way}"
        server = Server(self.data, *FLAGS, f"--storage.retention.time={self.retention}d")
        server.log_path = self.directory / "server.log"
        try:
            if way == "start":
                self.kill_start(server)
            elif way == "change":
                self.kill_change(server)
            elif way == "retention":
                self.kill_retention(server)
            elif way == "moment":
                load = self.begin(server)
                time.sleep(self.random.uniform(0.1, 1.6))
                server.kill()
                load.stop()
            else:
                self.stop_at(server, way)
            found = (recover_twice if self.number % 3 == 0 else recover)(self.data, self.ledger)
        except AssertionError as failure:
            raise AssertionError(f"{what}: {failure}\n{server.log()[-1500:]}") from failure
        finally:
            if server.process is not None and server.process.poll() is None:
                server.kill()
            Server.running.discard(server)
        if self.number % ROUNDS_PER_DIRECTORY == 0:
            self.end(found)

    def begin(self, server):
        server.start()
        return Load(server, self.random.random(), self.ledger, days_back=self.days_back).start()

    def kill_start(self, server):
        """Recovery itself is killed, some times in a row."""
        server.env.update(self.shim.env)
        for _ in range(3):
            self.shim.kill_at(self.shim.changes + self.random.randrange(1, 40))
            server.launch()
            if not server.has_ended(0.5):
                server.kill()
            self.shim.kill_at(0)

    def kill_change(self, server):
        server.env.update(self.shim.env)
        load = self.begin(server)
        time.sleep(self.random.uniform(0.9, 1.3))  # the first flush is at one second
        self.shim.kill_at(self.shim.changes + self.random.randrange(1, 120))
        if not server.has_ended(5):
            server.kill()
        load.stop()
        self.shim.kill_at(0)

    def kill_retention(self, server):
        """Two seconds after a start old blocks are dropped."""
        self.retention, self.days_back = RETENTION_DAYS, RETENTION_DAYS - 2
        server.flags[-1] = f"--storage.retention.time={self.retention}d"
        self.ledger.cutoffs.append((mono_ns(), int((time.time() - 86_400 * RETENTION_DAYS) * 1000) + DAY_MS // 24))
        load = self.begin(server)
        time.sleep(self.random.uniform(1.95, 2.15))
        server.kill()
        load.stop()

    def stop_at(self, server, point):
        nth = self.random.randrange(1, 20) if point.startswith("journal") else 1
        server.env["NARTHEX_CRASH_POINT"] = f"{point}:{nth}"
        server.launch()
        load = None
        try:
            server.wait_ready()
            load = Load(server, self.random.random(), self.ledger, days_back=self.days_back).start()
        except RuntimeError:  # a merge right after the start may pass the point before anybody asks whether the server is ready
            assert server.process.poll() == 137, server.log()[-1000:]
        is_reached = server.has_ended(15)
        if not is_reached:
            server.kill()
        if load is not None:
            load.stop()
        assert is_reached, f"the load never passed {point}"
        assert server.process.returncode == 137, f"ended with {server.process.returncode}"

    def end(self, found):
        """An orderly stop of the survivor, and a start from that."""
        server = Server(self.data, *FLAGS, "--storage.retention.time=50y").start()
        assert server.stop() == 0
        assert recover(self.data, self.ledger) == found, "an orderly stop changed what is there"
        self.samples += len(found)
        shutil.rmtree(self.data)
        self.renew()


def run_lane(directory, seed, ways):
    lane = Lane(directory, seed)
    for way in ways:
        lane.round(way)
    return lane.samples


def test_kill(tmp_path, is_long):
    seed = int(os.environ.get("NARTHEX_CRASH_SEED", random.randrange(1 << 30)))
    print("replay with NARTHEX_CRASH_SEED =", seed)
    random_ = random.Random(seed)
    ways = []
    for _ in range(8 if is_long else 1):
        ways += crash_points() + ["moment", "change", "change", "start"] * (4 if is_long else 2) + ["retention"] * 2
    random_.shuffle(ways)
    assert len(ways) >= (200 if is_long else 20)
    lanes = [(tmp_path / f"lane-{i}", f"{seed} {i}", ways[i::LANES]) for i in range(LANES)]
    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        samples = sum(pool.map(lambda lane: run_lane(*lane), lanes))
    assert samples > 1000


def test_a_torn_journal_tail_is_dropped_and_told(tmp_path):
    server = Server(tmp_path / "data", "--storage.flush-interval=1h").start()
    load = Load(server, 3, is_deleting=False).start()
    time.sleep(0.5)
    server.kill()
    load.stop()
    segments = [p for p in pathlib.Path(server.data, "journal").glob("*.nxj") if p.read_bytes().startswith(b"NXJSEG")]
    with open(max(segments, key=lambda p: p.stat().st_mtime), "r+b") as file:  # garbage where the next commit would stand
        data = file.read()
        end = len(data.rstrip(b"\0"))
        file.seek((end + 4095) // 4096 * 4096)
        file.write(b"\x5a" * 3000)
    recover(tmp_path / "data", load.ledger)
