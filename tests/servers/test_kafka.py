"""The broker of the tests: it survives what tests do to it."""

import signal

import pytest
from servers.kafka import Kafka, Topics


def test_topics_are_apart(kafka: Topics) -> None:
    first, second = kafka.create(2), kafka.create()
    kafka.write(first, [b"a", None], [b"k", b"k"], [[("h", b"1")], []])
    assert kafka.read(first) == [(b"k", b"a", [("h", b"1")]), (b"k", None, [])]
    assert kafka.read(second) == []
    kafka.delete(first, second)


@pytest.mark.parametrize("number", [None, signal.SIGKILL])
def test_it_comes_back_with_its_data(own_kafka: Kafka, number: int | None) -> None:
    topic = own_kafka.create()
    own_kafka.write(topic, [b"1", b"2"])
    own_kafka.stop(number)
    assert not own_kafka.ready()
    own_kafka.start()
    assert [value for _, value, _ in own_kafka.read(topic)] == [b"1", b"2"]
