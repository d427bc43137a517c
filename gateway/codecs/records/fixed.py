"""Fixed-width records: fields at known places of a line of single-byte characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.codecs.records.charset import charset
from gateway.codecs.records.columns import TOMBSTONE, Columns, Encoded, Field, Kind, pick
from gateway.codecs.records.jsonencoder import column_of
from gateway.codecs.records.matrix import matrix, rows_of, strings
from gateway.codecs.records.text import numbers, tokens_to_column
from gateway.codecs.records.tokens import text_tokens
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import Array


@dataclass(frozen=True, slots=True)
class Place:
    """A field of `width` characters from `start`, counted from 0; `scale` decimals are implied (``00150`` is 1.50)."""

    name: str
    start: int
    width: int
    scale: int = 0

    @property
    def end(self) -> int:
        return self.start + self.width


@dataclass(frozen=True, slots=True)
class FixedLayout:
    """`length` of the record, 0: up to the end of its last field."""

    places: tuple[Place, ...]
    length: int = 0

    def __post_init__(self) -> None:
        end = max((place.end for place in self.places), default=0)
        for place in self.places:
            if place.start < 0 or place.width < 1 or not 0 <= place.scale <= 18:
                raise InvalidArgument(
                    f"field '{place.name}' starts at {place.start} with width {place.width} and scale {place.scale},"
                    " expected at least 0, at least 1, and 0 to 18"
                )
        if self.length and self.length < end:
            raise InvalidArgument(f"records have {self.length} characters, but the last field ends at {end}")
        object.__setattr__(self, "length", self.length or end)

    def place(self, name: str) -> Place:
        found = [place for place in self.places if place.name == name]
        if len(found) != 1:
            known = ", ".join(place.name for place in self.places)
            raise InvalidArgument(f"field '{name}' {'is twice' if found else 'is not'} in the layout of {known}")
        return found[0]


class FixedDecoder:
    """Blanks round a value are not part of it, and a field of blanks is missing.

    pad  a record may be shorter than the layout (an editor cut the blanks off its end); else that is truncated
    """

    def __init__(
        self, layout: FixedLayout, fields: Sequence[Field], *, encoding: str = "ascii", pad: bool = False
    ) -> None:
        self._length: Final = layout.length
        self._charset: Final = charset(encoding)
        self._ascii: Final = self._charset.to_ascii()
        self._blank: Final = bytes([self._charset.space])
        self._pad: Final = pad
        self._fields: Final = [(field, layout.place(field.name)) for field in fields]
        for field, place in self._fields:
            if field.expression or field.width:
                raise InvalidArgument(
                    f"field '{field.name}' is a list or an expression, fixed-width records have neither"
                )
            if place.scale and field.kind is not Kind.NUMBER:
                raise InvalidArgument(f"field '{field.name}' has implied decimals, but is wanted as {field.kind.value}")
        self._plain: Final = [(f, p) for f, p in self._fields if f.kind is Kind.NUMBER and not p.scale]
        # the characters of all plain numbers, each with a comma behind it: the last column of the matrix
        self._gather: Final = np.array(
            [at for _, place in self._plain for at in (*range(place.start, place.end), self._length)], np.intp
        )

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        columns = Columns(len(values), {})
        raw = matrix(self._checked(values, columns), self._length)
        text = np.full((columns.rows, self._length + 1), 0x2C, np.uint8)
        text[:, :-1] = self._ascii[raw]
        together = self._numbers_at_once(columns, text)
        for field, place in self._fields:
            if together and field.kind is Kind.NUMBER and not place.scale:
                continue
            if field.kind in (Kind.STRING, Kind.ANY):
                array = strings(columns, field.name, raw[:, place.start : place.end], self._charset)
                columns.fields[field.name] = array
                if "" in array:
                    columns.valid[field.name] = array != ""
            else:
                self._value(columns, field, place, text[:, place.start : place.end])
        return columns

    def _checked(self, values: Sequence[bytes | None], columns: Columns) -> list[bytes]:
        """The values with the length of the layout, blank where the record is at fault."""
        length, checked = self._length, []
        for row, value in enumerate(values):
            if value is None:
                columns.blame(row, TOMBSTONE)
                value = b""
            elif len(value) > length or (len(value) < length and not self._pad):
                what = "truncated" if len(value) < length else "too long"
                columns.blame(row, f"the record is {what}: it has {len(value)} bytes, expected {length}")
                value = b""
            checked.append(value if len(value) == length else value.ljust(length, self._blank))
        return checked

    def _numbers_at_once(self, columns: Columns, text: Array) -> bool:
        count = len(self._plain)
        found = numbers(text[:, self._gather].tobytes()[:-1], columns.rows * count) if count else None
        if found is None:
            return False
        found = found.reshape(columns.rows, count)
        for at, (field, _) in enumerate(self._plain):
            columns.fields[field.name] = found[:, at]
        return True

    def _value(self, columns: Columns, field: Field, place: Place, part: Array) -> None:
        digits = part - np.uint8(0x30)
        if field.kind is not Kind.BOOLEAN and place.width <= 15 and bool((digits < 10).all()):
            whole = digits @ 10.0 ** np.arange(place.width - 1, -1, -1)
            integer = field.kind is Kind.INTEGER
            columns.fields[field.name] = whole.astype(np.int64) if integer else whole / 10.0**place.scale
            return
        tokens = [token.strip() for token in np.ascontiguousarray(part).view(f"S{place.width}").ravel().tolist()]
        if not place.scale:
            tokens_to_column(columns, field, tokens)
            return
        tokens_to_column(columns, Field(field.name, Kind.INTEGER), tokens)
        scaled = columns.fields[field.name] / 10.0**place.scale
        valid = columns.valid.get(field.name)
        columns.fields[field.name] = scaled if valid is None else np.where(valid, scaled, np.nan)


class FixedEncoder:
    """`fields`: a place of the layout → which column of the records, or an element of it. Other places stay blank.

    Text begins at the left, numbers end at the right, those with implied decimals after zeros. What is longer than its
    place is an error of its record, never cut off.
    """

    def __init__(self, layout: FixedLayout, fields: Mapping[str, str], *, encoding: str = "ascii") -> None:
        self._charset: Final = charset(encoding)
        self._blank: Final = bytes([self._charset.space])
        self._from_ascii: Final = self._charset.encode(_ASCII) + bytes(128)
        self._length: Final = layout.length
        self._fields: Final = [(layout.place(name), *column_of(source)) for name, source in fields.items()]

    def encode(self, columns: Columns) -> Encoded:
        lines = np.full((columns.rows, self._length), self._charset.space, np.uint8)
        errors: dict[int, str] = {}
        for place, name, element in self._fields:
            array, valid = pick(columns, name, element)
            if array.ndim > 1:
                raise InvalidArgument(f"field '{place.name}' is to hold '{name}', a list: expected one element of it")
            tokens = (
                self._texts(place, array, valid, errors) if array.dtype == object else _numbers(place, array, valid)
            )
            for row, token in enumerate(tokens):
                if len(token) > place.width:
                    errors.setdefault(
                        row,
                        f"field '{place.name}' is '{array[row]}' with {len(token)} characters,"
                        f" expected at most {place.width}",
                    )
                    tokens[row] = b""
            if array.dtype != object:
                tokens = [token.rjust(place.width).translate(self._from_ascii) for token in tokens]
            text = b"".join([token.ljust(place.width, self._blank) for token in tokens])
            lines[:, place.start : place.end] = np.frombuffer(text, np.uint8).reshape(columns.rows, place.width)
        values = rows_of(lines)
        for row in errors:
            values[row] = b""
        return Encoded(values, errors)

    def _texts(self, place: Place, array: Array, valid: Array | None, errors: dict[int, str]) -> list[bytes]:
        tokens = []
        for row, value in enumerate(array.tolist()):
            try:
                there = value is not None and (valid is None or valid[row])
                tokens.append(self._charset.encode(str(value)) if there else b"")
            except UnicodeEncodeError as error:
                lacking = error.object[error.start]
                errors.setdefault(row, f"field '{place.name}' has {lacking!r}, which {self._charset.name} lacks")
                tokens.append(b"")
        return tokens


_ASCII: Final = "".join(map(chr, range(128)))


def _numbers(place: Place, array: Array, valid: Array | None) -> list[bytes]:
    return _implied(place, array, valid) if place.scale else text_tokens(array, valid)


def _implied(place: Place, array: Array, valid: Array | None) -> list[bytes]:
    tokens = []
    for row, value in enumerate(array.tolist()):
        if (valid is not None and not valid[row]) or value != value:
            tokens.append(b"")
        elif value in (float("inf"), float("-inf")):
            tokens.append(b"%a" % value + b" " * place.width)  # an error by its length
        else:
            tokens.append(b"%0*d" % (place.width, round(value * 10**place.scale)))
    return tokens
