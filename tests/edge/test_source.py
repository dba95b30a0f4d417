"""The source's laws: nothing lost, nothing added, numbers and places right, bounds kept, never a wait."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import subprocess
import sys
import tempfile
import tracemalloc
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jqcli.edge.cutter import Cutter
from jqcli.edge.source import Block, Oversized, Source
from jqcli.edge.unpack import Unpacker
from jqcli.errors import FileError, InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BIG = 1 << 20
LINES = b"".join(b'{"n":%d}\n' % n for n in range(20_000))


def pack_zstd(contents: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    return bytes(zstandard.ZstdCompressor(write_checksum=True).compress(contents))


def pack_zstd_stream(contents: bytes) -> bytes:
    """Without size and checksum, as a pipe through `zstd --no-check` gives it."""
    packer = pytest.importorskip("zstandard").ZstdCompressor().compressobj()
    return bytes(packer.compress(contents) + packer.flush())


PACKERS = [gzip.compress, bz2.compress, lzma.compress, pack_zstd, pack_zstd_stream]
every_packing = pytest.mark.parametrize("pack", PACKERS, ids=["gzip", "bzip2", "xz", "zstd", "zstd-stream"])


def cut_all(source: Source, max_lines: int = 1000, max_bytes: int = 65536) -> list[Block | Oversized]:
    parts = []
    while not source.ended:
        part = source.cut(max_lines, max_bytes, 0.0)
        parts += [part] if part else []
    return parts


def read_all(*paths: Path | str, max_line: int = BIG) -> bytes:
    with closing(Source([str(path) for path in paths], max_line=max_line)) as source:
        parts = cut_all(source)
    return b"".join(part.data for part in parts if isinstance(part, Block))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write_file(contents: bytes, name: str = "jobs.jsonl") -> str:
        (tmp_path / name).write_bytes(contents)
        return str(tmp_path / name)

    return write_file


@pytest.fixture
def pipe() -> Iterator[tuple[str, int]]:
    """A pipe as `<(command)` passes it: the path of its read end, and its write end."""
    reader, writer = os.pipe()
    yield f"/dev/fd/{reader}", writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


# ---- whole lines


@given(
    contents=st.lists(st.sampled_from([b"\n", b"a", b"\r\n", b"bb" * 9, b"c" * 200, b"\xef\xbb\xbf"])).map(b"".join),
    max_lines=st.integers(1, 9),
    max_bytes=st.integers(1, 300),
    max_line=st.integers(1, 300),
)
def test_blocks_and_oversized_lines_are_the_input(
    contents: bytes, max_lines: int, max_bytes: int, max_line: int
) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(contents)
        file.flush()
        parts = cut_all(Source([file.name], max_line=max_line), max_lines, max_bytes)
    start = 3 if contents.startswith(b"\xef\xbb\xbf") else 0
    lines = contents[start:].split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    number, offset = 1, start
    for part in parts:
        if isinstance(part, Block):
            assert 1 <= part.lines <= max_lines
            assert part.lines == 1 or len(part.data) <= max_bytes
            assert part.data == b"".join(line + b"\n" for line in lines[number - 1 : number - 1 + part.lines])
            assert all(len(line) <= max_line for line in part.data.split(b"\n"))
            assert (part.first_line, part.offset) == (number, offset)
            number, offset = number + part.lines, offset + len(part.data)
        else:
            line = lines[number - 1]
            assert len(line) > max_line
            assert (part.line, part.offset, part.size, part.head) == (number, offset, len(line), line[:4096])
            assert part.digest == blake2b(b"!" + line).digest()[:16]
            number, offset = number + 1, offset + len(line) + 1
    assert number == len(lines) + 1


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"\n", b"\xef", b"\xbb\xbf", b"\xef\xbb\xbf", b"\r\n", b"c" * 60, b"d\n" * 9]),
    ),
    max_size=12,
)


@given(pieces=PIECES, calls=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 50), st.booleans()), max_size=30))
@example(pieces=[b"\xef", b"\xbb\xbf", b"\xef\xbb\xbf\n"], calls=[(1, 1, True)] * 9)
@example(pieces=[b"\xef\xbb\xbf" + b"c" * 41 + b"\n"], calls=[(1, 1, False)] * 3)
@example(pieces=[b"c" * 41, b"\xef\xbb\xbf", b"\n1"], calls=[(1, 1, True)] * 9)
@example(pieces=[b"c" * 41, b"\n1"], calls=[(1, 1, False)])
def test_however_the_bytes_come_and_are_asked_for_every_line_is_there_once(
    pieces: list[bytes], calls: list[tuple[int, int, bool]]
) -> None:
    """`cut_rest` may be asked for at any time, as a pipe that lingers does."""
    longest, parts, cutter = 40, [], Cutter(0, 40)

    def cut(max_lines: int, max_bytes: int, *, is_rest: bool) -> bool:
        part = cutter.cut(max_lines, max_bytes) or (cutter.cut_rest() if is_rest else None)
        parts.extend([part] if part else [])
        return part is not None

    wishes = iter(calls)
    for piece in pieces:
        cutter.feed(piece)
        for max_lines, max_bytes, is_rest in wishes:
            if not cut(max_lines, max_bytes, is_rest=is_rest):
                break
    cutter.finish()
    while not cutter.is_empty:
        assert cut(5, 50, is_rest=True)
    whole = b"".join(pieces)
    start = 3 if whole.startswith(b"\xef\xbb\xbf") else 0
    lines = whole[start:].split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    number, offset = 1, start
    for part in parts:
        count = part.lines if isinstance(part, Block) else 1
        mine = lines[number - 1 : number - 1 + count]
        if isinstance(part, Block):
            assert part.data == b"".join(line + b"\n" for line in mine)
            assert (part.first_line, part.offset) == (number, offset)
            assert max(map(len, mine)) <= longest
        else:
            assert (part.line, part.offset, part.size, part.head) == (number, offset, len(mine[0]), mine[0])
            assert part.digest == blake2b(b"!" + mine[0]).digest()[:16]
            assert part.size > longest
        number, offset = number + count, offset + sum(map(len, mine)) + count
    assert number == len(lines) + 1


PACKED = [pack(LINES[:2000]) for pack in (gzip.compress, bz2.compress, lzma.compress)]


@given(
    st.sampled_from(PACKED) | st.binary(max_size=30).map(b"\x28\xb5\x2f\xfd".__add__) | st.binary(max_size=30),
    st.integers(0, 400),
    st.binary(max_size=4),
    st.integers(1, 5000),
)
@example(b"\x28\xb5\x2f\xfd", 400, b"", 1)
@example(b"\x50\x2a\x4d\x18\xff\xff\xff\xff", 400, b"", 1)
@example(PACKED[0] + b"\0" * 9 + PACKED[1], 4000, b"", 4096)
def test_packed_data_with_bytes_changed_are_contents_or_an_error_by_name(
    data: bytes, at: int, change: bytes, step: int
) -> None:
    unpacker, data = Unpacker("name"), data[:at] + change + data[at + len(change) :]
    pieces = [data[n : n + step] for n in range(0, len(data), step)]
    try:
        for piece in [*pieces, b""]:
            unpacker.feed(piece)
            while unpacker.take(1000):
                pass
    except FileError as error:
        assert str(error).startswith("name: ")  # noqa: PT017 - either way is right


@given(
    pieces=st.lists(st.lists(st.sampled_from([b"\n", b"a\n", b"bb", b"c" * 30])).map(b"".join), max_size=9),
    limits=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 80)), min_size=9),
)
def test_limits_that_change_between_calls_are_kept(pieces: list[bytes], limits: list[tuple[int, int]]) -> None:
    cutter, cut = Cutter(0, 1000), b""
    for piece, (max_lines, max_bytes) in zip(pieces, limits, strict=False):
        cutter.feed(piece)
        while part := cutter.cut(max_lines, max_bytes):
            assert isinstance(part, Block)
            assert part.lines == part.data.count(b"\n") <= max_lines
            assert part.lines == 1 or len(part.data) <= max_bytes
            cut += part.data
    whole = b"".join(pieces[: len(limits)]).removeprefix(b"\xef\xbb\xbf")
    assert whole.startswith(cut)


@pytest.mark.parametrize("max_lines", [1, 7, 500, 4096])
def test_every_block_but_the_last_has_exactly_as_many_lines_as_asked(write: Callable[..., str], max_lines: int) -> None:
    chance = random.Random(1)
    lines = b"".join(b"x" * chance.randint(0, 400) + b"\n" for _ in range(20_000))
    parts = cut_all(Source([write(lines)], max_line=BIG), max_lines, 4 * BIG)
    counts = [part.lines for part in parts if isinstance(part, Block)]
    assert set(counts[:-1]) == {max_lines}
    assert sum(counts) == 20_000


def test_blocks_do_not_span_inputs(write: Callable[..., str]) -> None:
    paths = [write(b"a\n\nb", "a"), write(b"", "b"), write(b"c\r\n", "c")]
    source = Source(paths, max_line=BIG)
    assert cut_all(source) == [Block(0, 1, 3, b"a\n\nb\n", 0), Block(2, 1, 1, b"c\r\n", 0)]
    assert source.bytes_read == source.bytes_total == 7
    assert source.wait_fd() is None


def test_bom_is_dropped_and_counts_in_the_offset(write: Callable[..., str]) -> None:
    assert cut_all(Source([write(b"\xef\xbb\xbf1\n")], max_line=BIG)) == [Block(0, 1, 1, b"1\n", 3)]


def test_no_inputs_have_ended() -> None:
    source = Source([], max_line=BIG)
    assert source.ended
    assert source.cut(1, 1, 0.0) is None


def test_a_file_that_shrinks_just_ends(write: Callable[..., str]) -> None:
    path = write(LINES)
    source = Source([path], max_line=BIG)
    assert source.cut(10, BIG, 0.0)
    os.truncate(path, 20)
    assert cut_all(source)
    assert source.ended


def test_progress_follows_what_was_cut(write: Callable[..., str]) -> None:
    with closing(Source([write(LINES)], max_line=BIG)) as source:
        part = source.cut(100, BIG, 0.0)
    assert isinstance(part, Block)
    assert source.bytes_read == len(part.data)
    assert source.bytes_total == len(LINES)


def test_a_huge_line_is_skipped_in_little_memory(write: Callable[..., str]) -> None:
    path = write(b"1\n")
    os.truncate(path, 200 * BIG)
    with Path(path).open("ab") as file:
        file.write(b"\n2\n")
    tracemalloc.start()
    parts = cut_all(Source([path], max_line=BIG))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [type(part) for part in parts] == [Block, Oversized, Block]
    assert isinstance(parts[1], Oversized)
    assert parts[1].size == 200 * BIG - 2
    assert parts[2] == Block(0, 3, 1, b"2\n", 200 * BIG + 1)
    assert peak < 4 * BIG


def test_one_call_reads_a_bounded_amount(write: Callable[..., str]) -> None:
    path = write(b"")
    os.truncate(path, 100 * BIG)
    with closing(Source([path], max_line=BIG)) as source:
        assert source.cut(1, 1, 7.0) is None
        assert not source.ended
        assert source.ready_at() == 7.0
        assert source.wait_fd() is None


# ---- names and checks


def test_stems_lose_folder_and_suffixes_unless_two_would_be_one(tmp_path: Path) -> None:
    names = ["a.jsonl", "b.ndjson.gz", "c.txt.zst", "d.tar.json", ".jsonl", "x/a.json.xz", "e.bz2"]
    (tmp_path / "x").mkdir()
    paths = [str(tmp_path / name) for name in names]
    for path in paths:
        Path(path).touch()
    stems = Source(paths, max_line=BIG).stems
    assert stems == (paths[0], "b", "c", "d.tar", ".jsonl", paths[5], "e")


def test_unusable_inputs_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: No such file"):
        Source([str(tmp_path / "nowhere")], max_line=BIG)
    with pytest.raises(UsageError, match="is a directory"):
        Source([str(tmp_path)], max_line=BIG)


def test_stdin_from_a_file_is_a_file(write: Callable[..., str]) -> None:
    code = (
        "from jqcli.edge.source import Source; s = Source(['-'], max_line=99)\n"
        "print(s.names, s.stems, s.bytes_total, s.cut(9, 9, 0.0), s.wait_fd())"
    )
    with Path(write(b"1\n2\n")).open("rb") as file:
        file.seek(2)
        done = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, text=True, check=True)
    block = Block(0, 1, 1, b"2\n", 0)
    assert done.stdout == f"('<stdin>',) ('stdin',) 2 {block} None\n"


# ---- pipes


def test_an_empty_pipe_is_waited_for_and_not_read(pipe: tuple[str, int]) -> None:
    path, _ = pipe
    source = Source([path], max_line=BIG)
    assert source.wait_fd() is None
    assert source.cut(10, BIG, 0.0) is None
    assert source.wait_fd() == int(path.rpartition("/")[2])
    assert source.ready_at() is None
    assert source.bytes_total is None


def test_lines_of_a_pipe_leave_after_50_ms(pipe: tuple[str, int]) -> None:
    path, writer = pipe
    source = Source([path], max_line=BIG)
    os.write(writer, b"1\n2\n3")
    assert source.cut(10, BIG, 100.0) is None
    assert source.ready_at() == pytest.approx(100.05)
    assert source.wait_fd() is not None
    assert source.cut(10, BIG, 100.04) is None
    assert source.ready_at() == pytest.approx(100.05)
    assert source.cut(10, BIG, 100.06) == Block(0, 1, 2, b"1\n2\n", 0)
    assert source.wait_fd() is None
    assert source.cut(10, BIG, 101.0) is None
    assert source.ready_at() is None


def test_a_full_block_leaves_at_once_what_is_left_in_time_and_the_rest_at_the_end(
    pipe: tuple[str, int],
) -> None:
    path, writer = pipe
    source = Source([path], max_line=BIG)
    os.write(writer, b"1\n2\n3")
    assert source.cut(1, BIG, 0.0) == Block(0, 1, 1, b"1\n", 0)
    assert source.cut(10, BIG, 0.04) is None
    assert source.cut(10, BIG, 0.05) == Block(0, 2, 1, b"2\n", 2)
    os.close(writer)
    assert source.cut(10, BIG, 0.0) == Block(0, 3, 1, b"3\n", 4)
    assert source.ended


def test_a_pipe_whose_writer_is_gone_ends(pipe: tuple[str, int]) -> None:
    path, writer = pipe
    os.close(writer)
    assert cut_all(Source([path], max_line=BIG)) == []


def test_a_fifo_without_a_writer_does_not_hold_up(tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    source = Source([path], max_line=BIG)
    assert source.cut(1, BIG, 0.0) is None
    assert not source.ended
    with Path(path).open("wb") as file:
        file.write(b"1\n")
    assert source.cut(2, BIG, 0.0) == Block(0, 1, 1, b"1\n", 0)
    assert source.ended


def test_compression_shows_through_a_pipe_that_gives_single_bytes(pipe: tuple[str, int]) -> None:
    path, writer = pipe
    source = Source([path], max_line=BIG)
    for byte in gzip.compress(b"\xef\xbb\xbf1\n"):
        assert source.cut(10, BIG, 0.0) is None
        os.write(writer, bytes([byte]))
    os.close(writer)
    assert source.cut(10, BIG, 0.0) == Block(0, 1, 1, b"1\n", 3)


# ---- compression


@every_packing
def test_members_and_padding_are_one_stream(write: Callable[..., str], pack: Callable[[bytes], bytes]) -> None:
    packed = pack(LINES) + pack(b"") + pack(b"end") + bytes(8)
    path = write(packed, "named-like-nothing")
    assert read_all(path) == LINES + b"end\n"
    source = Source([path], max_line=BIG)
    cut_all(source)
    assert source.bytes_read == source.bytes_total == len(packed)


@every_packing
def test_data_cut_short_are_an_error_at_any_place(write: Callable[..., str], pack: Callable[[bytes], bytes]) -> None:
    packed = pack(LINES[:3000])
    for size in [*range(12, len(packed), 7), len(packed) - 1]:
        with pytest.raises(FileError, match=r"cut\.jsonl: .* cut short"):
            read_all(write(packed[:size], "cut.jsonl"))


@every_packing
@pytest.mark.parametrize("most", [1, 7, 100_000])
def test_the_whole_lines_before_the_cut_come_first(
    write: Callable[..., str], pack: Callable[[bytes], bytes], most: int
) -> None:
    source = Source([write(pack(LINES) + pack(LINES)[:-20], "cut")], max_line=BIG)
    found = b""
    while len(found) < len(LINES):
        part = source.cut(most, BIG, 0.0)
        assert isinstance(part, Block)
        found += part.data
    assert (LINES + LINES).startswith(found)
    with pytest.raises(InputError, match="cut short"):
        cut_all(source)
    with pytest.raises(InputError, match="cut short"):
        source.cut(most, BIG, 0.0)


@every_packing
def test_damaged_data_are_an_error(write: Callable[..., str], pack: Callable[[bytes], bytes]) -> None:
    packed = pack(LINES)
    with pytest.raises(FileError, match="bad: damaged"):
        read_all(write(packed + b"something else, of some length", "bad"))
    if pack is pack_zstd_stream:
        return
    middle = len(packed) // 2
    with pytest.raises(FileError, match="bad: "):
        read_all(write(packed[:middle] + bytes(64) + packed[middle + 64 :], "bad"))


@every_packing
def test_a_bomb_does_not_fill_memory(write: Callable[..., str], pack: Callable[[bytes], bytes]) -> None:
    path = write(pack(bytes(64 * BIG)))
    tracemalloc.start()
    (part,) = cut_all(Source([path], max_line=BIG))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(part, Oversized)
    assert part.size == 64 * BIG
    assert peak < 24 * BIG


def test_incompressible_and_skippable_zstd_frames(write: Callable[..., str]) -> None:
    noise = random.Random(1).randbytes(BIG).replace(b"\n", b"") + b"\n"
    skipped = b"\x55\x2a\x4d\x18" + (70_000).to_bytes(4, "little") + bytes(70_000)
    assert read_all(write(skipped + pack_zstd(noise) + skipped + pack_zstd(b"1\n"))) == noise + b"1\n"


def test_zstd_without_its_package_says_what_to_install(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UsageError, match=r"jobs\.jsonl: .*pip install 'jqcli\[zstd\]'"):
        read_all(write(b"\x28\xb5\x2f\xfd" + bytes(20)))


@pytest.mark.parametrize("contents", [b"B", b"BZ\n", b"\x1f", b"(\n"])
def test_a_start_of_a_magic_alone_is_text(write: Callable[..., str], contents: bytes) -> None:
    assert read_all(write(contents)) == contents.rstrip(b"\n") + b"\n"


def test_what_was_cut_from_a_file_can_be_read_again_where_its_block_stood(write: Callable[..., str]) -> None:
    paths = [write(b"\xef\xbb\xbf" + LINES, "a.jsonl"), write(LINES, "b.jsonl")]
    with closing(Source(paths, max_line=BIG, keeps_open=True)) as source:
        parts = []
        while not source.ended:
            part = source.cut(700, 65536, 0.0)
            assert isinstance(part, Block)
            assert source.is_lasting(part.source)
            assert source.read_again(part.source, part.offset, len(part.data)) == part.data
            parts.append(part)
        for path in paths:  # it is read on as it was, whatever has its name now
            Path(path).unlink()
            Path(path).write_bytes(b"others\n")
        for part in parts:
            assert source.read_again(part.source, part.offset, len(part.data)) == part.data
        assert source.read_again(1, len(LINES) - 3, 10) == LINES[-3:]


def test_of_many_files_those_that_were_read_long_ago_are_opened_again_unless_another_one_stands_there(
    write: Callable[..., str],
) -> None:
    paths = [write(b"%d\n" % n, f"{n}.jsonl") for n in range(100)]
    with closing(Source(paths, max_line=BIG, keeps_open=True)) as source:
        before = len(os.listdir("/proc/self/fd"))
        cut_all(source, 1)
        assert len(os.listdir("/proc/self/fd")) <= before + 33
        assert [source.read_again(n, 0, 9) for n in range(100)] == [b"%d\n" % n for n in range(100)]
        assert len(os.listdir("/proc/self/fd")) <= before + 33
        Path(paths[3]).rename(paths[3] + ".old")
        with pytest.raises(FileError, match=r"3.jsonl: No such file"):
            source.read_again(3, 0, 9)
        write(b"3\n", "3.jsonl")
        with pytest.raises(FileError, match=r"3.jsonl: is another file than before"):
            source.read_again(3, 0, 9)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_where_no_line_is_asked_for_again_no_file_stays_open(write: Callable[..., str]) -> None:
    paths = [write(b"%d\n" % n, f"{n}.jsonl") for n in range(40)]
    with closing(Source(paths, max_line=BIG)) as source:
        before = len(os.listdir("/proc/self/fd"))
        cut_all(source, 1)
        assert len(os.listdir("/proc/self/fd")) <= before


@every_packing
def test_what_is_packed_cannot_be_read_again(write: Callable[..., str], pack: Callable[[bytes], bytes]) -> None:
    with closing(Source([write(pack(LINES))], max_line=BIG)) as source:
        assert source.cut(10, 1000, 0.0) is not None
        assert not source.is_lasting(0)


def test_what_came_through_a_pipe_cannot_be_read_again(pipe: tuple[str, int]) -> None:
    path, fd = pipe
    with closing(Source([path], max_line=BIG)) as source:
        os.write(fd, b"1\n2\n")
        assert source.cut(2, 1000, 0.0) is not None
        assert not source.is_lasting(0)
