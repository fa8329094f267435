"""Retention by size on a volume that is full to the last byte: old blocks go, and writes resume without anybody's help.

The volume is a small tmpfs; where it may not be mounted the test is skipped and says so.
"""

import random
import time

import pytest

from support import remote_write as rw
from support.server import Server, wait_until
from support.volume import fill, small_volume

SERIES = 200
FLAGS = ("--storage.journal-segment-size=1MB", "--storage.flush-interval=1s")


@pytest.fixture
def volume(tmp_path):
    with small_volume(tmp_path / "volume", 24) as path:
        yield path


def write(server, step, values):
    """Half a day a step, so that blocks are of different age."""
    at = int(time.time() * 1000) - 60 * 86_400_000 + step * 43_200_000
    return server.write(rw.body(*[rw.series({"__name__": "full", "i": str(i)}, [(at + s * 1000, values.random()) for s in range(100)])
                                  for i in range(SERIES)])).status


def test_retention_by_size_heals_a_full_volume(volume, tmp_path):
    values = random.Random(3)
    server = Server(volume / "data", *FLAGS)
    server.log_path = tmp_path / "log"
    server.start()
    try:
        for step in range(60):
            assert write(server, step, values) == 204
        assert wait_until(lambda: server.metric("narthex_block_bytes") >= 6 << 20, 30)
        fill(volume / "rest")
        refused, deadline = 0, time.monotonic() + 60
        while refused < 3 and time.monotonic() < deadline:
            refused += write(server, 60, values) == 503
        assert refused == 3, "the volume never became full"
        server.kill()
        fill(volume / "rest2")
        server.flags.append("--storage.retention-size=3MB")
        server.start()
        deadline, written = time.monotonic() + 60, 0
        while written < 10 and time.monotonic() < deadline:
            written += write(server, 61 + written, values) == 204
            time.sleep(0.1)
        assert written == 10, "writes did not resume"
        assert wait_until(lambda: server.metric("narthex_block_bytes") <= 3 << 20, 30)
        assert server.metric('narthex_blocks_retired_total{reason="size"}') > 0
        assert server.metric("narthex_blocks_quarantined_total") == 0
        # The oldest are gone, the newest are there.
        at = int(time.time() * 1000) - 60 * 86_400_000 + 70 * 43_200_000
        assert len(server.samples("full", at - 1000, at + 200_000)) == SERIES
    finally:
        if server.process.poll() is None:
            server.kill()
