"""Streams from their files. Nothing is started, and no model is looked at: see `checking` for that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import UNSET, Struct

from gateway.codecs.records.mapping import REQUIRED, Entry, Pick
from gateway.core.errors import SluiceError
from gateway.core.stream import Delivery
from gateway.pipeline.declared import connectors, document
from gateway.pipeline.declared.binding import Binder, Unfit
from gateway.pipeline.declared.document import Node
from gateway.pipeline.declared.formats import DECODE, ENCODE, whole_requests
from gateway.pipeline.declared.problem import Place, Problem, StreamError, nearest
from gateway.pipeline.declared.spec import Connector, Model, Places, Stream
from gateway.pipeline.policy import Policy

#: in the order in which a file has them
SECTIONS: Final = (
    "name", "input", "decode", "map", "model", "encode", "output", "dead_letters", "errors", "batching", "lanes",
    "drain", "lag_interval", "guarantee", "order",
)  # fmt: skip
#: those of them that `Policy` has
POLICY: Final = ("errors", "batching", "lanes", "drain", "lag_interval")
_NEEDED: Final = ("input", "decode", "model", "encode", "output")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SUFFIXES: Final = (".yaml", ".yml")
#: beside a stream's file, and none: its tests
TESTS: Final = ".test"


class _Pick(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    field: str = ""
    jmespath: str = ""
    default: Any = UNSET
    type: Literal["", "number", "integer", "boolean", "string"] = ""
    width: int = 0

    def __post_init__(self) -> None:
        if bool(self.field) == bool(self.jmespath):
            raise ValueError("expected one of 'field' and 'jmespath'")


def expand(references: Iterable[str]) -> list[str]:
    """Folders become the streams in them; the tests beside streams are left out. Raises StreamError for a folder
    without any, and where there is nothing but tests."""
    references = list(references)
    streams = [reference for reference in references if not _is_test(Path(reference))]
    if references and not streams:
        place = Place(references[0], 0)
        raise StreamError([Problem(place, "", "is a test of a stream: name the stream's own file")])
    found: list[str] = []
    for reference in streams:
        path = Path(reference)
        if not path.is_dir():
            found.append(reference)
            continue
        files = sorted(f for f in path.iterdir() if f.suffix in _SUFFIXES and not _is_test(f))
        if not files:
            raise StreamError([Problem(Place(reference, 0), "", "the folder has no stream, expected *.yaml in it")])
        found += map(str, files)
    return found


def _is_test(path: Path) -> bool:
    return path.stem.endswith(TESTS) and not path.is_dir()


def read_all(references: Iterable[str], environ: Mapping[str, str]) -> list[Stream]:
    """Raises StreamError with the problems of all of them."""
    streams: list[Stream] = []
    problems: list[Problem] = []
    for reference in expand(references):
        try:
            streams.append(read(reference, environ))
        except StreamError as error:
            problems += error.problems
    first: dict[str, Stream] = {}
    for stream in streams:
        other = first.setdefault(stream.name, stream)
        if other is not stream:
            problems.append(stream.places.problem("name", f"'{stream.name}' is in {other.places.file} already"))
    if problems:
        raise StreamError(problems)
    return streams


def read(reference: str, environ: Mapping[str, str]) -> Stream:
    """A stream's file, or ``sluice.yaml#name``: one of those that a settings file has. Raises StreamError."""
    file, _, inner = reference.partition("#")
    path = Path(file)
    binder = Binder(file, environ)
    try:
        node = document.parse(document.read_text(path), file)
        if inner:
            node = _inner(binder, node, inner)
            if isinstance(node, document.Scalar) and not document.is_null(node):
                return read(str(node.value), environ)
        if node is None or document.is_null(node):
            binder.tell(node, "", "there is no stream in it")
            raise Unfit
        return _Reader(binder).stream(node, inner or path.stem)
    except Unfit:
        raise StreamError(sorted(dict.fromkeys(binder.problems), key=lambda problem: problem.place)) from None
    except RecursionError as error:
        raise StreamError([Problem(Place(file, 0), "", "it is nested too deeply")]) from error


def _inner(binder: Binder, node: Node | None, name: str) -> Node | None:
    if node is None:
        return None
    streams = binder.items(node, "").get("streams")
    return binder.items(streams, "streams").get(name) if streams else None


