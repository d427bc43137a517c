from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.stream import Ability, Delivery, Sink, Source, guarantee

KAFKA = Source("topic 'in'", domain="kafka:a", stable_ids=True, positions=True, ordered=True)
TABLE = Source("table 'rows'", domain="postgresql:a", stable_ids=True)
QUEUE = Source("queue 'in'")
FILES = Source("folder 'in'", stable_ids=True, positions=True, ordered=True)
SOCKET = Source("socket", redelivers=False)


def sink(*abilities: Ability, domain: str = "", durable: bool = True) -> Sink:
    return Sink("out", frozenset(abilities or {Ability.PLAIN}), domain, durable)


@pytest.mark.parametrize(
    ("source", "output", "delivery", "why"),
    [
        (KAFKA, sink(Ability.TRANSACTIONAL, domain="kafka:a"), "exactly once", "one transaction of kafka:a"),
        (KAFKA, sink(Ability.TRANSACTIONAL, domain="kafka:b"), "at least once", "outside of them"),
        (KAFKA, sink(Ability.STORES_OFFSETS, domain="postgresql:a"), "exactly once", "under an epoch"),
        (KAFKA, sink(Ability.IDEMPOTENT), "exactly once", "replaces its own row"),
        (KAFKA, sink(), "at least once", "written again"),
        (TABLE, sink(Ability.TRANSACTIONAL, domain="postgresql:a"), "exactly once", "position in table 'rows'"),
        (TABLE, sink(Ability.STORES_OFFSETS), "at least once", "none that could be gone back to"),
        (QUEUE, sink(Ability.IDEMPOTENT), "at least once", "another id"),
        (QUEUE, sink(Ability.TRANSACTIONAL, domain=""), "at least once", "outside of them"),
        (FILES, sink(Ability.STORES_OFFSETS), "exactly once", "folder 'in'"),
        (SOCKET, sink(Ability.IDEMPOTENT), "at most once", "does not deliver again"),
        (KAFKA, sink(Ability.IDEMPOTENT, durable=False), "at most once", "does not confirm"),
    ],
)
def test_the_guarantee_follows_from_input_and_output(source: Source, output: Sink, delivery: str, why: str) -> None:
    found = guarantee(source, output)
    assert found.delivery is Delivery(delivery)
    assert why in found.why
    assert str(found).startswith(f"{delivery}: ")


def test_weaker_dead_letters_weaken_the_whole() -> None:
    exact = sink(Ability.TRANSACTIONAL, domain="kafka:a")
    plain = Sink("folder 'dead'")
    found = guarantee(KAFKA, exact, plain)
    assert found.delivery is Delivery.AT_LEAST_ONCE
    assert "its results are exactly once" in found.why
    assert "its dead letters are at least once: folder 'dead' appends" in found.why
    assert guarantee(KAFKA, exact, sink(Ability.IDEMPOTENT)).delivery is Delivery.EXACTLY_ONCE


def test_what_is_lost_with_its_position_is_read_again() -> None:
    forgets = sink(Ability.TRANSACTIONAL, domain="kafka:a", durable=False)
    assert guarantee(KAFKA, forgets).delivery is Delivery.EXACTLY_ONCE
    assert guarantee(KAFKA, sink(Ability.TRANSACTIONAL, durable=False)).delivery is Delivery.AT_MOST_ONCE


def test_dead_letters_elsewhere_are_no_part_of_a_transaction() -> None:
    exact = sink(Ability.TRANSACTIONAL, domain="kafka:a")
    assert guarantee(KAFKA, exact, exact).delivery is Delivery.AT_LEAST_ONCE
    assert guarantee(KAFKA, exact, sink(Ability.STORES_OFFSETS)).delivery is Delivery.AT_LEAST_ONCE
    assert guarantee(KAFKA, exact, None).delivery is Delivery.EXACTLY_ONCE


abilities = st.frozensets(st.sampled_from(Ability))
flags = st.booleans()
domains = st.sampled_from(["", "a", "b"])


@given(abilities, domains, flags, domains, flags, flags, flags)
def test_exactly_once_is_never_claimed_without_its_ground(
    able: frozenset[Ability], at: str, durable: bool, domain: str, redelivers: bool, stable: bool, positions: bool
) -> None:
    source = Source("a", domain, redelivers, stable, positions)
    found = guarantee(source, Sink("b", able, at, durable))
    one = Ability.TRANSACTIONAL in able and bool(domain) and at == domain
    ground = one or (Ability.STORES_OFFSETS in able and positions) or (Ability.IDEMPOTENT in able and stable)
    assert (found.delivery is Delivery.EXACTLY_ONCE) == (redelivers and (durable or one) and ground)
    assert (found.delivery is Delivery.AT_MOST_ONCE) == (not (redelivers and (durable or one)))
