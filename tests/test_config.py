"""Laws of the settings: precedence, defaults, and errors that name place, value and what is allowed."""

from __future__ import annotations

import math
import os
import sys
import time
import zipfile
from pathlib import Path

import pytest

from jqcli.config import HandlerSpec, Policy, build_settings, installed_handlers, load_config, usable_cpus
from jqcli.config.flow import read_deadline
from jqcli.core.breaker import Trip
from jqcli.core.limit import Rate
from jqcli.core.stop import Tolerance
from jqcli.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("jobs.jsonl").write_text("1\n")
    return tmp_path


def build(values=None, *, toml="", environment=None, profile=None, stdin_tty=True, stdout_tty=False, **more):
    if toml:
        Path("jqcli.toml").write_text(toml)
    said = {"inputs": ["jobs.jsonl"], "handler": "tasks.py:charge"} | (values or {})
    return build_settings(
        said,
        load_config(profile=profile),
        environment=environment or {},
        stdin_tty=stdin_tty,
        stdout_tty=stdout_tty,
        cpus=3,
        **more,
    )


def fail(*args, **kwargs):
    with pytest.raises(UsageError) as caught:
        build(*args, **kwargs)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_defaults_are_those_of_the_design():
    settings = build()
    assert settings.inputs == ("jobs.jsonl",)
    assert settings.handler == HandlerSpec(None, "tasks.py:charge", Policy())
    assert (settings.engine, settings.workers, settings.batch_size, settings.queue_size) == (
        "process",
        3,
        None,
        None,
    )
    assert (settings.queue_bytes, settings.max_line, settings.max_result) == (256 << 20, 16 << 20, 16 << 20)
    assert (settings.policy, settings.max_failures, settings.dedupe) == (Policy(), None, True)
    assert (settings.grace, settings.durability, settings.input_format) == (30.0, "batch", "auto")
    assert (settings.progress, settings.summary, settings.quiet, settings.verbose) == (
        "auto",
        "auto",
        False,
        0,
    )


def test_option_wins_over_environment_over_profile_over_file():
    toml = "workers = 1\n[profiles.fast]\nworkers = 2\n"
    assert build(toml=toml).workers == 1
    assert build(profile="fast").workers == 2
    assert build(profile="fast", environment={"workers": "4"}).workers == 4
    assert build({"workers": "5"}, profile="fast", environment={"workers": "4"}).workers == 5


def test_a_registered_handler_has_its_own_policy_between_environment_and_top_of_the_file():
    toml = 'max_attempts = 2\ntimeout = "9s"\n[handlers.charge]\nspec = "tasks.py:charge"\nmax_attempts = 3\n'
    charge = {"handler": "charge"}
    assert build(charge, toml=toml).handler.policy == Policy(max_attempts=3, timeout=9.0)
    assert build(charge, environment={"max_attempts": "4"}).handler.policy.max_attempts == 4
    assert build(charge | {"max_attempts": "5"}).handler.policy.max_attempts == 5
    assert build(charge).policy == Policy(max_attempts=2, timeout=9.0)


def test_policies_are_read_from_all_places():
    settings = build(
        {"retry_on": ["ConnectionError,requests.Timeout", "KeyError"], "timeout": "1m"},
        environment={"backoff": "fixed"},
        toml='backoff_base = "1s"\nbackoff_max = 90\nreject_on = ["ValueError"]\n',
    )
    assert settings.policy == Policy(
        retry_on=("ConnectionError", "requests.Timeout", "KeyError"),
        timeout=60.0,
        backoff="fixed",
        backoff_base=1.0,
        backoff_max=90.0,
        reject_on=("ValueError",),
    )


