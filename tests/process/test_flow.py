"""Limits and outages with real processes, a real server on the loopback, and real time."""

from __future__ import annotations

import http.server
import itertools
import json
import threading
import time
from collections import Counter

import pytest

from tests import oracle
from tests.command import DEEDS

pytestmark = pytest.mark.walk

RETRY = ("--backoff-base", "50ms", "--backoff-max", "200ms")


class Server:
    """Answers 429 with Retry-After to some early calls, is down in the middle third, and well for the rest."""

    def __init__(self, jobs, down, busy=(20,)):
        self.calls: list[tuple[float, str, int]] = []
        self.well = Counter()
        self.jobs = jobs
        self.down = down
        self.down_until = None
        self.is_deadly = False
        self.busy = busy
        self._number = itertools.count(1)
        self._lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                code = outer.answer(self.path)
                self.send_response(code)
                if code == 429:
                    self.send_header("Retry-After", "1")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *args):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def answer(self, path):
        with self._lock:
            now = time.monotonic()
            code = self._code(next(self._number), now)
            if code == 200:
                self.well[path] += 1
            self.calls.append((now, path, code))
            return code

    def _code(self, number, now):
        if number in self.busy:
            return 429
        if self.down_until is None and self.well.total() >= self.jobs / 3:
            self.down_until = now + self.down
        if self.down_until is None or now >= self.down_until:
            return 200
        if self.is_deadly and now - self.calls[-1][0] >= 0.4:  # so long after the last call, it is a probe
            self.is_deadly = False
            return 500
        return 503

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server():
    one = Server(jobs=300, down=4.0)
    yield one
    one.close()


def test_a_run_outlives_an_outage_and_asks_little_meanwhile(folder, server):
    """Fault 39: nothing is dead, everything completes, and calls in the outage are threshold, workers and probes."""
    folder.write("jobs.jsonl", [{"n": n} for n in range(300)])
    ran = folder.run(
        "jobs.jsonl", "-H", f"{DEEDS}:call", "-o", "results.jsonl", "-j", "4", "-r", "3", *RETRY,
        "--breaker", "50%/500ms", "--summary", "json", code=0, limit=60, PORT=str(server.port),
    )  # fmt: skip
    count = folder.check()
    assert count.statuses == {"completed": 300}
    assert set(server.well.values()) == {1}
    codes = Counter(code for _, _, code in server.calls)
    assert codes[429] == 1
    assert codes[503] <= 20 + 2 * 4 + 4.0 / 0.5 + 1
    assert ran.summary["flow"]["pauses"] == 1
    assert ran.summary["flow"]["trips"] >= 1
    assert ran.summary["flow"]["probes"] >= 2
    moments = [now for now, _, _ in server.calls]
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert max(gaps) >= 0.8, "it went on in spite of Retry-After; a probe comes sooner"


@pytest.mark.parametrize("words", [(), ("-k",), ("--store", "memory.db"), ("-k", "--store", "memory.db")])
def test_a_night_with_answers_of_slow_down_and_an_outage_ends_as_if_there_were_none(folder, server, words):
    """Calls while it is down are counted: what opens the breaker, one of each worker, and a probe each half second."""
    server.busy = (20, 50, 80)
    jobs = [{"n": n} for n in range(300)] + [{"n": n} for n in range(0, 300, 10)]
    folder.write("jobs.jsonl", jobs)
    command = ("-H", f"{DEEDS}:call", "-j", "4", "-r", "3", *RETRY, "--breaker", "50%/500ms", "--summary", "json")
    command = (*command, "--rate", "500/s", "--retry-budget", "50%", *words)
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", *command, code=0, limit=120, PORT=str(server.port))
    count = folder.check()
    assert count.statuses == {"completed": 300, "duplicate": 30}
    assert not (folder / "jobs.dlq.jsonl").exists()
    assert set(server.well.values()) == {1}, "a job was called again although it was done"
    codes = Counter(code for _, _, code in server.calls)
    assert (codes[200], codes[429]) == (300, 3)
    assert codes[503] <= 20 + 2 * 4 + server.down / 0.5 + 1
    # Before the breaker opens a job may fail twice, where its retry is early; and nobody dies of it.
    assert max(record["attempts"] for record in count.results if "attempts" in record) <= 3
    assert (ran.summary["flow"]["pauses"], ran.summary["flow"]["open"], ran.summary["dead"]) == (3, 0, 0)
    for told in (now for now, _, code in server.calls if code == 429):
        early = [now for now, _, _ in server.calls if told + 0.1 < now < told + 0.9]
        assert len(early) <= 3, "other workers had begun; nobody else may"
    if "-k" in words:
        assert [record["id"] for record in count.results] == [f"jobs:{n}" for n in range(1, 331)]
    if "--store" in words:
        calls = len(server.calls)
        folder.run("jobs.jsonl", "-o", "again.jsonl", *command, code=0, PORT=str(server.port))
        again = oracle.read_outputs(folder / "again.jsonl", folder / "jobs.dlq.jsonl")
        assert again.statuses == {"duplicate": 330}
        assert all("result" in record for record in again.results)
        assert len(server.calls) == calls


