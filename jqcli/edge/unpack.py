"""Turns the raw bytes of an input into its contents, whatever they were compressed with.

The magic bytes at the start decide, never the name. Nothing here reads: raw bytes are fed in, contents
are taken out, and no step gives more than was asked for (zstd: and 128 KiB), so a small file that
unpacks to a huge one costs time and not memory.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Protocol

from jqcli.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

# Decoders keep or copy what they did not use of a piece; small pieces keep files of many tiny members linear.
_PIECE_BYTES = 64 * 1024


class Decoder(Protocol):
    """One member of a compressed stream; the shape of the standard library's own decompressors."""

    @property
    def eof(self) -> bool:
        """Whether the member's end was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether more contents take more raw bytes."""

    @property
    def unused_data(self) -> bytes:
        """Raw bytes after the member's end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take raw bytes and return some contents."""


class _GzipDecoder:
    """zlib's object in the shape of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        contents = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        # A full answer may have left contents inside zlib although all raw bytes are used.
        self.needs_input = len(contents) < max_length
        return contents


class _ZstdDecoder:
    """One zstd frame, unpacked block by block.

    `zstandard` unpacks all that it is fed at once, 32 KiB for each byte in the worst case, and does not tell
    a frame that was cut short. A block unpacks to 128 KiB at most, and the borders of blocks and frames
    are easy to see (RFC 8878, section 3.1), so it is fed no further than the next border.
    """

    def __init__(self) -> None:
        try:
            import zstandard  # noqa: PLC0415 - optional, wanted only once its magic was seen
        except ImportError:
            raise UsageError("zstd data needs another package: pip install 'jqcli[zstd]'") from None
        self._error = zstandard.ZstdError
        self._inner = zstandard.ZstdDecompressor().decompressobj()
        self._raw = b""
        self._left = 0
        self._measure: Callable[[], int] | None = self._measure_header
        self._has_checksum = False
        self.eof = False
        self.needs_input = True

    @property
    def unused_data(self) -> bytes:
        return self._raw if self.eof else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._raw += data
        parts: list[bytes] = []
        wanted = max_length
        self.needs_input = False
        while wanted > 0 and not self.eof and not self.needs_input:
            parts.append(self._step())
            wanted -= len(parts[-1])
        return b"".join(parts)

    def _step(self) -> bytes:
        """Feed what there is of the part between two borders."""
        if not self._left:
            if self._measure is None:
                self.eof = True
                return b""
            self._left = self._measure()
        piece = self._raw[: self._left]
        if not piece or not self._left:
            self.needs_input = True
            return b""
        self._raw = self._raw[len(piece) :]
        self._left -= len(piece)
        try:
            return self._inner.decompress(piece)
        except self._error as error:
            raise OSError(str(error)) from None

    def _measure_header(self) -> int:
        """Return the size of the frame's header, 0 while too little of it is there."""
        raw = self._raw
        # No frame with an end is shorter.
        if len(raw) < 8:
            return 0
        if raw[1:4] == b"\x2a\x4d\x18":
            self._measure = None
            return 8 + int.from_bytes(raw[4:8], "little")
        flags = raw[4]
        single = flags >> 5 & 1
        self._has_checksum = bool(flags & 4)
        self._measure = self._measure_block
        return 5 + (not single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]

    def _measure_block(self) -> int:
        """Return the size of the next block with its header, 0 while the header is not there."""
        if len(self._raw) < 3:
            return 0
        header = int.from_bytes(self._raw[:3], "little")
        if header & 1:
            self._measure = self._measure_checksum if self._has_checksum else None
        is_repeat = header >> 1 & 3 == 1
        return 3 + (1 if is_repeat else header >> 3)

    def _measure_checksum(self) -> int:
        self._measure = None
        return 4


def _make_xz() -> Decoder:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ)


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": _GzipDecoder,
    "bzip2": bz2.BZ2Decompressor,
    "xz": _make_xz,
    "zstd": _ZstdDecoder,
}
_MAGIC = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
# pzstd starts its files with a skippable frame.
_MAGIC |= {bytes([0x50 + n]) + b"\x2a\x4d\x18": "zstd" for n in range(16)}
MAGIC_BYTES = max(map(len, _MAGIC))


def check_magic(head: bytes, name: str) -> None:
    """Raise UsageError where a file that begins like this takes a package that is not installed."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic) and kind == "zstd":
            try:
                _ZstdDecoder()
            except UsageError as error:
                raise UsageError(f"{name}: {error}") from None


def sniff(head: bytes, *, is_whole: bool = False) -> str | None:
    """Return what packed the data that start with `head`: a name, "" for nothing, None while undecided.

    >>> [sniff(head) for head in (b"BZh9", b'{"a":1}', b"BZ")]
    ['bzip2', '', None]
    """
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if not is_whole and any(magic.startswith(head) for magic in _MAGIC):
        return None
    return ""


class Unpacker:
    """Raw bytes in, contents out; members that follow each other are one stream.

    Raises InputError, with `name` and the cause, for data that are damaged, cut short, or followed by
    anything but zeros; also where unpacking takes a package that is not installed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._kind: str | None = None
        self._decoder: Decoder | None = None
        self._raw = b""
        self._at = 0
        self._is_whole = False

    @property
    def is_plain(self) -> bool:
        """Whether the raw bytes are the contents."""
        return self._kind == ""

    @property
    def pending(self) -> int:
        """Raw bytes that were fed and not used yet."""
        return len(self._raw) - self._at

    def feed(self, raw: bytes) -> None:
        """Take raw bytes; none are the end. To be called only after `take` returned nothing."""
        self._raw = self._raw[self._at :] + raw if self.pending else raw
        self._at = 0
        self._is_whole = not raw
        if self._kind is None:
            self._kind = sniff(self._raw, is_whole=self._is_whole)

    def take(self, limit: int) -> bytes:
        """Return the next contents, about `limit` bytes at most; nothing when more raw bytes must be fed."""
        if self._kind is None:
            return b""
        if self._kind:
            return self._unpack(limit)
        plain = self._raw[self._at : self._at + limit]
        self._at += len(plain)
        return plain

    def _unpack(self, limit: int) -> bytes:
        contents = b""
        while not contents and (self._decoder or self._start_member()):
            decoder = self._decoder
            if decoder is None or (decoder.needs_input and not self.pending):
                break
            contents = self._decode(decoder, limit)
        if self._is_whole and not contents and self._decoder:
            raise InputError(f"{self._name}: {self._kind} data are cut short")
        return contents

    def _start_member(self) -> bool:
        """Begin the next member, past the zeros that pad to a block of a tape or of xz."""
        rest = self._raw[self._at : self._at + _PIECE_BYTES]
        while rest and not (stripped := rest.lstrip(b"\0")):
            self._at += len(rest)
            rest = self._raw[self._at : self._at + _PIECE_BYTES]
        if not rest:
            return False
        self._at += len(rest) - len(stripped)
        self._decoder = self._new_decoder()
        return True

    def _new_decoder(self) -> Decoder:
        try:
            return _DECODERS[self._kind or ""]()
        except UsageError as error:
            raise InputError(f"{self._name}: {error}") from None

    def _decode(self, decoder: Decoder, limit: int) -> bytes:
        piece = b""
        if decoder.needs_input:
            piece = self._raw[self._at : self._at + _PIECE_BYTES]
            self._at += len(piece)
        try:
            contents = decoder.decompress(piece, limit)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise InputError(f"{self._name}: damaged {self._kind} data ({error})") from None
        if decoder.eof:
            self._at -= len(decoder.unused_data)
            self._decoder = None
        return contents
