"""Laws of the report: a whole page, that loads nothing, runs nothing, and takes nobody's text for markup."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqcli.core.breaker import Trip
from jqcli.core.codec import Scheme
from jqcli.core.course import Course, Slow
from jqcli.core.lane import Flow
from jqcli.core.limit import Rate
from jqcli.core.tally import ErrorGroup, FlowState, WorkerRow
from jqcli.edge.report.chart import histogram_chart, nice_above, time_marks
from jqcli.edge.report.file import ReportFile
from jqcli.edge.report.page import Background, render
from jqcli.edge.status import About
from jqcli.errors import FileError, printable
from jqcli.model import Failure
from tests.core.test_course import batch_of, finished, pending
from tests.edge.snapshot import HOSTILE, take_snapshot
from tests.page import Page, browse

SCHEME = Scheme("auto", None, None, ())
EVIL = f"</script></style><script>alert(1)</script><img src=x onerror=alert(2)> --> ]]> \"'&lt; &#60; {HOSTILE}"
STARTED = datetime(2026, 1, 31, 6, tzinfo=UTC).timestamp()
NOTHING = {"read": 0, "completed": 0, "duplicate": 0, "skipped": 0, "dead": 0, "unfinished": 0, "waiting": 0}
NOTHING |= {"attempts": 0, "retries": 0, "crashes": 0, "timeouts": 0, "p50": None, "p95": None, "p99": None}


def background_of(text="jobs.jsonl", **changes):
    about = About("r1", STARTED, text, (text, text), text, text)
    return Background(about, text, text, ["jq-run", "dlq", "retry", printable(text)], Flow(), None)._replace(**changes)


def course_of(text="job-8", seconds=600):
    """Return the course of a run of some length, with everything in it that there can be."""
    course = Course(SCHEME, 0.0)
    for step in range(1, 61):
        now = step * seconds / 60
        course.finish(finished([step * 10, step * 500], first=2 * step), batch_of(2), step % 3, now)
        verdict = ("error", "crash", "timeout", "stop", "snooze", text)[step % 6]
        failure = Failure(verdict, "t.E", text, "", (), step / 50)
        job = pending(step, step % 4)
        job = replace(job, job=job.job._replace(id=text))
        course.fail(batch_of(1, [job]), 0, failure, step % 3, now, goes_on=step % 2 == 0, is_charged=verdict != "stop")
        rows = (WorkerRow(0, 4000, "idle", text, None, step, step // 20),)
        counts = {"completed": 2 * step, "duplicate": 0, "skipped": 0, "dead": step // 10, "retries": step // 2}
        flow = FlowState(step, 0, 0, int(step > 50), 1, 2, 3, 4)
        course.update(replace(take_snapshot(**counts, elapsed=now, waiting=step % 5, flow=flow), workers=rows))
    course._slow["evil"] = Slow(99.0, text, 1, text, 0)
    return course


def full_page(text="job-8", seconds=600, exit_code=1, more=0):
    groups = [ErrorGroup(text, text, text, text, 3, text), ErrorGroup("other", "invalid_json", text, text, 1, 10**30)]
    latencies = {bucket: bucket % 7 for bucket in range(100, 300)}
    snapshot = take_snapshot(elapsed=float(seconds), cause=text, latencies=latencies, error_groups=14)
    snapshot = replace(snapshot, errors=tuple(groups), flow=FlowState(1, 2, 3, 1, 5, 6, 7, 8))
    flow = Flow(rate=Rate(50.0, 5), rate_key=text, tenants={text: Rate(1.0)}, trip=Trip(0.5, 30.0), breaker_key=text)
    background = background_of(text, flow=flow, deadline_at=STARTED + 3600)
    course = course_of(text, seconds)
    course.made[1] += more
    course.failed[1] += more
    course.again[1] += more
    snapshot = replace(snapshot, read=snapshot.read + more, completed=snapshot.completed + more)
    return Page(render(background, snapshot, course, exit_code, STARTED + seconds))


def empty_page():
    return Page(render(background_of(), take_snapshot(errors=(), **NOTHING), Course(SCHEME, 0.0), 0, STARTED))


PAGES = {
    "empty": empty_page,
    "full": full_page,
    "long": lambda: full_page(seconds=40 * 86400, more=10**12),
    "short": lambda: full_page(seconds=0.01),
    "hostile": lambda: full_page(EVIL),
}
EVERY = pytest.mark.parametrize("name", PAGES)


@EVERY
def test_it_is_a_whole_document_that_loads_nothing_and_runs_nothing(name):
    page = PAGES[name]()
    tags = {tag for tag, _ in page.elements}
    assert page.html.startswith("<!doctype html>")
    assert not tags & {"link", "img", "iframe", "object", "embed", "form", "a", "base", "image", "foreignobject"}
    assert page.all("script") == [{"type": "application/json", "id": "numbers"}]
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style", "srcset")], tag
        assert attributes.get("href", "#").startswith("#"), tag
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert re.fullmatch(r"default-src 'none'; style-src 'sha256-[\w+/=]+'; base-uri 'none'; form-action 'none'", policy)
    assert "url(" not in page.html
    assert "@import" not in page.html
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


@EVERY
def test_every_mark_that_is_used_is_defined_and_every_picture_says_what_it_shows(name):
    page = PAGES[name]()
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {use["href"].removeprefix("#") for use in page.all("use")} <= set(ids)
    assert all(svg.get("aria-label") for svg in page.all("svg") if svg.get("role") == "img")


def test_text_of_others_is_shown_and_is_no_markup_and_no_control_character():
    page, plain = PAGES["hostile"](), PAGES["full"]()
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "<img" not in page.html
    assert "alert(1)" in page.text
    assert r"\x1b[2J" in page.text
    assert r"\u202e" in page.text
    assert not [char for char in page.html if not char.isprintable() and char != "\n"]
    assert page.numbers["cause"] == EVIL
    assert page.numbers["slowest"][0]["id"] == EVIL
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements}


@given(st.text(max_size=40))
def test_no_text_at_all_changes_the_elements_of_the_page(text):
    def tags(said):
        group = ErrorGroup(said, said, said, said, 3, said)
        snapshot = take_snapshot(cause=f"!{said}", errors=(group,))
        return [tag for tag, _ in Page(render(background_of(said), snapshot, Course(SCHEME, 0.0), 1, STARTED)).elements]

    assert tags(text) == tags("plain")


def test_what_programs_read_is_what_people_see():
    page = full_page()
    numbers, tiles = page.numbers, {each["data-count"] for each in page.all("li") if "data-count" in each}
    assert tiles == {"completed", "duplicate", "skipped", "dead", "unfinished"}
    for name in (*tiles, "read"):
        assert f"{numbers[name]:,}" in page.text
    assert numbers["started_at"] == "2026-01-31T06:00:00.000Z"
    assert numbers["ended_at"] == "2026-01-31T06:10:00.000Z"
    by_number = {row["attempt"]: row for row in numbers["attempts_by_number"]}
    assert {int(row["data-attempt"]) for row in page.all("tr") if "data-attempt" in row} == set(by_number)
    timeline = numbers["timeline"]
    assert len(timeline["settled"]) == len(timeline["waiting"]) == int(600 / timeline["seconds"]) + 1
    assert "exit 1" in page.text
    assert "all is done, and there are dead letters" in page.text
    assert "… and 12 more groups" in page.text


def test_a_retry_command_fits_its_group():
    text = full_page().text
    assert "jq-run dlq retry job-8 --reason invalid_json --edit" in text
    assert "jq-run dlq retry job-8 --reason job-8 --group job-8" in text
    group = ErrorGroup("KeyError: *", "duplicate_of_dead", "KeyError", "x", 1, "a")
    page = Page(render(background_of(), take_snapshot(errors=(group,)), Course(SCHEME, 0.0), 1, STARTED))
    assert "dlq retry" not in page.text


def test_its_size_is_bounded_whatever_the_run():
    """With as many workers, groups and buckets as are kept, all of them with long texts."""
    course = course_of("x" * 100_000, 10**7)
    for worker in range(500):
        for step in range(240):
            at = step * course.timeline.width
            course.fail(
                batch_of(1), 0, Failure("crash", "", "", "", (), 1000.0), worker, at, goes_on=True, is_charged=True
            )
    group = ErrorGroup("x" * 200, "max_attempts", "x" * 4096, "x" * 300, 3, "x" * 100_000)
    page = render(background_of(), take_snapshot(errors=(group,) * 10), course, 1, STARTED)
    assert len(page) < 2 << 20


def test_a_run_whose_lines_were_all_settled_before_has_no_course():
    snapshot = take_snapshot(**(NOTHING | {"read": 5, "completed": 5, "settled_before": 5}), errors=())
    page = Page(render(background_of(), snapshot, Course(SCHEME, 0.0), 0, STARTED))
    assert "Nothing to do, every line was settled before" in page.text
    assert "lines read (5 settled before)" in page.text
    assert "Throughput" not in page.text


@given(st.floats(1e-9, 1e9))
def test_axes_have_a_few_marks_within_them(value):
    assert value * 0.999 <= nice_above(value) <= 2 * value
    marks = time_marks(value)
    assert 2 <= len(marks) <= 11
    assert all(0 <= mark.at <= 1 for mark in marks)
    chart = histogram_chart([(value, value * 1.05, 3)], [("p50", value)], "x")
    assert "nan" not in chart
    assert not re.search(r'(width|height|x)="-', chart)


def test_a_path_that_cannot_be_written_is_an_error_at_the_beginning_and_leaves_nothing(tmp_path):
    with pytest.raises(FileError, match=r"none/r\.html: the report cannot be written: No such file"):
        ReportFile(str(tmp_path / "none" / "r.html"), background_of(), Course(SCHEME, 0.0), print)
    ReportFile(str(tmp_path / "r.html"), background_of(), Course(SCHEME, 0.0), print)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_at_the_end_is_said_and_no_more(tmp_path):
    said, folder = [], tmp_path / "gone"
    folder.mkdir()
    report = ReportFile(str(folder / "r.html"), background_of(), Course(SCHEME, 0.0), said.append)
    folder.rmdir()
    report.end(take_snapshot(), 0)
    assert len(said) == 1
    assert "r.html: the report could not be written: No such file" in said[0]


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_a_real_browser_has_nothing_to_complain_of_and_nothing_sticks_out(tmp_path, is_dark):
    for name, make in PAGES.items():
        (tmp_path / f"{name}.html").write_bytes(make().html.encode())
    frames = [(f"{name}.html", width) for name in PAGES for width in (360, 390, 1280)]
    found, complaints = browse(tmp_path, frames, is_dark=is_dark)
    assert complaints == []
    for (name, width), measured in zip(frames, found, strict=True):
        assert (name, width, measured["wide"]) == (name, width, [])
        assert measured["scroll"] <= width
        assert measured["text"] > 100
        assert measured["ground"] == ("rgb(18, 22, 28)" if is_dark else "rgb(255, 255, 255)")


def test_the_browser_would_complain_and_see_what_sticks_out(tmp_path):
    """Lest the test above could not fail."""
    page = empty_page().html.replace("<main>", '<main><div><svg width="2000" height="9"></svg></div>')
    page = page.replace("</main>", "</main><script>alert(1)</script>")
    (tmp_path / "bad.html").write_text(page)
    (measured,), complaints = browse(tmp_path, [("bad.html", 390)])
    assert measured["wide"]
    assert measured["scroll"] > 390
    assert "Content Security Policy" in complaints[0]
