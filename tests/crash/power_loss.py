"""Loss of power: records all calls that change the data directory while a server works, builds disks that the loss may leave at many
moments, and starts narthex on each.

    tests/crash/power_loss.py record DIR [SEED]            a run under load, with kills, flushes, merges, retention; into DIR
    tests/crash/power_loss.py check DIR [SEED [COUNT]]     COUNT disks at moments chosen by SEED
    tests/crash/power_loss.py replay DIR SEED NUMBER       one disk of those, kept in DIR/<NUMBER>, with the reason of its failure

tests/support/disk_model.py has the rules of what may be lost.
"""

import concurrent.futures
import pathlib
import pickle
import random
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from support import disk_model  # noqa: E402
from support.load import ADMIN_FLAGS, DAY_MS, Ledger, Load, mono_ns  # noqa: E402
from support.recovery import recover  # noqa: E402
from support.server import Server  # noqa: E402
from support.shim import Shim  # noqa: E402

FLAGS = ("--storage.flush-interval=1s", "--storage.journal-segment-size=1MB", "--storage.cache-size=4MB", *ADMIN_FLAGS)
WEIGHTS = {disk_model.SYNC_END: 3, disk_model.SYNC_BEGIN: 2, disk_model.WRITE_SYNCED: 8, disk_model.RENAME: 12, disk_model.UNLINK: 3,
           disk_model.MKDIR: 6, disk_model.RMDIR: 6, disk_model.OPEN: 0.5, disk_model.CLOSE: 0.2, disk_model.SYNC_FAILED: 5}
RETENTION_DAYS = 40


def run_phase(shim, data, ledger, seconds, end, random_, days_back, retention):
    """One process: start, load, an end by `end`."""
    server = Server(data, *FLAGS, f"--storage.retention.time={retention}d", env=shim.env)
    server.log_path = data.parent / "server.log"
    if end == "early":
        shim.kill_at(shim.changes + random_.randrange(1, 60))  # perhaps within the start
    try:
        server.start()
        load = Load(server, random_.random(), ledger, days_back=days_back).start()
        time.sleep(seconds)
        if end == "stop":
            load.stop()
            assert server.stop() == 0
        else:
            shim.kill_at(shim.changes + random_.randrange(1, 40))
            if not server.has_ended(3):
                server.kill()
            load.stop()
    except RuntimeError:
        assert server.process.poll() == -9, server.log()[-1000:]
    finally:
        if server.process.poll() is None:
            server.kill()
        Server.running.discard(server)
    shim.kill_at(0)


