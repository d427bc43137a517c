"""A stream as it was configured, before anything of it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.codecs.records.mapping import Entry
from gateway.core.stream import Adapter, Delivery, Door
from gateway.pipeline.problem import Place, Problem

KIB = 1024
MIB = 1024 * KIB


def _size(description: str) -> Meta:
    return Meta(ge=1, description=description, extra={"unit": "bytes"})


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who scores."""

    name: Annotated[str, Meta(min_length=1, description="A model of the models folder.")]
    version: Annotated[
        str, Meta(description="A version or a label. Empty: as for REST, by the split, then `stable`, then the newest.")
    ] = ""


class Errors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of records that fail, and of systems that do not answer."""

    attempts: Annotated[
        int, Meta(ge=1, description="Tries of a record that the model failed on; then it is a dead letter.")
    ] = 1
    backoff: Annotated[float, Meta(gt=0, description="Seconds before the second try of what may work later.")] = 0.1
    backoff_limit: Annotated[float, Meta(gt=0, description="Seconds that the pause doubles up to.")] = 30.0
    breaker_rate: Annotated[
        float, Meta(gt=0, le=1, description="Share of dead letters at which the stream pauses itself; 1: never.")
    ] = 0.5
    breaker_records: Annotated[int, Meta(ge=1, description="Newest records that the share is taken of.")] = 1000


class Batching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many records are scored together, and how many may be on their way."""

    rows: Annotated[int, Meta(ge=1, description="The most records in one run of the model.")] = 1000
    linger: Annotated[
        float, Meta(ge=0, description="Seconds that a batch waits for more records; 0: scored as it was read.")
    ] = 0.0
    in_flight_rows: Annotated[int, Meta(ge=1, description="Records read and not acknowledged.")] = 10_000
    in_flight_bytes: Annotated[int, _size("Their bytes.")] = 64 * MIB


@dataclass(frozen=True, slots=True)
class Connector:
    """An adapter, which of its doors, and the settings for it."""

    adapter: Adapter
    door: Door
    settings: Any


@dataclass(frozen=True, slots=True)
class Places:
    """Where the fields are in the file."""

    file: str
    lines: Mapping[str, int] = field(default_factory=dict)

    def problem(self, path: str, message: str) -> Problem:
        """At the field, or at the nearest one that it lies in and that is there."""
        at = path
        while at and at not in self.lines:
            at = at[: max(at.rfind("."), at.rfind("["), 0)]
        return Problem(Place(self.file, self.lines.get(at, 1)), path, message)


@dataclass(frozen=True, slots=True)
class Stream:
    """`decode` and `encode` are Structs of `formats`; `types` are by input the types that its fields were said to be.

    guarantee  what is demanded, None for whatever there is; `order` alike
    """

    name: str
    places: Places
    input: Connector
    output: Connector
    dead_letters: Connector | None
    decode: Any
    entries: tuple[Entry, ...]
    types: Mapping[tuple[str, int], str]
    model: Model
    encode: Any
    errors: Errors = field(default_factory=Errors)
    batching: Batching = field(default_factory=Batching)
    lanes: int = 4
    guarantee: Delivery | None = None
    order: Literal["", "per key"] = ""