def test_a_probe_whose_worker_dies_is_not_the_last_one(folder, server):
    """Fault 39: its crash is charged to the job, and another one is sent."""
    server.is_deadly = True
    folder.write("jobs.jsonl", [{"n": n} for n in range(300)])
    ran = folder.run(
        "jobs.jsonl", "-H", f"{DEEDS}:call", "-o", "results.jsonl", "-j", "2", "-r", "3", *RETRY,
        "--breaker", "50%/500ms", "--summary", "json", code=0, limit=60, PORT=str(server.port),
    )  # fmt: skip
    assert folder.check().statuses == {"completed": 300}
    assert Counter(code for _, _, code in server.calls)[500] == 1
    assert ran.summary["crashes"] == 1


def test_a_breaker_may_stop_the_run_and_the_next_one_goes_on(folder, server):
    folder.write("jobs.jsonl", [{"n": n} for n in range(300)])
    words = ("jobs.jsonl", "-H", f"{DEEDS}:call", "-o", "results.jsonl", "-j", "4", *RETRY, "--breaker", "50%/500ms")
    server.down = 600.0
    ran = folder.run(*words, "--breaker-action", "stop", code=3, PORT=str(server.port))
    assert "the circuit breaker of all jobs opened" in ran.err
    server.down_until = 0.0
    folder.run(*words, code=0, PORT=str(server.port))
    assert folder.check().statuses == {"completed": 300}
    assert set(server.well.values()) == {1}


def starts(folder):
    return sorted(float(line) for line in (folder / "times").read_text().split())


def test_a_handlers_own_rate_holds_over_all_workers(folder):
    folder.write("jobs.jsonl", [{"n": n} for n in range(50)])
    folder.run("jobs.jsonl", "-H", f"{DEEDS}:limited", "-o", "results.jsonl", "-j", "3", code=0)
    folder.check()
    times = starts(folder)
    assert times[-1] - times[0] >= (50 - 2) / 20 - 0.2
    assert max(sum(begin <= now < begin + 0.5 for now in times) for begin in times) <= 2 + 20 * 0.5 + 3


def test_keep_order_holds_behind_a_limit_and_so_does_going_on(folder):
    folder.write("jobs.jsonl", [{"n": n} for n in range(40)] + [{"n": 3}])
    words = ("jobs.jsonl", "-o", "results.jsonl", "-k", "--rate", "100/s", "--burst", "5")
    folder.run(*words, "--limit", "20", code=0)
    folder.run(*words, code=0)
    count = folder.check()
    assert count.statuses == {"completed": 40, "duplicate": 1}
    assert [record["id"] for record in count.results] == [f"jobs:{n}" for n in range(1, 42)]
    assert len(folder.log) == 40


def test_slow_down_without_any_option_pauses_the_tenant_and_no_other(folder):
    jobs = [{"payload": {"n": 0, "do": "slow_down", "tell": "2s"}, "tenant": "a"}]
    jobs += [{"payload": {"n": n}, "tenant": "ab"[n % 2]} for n in range(1, 3000)]
    folder.write("jobs.jsonl", jobs)
    began = time.monotonic()
    ran = folder.run("jobs.jsonl", "-o", "results.jsonl", "-r", "1", "--summary", "json", code=0)
    assert time.monotonic() - began >= 2.0
    assert len(folder.log) == 3001
    folder.write("log.jsonl", [])  # the first call of the first job is no attempt, which the oracle cannot know
    count = folder.check()
    assert count.statuses == {"completed": 3000}
    assert (ran.summary["attempts"], ran.summary["flow"]["pauses"]) == (3000, 1)
    assert count.results[-1]["id"] != "jobs:3000"


def test_tenants_and_handlers_are_limited_as_the_file_says(folder):
    folder.write("jqcli.toml", '[tenants.slow]\nrate = "1/s"\nburst = 1\n')
    folder.write("jobs.jsonl", [{"payload": {"n": n}, "tenant": ("slow", "fast")[n > 4]} for n in range(45)])
    folder.run("jobs.jsonl", "-o", "results.jsonl", code=0)
    order = [record["result"]["payload"]["n"] > 4 for record in folder.check().results]
    assert order[-2:] == [False, False]
    assert order[:20].count(True) >= 17


