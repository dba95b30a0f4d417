"""Laws of the command line: routing, options, exit codes, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from typer.main import get_command

from jqcli import __version__
from jqcli.commands import main, make_app
from jqcli.commands.ending import end
from jqcli.commands.option import read_environment
from jqcli.config import OPTION_NAMES, OPTIONS, VERIFY_OPTIONS, ConfigFile
from jqcli.config.given import option_of, variable_of
from jqcli.errors import FileError, LockedError, ReaderGoneError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in OPTION_NAMES:
        monkeypatch.delenv(variable_of(name), raising=False)
    for name in ("jobs.jsonl", "dlq", "handlers"):
        Path(name).write_text("1\n")
    return tmp_path


@pytest.fixture
def ran(monkeypatch):
    """Settings of the runs that were started; a run ends with 0."""
    started = []
    stand_in = types.ModuleType("jqcli.run")
    stand_in.execute = lambda settings: started.append(settings) or 0
    monkeypatch.setitem(sys.modules, "jqcli.run", stand_in)
    monkeypatch.setattr("os.isatty", lambda _: False)
    return started


@pytest.fixture
def terminal(monkeypatch):
    """Stdin is a terminal."""
    monkeypatch.setattr("os.isatty", lambda fd: fd == 0)


def jq_run(*args, **environment):
    return subprocess.run(
        [sys.executable, "-m", "jqcli", *args],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | environment,
    )


@pytest.mark.parametrize(
    "args, inputs",
    [
        (["jobs.jsonl"], ("jobs.jsonl",)),
        (["-j", "4", "jobs.jsonl"], ("jobs.jsonl",)),
        (["-"], ("-",)),
        (["-q", "-"], ("-",)),
        (["--workers=8"], ("-",)),
        ([], ("-",)),
        (["--", "dlq"], ("dlq",)),
        (["./dlq"], ("./dlq",)),
        (["run", "dlq"], ("dlq",)),
        (["run"], ("-",)),
        (["jobs.jsonl", "-k", "./handlers"], ("jobs.jsonl", "./handlers")),
    ],
    ids=" ".join,
)
def test_run_is_the_command_where_none_is_named(ran, monkeypatch, args, inputs):
    monkeypatch.setenv("JQ_RUN_HANDLER", "tasks.py:charge")
    assert main(args) == 0
    assert [settings.inputs for settings in ran] == [inputs]


def test_a_command_is_a_command_also_where_a_file_has_its_name(ran):
    assert main(["handlers"]) == 0
    assert main(["dlq", "export", "none.jsonl"]) == 0
    assert ran == []


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version_stays_on_the_group(option, capsys):
    assert main([option]) == 0
    assert capsys.readouterr().out == f"jq-run {__version__}\n"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_shows_the_commands_and_the_options_of_run_within_80_columns(option):
    done = jq_run(option)
    assert done.returncode == 0
    for word in ("--workers", "--handler", "--dlq", "handlers", "--version", "INPUT"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_every_option_is_in_the_help_and_reads_its_variable():
    params = {param.name: param for param in get_command(make_app()).commands["run"].params}
    assert set(params) == {"inputs", "config", "profile", *OPTION_NAMES}
    assert read_environment({variable_of(name): "x" for name in OPTION_NAMES}) == dict.fromkeys(OPTION_NAMES, "x")
    assert params["config"].envvar == "JQ_RUN_CONFIG"
    assert params["profile"].envvar == "JQ_RUN_PROFILE"


def test_every_command_takes_the_options_of_a_run_from_one_table():
    """A new row is in `run`, `check` and `dlq retry` at once, and in `verify` where it says something there."""
    root = get_command(make_app())
    taken = {name: {param.name for param in root.commands[name].params} for name in ("run", "check", "verify")}
    retry = {param.name: param for param in root.commands["dlq"].commands["retry"].params}
    names = set(OPTION_NAMES)
    assert (taken["run"] & names, names - taken["check"]) == (names, {"dry_run"})
    assert taken["verify"] & names == {option.name for option in VERIFY_OPTIONS}
    assert retry.keys() >= names
    assert {name for name in names if getattr(retry[name], "hidden", False)} == {
        one.name for one in OPTIONS if one.refused
    }


@pytest.mark.parametrize("option", [one for one in OPTIONS if one.refused], ids=lambda one: one.name)
def test_what_a_redrive_cannot_take_is_refused_with_the_reason(option, capsys):
    words = [option_of(option.name), *(["x"] if option.metavar else [])]
    assert main(["dlq", "retry", "none.jsonl", *words]) == 2
    assert capsys.readouterr().err == f"jq-run: {option_of(option.name)}: {option.refused}\n"


@pytest.mark.parametrize("option", ["--trace", "--report"])
def test_one_trace_or_report_is_not_written_for_several_dlqs(option, capsys):
    assert main(["dlq", "retry", "a.jsonl", "b.jsonl", option, "t"]) == 2
    assert "one DLQ at a time" in capsys.readouterr().err
    assert main(["dlq", "retry", "a.jsonl", "a.jsonl", option, "t"]) == 0


def test_a_word_that_is_no_file_and_near_a_command_is_an_error_with_a_hint(ran, capsys):
    assert main(["dql", "retry", "--all"]) == 2
    assert capsys.readouterr().err == "jq-run: dql: no such file (did you mean the command 'dlq'?)\n"
    assert ran == []


def test_no_arguments_at_a_terminal_is_help_on_stderr_and_2(ran, terminal, capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert (out, ran) == ("", [])
    assert "--workers" in err


def test_options_without_an_input_at_a_terminal_do_not_wait(ran, terminal, capsys):
    assert main(["-H", "tasks.py:charge"]) == 2
    assert "no input: name a file" in capsys.readouterr().err


def test_option_wins_over_environment_over_file(ran, monkeypatch):
    Path("jqcli.toml").write_text('handler = "tasks.py:charge"\nworkers = 1\ngrace = "1s"\nlimit = 9\n')
    monkeypatch.setenv("JQ_RUN_WORKERS", "2")
    monkeypatch.setenv("JQ_RUN_GRACE", "2s")
    assert main(["jobs.jsonl", "-j", "3"]) == 0
    (settings,) = ran
    assert (settings.workers, settings.grace, settings.limit) == (3, 2.0, 9)


def test_flags_and_lists_come_from_option_and_environment(ran, monkeypatch):
    monkeypatch.setenv("JQ_RUN_KEEP_ORDER", "1")
    monkeypatch.setenv("JQ_RUN_REJECT_ON", "KeyError, a.B")
    assert main(["jobs.jsonl", "-H", "m:f", "-vv", "--fresh", "--retry-on", "A,B", "--retry-on", "C"]) == 0
    (settings,) = ran
    assert (settings.keep_order, settings.fresh, settings.quiet, settings.verbose) == (True, True, False, 2)
    assert (settings.policy.retry_on, settings.policy.reject_on) == (("A", "B", "C"), ("KeyError", "a.B"))


def test_file_and_profile_are_chosen_by_option_or_environment(ran, monkeypatch):
    Path("x.toml").write_text('handler = "m:f"\n[profiles.fast]\nworkers = 7\n')
    assert main(["jobs.jsonl", "--config", "x.toml", "--profile", "fast"]) == 0
    monkeypatch.setenv("JQ_RUN_CONFIG", "x.toml")
    monkeypatch.setenv("JQ_RUN_PROFILE", "fast")
    assert main(["jobs.jsonl"]) == 0
    assert [settings.workers for settings in ran] == [7, 7]


@pytest.mark.parametrize(
    "args, text",
    [
        (["jobs.jsonl", "--wrokers", "3"], "--workers"),
        (["jobs.jsonl", "--raet", "3/s"], "no such option: --raet"),
        (["jobs.jsonl", "-H"], "requires an argument"),
        (["jobs.jsonl", "-H", "m:f", "-j", "x"], "--workers: 'x' is not a whole number"),
        (["jobs.jsonl", "-H", "charge"], "'charge' is not a registered handler"),
        (["jobs.jsonl"], "jq-run jobs.jsonl -H tasks.py:charge"),
        (["none.jsonl", "-H", "m:f"], "none.jsonl: no such file"),
        (["jobs.jsonl", "-H", "m:f", "-j0", "-t", "1s"], "--timeout: the inline engine"),
        (["dlq", "exprot", "x"], "export"),
    ],
)
def test_a_mistake_is_one_message_on_stderr_and_2(ran, capsys, args, text):
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert (out, ran) == ("", [])
    assert err.startswith("jq-run: ")
    assert text in err


@pytest.mark.parametrize("name", ["WORKERS", "KEEP_ORDER", "VERBOSE"])
def test_a_bad_variable_is_named(ran, monkeypatch, capsys, name):
    monkeypatch.setenv(f"JQ_RUN_{name}", "lots")
    assert main(["jobs.jsonl", "-H", "m:f"]) == 2
    assert f"JQ_RUN_{name}: 'lots' is" in capsys.readouterr().err


def test_an_empty_variable_is_not_given(ran, monkeypatch):
    monkeypatch.setenv("JQ_RUN_WORKERS", "")
    monkeypatch.setenv("JQ_RUN_FRESH", "")
    assert main(["jobs.jsonl", "-H", "m:f"]) == 0


def test_the_exit_code_of_the_run_is_the_exit_code(ran):
    sys.modules["jqcli.run"].execute = lambda _: 3
    assert main(["jobs.jsonl", "-H", "m:f"]) == 3


@pytest.mark.parametrize(
    "error, code",
    [
        (FileError("disk full"), 74),
        (LockedError("held"), 75),
        (ReaderGoneError("gone"), 141),
        (BrokenPipeError(), 141),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("secret"), 70),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_exit_code_also_from_within_a_command(ran, monkeypatch, error, code):
    def fail(settings):
        raise error

    monkeypatch.setattr("os.dup2", lambda *_: None)
    sys.modules["jqcli.run"].execute = fail
    assert main(["jobs.jsonl", "-H", "m:f"]) == code


@pytest.mark.parametrize(
    "words",
    [
        ["x" * 300],
        ["jobs.jsonl", "-o", "x" * 300],
        ["jobs.jsonl", "-d", "x" * 300],
        ["jobs.jsonl", "--events", "x" * 300],
    ],
    ids=["input", "-o", "-d", "--events"],
)
def test_a_file_that_the_system_cannot_look_at_is_74_and_no_bug(ran, capsys, words):
    """Too long a name stands here for a folder that is closed to the user, which nothing is to root."""
    assert main([*words, "-H", "m:f"]) == 74
    err = capsys.readouterr().err
    assert err.endswith(": File name too long\n")
    assert err.startswith("jq-run: xxx")


@pytest.mark.parametrize("words", [["/etc/hosts", "-H", "m:f"], ["check", "-"], ["verify", "-"], ["dlq", "retry", "d"]])
def test_in_a_folder_that_was_deleted_the_message_says_so(folder, capsys, words):
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    (folder / "gone").rmdir()
    try:
        assert main(words) == 74
    finally:
        os.chdir(folder)
    assert "the current folder: " in capsys.readouterr().err


def test_an_error_of_the_system_that_names_no_file_is_a_bug(capsys):
    assert end(lambda: os.close(999999)) == 70
    assert "a bug in jqcli: OSError" in capsys.readouterr().err


def test_a_bug_shows_the_last_frames_and_no_locals(capsys):
    def broken():
        payload = "hush"
        return len(payload) / 0

    assert end(broken) == 70
    err = capsys.readouterr().err
    assert "a bug in jqcli: ZeroDivisionError" in err
    assert "in broken" in err
    assert "report" in err
    assert "hush" not in err


def test_no_control_byte_of_a_message_reaches_the_terminal(ran, capsys):
    assert main(["\x1b]52;c;x\x07.jsonl", "-H", "m:f"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_handlers_are_listed_with_their_policies(capsys):
    Path("jqcli.toml").write_text('[handlers.charge]\nspec = "tasks.py:charge"\ntimeout = "2s"\nretry_on = "A,B"\n')
    assert main(["handlers"]) == 0
    assert capsys.readouterr().out == "charge  tasks.py:charge  timeout=2.0 retry_on=A,B  (jqcli.toml)\n"
    assert main(["handlers", "--json"]) == 0
    assert '"policy": {"timeout": 2.0, "retry_on": ["A", "B"]}' in capsys.readouterr().out


def test_without_handlers_the_list_says_how_to_register_one(capsys):
    assert ConfigFile().handlers == ()
    assert main(["handlers"]) == 0
    assert "[handlers.NAME]" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["jqcli", "jqcli.__main__"])
def test_importing_the_package_loads_nothing_heavy(module):
    heavy = "typer rich orjson tenacity pydantic importlib.metadata"
    code = f"import sys, {module}; print(set('{heavy}'.split()).intersection(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "set()\n"


def test_starting_a_run_does_not_load_pydantic_or_rich():
    code = (
        "import sys, types; run = sys.modules['jqcli.run'] = types.ModuleType('jqcli.run'); "
        "run.execute = lambda settings: len({'pydantic', 'rich'} & {*sys.modules}); "
        "from jqcli.commands import main; sys.exit(main(['jobs.jsonl', '-H', 'm:f', '-vk', '-j2']))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0


def test_a_reader_of_the_help_that_goes_away_is_141():
    command = f"{sys.executable} -m jqcli --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["/bin/bash", "-c", command], check=False, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 141


@pytest.mark.parametrize("words, expected", [("jq-run --work", "--workers"), ("jq-run han", "handlers")])
def test_the_first_word_completes_to_commands_and_to_options_of_run(words, expected):
    done = jq_run(_JQ_RUN_COMPLETE="complete_bash", _TYPER_COMPLETE_ARGS=words, COMP_WORDS=words, COMP_CWORD="1")
    assert expected in done.stdout.split()
