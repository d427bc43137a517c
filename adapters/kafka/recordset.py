"""What a fetch brought of a partition, cut into the batches that brokers store.

aiokafka's own, 0.14, has each batch check its CRC-32C by a table, which takes 0.4 µs of a record of 760 bytes: a
twentieth of all that a stream between topics does. google-crc32c has the processor do it, at 23 GB/s instead of 1.8.

Format: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from typing import Any, Final

import aiokafka.consumer.fetcher
import google_crc32c
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

#: base offset, length of what follows, leader's epoch, magic, CRC
_HEAD: Final = struct.Struct(">qiibI")
_LENGTH: Final = struct.Struct(">8xi")
#: bytes; of a batch of today's format, and of a message of the formats before Kafka 0.11
_LEAST: Final = 61
_LEAST_OLD: Final = 26


class RecordSet:
    """Stands for aiokafka's MemoryRecords, whose three methods its fetcher and its own iterator call."""

    def __init__(self, data: bytes) -> None:
        self._data: Final = data
        self._whole: Final = memoryview(data)
        self._at = 0
        self._end = self._end_of(0)

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        """Whether there is another whole batch. A broker cuts the last one off where a fetch is full."""
        return self._end > 0

    def next_batch(self) -> Any:
        """aiokafka's, which has the right checksum. Raises CorruptRecordException."""
        at, end = self._at, self._end
        if end - at < _LEAST_OLD:
            raise CorruptRecordException(f"a batch of {end - at} bytes")
        offset, _, _, magic, crc = _HEAD.unpack_from(self._data, at)
        if magic < 2:
            batch: Any = LegacyRecordBatch(self._whole[at:end], magic)
            right = batch.validate_crc()
        elif end - at < _LEAST:
            raise CorruptRecordException(f"the batch at {offset} has {end - at} bytes")
        else:
            batch = DefaultRecordBatch(self._whole[at:end])
            right = google_crc32c.value(self._data[at + _HEAD.size : end]) == crc
        if not right:
            raise CorruptRecordException(f"the batch at {offset} has a wrong checksum")
        self._at, self._end = end, self._end_of(end)
        return batch

    def _end_of(self, at: int) -> int:
        """Where the batch ends that begins there; 0 if it is not all there."""
        if len(self._data) - at < _LENGTH.size:
            return 0
        (length,) = _LENGTH.unpack_from(self._data, at)
        end: int = at + _LENGTH.size + length
        return end if at < end <= len(self._data) else 0


def read_by_record_sets() -> None:
    """Of fetches that are answered from now on."""
    aiokafka.consumer.fetcher.MemoryRecords = RecordSet
