"""CSV records (RFC 4180), one line a value: split for the whole batch where nothing is quoted.

An empty field is missing, quoted or not: RFC 4180 gives the quotes no meaning of their own.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.codecs.records.columns import TOMBSTONE, Columns, Encoded, Field, Kind, pick
from gateway.codecs.records.jsonencoder import column_of
from gateway.codecs.records.text import numbers, tokens_to_column
from gateway.codecs.records.tokens import json_tokens, text_tokens
from gateway.core.errors import InvalidArgument


class CsvDecoder:
    """`header` names the fields of a line in their order."""

    def __init__(
        self,
        header: Sequence[str],
        fields: Sequence[Field],
        *,
        delimiter: str = ",",
        quote: str = '"',
        encoding: str = "utf-8",
    ) -> None:
        """Raises InvalidArgument for a field that the header lacks, and for signs that are not one ASCII character."""
        _check_signs(delimiter, quote)
        self._header: Final = tuple(header)
        self._delimiter: Final = delimiter.encode()
        self._quote: Final = quote.encode()
        self._encoding: Final = encoding
        wanted = [(field, self._position(field)) for field in fields]
        self._numbers: Final = [(field, at) for field, at in wanted if field.kind is Kind.NUMBER]
        self._others: Final = [(field, at) for field, at in wanted if field.kind is not Kind.NUMBER]

    def _position(self, field: Field) -> int:
        if field.expression or field.width:
            raise InvalidArgument(f"field '{field.name}' is a list or an expression, CSV has neither")
        found = [at for at, name in enumerate(self._header) if name == field.name]
        if len(found) != 1:
            problem = "is twice" if found else "is not"
            raise InvalidArgument(f"field '{field.name}' {problem} among the CSV columns {', '.join(self._header)}")
        return found[0]

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        columns = Columns(len(values), {})
        tokens = self._split(values, columns)
        count = len(self._header)
        if self._numbers and not self._fill_numbers(columns, tokens):
            for field, at in self._numbers:
                tokens_to_column(columns, field, tokens[at::count])
        for field, at in self._others:
            tokens_to_column(columns, field, tokens[at::count], self._encoding)
        return columns

    def _fill_numbers(self, columns: Columns, tokens: list[bytes]) -> bool:
        """All numbers of the batch at once, where every one of them is there and written as in JSON."""
        parts: list[bytes] = []
        for _, at in self._numbers:
            parts += tokens[at :: len(self._header)]
        found = numbers(b",".join(parts), len(parts))
        if found is None:
            return False
        found = found.reshape(len(self._numbers), columns.rows)
        for (field, _), column in zip(self._numbers, found, strict=True):
            columns.fields[field.name] = column
        return True

    def _split(self, values: Sequence[bytes | None], columns: Columns) -> list[bytes]:
        """The fields of all lines, one after the other, as many a line as the header has."""
        if None in values:
            for row, value in enumerate(values):
                if value is None:
                    columns.blame(row, TOMBSTONE)
        lines = [value or b"" for value in values]
        delimiter, quote, count = self._delimiter, self._quote, len(self._header)
        blank = delimiter * (count - 1)
        quoted: dict[int, list[bytes]] = {}
        for row, line in enumerate(lines):
            if quote in line:
                quoted[row] = self._unquote(line)
                found = len(quoted[row])
            else:
                found = line.count(delimiter) + 1
            if found != count:
                columns.blame(row, f"the line has {found} fields, expected {count}")
                quoted.pop(row, None)
                lines[row] = blank
            elif row in quoted:
                lines[row] = blank
        tokens = delimiter.join(lines).split(delimiter) if lines else []
        for row, parts in quoted.items():
            tokens[row * count : (row + 1) * count] = parts
        return tokens

    def _unquote(self, line: bytes) -> list[bytes]:
        # latin-1 carries every byte through Python's reader and back
        try:
            rows = list(
                csv.reader(
                    [line.decode("latin-1")],
                    delimiter=self._delimiter.decode(),
                    quotechar=self._quote.decode(),
                    strict=True,
                )
            )
        except csv.Error:
            return []
        return [part.encode("latin-1") for row in rows for part in row]


class CsvEncoder:
    """`fields`: the column in the file → which column of the records, or an element of it (``probabilities[1]``)."""

    def __init__(self, fields: Mapping[str, str], *, delimiter: str = ",", quote: str = '"') -> None:
        _check_signs(delimiter, quote)
        self._columns: Final = [column_of(source) for source in fields.values()]
        self._delimiter: Final = delimiter.encode()
        self._quote: Final = quote.encode()
        self._special: Final = (self._delimiter, self._quote, b"\n", b"\r")
        self.header: Final = self._delimiter.join(self._quoted([name.encode() for name in fields]))

    def encode(self, columns: Columns) -> Encoded:
        tokens = []
        for name, element in self._columns:
            array, valid = pick(columns, name, element)
            if array.ndim > 1:
                tokens.append(self._quoted(json_tokens(array, valid)))
                continue
            texts = text_tokens(array, valid)
            tokens.append(self._quoted(texts) if array.dtype == object else texts)
        return Encoded(list(map(self._delimiter.join, zip(*tokens, strict=True))))

    def _quoted(self, tokens: list[bytes]) -> list[bytes]:
        together = b"".join(tokens)
        if not any(sign in together for sign in self._special):
            return tokens
        quote = self._quote
        return [
            quote + token.replace(quote, quote * 2) + quote if any(sign in token for sign in self._special) else token
            for token in tokens
        ]


def _check_signs(delimiter: str, quote: str) -> None:
    for name, sign in (("delimiter", delimiter), ("quote", quote)):
        if len(sign) != 1 or not sign.isascii() or sign in "\r\n":
            raise InvalidArgument(f"the {name} of CSV is {sign!r}, expected one ASCII character")
    if delimiter == quote:
        raise InvalidArgument(f"the delimiter and the quote of CSV are both {quote!r}")
