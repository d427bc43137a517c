"""A stream's file as a tree that knows its lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.pipeline.declared.problem import Place, Problem, StreamError
from gateway.settings.document import Loader

Node = yaml.Node
Mapping = yaml.MappingNode
Sequence = yaml.SequenceNode
Scalar = yaml.ScalarNode

#: texts that a plain scalar of another type may as well be: a version, a password of digits, a date
_TEXTUAL: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp", "str"))


def parse(text: str, file: str) -> Node | None:
    """None for a file without content. Raises StreamError."""
    try:
        return yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(f"{error.context or ''} {error.problem or ''}".split()) or "it cannot be read"
        line = mark.line + 1 if mark else 0
        if line and "${" in text.split("\n")[line - 1]:
            reason += "; a ${NAME} within { } needs quotes"
        raise StreamError([Problem(Place(file, line), "", f"not YAML: {reason}")]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise StreamError([Problem(Place(file, 0), "", f"not YAML: {' '.join(str(error).split())}")]) from error
    except RecursionError as error:
        raise StreamError([Problem(Place(file, 0), "", "it is nested too deeply")]) from error


def read_text(file: Path) -> str:
    """Raises StreamError."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StreamError([Problem(Place(str(file), 0), "", f"cannot be read: {reason}")]) from error


def line_of(node: Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 0


def entries(node: Mapping) -> Iterator[tuple[Node, Node]]:
    """Keys and values, what was merged in by ``<<`` first."""
    Loader("").flatten_mapping(node)
    yield from node.value


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.tag == "tag:yaml.org,2002:null"


def is_textual(node: Scalar) -> bool:
    return node.tag in _TEXTUAL


def scalar(node: Scalar) -> Any:
    """Its value as YAML has it. Raises ValueError where its tag does not fit."""
    try:
        return Loader("").construct_object(node)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def resolved(text: str) -> Scalar:
    """A plain scalar of that text, with the tag that YAML would give it."""
    tag = Loader("").resolve(Scalar, text, (True, False))  # type: ignore[no-untyped-call]
    return Scalar(tag, text)


def shown(node: Node) -> str:
    """What was found, for an error: as it is written, so that a variable's value is never part of it."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if is_null(node):
        return "nothing"
    text = repr(node.value) if getattr(node, "style", None) or node.tag == "tag:yaml.org,2002:str" else str(node.value)
    return text if len(text) <= 60 else text[:57] + "…"
