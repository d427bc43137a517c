from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Internal, InvalidArgument, NotFound, SluiceError, TooLarge, Unavailable
from gateway.core.stream import (
    Ability,
    Batch,
    DataError,
    Delivery,
    Fenced,
    Message,
    OutcomeUnknown,
    Sink,
    Source,
    Transient,
    at_fault,
    guarantee,
)
from gateway.core.table import Table

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


abilities = st.frozensets(st.sampled_from(Ability))
flags = st.booleans()
domains = st.sampled_from(["", "a", "b"])


@given(abilities, domains, flags, domains, flags, flags, flags)
def test_exactly_once_is_never_claimed_without_its_ground(
    able: frozenset[Ability], at: str, durable: bool, domain: str, redelivers: bool, stable: bool, positions: bool
) -> None:
    source = Source("a", domain, redelivers, stable, positions)
    found = guarantee(source, Sink("b", able, at, durable))
    ground = (
        (Ability.TRANSACTIONAL in able and bool(domain) and at == domain)
        or (Ability.STORES_OFFSETS in able and positions)
        or (Ability.IDEMPOTENT in able and stable)
    )
    assert (found.delivery is Delivery.EXACTLY_ONCE) == (redelivers and durable and ground)
    assert (found.delivery is Delivery.AT_MOST_ONCE) == (not (redelivers and durable))


@pytest.mark.parametrize("error", [InvalidArgument(""), DataError(""), TooLarge(""), Internal("")])
def test_what_a_record_can_be_blamed_for(error: SluiceError) -> None:
    assert at_fault(error)


@pytest.mark.parametrize("error", [Transient(""), Fenced(""), OutcomeUnknown(""), NotFound(""), Unavailable("")])
def test_what_it_cannot(error: SluiceError) -> None:
    assert not at_fault(error)


def test_a_batch_is_columns_of_messages() -> None:
    messages = [Message("1", b"a", b"k", (("h", b"v"),), 5), Message("2", None), Message("3", b"ccc")]
    batch = Batch.of(messages)
    assert len(batch) == 3
    assert batch.nbytes == 6
    assert [batch[i] for i in range(3)] == messages
    assert [batch.take([2, 0])[i] for i in range(2)] == [messages[2], messages[0]]
    assert [batch.part(1, 3)[i] for i in range(2)] == messages[1:]


def test_columns_that_no_record_has_are_left_out() -> None:
    batch = Batch.of([Message("1", b"a"), Message("2", b"b")])
    assert (batch.keys, batch.headers, batch.timestamps) == ((), (), ())
    assert batch.part(1, 2)[0] == batch.take([1])[0] == Message("2", b"b")


def test_faults_stay_with_their_records() -> None:
    batch = Batch(["1", "2", "3"], [b"a", b"b", b"c"], faults={1: "no end"})
    assert batch.take([2, 1]).faults == {1: "no end"}
    assert batch.part(1, 3).faults == {0: "no end"}
    assert batch.part(2, 3).faults == batch.take([0]).faults == {}


def test_batches_are_joined_with_what_some_of_them_have() -> None:
    first = Batch.of([Message("1", b"a"), Message("2", None)])
    second = Batch(["3"], [b"c"], [b"k"], [(("h", b"v"),)], [7], faults={0: "cut off"})
    joined = Batch.joined([first, second])
    assert [joined[i] for i in range(3)] == [first[0], first[1], second[0]]
    assert joined.faults == {2: "cut off"}
    assert Batch.joined([first]) is first


def test_tables_are_joined_as_tables() -> None:
    parts = [Table(("a", "b"), [[n], [str(n)]]) for n in range(3)]
    joined = Batch.joined([Batch([str(n)], part) for n, part in enumerate(parts)])
    assert isinstance(joined.values, Table)
    assert joined.values.columns == [[0, 1, 2], ["0", "1", "2"]]
    mixed = Batch.joined([Batch(["0"], parts[0]), Batch(["1"], [b"x"])])
    assert list(mixed.values) == [b'{"a":0,"b":"0"}', b"x"]


def test_dead_letters_elsewhere_are_no_part_of_a_transaction() -> None:
    exact = sink(Ability.TRANSACTIONAL, domain="kafka:a")
    assert guarantee(KAFKA, exact, exact).delivery is Delivery.AT_LEAST_ONCE
    assert guarantee(KAFKA, exact, sink(Ability.STORES_OFFSETS)).delivery is Delivery.AT_LEAST_ONCE
    assert guarantee(KAFKA, exact, None).delivery is Delivery.EXACTLY_ONCE
