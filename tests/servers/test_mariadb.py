"""The MariaDB that tests are given: it keeps what was committed, whatever is done to it."""

from __future__ import annotations

from servers.mariadb import MariaDatabases, MariaDB


def test_a_database_is_empty_and_of_its_own(mariadb: MariaDatabases, mariadb_database: str) -> None:
    mariadb.sql("CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES (1, 'é'), (2, NULL)", mariadb_database)
    assert mariadb.sql("SELECT a, b FROM t ORDER BY a", mariadb_database) == [("1", "é"), ("2", "NULL")]
    other = mariadb.database()
    assert mariadb.sql("SHOW TABLES", other) == []
    mariadb.drop(other)


def test_it_is_killed_and_stopped_and_keeps_what_it_had(own_mariadb: MariaDB) -> None:
    url = own_mariadb.database()
    own_mariadb.sql("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)", url)
    own_mariadb.kill()
    own_mariadb.start()
    assert own_mariadb.sql("SELECT a FROM t", url) == [("1",)]
    own_mariadb.stop()
    own_mariadb.start()
    assert own_mariadb.sql("SELECT a FROM t", url) == [("1",)]
