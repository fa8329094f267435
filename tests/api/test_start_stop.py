"""Starting and stopping: one clear line for everything that can be wrong, and nothing lost in between."""

import os
import signal
import socket
import subprocess
import time

import pytest

from support import remote_write as rw
from support.server import Server, narthex_bin

NOW_MS = int(time.time()) * 1000


def run(*arguments):
    return subprocess.run([narthex_bin(), *arguments], capture_output=True, text=True, timeout=30)


def test_version_and_help():
    assert run("--version").stdout.startswith("narthex, version ")
    text = run("--help")
    assert text.returncode == 0
    for flag in ("--config.file", "--storage.path", "--storage.retention.time", "--web.listen-address", "--log.level"):
        assert flag in text.stdout


@pytest.mark.parametrize("arguments, words", [
    (["--no-such-flag"], "no-such-flag"),
    (["--storage.retention.time=soon"], "storage.retention.time"),
    (["--storage.retention.time=1s"], "storage.retention.time"),
    (["--log.level=loud"], "log.level"),
    (["--web.listen-address=nonsense"], "nonsense"),
    (["--web.listen-address=127.0.0.1:99999"], "99999"),
    (["--config.file=/nonexistent.yml"], "/nonexistent.yml"),
    (["--storage.path=/proc/nothing"], "/proc/nothing"),
    (["extra"], "extra"),
    (["serve", "cake"], "serve cake"),
])
def test_a_wrong_start_is_one_line_and_status_2(arguments, words):
    result = run("--web.listen-address=127.0.0.1:0", *arguments) if arguments[0].startswith("--") else run(*arguments)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("ts=")]
    assert result.returncode == 2
    assert len(lines) == 1 and words in lines[0] and lines[0].startswith("narthex: ")


def test_a_data_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    result = run("--web.listen-address=127.0.0.1:0", f"--storage.path={tmp_path}/file")
    assert result.returncode == 2 and "file" in result.stderr


def test_a_taken_address_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run(f"--web.listen-address=127.0.0.1:{taken.getsockname()[1]}", f"--storage.path={tmp_path}/data")
    assert result.returncode == 2 and str(taken) is not None and "in use" in result.stderr


def test_a_second_process_on_the_same_directory_is_refused(server):
    result = run("--web.listen-address=127.0.0.1:0", f"--storage.path={server.data}")
    assert result.returncode == 2
    assert str(server.process.pid) in result.stderr


def test_a_deleted_lock_file_lets_no_second_process_in(server):
    (server.data / "LOCK").unlink()
    result = run("--web.listen-address=127.0.0.1:0", f"--storage.path={server.data}")
    assert result.returncode == 2 and "another narthex" in result.stderr


def test_the_config_file_is_read_and_its_errors_have_a_place(tmp_path):
    good = tmp_path / "good.yml"
    good.write_text("global:\n  evaluation_interval: 30s\nstorage:\n  tsdb:\n    retention:\n      time: 30d\n")
    with Server(tmp_path / "data", f"--config.file={good}") as server:
        assert "retention_h=720" in server.log()
    short = tmp_path / "short.yml"
    short.write_text("storage: {tsdb: {retention: {time: 1s}}}\n")
    result = run("--web.listen-address=127.0.0.1:0", f"--config.file={short}")
    assert result.returncode == 2 and "duration out of bounds: 1s" in result.stderr
    bad = tmp_path / "bad.yml"
    bad.write_text("global:\n  evaluation_intervall: 30s\n")
    result = run("--web.listen-address=127.0.0.1:0", f"--config.file={bad}")
    assert result.returncode == 2 and f"{bad}:2:3: unknown key" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_clean_and_the_data_is_there_after_the_next_start(tmp_path, number):
    server = Server(tmp_path / "data").start()
    assert server.write(rw.body(rw.series({"__name__": "up"}, [(NOW_MS, 1.0)]))).status == 204
    server.process.send_signal(number)
    assert server.process.wait(30) == 0
    with server:
        assert server.samples("up", NOW_MS - 1000, NOW_MS) == {(("__name__", "up"),): [(NOW_MS, "1")]}


def test_sighup_does_not_end_it(server):
    server.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert server.get("/-/healthy").status == 200


def test_logs_are_logfmt(server):
    lines = server.log().splitlines()
    assert lines and all(line.startswith("ts=") and " level=" in line and " msg=" in line for line in lines)


def test_lost_and_found_and_foreign_files_do_not_disturb(tmp_path):
    data = tmp_path / "data"
    (data / "lost+found").mkdir(parents=True)
    (data / "notes.txt").write_text("mine")
    (data / "blocks").mkdir()
    (data / "blocks" / "unknown").mkdir()
    with Server(data) as server:
        assert server.get("/-/ready").status == 200
    assert (data / "notes.txt").read_text() == "mine"
    assert not (data / "blocks" / "unknown").exists()
    assert any("unknown" in name for name in os.listdir(data / "quarantine"))
