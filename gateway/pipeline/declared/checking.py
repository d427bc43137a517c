"""Whether a stream fits its model: the mapping, what is written, and the formats with their keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gateway.codecs.records.columns import MODEL, VERSION, Field
from gateway.codecs.records.jsonencoder import column_of
from gateway.codecs.records.mapping import Mapping, kind_of
from gateway.core.errors import SluiceError
from gateway.core.signature import Signature
from gateway.pipeline.declared.formats import Target, sources, whole_requests
from gateway.pipeline.declared.problem import Problem
from gateway.pipeline.declared.spec import Stream


def check(stream: Stream, signature: Signature) -> list[Problem]:
    """Everything that is wrong with it for a version that takes and gives this; nothing is opened."""
    found = [*_mapping(stream, signature)]
    if not found:
        found = [*_reading(stream, signature), *_writing(stream, signature)]
    return found


def target(stream: Stream, signature: Signature) -> Target:
    """What the formats are made for. Raises InvalidArgument where the mapping does not fit."""
    return Target(stream.model.name, signature, fields(stream, signature), folder_of(stream))


def fields(stream: Stream, signature: Signature) -> tuple[Field, ...]:
    """What is read of each record: what the model takes, and what of it is written again."""
    if whole_requests(stream.decode):
        return ()
    mapped = Mapping(stream.entries).fields(signature)
    names = {field.name for field in mapped}
    return (*mapped, *(Field(name) for name in carried(stream, signature) if name not in names))


def carried(stream: Stream, signature: Signature) -> list[str]:
    """Fields of the record that are written, beside what the model gives."""
    given = {*signature.outputs, MODEL, VERSION}
    names = [source for source in sources(stream.encode).values() if source not in given]
    return list(dict.fromkeys(name for name in names if column_of(name)[0] not in signature.outputs))


def folder_of(stream: Stream) -> Path:
    return Path(stream.places.file).parent


def _mapping(stream: Stream, signature: Signature) -> Iterator[Problem]:
    at = stream.places
    if whole_requests(stream.decode):
        if not whole_requests(stream.encode) or stream.decode.binary != stream.encode.binary:
            yield at.problem("encode.format", "expected the format of `decode`, because infer requests are decoded")
        return
    if whole_requests(stream.encode):
        yield at.problem("encode.format", "this format answers infer requests, which are not what is decoded")
        return
    for problem in Mapping(stream.entries).validate(signature, documents=stream.decode.documents):
        yield at.problem(_path(stream, problem.input, problem.pick), problem.message)
    for (name, pick), said in stream.types.items():
        spec = signature.inputs.get(name)
        kind = kind_of(spec.datatype) if spec is not None else None
        if kind is not None and spec is not None and kind.value != said:
            yield at.problem(
                _path(stream, name, pick),
                f"is said to be of type {said}, expected {kind.value} for {spec.datatype.name}",
            )


def _path(stream: Stream, name: str, pick: int) -> str:
    path = f"map.{name}[{pick}]" if pick >= 0 else f"map.{name}"
    return path if path in stream.places.lines or pick < 0 else f"map.{name}"


def _reading(stream: Stream, signature: Signature) -> Iterator[Problem]:
    """The decoder, first for each field by itself, so that the one at fault has its line."""
    wrong = False
    if not whole_requests(stream.decode):
        for entry in stream.entries:
            for number in range(len(entry.picks)):
                part = Mapping([entry]).fields(signature)
                name = entry.picks[number].field
                one = tuple(field for field in part if field.name == name)
                message = _refusal(stream, signature, one)
                if message and _refusal(stream, signature, ()) != message:
                    wrong = True
                    yield stream.places.problem(_path(stream, entry.input, number), message)
        for name in carried(stream, signature):
            message = _refusal(stream, signature, (Field(name),))
            if message and _refusal(stream, signature, ()) != message:
                wrong = True
                known = ", ".join(f"'{output}'" for output in signature.outputs)
                where = _written(stream, name)
                yield stream.places.problem(where, f"{message}; the model gives {known}")
    if not wrong:
        try:
            message = _refusal(stream, signature, fields(stream, signature))
        except SluiceError as error:
            message = error.message
        if message:
            yield stream.places.problem(_named(stream, message), message)


def _named(stream: Stream, message: str) -> str:
    """The field of the file that the message is about, else all of `decode`."""
    for field in ("schema", "copybook"):
        name = getattr(stream.decode, field, "")
        if name and name in message and f"decode.{field}" in stream.places.lines:
            return f"decode.{field}"
    return "decode"


def _refusal(stream: Stream, signature: Signature, wanted: tuple[Field, ...]) -> str:
    """Why there can be no decoder for these fields, "" where there can."""
    try:
        stream.decode.open(Target(stream.model.name, signature, wanted, folder_of(stream)))
    except SluiceError as error:
        return error.message
    return ""


def _writing(stream: Stream, signature: Signature) -> Iterator[Problem]:
    for source in dict.fromkeys(sources(stream.encode).values()):
        name, element = column_of(source)
        spec = signature.outputs.get(name)
        if spec is None or source in signature.outputs or element < 0:
            continue
        size = spec.shape[1] if len(spec.shape) > 1 else 1
        if len(spec.shape) < 2 or 0 <= size <= element:
            message = f"element {element} of output '{name}' is to be written, which has {size} a record"
            yield stream.places.problem(_written(stream, source), message)
    try:
        stream.encode.open(target(stream, signature))
    except SluiceError as error:
        yield stream.places.problem("encode", error.message)


def _written(stream: Stream, source: str) -> str:
    """Where in the file it says that this is written."""
    given = stream.encode.fields
    if isinstance(given, dict):
        return next(f"encode.fields.{name}" for name, found in given.items() if found == source)
    return f"encode.fields[{list(given).index(source)}]"
