"""Whole-server tests: they run the release binary (NARTHEX_BIN) and talk to it over HTTP."""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.server import Server  # noqa: E402  (needs the path above)


@pytest.fixture(autouse=True)
def no_server_left():
    """A test that failed in the middle leaves no process behind; servers of wider fixtures live on."""
    before = set(Server.running)
    yield
    for left in set(Server.running) - before:
        left.kill()


@pytest.fixture
def server(tmp_path):
    """A running server on a free port with an empty data directory; stopped at the end."""
    with Server(tmp_path / "data") as running:
        yield running


@pytest.fixture(scope="session")
def is_long():
    """True in the long campaigns (scripts/test --long)."""
    return os.environ.get("NARTHEX_LONG") == "1"
