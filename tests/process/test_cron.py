"""A run that nobody watches: under cron, beside others, for a monitor, as a service; with real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from jqcli.edge.systemd import take_notifier
from tests.command import LIMIT, ROOT, wait_for
from tests.process.test_seen import WAITING, wait_for_status

pytestmark = pytest.mark.walk

OUTPUT = ("-o", "results.jsonl")


@pytest.fixture
def quiet(folder):
    """Run as cron does: next to no environment, no terminal, and both streams in one mail."""

    def run(*args):
        words = folder.argv("jobs.jsonl", *OUTPUT, *args)
        return subprocess.run(
            ["env", "-i", "HOME=/", "PATH=/usr/bin:/bin", "SHELL=/bin/sh", f"PYTHONPATH={ROOT}", *words],
            cwd=folder.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=3 * LIMIT, check=False,
        )  # fmt: skip

    return run


def test_success_is_not_one_byte_of_mail_the_first_time_and_again(folder, quiet):
    folder.write("jobs.jsonl", [*({"n": n} for n in range(200)), {"n": 1}, {"do": "skip"}, {"do": "flaky", "times": 1}])
    for _ in range(2):
        ran = quiet("--backoff-base", "1ms")
        assert (ran.returncode, ran.stdout) == (0, b"")


def test_a_thousand_different_errors_are_one_digest_under_25_lines(folder, quiet):
    words = [f"{chr(97 + n // 100)}{chr(97 + n // 10 % 10)}{chr(97 + n % 10)}" for n in range(1000)]
    folder.write(
        "jobs.jsonl", [{"do": "say_badly", "message": f"no {word}x here\x1b[31m", "n": word} for word in words]
    )
    ran = quiet("-r", "1")
    mail = ran.stdout.decode()
    assert ran.returncode == 1
    assert len(mail.splitlines()) < 25
    assert mail.startswith("jq-run: finished with 1,000 dead letters")
    assert mail.replace("\n", "").isprintable()
    assert "... and 196 more groups" in mail
    assert "results.jsonl" in mail
    assert "jq-run dlq retry" in mail


# Beside another run


def test_a_run_waits_for_the_lock_as_long_as_it_is_told_to_and_then_goes_on(folder):
    folder.write("jobs.jsonl", WAITING)
    first = folder.start("jobs.jsonl", *OUTPUT, "--status-file", "s.json")
    wait_for_status(folder / "s.json", completed=2)
    second = folder.start("jobs.jsonl", *OUTPUT, "--lock-wait", "60s", "-v", "--summary", "json")
    line = second.stderr.readline().decode()
    assert f"another run writes to this file (process {first.pid}); waiting" in line
    folder.write("go", "")
    assert first.wait(LIMIT) == 0
    _, err = second.communicate(timeout=LIMIT)
    assert second.returncode == 0, err
    assert json.loads(err.splitlines()[-1])["settled_before"] == 3
    folder.check()


def test_the_wait_for_the_lock_ends_with_75(folder):
    folder.write("jobs.jsonl", WAITING)
    folder.start("jobs.jsonl", *OUTPUT, "--status-file", "s.json")
    wait_for_status(folder / "s.json", completed=2)
    begun = time.monotonic()
    assert "another run" in folder.run("jobs.jsonl", *OUTPUT, "--lock-wait", "500ms", code=75).err
    assert time.monotonic() - begun >= 0.5


def test_a_signal_ends_the_wait_for_the_lock(folder):
    folder.write("jobs.jsonl", WAITING)
    folder.start("jobs.jsonl", *OUTPUT, "--status-file", "s.json")
    wait_for_status(folder / "s.json", completed=2)
    second = folder.start("jobs.jsonl", *OUTPUT, "--lock-wait", "1h", "-v")
    assert b"waiting" in second.stderr.readline()
    second.send_signal(signal.SIGTERM)
    assert second.wait(LIMIT) == 143


# A monitor


@contextmanager
def monitor(answers=()):
    """Serve on the loopback; give the address and the list of what was asked, with the first answers' codes."""
    asked, codes = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((urlsplit(self.path), json.loads(body)))
            self.send_response(codes.pop(0) if codes else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/uuid", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("jobs, code", [([{"n": 1}, {"n": 2}], 0), ([{"n": 1}, {"do": "reject"}], 1)])
def test_a_monitor_hears_of_the_start_and_of_the_end(folder, jobs, code):
    folder.write("jobs.jsonl", jobs)
    with monitor() as (url, asked):
        ran = folder.run("jobs.jsonl", *OUTPUT, "--ping", f"{url}/?a=b", "--summary", "json", code=code)
    (start, _), (end, counts) = asked
    assert (start.path, end.path) == ("/uuid/start", f"/uuid/{code}")
    assert start.query == end.query
    query = parse_qs(end.query)
    assert query["a"] == ["b"]
    assert len(query["rid"][0]) == 36
    assert counts == {name: value for name, value in ran.summary.items() if name != "outputs"}


def test_a_monitor_hears_of_a_run_that_could_not_begin(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.write("results.jsonl", "not ours\n")
    with monitor() as (url, asked):
        folder.run("jobs.jsonl", *OUTPUT, "--ping", url, code=65)
    assert [one.path for one, _ in asked] == ["/uuid/start", "/uuid/65"]


@pytest.mark.parametrize("answers, tries", [([500, 500, 500, 503, 503, 503], 6), ([404, 404], 2), ([500, 200], 3)])
def test_a_monitor_that_is_ill_does_not_fail_the_run(folder, answers, tries):
    folder.write("jobs.jsonl", [{"n": 1}])
    with monitor(answers) as (url, asked):
        ran = folder.run("jobs.jsonl", *OUTPUT, "--ping", url, "-v", code=0)
    assert len(asked) == tries
    assert ("--ping: 0: the monitor answered" in ran.err) == (tries != 3)


def test_a_monitor_that_does_not_answer_costs_bounded_time_and_no_word(folder):
    folder.write("jobs.jsonl", [{"n": 1}])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        ran = folder.run("jobs.jsonl", *OUTPUT, "--ping", url, code=0, limit=60)
        assert time.monotonic() - begun < 40
    assert (ran.out, ran.err) == (b"", "")
    refused = folder.run("jobs.jsonl", *OUTPUT, "--ping", url, code=0)
    assert refused.err == ""


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://x/y", "file:///etc/passwd", "hc-ping.com/x", "http://", "http://a b"),
        *("http://[::1/x", "http://a:99999/", "http://a:b/", "http://:80/"),
    ],
)
def test_a_monitor_is_a_web_address(folder, url):
    folder.write("jobs.jsonl", [{"n": 1}])
    assert "--ping: " in folder.run("jobs.jsonl", *OUTPUT, "--ping", url, code=2).err


