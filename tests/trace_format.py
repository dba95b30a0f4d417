"""Holds a file against the Trace Event Format, as its document has it, knowing nothing of who wrote the file.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU ("Trace Event Format"), in its sections
JSON Array Format, Event Descriptions, Complete Events, Instant Events, Counter Events and Metadata Events.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict

# Each phase that a viewer knows, with the members that it must have beside `ph`. Metadata has no moment.
PHASES = {
    "B": ("name", "ts", "pid", "tid"), "E": ("ts", "pid", "tid"), "X": ("name", "ts", "dur", "pid", "tid"),
    "i": ("name", "ts", "pid", "tid"), "C": ("name", "ts", "pid", "args"), "M": ("name", "pid", "args"),
    "b": ("name", "cat", "id", "ts", "pid"), "n": ("name", "cat", "id", "ts", "pid"),
    "e": ("name", "cat", "id", "ts", "pid"),
}  # fmt: skip
NUMBER, WHOLE, TEXT = (int, float), int, str
TYPES = {"name": TEXT, "cat": TEXT, "ph": TEXT, "ts": NUMBER, "dur": NUMBER, "pid": WHOLE, "tid": WHOLE, "args": dict}
METADATA = {
    "process_name": ("name", TEXT), "process_labels": ("labels", TEXT), "process_sort_index": ("sort_index", WHOLE),
    "thread_name": ("name", TEXT), "thread_sort_index": ("sort_index", WHOLE),
}  # fmt: skip


def read_trace(text):
    """Return the events of a file in the array form, whose last bracket may be missing, and a comma be in its place."""
    text = text.strip()
    assert text.startswith("["), "a JSON array format begins with a bracket"
    return json.loads(text if text.endswith("]") else re.sub(r",$", "", text) + "]")


def problems_of(events):
    """Return what is wrong with these events, one line each."""
    found = [f"{number}: {wrong}" for number, event in enumerate(events) for wrong in _problems_of(event)]
    return found + _lanes_with_overlaps(events) + _unbalanced(events)


def _problems_of(event):
    if not isinstance(event, dict) or event.get("ph") not in PHASES:
        return [f"not an event of a known phase: {event!r}"]
    found = [f"no {member}" for member in PHASES[event["ph"]] if member not in event]
    found += [
        f"{member} is {event[member]!r}"
        for member, kind in TYPES.items()
        if member in event and (not isinstance(event[member], kind) or isinstance(event[member], bool))
    ]
    if not found:
        found += {"X": _complete, "i": _instant, "C": _counter, "M": _metadata}.get(event["ph"], lambda _: [])(event)
    return found


def _complete(event):
    return ["lasts less than nothing"] if event["dur"] < 0 else []


def _instant(event):
    return [] if event.get("s", "t") in ("g", "p", "t") else [f"scope {event['s']!r}"]


def _counter(event):
    is_right = event["args"] and all(isinstance(value, NUMBER) for value in event["args"].values())
    return [] if is_right else ["a series that is no number"]


def _metadata(event):
    if event["name"] not in METADATA:
        return [f"metadata {event['name']!r}"]
    member, kind = METADATA[event["name"]]
    found = [] if isinstance(event["args"].get(member), kind) else [f"{event['name']} without {member}"]
    return found + (["no tid"] if event["name"].startswith("thread") and "tid" not in event else [])


def _lanes_with_overlaps(events):
    """Complete events of one thread stand beside or within each other; viewers drop one that begins in another."""
    lanes = defaultdict(list)
    for event in events:
        if event.get("ph") == "X" and not _problems_of(event):
            lanes[event["pid"], event["tid"]].append((event["ts"], -event["dur"], event["ts"] + event["dur"]))
    found = []
    for lane, spans in lanes.items():
        around = []
        for begin, _, end in sorted(spans):
            while around and around[-1] <= begin:
                around.pop()
            if around and end > around[-1]:
                found.append(f"lane {lane}: [{begin}, {end}] begins in one that ends at {around[-1]}")
            around.append(end)
    return found


def _unbalanced(events):
    """Begins and ends of one thread are pairs, in the order of time."""
    open_ones = defaultdict(int)
    found = []
    for event in sorted((e for e in events if e.get("ph") in ("B", "E")), key=lambda event: event["ts"]):
        lane = event["pid"], event["tid"]
        open_ones[lane] += 1 if event["ph"] == "B" else -1
        if open_ones[lane] < 0:
            found.append(f"lane {lane}: an end of nothing")
    return found + [f"lane {lane}: {count} without an end" for lane, count in open_ones.items() if count > 0]
