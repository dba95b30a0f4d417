"""Puts the loop of a run together from its settings, its engine and its files."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from jqcli.audience import open_audience
from jqcli.claimer import Claimer, Terms
from jqcli.core.aside import Room
from jqcli.core.batch import AUTO_MOST, Sizer
from jqcli.core.burial import LetterHead
from jqcli.core.cache import Cache
from jqcli.core.dedupe import Identities
from jqcli.core.dispatch import Dispatch
from jqcli.core.limit import Rate
from jqcli.core.rules import Rules
from jqcli.core.window import Window
from jqcli.edge.dlq import Letters
from jqcli.edge.lock import Patience
from jqcli.edge.outputs import Destination, Outputs, is_journal, journal_path, open_outputs
from jqcli.edge.spill import Spill
from jqcli.edge.stderr import say
from jqcli.errors import FileError, LockedError, printable
from jqcli.finder import Finder
from jqcli.intake import Bounds
from jqcli.loop import Loop, Parts
from jqcli.notice import is_talkative
from jqcli.recorder import Recorder
from jqcli.tag import explain_tag, name_of, tag_of

if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable

    from jqcli.config import Settings
    from jqcli.core.codec import Scheme
    from jqcli.core.lane import Flow
    from jqcli.edge.feed import Feed
    from jqcli.edge.interrupt import Interrupts
    from jqcli.edge.storereader import ScopeName
    from jqcli.engine.base import Engine
    from jqcli.policy import Policy

_QUEUE_LINES = 10_000  # at least; waiting retries count too, and should not stop the rest
_BATCHES_A_WORKER = 4


def open_files(settings: Settings, stdout_fd: int, is_wanted: Callable[[], bool]) -> Outputs:
    """Open results and DLQ, and read what earlier runs settled; raises StopNow when that is not wanted any more."""
    destination = destination_of(settings, stdout_fd, is_wanted)
    return open_outputs(destination, patience_of(settings, is_wanted))


def patience_of(settings: Settings, is_wanted: Callable[[], bool]) -> Patience:
    """Return how long to wait for a file that another run holds."""
    return Patience(settings.lock_wait, is_wanted, say if is_talkative(settings) else lambda _: None)


def destination_of(settings: Settings, stdout_fd: int, is_wanted: Callable[[], bool]) -> Destination:
    """Return where a run writes."""
    return Destination(
        output=settings.output,
        dlq=settings.dlq,
        tag=tag_of(settings),
        explain=lambda tag: explain_tag(settings, tag),
        fresh=settings.fresh,
        stdout_fd=stdout_fd,
        is_wanted=is_wanted,
    )


class Files(NamedTuple):
    """The open files of a run: its outputs, and the store behind its claimer."""

    outputs: Outputs
    claimer: Claimer | None


def open_claimer(settings: Settings, policies: dict[str | None, Policy]) -> Claimer | None:
    """Open the store, None where there is none; raises FileError or LockedError unless the run may go on without it."""
    if settings.store is None:
        return None
    from jqcli.edge.store import Store  # noqa: PLC0415 - SQLite costs 5 ms, and most runs have no store

    terms = Terms(
        run=1 + int.from_bytes(os.urandom(6)),
        ttl=settings.ttl,
        scopes=scopes_of(settings, policies),
        warn=say if settings.on_store_error == "continue" else None,
        waits=settings.engine == "inline",
    )
    try:
        return Claimer(Store(settings.store), terms)
    except (FileError, LockedError) as error:
        if terms.warn is None:
            raise
        terms.warn(f"{error}; going on without the store: nothing is looked up or remembered")
        return None


def scopes_of(settings: Settings, policies: dict[str | None, Policy]) -> dict[str | None, ScopeName]:
    """Return whose identities a run asks its store for, by the handler that a line chose."""
    from jqcli.edge.storereader import ScopeName  # noqa: PLC0415 - as above

    tag = tag_of(settings)
    specs: dict[str | None, str] = {handler.name: handler.spec for handler in settings.handlers}
    specs[None] = settings.handler.spec
    return {
        name: ScopeName(tag, name or "", name_of(spec), policies[name].version or "") for name, spec in specs.items()
    }


def make_loop(
    settings: Settings,
    scheme: Scheme,
    source: Feed,
    engine: Engine,
    policies: dict[str | None, Policy],
    files: Files,
    selector: selectors.BaseSelector,
    interrupts: Interrupts,
) -> Loop:
    """Return the loop, ready to run."""
    outputs, claimer = files
    window = Window() if settings.keep_order else None
    flow = _flow_of(settings, policies)
    bounds = _bounds_of(settings, flow)
    beside = settings.output if settings.output is not None and is_journal(settings.output) else None
    spill = Spill(None if beside is None else os.path.dirname(os.path.abspath(beside)), settings.spill)
    cache = Cache(settings.cache_size)
    dispatch = Dispatch(
        Identities(outputs.settled, dedupe=settings.dedupe),
        Rules(policies),
        scheme,
        Sizer(settings.batch_size),
        Finder(tag_of(settings), outputs.results, outputs.settled, window, cache, claimer).find,
        flow,
        keeps_order=settings.keep_order,
        claim=None if claimer is None else claimer.claim,
        room=Room(spill, source.read_again, bounds.lines, bounds.bytes),
    )
    head = _head_of(settings)
    observers, chronicle = open_audience(settings, scheme, source, head, dispatch.batches)
    parts = Parts(
        source=source,
        engine=engine,
        recorder=Recorder(outputs, head, window, settings.durability, claimer),
        stream_fd=outputs.results.wait_fd,
        dispatch=dispatch,
        selector=selector,
        interrupts=interrupts,
        observers=observers,
        chronicle=chronicle,
        bounds=bounds,
        keeps_order=settings.keep_order,
        workers=settings.workers,
        claimer=claimer,
    )
    loop = Loop(parts)
    loop.tally.has_letters_before = isinstance(outputs.letters, Letters) and outputs.letters.has_any
    return loop


def _flow_of(settings: Settings, policies: dict[str | None, Policy]) -> Flow:
    """Return what was asked about the flow, with the rates of handlers, which they have told by now."""
    return settings.flow._replace(
        handlers={name: Rate(policy.rate) for name, policy in policies.items() if policy.rate is not None},
        level=settings.workers if settings.adaptive else None,
    )


def _bounds_of(settings: Settings, flow: Flow) -> Bounds:
    batches = _BATCHES_A_WORKER * settings.workers * (settings.batch_size or AUTO_MOST)
    if flow.is_asked:
        batches = 0  # they travel one by one
    left = None if settings.deadline_at is None else settings.deadline_at - time.time()
    return Bounds(
        lines=settings.queue_size or max(_QUEUE_LINES, batches),
        bytes=settings.queue_bytes,
        limit=settings.limit,
        grace=settings.grace,
        max_failures=settings.max_failures,
        deadline=None if left is None else time.monotonic() + left,
        stops_at_trip=settings.breaker_action == "stop",
    )


def _head_of(settings: Settings) -> LetterHead:
    handlers: dict[str | None, str] = {None: printable(settings.handler.spec)}
    handlers |= {handler.name: printable(handler.spec) for handler in settings.handlers}
    return LetterHead(
        tag=tag_of(settings),
        handlers=handlers,
        cwd=printable(os.getcwd()),
        output=journal_path(settings.output),
        input_format=settings.input_format,
        run=os.urandom(6).hex(),
        key_path=settings.key,
        tenant_path=settings.tenant,
    )
