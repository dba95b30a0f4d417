"""The options of a run, a row each: all commands that take any of them take them from here.

To add one, add a row. Where it has a `parse`, its value is the field of that name in `Settings`; else a reader of
`config` puts several together. Defaults for people stand in the help, so that only what was given reaches the settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jqcli import value as v
from jqcli.policy import BACKOFFS

if TYPE_CHECKING:
    from collections.abc import Callable

WORK, FILES, MEMORY, POOL, FAILURES = "What to do", "Files", "Memory", "Workers", "Failures"
FLOW, SEEN = "Limits and outages", "What you see"
TEXT, TEXTS, FLAG, COUNT = "text", "texts", "flag", "count"

INPUT_FORMATS = ("auto", "envelope", "raw")
ENGINES = ("process", "inline")
DURABILITIES = ("full", "batch", "none")
PROGRESSES = ("auto", "live", "plain", "json", "none")
SUMMARIES = ("auto", "text", "json", "none")
LOG_FORMATS = ("text", "json")
DEDUPES = ("run", "off")
STORE_ERRORS = ("stop", "continue")
BREAKER_ACTIONS = ("park", "stop")

_MEBIBYTE = 2**20


class Option(NamedTuple):
    """One option; its variable and its key in a file follow from its name.

    `words` are offered by the shell's completion. `kind` is TEXT, TEXTS (given several times), FLAG or COUNT.
    `in_verify` is its help in `verify`, empty where that is the same, None where it has no use for it. `refused` says
    why a redrive cannot take it, and then its help there does not show it (`is_hidden`).
    """

    panel: str
    name: str
    metavar: str
    text: str
    short: str = ""
    words: tuple[str, ...] = ()
    kind: str = TEXT
    parse: Callable[[object], Any] | None = None
    default: Any = None
    in_verify: str | None = None
    refused: str = ""
    is_hidden: bool = False


OPTIONS = (
    Option(
        *(
            WORK,
            "handler",
            "SPEC",
            "pkg.module:function, path/file.py:function, or a registered name. (from the file)",
            "-H",
        ),
        in_verify="Only its name counts. (as the files say)",
    ),
    Option(
        *(WORK, "input_format", "FORM", "auto; envelope: every line is one; raw: none is. (auto)", "", INPUT_FORMATS),
        parse=v.choice(*INPUT_FORMATS),
        default="auto",
        in_verify="auto; envelope: every line is one; raw: none is. (as letters say)",
    ),
    Option(
        *(WORK, "key", "PATH", "Where a payload has its key: user.id. (the whole payload)"),
        parse=v.dotted_path,
        in_verify="",
    ),
    Option(
        *(WORK, "tenant", "PATH", "Where a payload has its tenant. (none)"),
        parse=v.dotted_path,
        in_verify="",
    ),
    Option(
        *(WORK, "limit", "N", "Read no more than N jobs. (all)"),
        parse=v.whole(1),
        in_verify="",
    ),
    Option(
        *(WORK, "dedupe", "SCOPE", "run: equal jobs run once; off: they all run. (run)", "", DEDUPES),
        parse=lambda said: v.choice(*DEDUPES)(said) == "run",
        default=True,
        in_verify="",
    ),
    Option(
        *(FILES, "output", "PATH", "Results; - is stdout. (stdout; at a terminal <input>.results.jsonl)", "-o"),
        in_verify="The results. (<input>.results.jsonl, if there)",
    ),
    Option(
        *(FILES, "dlq", "PATH", "Dead letters. (<input>.dlq.jsonl beside the results)", "-d"),
        in_verify="The dead letters. (<input>.dlq.jsonl beside the results)",
        refused="the letters stay in the DLQ that they are in",
    ),
    Option(
        *(FILES, "keep_order", "", "Results in the order of the input.", "-k"),
        kind=FLAG,
        parse=v.flag,
        default=False,
    ),
    Option(
        *(FILES, "fresh", "", "Rename what earlier runs left, and start over."),
        kind=FLAG,
        parse=v.flag,
        default=False,
        refused="a redrive goes on with the files of its letters; `-o` names another file for the results",
    ),
    Option(
        *(
            FILES,
            "durability",
            "HOW",
            "When to sync: full (before a job counts), batch (once a second) or none. (batch)",
            "",
            DURABILITIES,
        ),
        parse=v.choice(*DURABILITIES),
        default="batch",
    ),
    Option(
        *(FILES, "lock_wait", "DUR", "How long to wait for another run to let the results go. (0)"),
        parse=v.seconds,
        default=0.0,
    ),
    Option(MEMORY, "store", "PATH", "Remember what is done, over runs. (none)"),
    Option(MEMORY, "ttl", "DUR", "Forget it after that long: 30d. (never)"),
    Option(
        MEMORY, "on_store_error", "DO", "stop, or continue without a store that does not work. (stop)", "", STORE_ERRORS
    ),
    Option(MEMORY, "cache", "on|off", "Keep results in memory for duplicates. (on)", "", ("on", "off")),
    Option(MEMORY, "cache_size", "SIZE", "How much of them. (64MiB)"),
    Option(POOL, "workers", "N", "Processes; 0 is --engine inline. (usable CPUs)", "-j"),
    Option(
        *(POOL, "batch_size", "N", "Jobs sent to a worker together, or auto. (auto)", "-b"),
        parse=v.whole_or_auto,
    ),
    Option(POOL, "engine", "KIND", "process, or inline for debugging. (process)", "", ENGINES),
    Option(
        POOL,
        "queue_size",
        "N",
        "Most lines read and not settled. (four batches a worker, at least 10,000)",
        parse=v.whole(1),
    ),
    Option(POOL, "queue_bytes", "SIZE", "The same in bytes. (256MiB)", parse=v.size, default=256 * _MEBIBYTE),
    Option(
        *(POOL, "max_line", "SIZE", "A longer line is a dead letter. (16MiB)"),
        parse=v.size,
        default=16 * _MEBIBYTE,
        in_verify="",
    ),
    Option(
        POOL, "max_result", "SIZE", "A longer result is a dead letter. (16MiB)", parse=v.size, default=16 * _MEBIBYTE
    ),
    Option(
        *(POOL, "grace", "DUR", "How long running jobs may go on after the first Ctrl-C. (30s)"),
        parse=v.seconds,
        default=30.0,
    ),
    Option(FAILURES, "timeout", "DUR", "Kill an attempt that takes longer: 30s. (off)", "-t"),
    Option(FAILURES, "max_attempts", "N", "Give a job up after N attempts. (5)", "-r"),
    Option(FAILURES, "max_crashes", "N", "Give up a job that killed N workers. (2)"),
    Option(FAILURES, "retry_on", "TYPE,…", "Retry these alone. (any Exception)", kind=TEXTS),
    Option(FAILURES, "reject_on", "TYPE,…", "Never retry these. (none)", kind=TEXTS),
    Option(
        FAILURES, "backoff", "KIND", "How pauses grow: full-jitter, exponential or fixed. (full-jitter)", "", BACKOFFS
    ),
    Option(FAILURES, "backoff_base", "DUR", "The first pause. (500ms)"),
    Option(FAILURES, "backoff_max", "DUR", "The longest pause. (60s)"),
    Option(FAILURES, "max_failures", "N|N%/M", "Stop early at N dead lines, or N% of at least M. (off; M is 100)"),
    Option(FLOW, "rate", "R", "Most starts in a time: 50/s, 100/min, 5000/h. (off)"),
    Option(FLOW, "burst", "N", "How many may start at once after a pause. (0.1 s of the rate)"),
    Option(FLOW, "rate_key", "PATH", "The rate holds for each value found here. (one rate for all)"),
    Option(FLOW, "tenant_rate", "R", "Most starts of one tenant. (off)"),
    Option(FLOW, "breaker", "N%/DUR", "Pause while that share of calls fails: 50%/30s. (off)"),
    Option(
        FLOW, "breaker_key", "KEY", "One for each tenant, each handler, or each value at a PATH. (one breaker for all)"
    ),
    Option(
        FLOW, "breaker_action", "WHAT", "When it opens: park the jobs, or stop the run. (park)", "", BREAKER_ACTIONS
    ),
    Option(FLOW, "retry_budget", "N%", "Retries at most that share of first attempts. (off)"),
    Option(FLOW, "deadline", "WHEN", "Be over by 06:00, or after 4h. (off)"),
    Option(FLOW, "adaptive", "", "Find out how many jobs should run at once, up to -j.", kind=FLAG),
    Option(FLOW, "spill", "SIZE", "Most bytes of waiting jobs set aside. (1GiB)"),
    Option(
        *(SEEN, "dry_run", "", "Say what would be done, and do nothing; as jq-run check.", "-n"),
        kind=FLAG,
        parse=v.flag,
        default=False,
        refused="retry has no dry run; `jq-run dlq list` shows the same letters",
    ),
    Option(
        *(
            SEEN,
            "progress",
            "KIND",
            "auto (live at a terminal), live, plain, json or none; on stderr. (auto)",
            "",
            PROGRESSES,
        ),
        parse=v.choice(*PROGRESSES),
        default="auto",
    ),
    Option(
        *(
            SEEN,
            "summary",
            "KIND",
            "auto (silent off a terminal if all went well), text, json or none. (auto)",
            "",
            SUMMARIES,
        ),
        parse=v.choice(*SUMMARIES),
        default="auto",
    ),
    Option(SEEN, "status_file", "FILE", "Keep the state of the run there, as JSON. (none)"),
    Option(SEEN, "metrics_file", "FILE", "Metrics for Prometheus's collector of text files, every 15 s. (none)"),
    Option(
        SEEN,
        "metrics_port",
        "PORT",
        "Serve the metrics at [HOST:]PORT, on 127.0.0.1 unless HOST is said. (none)",
        parse=v.address,
    ),
    Option(SEEN, "log_file", "FILE", "Append what went wrong and what handlers say, one line an event. (none)"),
    Option(
        *(SEEN, "log_format", "FORM", "Of the log file: text or json. (text)", "", LOG_FORMATS),
        parse=v.choice(*LOG_FORMATS),
        default="text",
    ),
    Option(SEEN, "events", "FILE", "Append every change of every job, as JSON Lines. (none)"),
    Option(SEEN, "trace", "FILE", "Write a trace that Perfetto opens. (none)"),
    Option(SEEN, "report", "FILE", "Write a page about the run at its end, as HTML. (none)"),
    Option(SEEN, "ping", "URL", "Tell a monitor: URL/start, then URL/<exit code>. (none)", parse=v.web_address),
    Option(SEEN, "quiet", "", "Say nothing but errors.", "-q", kind=FLAG),
    Option(SEEN, "verbose", "", "Say what a run goes on from, also off a terminal.", "-v", kind=COUNT),
)

OPTION_NAMES = tuple(option.name for option in OPTIONS)
VERIFY_OPTIONS = tuple(option for option in OPTIONS if option.in_verify is not None)
