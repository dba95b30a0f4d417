"""Laws of telling a monitor."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jqcli.edge import ping


@pytest.fixture
def monitor():
    """A monitor that is slow to take a beginning: it refuses it once it has heard of the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.heard, server.ended = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.ended.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Slow(BaseHTTPRequestHandler):
    def do_POST(self):
        word = self.path.partition("?")[0].rpartition("/")[2]
        self.server.heard.append(word)
        self.rfile.read(int(self.headers["Content-Length"]))
        if word == "start":
            self.server.ended.wait(30)
        else:
            self.server.ended.set()
        self.send_response(500 if word == "start" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_nobody_is_told_of_a_beginning_behind_the_end(monitor, monkeypatch):
    """A monitor would wait for the end of a run that is over."""
    monkeypatch.setattr(ping, "_END_LIMIT", 2.0)
    monkeypatch.setattr(ping, "_ANSWER_LIMIT", 30.0)
    told = ping.Ping(f"http://127.0.0.1:{monitor.server_port}/uuid", lambda _: None)
    beginning = told._thread
    told.say_end(0)
    beginning.join(60)
    assert not beginning.is_alive()
    assert monitor.heard == ["start", "0"]
