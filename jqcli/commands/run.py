"""`jq-run [run] [INPUT]...`: run every job."""

# Typer makes the options from the parameters, and what was given is read from its context:
# ruff: noqa: ARG001, PLR0917

from __future__ import annotations

import os
from typing import Annotated

import typer

from jqcli.commands.option import ConfigOption, ProfileOption, declare, given_options, read_environment
from jqcli.config import OPTION_NAMES, Settings, build_settings, installed_handlers, load_config, usable_cpus
from jqcli.config import settings as allowed
from jqcli.policy import BACKOFFS

WORK, FILES, MEMORY, POOL, FAILURES = "What to do", "Files", "Memory", "Workers", "Failures"
FLOW, SEEN = "Limits and outages", "What you see"

Text = str | None
Texts = list[str] | None
Flag = bool | None
Count = int | None

INPUTS = typer.Argument(metavar="INPUT", help="Files and globs; - is stdin. (what is piped in)", show_default=False)


def run(
    ctx: typer.Context,
    inputs: Annotated[Texts, INPUTS] = None,
    handler: Annotated[
        Text,
        declare(
            WORK,
            "handler",
            "SPEC",
            "pkg.module:function, path/file.py:function, or a registered name. (from the file)",
            short="-H",
        ),
    ] = None,
    input_format: Annotated[
        Text,
        declare(
            WORK,
            "input_format",
            "FORM",
            "auto; envelope: every line is one; raw: none is. (auto)",
            words=allowed.INPUT_FORMATS,
        ),
    ] = None,
    key: Annotated[
        Text, declare(WORK, "key", "PATH", "Where a payload has its key: user.id. (the whole payload)")
    ] = None,
    tenant: Annotated[Text, declare(WORK, "tenant", "PATH", "Where a payload has its tenant. (none)")] = None,
    limit: Annotated[Text, declare(WORK, "limit", "N", "Read no more than N jobs. (all)")] = None,
    dedupe: Annotated[
        Text,
        declare(WORK, "dedupe", "SCOPE", "run: equal jobs run once; off: they all run. (run)", words=allowed.DEDUPES),
    ] = None,
    output: Annotated[
        Text,
        declare(
            FILES,
            "output",
            "PATH",
            "Results; - is stdout. (stdout; at a terminal <input>.results.jsonl)",
            short="-o",
        ),
    ] = None,
    dlq: Annotated[
        Text,
        declare(FILES, "dlq", "PATH", "Dead letters. (<input>.dlq.jsonl beside the results)", short="-d"),
    ] = None,
    keep_order: Annotated[
        Flag, declare(FILES, "keep_order", "", "Results in the order of the input.", short="-k")
    ] = None,
    fresh: Annotated[Flag, declare(FILES, "fresh", "", "Rename what earlier runs left, and start over.")] = None,
    durability: Annotated[
        Text,
        declare(
            FILES,
            "durability",
            "HOW",
            "When to sync: full (before a job counts), batch (once a second) or none. (batch)",
            words=allowed.DURABILITIES,
        ),
    ] = None,
    lock_wait: Annotated[
        Text, declare(FILES, "lock_wait", "DUR", "How long to wait for another run to let the results go. (0)")
    ] = None,
    store: Annotated[Text, declare(MEMORY, "store", "PATH", "Remember what is done, over runs. (none)")] = None,
    ttl: Annotated[Text, declare(MEMORY, "ttl", "DUR", "Forget it after that long: 30d. (never)")] = None,
    on_store_error: Annotated[
        Text,
        declare(
            MEMORY,
            "on_store_error",
            "DO",
            "stop, or continue without a store that does not work. (stop)",
            words=allowed.STORE_ERRORS,
        ),
    ] = None,
    cache: Annotated[
        Text, declare(MEMORY, "cache", "on|off", "Keep results in memory for duplicates. (on)", words=("on", "off"))
    ] = None,
    cache_size: Annotated[Text, declare(MEMORY, "cache_size", "SIZE", "How much of them. (64MiB)")] = None,
    workers: Annotated[
        Text,
        declare(POOL, "workers", "N", "Processes; 0 is --engine inline. (usable CPUs)", short="-j"),
    ] = None,
    batch_size: Annotated[
        Text, declare(POOL, "batch_size", "N", "Jobs sent to a worker together, or auto. (auto)", short="-b")
    ] = None,
    engine: Annotated[
        Text,
        declare(POOL, "engine", "KIND", "process, or inline for debugging. (process)", words=allowed.ENGINES),
    ] = None,
    queue_size: Annotated[
        Text,
        declare(POOL, "queue_size", "N", "Most lines read and not settled. (four batches a worker, at least 10,000)"),
    ] = None,
    queue_bytes: Annotated[Text, declare(POOL, "queue_bytes", "SIZE", "The same in bytes. (256MiB)")] = None,
    max_line: Annotated[Text, declare(POOL, "max_line", "SIZE", "A longer line is a dead letter. (16MiB)")] = None,
    max_result: Annotated[
        Text, declare(POOL, "max_result", "SIZE", "A longer result is a dead letter. (16MiB)")
    ] = None,
    grace: Annotated[
        Text, declare(POOL, "grace", "DUR", "How long running jobs may go on after the first Ctrl-C. (30s)")
    ] = None,
    timeout: Annotated[
        Text, declare(FAILURES, "timeout", "DUR", "Kill an attempt that takes longer: 30s. (off)", short="-t")
    ] = None,
    max_attempts: Annotated[
        Text, declare(FAILURES, "max_attempts", "N", "Give a job up after N attempts. (5)", short="-r")
    ] = None,
    max_crashes: Annotated[
        Text, declare(FAILURES, "max_crashes", "N", "Give up a job that killed N workers. (2)")
    ] = None,
    retry_on: Annotated[Texts, declare(FAILURES, "retry_on", "TYPE,…", "Retry these alone. (any Exception)")] = None,
    reject_on: Annotated[Texts, declare(FAILURES, "reject_on", "TYPE,…", "Never retry these. (none)")] = None,
    backoff: Annotated[
        Text,
        declare(
            FAILURES,
            "backoff",
            "KIND",
            "How pauses grow: full-jitter, exponential or fixed. (full-jitter)",
            words=BACKOFFS,
        ),
    ] = None,
    backoff_base: Annotated[Text, declare(FAILURES, "backoff_base", "DUR", "The first pause. (500ms)")] = None,
    backoff_max: Annotated[Text, declare(FAILURES, "backoff_max", "DUR", "The longest pause. (60s)")] = None,
    max_failures: Annotated[
        Text,
        declare(FAILURES, "max_failures", "N|N%", "Stop early at that many dead lines, or that share of them. (off)"),
    ] = None,
    rate: Annotated[Text, declare(FLOW, "rate", "R", "Most starts in a time: 50/s, 100/min, 5000/h. (off)")] = None,
    burst: Annotated[
        Text, declare(FLOW, "burst", "N", "How many may start at once after a pause. (0.1 s of the rate)")
    ] = None,
    rate_key: Annotated[
        Text, declare(FLOW, "rate_key", "PATH", "The rate holds for each value found here. (one rate for all)")
    ] = None,
    tenant_rate: Annotated[Text, declare(FLOW, "tenant_rate", "R", "Most starts of one tenant. (off)")] = None,
    breaker: Annotated[
        Text, declare(FLOW, "breaker", "N%/DUR", "Pause while that share of calls fails: 50%/30s. (off)")
    ] = None,
    breaker_key: Annotated[
        Text,
        declare(
            FLOW,
            "breaker_key",
            "KEY",
            "One for each tenant, each handler, or each value at a PATH. (one breaker for all)",
        ),
    ] = None,
    breaker_action: Annotated[
        Text,
        declare(
            FLOW,
            "breaker_action",
            "WHAT",
            "When it opens: park the jobs, or stop the run. (park)",
            words=allowed.BREAKER_ACTIONS,
        ),
    ] = None,
    retry_budget: Annotated[
        Text, declare(FLOW, "retry_budget", "N%", "Retries at most that share of first attempts. (off)")
    ] = None,
    deadline: Annotated[Text, declare(FLOW, "deadline", "WHEN", "Be over by 06:00, or after 4h. (off)")] = None,
    adaptive: Annotated[
        Flag, declare(FLOW, "adaptive", "", "Find out how many jobs should run at once, up to -j.")
    ] = None,
    spill: Annotated[Text, declare(FLOW, "spill", "SIZE", "Most bytes of waiting jobs set aside. (1GiB)")] = None,
    dry_run: Annotated[
        Flag, declare(SEEN, "dry_run", "", "Say what would be done, and do nothing; as jq-run check.", short="-n")
    ] = None,
    progress: Annotated[
        Text,
        declare(
            SEEN,
            "progress",
            "KIND",
            "auto (live at a terminal), live, plain, json or none; on stderr. (auto)",
            words=allowed.PROGRESSES,
        ),
    ] = None,
    summary: Annotated[
        Text,
        declare(
            SEEN,
            "summary",
            "KIND",
            "auto (silent off a terminal if all went well), text, json or none. (auto)",
            words=allowed.SUMMARIES,
        ),
    ] = None,
    status_file: Annotated[
        Text, declare(SEEN, "status_file", "FILE", "Keep the state of the run there, as JSON. (none)")
    ] = None,
    metrics_file: Annotated[
        Text,
        declare(SEEN, "metrics_file", "FILE", "Metrics for Prometheus's collector of text files, every 15 s. (none)"),
    ] = None,
    metrics_port: Annotated[
        Text,
        declare(
            SEEN, "metrics_port", "PORT", "Serve the metrics at [HOST:]PORT, on 127.0.0.1 unless HOST is said. (none)"
        ),
    ] = None,
    log_file: Annotated[
        Text, declare(SEEN, "log_file", "FILE", "Append what went wrong, one line an event. (none)")
    ] = None,
    log_format: Annotated[
        Text, declare(SEEN, "log_format", "FORM", "Of the log file: text or json. (text)", words=allowed.LOG_FORMATS)
    ] = None,
    events: Annotated[
        Text, declare(SEEN, "events", "FILE", "Append every change of every job, as JSON Lines. (none)")
    ] = None,
    trace: Annotated[Text, declare(SEEN, "trace", "FILE", "Write a trace that Perfetto opens. (none)")] = None,
    report: Annotated[
        Text, declare(SEEN, "report", "FILE", "Write a page about the run at its end, as HTML. (none)")
    ] = None,
    ping: Annotated[
        Text, declare(SEEN, "ping", "URL", "Tell a monitor: URL/start, then URL/<exit code>. (none)")
    ] = None,
    quiet: Annotated[Flag, declare(SEEN, "quiet", "", "Say nothing but errors.", short="-q")] = None,
    verbose: Annotated[
        Count, declare(SEEN, "verbose", "", "Say what a run goes on from, also off a terminal.", short="-v", count=True)
    ] = None,
    config: ConfigOption = None,
    profile: ProfileOption = None,
) -> int:
    """Run every job of the inputs; results on stdout or in a file, dead letters in a file."""
    settings = build(ctx, config, profile, is_dry=bool(dry_run))
    # Here so that help, completion and the other commands do not pay for the engine.
    if settings.dry_run:
        from jqcli.preview import preview  # noqa: PLC0415

        return preview(settings, explain=False, as_json=settings.summary == "json")
    from jqcli.run import execute  # noqa: PLC0415

    return execute(settings)


def build(ctx: typer.Context, config: str | None, profile: str | None, *, is_dry: bool = False) -> Settings:
    """Return the settings of this command line; a dry run looks where a run at a terminal would write."""
    return build_settings(
        given_options(ctx, OPTION_NAMES) | {"inputs": ctx.params["inputs"] or ()},
        load_config(config, profile),
        environment=read_environment(os.environ),
        installed=installed_handlers(),
        commands=_commands(ctx),
        stdin_tty=os.isatty(0),
        stdout_tty=is_dry or os.isatty(1),
        cpus=usable_cpus(),
    )


def _commands(ctx: typer.Context) -> tuple[str, ...]:
    root = ctx.find_root().command
    return tuple(getattr(root, "commands", ()))
