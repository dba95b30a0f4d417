"""Many lines at once: what a worker holds of a batch, and what it tells the parent about it.

This is half of the cost of a small job. A batch whose lines are all plain (an envelope of `id` and `payload`, or a
raw value) goes through C loops as a whole. In any other batch the plain lines take a short way one by one, and the
rest goes to `codec.read_line`, which says the same about every line (a test holds the ways against each other).
"""

from __future__ import annotations

from binascii import hexlify
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from jqcli.core.codec import KEY_SIZE, Scheme, hash_bytes, read_line
from jqcli.core.exact import has_long_digits
from jqcli.model import NO_ASKS, Asks, Job, Line, Unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

ID_SIZE = 8
_NO_HASH = bytes(KEY_SIZE)
NO_ID = bytes(ID_SIZE)  # of a line whose id was made up
_SORTED = orjson.OPT_SORT_KEYS
_payload_of = itemgetter("payload")
_id_of = itemgetter("id")


class Lines(NamedTuple):
    """A block of whole lines: each ends in a newline."""

    data: bytes
    total: int
    source: str
    stem: str
    first_number: int


class Prepared:
    """A parsed batch. All lists run along its physical lines; a line that is no job has None in `payloads`.

    `ids` and `keys` are JSON texts as records carry them (`keys` without quotes and tag, but with a given key's
    `payload_hash` behind it). `digests` are the 16-byte keys in a row; `hashes` the payload hashes of given keys;
    `own_ids` 8 bytes a line, see `mark_id`. `notes` speak of every line that is not plain.
    """

    def __init__(self, payloads: list[Any], ids: list[bytes], keys: Sequence[bytes], digests: bytes) -> None:
        self.payloads = payloads
        self.ids = ids
        self.keys = keys
        self.digests = digests
        self.hashes = b""
        self.own_ids = b""
        self.notes: list[tuple[int, dict[str, Any]]] = []
        self.asks: dict[int, Asks] = {}


def prepare(lines: Lines, scheme: Scheme, *, mark: str, with_ids: bool) -> Prepared:
    """Parse whole lines and find their keys.

    `mark` is text that begins with a letter and that no line can hold, since nobody could guess it. `with_ids` adds
    `own_ids`, which only a run that goes on from an earlier one needs.
    """
    has_paths = scheme.key_path is not None or scheme.tenant_path is not None
    if not has_paths and not has_long_digits(lines.data):
        documents = _parse_block(lines, mark)
        plain = None if documents is None else _prepare_plain(documents, lines, scheme, with_ids=with_ids)
        if plain is not None:
            return plain
    return _prepare_each(lines, scheme, has_paths=has_paths)


def mark_id(text: bytes) -> bytes:
    """Return 8 bytes for an id's JSON text; all zero stands for an id that was made up.

    >>> mark_id(b"") == bytes(8), mark_id(b'"a"') == mark_id(b'"b"')
    (True, False)
    """
    return blake2b(text).digest()[:ID_SIZE] if text else NO_ID


def id_text(job_id: str | int) -> bytes:
    """Return an id as JSON text; integers of any size."""
    return str(job_id).encode() if isinstance(job_id, int) else orjson.dumps(job_id)


def key_member(job: Job) -> bytes:
    """Return a record's key behind its tag, inside the quotes, with `payload_hash` where the key was given."""
    text = orjson.dumps(job.key_text)[1:-1]
    return text if job.payload_hash is None else b'%b","payload_hash":"%b' % (text, job.payload_hash.hex().encode())


# A whole block


def _parse_block(lines: Lines, mark: str) -> list[Any] | None:
    """Return a document a line where every line is one document, else None.

    With a mark behind every line the block parses as one array, a tenth faster than line by line. That every
    mark comes back where it was put, at the top of the array, proves that no document ran over a line's end and that
    no line held two.
    """
    try:
        array = orjson.loads(b"[%b0]" % lines.data.replace(b"\n", b',"%b",' % mark.encode()))
    except ValueError:
        return None
    if len(array) != 2 * lines.total + 1 or array[1::2] != [mark] * lines.total:
        return None
    documents: list[Any] = array[:-1:2]
    return documents


def _prepare_plain(documents: list[Any], lines: Lines, scheme: Scheme, *, with_ids: bool) -> Prepared | None:
    found = _split_envelopes(documents) if scheme.input_format != "raw" else None
    if found is None:
        if scheme.input_format == "envelope" or not _are_raw(documents, scheme):
            return None
        prefix = _made_id_prefix(lines.stem)
        numbers = range(lines.first_number, lines.first_number + lines.total)
        payloads, ids = documents, [b'%b%d"' % (prefix, number) for number in numbers]
    else:
        payloads, ids = found
    dumps = orjson.dumps
    try:
        hashes = [blake2b(dumps(payload, None, _SORTED)).digest() for payload in payloads]
    except TypeError:  # deeper than orjson writes
        return None
    digests = b"".join(_cut_struct(lines.total).unpack(b"".join(hashes)))
    prepared = Prepared(payloads, ids, _hex_struct(lines.total).unpack(hexlify(digests)), digests)
    if with_ids:
        prepared.own_ids = bytes(ID_SIZE * lines.total) if found is None else b"".join(map(mark_id, ids))
    return prepared


