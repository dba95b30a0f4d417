"""Makes the pictures of the README, from one real run of a sample: the live table in its middle, and its report.

The table is what a terminal shows of the very bytes that it was sent; the report is drawn by a real browser.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from itertools import groupby
from pathlib import Path

import pyte
from PIL import Image

from tests.command import ROOT, Folder, wait_for

PICTURES = ROOT / "samples" / "pictures"
COLUMNS, LINES = 100, 28
WORDS = ("jobs.jsonl", "-o", "jobs.results.jsonl", "-j", "2", "--report", "report.html")
MOMENT = 60  # percent done, when the picture of the table is taken
SIZE = (1060, 1760)  # pixels of a page that the browser draws; what is below is not in the picture
SCALE = 0.8
MOST_BYTES = 150_000
WIDTH, HEIGHT, MARGIN = 8.4, 18, 14  # of a character, and around all of them
COLOURS = {"default": "#d0d7de", "dim": "#7d8794", "green": "#57b96d", "red": "#f47067", "brown": "#e0b341"}


class Terminal(pyte.Screen):
    """A terminal that knows dim text, which pyte does not."""

    def select_graphic_rendition(self, *attributes, **private):
        """Take a change of colour, with dim as a colour of its own."""
        super().select_graphic_rendition(*attributes, **private)
        if 2 in attributes:
            self.cursor.attrs = self.cursor.attrs._replace(fg="dim")


def watch(folder):
    """Run at a terminal, and return that as it is when the run is far enough."""
    terminal = Terminal(COLUMNS, LINES)
    stream = pyte.ByteStream(terminal)
    screen = folder.screen(*WORDS, columns=COLUMNS, deed=False, COLUMNS=str(COLUMNS))
    screen.resize(COLUMNS, LINES)
    fed = 0

    def is_far():
        nonlocal fed
        seen = screen.read()
        stream.feed(seen[fed:])
        fed = len(seen)
        found = re.search(r"(\d+)(?:\.\d+)? %", "\n".join(terminal.display))
        return found and int(found[1]) >= MOMENT

    wait_for(is_far)
    assert screen.end() == 1, "the sample has dead letters"
    return terminal


def draw_table(terminal):
    """Return what a terminal shows as SVG; each run of one colour is a text of its own, so that columns stay."""
    last = max(number for number, line in enumerate(terminal.display) if line.strip())
    width, height = COLUMNS * WIDTH + 2 * MARGIN, (last + 1) * HEIGHT + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}">',
        '<style>text { font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre }',
        ".bold { font-weight: bold }</style>",
        f'<rect width="{width:g}" height="{height}" rx="8" fill="#0d1117"/>',
    ]
    for number in range(last + 1):
        cells = [(column, terminal.buffer[number][column]) for column in range(COLUMNS)]
        for (colour, is_bold), run in groupby(cells, lambda cell: (cell[1].fg, cell[1].bold)):
            (column, _), *_ = found = list(run)
            text = "".join(char.data for _, char in found)
            if not text.strip():
                continue
            x, y = MARGIN + column * WIDTH, MARGIN + number * HEIGHT + 13
            weight = ' class="bold"' if is_bold else ""
            lines.append(
                f'<text x="{x:g}" y="{y}" textLength="{len(text) * WIDTH:g}" fill="{COLOURS[colour]}"{weight} '
                f'xml:space="preserve">{escape(text)}</text>'
            )
    return "\n".join([*lines, "</svg>\n"])


def draw_report(page, path, profile):
    """Let a browser draw a page, and keep it small."""
    width, height = SIZE
    subprocess.run(
        [
            *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
            *(f"--user-data-dir={profile}", f"--window-size={width},{height}"),
            *(f"--force-device-scale-factor={SCALE}", f"--screenshot={path}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
        timeout=180,
    )
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    small.save(path, optimize=True)


def main():
    """Make both pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "orders"
        shutil.copytree(ROOT / "samples" / "orders", place)
        folder = Folder(place)
        try:
            (PICTURES / "live.svg").write_text(draw_table(watch(folder)))
            draw_report(place / "report.html", PICTURES / "report.png", Path(name) / "profile")
        finally:
            folder.close()
    for path in PICTURES.iterdir():
        size = path.stat().st_size
        print(f"{path.relative_to(ROOT)}: {size:,} bytes")
        if size > MOST_BYTES:
            sys.exit(f"{path}: larger than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
