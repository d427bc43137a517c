"""Records go where Java's producer sends them."""

from aiokafka.partitioner import murmur2 as of_aiokafka
from hypothesis import given
from hypothesis import strategies as st
from servers.kafka import Topics

from adapters.kafka.partitioner import Partitioner, murmur2


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_murmur2_is_that_of_kafka(keys: list[bytes]) -> None:
    assert murmur2(keys).tolist() == [of_aiokafka(key) for key in keys]


@given(st.lists(st.none() | st.binary(max_size=6), min_size=1, max_size=50), st.integers(1, 9))
def test_every_record_goes_to_one_partition_in_order(keys: list[bytes | None], partitions: int) -> None:
    split = Partitioner().split(keys, len(keys), partitions)
    assert sorted(at for rows in split.values() for at in rows) == list(range(len(keys)))
    for number, rows in split.items():
        assert 0 <= number < partitions
        assert list(rows) == sorted(rows)
        for at in rows:
            key = keys[at]
            assert key is None or (of_aiokafka(key) & 0x7FFFFFFF) % partitions == number


def test_keyless_records_go_to_one_partition_a_call_and_to_all_in_turn() -> None:
    partitioner = Partitioner()
    assert [len(partitioner.split((), 10, 3)) for _ in range(3)] == [1, 1, 1]
    assert {next(iter(partitioner.split((), 10, 3))) for _ in range(3)} == {0, 1, 2}


def test_librdkafka_agrees(kafka: Topics) -> None:
    topic = kafka.create(5)
    keys: list[bytes | None] = [b"key-%d" % n for n in range(200)]
    kafka.write(topic, [b"x"] * 200, keys)
    there = {m.key(): m.partition() for m in kafka.messages(topic)}
    for number, rows in Partitioner().split(keys, 200, 5).items():
        assert {there[keys[at]] for at in rows} == {number}
    kafka.delete(topic)
