"""One run, from settings to exit code: what is opened in which order, and what is closed."""

from __future__ import annotations

import os
import selectors
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from jqcli.core.codec import Scheme, is_record
from jqcli.edge.interrupt import Interrupts
from jqcli.edge.source import Source
from jqcli.edge.stderr import say
from jqcli.edge.systemd import take_notifier
from jqcli.engine.process import Pool
from jqcli.engine.setup import Setup, Specs, pack_setup
from jqcli.errors import JqcliError, StopNow, UsageError
from jqcli.hearing import Hearing, is_heard
from jqcli.tag import tag_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jqcli.config import Settings
    from jqcli.core.tally import Tally
    from jqcli.edge.feed import Feed
    from jqcli.edge.outputs import Outputs
    from jqcli.edge.ping import Ping
    from jqcli.edge.scrape import Endpoint
    from jqcli.engine.base import Engine
    from jqcli.engine.ear import Hear
    from jqcli.loop import Loop

_HEAD_BYTES = 1 << 16
_STDOUT = 1
# What the last run knew stays until the process ends: a million identities are taken apart in 60 ms, for nothing.
_kept: list[Loop] = []
_LARGE_INPUT = 1 << 20  # bytes; this much has work for every worker


class Redrive(Protocol):
    """Dead letters in the place of inputs; see jqcli/redrive.py."""

    @property
    def source(self) -> Feed:
        """The lines of their jobs."""

    def open(self, settings: Settings, stdout_fd: int, is_wanted: Callable[[], bool]) -> Outputs:
        """Open the files that the records go to; raises StopNow when that is not wanted any more."""

    def count_before(self, tally: Tally) -> None:
        """Count what an earlier start of the same redrive came to."""


def execute(settings: Settings, redrive: Redrive | None = None) -> int:
    """Run every job of the inputs and return the exit code; raises JqcliError where the run cannot go on.

    With `redrive`, the jobs are those of its dead letters, and what becomes of them is written where it says.
    """
    if settings.ping is None:
        return _execute(settings, redrive, None)
    from jqcli.edge.ping import Ping  # noqa: PLC0415 - brings urllib with it, 50 ms
    from jqcli.notice import is_talkative  # noqa: PLC0415 - as below

    ping = Ping(settings.ping, say if is_talkative(settings) else lambda _: None)
    code = JqcliError.exit_code
    try:
        code = _execute(settings, redrive, ping)
    except JqcliError as error:
        code = error.exit_code
        raise
    finally:
        ping.say_end(code)
    return code


def _execute(settings: Settings, redrive: Redrive | None, ping: Ping | None) -> int:
    with ExitStack() as stack:
        source = _open_source(settings) if redrive is None else redrive.source
        stack.callback(source.close)
        selector = stack.enter_context(selectors.DefaultSelector())
        scheme = scheme_of(settings)
        notifier = take_notifier(os.environ)  # before workers get this environment
        hearing = Hearing() if is_heard(settings) else None
        is_inline = settings.engine == "inline"
        # Before there is anything that a signal could leave behind.
        interrupts = stack.enter_context(Interrupts(settings.grace if is_inline else None))
        leaving = stack.enter_context(ExitStack())  # entered before the engine, so left when no worker is left
        if hearing is not None:
            leaving.callback(hearing.end)
        engine = make_engine(settings, scheme, source, selector, None if hearing is None else hearing.hear)
        stack.callback(lambda: engine.close(at_once=True))
        interrupts.notify = lambda count: _notify(engine, count)
        # Imported while the workers start, which takes longer: 50 ms of a short run.
        from jqcli.assembly import Files, make_loop, open_claimer, open_files  # noqa: PLC0415
        from jqcli.notice import say_beginning  # noqa: PLC0415

        stdout_fd = stack.enter_context(guard_stdout()) if is_inline else _STDOUT
        is_wanted = lambda: not interrupts.received  # noqa: E731 - two users
        try:
            policies = engine.start(is_wanted)
            endpoint = _listen(settings, selector)
            if endpoint is not None:
                stack.callback(endpoint.close)
            claimer = open_claimer(settings, policies)
            if claimer is not None:
                leaving.callback(claimer.end)
            outputs = (open_files if redrive is None else redrive.open)(settings, stdout_fd, is_wanted)
        except StopNow:
            return 128 + interrupts.received[0]
        stack.callback(outputs.results.close)
        unused = stack.enter_context(ExitStack())  # until there is a loop, at whose end the letters are closed
        unused.callback(outputs.letters.close)
        say_beginning(settings, outputs)
        loop = make_loop(settings, scheme, source, engine, policies, Files(outputs, claimer), selector, interrupts)
        unused.pop_all()
        _kept[:] = [loop]
        if redrive is not None:
            redrive.count_before(loop.tally)
        if ping is not None:
            ping.run = loop.run_id
        loop.observers.add(*(each for each in (endpoint, notifier, ping) if each is not None))
        if hearing is not None:
            hearing.attend(loop.observers.hear)
        return _run(settings, loop, outputs)