@lru_cache(maxsize=1000)
def _cut_struct(count: int) -> Struct:
    return Struct("16s48x" * count)


@lru_cache(maxsize=1000)
def _hex_struct(count: int) -> Struct:
    return Struct("32s" * count)


def _split_envelopes(documents: list[Any]) -> tuple[list[Any], list[bytes]] | None:
    """Return payloads and id texts where every document is an envelope of just `id` and `payload`."""
    try:
        payloads = list(map(_payload_of, documents))
        ids = list(map(_id_of, documents))
    except (KeyError, TypeError):
        return None
    if set(map(len, documents)) != {2} or set(map(type, ids)) != {str}:
        return None
    texts = orjson.dumps(ids)[1:-1].split(b",")
    if len(texts) != len(ids):  # a comma inside an id
        texts = list(map(orjson.dumps, ids))
    return payloads, texts


def _are_raw(documents: list[Any], scheme: Scheme) -> bool:
    return scheme.input_format == "raw" or not any(type(d) is dict and "payload" in d for d in documents)


def _made_id_prefix(stem: str) -> bytes:
    return orjson.dumps(stem)[:-1] + b":"


# Line by line


class _Row(NamedTuple):
    """One line of a batch, ready to be put beside the others."""

    payload: Any
    id_text: bytes
    key: bytes
    digest: bytes
    payload_hash: bytes = _NO_HASH
    own_id: bytes = NO_ID
    note: dict[str, Any] | None = None
    asks: Asks = NO_ASKS


def _prepare_each(lines: Lines, scheme: Scheme, *, has_paths: bool) -> Prepared:
    rows: list[_Row] = []
    prefix = _made_id_prefix(lines.stem)
    for number, data in enumerate(lines.data.split(b"\n")[:-1], lines.first_number):
        row = None if has_paths else _read_plain(data, number, prefix, scheme)
        if row is None:
            row = _read_careful(Line(lines.source, lines.stem, number, data), scheme)
        rows.append(row)
    payloads, ids, keys, digests, hashes, own_ids, notes, asks = (list(column) for column in zip(*rows, strict=True))
    prepared = Prepared(payloads, ids, keys, b"".join(digests))
    prepared.own_ids = b"".join(own_ids)
    if any(one != _NO_HASH for one in hashes):
        prepared.hashes = b"".join(hashes)
    prepared.notes = [(index, note) for index, note in enumerate(notes) if note is not None]
    prepared.asks = {index: one for index, one in enumerate(asks) if one is not NO_ASKS}
    return prepared


def _read_plain(data: bytes, number: int, prefix: bytes, scheme: Scheme) -> _Row | None:
    """Return the row of a plain line, else None; a third of what the careful way costs."""
    if has_long_digits(data):
        return None
    try:
        document = orjson.loads(data)
        is_envelope = type(document) is dict and "payload" in document and scheme.input_format != "raw"
        if is_envelope:
            if len(document) != 2 or type(document.get("id")) is not str:
                return None
            text = orjson.dumps(document["id"])
            payload, own_id = document["payload"], mark_id(text)
        elif scheme.input_format == "envelope":
            return None
        else:
            payload, text, own_id = document, b'%b%d"' % (prefix, number), NO_ID
        digest = hash_bytes(orjson.dumps(payload, None, _SORTED))
    except (ValueError, TypeError):
        return None
    return _Row(payload, text, digest.hex().encode(), digest, own_id=own_id)


def _read_careful(line: Line, scheme: Scheme) -> _Row:
    job = read_line(line, scheme)
    if job is None:
        return _Row(None, b"", b"", _NO_HASH, note={"blank": True})
    if isinstance(job, Unusable):
        return _Row(None, b"", b"", job.key, note={"reason": job.reason, "message": job.message})
    own_id = mark_id(id_text(job.id) if job.has_own_id else b"")
    asks = NO_ASKS if job.asks == NO_ASKS else job.asks
    return _Row(
        job.payload, id_text(job.id), key_member(job), job.key, job.payload_hash or _NO_HASH, own_id, _note(asks), asks
    )


def _note(asks: Asks) -> dict[str, Any] | None:
    """Return what the parent must know of a line's wishes before it lets it run."""
    wanted = {name: getattr(asks, name) for name in ("handler", "timeout", "not_before", "expires")}
    said = {name: value for name, value in wanted.items() if value is not None}
    return {"asks": said} if said else None
