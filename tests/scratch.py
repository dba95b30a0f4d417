"""Scratch space in memory, which is as strict as a file is not."""

from __future__ import annotations


class MemoryScratch:
    """Bytes that are appended, read and written over only where something stands, and freed as they were appended."""

    def __init__(self, most=1 << 30):
        self.most = most
        self.data: dict[int, bytearray] = {}
        self.end = 0
        self.peak = 0

    @property
    def size(self):
        return sum(map(len, self.data.values()))

    def append(self, data):
        if self.end + len(data) > self.most and self.size + len(data) > self.most:
            return None
        offset, self.end = self.end, self.end + len(data)
        self.data[offset] = bytearray(data)
        self.peak = max(self.peak, len(self.data))
        return offset

    def write(self, offset, data):
        at = self._find(offset, len(data))
        self.data[at][offset - at : offset - at + len(data)] = data

    def read(self, offset, size):
        at = self._find(offset, size)
        return bytes(self.data[at][offset - at : offset - at + size])

    def free(self, offset, size):
        assert len(self.data.pop(offset)) == size

    def _find(self, offset, size):
        at = offset if offset in self.data else max(begin for begin in self.data if begin <= offset)
        assert at <= offset <= offset + size <= at + len(self.data[at])
        return at
