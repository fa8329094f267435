"""kill -9 among writes, deletes and cleans: a delete that was answered holds, one that was not has happened wholly or not at all,
and nothing else is touched. A failing round prints its seed; NARTHEX_CRASH_SEED replays it.
"""

import os
import pathlib
import random
import re
import threading
import time
import urllib.parse

import pytest

from support import remote_write as rw
from support.server import ROOT, Server

FLAGS = ("--web.enable-admin-api", "--storage.flush-interval=1s", "--storage.journal-segment-size=1MB")
SERIES = 12
MINUTE_MS = 60_000
BEGIN_MS = int(time.time() * 1000) // 86_400_000 * 86_400_000 - 3 * 86_400_000
STEPS = 400


def delete_points():
    names = set()
    for path in sorted(pathlib.Path(ROOT, "server").rglob("*.c")):
        names |= set(re.findall(r'crash_point\([^"]*"(delete_[a-z_]+)"\)', path.read_text()))
    return sorted(names)


def selector(series):
    return 'gone{series=~"' + "|".join(str(s) for s in series) + '"}'


def delete(server, series, first, last):
    query = urllib.parse.urlencode({"match[]": selector(series), "start": (BEGIN_MS + first * MINUTE_MS) / 1000,
                                    "end": (BEGIN_MS + last * MINUTE_MS) / 1000})
    answer = server.request("POST", "/api/v1/admin/tsdb/delete_series?" + query)
    assert answer.status == 204, answer.body


def write(server, samples):
    """samples: {(series, step): value}"""
    rows = {}
    for (series, step), value in samples.items():
        rows.setdefault(series, []).append((BEGIN_MS + step * MINUTE_MS, value))
    answer = server.write(rw.body(*[rw.series({"__name__": "gone", "series": str(s)}, sorted(points)) for s, points in rows.items()]))
    assert answer.status == 204, answer.body


def visible(server):
    found = server.samples("gone", BEGIN_MS - 1000, BEGIN_MS + STEPS * MINUTE_MS)
    return {(int(dict(labels)["series"]), (at - BEGIN_MS) // MINUTE_MS): float(v) for labels, points in found.items() for at, v in points}


def without(samples, series, first, last):
    return {key: value for key, value in samples.items() if key[0] not in series or not first <= key[1] <= last}


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", delete_points())
def test_stop_at_each_step_of_a_delete(tmp_path, point, nth):
    server = Server(tmp_path / "data", *FLAGS, env={"NARTHEX_CRASH_POINT": f"{point}:{nth}"}).start()
    samples = {(s, t): float(s * 1000 + t) for s in range(SERIES) for t in range(100)}
    write(server, samples)
    if nth == 2:
        delete(server, [0, 1], 0, 50)
        samples = without(samples, [0, 1], 0, 50)
        again = {(s, t): 7.0 for s in (0, 1) for t in range(40)}
        write(server, again)
        samples.update(again)
    with pytest.raises(OSError):
        delete(server, [0, 3, 4], 10, 60)
    assert server.process.wait(10) == 137
    server.env.pop("NARTHEX_CRASH_POINT")
    server.start()
    rest = without(samples, [0, 3, 4], 10, 60)
    assert visible(server) == (rest if point in ("delete_committed", "delete_released") else samples)
    delete(server, [0, 3, 4], 10, 60)
    assert visible(server) == rest
    write(server, {(3, 20): 5.0})
    rest[(3, 20)] = 5.0
    server.kill()
    server.start()
    assert visible(server) == rest
    assert server.request("POST", "/api/v1/admin/tsdb/clean_tombstones").status == 204
    assert visible(server) == rest
    assert server.stop() == 0


class Campaign:
    """One operation after the other against a table; the one that a kill cuts off is resolved by what is seen afterwards."""

    def __init__(self, server, seed):
        self.server, self.random = server, random.Random(seed)
        self.samples = {}
        self.doubtful = None  # ("write", samples) or ("delete", series, first, last)
        self.counts = {"write": 0, "delete": 0, "clean": 0}

    def one(self):
        dice = self.random.random()
        if dice < 0.7:
            samples = {}
            for _ in range(self.random.randrange(1, 60)):
                key = (self.random.randrange(SERIES), self.random.randrange(STEPS))
                if key not in self.samples:
                    samples[key] = float(self.random.randrange(1 << 30))
            if not samples:
                return
            self.doubtful = ("write", samples)
            write(self.server, samples)
            self.samples.update(samples)
        elif dice < 0.95:
            series = self.random.sample(range(SERIES), self.random.randrange(1, 5))
            first = self.random.randrange(STEPS)
            what = (series, first, first + self.random.randrange(STEPS // 2))
            self.doubtful = ("delete", *what)
            delete(self.server, *what)
            self.samples = without(self.samples, *what)
        else:
            self.doubtful = ("clean",)
            assert self.server.request("POST", "/api/v1/admin/tsdb/clean_tombstones").status == 204
        self.counts[self.doubtful[0]] += 1
        self.doubtful = None

    def run_until_killed(self, seconds):
        killer = threading.Timer(seconds, self.server.process.kill)
        killer.start()
        try:
            while True:
                self.one()
        except OSError:
            pass
        killer.join()
        self.server.kill()

    def verify(self):
        seen = visible(self.server)
        if self.doubtful is not None and self.doubtful[0] == "delete" and seen != self.samples:
            self.samples = without(self.samples, *self.doubtful[1:])
        if self.doubtful is not None and self.doubtful[0] == "write":
            self.samples.update({key: value for key, value in self.doubtful[1].items() if key in seen})
        self.doubtful = None
        lost = [key for key in self.samples if key not in seen]
        back = [key for key in seen if key not in self.samples]
        assert not lost, f"{len(lost)} samples that nobody deleted are gone, first {lost[0]}"
        assert not back, f"{len(back)} deleted samples are back, first {back[0]}"
        assert seen == self.samples


def test_kill_among_deletes(tmp_path, is_long):
    seed = int(os.environ.get("NARTHEX_CRASH_SEED", random.randrange(1 << 30)))
    print("replay with NARTHEX_CRASH_SEED =", seed)
    server = Server(tmp_path / "data", *FLAGS)
    campaign = Campaign(server, seed)
    for _ in range(30 if is_long else 8):
        server.start()
        campaign.verify()
        campaign.run_until_killed(campaign.random.uniform(0.3, 2.5))
    server.start()
    campaign.verify()
    assert campaign.counts["delete"] > 10 and campaign.counts["write"] > 20
    assert server.metric("narthex_blocks_quarantined_total") == 0
    assert server.stop() == 0
    server.start()
    campaign.verify()
    server.stop()