@pytest.mark.parametrize(
    "values, text",
    [
        ({"workers": "many"}, "--workers: 'many' is not a whole number of at least 0"),
        ({"workers": "-1"}, "--workers: '-1' is not a whole number"),
        ({"backoff": "expo"}, "--backoff: 'expo' is none of full-jitter, exponential, fixed (did you mean"),
        ({"timeout": "soon"}, "--timeout: 'soon' is not a duration"),
        ({"timeout": "0"}, "--timeout: '0' leaves no time"),
        ({"max_line": "big"}, "--max-line: 'big' is not a size"),
        ({"queue_bytes": "0"}, "--queue-bytes: '0' is not a size above 0"),
        ({"batch_size": "0"}, "--batch-size: '0' is not a whole number of at least 1, nor auto"),
        ({"max_failures": "some"}, "--max-failures: 'some' is not a limit"),
        ({"durability": "ful"}, "(did you mean 'full'?)"),
        ({"dedupe": "store"}, "--dedupe: 'store' is none of run, off"),
        ({"key": "$.user.id"}, "--key: '$.user.id' is not a path into the payload; write user.id"),
        ({"key": "user..id"}, "--key: 'user..id' is not a path"),
        ({"key": "\udcff"}, r"--key: '\udcff' is not a path"),
        ({"retry_on": "a b"}, "--retry-on: 'a b' is not the name of a type"),
        ({"retry_on": [""]}, "--retry-on: '' is not the name of a type"),
        ({"events": "-"}, "--events: it goes to a file, not to stdout"),
        ({"status_file": "-"}, "--status-file: it goes to a file, not to stdout"),
        ({"backoff_base": "2m"}, "--backoff-base: backoff_base of 2m00s is more than backoff_max of 1m00s"),
        ({"limit": "0"}, "--limit: '0' is not a whole number of at least 1"),
        ({"raet": "5/s"}, "--raet: there is no such option"),
        ({"rate": "0/s"}, "--rate: '0/s' is not a rate above 0; write 50/s, 100/min or 5000/h"),
        ({"rate": "5/fortnight"}, "--rate: '5/fortnight' is not a rate"),
        ({"burst": "5"}, "--burst: says nothing without --rate or --tenant-rate"),
        ({"rate_key": "host"}, "--rate-key: says nothing without --rate"),
        ({"breaker_action": "stop"}, "--breaker-action: says nothing without --breaker"),
        ({"breaker": "50%"}, "--breaker: '50%' is not a share of failures in a time; write 50%/30s"),
        ({"breaker": "150%/3s"}, "--breaker: '150%/3s' is not"),
        ({"retry_budget": "20"}, "--retry-budget: '20' is not a percentage above 0; write 20%"),
        ({"deadline": "25:00"}, "--deadline: '25:00' is neither a time of day nor a duration; write 06:00 or 4h"),
    ],
)
def test_a_bad_value_names_the_option_the_value_and_what_is_allowed(values, text):
    assert text in fail(values)


def test_a_bad_value_names_the_variable_or_the_file_and_key_it_came_from():
    assert "JQ_RUN_WORKERS: 'x' is not" in fail(environment={"workers": "x"})
    assert "jqcli.toml: workers: 'x' is not" in fail(toml='workers = "x"')
    toml = "[profiles.fast]\nkeep_order = 3\n"
    assert "jqcli.toml: [profiles.fast] keep_order: 3 is neither" in fail(toml=toml, profile="fast")


@pytest.mark.parametrize(
    "toml, text",
    [
        ("wrokers = 3", "jqcli.toml: wrokers: there is no such key (did you mean 'workers'?)"),
        ("max-attempts = 3", "max-attempts: there is no such key (did you mean 'max_attempts'?)"),
        ('raet = "5/s"', "jqcli.toml: raet: there is no such key"),
        ("[profiles.a]\nworker = 1", "[profiles.a] worker: there is no such key (did you mean 'workers'?)"),
        (
            '[handlers.a]\nspec = "m:f"\ntimeuot = 1',
            "[handlers.a] timeuot: there is no such key (did you mean",
        ),
        ("[handlers.a]\ntimeout = 1", "[handlers.a] has no spec"),
        ('[handlers]\na = "tasks"', "jqcli.toml: [handlers.a] spec: 'tasks' is no handler"),
        (
            '[handlers.a]\nspec = "m:f"\nmax_attempts = "x"',
            "[handlers.a] max_attempts: 'x' is not a whole number",
        ),
        ('[handlers]\n"a b" = "m:f"', "[handlers]: 'a b' is no name for a handler"),
        ("profiles = 3", "profiles: 3 is not a table"),
        ("workers = ", "jqcli.toml: not TOML"),
        ('output = "a\\u0000b"', r"jqcli.toml: output: 'a\x00b' is not a text"),
        ('report = "a\\u0000b"', r"jqcli.toml: report: 'a\x00b' is not a text"),
    ],
)
def test_a_wrong_file_names_itself_the_key_and_the_nearest_key(toml, text):
    assert text in fail(toml=toml)


