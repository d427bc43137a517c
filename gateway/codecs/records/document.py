"""Values out of decoded documents: by path, or by a JMESPath expression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.codecs.records.columns import Field
from gateway.codecs.records.path import Path
from gateway.core.errors import InvalidArgument

Getter = Callable[[Any], Any]


def getter(field: Field, path: Path | None) -> Getter:
    """`path` None: the field is a JMESPath expression. What is not there is None. Raises InvalidArgument."""
    return _expression(field.name) if path is None else _by_path(path)


def _by_path(path: Path) -> Getter:
    def get(document: Any) -> Any:
        for step in path:
            if isinstance(step, str):
                if not isinstance(document, dict):
                    return None
                document = document.get(step)
            elif isinstance(document, list) and step < len(document):
                document = document[step]
            else:
                return None
        return document

    return get


def _expression(text: str) -> Getter:
    try:
        import jmespath
    except ImportError:
        raise InvalidArgument(
            f"expression '{text}' is JMESPath, which needs the package jmespath: pip install 'sluice[streams]'"
        ) from None
    try:
        search: Getter = jmespath.compile(text).search
    except jmespath.exceptions.JMESPathError as error:
        raise InvalidArgument(f"expression '{text}' is not JMESPath: {_said(error)}") from None
    return search


def _said(error: Exception) -> str:
    """Without the picture of the expression, which takes several lines."""
    return str(error).partition("\n")[0].removeprefix("Invalid jmespath expression: ").rstrip(":").strip()
