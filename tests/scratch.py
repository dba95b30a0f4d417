"""Scratch space in memory, which is as strict as a file is not."""

from __future__ import annotations


class MemoryScratch:
    """Bytes that are appended, read and written over only where something stands."""

    def __init__(self, most=1 << 30):
        self.most = most
        self.data = bytearray()
        self.clears = 0

    def append(self, data):
        if len(self.data) + len(data) > self.most:
            return None
        self.data += data
        return len(self.data) - len(data)

    def write(self, offset, data):
        assert 0 <= offset <= len(self.data) - len(data)
        self.data[offset : offset + len(data)] = data

    def read(self, offset, size):
        assert 0 <= offset <= len(self.data) - size
        return bytes(self.data[offset : offset + size])

    def clear(self):
        self.data.clear()
        self.clears += 1
