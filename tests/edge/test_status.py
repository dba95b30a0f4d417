"""Laws of the status file: what stands in it, who may leave one, and whose is stale."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from math import inf

import pytest

from jqcli.edge import runtime
from jqcli.edge.runtime import Birth, birth_of, is_alive, own_folder, status_path, status_paths
from jqcli.edge.status import About, StatusFile, read_status, running_runs, status_object
from jqcli.edge.whole import replace_file
from jqcli.errors import UsageError
from tests.edge.snapshot import HOSTILE, take_flow, take_snapshot

ABOUT = About("0123456789ab", 0.0, "tasks.py:charge", ("jobs.jsonl", "more.jsonl"), "out.jsonl", "jobs.dlq.jsonl")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A runtime directory with nothing else in sight."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "jqcli"
    monkeypatch.setattr(runtime, "_folders", lambda: [str(folder)])
    return folder


def write_status(path, **changes):
    said = status_object(ABOUT, take_snapshot(errors=(), workers=0)) | changes
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(json.dumps(said))
    return path


@pytest.mark.parametrize("flow", [None, take_flow()])
def test_a_screen_can_draw_what_was_read_as_if_it_were_there(tmp_path, flow):
    snapshot = take_snapshot("job \u202e 8", flow=flow)
    StatusFile(str(tmp_path / "s.json"), ABOUT, print, is_own=False).update(snapshot)
    status = read_status(str(tmp_path / "s.json"))
    assert status.snapshot == snapshot
    assert (status.title, status.run) == ("tasks.py:charge < jobs.jsonl more.jsonl", ABOUT.run)
    assert (status.pid, status.birth, status.is_over) == (os.getpid(), birth_of(os.getpid()), False)


@pytest.mark.parametrize("is_own, mode", [(True, 0o600), (False, 0o644)])
def test_one_in_the_runtime_directory_is_its_users_alone(tmp_path, is_own, mode):
    before = os.umask(0o022)
    try:
        StatusFile(str(tmp_path / "s.json"), ABOUT, print, is_own=is_own).update(take_snapshot())
    finally:
        os.umask(before)
    assert (tmp_path / "s.json").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("has_letters", [True, False])
def test_a_dlq_is_named_only_where_it_holds_letters(has_letters):
    said = status_object(ABOUT, take_snapshot(has_letters=has_letters))
    assert said["outputs"] == {"results": "out.jsonl", "dlq": "jobs.dlq.jsonl" if has_letters else None}


def test_the_end_says_the_exit_code_and_one_of_its_own_leaves_nothing(tmp_path):
    kept, own = tmp_path / "kept.json", tmp_path / "own.json"
    for path, is_own in ((kept, False), (own, True)):
        file = StatusFile(str(path), ABOUT, print, is_own=is_own)
        file.update(take_snapshot())
        file.end(take_snapshot(state="finished"), 1)
    assert read_status(str(kept)).is_over
    assert json.loads(kept.read_text())["exit_code"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.json"]


def test_a_file_that_cannot_be_written_is_said_once_and_is_not_tried_again(tmp_path):
    said = []
    file = StatusFile(str(tmp_path / "none" / "s.json"), ABOUT, said.append, is_own=False)
    file.update(take_snapshot())
    file.end(take_snapshot(), 0)
    assert len(said) == 1
    assert "No such file" in said[0]
    assert file.interval == inf


def test_a_replacement_is_whole_or_nothing_and_follows_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    replace_file(str(link), b"new", 0o600)
    assert (target.read_bytes(), link.is_symlink(), target.stat().st_mode & 0o777) == (b"new", True, 0o600)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(str(tmp_path / "folder"), b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "target"]


def test_a_reader_never_sees_half_of_a_file(tmp_path):
    path = tmp_path / "s"
    replace_file(str(path), b"0" * 100_000)
    program = (
        "import sys\nwhile True:\n data = open(sys.argv[1]).read()\n"
        " assert len(data) == 100_000 and len(set(data)) == 1, len(data)\n if data[0] == '9': break\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)]) as reader:
        for number in [*range(9)] * 50 + [9]:
            replace_file(str(path), str(number).encode() * 100_000)
        assert reader.wait(30) == 0


@pytest.mark.parametrize("text", ["", "[]", "{", '{"run": 1}', "null", '{"handler":"x","inputs":3}'])
def test_what_is_no_status_is_refused_by_name(tmp_path, text):
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"s\.json: is no status file"):
        read_status(str(path))


def test_hostile_text_comes_through_as_text(tmp_path):
    text = HOSTILE.replace("\ud800", "")
    row = dataclasses.replace(take_snapshot().workers[0], job=text)
    file = StatusFile(str(tmp_path / "s.json"), ABOUT, print, is_own=False)
    file.update(take_snapshot(text, workers=0))
    assert read_status(str(tmp_path / "s.json")).snapshot.errors[0].message == text
    assert row.job == text


def test_a_process_is_known_by_number_and_start():
    own = birth_of(os.getpid())
    assert is_alive(os.getpid(), own)
    assert is_alive(os.getpid(), own._replace(ticks="1")) is False
    assert is_alive(os.getpid(), own._replace(boot="another")) is False
    assert is_alive(os.getpid(), own._replace(namespace="another")) is None
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    birth = birth_of(child.pid) or Birth("", "", "")
    child.wait()
    assert is_alive(child.pid, birth) is False


def test_files_of_the_dead_are_removed_and_of_others_left_alone(place):
    own = birth_of(os.getpid())
    alive = write_status(place / "alive.json", run="a1")
    reborn = write_status(place / "reborn.json", birth=list(own._replace(ticks="1")))
    foreign = write_status(place / "foreign.json", birth=list(own._replace(namespace="x")))
    garbage = place / "garbage.json"
    garbage.write_text("{")
    assert [status.run for status in running_runs()] == ["a1"]
    assert [path.exists() for path in (alive, reborn, foreign, garbage)] == [True, False, True, True]


def test_a_folder_is_made_for_the_user_alone(place):
    assert own_folder() == str(place)
    assert place.stat().st_mode & 0o777 == 0o700
    assert status_path(str(place), "r") == str(place / "r.json")


@pytest.mark.parametrize("trap", ["open", "link", "file"])
def test_a_folder_that_another_user_could_have_laid_is_not_used(place, tmp_path, trap):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if trap == "open":
        place.mkdir()
        place.chmod(0o777)
    elif trap == "link":
        place.symlink_to(elsewhere)
    else:
        place.write_text("")
    assert own_folder() is None
    if trap == "open":
        write_status(place / "s.json")
    assert status_paths() == []


def test_a_folder_of_another_user_is_not_used(place, monkeypatch):
    write_status(place / "s.json")
    assert len(status_paths()) == 1
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    assert status_paths() == []
    assert own_folder() is None


def test_runs_of_cron_are_seen_from_a_session_and_the_other_way_round(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    in_session = runtime._folders()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert in_session[0] == "/run/user/7/jqcli"
    assert set(runtime._folders()) < set(in_session)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert all(os.path.isabs(folder) for folder in runtime._folders())
