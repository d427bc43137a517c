"""A system that streams read from and write to, as its module shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.core.stream.output import PositionStore


@dataclass(frozen=True, slots=True)
class Context:
    """What a connector is told of the pipeline that it is part of.

    pipeline   its name, by which consumer groups, transactional ids, leases and stored positions are called
    positions  the output, where it is a PositionStore and the guarantee rests on that; else None
    state      a folder of the pipeline's own, for journals; it may not be there yet
    """

    pipeline: str
    positions: PositionStore | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class Door:
    """One side of an adapter. `settings` is a frozen msgspec Struct with a description at each field.

    open  called with such settings and the context; does nothing but build, and raises InvalidArgument where fields
          do not go together
    """

    settings: type[Any]
    open: Callable[[Any, Context], Any]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A system's doors. A module holds one as `adapter`; entry points of the group `sluice.adapters` name the module.

    input    opens an Input
    output   opens an Output
    redrive  an Output too, of the input's settings: it puts messages back to where the input reads them
    letters  (settings of the output, context, kept) → an Input that gives dead letters back, each value as it was
             written, and ends with the last one; acknowledging takes them away. The context names the pipeline whose
             letters they are. `kept`: those that the output kept with its results; else what an output for dead letters
             alone was given. No output is open meanwhile
    """

    name: str
    summary: str
    input: Door | None = None
    output: Door | None = None
    redrive: Door | None = None
    letters: Callable[[Any, Context, bool], Any] | None = None