class _Reader:
    """The sections of one stream. A section that does not fit is told and left out, so that the others are read."""

    def __init__(self, binder: Binder) -> None:
        self._binder = binder
        self._sections: dict[str, Node] = {}
        self._types: dict[tuple[str, int], str] = {}

    def stream(self, node: Node, name: str) -> Stream:
        self._sections = self._binder.items(node, "", "the sections of a stream")
        for key in self._sections:
            if key not in SECTIONS:
                line = Place(self._binder.file, self._binder.lines[key])
                self._binder.problems.append(Problem(line, key, f"is no section{nearest(key, SECTIONS)}"))
        for key in _NEEDED:
            if key not in self._sections:
                self._binder.tell(node, key, "is missing")
        name = self._of("name", self._name, name)
        decode = self._of("decode", lambda n, f: self._format(n, f, DECODE), None)
        read: dict[str, Any] = {
            "input": self._of("input", self._connector, None),
            "output": self._of("output", self._connector, None),
            "dead_letters": self._of("dead_letters", self._connector, None),
            "entries": self._of("map", self._map, ()),
            "model": self._of("model", self._model, None),
            "encode": self._of("encode", lambda n, f: self._format(n, f, ENCODE), None),
            "policy": self._policy(node),
            "guarantee": self._of("guarantee", self._guarantee, None),
            "order": self._of("order", self._order, ""),
        }
        if decode is not None and "map" not in self._sections and not whole_requests(decode):
            self._binder.tell(node, "map", "is missing")
        if decode is not None and "map" in self._sections and whole_requests(decode):
            self._binder.tell(
                self._sections["map"], "map", "is not for infer requests, which name the inputs themselves"
            )
        if self._binder.problems:
            raise Unfit
        places = Places(self._binder.file, self._binder.lines, self._binder.hidden)
        return Stream(name=name, places=places, decode=decode, types=self._types, **read)

    def _of(self, key: str, read: Any, default: Any) -> Any:
        node = self._sections.get(key)
        if node is None or (document.is_null(node) and key not in _NEEDED):
            return default
        try:
            return read(node, key)
        except Unfit:
            return default

    def _name(self, node: Node, field: str) -> str:
        name = self._binder.text(node, field)
        if not _NAME.fullmatch(name):
            raise self._binder.wrong(node, field, "letters, digits, '.', '_' and '-'")
        return name

    def _connector(self, node: Node, field: str) -> Connector:
        """``{adapter: its settings}``, or the adapter's name alone."""
        wanted = "an adapter and its settings, as in {files: {path: …}}"
        if isinstance(node, document.Scalar) and not document.is_null(node):
            name, settings = self._binder.text(node, field), None
        else:
            inner = self._binder.items(node, field, wanted)
            if len(inner) != 1:
                self._binder.tell(node, field, f"found {', '.join(inner) or 'nothing'}, expected one adapter")
                raise Unfit
            ((name, settings),) = inner.items()
        try:
            adapter = connectors.adapter(name)
        except SluiceError as error:
            line = self._binder.lines.get(f"{field}.{name}", document.line_of(node))
            self._binder.problems.append(Problem(Place(self._binder.file, line), field, error.message))
            raise Unfit from error
        door = adapter.input if field == "input" else adapter.output
        if door is None:
            self._binder.tell(node, field, f"adapter '{name}' has no {'input' if field == 'input' else 'output'}")
            raise Unfit
        if settings is None or document.is_null(settings):
            settings = document.Mapping("tag:yaml.org,2002:map", [], node.start_mark, node.end_mark)
        return Connector(adapter, door, self._binder.struct(settings, door.settings, f"{field}.{name}"))

    def _format(self, node: Node, field: str, known: Mapping[str, type[Struct]]) -> Any:
        """A format's settings; `format` says whose they are."""
        at = node
        if isinstance(node, document.Scalar) and not document.is_null(node):
            name, rest = self._binder.text(node, field), []
        else:
            inner = self._binder.items(node, field)
            if "format" not in inner:
                self._binder.tell(node, f"{field}.format", f"is missing, expected one of {', '.join(known)}")
                raise Unfit
            at = inner["format"]
            name = self._binder.text(at, f"{field}.format")
            rest = [(key, value) for key, value in document.entries(node) if key.value != "format"]  # type: ignore[arg-type]
        if name not in known:
            self._binder.tell(at, f"{field}.format", f"there is no format '{name}'{nearest(name, known)}")
            raise Unfit
        settings = document.Mapping("tag:yaml.org,2002:map", rest, node.start_mark, node.end_mark)
        return self._binder.struct(settings, known[name], field)

    def _map(self, node: Node, field: str) -> tuple[Entry, ...]:
        found = []
        for name, picks in self._binder.items(node, field, "a mapping from the model's inputs to fields").items():
            path = f"{field}.{name}"
            nodes = picks.value if isinstance(picks, document.Sequence) else [picks]
            listed = isinstance(picks, document.Sequence)
            read = [self._pick(each, f"{path}[{at}]" if listed else path, (name, at)) for at, each in enumerate(nodes)]
            if not read:
                self._binder.tell(picks, path, "found an empty list, expected fields")
            width = read[0][1] if len(read) == 1 else 0
            found.append(Entry(name, tuple(pick for pick, _ in read), width))
        if not found:
            self._binder.tell(node, field, "is empty, expected the model's inputs")
        return tuple(found)

    def _pick(self, node: Node, field: str, at: tuple[str, int]) -> tuple[Pick, int]:
        self._binder.lines[field] = document.line_of(node)
        try:
            if isinstance(node, document.Scalar) and not document.is_null(node):
                return Pick(self._binder.text(node, field)), 0
            given = self._binder.struct(node, _Pick, field)
        except Unfit:
            return Pick(""), 0
        if given.type:
            self._types[at] = given.type
        default = REQUIRED if given.default is UNSET else given.default
        return Pick(given.field or given.jmespath, default, bool(given.jmespath)), given.width

    def _policy(self, node: Node) -> Policy:
        """The sections that are a policy's, which are the stream's own."""
        own = [(key, value) for key, value in node.value if getattr(key, "value", "") in POLICY]
        part = document.Mapping("tag:yaml.org,2002:map", own, node.start_mark, node.end_mark)
        try:
            return self._binder.struct(part, Policy, "")
        except Unfit:
            return Policy()

    def _model(self, node: Node, field: str) -> Model:
        if isinstance(node, document.Scalar) and not document.is_null(node):
            return Model(name=self._binder.text(node, field))
        return self._binder.struct(node, Model, field)

    def _guarantee(self, node: Node, field: str) -> Delivery:
        text = self._binder.text(node, field)
        try:
            return Delivery(text)
        except ValueError:
            wanted = ", ".join(f"'{delivery.value}'" for delivery in Delivery)
            raise self._binder.wrong(node, field, f"one of {wanted}") from None

    def _order(self, node: Node, field: str) -> str:
        text = self._binder.text(node, field)
        if text != "per key":
            raise self._binder.wrong(node, field, "'per key', or no such line")
        return text
