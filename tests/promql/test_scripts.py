"""Runs PromQL scripts through `narthex test promql`: our own must pass whole, Prometheus' apart from a list that only shrinks."""

import os
import pathlib
import re
import subprocess

import pytest

from support.server import narthex_bin

HERE = pathlib.Path(__file__).parent
KNOWN = HERE / "known_failures.txt"


def run_script(path):
    """(passed, failed lines as 'file:line', output) of one script."""
    result = subprocess.run([narthex_bin(), "test", "promql", str(path)], capture_output=True, text=True, timeout=600)
    summary = re.search(r"(\d+) passed, (\d+) failed", result.stdout)
    assert summary, result.stdout + result.stderr
    failed = re.findall(rf"{re.escape(path.name)}:(\d+):", result.stdout)
    assert (result.returncode == 0) == (int(summary.group(2)) == 0)
    return int(summary.group(1)), int(summary.group(2)), {f"{path.name}:{line}" for line in failed}, result.stdout


@pytest.mark.parametrize("path", sorted(HERE.glob("*.test")), ids=lambda p: p.name)
def test_own_script_passes(path):
    passed, failed, _, output = run_script(path)
    assert failed == 0 and passed > 0, output


def conformance_scripts():
    folder = os.environ.get("NARTHEX_CONFORMANCE_DIR")
    return sorted(pathlib.Path(folder, "promqltest").glob("*.test")) if folder else []


@pytest.mark.skipif(not conformance_scripts(), reason="NARTHEX_CONFORMANCE_DIR names no folder with promqltest/")
def test_prometheus_scripts_pass_but_for_the_known_list():
    known = {line.split()[0] for line in KNOWN.read_text().splitlines() if line and not line.startswith("#")}
    now_failing = set()
    for path in conformance_scripts():
        now_failing |= run_script(path)[2]
    new, mended = sorted(now_failing - known), sorted(known - now_failing)
    assert not new, f"fail and are not in {KNOWN.name}: {new}"
    assert not mended, f"pass now: take them out of {KNOWN.name}: {mended}"
