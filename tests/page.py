"""Reads a page as a browser would, and looks at it in a real one where there is one."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

_VOID = {"meta"}
# Frames stand in one page, so that one start of the browser looks at all of them.
_FRAME = '<iframe src="{name}" width="{width}" height="4000" style="border:0"></iframe>'
_MEASURE = """<!doctype html><title>measure</title><body>{frames}<script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, root = page.documentElement
    const drawn = [...page.querySelectorAll("body *")].filter(each => each.getClientRects().length)
    // What scrolls in a box of its own may be wider than that: a table of very long numbers.
    const wide = each => !each.closest("svg svg, .table > *")
      && each.getBoundingClientRect().right > frame.clientWidth + 1
    return {{
      scroll: root.scrollWidth, text: page.body.innerText.length,
      wide: drawn.filter(wide).map(each => each.outerHTML.slice(0, 100)),
      ground: page.defaultView.getComputedStyle(page.body).backgroundColor,
    }}
  }})
  document.body.innerHTML = ""
  document.body.textContent = "measured:" + btoa(unescape(encodeURIComponent(JSON.stringify(found))))
}})
</script>"""


class _Parser(HTMLParser):
    """Notes the elements of a page; fails for one that is not closed, or is closed by another."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.elements = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


class Page:
    """A page of HTML: its elements, its text, and what it has for programs."""

    def __init__(self, data):
        self.html = data.decode("utf-8", "strict")
        parser = _Parser()
        parser.feed(self.html)
        parser.close()
        assert not parser.open, f"not closed: {parser.open}"
        self.elements = parser.elements
        self.text = " ".join(parser.text)

    @property
    def numbers(self):
        """What it has for programs."""
        (found,) = re.findall(r'<script type="application/json" id="numbers">(.*?)</script>', self.html)
        assert found.isascii()
        return json.loads(found)

    def all(self, name):
        """Return the attributes of all elements of a name."""
        return [attributes for tag, attributes in self.elements if tag == name]


def why_not_chromium():
    """Say why no browser can be asked; empty where one can."""
    return "" if shutil.which("chromium") else "chromium is not installed (Debian: apt-get install chromium)"


def browse(folder, frames, *, is_dark=False):
    """Return what a real browser makes of pages in a folder, each (name, width), and what it complains of."""
    if why := why_not_chromium():
        pytest.skip(why)
    drawn = "".join(_FRAME.format(name=name, width=width) for name, width in frames)
    (folder / "measure.html").write_text(_MEASURE.format(frames=drawn))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            done = subprocess.run(
                [
                    *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
                    *("--no-first-run", f"--user-data-dir={folder / 'profile'}", "--dump-dom"),
                    *("--enable-logging=stderr", f"--blink-settings=preferredColorScheme={0 if is_dark else 1}"),
                    f"http://127.0.0.1:{server.server_port}/measure.html",
                ],
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
        finally:
            server.shutdown()
            thread.join()
    said = re.search(r"measured:([\w+/=]+)", done.stdout)
    assert said, f"no answer: {done.stdout[-500:]} {done.stderr[-500:]}"
    return json.loads(base64.b64decode(said[1])), [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing."""
