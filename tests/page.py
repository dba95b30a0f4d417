"""Reads a page as a browser would, and looks at it in a real one where there is one."""

from __future__ import annotations

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
_FRAME = """<!doctype html><title>measure</title><body style="margin:0">
<iframe src="{name}" width="{width}" height="4000" style="border:0"></iframe>
<script>
addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement
  const seen = [...page.querySelectorAll("body *")].filter(each => each.getClientRects().length)
  const wide = seen.filter(each => !each.closest("svg svg") && each.getBoundingClientRect().right > {width} + 1)
  document.body.textContent = JSON.stringify({{
    scroll: root.scrollWidth, height: root.scrollHeight, elements: seen.length,
    wide: wide.map(each => each.outerHTML.slice(0, 100)),
    ground: page.defaultView.getComputedStyle(page.body).backgroundColor,
    hidden: page.querySelectorAll("script").length, text: page.body.innerText.length,
  }})
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


def browse(path, width, profile, *, is_dark=False):
    """Return what a real browser makes of a page of this width, and what it complains of."""
    if why := why_not_chromium():
        pytest.skip(why)
    frame = path.with_name("frame.html")
    frame.write_text(_FRAME.format(name=path.name, width=width))
    handler = partial(_Quiet, directory=str(path.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            scheme = 0 if is_dark else 1
            done = subprocess.run(
                [
                    *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
                    *("--no-first-run", f"--user-data-dir={profile}", "--window-size=1400,1000", "--dump-dom"),
                    *("--enable-logging=stderr", f"--blink-settings=preferredColorScheme={scheme}"),
                    f"http://127.0.0.1:{server.server_port}/{frame.name}",
                ],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            server.shutdown()
            thread.join()
    said = re.search(r"\{.*\}", done.stdout)
    assert said, f"no answer: {done.stdout[-500:]} {done.stderr[-500:]}"
    return json.loads(said[0]), [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing."""
