"""Many lines at once: what a worker holds of a batch, and what it tells the parent about it.

This is half of the cost of a small job. A batch whose lines are all plain (an envelope of `id` and `payload`, or a
raw value) goes through C loops as a whole; any other batch is read line by line with `codec.read_line`, which says
the same about every line (a test holds the two against each other).
"""

from __future__ import annotations

from binascii import hexlify
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter
from typing import Any

import orjson

from jqcli.core.codec import Scheme, has_long_digits, read_line
from jqcli.model import NO_ASKS, Asks, Job, Line, Unusable

KEY_SIZE = 16
ID_SIZE = 8
_NO_HASH = bytes(KEY_SIZE)
_SORTED = orjson.OPT_SORT_KEYS
_payload_of = itemgetter("payload")
_id_of = itemgetter("id")


@dataclass(slots=True)
class Prepared:
    """A parsed batch. All lists run along its physical lines; a line that is no job has None in `payloads`.

    `ids` and `keys` are JSON texts as records carry them (`keys` without quotes and tag, but with a given key's
    `payload_hash` behind it). `digests` are the 16-byte keys in a row; `hashes` the payload hashes of given keys;
    `own_ids` 8 bytes a line, see `mark_id`. `notes` speak of every line that is not plain.
    """

    payloads: list[Any]
    ids: list[bytes]
    keys: list[bytes]
    digests: bytes
    hashes: bytes = b""
    own_ids: bytes = b""
    has_own_ids: bool = True
    notes: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    asks: dict[int, Asks] = field(default_factory=dict)


def prepare(data: bytes, source: str, stem: str, first_line: int, scheme: Scheme, *, with_ids: bool) -> Prepared:
    """Parse whole lines (each ends in a newline) and find their keys.

    `with_ids` adds `own_ids`, which only a run that goes on from an earlier one needs.
    """
    lines = data.split(b"\n")
    lines.pop()
    if scheme.key_path is None and scheme.tenant_path is None and not has_long_digits(data):
        plain = _prepare_plain(lines, stem, first_line, scheme)
        if plain is not None:
            if with_ids:
                plain.own_ids = b"".join(map(mark_id, plain.ids)) if plain.has_own_ids else bytes(ID_SIZE * len(lines))
            return plain
    return _prepare_each(lines, source, stem, first_line, scheme)


def mark_id(text: bytes) -> bytes:
    """Return 8 bytes for an id's JSON text; all zero stands for an id that was made up.

    >>> mark_id(b"") == bytes(8), mark_id(b'"a"') == mark_id(b'"b"')
    (True, False)
    """
    return blake2b(text, digest_size=ID_SIZE).digest() if text else bytes(ID_SIZE)


def made_id_prefix(stem: str) -> bytes:
    """Return the JSON text of a made-up id up to its line number."""
    return orjson.dumps(stem)[:-1] + b":"


def id_text(job_id: str | int) -> bytes:
    """Return an id as JSON text; integers of any size."""
    return str(job_id).encode() if isinstance(job_id, int) else orjson.dumps(job_id)


def key_member(job: Job) -> bytes:
    """Return a record's key behind its tag, inside the quotes, with `payload_hash` where the key was given."""
    text = orjson.dumps(job.key_text)[1:-1]
    return text if job.payload_hash is None else b'%b","payload_hash":"%b' % (text, job.payload_hash.hex().encode())


def _prepare_plain(lines: list[bytes], stem: str, first_line: int, scheme: Scheme) -> Prepared | None:
    """Return the batch where every line is plain, else None."""
    try:
        documents = list(map(orjson.loads, lines))
    except ValueError:
        return None
    found = _split_envelopes(documents) if scheme.input_format != "raw" else None
    if found is None:
        if scheme.input_format == "envelope" or not _are_raw(documents, scheme):
            return None
        prefix = made_id_prefix(stem)
        found = documents, [b'%b%d"' % (prefix, number) for number in range(first_line, first_line + len(lines))]
    payloads, ids = found
    dumps = orjson.dumps
    try:
        digests = b"".join([blake2b(dumps(p, None, _SORTED), digest_size=16).digest() for p in payloads])
    except TypeError:  # deeper than orjson writes
        return None
    text = hexlify(digests)
    keys = [text[at : at + 32] for at in range(0, len(text), 32)]
    return Prepared(payloads, ids, keys, digests, has_own_ids=payloads is not documents)


def _split_envelopes(documents: list[Any]) -> tuple[list[Any], list[bytes]] | None:
    """Return payloads and id texts where every document is an envelope of just `id` and `payload`."""
    if set(map(type, documents)) != {dict} or set(map(len, documents)) != {2}:
        return None
    try:
        payloads = list(map(_payload_of, documents))
        ids = list(map(_id_of, documents))
    except KeyError:
        return None
    if set(map(type, ids)) != {str}:
        return None
    texts = orjson.dumps(ids)[1:-1].split(b",")
    if len(texts) != len(ids):  # a comma inside an id
        texts = list(map(orjson.dumps, ids))
    return payloads, texts


def _are_raw(documents: list[Any], scheme: Scheme) -> bool:
    return scheme.input_format == "raw" or not any(type(d) is dict and "payload" in d for d in documents)


def _prepare_each(lines: list[bytes], source: str, stem: str, first_line: int, scheme: Scheme) -> Prepared:
    batch = Prepared([], [], [], b"")
    digests: list[bytes] = []
    hashes: list[bytes] = []
    own: list[bytes] = []
    for index, data in enumerate(lines):
        job = read_line(Line(source, stem, first_line + index, data), scheme)
        if isinstance(job, Job):
            _add_job(batch, index, job)
            digests.append(job.key)
            hashes.append(job.payload_hash or _NO_HASH)
            own.append(mark_id(id_text(job.id) if job.has_own_id else b""))
            continue
        batch.payloads.append(None)
        batch.ids.append(b"")
        batch.keys.append(b"")
        note = {"blank": True} if job is None else {"reason": job.reason, "message": job.message}
        batch.notes.append((index, note))
        digests.append(job.key if isinstance(job, Unusable) else _NO_HASH)
        hashes.append(_NO_HASH)
        own.append(bytes(ID_SIZE))
    batch.digests = b"".join(digests)
    batch.own_ids = b"".join(own)
    if any(map(any, hashes)):
        batch.hashes = b"".join(hashes)
    return batch


def _add_job(batch: Prepared, index: int, job: Job) -> None:
    batch.payloads.append(job.payload)
    batch.ids.append(id_text(job.id))
    batch.keys.append(key_member(job))
    if job.asks is NO_ASKS or job.asks == NO_ASKS:
        return
    batch.asks[index] = job.asks
    wanted = {
        name: value
        for name in ("handler", "timeout", "not_before", "expires")
        if (value := getattr(job.asks, name)) is not None
    }
    if wanted:
        batch.notes.append((index, {"asks": wanted}))
