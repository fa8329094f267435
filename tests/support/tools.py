"""Runs `narthex storage ...` and reads what it prints."""

import json
import subprocess

from support.server import narthex_bin


def storage(*arguments, timeout_s=120):
    """The ended process, stdout and stderr as text."""
    return subprocess.run([narthex_bin(), "storage", *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s)


def verify(directory):
    """(exit status, the JSON object)."""
    ended = storage("verify", directory, "--json")
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def dump(directory, *flags, expect=0):
    """Every sample: {line without its value and time: {time: value text}}."""
    ended = storage("dump", directory, *flags)
    assert ended.returncode == expect, (ended.returncode, ended.stderr)
    found = {}
    for line in ended.stdout.splitlines():
        series, value, time_ms = line.rsplit(" ", 2)
        found.setdefault(series, {})[int(time_ms)] = value
    return found


def tree(directory):
    """Every file with its bytes: what a tool that changes nothing must leave as it was. But LMDB's table of readers."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file() and p.name != "catalog.mdb-lock"}
