"""A volume that is full: writes are put off with a reason, reads go on, nothing acknowledged is lost, and it heals by itself.

The volume is a small tmpfs; where it may not be mounted the test is skipped and says so.
"""

import random
import time

import pytest

from support import remote_write as rw
from support.server import Server
from support.volume import fill, small_volume

SERIES = 300
FLAGS = ("--storage.journal-segment-size=1MB", "--storage.flush-interval=2s", "--storage.flush-samples=1000000")


@pytest.fixture
def volume(tmp_path):
    with small_volume(tmp_path / "volume", 20) as path:
        yield path


class Writer:
    """Sends one step after the other; a step that was put off is sent again as it was, as Prometheus does."""

    def __init__(self, server):
        self.server = server
        self.begin_ms = int(time.time() * 1000) - 3_600_000
        self.acked = {}
        self.step, self.values = 0, None
        self.refusal = None

    def run(self, seconds, is_enough):
        counts = {204: 0, 503: 0}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not is_enough(counts):
            at = self.begin_ms + self.step * 37
            self.values = self.values or [random.random() for _ in range(SERIES)]
            answer = self.server.write(rw.body(*[rw.series({"__name__": "full", "i": str(i)}, [(at, v)]) for i, v in enumerate(self.values)]))
            counts[answer.status] += 1
            if answer.status == 204:
                self.acked.update({(i, at): v for i, v in enumerate(self.values)})
                self.step, self.values = self.step + 1, None
            else:
                self.refusal = answer
                time.sleep(0.05)
        return counts

    def verify(self):
        found = {}
        for labels, points in self.server.samples("full", self.begin_ms, self.begin_ms + self.step * 37 + 37).items():
            found.update({(int(dict(labels)["i"]), at): float(text) for at, text in points})
        assert {key: found.get(key) for key in self.acked} == self.acked


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_full_volume_is_told_survived_and_healed(volume, tmp_path, ending):
    server = Server(volume / "data", *FLAGS)
    server.log_path = tmp_path / "log"
    (volume / "ballast").write_bytes(b"x" * (14 << 20))
    server.start()
    try:
        writer = Writer(server)
        assert writer.run(90, lambda counts: counts[503] >= 20)[503] >= 20, "the volume never became full"
        assert writer.refusal.headers["Retry-After"] == "1"
        assert writer.refusal.body.count(b"\n") == 1 and b"full" in writer.refusal.body
        assert server.get("/-/healthy").status == 200 and server.get("/-/ready").status == 200
        writer.verify()

        if ending == "stop":
            assert server.stop() in (0, 1)
        else:
            server.kill()
        fill(volume / "rest")
        server.start()
        writer.verify()
        assert writer.run(1, lambda _: False)[204] == 0

        (volume / "ballast").unlink()
        (volume / "rest").unlink()
        assert writer.run(30, lambda counts: counts[204] >= 20)[204] >= 20, "writes did not resume"
        writer.verify()
        assert server.stop() == 0
        server.start()
        writer.verify()
        assert len([line for line in server.log().splitlines() if "level=error" in line]) < 40
    finally:
        if server.process.poll() is None:
            server.kill()
