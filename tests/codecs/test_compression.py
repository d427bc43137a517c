from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs.compression import Decompressor, accepted, compress
from gateway.core.errors import InvalidArgument, TooLarge, Unsupported

LIMIT = 10_000
CODINGS = {b"gzip": gzip.compress, b"x-gzip": gzip.compress, b"deflate": zlib.compress}


def undo(coding: bytes, body: bytes, brief: int = 100, limit: int = LIMIT) -> bytes:
    """As the wire does: at once what is brief, the rest later."""
    decompressor = Decompressor(coding, limit)
    out = decompressor.feed(body, brief)
    return out if decompressor.finished else decompressor.rest()


@given(
    st.binary(max_size=500) | st.integers(0, LIMIT).map(bytes),
    st.sampled_from(list(CODINGS)),
    st.integers(1, 2 * LIMIT),
)
def test_what_was_compressed_comes_out(data: bytes, coding: bytes, brief: int) -> None:
    assert undo(coding, CODINGS[coding](data), brief) == data


@given(st.lists(st.binary(max_size=300), max_size=5), st.sampled_from([b"gzip", b"deflate"]), st.integers(1, 9))
def test_what_we_compress_others_can_undo(parts: list[bytes], coding: bytes, level: int) -> None:
    body = compress(parts, coding, level)
    assert zlib.decompress(body, 47) == b"".join(parts)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
@pytest.mark.parametrize("brief", [1, LIMIT - 1, LIMIT, LIMIT + 1, 10 * LIMIT])
def test_the_limit_is_exact(coding: bytes, brief: int) -> None:
    assert len(undo(coding, CODINGS[coding](bytes(LIMIT)), brief)) == LIMIT
    for size in (LIMIT + 1, 100 * LIMIT):
        with pytest.raises(TooLarge, match="exceeds 10000 bytes"):
            undo(coding, CODINGS[coding](bytes(size)), brief)


@given(st.binary(max_size=200), st.integers(0, 300), st.binary(max_size=3), st.integers(1, 400))
def test_damaged_bodies_are_refused_or_come_out_within_the_limit(data: bytes, at: int, put: bytes, brief: int) -> None:
    body = gzip.compress(data)
    damaged = body[:at] + put + body[at + 1 :]
    with contextlib.suppress(InvalidArgument, TooLarge):
        assert len(undo(b"gzip", damaged, brief, 150)) <= 150


@pytest.mark.parametrize("brief", [1, 1000])
def test_every_truncation_is_told(brief: int) -> None:
    body = gzip.compress(b"words, and other words" * 3)
    for size in range(len(body)):
        with pytest.raises(InvalidArgument, match=r"incomplete|cannot be decompressed"):
            undo(b"gzip", body[:size], brief)


@pytest.mark.parametrize("brief", [1, 1000])
def test_nothing_may_follow(brief: int) -> None:
    for rest in (b"x", b"\0" * 100, gzip.compress(b"again")):
        with pytest.raises(InvalidArgument, match="followed by other data"):
            undo(b"gzip", gzip.compress(b"words" * 9) + rest, brief)


@pytest.mark.parametrize("coding", [b"br", b"", b"gzip, gzip", b"\xff"])
def test_other_codings_are_not_supported(coding: bytes) -> None:
    with pytest.raises(Unsupported, match="expected gzip or deflate"):
        Decompressor(coding, LIMIT)


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (b"gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"deflate, gzip", b"deflate"),
        (b"gzip;q=0.5, deflate;q=0.8", b"deflate"),
        (b"gzip; q=0", b""),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"br, zstd", b""),
        (b"identity", b""),
        (b"", b""),
        (b",;,q=;gzip;q=x", b""),
        (b"gzip;q=nan", b""),
        (b"gzip;level=9", b"gzip"),
    ],
)
def test_the_coding_that_is_preferred(header: bytes, coding: bytes) -> None:
    assert accepted(header) == coding


@given(st.binary(max_size=60))
def test_any_header_has_an_answer(header: bytes) -> None:
    assert accepted(header) in (b"", b"gzip", b"deflate")
