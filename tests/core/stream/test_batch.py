from __future__ import annotations

from gateway.core.stream import Batch, Message
from gateway.core.table import Table


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