def test_an_unknown_profile_names_the_nearest():
    assert "no profile 'fats' (did you mean 'fast'?)" in fail(toml="[profiles.fast]\n", profile="fats")
    Path("jqcli.toml").unlink()
    assert "--profile fast: no jqcli.toml here" in fail(profile="fast")


def test_the_file_is_jqcli_toml_else_the_table_in_pyproject_toml():
    Path("pyproject.toml").write_text("[tool.jqcli]\nworkers = 7\n")
    assert build().workers == 7
    assert build(toml="workers = 8").workers == 8


def test_a_pyproject_without_our_table_is_no_file_of_ours():
    Path("pyproject.toml").write_text("[tool.other]\nworkers = 7\n")
    assert load_config().path is None
    with pytest.raises(UsageError, match=r"has no \[tool.jqcli\]"):
        load_config("pyproject.toml")


def test_a_config_file_that_is_named_must_exist():
    with pytest.raises(UsageError, match=r"missing.toml: cannot be read"):
        load_config("missing.toml")


def test_relative_paths_in_a_file_are_relative_to_its_folder():
    Path("conf").mkdir()
    Path("conf/x.toml").write_text(
        'handler = "tasks.py:charge"\noutput = "out.jsonl"\ndlq = "/tmp/d.jsonl"\n'
        '[handlers]\na = "t.py:f"\nb = "m.t:f"\n'
    )
    settings = build_settings(
        {"inputs": ["jobs.jsonl"]}, load_config("conf/x.toml"), stdin_tty=True, stdout_tty=True, cpus=1
    )
    assert settings.handler.spec == "conf/tasks.py:charge"
    assert (settings.output, settings.dlq) == ("conf/out.jsonl", "/tmp/d.jsonl")
    assert [spec.spec for spec in settings.handlers] == ["conf/t.py:f", "m.t:f"]


def test_stdout_written_in_a_file_stays_stdout():
    assert build(toml='output = "-"', stdout_tty=True).output is None


def test_results_go_to_a_file_of_their_own_only_at_a_terminal():
    assert build().output is None
    assert build(stdout_tty=True).output == "jobs.results.jsonl"
    assert build({"output": "-"}, stdout_tty=True).output is None
    assert build({"inputs": ["-"]}, stdout_tty=True).output == "results.jsonl"


def test_the_dlq_lies_beside_the_output_file_else_in_the_current_folder():
    Path("out").mkdir()
    Path("in").mkdir()
    Path("in/jobs.jsonl.gz").write_text("")
    assert build({"inputs": ["in/jobs.jsonl.gz"]}).dlq == "jobs.dlq.jsonl"
    assert build({"inputs": ["in/jobs.jsonl.gz"], "output": "out/r.jsonl"}).dlq == "out/jobs.dlq.jsonl"
    assert build({"output": "/dev/null"}).dlq == "jobs.dlq.jsonl"
    assert build({"inputs": ["-"]}).dlq == "dlq.jsonl"
    assert build({"dlq": "out/d.jsonl"}).dlq == "out/d.jsonl"


def test_outputs_must_be_possible():
    Path("out").mkdir()
    assert "--output: out is a folder" in fail({"output": "out"})
    assert "--output: no/r.jsonl: there is no folder no" in fail({"output": "no/r.jsonl"})
    assert "--dlq: dead letters go to a file, not to stdout" in fail({"dlq": "-"})
    assert "cannot share a file" in fail({"output": "a.jsonl", "dlq": "./a.jsonl"})


