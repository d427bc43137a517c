"""What a fetch brought, cut into batches: whole ones, and none whose bytes are not what its producer wrote."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from adapters.kafka.recordset import RecordSet

#: bytes of a batch before what its checksum is of
HEAD = 21


def packed(*values: bytes, offset: int = 0, compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, 0, 1 << 20)
    for at, value in enumerate(values):
        assert builder.append(at, 1000 + at, b"k", value, [])
    return struct.pack(">q", offset) + bytes(builder.build())[8:]


def legacy(magic: int, *values: bytes) -> bytes:
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
    for at, value in enumerate(values):
        assert builder.append(at, 1000 + at, b"k", value)
    return bytes(builder.build())


def batches(data: bytes) -> list[list[tuple[int, bytes]]]:
    found, records = [], RecordSet(data)
    while records.has_next():
        batch: Any = records.next_batch()
        found.append([(record.offset, record.value) for record in batch])
    return found


def test_batches_are_cut_in_their_order() -> None:
    data = packed(b"a", b"b") + packed(b"c", offset=7, compression=1) + packed(b"d", offset=20)
    assert batches(data) == [[(0, b"a"), (1, b"b")], [(7, b"c")], [(20, b"d")]]
    assert RecordSet(data).size_in_bytes() == len(data)


@pytest.mark.parametrize("magic", [0, 1])
def test_formats_before_kafka_0_11(magic: int) -> None:
    assert batches(legacy(magic, b"a", b"b")) == [[(0, b"a")], [(1, b"b")]]
    data = bytearray(legacy(magic, b"a"))
    data[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="the batch at 0 has a wrong checksum"):
        batches(bytes(data))


@pytest.mark.parametrize("left", [0, 1, 11, 12, 60, 61])
def test_the_last_batch_is_cut_off_where_a_fetch_is_full(left: int) -> None:
    first, second = packed(b"a"), packed(b"b", offset=1)
    assert batches(first + second[:left]) == [[(0, b"a")]]
    assert not RecordSet(second[:left]).has_next()


@given(st.data())
def test_no_changed_byte_gets_through(data: st.DataObject) -> None:
    good = packed(b"first", b"second", offset=5)
    whole = bytearray(good + packed(b"third", offset=7))
    at = data.draw(st.integers(HEAD, len(good) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptRecordException, match="the batch at 5 has a wrong checksum"):
        batches(bytes(whole))


def test_a_checksum_that_is_changed() -> None:
    data = bytearray(packed(b"a"))
    data[HEAD - 1] ^= 1
    with pytest.raises(CorruptRecordException, match="wrong checksum"):
        batches(bytes(data))


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused_or_are_no_batch(data: bytes) -> None:
    records = RecordSet(data)
    if records.has_next():
        with pytest.raises(CorruptRecordException):
            records.next_batch()


@pytest.mark.parametrize(("length", "magic"), [(0, 2), (5, 2), (13, 2), (14, 2), (48, 2), (5, 1)])
def test_a_batch_that_is_shorter_than_its_head(length: int, magic: int) -> None:
    data = struct.pack(">qiibI", 3, length, 0, magic, 0).ljust(12 + length, b"\0")[: 12 + length]
    with pytest.raises(CorruptRecordException, match="bytes"):
        batches(data)


@pytest.mark.parametrize("length", [-1, -12, -13, -(1 << 31)])
def test_a_length_below_nothing_is_no_batch(length: int) -> None:
    data = struct.pack(">qiibI", 3, length, 0, 2, 0) + bytes(100)
    records = RecordSet(data)
    assert not records.has_next() or length == -1
    if records.has_next():
        with pytest.raises(CorruptRecordException):
            records.next_batch()
