"""Laws of the metrics: the format, what is kept from run to run, and who is answered."""

from __future__ import annotations

import re
import resource
import selectors
import shutil
import socket
import subprocess
from contextlib import suppress
from dataclasses import replace
from math import inf

import pytest

from jqcli.core.tally import BORDERS, Tally
from jqcli.edge.metrics import Last, MetricsFile, expose
from jqcli.edge.scrape import Endpoint
from jqcli.errors import UsageError
from tests.command import wait_for
from tests.edge.snapshot import HOSTILE, take_flow, take_hostile_snapshot, take_snapshot
from tests.exposition import values_of


def take_full_snapshot(**changes):
    tally = Tally()
    for microseconds, count in ((3, 5), (900, 2), (40_000_000, 1)):
        tally.count_latency(microseconds, count)
    return take_snapshot(busy=tally.busy, histogram=tally.histogram(), **changes)


def is_right(text):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    return (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize("last", [Last(), Last(1.5e9, 1.25e9, 74)])
@pytest.mark.parametrize(
    "snapshot",
    [
        take_full_snapshot(),
        take_snapshot(),
        take_hostile_snapshot(HOSTILE[:-1]),
        take_full_snapshot(flow=take_flow()),
        take_snapshot(flow=take_flow(HOSTILE)),
    ],
)
def test_promtool_finds_nothing_to_complain_about(snapshot, last):
    assert is_right(expose(snapshot, last, {}, is_running=True))
    assert is_right(expose(snapshot, last, {"name": 'a"b\\c\nd'}, is_running=False))


def test_lines_and_workers_are_counted_for_what_they_are():
    snapshot = take_snapshot()
    busy, idle = snapshot.workers
    snapshot = replace(snapshot, workers=(busy, replace(idle, state="idle"), replace(idle, state="idle")))
    found = values_of(expose(snapshot, Last(), {}, is_running=True).decode())
    assert found["jqcli_lines_read_total"] == snapshot.read
    assert found["jqcli_queue_jobs"] == snapshot.unfinished
    states = {state: found[f'jqcli_workers{{state="{state}"}}'] for state in ("starting", "running", "idle", "busy")}
    assert states == {"starting": 0, "running": 0, "idle": 2, "busy": 1}


def test_every_family_has_its_help_and_type_once_and_before_its_samples():
    lines = expose(take_full_snapshot(), Last(1, 1, 0), {}, is_running=True).decode().splitlines()
    seen = []
    for line in lines:
        if line.startswith("# HELP "):
            seen.append(line.split()[2])
        elif not line.startswith("# TYPE "):
            assert line.startswith(seen[-1]), line
    assert len(seen) == len(set(seen)) == sum(line.startswith("# TYPE ") for line in lines)


def test_limits_breakers_budget_level_and_what_is_set_aside_are_told_where_there_are_any():
    plain = values_of(expose(take_snapshot(), Last(), {}, is_running=True).decode())
    told = values_of(expose(take_snapshot(flow=take_flow()), Last(), {}, is_running=True).decode())
    assert {name: told[name] for name in told.keys() - plain.keys()} == {
        'jqcli_held_jobs{by="rate"}': 12,
        'jqcli_held_jobs{by="breaker"}': 3,
        'jqcli_held_jobs{by="retry_budget"}': 1,
        'jqcli_lane_jobs{kind="tenant",of="acme"}': 11,
        'jqcli_lane_jobs{kind="handler",of=""}': 2,
        'jqcli_lane_jobs{kind="rest",of=""}': 3,
        'jqcli_breaker_open{kind="user.id",of="acme"}': 1,
        'jqcli_breaker_open{kind="rest",of=""}': 1,
        "jqcli_breaker_trips_total": 4,
        "jqcli_breaker_probes_total": 5,
        "jqcli_rate_limited_total": 6,
        "jqcli_set_aside_jobs": 8,
        "jqcli_level_jobs": 7,
        "jqcli_retry_budget_left": 9.0,
    }


def test_the_histogram_counts_every_attempt_and_grows():
    found = values_of(expose(take_full_snapshot(), Last(), {}, is_running=True).decode())
    name = "jqcli_attempt_duration_seconds"
    counts = [found[f'{name}_bucket{{le="{"+Inf" if border == inf else repr(border)}"}}'] for border in BORDERS]
    assert counts == sorted(counts)
    assert counts[0] == 5
    assert counts[BORDERS.index(0.001)] == 7
    assert counts[BORDERS.index(30.0)] == 7
    assert counts[-1] == found[f"{name}_count"] == 8
    assert found[f"{name}_sum"] == pytest.approx(40.001815)


def test_the_file_is_there_from_the_start_and_says_how_the_last_run_ended(tmp_path):
    path = tmp_path / "nightly.prom"

    def run(exit_code):
        file = MetricsFile(str(path), print)
        assert file.interval == 15
        file.update(take_full_snapshot())
        meanwhile = values_of(path.read_text())
        file.end(take_full_snapshot(), exit_code)
        return meanwhile, values_of(path.read_text())

    label = '{name="nightly"}'
    first, after_first = run(0)
    assert first[f"jqcli_running{label}"] == 1
    assert f"jqcli_last_exit_code{label}" not in first
    assert after_first[f"jqcli_running{label}"] == after_first[f"jqcli_last_exit_code{label}"] == 0
    second, after_second = run(1)
    assert second[f"jqcli_last_exit_code{label}"] == 0
    assert after_second[f"jqcli_last_exit_code{label}"] == 1
    success = f"jqcli_last_success_timestamp_seconds{label}"
    assert after_second[success] == second[success] == after_first[success]
    run_at = f"jqcli_last_run_timestamp_seconds{label}"
    assert after_second[run_at] > after_first[run_at] == after_first[success]
    assert is_right(path.read_bytes())


@pytest.mark.parametrize(
    "content", [b"", b"\xff\n", b"jqcli_last_exit_code{} x\njqcli_last_run_timestamp_seconds 1.e.e\n"]
)
def test_a_file_of_someone_else_is_no_reason_to_fail(tmp_path, content):
    path = tmp_path / "m.prom"
    path.write_bytes(content)
    MetricsFile(str(path), print).update(take_snapshot())
    assert "jqcli_jobs_total" in path.read_text()


def test_metrics_that_cannot_be_written_are_said_once(tmp_path):
    said = []
    file = MetricsFile(str(tmp_path / "none" / "m.prom"), said.append)
    file.update(take_snapshot())
    file.end(take_snapshot(), 0)
    assert len(said) == 1


# The endpoint


@pytest.fixture
def served():
    """An endpoint, its port, and a function that lets its loop turn until something holds."""
    with selectors.DefaultSelector() as selector, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        endpoint = Endpoint(("127.0.0.1", port), selector)

        def turn(condition):
            def look():
                for key, mask in selector.select(0):
                    key.data(mask)
                return condition()

            return wait_for(look)

        yield endpoint, port, turn
        endpoint.close()
        assert not selector.get_map()


def ask(served, request):
    """Return the whole answer to a request."""
    _, port, turn = served
    with socket.create_connection(("127.0.0.1", port)) as channel:
        channel.setblocking(False)  # noqa: FBT003 - the standard library's own
        channel.sendall(request)
        answer = b""

        def is_over():
            nonlocal answer
            with suppress(BlockingIOError):
                data = channel.recv(65536)
                answer += data
                return not data
            return False

        turn(is_over)
    return answer


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\r\n\r\n", b"405"),
    ],
)
def test_a_request_is_answered(served, request_, status):
    served[0].update(take_full_snapshot())
    head, _, body = ask(served, request_).partition(b"\r\n\r\n")
    assert head.split()[1] == status
    if status == b"200":
        whole = expose(take_full_snapshot(), Last(), {}, is_running=True)
        assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(whole)
        assert body == (b"" if request_.startswith(b"HEAD") else whole)


