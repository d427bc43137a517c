"""How a pipeline flows, and what it does when something fails. Frozen; times are seconds, sizes bytes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

MIB = 1024 * 1024


class Batching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is scored together, and how much may be in flight: read and not yet acknowledged."""

    rows: Annotated[int, Meta(ge=1, description="The most records that are read, scored and written together.")] = 1000
    linger: Annotated[
        float,
        Meta(ge=0, description="How long a batch that is not full waits for more records; 0: not at all."),
    ] = 0.0
    rows_in_flight: Annotated[int, Meta(ge=1, description="Records in flight; then reading pauses.")] = 10_000
    bytes_in_flight: Annotated[
        int,
        Meta(ge=1, description="Bytes of their values in flight; then reading pauses.", extra={"unit": "bytes"}),
    ] = 64 * MIB
    ahead: Annotated[
        int,
        Meta(ge=0, description="Batches of a lane that are scored while an earlier one is written; 0: none."),
    ] = 1


class Backoff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait after a failure: twice as long each time, with a random part of up to a half."""

    initial: Annotated[float, Meta(gt=0, description="After the first failure.")] = 0.1
    longest: Annotated[float, Meta(gt=0, description="After many.")] = 30.0


class Breaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pauses the pipeline when too many records become dead letters."""

    share: Annotated[
        float, Meta(ge=0, le=1, description="Pause when more than this share of `window` is dead letters; 1: never.")
    ] = 0.5
    window: Annotated[int, Meta(ge=1, description="Records that are looked back at.")] = 1000
    retry: Annotated[
        float,
        Meta(ge=0, description="After so long, one batch is tried; 0: somebody has to resume the pipeline."),
    ] = 0.0


class Errors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when something fails for now, and when records fail for good."""

    backoff: Backoff = Backoff()
    breaker: Breaker = Breaker()
    attempts: Annotated[
        int,
        Meta(
            ge=0, description="Tries of a batch at a model or an output that is not there, then dead letters; 0: ever."
        ),
    ] = 0
    stalled: Annotated[
        float,
        Meta(
            ge=0,
            description="Reconnect after so long without progress though there is work; also how long a connection may"
            " take; 0: for ever.",
        ),
    ] = 60.0
    settle: Annotated[
        float,
        Meta(ge=0, description="When something failed, how long the writes that are under way may take to end."),
    ] = 10.0


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it. `lanes`: see docs/streams.md, "Order"."""

    batching: Batching = Batching()
    errors: Errors = Errors()
    lanes: Annotated[
        int,
        Meta(ge=1, le=256, description="Writes of one input lane at the same time, records shared out by their key."),
    ] = 1
    drain: Annotated[float, Meta(ge=0, description="At a stop, how long what is in flight may take to end.")] = 30.0
    lag_interval: Annotated[float, Meta(gt=0, description="How often an input is asked for its lag.")] = 5.0
