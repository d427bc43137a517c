"""The server of the tests: it survives what tests do to it."""

import signal

import pytest
from servers.postgresql import Databases, PostgreSQL


def test_databases_are_apart(postgresql: Databases) -> None:
    first, second = postgresql.database(), postgresql.database()
    postgresql.sql("CREATE TABLE t (a text, b int); INSERT INTO t VALUES ('x y', 1), (NULL, 2)", first)
    assert postgresql.sql("SELECT a, b FROM t ORDER BY b", first) == [("x y", "1"), ("", "2")]
    with pytest.raises(AssertionError, match="does not exist"):
        postgresql.sql("SELECT * FROM t", second)
    postgresql.drop(first)
    postgresql.drop(second)


def test_a_database_of_a_test(postgresql: Databases, postgresql_database: str) -> None:
    assert postgresql.sql("SHOW wal_level", postgresql_database)


@pytest.mark.parametrize("number", [None, signal.SIGKILL])
def test_it_comes_back_with_its_data(own_postgresql: PostgreSQL, number: int | None) -> None:
    url = own_postgresql.database()
    own_postgresql.sql("CREATE TABLE t AS SELECT 1 AS a", url)
    own_postgresql.stop(number)
    assert not own_postgresql.ready()
    own_postgresql.start()
    assert own_postgresql.sql("SELECT a FROM t", url) == [("1",)]


def test_a_paused_one_is_silent(own_postgresql: PostgreSQL) -> None:
    own_postgresql.pause()
    assert not own_postgresql.ready()
    own_postgresql.resume()
    assert own_postgresql.sql("SELECT 1") == [("1",)]
