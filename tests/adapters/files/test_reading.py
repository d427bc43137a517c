from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.files.folder import Found
from adapters.files.reading import Piece, Reading
from gateway.core.framing import Fixed, Framer, Lines, Rdw, Whole

lines = st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"")), max_size=20)
FRAMERS = {"lines": Lines(), "fixed": Fixed(3), "rdw": Rdw(), "whole": Whole()}


def reading(path: Path, framer: Framer, limit: int = 1 << 20) -> Reading:
    seen = path.stat()
    made = Reading(path.parent, Found(path.name, seen.st_size, seen.st_mtime_ns, seen.st_ino), framer, limit, True)
    made.open()
    return made


def pieces(found: Reading, rows: int, nbytes: int) -> list[Piece]:
    gone = []
    while not gone or not gone[-1].end:
        gone.append(found.piece(rows, nbytes))
        found.advance(gone[-1])
    return gone


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(FRAMERS)),
    st.one_of(lines.map(b"\n".join), lines.map(b"\r\n\n".join), st.binary(max_size=300)),
    st.integers(1, 7),
    st.integers(1, 400),
    st.data(),
)
def test_pieces_are_what_the_framer_says_and_a_reader_may_go_on_at_each(
    name: str, content: bytes, rows: int, nbytes: int, data: st.DataObject
) -> None:
    framer = FRAMERS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        path.write_bytes(content)
        whole = reading(path, framer)
        (all_at_once, *more) = pieces(whole, 1 << 20, 1 << 20)
        found = reading(path, framer)
        parts = pieces(found, rows, nbytes)
        values = [value for part in (all_at_once, *more) for value in part.values]
        assert [value for part in parts for value in part.values] == values
        assert all(len(part.values) <= rows for part in parts)
        assert all(part.values or part.end for part in parts)
        assert [part.first for part in parts[1:]] == [part.first + len(part.values) for part in parts[:-1]]
        at = data.draw(st.integers(0, len(parts) - 1))
        again = reading(path, framer)
        again.begin(parts[at].offset, parts[at].first + len(parts[at].values))
        if not parts[at].end:
            assert pieces(again, rows, nbytes) == parts[at + 1 :]
        for one in (whole, found, again):
            one.close()


@settings(max_examples=60, deadline=None)
@given(lines, st.integers(1, 12), st.integers(1, 400))
def test_too_long_lines_cost_only_themselves(given: list[bytes], limit: int, nbytes: int) -> None:
    content = b"".join(line + b"\n" for line in given if line)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        path.write_bytes(content)
        found = reading(path, Lines(), limit)
        parts = pieces(found, 5, nbytes)
        good = [v for part in parts for at, v in enumerate(part.values) if at not in part.faults]
        bad = sum(len(part.faults) for part in parts)
        found.close()
        wanted = [line for line in given if line]
        assert [line for line in wanted if len(line) <= limit] == [line for line in good if len(line) <= limit]
        assert len(good) + bad == len(wanted)
