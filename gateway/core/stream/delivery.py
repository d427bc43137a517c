"""What a pipeline promises for each record, computed from what its two ends can do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from gateway.core.stream.input import Source
from gateway.core.stream.output import Ability, Sink


class Delivery(Enum):
    AT_MOST_ONCE = "at most once"
    AT_LEAST_ONCE = "at least once"
    EXACTLY_ONCE = "exactly once"


@dataclass(frozen=True, slots=True)
class Guarantee:
    delivery: Delivery
    #: one sentence for the operator
    why: str

    def __str__(self) -> str:
        return f"{self.delivery.value}: {self.why}"


def guarantee(source: Source, sink: Sink, dead_letters: Sink | None = None) -> Guarantee:
    """What holds for each record of a pipeline, results and dead letters together.

    `dead_letters` is where they go, None where the output keeps them in its own transaction. Elsewhere they are written
    before the results, and outside of their transaction: once only where a repeat replaces itself.
    """
    result = _delivery(source, sink)
    if dead_letters is None:
        return result
    by_id = dead_letters.abilities & {Ability.IDEMPOTENT, Ability.PLAIN}
    dead = _delivery(source, replace(dead_letters, abilities=by_id, domain=""))
    if _RANK[dead.delivery] >= _RANK[result.delivery]:
        return result
    return Guarantee(dead.delivery, f"its results are {result}; but its dead letters are {dead}")


_RANK = {delivery: rank for rank, delivery in enumerate(Delivery)}


def _delivery(source: Source, sink: Sink) -> Guarantee:
    a, b = source.name, sink.name
    if not source.redelivers:
        return Guarantee(Delivery.AT_MOST_ONCE, f"{a} does not deliver again what was read when the process died")
    able = sink.abilities
    if Ability.TRANSACTIONAL in able and source.domain and source.domain == sink.domain:
        # durable or not: whoever loses the one loses the other
        return Guarantee(
            Delivery.EXACTLY_ONCE,
            f"{b} commits the results and the position in {a} in one transaction of {sink.domain}",
        )
    if not sink.durable:
        return Guarantee(Delivery.AT_MOST_ONCE, f"{b} does not confirm what it was given, and may lose it")
    if Ability.STORES_OFFSETS in able and source.positions:
        return Guarantee(
            Delivery.EXACTLY_ONCE, f"{b} stores the position in {a} in the transaction of the results, under an epoch"
        )
    if Ability.IDEMPOTENT in able and source.stable_ids:
        return Guarantee(
            Delivery.EXACTLY_ONCE,
            f"{b} writes by record id, so that a record that {a} gives again replaces its own row",
        )
    return Guarantee(Delivery.AT_LEAST_ONCE, _why_repeats(source, sink))


def _why_repeats(source: Source, sink: Sink) -> str:
    a, b = source.name, sink.name
    if Ability.IDEMPOTENT in sink.abilities:
        return f"{b} writes by record id, but {a} gives a record another id when it delivers it again"
    if Ability.STORES_OFFSETS in sink.abilities:
        return f"{b} could store a position, but {a} has none that could be gone back to"
    if Ability.TRANSACTIONAL in sink.abilities:
        return f"{b} has transactions, but {a} is outside of them"
    return f"{b} appends, so that what {a} delivers again after a crash is written again"
