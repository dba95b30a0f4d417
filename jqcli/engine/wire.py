"""Which descriptors of the children the selector watches, and for what."""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jqcli.engine.child import Child


class Wire:
    """The children's channels and deaths at one selector, whose callbacks take the mask of what is ready."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector

    def connect(self, child: Child, serve: Callable[[int], None], mark_dead: Callable[[int], None]) -> None:
        """Watch a new child."""
        self._selector.register(child.channel, selectors.EVENT_READ, serve)
        if child.death_fd is not None:
            self._selector.register(child.death_fd, selectors.EVENT_READ, mark_dead)
        if child.ear is not None:
            for fd in child.ear.fds:
                self._selector.register(fd, selectors.EVENT_READ, lambda _: serve(0))
        self.adjust(child)

    def adjust(self, child: Child) -> None:
        """Ask for writability only while something waits; what is broken or closed is no longer listened to."""
        if child.ear is not None and child.ear.is_over and child.ear.fds[1] in self._selector.get_map():
            self._selector.unregister(child.ear.fds[1])
        if child.is_broken:
            if child.channel in self._selector.get_map():
                self._selector.unregister(child.channel)
            return
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.has_outbox else 0)
        key = self._selector.get_key(child.channel)
        if key.events != mask:
            self._selector.modify(child.channel, mask, key.data)

    def disconnect(self, child: Child) -> None:
        """Watch a dead child no more, and close what leads to it."""
        for fileobj in (child.channel, child.death_fd, *(() if child.ear is None else child.ear.fds)):
            if fileobj is not None and fileobj in self._selector.get_map():
                self._selector.unregister(fileobj)
        child.close()
