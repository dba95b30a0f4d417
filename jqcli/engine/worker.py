"""A worker process: loads the handlers, then does what the parent's frames ask for.

It must never outlive its parent, never write to stdout, and never import what only the parent needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import orjson

from jqcli.engine.frame import HEADER, Kind, pack
from jqcli.engine.handler import Handler, load_handler
from jqcli.engine.memory import Writer
from jqcli.engine.printing import let_print
from jqcli.engine.runner import Runner
from jqcli.engine.setup import unpack_setup
from jqcli.engine.voice import open_voice
from jqcli.errors import HandlerLoadError, printable

if TYPE_CHECKING:
    from jqcli.engine.setup import Specs
    from jqcli.engine.voice import Voice

_KINDS = {int(kind): kind for kind in Kind}
_PR_SET_PDEATHSIG = 1


def load_handlers(specs: Specs) -> dict[str | None, Handler]:
    """Load every handler once; a spec that stands twice is one handler. Raises HandlerLoadError."""
    loaded: dict[str, Handler] = {}
    handlers: dict[str | None, Handler] = {}
    for name, (spec, policy) in specs.items():
        if spec not in loaded:
            loaded[spec] = load_handler(spec)
        found = loaded[spec]
        handlers[name] = Handler(found.name, found.call, found.wants_ctx, policy.over(found.policy), found.exit)
    return handlers


def main() -> None:
    """Serve one parent until its channel closes, be it by a handler."""
    # What a handler raises never gets here, so these are the channel's.
    with contextlib.suppress(OSError, EOFError):
        _serve()


def _serve() -> None:
    channel_fd, memory_fd, voice_fd, parent = map(int, sys.argv[1:5])
    _settle_in(parent)
    voice = _open_voice(voice_fd)
    channel = socket.socket(fileno=channel_fd)
    channel.set_inheritable(False)
    writer = Writer(memory_fd)
    writer.forbid_forks()
    os.close(memory_fd)
    kind, body = _receive(channel)
    runner = _set_up(body, writer, channel, voice)
    while runner is not None:
        kind, body = _receive(channel)
        if kind is Kind.STOP:
            runner.close()
            return
        runner.handle(kind, body)


def _receive(channel: socket.socket) -> tuple[Kind, bytes]:
    """Return the parent's next frame; raises EOFError when there is no parent any more."""
    length, kind = HEADER.unpack(_read(channel, HEADER.size))
    return _KINDS[kind], _read(channel, length)


def _read(channel: socket.socket, size: int) -> bytes:
    data = channel.recv(size, socket.MSG_WAITALL) if size else b""
    while len(data) < size:  # a signal came, or the end
        more = channel.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _settle_in(parent: int) -> None:
    """Take the place of a worker: gone with its parent, deaf to the terminal, first choice of the OOM killer."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("500")


def _open_voice(fd: int) -> Voice | None:
    """Let handlers print: through a voice, where the parent listens."""
    if fd < 0:
        let_print()
        return None
    voice = open_voice(fd)
    sys.stdout, sys.stderr = voice.open_stream("stdout", 1), voice.open_stream("stderr", 2)
    return voice


def _set_up(data: bytes, writer: Writer, channel: socket.socket, voice: Voice | None) -> Runner | None:
    """Load the handlers and say so; None where that failed, which is said as well."""
    setup, specs, path = unpack_setup(data)
    sys.path[:] = path
    del sys.argv[1:]
    try:
        handlers = load_handlers(specs)
    except HandlerLoadError as error:
        channel.sendall(pack(Kind.LOST, orjson.dumps(printable(str(error)))))
        return None
    policies = [[name, handler.policy.to_dict()] for name, handler in handlers.items()]
    if voice is not None and setup.wants_logging:
        from jqcli.engine.logged import take_logging  # noqa: PLC0415 - costs 8 ms, and few runs want it

        take_logging(voice)
    gc.collect()
    gc.freeze()
    gc.enable()
    channel.sendall(pack(Kind.READY, orjson.dumps(policies)))
    return Runner(setup, handlers, writer, channel.sendall, voice)
