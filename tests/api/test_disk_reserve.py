"""A volume that runs full to the last byte under load: writes are put off, reads, merges and retention go on, and it heals.

The volume is a small tmpfs; where it may not be mounted the test is skipped and says so.
"""

import os
import subprocess
import threading
import time

import pytest

from support import remote_write as rw
from support.server import Server, wait_until
from support.volume import fill, small_volume

SERIES = 400
HOUR_MS = 3_600_000
FLAGS = ("--storage.journal-segment-size=1MB", "--storage.flush-interval=1s", "--storage.flush-samples=1000000",
         "--storage.retention.time=5h")


@pytest.fixture
def volume(tmp_path):
    with small_volume(tmp_path / "volume", 64) as path:
        yield path


class Writer:
    """One step after the other in the past, each sent until it is taken."""

    def __init__(self, server, begin_ms):
        self.server, self.begin_ms, self.step, self.refusals = server, begin_ms, 0, []

    def write(self):
        """One attempt."""
        at = self.begin_ms + self.step * 100
        rows = [rw.series({"__name__": "full", "i": str(i)}, [(at, float((self.step * 7919 + i * 104729) % 1000003) / 7)]) for i in range(SERIES)]
        answer = self.server.write(rw.body(*rows))
        assert answer.status in (204, 503), (answer.status, answer.body)
        if answer.status == 204:
            self.step += 1
        else:
            assert answer.headers["Retry-After"] == "1", answer.headers
            self.refusals.append(answer.body)
        return answer.status

    def verify(self):
        if self.step == 0:
            return
        window = self.step * 100
        data = self.server.query(f"sum(count_over_time(full[{window}ms]))", f"{(self.begin_ms + window - 1) / 1000:.3f}")
        assert data["result"][0]["value"][1] == str(SERIES * self.step)


class Reader:
    """Asks all the while; every answer must be right."""

    def __init__(self, server, begin_ms):
        self.server, self.at, self.count, self.failures, self.is_over = server, begin_ms / 1000, 0, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.is_over.is_set():
            answer = self.server.get("/api/v1/query", {"query": "count(full)", "time": f"{self.at:.3f}"})
            if answer.status != 200 or b'"%d"' % SERIES not in answer.body:
                self.failures.append((answer.status, answer.body[:300]))
            self.count += 1
            time.sleep(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()


def test_a_volume_that_runs_full_goes_on_reading_merging_and_retaining(volume, tmp_path):
    server = Server(volume / "data", *FLAGS)
    server.log_path = tmp_path / "log"
    server.start()
    now = int(time.time() * 1000)
    try:
        # A block that retention takes half a minute from now, and blocks that merge.
        old = [rw.series({"__name__": "old", "i": str(i)}, [(now - 5 * HOUR_MS + 25_000, 1.0)]) for i in range(1000)]
        assert server.write(rw.body(*old)).status == 204
        assert wait_until(lambda: server.metric("narthex_blocks") >= 1, 20), "no block of old samples"
        assert wait_until(lambda: (volume / "data" / "ballast").exists(), 10), "no ballast"
        ballast = (volume / "data" / "ballast").stat()
        assert ballast.st_blocks * 512 >= 2 << 20
        writer = Writer(server, now - 3 * HOUR_MS)
        while writer.step == 0:
            writer.write()
        with Reader(server, writer.begin_ms) as reader:
            deadline = time.monotonic() + 60
            while len(writer.refusals) < 5 and time.monotonic() < deadline:
                writer.write()
                if not writer.refusals:
                    fill(volume / "other", 32 << 10)
            assert len(writer.refusals) >= 5, "the volume never became full"
            assert b"--storage.min-free" in writer.refusals[-1] or b"full" in writer.refusals[-1]
            merges = server.metric('narthex_merges_total{outcome="ok"}')
            fill(volume / "other")
            assert server.metric("narthex_disk_state") == 1

            # Writes stay put off while maintenance goes on with what the ballast had.
            for _ in range(40):
                assert writer.write() == 503
                time.sleep(0.02)
            assert wait_until(lambda: server.metric('narthex_merges_total{outcome="ok"}') > merges, 60), "no merge on the full volume"
            assert wait_until(lambda: server.metric('narthex_blocks_retired_total{reason="time"}') > 0, 90), "no retention on the full volume"
            fill(volume / "other")
            assert writer.write() == 503
            writer.verify()
            assert server.get("/-/healthy").status == 200
            assert server.metric("narthex_disk_ballast_released_total") >= 1

            # Space returns: writes resume by themselves, and the ballast does.
            os.truncate(volume / "other", 0)
            assert wait_until(lambda: writer.write() == 204, 30), "writes did not resume"
            for _ in range(50):
                writer.write()
            writer.verify()
            assert wait_until(lambda: (volume / "data" / "ballast").exists(), 30), "no new ballast"
        assert not reader.failures and reader.count > 20, reader.failures[:3]
        server.kill()
        server.start()
        writer.verify()
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()


def test_writes_are_taken_again_when_the_volume_grows(volume, tmp_path):
    server = Server(volume / "data", "--storage.min-free=40MB", "--storage.journal-segment-size=1MB")
    server.log_path = tmp_path / "log"
    server.start()
    try:
        writer = Writer(server, int(time.time() * 1000) - HOUR_MS)
        assert writer.write() == 204
        (volume / "other").write_bytes(b"x" * (30 << 20))
        assert wait_until(lambda: writer.write() == 503, 10), "writes go on below --storage.min-free"
        assert b"--storage.min-free" in writer.refusals[-1]
        writer.verify()
        subprocess.run(["mount", "-o", "remount,size=128m", volume], check=True)
        assert wait_until(lambda: writer.write() == 204, 10), "writes did not resume on the larger volume"
        writer.verify()
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()
