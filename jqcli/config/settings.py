"""What one run was asked to do: frozen, and validated once, from options, environment and file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jqcli import value as v
from jqcli.config.flow import read_flow
from jqcli.config.given import Given, Layer, option_of, pick, variable_of
from jqcli.config.handler import FORMS, HandlerSpec, files_of, find_handler
from jqcli.config.option import ENGINES, OPTION_NAMES, OPTIONS
from jqcli.config.path import check_apart, expand_inputs, find_beside, find_dlq, find_output
from jqcli.config.store import read_store
from jqcli.errors import UsageError, suggest
from jqcli.policy import ASKED_NAMES, POLICY_PARSERS, Policy, check_backoff
from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jqcli.config.file import ConfigFile
    from jqcli.core.lane import Flow
    from jqcli.core.stop import Tolerance

MOST_WORKERS = 1000  # a worker is a process of some 20 MB; more than that is a slip of the finger

_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run needs to know. Durations in seconds, sizes in bytes, `deadline_at` in Unix seconds.

    `inputs` are paths, `-` for stdin; `output` is None for stdout. `batch_size` None is auto, `queue_size` None is the
    run's to decide. Inline, `workers` is 1. `tag` is set for a redrive, whose keys are those of its letters. `config`
    is the file of settings where one was named.

    `policy` is what options, environment and file say; each `HandlerSpec.policy` includes it, in the right order with
    what [handlers.NAME] says: `spec.policy.over(<@handler>).over(DEFAULTS)` is the whole truth.
    """

    inputs: tuple[str, ...]
    handler: HandlerSpec
    handlers: tuple[HandlerSpec, ...]
    input_format: str
    key: str | None
    tenant: str | None
    limit: int | None
    output: str | None
    dlq: str
    engine: str
    workers: int
    batch_size: int | None
    queue_size: int | None
    queue_bytes: int
    max_line: int
    max_result: int
    policy: Policy
    max_failures: Tolerance | None
    flow: Flow
    breaker_action: str
    deadline_at: float | None
    adaptive: bool
    spill: int
    store: str | None
    ttl: float | None
    on_store_error: str
    cache_size: int
    dedupe: bool
    grace: float
    durability: str
    keep_order: bool
    fresh: bool
    progress: str
    summary: str
    quiet: bool
    verbose: int
    dry_run: bool
    lock_wait: float
    ping: str | None
    status_file: str | None
    metrics_file: str | None
    metrics_port: tuple[str, int] | None
    log_file: str | None
    log_format: str
    events: str | None
    trace: str | None
    report: str | None
    tag: str | None = None
    config: str | None = None
    profile: str | None = None


def build_settings(
    values: Mapping[str, object],
    file: ConfigFile,
    *,
    stdin_tty: bool,
    stdout_tty: bool,
    cpus: int,
    environment: Mapping[str, object] = _NOTHING,
    installed: Iterable[HandlerSpec] = (),
    commands: Iterable[str] = (),
) -> Settings:
    """Return the settings of a run; raises UsageError naming the place, the value and what is allowed.

    `values` are the options by setting name, and `inputs`; `environment` the variables, also by setting name.
    None is "not given". `installed` are handlers of installed packages, `commands` words to hint at. A dry run looks at
    the files that a run at a terminal would write.
    """
    given = gather(values, environment, file)
    inputs = expand_inputs(words_of(values.get("inputs")), stdin_tty=stdin_tty, commands=commands)
    plain = read_plain(given)
    output = find_output(given, inputs, stdout_tty=stdout_tty or plain["dry_run"])
    dlq = find_dlq(given, inputs, output)
    check_apart(inputs, output, dlq)
    engine, workers = choose_engine(given, cpus)
    quiet, verbose = choose_voice(given)
    handler, handlers = choose_handlers(given, file, installed)
    read = (*inputs, *files_of([handler, *handlers]), *([file.path] if file.path else []))
    beside = find_beside(given, {"output": output, "dlq": dlq}, read)
    if engine == "inline":
        _check_no_timeout(handler, given)
    return Settings(
        inputs=inputs,
        handler=handler,
        handlers=handlers,
        output=output,
        dlq=dlq,
        engine=engine,
        workers=workers,
        policy=_policy_of(given),
        quiet=quiet,
        verbose=verbose,
        config=file.asked,
        profile=file.profile,
        **read_flow(given, file.tenants),
        **beside,
        **read_store(given, dedupe=plain["dedupe"], others=(*inputs, output, dlq, *beside.values())),
        **plain,
    )


