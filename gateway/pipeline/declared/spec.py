"""A stream as it was configured, before anything of it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.codecs.records.mapping import Entry
from gateway.core.stream import Adapter, Delivery, Door
from gateway.pipeline.declared.problem import Place, Problem
from gateway.pipeline.policy import Policy


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who scores."""

    name: Annotated[str, Meta(min_length=1, description="A model of the models folder.")]
    version: Annotated[
        str, Meta(description="A version or a label. Empty: as for REST, by the split, then `stable`, then the newest.")
    ] = ""


@dataclass(frozen=True, slots=True)
class Connector:
    """An adapter, which of its doors, and the settings for it."""

    adapter: Adapter
    door: Door
    settings: Any


@dataclass(frozen=True, slots=True)
class Places:
    """Where the fields are in the file.

    hidden   what came out of the environment, and what was written in its place: no message shows it
    """

    file: str
    lines: Mapping[str, int] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)

    def problem(self, path: str, message: str) -> Problem:
        """At the field, or at the nearest one that it lies in and that is there."""
        at = path
        while at and at not in self.lines:
            at = at[: max(at.rfind("."), at.rfind("["), 0)]
        for value, written in self.hidden.items():
            message = message.replace(value, written)
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
    policy: Policy = field(default_factory=Policy)
    guarantee: Delivery | None = None
    order: Literal["", "per key"] = ""

    def same(self, other: Stream) -> bool:
        """But for where it is written."""
        return replace(self, places=other.places) == other
