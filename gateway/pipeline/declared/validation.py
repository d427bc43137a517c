"""Everything that can be known of streams before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from gateway.codecs.records.columns import MODEL, VERSION
from gateway.control.desired import merge
from gateway.core.errors import InvalidArgument, SluiceError
from gateway.core.signature import Signature
from gateway.pipeline.declared import build
from gateway.pipeline.declared.build import Parts
from gateway.pipeline.declared.checking import carried, check
from gateway.pipeline.declared.formats import sources
from gateway.pipeline.declared.problem import Problem, StreamError
from gateway.pipeline.declared.signatures import Signatures
from gateway.pipeline.declared.spec import Stream
from gateway.pipeline.runner import Runner
from gateway.settings import Settings, granted
from gateway.store.contract import State


@dataclass(frozen=True, slots=True)
class Validated:
    """A stream that can run: against these versions of its model, with these parts.

    written   what is written and where it comes from, in words
    """

    stream: Stream
    versions: tuple[str, ...]
    parts: Parts
    written: tuple[str, ...]


def signatures(settings: Settings, state: State) -> Signatures:
    """Of the models folder, with the labels and splits that are in force."""
    desired = merge(settings, state)
    pinned = {model: desired.pinned(model) for model in desired.splits}
    threads = granted() if settings.threads == "auto" else settings.threads
    return Signatures(Path(settings.models), desired.labels, pinned, threads)


class Known(Protocol):
    """`Signatures`, or those of a gateway that runs."""

    def of(self, model: str, version: str) -> dict[str, Signature]:
        """By number, every version that may answer. Raises SluiceError."""
        ...


def validate(streams: Iterable[Stream], known: Known, state: Path) -> list[Validated]:
    """Raises StreamError with the problems of all of them. Connects to nothing, and changes nothing."""
    good: list[Validated] = []
    problems: list[Problem] = []
    for stream in streams:
        found = _model(stream, known)
        try:
            parts = build.parts(stream, state)
        except StreamError as error:
            found.problems += error.problems
        else:
            found.problems += [*build.demands(stream, parts), *_together(stream, parts)]
            if not found.problems:
                good.append(Validated(stream, found.versions, parts, found.written))
        problems += dict.fromkeys(found.problems)
    if problems:
        raise StreamError(problems)
    return good


@dataclass(slots=True)
class _Found:
    versions: tuple[str, ...]
    problems: list[Problem]
    written: tuple[str, ...] = ()


def _model(stream: Stream, known: Known) -> _Found:
    try:
        versions = known.of(stream.model.name, stream.model.version)
    except SluiceError as error:
        field = "model.version" if "model.version" in stream.places.lines else "model"
        return _Found((), [stream.places.problem(field, error.message)])
    problems = [problem for each in versions.values() for problem in _check(stream, each)]
    return _Found(tuple(versions), problems, _written(stream, next(iter(versions.values()))))


def _written(stream: Stream, signature: Signature) -> tuple[str, ...]:
    """A field of the record and an output of the model look alike: whoever mistypes one sees it here."""
    records = set(carried(stream, signature))
    return tuple(
        f"{name} ({'the record' if source in records else 'the model'}'s {source}"
        f"{_mistaken(source, signature) if source in records else ''})"
        for name, source in sources(stream.encode).items()
    )


def _mistaken(source: str, signature: Signature) -> str:
    """Asks, where a field of the record looks like an output of the model."""
    close = get_close_matches(source.partition("[")[0], [*signature.outputs, MODEL, VERSION], 1, 0.75)
    return f"; or is the model's {close[0]} meant?" if close else ""


def _check(stream: Stream, signature: Signature) -> list[Problem]:
    try:
        return check(stream, signature)
    except SluiceError as error:
        return [stream.places.problem("", error.message)]


class _Nobody:
    """In the place of a scorer, for what a runner knows of its parts."""

    answers = ""

    async def score(self, batch: object) -> None:
        raise AssertionError("nothing is scored")


def _together(stream: Stream, parts: Parts) -> list[Problem]:
    try:
        Runner(stream.name, parts.input, parts.output, parts.dead, _Nobody(), stream.policy)  # type: ignore[arg-type]
    except InvalidArgument as error:
        return [stream.places.problem("lanes" if "lanes" in stream.places.lines else "", error.message)]
    return []
