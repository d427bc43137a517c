"""The tests of a stream, in files beside it: records in, and what has to come out."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.core.errors import SluiceError
from gateway.core.framing import Fixed, Framer, Lines, Rdw
from gateway.core.stream import Batch, Message
from gateway.pipeline.declared import document
from gateway.pipeline.declared.binding import Binder, Unfit
from gateway.pipeline.declared.problem import Place, Problem, StreamError
from gateway.pipeline.declared.spec import Stream

_BYTES: Final = ("text", "base64", "hex", "file")


class Content(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes, written in one of four ways. `file` is relative to the file that names it."""

    text: str | None = None
    base64: str | None = None
    hex: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not None for name in _BYTES) != 1:
            raise ValueError(f"expected one of {', '.join(_BYTES)}")

    def read(self, folder: Path) -> bytes:
        """Raises ValueError, OSError."""
        if self.text is not None:
            return self.text.encode()
        if self.base64 is not None:
            return b64decode(self.base64, validate=True)
        return bytes.fromhex(self.hex) if self.hex is not None else (folder / str(self.file)).read_bytes()


class Record(Content, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record that goes in, with what else it brings."""

    id: str = ""
    key: str | None = None
    headers: dict[str, str] = {}


class Records(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All records of a file."""

    file: str
    records: Literal["lines", "fixed", "rdw"] = "lines"
    length: Annotated[int, Meta(ge=1)] = 1

    def read(self, folder: Path) -> list[bytes]:
        """Raises OSError, SluiceError."""
        framer: Framer = Lines()
        if self.records != "lines":
            framer = Fixed(self.length) if self.records == "fixed" else Rdw()
        data, values = (folder / self.file).read_bytes(), []
        while data:
            found, end = framer.split(data, final=True)
            values += found
            data = data[end:]
        return values


class Result(Content, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A result: its bytes, or some of its fields. Numbers are equal within the tolerance, relative to the greater."""

    fields: dict[str, Any] = {}
    tolerance: Annotated[float, Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        if not self.fields:
            super().__post_init__()
        elif any(getattr(self, name) is not None for name in _BYTES):
            raise ValueError(f"expected 'fields' or one of {', '.join(_BYTES)}")


class Dead(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record that becomes a dead letter: its number from 1, and some words of the reason."""

    record: Annotated[int, Meta(ge=1)]
    reason: str = ""


class _Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str = ""
    records: tuple[str | Record | None, ...] | Records = msgspec.field(name="in")
    out: tuple[str | Result, ...] | Records = ()
    dead: tuple[Dead, ...] = ()
    tolerance: Annotated[float, Meta(ge=0)] = 1e-6


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cases: Annotated[tuple[_Case, ...], Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A result: these bytes, or these fields of it within a tolerance."""

    value: bytes | None
    fields: Mapping[str, Any]
    tolerance: float
    place: Place


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    place: Place
    batch: Batch
    out: tuple[Wanted, ...]
    dead: tuple[Dead, ...]


def beside(stream: Stream) -> list[Path]:
    """The test files of a stream: ``NAME.test.yaml`` beside its file, and all of the folder ``NAME.test``."""
    path = Path(stream.places.file).parent / stream.name
    found = [path.with_name(f"{path.name}.test{suffix}") for suffix in (".yaml", ".yml")]
    folder = path.with_name(f"{path.name}.test")
    if folder.is_dir():
        found += sorted(file for file in folder.iterdir() if file.suffix in (".yaml", ".yml"))
    return [file for file in found if file.is_file()]


def read_cases(path: Path, environ: Mapping[str, str]) -> list[Case]:
    """Raises StreamError."""
    file = str(path)
    binder = Binder(file, environ)
    try:
        node = document.parse(document.read_text(path), file)
        if node is None or document.is_null(node):
            binder.tell(None, "", "there is no case in it")
            raise Unfit
        if "cases" in binder.items(node, "", "cases"):
            given = binder.struct(node, _File, "").cases
            return list(_cases(binder, path, given, "cases[{}]."))
        return list(_cases(binder, path, (binder.struct(node, _Case, ""),), ""))
    except Unfit:
        raise StreamError(list(dict.fromkeys(binder.problems))) from None
    except RecursionError as error:
        raise StreamError([Problem(Place(file, 0), "", "it is nested too deeply")]) from error


def _cases(binder: Binder, path: Path, given: tuple[_Case, ...], prefix: str) -> Iterator[Case]:
    for number, case in enumerate(given):
        at = prefix.format(number)
        reader = _Contents(binder, path)
        messages = list(reader.records(case, f"{at}in"))
        if not messages and not binder.problems:
            reader.tell(f"{at}in", "there is no record in it")
        out = tuple(reader.wanted(case, f"{at}out"))
        line = binder.lines.get(at.removesuffix("."), binder.lines.get(f"{at}in", 1))
        name = case.name or (path.stem if len(given) == 1 else f"case {number + 1}")
        yield Case(name, Place(str(path), line), Batch.of(messages), out, case.dead)
    if binder.problems:
        raise Unfit


class _Contents:
    """Reads what cases refer to; what cannot be read is told."""

    def __init__(self, binder: Binder, path: Path) -> None:
        self._binder = binder
        self._path = path

    def records(self, case: _Case, field: str) -> Iterator[Message]:
        if isinstance(case.records, Records):
            values = self._read(case.records, field, [])
            yield from (Message(f"record-{number + 1}", value) for number, value in enumerate(values))
            return
        for number, record in enumerate(case.records):
            name = f"record-{number + 1}"
            if record is None or isinstance(record, str):
                yield Message(name, None if record is None else record.encode())
                continue
            value = self._read(record, f"{field}[{number}]", b"")
            key = None if record.key is None else record.key.encode()
            headers = tuple((header, text.encode()) for header, text in record.headers.items())
            yield Message(record.id or name, value, key, headers)

    def wanted(self, case: _Case, field: str) -> Iterator[Wanted]:
        if isinstance(case.out, Records):
            for value in self._read(case.out, field, []):
                yield Wanted(value, {}, case.tolerance, self._place(field))
            return
        for number, out in enumerate(case.out):
            at = f"{field}[{number}]"
            place = self._place(at)
            if isinstance(out, Result) and out.fields:
                tolerance = case.tolerance if out.tolerance is None else out.tolerance
                yield Wanted(None, out.fields, tolerance, place)
            else:
                value = out.encode() if isinstance(out, str) else self._read(out, at, b"")
                yield Wanted(value, {}, case.tolerance, place)

    def tell(self, field: str, problem: str) -> None:
        self._binder.problems.append(Problem(self._place(field), field, problem))

    def _place(self, field: str) -> Place:
        return Place(str(self._path), self._binder.lines.get(field, 1))

    def _read(self, content: Any, field: str, nothing: Any) -> Any:
        try:
            return content.read(self._path.parent)
        except (OSError, ValueError, binascii.Error, SluiceError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.tell(field, f"cannot be read: {reason}")
            return nothing
