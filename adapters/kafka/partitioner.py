"""Which partition a record goes to, as Java's producer decides, so that other producers of the topic agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SEED = 0x9747B28C
_M = np.uint32(0x5BD1E995)
_R = np.uint32(24)


def murmur2(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """Kafka's hash (org.apache.kafka.common.utils.Utils.murmur2) of each key, of those of one length at a time."""
    found = np.empty(len(keys), np.uint32)
    by_length: dict[int, list[int]] = defaultdict(list)
    for at, key in enumerate(keys):
        by_length[len(key)].append(at)
    for length, rows in by_length.items():
        found[rows] = _murmur2(b"".join([keys[at] for at in rows]), len(rows), length)
    return found


def _murmur2(joined: bytes, rows: int, length: int) -> NDArray[np.uint32]:
    data = np.frombuffer(joined, np.uint8).reshape(rows, length)
    hashed = np.full(rows, _SEED ^ length, np.uint32)
    whole = length & ~3
    for word in np.ascontiguousarray(data[:, :whole]).view("<u4").astype(np.uint32).T if whole else ():
        mixed = word * _M
        mixed ^= mixed >> _R
        hashed *= _M
        hashed ^= mixed * _M
    for at in range(length - whole - 1, -1, -1):
        hashed ^= data[:, whole + at].astype(np.uint32) << np.uint32(8 * at)
    if length != whole:
        hashed *= _M
    hashed ^= hashed >> np.uint32(13)
    hashed *= _M
    hashed ^= hashed >> np.uint32(15)
    return hashed


class Partitioner:
    """Belongs to one output. Keyless records go to one partition a call, the next one the next time."""

    def __init__(self) -> None:
        self._turn = 0

    def split(self, keys: Sequence[bytes | None], rows: int, partitions: int) -> dict[int, Sequence[int]]:
        """Partition → the indexes of its records, ascending. `keys` is empty where no record has one."""
        keyed = [at for at, key in enumerate(keys) if key is not None]
        found: dict[int, list[int]] = defaultdict(list)
        if keyed:
            hashed = murmur2([keys[at] for at in keyed])  # type: ignore[misc]  # those that are not None
            numbers = (hashed & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)
            for at, number in zip(keyed, numbers.tolist(), strict=True):
                found[number].append(at)
        if len(keyed) < rows:
            keyless = [at for at in range(rows) if not keys or keys[at] is None]
            self._turn = (self._turn + 1) % partitions
            found[self._turn] = sorted([*found[self._turn], *keyless])
        return dict(found)
