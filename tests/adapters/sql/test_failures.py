"""What goes wrong in the middle: processes that die, servers that restart, columns that go, what takes too long.

test_rights, test_alterations, test_disk and test_conflicts go on, with the runner.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL
from servers.server import until
from sql_database import CREDIT, Database, handed_over, read, results

from gateway.core.stream import DataError, Fenced, OutcomeUnknown, Transient

ROOT = Path(__file__).parents[3]

CLAIMER = """
import asyncio, sys
sys.path.insert(0, "tests")
from sql_database import Database, read

async def go():
    source = Database("", None, sys.argv[1]).input(sys.argv[2], lease={"seconds": 1.5})
    await source.connect()
    batch, token = await read(source)
    print(len(batch), flush=True)
    await asyncio.sleep(600)

asyncio.run(go())
"""


@pytest.fixture(params=["postgresql", "mariadb"])
def own(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Of a server that may be stopped and killed."""
    server: PostgreSQL | MariaDB = request.getfixturevalue(f"own_{request.param}")
    url = server.database()
    yield Database(request.param, server, url)
    server.drop(url)


def killed_claimer(database: Database, mode: str) -> None:
    """A process that has claimed all rows, and is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", CLAIMER, database.url, mode], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"20\n"
        process.send_signal(signal.SIGKILL)


def test_rows_of_a_claimer_that_was_killed_come_back(locking: Database) -> None:
    locking.claims(20)
    killed_claimer(locking, "claim")

    async def go() -> None:
        source = locking.input()
        await source.connect()
        assert len((await read(source))[0]) == 20
        await source.close()

    asyncio.run(go())


def test_rows_that_were_lent_to_one_that_was_killed_come_back_when_the_lease_ends(database: Database) -> None:
    database.claims(20)
    killed_claimer(database, "lease")

    async def go() -> None:
        source = database.input("lease")
        await source.connect()
        assert len((await read(source))[0]) == 20
        await source.close()

    asyncio.run(go())


def test_a_server_that_restarts_undoes_the_claim(own: Database) -> None:
    own.claims(10)
    server = own.server
    assert isinstance(server, (PostgreSQL, MariaDB))

    async def go() -> None:
        source, sink = own.input(claims=2), own.output()
        await source.connect()
        await sink.connect()
        batch, token = await read(source, 5)
        second, later = await read(source, 5)
        await sink.write(results(batch, token))
        await asyncio.to_thread(server.kill)
        with pytest.raises(Transient):
            await sink.write(results(second, later))
        await source.ack(token)
        with pytest.raises(Transient):
            await source.read(CREDIT)
        with pytest.raises(Transient):
            await source.connect()
        await asyncio.to_thread(server.start)
        for each in (source, sink):
            await each.close()
            await each.connect()
        again, token = await read(source)
        assert list(again.ids) == list(second.ids)
        await sink.write(results(again, token))
        await source.ack(token)
        for each in (source, sink):
            await each.close()

    asyncio.run(go())
    assert own.column("SELECT count(*) FROM claims WHERE status = 'done' AND score = 10 * x") == ["10"]


def test_a_commit_whose_answer_is_lost_has_an_unknown_outcome(own: Database) -> None:
    own.claims(2)
    server = own.server
    assert isinstance(server, (PostgreSQL, MariaDB))

    async def go() -> None:
        source = own.input()
        await source.connect()
        _, token = await read(source)
        connection = token.position.connection
        await asyncio.to_thread(server.kill)
        with pytest.raises(OutcomeUnknown):
            await connection.commit()
        await source.close()

    try:
        asyncio.run(go())
    finally:
        if server.process is None:
            server.start()


def test_who_waits_for_a_model_too_long_loses_the_claim(locking: Database) -> None:
    locking.claims(3)

    async def go() -> None:
        source, sink = locking.input(limits={"idle": 1}), locking.output()
        await source.connect()
        await sink.connect()
        batch, token = await read(source)
        other = locking.input()
        await other.connect()
        async with asyncio.timeout(20):
            again, its = await read(other)
        assert list(again.ids) == list(batch.ids)
        with pytest.raises(Transient):
            await sink.write(results(batch, token, score=[0.0] * 3))
        await sink.write(results(again, its))
        await other.ack(its)
        for each in (source, other, sink):
            await each.close()

    asyncio.run(go())
    assert locking.column("SELECT count(*) FROM claims WHERE score = 10 * x") == ["3"]


def test_a_lane_goes_on_under_another_epoch_when_its_rows_are_lost(database: Database) -> None:
    database.claims(2)

    async def go() -> None:
        source, sink = database.input("lease", claims=1), database.output()
        await source.connect()
        await sink.connect()
        batch, token = await read(source)
        database.sql("UPDATE claims SET claimed_by = 'somebody', claimed_until = '2020-01-01 00:00:00'")
        with pytest.raises(Fenced):
            await sink.write(results(batch, token))
        again, its = await read(source)
        assert its.lane == token.lane
        assert its.epoch > token.epoch
        await sink.write(results(again, its))
        await source.ack(its)
        for each in (source, sink):
            await each.close()

    asyncio.run(go())


def test_a_column_or_a_table_that_goes_is_named_and_may_come_back(database: Database) -> None:
    database.claims(2)

    async def go() -> None:
        source = database.input("lease")
        await source.connect()
        database.sql("ALTER TABLE claims RENAME COLUMN x TO y")
        with pytest.raises(Transient, match="x"):
            await source.read(CREDIT)
        with pytest.raises(Transient, match="columns: table 'claims' has no column 'x'"):
            await source.connect()
        database.sql("ALTER TABLE claims RENAME COLUMN y TO x")
        database.sql("ALTER TABLE claims RENAME TO gone")
        with pytest.raises(Transient, match="has no table 'claims'; it has gone"):
            await source.connect()
        database.sql("ALTER TABLE gone RENAME TO claims")
        await source.connect()
        assert len((await read(source))[0]) == 2
        await source.close()

    asyncio.run(go())


def test_a_full_disk_pauses(sqlite: Database) -> None:
    sqlite.sql("CREATE TABLE big (record TEXT PRIMARY KEY, body TEXT)")

    async def go() -> None:
        from gateway.core.stream import Batch, Rows, Token

        sink = sqlite.output("results", table="big", id="record", value="body", connections=1)
        await sink.connect()
        async with sink._connected().connection() as connection:
            await connection.fetch("PRAGMA max_page_count = 20")
        rows = Rows(Batch([str(i) for i in range(100)], [b"x" * 10_000] * 100), Token("t", 1))
        with pytest.raises(Transient, match="full"):
            await sink.write(rows)
        async with sink._connected().connection() as connection:
            await connection.fetch("PRAGMA max_page_count = 10000")
        await sink.write(rows)
        await sink.close()

    asyncio.run(go())
    assert sqlite.column("SELECT count(*) FROM big") == ["100"]


def test_cancelled_writes_leave_no_connection_behind(locking: Database) -> None:
    locking.claims(200)
    mine = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluice cancelled'",
        "mariadb": "SELECT count(*) - 1 FROM information_schema.processlist WHERE db = database()",
    }[locking.system]

    async def go() -> None:
        source, sink = locking.input(rows=50), locking.output(pipeline="cancelled")
        await source.connect()
        await sink.connect()
        for turns in range(12):
            batch, token = await read(source)
            task = asyncio.ensure_future(sink.write(results(batch, token)))
            for _ in range(turns):
                await asyncio.sleep(0.0003)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await source.connect()
            locking.sql("UPDATE claims SET status = 'new', score = NULL")
        await handed_over(source, sink)

    asyncio.run(go())
    until(lambda: locking.column(mine) == ["0"], what="the end of the connections")


def test_a_statement_that_takes_too_long_is_ended_by_the_server(locking: Database) -> None:
    locking.claims(1)

    async def go() -> None:
        source = locking.input(limits={"statement": 0.5})
        await source.connect()
        sleep = "SELECT pg_sleep(30)" if locking.system == "postgresql" else "SELECT SLEEP(30), id FROM claims"
        async with source._pool.connection() as connection:  # type: ignore[union-attr]
            async with asyncio.timeout(10):
                with pytest.raises(Transient, match=r"timeout|max_statement_time"):
                    await connection.fetch(sleep)
            assert connection.alive
        await source.close()

    asyncio.run(go())


def test_a_notification_wakes_at_once_and_the_lag_is_known(postgres: Database) -> None:
    postgres.claims(0, more=", since timestamptz DEFAULT now() - interval '100 seconds'")

    async def go() -> None:
        source = postgres.input(poll=60, notify="rows", timestamp="since")
        await source.connect()
        lag = (await source.lag())["claims"]
        assert (lag.records, lag.seconds) == (0, None)
        waiting = asyncio.ensure_future(read(source))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(postgres.add, range(1, 4))
        lag = (await source.lag())["claims"]
        assert lag.records == 3
        assert lag.seconds is not None
        assert 100 <= lag.seconds < 200
        await asyncio.to_thread(postgres.sql, "NOTIFY rows")
        async with asyncio.timeout(10):
            batch, _ = await waiting
        assert len(batch) == 3
        assert len(batch.timestamps) == 3
        await source.close()

    asyncio.run(go())


def test_the_age_of_the_oldest_row_is_the_databases_own(database: Database) -> None:
    database.claims(0, more=f", since {database.moment}")
    past = {
        "postgresql": "now() - interval '100 seconds'",
        "mariadb": "UTC_TIMESTAMP() - INTERVAL 100 SECOND",
        "sqlite": "datetime('now', '-100 seconds')",
    }[database.system]
    database.sql(f"INSERT INTO claims (id, since) VALUES (1, {past}), (2, NULL)")

    async def go() -> None:
        source = database.input("lease", timestamp="since")
        await source.connect()
        lag = (await source.lag())["claims"]
        assert lag.records == 2
        assert lag.seconds is not None
        assert 99 <= lag.seconds < 200
        await source.close()

    asyncio.run(go())


def test_an_unpaired_surrogate_is_the_rows_fault(database: Database) -> None:
    database.claims(2)

    async def go() -> None:
        source, sink = database.input("lease"), database.output()
        await source.connect()
        await sink.connect()
        batch, token = await read(source)
        with pytest.raises(DataError) as refused:
            await sink.write(results(batch, token, label=["fine", "\ud800"]))
        assert refused.value.record == 1
        await source.close()
        await sink.close()

    asyncio.run(go())
