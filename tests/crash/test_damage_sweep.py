"""One flipped bit, or a file cut short, at places spread over each kind of file that the server keeps.

The server starts and serves the rest, or says in one line why it does not start. It never shows a sample that was not written; when
something is missing, the log tells, and the damaged file is in quarantine/; no directory of a block disappears.
NARTHEX_DAMAGE_SEED replays a run.
"""

import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import struct
import time

import pytest

from support.load import ADMIN_FLAGS, Load, ask_all, read_all, samples_of
from support.recovery import QUIET
from support.server import Server

LANES = 2
KINDS = {"journal": "journal/*.nxj", "chunks": "blocks/*/chunks.nxc", "index": "blocks/*/index.mdb", "meta": "blocks/*/block.meta",
         "catalog": "catalog.mdb"}
LMDB_PAGE = 4096
LMDB_TXN_AT = 16 + 128  # in a meta page
TAIL_SAMPLES_MAX = 200  # of one commit of this load


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """What kill -9 left of a server with blocks of all levels and a journal; merges are done, so that nothing moves by itself."""
    data = tmp_path_factory.mktemp("damage") / "good"
    server = Server(data, "--storage.flush-interval=1s", "--storage.journal-segment-size=1MB", *ADMIN_FLAGS).start()
    load = Load(server, 1).start()
    time.sleep(3.5)
    load.stop()
    assert server.metric('narthex_merges_total{outcome="ok"}') > 0
    assert server.stop() == 0
    server = Server(data, *QUIET).start()
    wait_for_merges(server)
    load = Load(server, 2, load.ledger, days_back=3).start()
    time.sleep(0.7)
    load.stop()
    found = read_all(server)
    load.ledger.check(found)
    server.kill()
    return data, load.ledger, found


def wait_for_merges(server):
    time.sleep(1.2)
    merges = -1
    while merges != server.metric("narthex_merges_total"):
        merges = server.metric("narthex_merges_total")
        time.sleep(0.5)


def is_known_bit(data, kind, at, bit):
    """Bit 1 of the newest transaction number cannot be told from a commit that a crash cut off (docs/formats/catalog.md)."""
    if kind != "catalog" or bit != 1:
        return False
    newest = max((0, 1), key=lambda page: struct.unpack_from("<Q", data, page * LMDB_PAGE + LMDB_TXN_AT)[0])
    return at == newest * LMDB_PAGE + LMDB_TXN_AT


def is_newest_segment(path):
    """By sequence; spares have none."""
    def sequence(segment):
        head = segment.read_bytes()[:128]
        return struct.unpack_from("<Q", head, 24)[0] if head.startswith(b"NXJSEG") else 0
    return path == max(path.parent.glob("*.nxj"), key=sequence)


def damage(work, kind, place, is_cut, random_):
    """Changes one file; what was done, or None when it is the bit that may not be noticed."""
    path = random_.choice(sorted(work.glob(KINDS[kind])))
    content = bytearray(path.read_bytes())
    used = max(1, len(bytes(content).rstrip(b"\0")))
    at, bit = min(int(place * used), used - 1), random_.randrange(8)
    is_tail = kind == "journal" and is_newest_segment(path)
    if is_cut:
        del content[at:]
    elif is_known_bit(content, kind, at, bit):
        return None, False
    else:
        content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"{path.relative_to(work)} of {used} bytes " + (f"cut at {at}" if is_cut else f"bit {bit} of byte {at}"), is_tail


def check(server, good, is_tail, is_cut, is_stopped):
    data, ledger, baseline = good
    blocks = {p.name for p in (data / "blocks").iterdir()}
    try:
        server.start()
    except RuntimeError:
        lines = [line for line in server.log().splitlines() if not line.startswith("ts=")]
        assert server.process.poll() == 2 and len(lines) == 1 and lines[0].startswith("narthex: "), server.log()[-2000:]
        assert {p.name for p in (server.data / "blocks").iterdir()} == blocks
        return
    found, warnings = read_what_is_there(server)
    wrong = [key for key, value in found.items() if ledger.sent.get(key) != value]
    assert not wrong, f"{len(wrong)} samples that nobody wrote, first {wrong[0]}"
    there = {p.name for place in ("blocks", "quarantine") for p in (server.data / place).iterdir()}
    assert blocks <= there, f"gone: {blocks - there}"
    missing = len(set(baseline) - set(found))
    is_told = bool(warnings) or any(f"level={level}" in server.log() for level in ("error", "warn"))
    # The end of the newest segment that is torn off, or whose last commit's header is lost, looks like one never written.
    if missing > 0 and not (is_tail and (is_cut or missing <= TAIL_SAMPLES_MAX)):
        assert is_told, f"{missing} samples are missing, nothing tells"
    if len(there & blocks - {p.name for p in (server.data / "blocks").iterdir()}) > 0:
        assert server.metric("narthex_blocks_quarantined_total") > 0
    assert not is_stopped or server.stop() == 0


def read_what_is_there(server):
    """As read_all, of an answer that may carry warnings or be refused as a whole for damage."""
    answer = ask_all(server)
    if answer.status != 200:
        return {}, [answer.body.decode()]
    answer = json.loads(answer.body)
    return samples_of(answer), answer.get("warnings", [])


def run_lane(good, directory, seed, rounds):
    random_ = random.Random(seed)
    directory.mkdir()
    for number in range(rounds):
        kind = sorted(KINDS)[number % len(KINDS)]
        work = directory / f"{number}"
        shutil.copytree(good[0], work)
        is_cut = random_.randrange(4) == 0
        what, is_tail = damage(work, kind, (number // len(KINDS) + random_.random()) / (rounds // len(KINDS)), is_cut, random_)
        if what is None:
            continue
        server = Server(work, *QUIET)
        try:
            check(server, good, is_tail, is_cut, number % 4 == 0)
        except AssertionError as failure:
            raise AssertionError(f"{what}: {failure}\n{server.log()[-2000:]}") from failure
        finally:
            if server.process.poll() is None:
                server.kill()
            Server.running.discard(server)
        shutil.rmtree(work)


def test_damage_at_places_all_over_every_kind_of_file(good, tmp_path, is_long):
    seed = int(os.environ.get("NARTHEX_DAMAGE_SEED", random.randrange(1 << 30)))
    print("replay with NARTHEX_DAMAGE_SEED =", seed)
    assert all(list(pathlib.Path(good[0]).glob(pattern)) for pattern in KINDS.values())
    rounds = 750 if is_long else 25
    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        list(pool.map(lambda i: run_lane(good, tmp_path / f"lane-{i}", f"{seed} {i}", rounds), range(LANES)))