def test_an_input_that_is_the_output_or_the_dlq_is_refused_also_under_another_name():
    os.link("jobs.jsonl", "alias.jsonl")
    assert "jobs.jsonl: an input that is this run's own --output" in fail({"output": "alias.jsonl"})
    assert "jq-run dlq retry jobs.jsonl" in fail({"dlq": "alias.jsonl"})


def test_globs_are_expanded_in_the_order_given():
    for name in ("b1.jsonl", "b0.jsonl", "a[1].jsonl"):
        Path(name).write_text("")
    inputs = ["jobs.jsonl", "b*.jsonl", "-", "a[1].jsonl"]
    assert build({"inputs": inputs}).inputs == ("jobs.jsonl", "b0.jsonl", "b1.jsonl", "-", "a[1].jsonl")


@pytest.mark.parametrize(
    "words, before",
    [
        (["jobs.jsonl", "jobs.jsonl"], ""),
        (["jobs.jsonl", "-", "./jobs.jsonl"], " (before as jobs.jsonl)"),
        (["*.jsonl", "jobs.jsonl"], ""),
        (["jobs.jsonl", "link"], " (before as jobs.jsonl)"),
        (["jobs.jsonl", "hard"], " (before as jobs.jsonl)"),
    ],
)
def test_an_input_that_is_named_twice_is_refused_also_under_another_name(words, before):
    Path("link").symlink_to("jobs.jsonl")
    os.link("jobs.jsonl", "hard")
    assert fail({"inputs": words}).startswith(f"{words[-1]}: this input is named twice{before}; ")


def test_what_is_no_file_may_be_named_twice():
    assert build({"inputs": ["/dev/null", "/dev/null"]}).inputs == ("/dev/null", "/dev/null")


def test_inputs_that_are_not_there_are_named():
    assert fail({"inputs": ["none.jsonl"]}) == "none.jsonl: no such file"
    assert "no*.jsonl: no file matches" in fail({"inputs": ["no*.jsonl"]})
    assert "is a folder; give its files" in fail({"inputs": ["."]})
    assert "`-` is given twice" in fail({"inputs": ["-", "-"]})
    hint = fail({"inputs": ["jobs.jsonl", "dql"]}, commands=("run", "dlq"))
    assert hint == "dql: no such file (did you mean the command 'dlq'?)"


def test_without_inputs_stdin_is_read_unless_it_is_a_terminal():
    assert build({"inputs": ()}, stdin_tty=False).inputs == ("-",)
    assert "no input: name a file" in fail({"inputs": ()})


def test_no_workers_is_the_inline_engine():
    settings = build({"workers": "0"})
    assert (settings.engine, settings.workers) == ("inline", 1)
    assert build({"engine": "inline"}).engine == "inline"


def test_where_engine_and_workers_disagree_the_higher_layer_wins_and_on_one_layer_it_is_an_error():
    assert build({"engine": "inline"}, toml="workers = 8").engine == "inline"
    settings = build({"engine": "process"}, toml="workers = 0")
    assert (settings.engine, settings.workers) == ("process", 3)
    settings = build({"workers": "2"}, toml='engine = "inline"')
    assert (settings.engine, settings.workers) == ("process", 2)
    assert "--workers 4 contradicts --engine inline" in fail({"engine": "inline", "workers": "4"})
    assert "--workers 0 contradicts --engine process" in fail({"engine": "process", "workers": "0"})


def test_where_quiet_and_verbose_disagree_the_higher_layer_wins_and_on_one_layer_it_is_an_error():
    def voice(values, **more):
        settings = build(values, **more)
        return settings.quiet, settings.verbose

    assert fail({"quiet": True, "verbose": 1}) == "--quiet contradicts --verbose: leave one of them out"
    assert fail(environment={"quiet": "1", "verbose": "2"}).startswith("JQ_RUN_QUIET contradicts JQ_RUN_VERBOSE")
    assert voice({"quiet": True}, environment={"verbose": "2"}) == (True, 0)
    assert voice({"verbose": 2}, toml="quiet = true") == (False, 2)
    assert voice({"quiet": True, "verbose": 0}) == (True, 0)


