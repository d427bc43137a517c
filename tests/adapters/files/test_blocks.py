"""Variable records in blocks, as RECFM=VB and VBS have them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.files.folder import Found
from adapters.files.reading import Reading
from gateway.core.framing import Bdw, Framer, Rdw


def descriptor(size: int, *, extended: bool = False, control: int = 0) -> bytes:
    if extended:
        return (size + 4 | 1 << 31).to_bytes(4, "big")
    return (size + 4).to_bytes(2, "big") + bytes([control, 0])


def spanned(value: bytes, cuts: list[int]) -> list[bytes]:
    """A record's segments, each with its descriptor."""
    edges = [0, *sorted(cut % (len(value) + 1) for cut in cuts), len(value)]
    parts = [value[a:b] for a, b in pairwise(edges)]
    kinds = [0] if len(parts) == 1 else [1, *[3] * (len(parts) - 2), 2]
    return [descriptor(len(part), control=kind) + part for part, kind in zip(parts, kinds, strict=True)]


def reading(path: Path, data: bytes, framer: Framer, limit: int = 1 << 20) -> Reading:
    path.write_bytes(data)
    stat = path.stat()
    found = Reading(
        path.parent, Found(path.name, stat.st_size, stat.st_mtime_ns, stat.st_ino), framer, limit, alike=True
    )
    found.open()
    return found


def read_all(
    path: Path, data: bytes, framer: Framer, rows: int = 100, nbytes: int = 1
) -> tuple[list[bytes], list[str]]:
    """All values, and the faults, each piece by a reader that has just been started."""
    values: list[bytes] = []
    faults: list[str] = []
    offset = ordinal = 0
    while True:
        one = reading(path, data, framer)
        one.begin(offset, ordinal)
        piece = one.piece(rows, nbytes)
        one.close()
        assert len(piece.values) <= rows
        assert piece.offset > offset or piece.end
        values += piece.values
        faults += piece.faults.values()
        offset, ordinal = piece.offset, ordinal + len(piece.values)
        if piece.end:
            return values, faults


records = st.lists(st.tuples(st.binary(max_size=30), st.lists(st.integers(0, 30), max_size=3)), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(records, st.data(), st.integers(1, 4))
def test_records_and_segments_in_any_blocks(
    tmp_path_factory: pytest.TempPathFactory, given: list[tuple[bytes, list[int]]], data: st.DataObject, rows: int
) -> None:
    segments = [segment for value, cuts in given for segment in spanned(value, cuts)]
    blocks: list[list[bytes]] = [[]]
    for segment in segments:
        if blocks[-1] and data.draw(st.booleans()):
            blocks.append([])
        blocks[-1].append(segment)
    text = b""
    for block in blocks:
        size = sum(map(len, block))
        text += descriptor(size, extended=data.draw(st.booleans())) + b"".join(block)
    path = tmp_path_factory.getbasetemp() / "blocks.dat"
    assert read_all(path, text, Bdw(), rows) == ([value for value, _ in given], [])


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from([b"\0\x08\0\0", b"\0\x0c\0\0", b"\0\4\0\0", b"ab", b"\x80\0\0\x0c", b"\0\6\1\0"]), max_size=12
    ).map(b"".join),
    st.integers(1, 3),
)
def test_any_bytes_are_records_or_a_fault(tmp_path_factory: pytest.TempPathFactory, data: bytes, rows: int) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.dat"
    for framer in (Bdw(), Rdw()):
        read_all(path, data or b"x", framer, rows)


def test_what_is_joined_is_read(tmp_path: Path) -> None:
    values = [bytes([n % 256]) * (n * 37 % 3000) for n in range(200)]
    data = Bdw().join(values)
    first = int.from_bytes(data[:2], "big")
    assert 29760 < first <= 32760
    assert read_all(tmp_path / "a", data, Bdw(), 7, 1 << 16) == (values, [])
    assert Bdw().join([]) == b""


def test_a_block_descriptor_that_cannot_be_in_the_middle(tmp_path: Path) -> None:
    good = Bdw().join([b"abc", b"de"])
    for head in (b"\0\3\0\0", b"\0\x10\0\1", b"abcd"):
        values, faults = read_all(tmp_path / "a", good + head + b"rest", Bdw(), 1)
        assert values == [b"abc", b"de", head + b"rest"]
        assert faults == [
            f"at byte {len(good)} of {len(good) + 8}: the block descriptor word is {head.hex()}, expected a length of"
            " at least 8 and 0000: are the records in blocks? Without descriptors of blocks it is `records: rdw`; what"
            " follows in the file cannot be told apart"
        ]


def test_a_record_descriptor_that_cannot_be_names_its_place_in_the_file(tmp_path: Path) -> None:
    block = b"\0\x0f\0\0" + b"\0\7\0\0abc" + b"\0\2\0\0"
    values, (fault,) = read_all(tmp_path / "a", Bdw().join([b"z"]) + block, Bdw())
    assert values[:2] == [b"z", b"abc"]
    assert fault.startswith(f"at byte {9 + 11} of {9 + 15}: the record descriptor word is 00020000")


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    data = Bdw().join([b"abc", b"defgh"])
    for cut in (1, 4, 7, 8):
        values, (fault,) = read_all(tmp_path / "a", data[:-cut], Bdw())
        assert values[0] == b"abc"
        assert "the file ends in the middle of a record" in fault
    values, (fault,) = read_all(tmp_path / "a", data + b"\0\x08", Bdw())
    assert "ends in the middle of a block descriptor word, 0008" in fault


def test_blocks_that_are_read_without_their_descriptors_are_told_of(tmp_path: Path) -> None:
    values, faults = read_all(tmp_path / "a", Bdw().join([b"abc", b"de"]), Rdw())
    assert values == [Rdw().join([b"abc", b"de"])]
    assert faults == ["it is several records with descriptors of their own: is the file in blocks, `records: bdw`?"]
    assert "Without descriptors of blocks" in read_all(tmp_path / "b", Rdw().join([b"a"]) + b"\0\0\0\0", Bdw())[1][0]


def test_segments_out_of_order(tmp_path: Path) -> None:
    first, last = b"\0\6\1\0ab", b"\0\6\2\0cd"
    assert read_all(tmp_path / "a", first + last, Rdw()) == ([b"abcd"], [])
    for data, what in (
        (last, "with which a record goes on with a segment, but none has begun"),
        (first + Rdw().join([b"x"]), "with which a record begins, but a spanned record has not ended"),
    ):
        assert what in read_all(tmp_path / "a", data, Rdw())[1][0]
    assert "middle of a record" in read_all(tmp_path / "a", first, Rdw())[1][0]
