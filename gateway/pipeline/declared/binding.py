"""A tree of YAML to a Struct of settings: by the types of its fields, with everything that does not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from gateway.core.errors import InvalidArgument
from gateway.pipeline.declared import document
from gateway.pipeline.declared.document import Node
from gateway.pipeline.declared.problem import Place, Problem, nearest
from gateway.pipeline.declared.substitution import substituted
from gateway.pipeline.declared.words import bare, choices, expected, is_size, is_struct
from gateway.settings.load import size

T = TypeVar("T", bound=msgspec.Struct)

#: nodes of one file, those that aliases repeat counted anew
MOST_NODES: Final = 100_000
#: characters of a value that is looked for in messages, to keep it out of them
SHORTEST: Final = 4
#: fields whose value no error shows, even where it is written into the file
_SECRET: Final = re.compile(r"passw|secret|token|credential|private", re.IGNORECASE)


class Unfit(Exception):
    """The value was told to be wrong; nothing can be made of it."""


class Binder:
    """Collects problems instead of raising the first. `lines` has the line of every field that was looked at."""

    def __init__(self, file: str, environ: Mapping[str, str]) -> None:
        self.file: Final = file
        self.problems: Final[list[Problem]] = []
        self.lines: Final[dict[str, int]] = {}
        #: what came out of variables, and what was written in its place; not what is too short to be found again
        self.hidden: Final[dict[str, str]] = {}
        self._environ = environ
        self._path: list[Node] = []
        self._nodes = 0

    def tell(self, node: Node | None, field: str, message: str) -> None:
        line = document.line_of(node) if node is not None else 0
        self.problems.append(Problem(Place(self.file, line), field, message))

    def wrong(self, node: Node, field: str, wanted: str) -> Unfit:
        found = "a value" if _SECRET.search(field.rpartition(".")[2]) else document.shown(node)
        self.tell(node, field, f"found {found}, expected {wanted}")
        return Unfit()

    def items(self, node: Node, field: str, wanted: str = "a section of settings") -> dict[str, Node]:
        """A mapping's values by key. Raises Unfit."""
        if not isinstance(node, document.Mapping):
            raise self.wrong(node, field, wanted)
        found: dict[str, Node] = {}
        for key, value in document.entries(node):
            if not isinstance(key, document.Scalar):
                self.tell(key, field, f"found {document.shown(key)} as a key, expected a text")
            elif key.value in found:
                self.tell(key, _joined(field, key.value), "is there twice")
            else:
                found[key.value] = value
                self.lines[_joined(field, key.value)] = document.line_of(key)
        return found

    def struct(self, node: Node, kind: type[T], field: str) -> T:
        """Raises Unfit."""
        return msgspec.convert(self._checked(node, kind, field), kind)

    def _checked(self, node: Node, kind: type[msgspec.Struct], field: str) -> dict[str, Any]:
        """Its fields, which it can be made of. Raises Unfit."""
        before = len(self.problems)
        plain = self._struct(node, kind, field)
        if len(self.problems) > before:
            raise Unfit
        try:
            msgspec.convert(plain, kind)
        except (msgspec.ValidationError, InvalidArgument) as error:
            # what a Struct's own rules say, which join several of its fields
            message = error.message if isinstance(error, InvalidArgument) else str(error)
            self.tell(node, field, message)
            raise Unfit from error
        return plain

    def text(self, node: Node, field: str) -> str:
        """Raises Unfit."""
        value: str = self.value(node, str, field)
        return value

    def value(self, node: Node, hint: Any, field: str) -> Any:
        """What msgspec converts to that type; checked, but for Structs' own rules. Raises Unfit."""
        self._nodes += 1
        if self._nodes > MOST_NODES or any(above is node for above in self._path):
            self.tell(node, field, "refers to itself, or is too large")
            raise Unfit
        self._path.append(node)
        try:
            return self._of_kind(node, hint, field)
        finally:
            self._path.pop()

    def _of_kind(self, node: Node, hint: Any, field: str) -> Any:
        if isinstance(node, document.Scalar):
            return self._scalar(node, hint, field)
        for choice in choices(hint):
            inner = bare(choice)
            if isinstance(node, document.Mapping):
                if is_struct(inner):
                    return self._checked(node, inner, field)
                if inner is Any or _is(inner, dict):
                    return self._mapping(node, inner, field)
            elif inner is Any or _is(inner, list, tuple, set, frozenset):
                return self._sequence(node, choice, field)
        raise self.wrong(node, field, expected(hint))

    def _struct(self, node: Node, kind: type[msgspec.Struct], field: str) -> dict[str, Any]:
        hints = get_type_hints(kind, include_extras=True)
        known = {each.encode_name: each for each in msgspec.structs.fields(kind)}
        plain: dict[str, Any] = {}
        given = self.items(node, field)
        for key, value in given.items():
            path = _joined(field, key)
            if key not in known:
                line = Place(self.file, self.lines[path])
                self.problems.append(Problem(line, path, f"is no setting here{nearest(key, known)}"))
                continue
            # an empty value is the default where there is one, unless nothing is a value too
            if (
                document.is_null(value)
                and not known[key].required
                and type(None) not in choices(hints[known[key].name])
            ):
                continue
            try:
                plain[key] = self.value(value, hints[known[key].name], path)
            except Unfit:
                continue
        for key, each in known.items():
            if each.required and key not in given:
                self.tell(node, _joined(field, key), f"is missing, expected {expected(hints[each.name])}")
        return plain

    def _mapping(self, node: document.Mapping, hint: Any, field: str) -> dict[str, Any]:
        inner = get_args(hint)[1] if len(get_args(hint)) == 2 else Any
        return self._each({key: (value, inner) for key, value in self.items(node, field).items()}, field)

    def _each(self, values: Mapping[str, tuple[Node, Any]], field: str) -> dict[str, Any]:
        plain, bad = {}, False
        for key, (value, hint) in values.items():
            try:
                plain[key] = self.value(value, hint, _joined(field, key))
            except Unfit:
                bad = True
        if bad:
            raise Unfit
        return plain

    def _sequence(self, node: Node, hint: Any, field: str) -> list[Any]:
        arguments = [argument for argument in get_args(bare(hint)) if argument is not Ellipsis]
        plain, bad = [], False
        for at, value in enumerate(node.value):
            inner = arguments[at if at < len(arguments) and len(arguments) > 1 else 0] if arguments else Any
            self.lines[f"{field}[{at}]"] = document.line_of(value)
            try:
                plain.append(self.value(value, inner, f"{field}[{at}]"))
            except Unfit:
                bad = True
        if bad:
            raise Unfit
        self._convert(plain, hint, node, field)
        return plain

    def _scalar(self, node: document.Scalar, hint: Any, field: str) -> Any:
        written = node
        if "${" in node.value:
            try:
                text = substituted(node.value, self._environ)
            except InvalidArgument as error:
                self.tell(node, field, error.message)
                raise Unfit from error
            if len(text) >= SHORTEST and text != node.value:
                self.hidden[text] = node.value
            node = document.Scalar("tag:yaml.org,2002:str", text, style=node.style)
        # as YAML has it, where that fits: a 1 where a text or a number may stand; else as a text where one may
        several = [hint, *choices(hint)] if len(choices(hint)) > 1 else [hint]
        for choice in several:
            try:
                return self._convert(self._plain(node, choice, written is not node), choice, node, field)
            except ValueError:
                continue
        raise self.wrong(written, field, expected(hint))

    def _plain(self, node: document.Scalar, hint: Any, replaced: bool) -> Any:
        """Raises ValueError."""
        kind = bare(hint)
        if kind is str and document.is_textual(node):
            return node.value
        if replaced and not node.style:
            node = document.resolved(node.value)  # a number may come out of a variable
        value = document.scalar(node)
        return size(value) if is_size(hint) and isinstance(value, str) else value

    def _convert(self, value: Any, hint: Any, node: Node, field: str) -> Any:
        """The value as it was, once it is known to fit. Raises ValueError, or Unfit for a list."""
        try:
            if isinstance(value, float) and value - value != 0 and bare(hint) is not Any:
                raise ValueError("not finite")
            msgspec.convert(value, hint)
        except (msgspec.ValidationError, OverflowError) as error:
            if isinstance(node, document.Sequence):
                raise self.wrong(node, field, expected(hint)) from error
            raise ValueError(str(error)) from error
        return value


def _joined(field: str, key: str) -> str:
    return f"{field}.{key}" if field else key


def _is(hint: Any, *kinds: type) -> bool:
    kind = get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, kinds)
