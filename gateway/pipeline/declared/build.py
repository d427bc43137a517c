"""Connectors, scorer and runner of a stream, from its configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.codecs.records.mapping import Mapping
from gateway.core.errors import SluiceError
from gateway.core.signature import Signature
from gateway.core.stream import Context, Delivery, Guarantee, Input, Output, guarantee
from gateway.dataplane import Dataplane
from gateway.pipeline.declared import connectors
from gateway.pipeline.declared.checking import target
from gateway.pipeline.declared.formats import whole_requests
from gateway.pipeline.declared.problem import Problem, StreamError
from gateway.pipeline.declared.spec import Connector, Stream
from gateway.pipeline.delivery import is_bound
from gateway.pipeline.runner import Runner
from gateway.pipeline.scoring.scorer import Scorer

_RANK = {delivery: rank for rank, delivery in enumerate(Delivery)}


class Parts(NamedTuple):
    """The connectors of a stream, built and not connected. `dead` None: the output keeps the dead letters."""

    input: Input
    output: Output
    dead: Output | None

    @property
    def guarantee(self) -> Guarantee:
        return guarantee(self.input.source, self.output.sink, self.dead.sink if self.dead else None)

    @property
    def order(self) -> str:
        """In words, what holds of the order of records."""
        source = self.input.source
        if source.ordered:
            return f"records of a key stay in the order that {source.name} has"
        return f"none: {source.name} gives records in no order that holds per key"


def folder_of(stream: Stream, state: Path) -> Path:
    """Where a stream keeps what is its own."""
    return state / "streams" / stream.name


def parts(stream: Stream, state: Path) -> Parts:
    """Raises StreamError where the connectors cannot be, or do not go together."""
    context = Context(stream.name, None, str(folder_of(stream, state)))
    output = _opened(stream, "output", stream.output, context)
    given: Input = _opened(stream, "input", stream.input, context)
    if is_bound(given.source, output.sink) and hasattr(output, "take_over"):
        given = _opened(stream, "input", stream.input, replace(context, positions=output))
    dead: Output | None = None
    if stream.dead_letters is not None or not output.sink.dead_letters:
        dead = _opened(stream, "dead_letters", dead_letters(stream, state), context)
    return Parts(given, output, dead)


def input_of(stream: Stream, state: Path) -> Input:
    """The input alone, which stores its position itself where it has one. Raises StreamError."""
    found: Input = _opened(stream, "input", stream.input, Context(stream.name, None, str(folder_of(stream, state))))
    return found


def dead_letters(stream: Stream, state: Path) -> Connector:
    """Where they go: what the stream says, else files below its own folder."""
    if stream.dead_letters is not None:
        return stream.dead_letters
    return files(folder_of(stream, state) / "dead")


def files(folder: Path) -> Connector:
    """An output to files of a folder."""
    adapter = connectors.adapter("files")
    if adapter.output is None:
        raise AssertionError("files have an output")
    return Connector(adapter, adapter.output, msgspec.convert({"path": str(folder)}, adapter.output.settings))


def demands(stream: Stream, found: Parts) -> list[Problem]:
    """Where less holds than is demanded."""
    problems = []
    computed = found.guarantee
    if stream.guarantee is not None and _RANK[computed.delivery] < _RANK[stream.guarantee]:
        message = f"'{stream.guarantee.value}' is demanded, what holds is {computed}"
        problems.append(stream.places.problem("guarantee", message))
    if stream.order and not found.input.source.ordered:
        problems.append(stream.places.problem("order", f"'{stream.order}' is demanded, what holds is {found.order}"))
    return problems


def scorer(stream: Stream, dataplane: Dataplane, signature: Signature) -> Scorer:
    """For a version that takes and gives this. Raises InvalidArgument."""
    wanted = target(stream, signature)
    return Scorer(
        dataplane,
        stream.model.name,
        stream.model.version,
        stream.decode.open(wanted),
        None if whole_requests(stream.decode) else Mapping(stream.entries),
        stream.encode.open(wanted),
        signature=signature,
    )


def runner(stream: Stream, found: Parts, dataplane: Dataplane, signature: Signature) -> Runner:
    """Raises InvalidArgument where the parts do not go together."""
    made = scorer(stream, dataplane, signature)
    return Runner(stream.name, found.input, found.output, found.dead, made, stream.policy)


def _opened(stream: Stream, field: str, connector: Connector, context: Context) -> Any:
    try:
        return connector.door.open(connector.settings, context)
    except SluiceError as error:
        path = f"{field}.{connector.adapter.name}"
        raise StreamError([stream.places.problem(path, error.message)]) from error
