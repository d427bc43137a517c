"""A JSON Schema in front of a decoder: a record that does not meet it is at fault, and is told where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from gateway.codecs.records.columns import Columns, Decoder
from gateway.core.errors import InvalidArgument


class SchemaDecoder:
    """`schema` is a JSON Schema as JSON; without ``$schema``, of draft 2020-12. References to other files are refused.

    Every record is read once more for it, value by value: this costs many times what the columns cost.
    """

    def __init__(self, inner: Decoder, schema: bytes, name: str) -> None:
        """`name` is for messages. Raises InvalidArgument for what is no schema."""
        self._inner: Final = inner
        self._validator: Final = _validator(schema, name)

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        columns = self._inner.decode(values)
        for row, value in enumerate(values):
            if value is None or row in columns.errors:
                continue
            try:
                document = orjson.loads(value)
            except orjson.JSONDecodeError:
                # NaN, which the decoder takes as a missing number, is no JSON
                columns.blame(row, "it is no JSON: a schema needs values that JSON has")
                continue
            reason = self._reason(document)
            if reason:
                columns.blame(row, reason)
        return columns

    def _reason(self, document: Any) -> str:
        try:
            error = next(self._validator.iter_errors(document), None)
        except RecursionError:
            return "the record does not end within the schema, which refers to itself"
        if error is None:
            return ""
        where = ".".join(str(step) for step in error.absolute_path)
        what = f"field '{where}'" if where else "the record"
        return f"{what} does not meet the schema: {error.message[:200]}"


def _validator(schema: bytes, name: str) -> Any:
    try:
        from jsonschema import exceptions, validators
        from referencing import Registry
    except ImportError:
        raise InvalidArgument(
            f"schema '{name}' needs the package jsonschema, which is not installed: pip install 'sluice[streams]'"
        ) from None
    try:
        document = orjson.loads(schema)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"schema '{name}' is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"schema '{name}' is no JSON Schema: expected an object")
    kind = validators.validator_for(document, default=validators.validator_for({}))
    try:
        kind.check_schema(document)
    except exceptions.SchemaError as error:
        raise InvalidArgument(f"schema '{name}' is no JSON Schema: {error.message[:200]}") from error
    _check_references(document, name)
    # an empty registry: nothing is fetched from the network
    return kind(document, registry=Registry())


def _check_references(document: dict[str, Any], name: str) -> None:
    """Before the first record, which would find them broken."""
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = Resource.from_contents(document, default_specification=DRAFT202012)
    own = resource.id() or ""
    resolver = Registry().with_resource(own, resource).crawl().resolver(own)
    for reference in _references(document):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise InvalidArgument(f"schema '{name}' refers to '{reference}', which is not in the same file") from error


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