def test_the_inline_engine_refuses_a_timeout_wherever_it_comes_from():
    assert "--timeout: the inline engine (-j 0)" in fail({"workers": "0", "timeout": "1s"})
    assert "JQ_RUN_TIMEOUT: the inline" in fail({"engine": "inline"}, environment={"timeout": "1s"})
    assert "jqcli.toml: timeout: the inline" in fail({"engine": "inline"}, toml="timeout = 1")
    toml = '[handlers.a]\nspec = "m:f"\ntimeout = 1\n'
    assert "[handlers.a] timeout: the inline" in fail({"engine": "inline", "handler": "a"}, toml=toml)


def test_handlers_are_named_by_module_by_file_or_by_registered_name():
    toml = '[handlers.charge]\nspec = "tasks.py:charge"\n'
    assert build({"handler": "pkg.mod:Class"}, toml=toml).handler.spec == "pkg.mod:Class"
    assert build({"handler": "../x/tasks.py:f"}).handler.spec == "../x/tasks.py:f"
    assert build({"handler": "charge"}).handler == HandlerSpec("charge", "tasks.py:charge", Policy())
    assert "'charg' is not a registered handler (did you mean 'charge'?)" in fail({"handler": "charg"})
    assert "'tasks.py' names no function; write tasks.py:FUNCTION" in fail({"handler": "tasks.py"})
    assert "is no handler; write pkg.module:function" in fail({"handler": "a b:c"})


def test_a_name_in_the_file_hides_an_installed_one():
    installed = (HandlerSpec("charge", "lib:charge"), HandlerSpec("mail", "lib:mail"))
    settings = build({"handler": "charge"}, toml='[handlers]\ncharge = "tasks.py:charge"\n', installed=installed)
    assert settings.handler.spec == "tasks.py:charge"
    assert [spec.name for spec in settings.handlers] == ["charge", "mail"]


def register(folder, entry):
    write(folder, "lib-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n")
    write(folder, "lib-1.0.dist-info/entry_points.txt", f"[jqcli.handlers]\n{entry}\n")


