"""One run, from settings to exit code: what is opened in which order, and what is said at the end."""

from __future__ import annotations

import os
import secrets
import selectors
import shlex
import sys
import time
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from jqcli.core.batch import AUTO_MOST, Sizer
from jqcli.core.codec import Scheme, make_tag
from jqcli.core.dedupe import Identities
from jqcli.core.dispatch import Dispatch, Rules
from jqcli.core.record import LetterHead
from jqcli.core.window import Window
from jqcli.edge.digest import summary_object, summary_text
from jqcli.edge.interrupt import Interrupts
from jqcli.edge.journal import is_record
from jqcli.edge.outputs import Place, is_journal, open_outputs
from jqcli.edge.screen import open_screen
from jqcli.edge.source import Source
from jqcli.edge.text import safe
from jqcli.engine.inline import Inline
from jqcli.engine.process import Pool
from jqcli.engine.runner import RunnerSetup
from jqcli.engine.worker import pack_setup
from jqcli.errors import JqcliError, StopNow, UsageError
from jqcli.finder import Finder
from jqcli.loop import Bounds, Loop

if TYPE_CHECKING:
    from jqcli.config import Settings
    from jqcli.core.tally import Snapshot
    from jqcli.edge.outputs import Outputs
    from jqcli.engine.base import Engine
    from jqcli.policy import Policy

_QUEUE_LINES = 10_000
_BATCHES_A_WORKER = 4


def execute(settings: Settings) -> int:
    """Run every job of the inputs and return the exit code; raises JqcliError where the run cannot go on."""
    with ExitStack() as stack:
        for path in settings.inputs:
            _refuse_records(path)
        source = Source(settings.inputs, max_line=settings.max_line)
        stack.callback(source.close)
        selector = stack.enter_context(selectors.DefaultSelector())
        engine = _make_engine(settings, source, selector)
        stack.callback(lambda: engine.close(at_once=True))
        interrupts = stack.enter_context(Interrupts(lambda count: _notify(engine, count)))
        policies = engine.start()
        outputs = open_outputs(_place_of(settings))
        stack.callback(outputs.results.close)
        _say_beginning(settings, outputs)
        loop = _make_loop(settings, source, engine, policies, outputs, selector, interrupts)
        return _run(settings, loop, outputs)


def _run(settings: Settings, loop: Loop, outputs: Outputs) -> int:
    """Run the loop, and say what came of it however it ends."""
    problem: JqcliError | None = None
    try:
        code = loop.run()
    except StopNow:
        code = 130
    except JqcliError as error:
        code, problem = error.exit_code, error
    snapshot = loop.snapshot(time.monotonic())
    loop.screen.close(snapshot)
    has_letters = outputs.letters.close()
    if loop.stop is not None and loop.stop.message:
        _say(loop.stop.message)
    _say_end(settings, snapshot, code, loop.head.run, has_letters=has_letters)
    if problem is not None:
        raise problem
    return code


def _notify(engine: Engine, count: int) -> None:
    """Inside a signal handler: want unbegun work back, and leave a handler that runs in this process."""
    engine.revoke()
    if count > 1 and not engine.can_kill:
        raise StopNow


# What the parts are made of


def _make_engine(settings: Settings, source: Source, selector: selectors.BaseSelector) -> Engine:
    scheme = _scheme_of(settings)
    setup = RunnerSetup(_tag_of(settings), scheme, source.names, source.stems, settings.max_result)
    specs: dict[str | None, tuple[str, Policy]] = {None: (settings.handler.spec, settings.handler.policy)}
    specs |= {handler.name: (handler.spec, handler.policy) for handler in settings.handlers}
    if settings.engine == "inline":
        return Inline(setup, specs)
    return Pool(settings.workers, pack_setup(setup, specs), settings.max_result, selector)


def _make_loop(
    settings: Settings,
    source: Source,
    engine: Engine,
    policies: dict[str | None, Policy],
    outputs: Outputs,
    selector: selectors.BaseSelector,
    interrupts: Interrupts,
) -> Loop:
    identities = Identities(outputs.settled, dedupe=settings.dedupe)
    window = Window() if settings.keep_order else None
    finder = Finder(_tag_of(settings), outputs.results, outputs.settled, window)
    sizer = Sizer(settings.batch_size)
    dispatch = Dispatch(
        identities, Rules(policies), _scheme_of(settings), sizer, finder.find, keeps_order=settings.keep_order
    )
    lines = max(_QUEUE_LINES, _BATCHES_A_WORKER * settings.workers * (settings.batch_size or AUTO_MOST))
    bounds = Bounds(
        settings.queue_size or lines,
        settings.queue_bytes,
        settings.limit,
        settings.grace,
        settings.max_failures,
        settings.durability,
    )
    title = f"{settings.handler.spec} < {' '.join(source.names)}"
    style = "none" if settings.quiet else settings.progress
    screen = open_screen(style, sys.stderr, title)
    head = _head_of(settings)
    return Loop(
        source, engine, outputs, dispatch, selector, interrupts, screen, head, bounds, window, settings.workers
    )