def _open_source(settings: Settings) -> Source:
    for path in settings.inputs:
        refuse_records(path)
    return Source(settings.inputs, max_line=settings.max_line, keeps_open=settings.spill > 0)


def _run(settings: Settings, loop: Loop, outputs: Outputs) -> int:
    """Run the loop, and say what came of it however it ends."""
    from jqcli.notice import say_end  # noqa: PLC0415 - see above

    problem: JqcliError | None = None
    code = JqcliError.exit_code
    try:
        code = loop.run()
    except JqcliError as error:
        code, problem = error.exit_code, error
    finally:
        snapshot = loop.snapshot(time.monotonic())
        try:
            is_there = outputs.letters.close()
            snapshot = snapshot if is_there is None else replace(snapshot, has_letters=is_there)
        except JqcliError as error:
            if problem is None:  # what came before it is what happened
                code, problem = error.exit_code, error
        finally:
            loop.observers.end(replace(snapshot, cause=_cause_of(loop, problem)), code)
    if loop.stop is not None and loop.stop.message:
        say(loop.stop.message)
    goes_on = problem is None or problem.goes_on
    say_end(settings, snapshot, code, loop.run_id, goes_on=goes_on)
    if problem is not None:
        raise problem
    return code


def _cause_of(loop: Loop, problem: JqcliError | None) -> str:
    """Say why the run stopped before its end; empty where it did not, or a signal says it."""
    if problem is not None:
        return str(problem)
    return "" if loop.stop is None else loop.stop.message


@contextmanager
def guard_stdout() -> Iterator[int]:
    """Let what is printed in this process go to stderr, and give a descriptor for the results instead."""
    kept = os.dup(_STDOUT)
    os.dup2(2, _STDOUT)
    try:
        yield kept
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _listen(settings: Settings, selector: selectors.BaseSelector) -> Endpoint | None:
    if settings.metrics_port is None:
        return None
    from jqcli.edge.scrape import Endpoint  # noqa: PLC0415 - few runs are scraped

    return Endpoint(settings.metrics_port, selector)


def _notify(engine: Engine, count: int) -> None:
    """Inside a signal handler: want unbegun work back, and leave a handler that runs in this process."""
    engine.revoke()
    if count > 1 and engine.is_attempting:
        raise StopNow


def make_engine(
    settings: Settings, scheme: Scheme, source: Feed, selector: selectors.BaseSelector, hear: Hear | None
) -> Engine:
    """Return the engine of a run; what handlers print goes to `hear`, or to stderr."""
    setup = Setup(
        tag=tag_of(settings),
        scheme=scheme,
        names=source.names,
        stems=source.stems,
        max_result=settings.max_result,
        deadline_at=settings.deadline_at,
        wants_logging=settings.log_file is not None,
    )
    specs: Specs = {None: (settings.handler.spec, settings.handler.policy)}
    specs |= {handler.name: (handler.spec, handler.policy) for handler in settings.handlers}
    if settings.engine == "inline":
        # Brings the worker's side into this process, which no other run needs.
        from jqcli.engine.inline import Inline  # noqa: PLC0415

        return Inline(setup, specs, hear)
    is_large = (source.bytes_total or 0) > _LARGE_INPUT
    packed = pack_setup(setup, specs)
    return Pool(settings.workers, packed, settings.max_result, selector, hear, is_eager=is_large)


def scheme_of(settings: Settings) -> Scheme:
    """Return how lines of this run become jobs."""
    names = tuple(handler.name for handler in settings.handlers if handler.name is not None)
    return Scheme(settings.input_format, settings.key, settings.tenant, names)


def refuse_records(path: str) -> None:
    """Refuse an input whose first line is a record of ours: nearly always a slip."""
    if path == "-" or not os.path.isfile(path):
        return
    try:
        with open(path, "rb") as file:
            first = file.readline(_HEAD_BYTES)
    except OSError:
        return  # the source says it better
    if is_record(first):
        hint = " To give dead letters a new life: jq-run dlq retry FILE" if b'"reason":' in first else ""
        raise UsageError(f"{path}: holds records that jq-run wrote, not jobs.{hint}")