def test_installed_packages_register_handlers_by_entry_point(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    register(tmp_path, "mail = lib.mail:send")
    assert HandlerSpec("mail", "lib.mail:send") in installed_handlers()
    register(tmp_path, "mail = lib.mail")
    with pytest.raises(UsageError, match=r"lib: entry point jqcli.handlers: 'lib.mail' is no handler"):
        installed_handlers()


def test_an_archive_on_the_path_may_register_handlers_too(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "libs.zip", "w") as archive:
        archive.writestr("lib-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n")
        archive.writestr("lib-1.0.dist-info/entry_points.txt", "[jqcli.handlers]\npost = lib.mail:post\n")
    monkeypatch.syspath_prepend(tmp_path / "libs.zip")
    assert HandlerSpec("post", "lib.mail:post") in installed_handlers()


def test_without_one_that_registers_any_no_package_is_parsed(monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)  # importing it would raise
    assert installed_handlers() == ()


def test_without_a_handler_the_error_shows_how_to_give_one():
    text = fail({"handler": None}, toml='[handlers]\ncharge = "tasks.py:charge"\n')
    assert "jq-run jobs.jsonl -H tasks.py:charge" in text
    assert "Registered: charge." in text


@pytest.mark.parametrize(
    "said, tolerance",
    [
        ("5%", Tolerance(share=0.05)),
        ("5%/1000", Tolerance(share=0.05, least=1000)),
        (" 2.5 % / 7 ", Tolerance(share=0.025, least=7)),
        ("0", Tolerance(0)),
        (0, Tolerance(0)),
        ("0%", Tolerance(share=0.0)),
        (None, Tolerance(3)),
        ("off", None),
    ],
)
def test_max_failures_is_a_number_or_a_share_of_so_many_or_off(said, tolerance):
    assert build({"max_failures": said}, toml="max_failures = 3").max_failures == tolerance


@pytest.mark.parametrize("said", ["5/100", "5%/0", "5%/", "5%/1.5", "/100", "101%", "-1", "2.5", True, "5%/10%"])
def test_what_is_no_limit_of_failures_is_refused_with_how_to_write_one(said):
    text = fail({"max_failures": said})
    assert text.startswith(f"--max-failures: {said!r} is not a limit of failures")
    assert "5%/1000" in text


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_usable_cpus_are_never_more_than_the_affinity_mask_and_at_least_one(tmp_path):
    affine = len(os.sched_getaffinity(0))
    assert usable_cpus(tmp_path) == affine
    write(tmp_path, "proc/self/cgroup", "0::/a/b\n")
    write(tmp_path, "sys/fs/cgroup/a/b/cpu.max", f"{(affine + 5) * 1000} 1000\n")
    assert usable_cpus(tmp_path) == affine
    write(tmp_path, "sys/fs/cgroup/a/cpu.max", "10 1000\n")
    assert usable_cpus(tmp_path) == 1


def test_usable_cpus_know_both_kinds_of_cgroup(tmp_path):
    affine = len(os.sched_getaffinity(0))
    write(tmp_path, "proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/x\n0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "150000\n")
    write(tmp_path, "sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n")
    assert usable_cpus(tmp_path) == min(affine, math.ceil(1.5))
    write(tmp_path, "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n")
    assert usable_cpus(tmp_path) == affine


def test_limits_and_outages_are_off_unless_they_are_asked_for():
    settings = build()
    assert not settings.flow.is_asked
    assert (settings.deadline_at, settings.adaptive, settings.breaker_action) == (None, False, "park")


def test_limits_come_from_options_and_from_tables_of_tenants():
    toml = """
retry_budget = "20%"
[tenants.acme]
rate = "100/min"
burst = 7
[tenants.7]
rate = 5
[handlers.mail]
spec = "tasks.py:mail"
rate = "1800/h"
"""
    said = {"rate": "50/s", "burst": "5", "tenant_rate": "10/s", "breaker": "25%/10s", "breaker_key": "tenant"}
    settings = build(said, toml=toml)
    flow = settings.flow
    assert (flow.rate, flow.tenant_rate) == (Rate(50.0, 5), Rate(10.0, 5))
    assert flow.tenants == {"acme": Rate(100 / 60, 7), "7": Rate(5.0, 5)}
    assert (flow.trip, flow.breaker_key, flow.budget) == (Trip(0.25, 10.0), "tenant", 0.2)
    assert [spec.policy.rate for spec in settings.handlers] == [0.5]
    assert settings.handler.policy.rate is None, "the rate of all jobs is no handler's own"


@pytest.mark.parametrize(
    "toml, text",
    [
        ("[tenants.a]\nburst = 3", 'jqcli.toml: [tenants.a] has no rate; write rate = "50/s"'),
        ('[tenants.a]\nrate = "fast"', "jqcli.toml: [tenants.a] rate: 'fast' is not a rate"),
        ("[tenants.a]\nraet = 3", "jqcli.toml: [tenants.a] raet: there is no such key (did you mean 'rate'?)"),
    ],
)
def test_a_wrong_table_of_a_tenant_is_an_error(toml, text):
    assert text in fail(toml=toml)


def test_a_time_of_day_is_the_next_one():
    start = time.mktime((2026, 11, 26, 22, 0, 0, 0, 0, -1))
    assert read_deadline("23:30").moment(start) - start == 1.5 * 3600
    assert time.localtime(read_deadline("6:00").moment(start))[:5] == (2026, 11, 27, 6, 0)
    assert time.localtime(read_deadline("22:00").moment(start))[:5] == (2026, 11, 27, 22, 0)
    assert read_deadline("4h").moment(start) - start == 4 * 3600