def _scheme_of(settings: Settings) -> Scheme:
    names = tuple(handler.name for handler in settings.handlers if handler.name is not None)
    return Scheme(settings.input_format, settings.key, settings.tenant, names)


def _head_of(settings: Settings) -> LetterHead:
    handlers: dict[str | None, str] = {None: settings.handler.spec}
    handlers |= {handler.name: handler.spec for handler in settings.handlers}
    return LetterHead(
        tag=_tag_of(settings),
        handlers=handlers,
        cwd=str(Path.cwd()),
        output=str(Path(settings.output).absolute()) if is_journal(settings.output) else None,
        input_format=settings.input_format,
        run=secrets.token_hex(6),
    )


# Whose keys are these


def _tag_of(settings: Settings) -> str:
    return make_tag(_tag_name(settings.handler.spec), settings.key, settings.input_format)


def _tag_name(spec: str) -> str:
    """Return what a handler is called in tags: a file without its folder, so that a project can move."""
    module, colon, name = spec.rpartition(":")
    return f"{os.path.basename(module)}{colon}{name}"


def _place_of(settings: Settings) -> Place:
    return Place(
        output=settings.output,
        dlq=settings.dlq,
        tag=_tag_of(settings),
        explain=lambda tag: _explain_tag(settings, tag),
        fresh=settings.fresh,
    )


def _explain_tag(settings: Settings, tag: str) -> str:
    """Say by which other handler, key or format a file was made, as far as the known ones tell."""
    specs = dict.fromkeys((settings.handler.spec, *(handler.spec for handler in settings.handlers)))
    keys = dict.fromkeys((settings.key, None))
    for spec, key, input_format in product(specs, keys, ("auto", "envelope", "raw")):
        if make_tag(_tag_name(spec), key, input_format) == tag:
            differences = [
                text
                for differs, text in (
                    (spec != settings.handler.spec, f"--handler {spec}"),
                    (key != settings.key, f"--key {key}" if key else "no --key"),
                    (input_format != settings.input_format, f"--input-format {input_format}"),
                )
                if differs
            ]
            return f"was made with {' and '.join(differences)}"
    return f"was made with another --handler or --key than {_tag_name(settings.handler.spec)} has now"


def _refuse_records(path: str) -> None:
    """Refuse an input whose first line is a record of ours: nearly always a slip."""
    if path == "-" or not os.path.isfile(path):
        return
    try:
        with open(path, "rb") as file:
            first = file.readline(1 << 16)
    except OSError:
        return  # the source says it better
    if is_record(first):
        hint = " To give dead letters a new life: jq-run dlq export FILE | jq-run -" if b'"reason":' in first else ""
        raise UsageError(f"{path}: holds records that jq-run wrote, not jobs.{hint}")


# What is said


def _say(text: str) -> None:
    print(f"jq-run: {safe(text, 2000)}", file=sys.stderr)


def _say_beginning(settings: Settings, outputs: Outputs) -> None:
    if settings.quiet or not (os.isatty(2) or settings.verbose):
        return
    for name in outputs.renamed:
        _say(f"set aside {name}")
    if outputs.settled.count:
        _say(f"going on: {outputs.settled.count:,} records of earlier runs in {settings.output} and {settings.dlq}")


def _say_end(settings: Settings, snapshot: Snapshot, code: int, run: str, *, has_letters: bool) -> None:
    results = settings.output if is_journal(settings.output) else None
    dlq = settings.dlq if has_letters else None
    if settings.summary == "json":
        found = summary_object(snapshot, run=run, exit_code=code, results=results, dlq=dlq)
        sys.stderr.buffer.write(orjson.dumps(found, None, orjson.OPT_APPEND_NEWLINE))
        sys.stderr.buffer.flush()
        return
    is_wanted = settings.summary == "text" or (
        settings.summary == "auto" and not settings.quiet and (os.isatty(2) or code != 0)
    )
    if not is_wanted or code == 141:
        return
    retry = _retry_command(settings) if dlq is not None and snapshot.dead else None
    print(
        summary_text(snapshot, exit_code=code, results=results, dlq=dlq, retry_command=retry), end="", file=sys.stderr
    )


def _retry_command(settings: Settings) -> str:
    """Return a command line that gives the dead letters a new life, beside what is there."""
    stem = settings.dlq.removesuffix(".jsonl").removesuffix(".dlq")
    words = ["jq-run", "-", "-H", settings.handler.name or settings.handler.spec]
    if settings.key is not None:
        words += ["--key", settings.key]
    if settings.input_format != "auto":
        words += ["--input-format", settings.input_format]
    words += ["-o", f"{stem}.retry.results.jsonl", "-d", f"{stem}.retry.dlq.jsonl"]
    return f"jq-run dlq export {shlex.quote(settings.dlq)} | {shlex.join(words)}"
