"""A pipeline that is tormented: real systems at both ends, and everything that came out of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from chaos.disk import Disk
from chaos.pipelines.servers import Servers
from chaos.proxy import Proxy
from chaos.records import COLUMNS, Record
from oracle import Result
from servers.server import Server

_ID = re.compile(r'"id": (\d+)')
FIELDS = {"id": "id", "score": "output_probability[1]", "version": "$version"}
#: what one worker has read and not acknowledged, at most: so much comes again where at least once is claimed
IN_FLIGHT = 400
#: small batches, so that many are in flight; quick retries, so that a round is short
COMMON: dict[str, Any] = {
    "map": {"X": list(COLUMNS)},
    "model": "T",
    "batching": {"rows": 40, "rows_in_flight": IN_FLIGHT},
    "errors": {"backoff": {"initial": 0.05, "longest": 0.5}, "breaker": {"share": 1}, "stalled": 8, "settle": 3},
    "drain": 5,
}


@dataclass(frozen=True, slots=True)
class Site:
    """A server, and the way that workers have to it."""

    server: Server
    proxy: Proxy


class Pipeline:
    """`exactly_once` and `ordered` are what it claims, per record and within a key.

    commits   whether what it writes holds only after a moment of its own
    locks     whether nobody gets past a worker that stands still there
    atomic    whether all that is sent at once is there at once
    shared    whether two workers are at work at the same time; else one waits for the other's end
    repeats   whether there is a way to deliver again what is done, see `again`
    chunk     records that are sent for one fault: more than are done by the time that it strikes
    sites     what faults may strike besides the worker; the first is where it commits
    disk      that of the results, where it can be filled up
    """

    name: ClassVar[str]
    exactly_once: ClassVar[bool] = True
    ordered: ClassVar[bool] = False
    commits: ClassVar[bool] = True
    locks: ClassVar[bool] = False
    atomic: ClassVar[bool] = True
    shared: ClassVar[bool] = True
    repeats: ClassVar[bool] = False
    chunk: ClassVar[int] = 400

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.sites: list[Site] = []
        self.disk: Disk | None = None
        self.folder = folder
        self.sent = 0

    def document(self) -> dict[str, Any]:
        raise NotImplementedError

    def send(self, records: Sequence[Record]) -> None:
        raise NotImplementedError

    def again(self) -> None:
        """Has records that came out delivered once more; no worker runs."""
        raise NotImplementedError

    def is_commit(self, said: bytes) -> bool:
        """Whether a worker says to its server that what it wrote is to hold."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Records that nothing came of yet."""
        raise NotImplementedError

    def results(self) -> list[Result]:
        raise NotImplementedError

    def dead(self) -> list[str]:
        raise NotImplementedError


def id_of(letter: bytes | str) -> str:
    """Of the record that a dead letter holds, whose JSON may end anywhere."""
    text = letter.decode() if isinstance(letter, bytes) else letter
    found = _ID.search(text.replace("\\", "").replace('""', '"'))
    assert found is not None, text
    return found[1]


def result_of(document: Any) -> Result:
    return Result(str(document["id"]), document["version"], document["score"])