@pytest.mark.parametrize("words", [(), ("-k",)], ids=["", "keep-order"])
def test_a_tenant_that_fills_the_queue_many_times_holds_up_no_other(folder, words):
    folder.write("jqcli.toml", '[tenants.slow]\nrate = "100/s"\nburst = 1\n')
    jobs = [{"payload": {"n": n}, "tenant": "slow"} for n in range(600)]
    jobs += [{"payload": {"n": n}, "tenant": "fast"} for n in range(1000, 1100)] + jobs[:50]
    folder.write("jobs.jsonl", jobs)
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--queue-size", "100", *words, code=0)
    count = folder.check()
    assert count.statuses == {"completed": 700, "duplicate": 50}
    assert len(folder.log) == 700
    if not words:
        fast = [at for at, record in enumerate(count.results) if record["result"]["payload"]["n"] >= 1000]
        assert fast[-1] < 600


def test_what_the_deadline_kept_from_starting_is_counted(folder):
    folder.write("jobs.jsonl", [{"do": "pause", "seconds": 0.1, "n": n} for n in range(400)])
    words = ("jobs.jsonl", "-o", "results.jsonl", "-b", "1", "--rate", "1000/s", "--summary", "json")
    ran = folder.run(*words, "--deadline", "4s", code=3)
    flow = ran.summary["flow"]
    assert 0 < flow["not_admitted"] <= ran.summary["unfinished"] < 400
    assert ran.summary["unfinished"] - flow["not_admitted"] <= 2
    text = folder.run(*words[:-2], "--summary", "text", "--deadline", "3s", code=3).err
    assert "kept from starting by the deadline" in text


def test_a_handler_is_told_that_its_call_is_a_probe_and_when_the_run_ends(folder):
    folder.write("jobs.jsonl", [{"do": "probed", "n": n} for n in range(60)])
    words = ("-j", "2", *RETRY, "-r", "9", "--breaker", "50%/300ms", "--deadline", "1h")
    folder.run("jobs.jsonl", "-o", "results.jsonl", *words, code=0)
    told = [record["result"] for record in folder.check().results]
    assert sum(each["is_probe"] for each in told) == 1, "the one that found out that all is well again"
    assert {each["run_deadline_at"] > time.time() + 3000 for each in told} == {True}


def test_a_deadline_ends_the_night_and_the_next_goes_on(folder):
    folder.write("jobs.jsonl", [{"do": "pause", "seconds": 0.1, "n": n} for n in range(150)])
    words = ("jobs.jsonl", "-o", "results.jsonl", "-b", "1")
    began = time.monotonic()
    ran = folder.run(*words, "--deadline", "4s", code=3)
    assert time.monotonic() - began < 12
    assert "deadline" in ran.err
    done = len(oracle.read_lines(folder / "results.jsonl"))
    assert 0 < done < 150
    folder.run(*words, "--deadline", "1h", code=0)
    assert folder.check(crashes=1).statuses == {"completed": 150}
    assert len(folder.log) <= 150 + 2, "no more are begun anew than ran at the deadline, one a worker"


def test_what_runs_at_the_deadline_is_unfinished_and_not_charged(folder):
    folder.write("jobs.jsonl", [{"do": "hang"}, {"n": 1}])
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--deadline", "4s", code=3)
    assert not (folder / "jobs.dlq.jsonl").exists()
    assert [record["id"] for record in oracle.read_lines(folder / "results.jsonl")] == ["jobs:2"]


def test_a_handler_is_told_when_the_run_ends_or_its_own_time_where_that_is_sooner(folder):
    jobs = [{"payload": {"do": "tell_deadline", "n": n}, **more} for n, more in enumerate(({}, {"timeout": "10s"}))]
    folder.write("jobs.jsonl", jobs)
    began = time.time()
    folder.run("jobs.jsonl", "-o", "results.jsonl", "-k", "--deadline", "1h", code=0)
    late, soon = (record["result"]["deadline_at"] - began for record in folder.check().results)
    assert 3590 < late < 3600 + 30
    assert 5 < soon < 10 + 30


def test_a_lost_worker_under_a_limit_costs_its_job_alone(folder):
    jobs = [{"do": "die_once", "n": n} if n % 10 == 0 else {"n": n} for n in range(40)]
    folder.write("jobs.jsonl", jobs)
    folder.run("jobs.jsonl", "-o", "results.jsonl", "--rate", "200/s", "--adaptive", "--retry-budget", "50%",
               "--backoff-base", "1ms", code=0)  # fmt: skip
    count = folder.check()
    assert count.statuses == {"completed": 40}
    assert Counter(json.dumps(p) for p in folder.log).total() == 44


@pytest.mark.parametrize("engine", ["inline", "process"])
def test_every_engine_keeps_a_limit(folder, engine):
    folder.write("jobs.jsonl", [{"n": n} for n in range(30)])
    workers = ("-j", "0") if engine == "inline" else ("-j", "2")
    folder.run("jobs.jsonl", "-H", f"{DEEDS}:limited", "-o", "results.jsonl", *workers, code=0)
    times = starts(folder)
    assert times[-1] - times[0] >= (30 - 2) / 20 - 0.2
