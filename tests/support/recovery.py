"""What must hold of a data directory and its server after any crash."""

import pathlib
import re
import shutil
import time

from support.load import NEVER, read_all
from support.server import Server

# Nothing else happens in a server that only has to show what is there.
QUIET = ("--storage.flush-interval=2h", "--storage.flush-samples=1000000000", "--storage.retention.time=50y", "--storage.cache-size=4MB")


def complaints(log):
    """Lines that tell of damage or loss. The torn end of the journal, which nobody was told about, is none."""
    lines = re.findall(r".*level=(?:error|warn).*", log)
    return [line for line in lines if "was torn and is dropped" not in line] + re.findall(r".*(?:AddressSanitizer|assert).*", log)


def leftovers_now(server):
    data = pathlib.Path(server.data)
    out = [str(p) for name in ("tmp", "quarantine") for p in (data / name).iterdir()]
    blocks = sorted(p.name for p in (data / "blocks").iterdir())
    if len(blocks) != server.metric("narthex_blocks"):
        out.append(f"{len(blocks)} directories in blocks/ for {server.metric('narthex_blocks'):.0f} live blocks")
    out += [str(p) for p in data.iterdir() if p.suffix in (".new", ".tmp")]
    return out


def leftovers(server):
    """Files and directories that nothing refers to. A merge of the server's own comes and goes."""
    deadline = time.monotonic() + 20
    left = leftovers_now(server)
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = leftovers_now(server)
    return left


def recover(data, ledger, moment_ns=NEVER, log_path=None, flags=()):
    """Starts a server on what a crash left, checks all of it, ends it by kill -9. What it showed."""
    server = Server(data, *QUIET, *flags)
    server.log_path = pathlib.Path(log_path or f"{data}.recovery.log")
    log_before = len(server.log())
    try:
        server.start()
        found = read_all(server)
        ledger.check(found, moment_ns)
        told = complaints(server.log()[log_before:])
        assert not told, told[:5]
        left = leftovers(server)
        assert not left, left
        return found
    except RuntimeError as failure:
        raise AssertionError(f"no start: {failure}") from failure
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()


def recover_twice(data, ledger, moment_ns=NEVER):
    """Two starts from the same state, and a third from what the first left: all show the same."""
    twin = pathlib.Path(f"{data}.twin")
    shutil.rmtree(twin, ignore_errors=True)
    shutil.copytree(data, twin)
    found = recover(data, ledger, moment_ns)
    assert recover(twin, ledger, moment_ns) == found, "two starts from the same files differ"
    assert recover(data, ledger, moment_ns) == found, "the second start differs from the first"
    shutil.rmtree(twin)
    return found