# A service


@pytest.fixture
def manager(tmp_path):
    """The socket of a service manager, and a function that returns what it was told by now."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)  # noqa: FBT003 - the standard library's own
        told = []

        def hear():
            while True:
                try:
                    told.append(channel.recv(65536).decode().splitlines())
                except BlockingIOError:
                    return told

        yield str(tmp_path / "notify"), hear


def test_a_service_manager_hears_that_the_run_is_up_how_far_it_is_and_that_it_ends(folder, manager):
    address, hear = manager
    folder.write("jobs.jsonl", [*WAITING, {"do": "show_environment"}])
    child = folder.start("jobs.jsonl", *OUTPUT, "-b", "1", NOTIFY_SOCKET=address, WATCHDOG_USEC="400000")
    wait_for(lambda: any("2 completed" in " ".join(words) for words in hear()))
    told = hear()
    assert "READY=1" in told[0]
    assert all("READY=1" not in words for words in told[1:])
    assert all("WATCHDOG=1" in words and words[0].startswith("STATUS=") for words in told)
    folder.write("go", "")
    child.communicate(timeout=LIMIT)
    assert child.returncode == 0
    last = hear()[-1]
    assert last[0] == "STOPPING=1"
    assert "exit code 0" in last[1]
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert [] in [json.loads(line)["result"] for line in lines]


@pytest.mark.parametrize(
    "environment, interval",
    [
        ({"NOTIFY_SOCKET": "@abstract"}, 1.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.25),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, 1.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "x"}, 1.0),
        ({"NOTIFY_SOCKET": "vsock:2:1"}, None),
        ({}, None),
    ],
)
def test_what_the_environment_asks_for_is_taken_out_of_it(environment, interval):
    notifier = take_notifier(environment)
    assert (notifier and notifier.interval) == interval
    assert environment == {}


def test_lines_carry_levels_where_stderr_is_the_journal_and_nowhere_else(folder):
    folder.write("jobs.jsonl", [{"n": 1}, {"do": "reject"}])
    program = (
        "import os, subprocess, sys; s = os.fstat(2); "
        "os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino + int(sys.argv[1])}'; "
        "sys.exit(subprocess.run(sys.argv[2:]).returncode)"
    )

    def run(shift, *args):
        words = [sys.executable, "-c", program, str(shift), *folder.argv("jobs.jsonl", *OUTPUT, *args)]
        done = subprocess.run(words, cwd=folder.path, env=folder.env(), capture_output=True, timeout=LIMIT, check=False)
        return done.stderr.decode().splitlines()

    lines = run(0, "--progress", "plain")
    assert lines[0].startswith("<6>jq-run: ")
    assert any(line.startswith("<4>jq-run: finished with 1 dead") for line in lines)
    assert all(line.startswith(("<6>", "<4>")) for line in lines)
    assert run(0, "-j", "x")[0].startswith("<3>jq-run: --workers")
    assert not any(line.startswith("<") for line in run(1, "--progress", "plain"))


def test_the_units_of_the_samples_are_right(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / ".local" / "bin" / "jq-run"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "runtime").mkdir()
    units = [str(ROOT / "samples" / "orders" / "systemd" / name) for name in ("orders.service", "orders.timer")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *units],
        env=os.environ | {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "runtime")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "orders" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_the_service_of_the_samples_does_what_the_crontab_line_does():
    units = (ROOT / "samples" / "orders" / "systemd" / "orders.service").read_text()
    crontab = (ROOT / "samples" / "orders" / "crontab").read_text()
    for word in ("--profile nightly", "jobs.jsonl", "-o nightly.results.jsonl"):
        assert word in units
        assert word in crontab