def test_before_the_first_moment_there_is_nothing_to_serve(served):
    assert ask(served, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503")


def test_a_request_without_end_is_hung_up_on(served):
    with suppress(ConnectionError):
        assert ask(served, b"GET /" + b"x" * 10_000) == b""
    assert not served[0]._callers


def test_dawdlers_and_crowds_do_not_keep_the_endpoint_busy(served):
    endpoint, port, turn = served
    dawdlers = []
    for count in range(1, 21):
        dawdlers.append(socket.create_connection(("127.0.0.1", port)))
        turn(lambda count=count: len(endpoint._callers) == min(count, 16))
    for caller in endpoint._callers.values():
        caller.deadline = 0.0
    endpoint.update(take_snapshot())
    assert not endpoint._callers
    for channel in dawdlers:
        channel.close()


def test_where_no_descriptor_is_left_nobody_is_woken_again_and_again_and_later_it_is_answered(served):
    endpoint, port, turn = served
    endpoint.update(take_snapshot())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(("127.0.0.1", port)) as caller:
        assert endpoint._selector.select(20)
        resource.setrlimit(resource.RLIMIT_NOFILE, (caller.fileno() + 1, hard))
        try:
            for key, mask in endpoint._selector.select(0):
                key.data(mask)
            assert not endpoint._selector.select(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not endpoint._callers
        endpoint.update(take_snapshot())
        turn(lambda: len(endpoint._callers) == 1)


def test_a_port_that_is_taken_is_an_error_that_names_it(served):
    with selectors.DefaultSelector() as selector, pytest.raises(UsageError, match=f"127.0.0.1:{served[1]} cannot"):
        Endpoint(("127.0.0.1", served[1]), selector)