def gather(values: Mapping[str, object], environment: Mapping[str, object], file: ConfigFile) -> dict[str, Given]:
    """Return what was given for each setting: option over environment over file."""
    for name in (*values, *environment):
        if name not in OPTION_NAMES and name != "inputs":
            raise UsageError(f"{option_of(name)}: there is no such option{suggest(name, OPTION_NAMES)}")
    variables = {n: Given(value, variable_of(n), Layer.ENVIRONMENT) for n, value in environment.items()}
    options = {n: Given(value, option_of(n), Layer.OPTION) for n, value in values.items()}
    said = {n: one for n, one in (variables | options).items() if one.value is not None}
    return {**file.values, **said}


def choose_engine(given: Mapping[str, Given], cpus: int) -> tuple[str, int]:
    """Return engine and workers; `-j 0` is inline, and where the two disagree the higher layer wins."""
    workers = pick(given, "workers", v.whole(0, MOST_WORKERS), None)
    engine = pick(given, "engine", v.choice(*ENGINES), None)
    if workers is not None and engine is not None and (workers == 0) != (engine == "inline"):
        by_workers, by_engine = given["workers"], given["engine"]
        if by_workers.layer == by_engine.layer:
            allowed = "--workers 0" if engine == "inline" else "--workers 1 or more"
            raise UsageError(f"{by_workers.where} {workers} contradicts {by_engine.where} {engine}: {allowed}")
        engine, workers = (engine, None) if by_engine.layer > by_workers.layer else (None, workers)
    if engine == "inline" or workers == 0:
        return "inline", 1
    return "process", workers or cpus


def choose_voice(given: Mapping[str, Given]) -> tuple[bool, int]:
    """Return whether to be quiet, and how much to say; where the two disagree the higher layer wins."""
    quiet = pick(given, "quiet", v.flag, default=False)
    verbose = pick(given, "verbose", v.whole(0), 0)
    if quiet and verbose:
        by_quiet, by_verbose = given["quiet"], given["verbose"]
        if by_quiet.layer == by_verbose.layer:
            raise UsageError(f"{by_quiet.where} contradicts {by_verbose.where}: leave one of them out")
        return (True, 0) if by_quiet.layer > by_verbose.layer else (False, verbose)
    return quiet, verbose


def choose_handlers(
    given: Mapping[str, Given], file: ConfigFile, installed: Iterable[HandlerSpec]
) -> tuple[HandlerSpec, tuple[HandlerSpec, ...]]:
    """Return the default handler and the registered ones; a name of the file hides an installed one."""
    registered = {spec.name or "": spec for spec in (*installed, *file.handlers)}
    if "handler" not in given:
        known = f" Registered: {', '.join(sorted(registered))}." if registered else ""
        raise UsageError(
            f"no handler: name the function that does the work with -H, as {FORMS} or a registered name "
            f'(`jq-run jobs.jsonl -H tasks.py:charge`), or write handler = "..." in jqcli.toml.{known}'
        )
    handler = given["handler"].read(lambda value: find_handler(value, registered))
    specs = tuple(_ask(spec, given) for spec in registered.values())
    return _ask(handler, given), specs


def _ask(spec: HandlerSpec, given: Mapping[str, Given]) -> HandlerSpec:
    """Return the spec with all that is asked of it: option, environment, [handlers.NAME], top of the file."""
    above = _policy_of({name: one for name, one in given.items() if one.layer > Layer.FILE})
    policy = above.over(spec.policy).over(_policy_of(given))
    try:
        check_backoff(policy)
    except ValueError as error:
        places = [given[name].where for name in ("backoff_base", "backoff_max") if name in given]
        raise UsageError(f"{', '.join(places) or f'[handlers.{spec.name}]'}: {error}") from None
    return replace(spec, policy=policy)


def _policy_of(given: Mapping[str, Given]) -> Policy:
    said: dict[str, Any] = {
        name: pick(given, name, parse, None) for name, parse in POLICY_PARSERS.items() if name in ASKED_NAMES
    }
    return Policy(**said)


def _check_no_timeout(handler: HandlerSpec, given: Mapping[str, Given]) -> None:
    if handler.policy.timeout is None:
        return
    where = given["timeout"].where if "timeout" in given else f"[handlers.{handler.name}] timeout"
    raise UsageError(
        f"{where}: the inline engine (-j 0) has no worker to kill, and so cannot keep a timeout of "
        f"{format_duration(handler.policy.timeout)}; leave it out, or use -j 1"
    )


def words_of(inputs: object) -> tuple[str, ...]:
    """Return the words that were given as inputs."""
    return tuple(str(word) for word in inputs) if isinstance(inputs, (list, tuple)) else ()


def read_plain(given: Mapping[str, Given]) -> dict[str, Any]:
    """Return the settings that stand for themselves; see `Option.parse`."""
    return {one.name: pick(given, one.name, one.parse, one.default) for one in OPTIONS if one.parse is not None}
