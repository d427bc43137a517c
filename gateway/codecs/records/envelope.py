"""Records in an envelope of Kafka Connect's: JSON with its schema, and Debezium's change events.

Formats: Kafka Connect's JsonConverter with `schemas.enable`, an object of `schema` and `payload`; Debezium, "change
event value", an object of `op`, `before` and `after`, with or without such a schema round it. A Decimal in it is the
unscaled number, big-endian, in base64: it becomes the number that it is where the schema says so. Dates stay numbers.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from typing import Any, Final, Literal

import msgspec

from gateway.codecs.records.build import reason
from gateway.codecs.records.columns import Columns, Decoder

#: schemas that are remembered: a topic has one, and another one after each change of its table
_SCHEMAS: Final = 64
#: characters of a decimal: some 700 digits
_LONGEST: Final = 400
_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
_VARIABLE: Final = "io.debezium.data.VariableScaleDecimal"
_ROWS: Final = frozenset("cru")
_NO_ROWS: Final = frozenset("dtm")
_exact: Final = Context(prec=1000)
_parse: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)
#: puts numbers where a value has decimals
Convert = Callable[[Any], Any]


class _Schema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw()
    payload: msgspec.Raw = msgspec.Raw()


class _Change(msgspec.Struct):
    op: str = ""
    after: msgspec.Raw = msgspec.Raw()


_open_schema: Final = msgspec.json.Decoder(_Schema).decode
_open_change: Final = msgspec.json.Decoder(_Change).decode


class EnvelopeDecoder:
    """Gives `inner` what is in the envelope. `debezium`: the row as it is after the change; what leaves none (it was
    deleted, the table was truncated, the tombstone behind) is skipped."""

    def __init__(self, inner: Decoder, kind: Literal["connect", "debezium"]) -> None:
        self._inner: Final = inner
        self._changes: Final = kind == "debezium"
        self._schemas: Final[dict[bytes, Convert | None]] = {}

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        records: list[bytes | None] = []
        faults: dict[int, str] = {}
        for row, value in enumerate(values):
            try:
                records.append(None if value is None else self._record(value))
            except _BROKEN as error:
                faults[row] = reason(error)
                records.append(None)
            except (ValueError, LookupError, ArithmeticError, AttributeError) as error:
                faults[row] = f"its envelope cannot be opened: {error}"
                records.append(None)
        columns = self._inner.decode(records)
        columns.errors.update(faults)
        if self._changes:
            for row, record in enumerate(records):
                if record is None and row not in faults:
                    columns.skip(row)
        return columns

    def _record(self, value: bytes) -> bytes | None:
        """None: there is none. Raises ValueError and the like."""
        found = _open_schema(value)
        payload, convert = bytes(found.payload), None
        if payload and found.schema:
            convert = self._converter(bytes(found.schema))
        elif self._changes:
            payload = value
        else:
            raise ValueError("it has no 'schema' and 'payload', as Connect writes them with schemas.enable=true")
        if payload == b"null":
            return None
        if self._changes:
            payload = _after(payload)
        if payload[:1] == b'"':
            # a text that is JSON itself: what an outbox holds, and a document of MongoDB's
            payload = str(_parse(payload)).encode()
        if not payload or convert is None:
            return payload or None
        return _encode(convert(_parse(payload)))

    def _converter(self, schema: bytes) -> Convert | None:
        if schema not in self._schemas:
            if len(self._schemas) >= _SCHEMAS:
                self._schemas.clear()
            described = _parse(schema)
            if self._changes and isinstance(described, dict):
                described = next((f for f in described.get("fields") or () if f.get("field") == "after"), None)
            self._schemas[schema] = _conversion(described)
        return self._schemas[schema]


def _after(payload: bytes) -> bytes:
    """Empty: the change leaves no row."""
    change = _open_change(payload)
    after = bytes(change.after)
    if change.op in _NO_ROWS:
        return b""
    if change.op in _ROWS and after not in (b"", b"null"):
        return after
    op = f"its 'op' is '{change.op}'" if change.op else "it has no 'op'"
    row = "no 'after'" if not after else "an 'after' of null" if after == b"null" else "an 'after'"
    raise ValueError(f"{op} and {row}, as no change event has")


def _conversion(schema: Any) -> Convert | None:
    """None: a value of it has no decimals."""
    if not isinstance(schema, dict):
        return None
    if schema.get("name") == _DECIMAL:
        scale = int(schema["parameters"]["scale"])
        return lambda value: _number(value, scale)
    if schema.get("name") == _VARIABLE:
        return lambda value: value and _number(value["value"], value["scale"])
    match schema.get("type"):
        case "struct":
            fields = {field["field"]: _conversion(field) for field in schema["fields"]}
            within = {name: convert for name, convert in fields.items() if convert is not None}
            return (lambda value: _in_struct(value, within)) if within else None
        case "array":
            each = _conversion(schema.get("items"))
            return each and (lambda value: value and [each(item) for item in value])
        case _:
            return None


def _in_struct(value: Any, within: dict[str, Convert]) -> Any:
    if isinstance(value, dict):
        for name, convert in within.items():
            if name in value:
                value[name] = convert(value[name])
    return value


def _number(value: Any, scale: int) -> Any:
    """With `decimal.format=NUMERIC` it is a number already."""
    if not isinstance(value, str):
        return value
    if len(value) > _LONGEST:
        raise ValueError(f"a decimal has {len(value)} characters of base64, expected at most {_LONGEST}")
    try:
        unscaled = int.from_bytes(b64decode(value, validate=True), "big", signed=True)
    except binascii.Error as error:
        raise ValueError(f"'{value[:40]}' is no decimal in base64: {error}") from error
    return Decimal(unscaled).scaleb(-scale, _exact)