def record(directory, seed, seconds=2.5):
    directory = pathlib.Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    random_ = random.Random(seed)
    data, ledger = directory / "data", Ledger()
    shim = Shim(data, directory, has_log=True)
    for _ in range(random_.randrange(3)):
        run_phase(shim, data, ledger, 0, "early", random_, 80, 90)
    run_phase(shim, data, ledger, seconds, "kill", random_, 80, 90)
    run_phase(shim, data, ledger, random_.uniform(0.3, seconds), "kill", random_, 80, 90)
    run_phase(shim, data, ledger, 0, "early", random_, 80, 90)
    # What is older goes two seconds after the start.
    ledger.cutoffs.append((mono_ns(), int((time.time() - 86_400 * RETENTION_DAYS) * 1000) + DAY_MS // 24))
    run_phase(shim, data, ledger, max(seconds, 3), random_.choice(("kill", "stop")), random_, RETENTION_DAYS - 2, RETENTION_DAYS)
    shim.close()
    (directory / "ledger.pickle").write_bytes(pickle.dumps(ledger))
    return directory


def record_after_killed_start(directory, seed, change):
    """The first start is killed before its change of that number; the next one takes writes. What the first did is in nobody's cache
    but the kernel's."""
    directory = pathlib.Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    random_ = random.Random(seed)
    data, ledger = directory / "data", Ledger()
    shim = Shim(data, directory, has_log=True)
    shim.kill_at(change)
    server = Server(data, *FLAGS, env=shim.env)
    server.log_path = directory / "server.log"
    server.launch()
    if not server.has_ended(3):
        server.kill()
    Server.running.discard(server)
    shim.kill_at(0)
    run_phase(shim, data, ledger, 0.25, "kill", random_, 80, 90)
    shim.close()
    (directory / "ledger.pickle").write_bytes(pickle.dumps(ledger))
    return directory


class Recording:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory).resolve()
        self.log = disk_model.Log(self.directory / "disk.log")
        self.ledger = pickle.loads((self.directory / "ledger.pickle").read_bytes())

    def unseen(self):
        """Files that are not what the log says: the shim missed a call."""
        disk = disk_model.Disk(self.directory / "data")
        for entry in self.log.entries:
            disk.apply(entry, self.log.data(entry))
        return disk.differences(self.directory / "data")

    def moments(self, seed, count):
        """[(entry, number)], ascending: the power goes before that entry."""
        random_ = random.Random(seed)
        weights, since_start = [], 0
        for entry in self.log.entries:
            since_start = 0 if entry.kind == disk_model.START else since_start + 1
            weights.append(WEIGHTS.get(entry.kind, 1) * (5 if since_start < 60 else 1))
        chosen = random_.choices(range(1, len(weights) + 1), weights, k=count)  # often just behind something that matters
        return sorted((entry, number) for number, entry in enumerate(chosen))

    def states(self, seed, count, only=None):
        """Builds the disks one after the other: (number, directory, moment, what it is)."""
        disk = disk_model.Disk(self.directory / "data")
        entries, at = self.log.entries, 0
        for until, number in self.moments(seed, count):
            for entry in entries[at:until]:
                disk.apply(entry, self.log.data(entry))
            at = max(at, until)
            if only is not None and number != only:
                continue
            out = self.directory / str(number)
            shutil.rmtree(out, ignore_errors=True)
            modes = disk.crash(random.Random(f"{seed} {number}"), out)
            moment_ns = entries[until].time_ns if until < len(entries) else entries[-1].time_ns + 1
            yield number, out, moment_ns, f"entry {until} of {len(entries)}, {modes}"


def check_state(recording, state):
    """None, or why the disk is not as it must be."""
    number, out, moment_ns, what = state
    try:
        recover(out, recording.ledger, moment_ns)
        if number % 4 == 0:
            recover(out, recording.ledger, moment_ns)
    except AssertionError as failure:
        return f"{what}: {failure}"
    shutil.rmtree(out, ignore_errors=True)
    pathlib.Path(f"{out}.recovery.log").unlink(missing_ok=True)
    return None


def check(directory, seed, count, workers=2):
    """{number: reason} of the disks that failed; their directories stay."""
    recording = Recording(directory)
    failures = {}

    def collect(done):
        for future in done:
            reason = future.result()
            if reason is not None:
                failures[running[future]] = reason
            del running[future]

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        running = {}
        for state in recording.states(seed, count):
            if len(running) > workers:
                collect(concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED).done)
            running[pool.submit(check_state, recording, state)] = state[0]
        collect(list(concurrent.futures.wait(running).done))
    return failures


def main(arguments):
    if len(arguments) < {"replay": 4}.get(arguments[0] if arguments else "", 2) or arguments[0] not in ("record", "check", "replay"):
        print(__doc__)
        return 2
    command, directory = arguments[:2]
    numbers = [int(a) for a in arguments[2:]]
    if command == "record":
        record(directory, numbers[0] if numbers else 1)
        return 0
    if command == "check":
        failures = check(directory, *(numbers + [1, 40][len(numbers):]))
        for number, reason in sorted(failures.items()):
            print(f"{number}: {reason}")
        print(len(failures), "failed")
        return 1 if failures else 0
    recording = Recording(directory)
    # The first so many moments are the same however many are chosen.
    for state in recording.states(numbers[0], numbers[1] + 1, only=numbers[1]):
        kept = pathlib.Path(f"{state[1]}.disk")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(state[1], kept) if state[1].exists() else kept.mkdir()
        print(check_state(recording, state) or "as it must be", f"(disk in {kept})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
