"""What a pipeline says of a topic."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Chance = Annotated[float, Meta(ge=0, le=1)]


class Faults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Failures on purpose: the share of calls that fail so."""

    seed: Annotated[int, Meta(description="The same seed, the same failures.")] = 0
    connect: Annotated[Chance, Meta(description="It is not there.")] = 0.0
    read: Annotated[Chance, Meta(description="The connection breaks.")] = 0.0
    acknowledge: Annotated[Chance, Meta(description="The connection breaks.")] = 0.0
    fence: Annotated[Chance, Meta(description="The lane goes to another owner, and comes back.")] = 0.0
    write: Annotated[Chance, Meta(description="The connection breaks, nothing is written.")] = 0.0
    unknown: Annotated[Chance, Meta(description="The answer is lost: every other time it was written.")] = 0.0
    refuse: Annotated[str, Meta(description="Records whose value has this text in it are refused.")] = ""
    anonymous: Annotated[bool, Meta(description="Such a refusal does not say which record it was.")] = False
    delay: Annotated[float, Meta(ge=0, description="Seconds that each write takes.")] = 0.0


class MemorySource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reads a topic."""

    topic: Annotated[str, Meta(min_length=1, description="Its name.")]
    ends: Annotated[bool, Meta(description="The input ends with the last record that is there.")] = False
    faults: Faults = Faults()


class MemorySink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Writes to a topic."""

    topic: Annotated[str, Meta(min_length=1, description="Its name.")]
    ability: Annotated[
        Literal["plain", "idempotent", "stores_offsets", "transactional"],
        Meta(description="What it does about records that come again."),
    ] = "plain"
    dead_letters: Annotated[bool, Meta(description="It keeps dead letters, too, in the same write.")] = False
    capacity: Annotated[int, Meta(ge=0, description="Records; then it is full. 0: no limit.")] = 0
    faults: Faults = Faults()
