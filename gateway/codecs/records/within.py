"""Records that are JSON within a field of others: the payload of an outbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from gateway.codecs.records.build import reason
from gateway.codecs.records.columns import Columns, Decoder

_parse: Final = msgspec.json.Decoder().decode
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)


class WithinDecoder:
    """Gives `inner` what one field of a record holds: JSON as a text, as outboxes have it, or an object."""

    def __init__(self, inner: Decoder, field: str) -> None:
        self._inner: Final = inner
        self._field: Final = field
        kind = msgspec.defstruct("Within", [("held", msgspec.Raw, msgspec.Raw())], rename={"held": field})
        self._open: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(kind).decode

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        records: list[bytes | None] = []
        faults: dict[int, str] = {}
        for row, value in enumerate(values):
            held = b""
            try:
                if value is not None:
                    held = bytes(self._open(value).held)
                    if held in (b"", b"null"):
                        faults[row] = f"field '{self._field}' is missing: it should hold the record"
                    elif held[:1] == b'"':
                        held = str(_parse(held)).encode()
            except _BROKEN as error:
                faults[row] = reason(error)
            records.append(None if value is None or row in faults else held)
        columns = self._inner.decode(records)
        columns.errors.update(faults)
        return columns
