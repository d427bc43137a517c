"""What only PostgreSQL can do to a store: be elsewhere, be silent, be gone, and come back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers.postgresql import Databases, PostgreSQL
from servers.proxy import Proxy

from gateway.core.errors import Conflict, Unavailable
from gateway.store.contract import Act, DesiredModel, DesiredSplit, Mutation, State, Unusable
from gateway.store.postgresql.store import PostgresqlStore

ACT = Act("ann", "admin 10.0.0.1", "split.set", "m")
SPLIT = DesiredSplit("s", (("1", 1.0),))

#: seconds within which an operator learns that the store is gone; the machine may be busy
SOON = 9.0


def with_split(model: str) -> Mutation:
    return lambda state: replace(state, splits={**state.splits, model: SPLIT})


async def refused(work: Awaitable[object]) -> Unavailable:
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await work
    assert time.monotonic() - began < SOON
    return caught.value


def through(url: str, body: Callable[[PostgresqlStore, Proxy], Awaitable[None]]) -> None:
    async def go() -> None:
        async with Proxy(url) as proxy, PostgresqlStore(proxy.url, None, "here") as store:
            await body(store, proxy)

    asyncio.run(go())


def test_what_one_machine_writes_another_reads(postgresql_database: str) -> None:
    async def go() -> None:
        async with (
            PostgresqlStore(postgresql_database, None, "a") as a,
            PostgresqlStore(postgresql_database, None, "b") as b,
        ):
            state = await a.change(0, with_split("m"), ACT)
            assert await b.read() == state
            with pytest.raises(Conflict, match="at revision 1, not 0"):
                await b.change(0, with_split("n"), ACT)
            await b.change(1, with_split("n"), ACT)
            assert [(entry.machine, entry.act) for entry in await a.audit()] == [("b", ACT), ("a", ACT)]

    asyncio.run(go())


def test_what_is_noted_takes_no_revision(postgresql_database: str) -> None:
    async def go() -> None:
        async with PostgresqlStore(postgresql_database, None, "a") as a:
            await a.note(ACT)
            state = await a.change(0, with_split("m"), ACT)
            await a.note(ACT)
            assert await a.read() == state
            found = [(entry.before, entry.after, entry.machine) for entry in await a.audit()]
            assert found == [(1, 1, "a"), (0, 1, "a"), (0, 0, "a")]

    asyncio.run(go())


def test_of_changes_on_many_machines_nothing_is_lost(postgresql_database: str) -> None:
    async def machine(number: int) -> int:
        conflicts = 0
        async with PostgresqlStore(postgresql_database, None, f"m{number}") as store:
            for turn in range(5):
                while True:
                    seen = (await store.read()).revision
                    try:
                        await store.change(seen, with_split(f"{number}-{turn}"), ACT)
                        break
                    except Conflict:
                        conflicts += 1
        return conflicts

    async def go() -> None:
        assert sum(await asyncio.gather(*map(machine, range(4)))) > 0
        async with PostgresqlStore(postgresql_database, None, "last") as store:
            state = await store.read()
            assert (state.revision, len(state.splits)) == (20, 20)
            assert sorted(entry.after for entry in await store.audit()) == list(range(1, 21))

    asyncio.run(go())


def test_a_state_folder_belongs_to_one(postgresql_database: str, tmp_path: Path) -> None:
    async def go() -> None:
        async with PostgresqlStore(postgresql_database, tmp_path, "a"):
            with pytest.raises(Unavailable, match="in use by another gateway"):
                async with PostgresqlStore(postgresql_database, tmp_path, "b"):
                    pass

    asyncio.run(go())


def test_a_large_blob(postgresql_database: str) -> None:
    data = bytes(range(256)) * (64 << 10)
    digest = sha256(data).hexdigest()
    wanted = State(models={"m": DesiredModel(True, 1, "", {"1/model.onnx": digest})})

    async def go() -> None:
        async with PostgresqlStore(postgresql_database, None, "a") as store:
            await store.change(0, lambda state: wanted, ACT, {digest: data})
            assert await store.blob(digest) == data

    asyncio.run(go())


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_server_that_is_gone_is_said_to_be_and_is_used_again_when_it_is_back(
    own_postgresql: PostgreSQL, how: str
) -> None:
    async def go() -> None:
        async with PostgresqlStore(own_postgresql.database(), None, "here") as store:
            await store.change(0, with_split("m"), ACT)
            await asyncio.to_thread(own_postgresql.kill if how == "killed" else own_postgresql.stop)
            try:
                error = await refused(store.change(1, with_split("n"), ACT))
                assert "control state 'postgresql://sluice@127.0.0.1:" in error.message
                assert not isinstance(error, Unusable)
                await refused(store.read())
            finally:
                await asyncio.to_thread(own_postgresql.start)
            assert (await store.change(1, with_split("n"), ACT)).revision == 2

    asyncio.run(go())


def test_a_server_that_stands_still_holds_nobody_up(own_postgresql: PostgreSQL) -> None:
    async def go() -> None:
        url = own_postgresql.database()
        async with PostgresqlStore(url, None, "here") as store, PostgresqlStore(url, None, "new") as new:
            await store.change(0, with_split("m"), ACT)
            own_postgresql.pause()
            try:
                await asyncio.gather(
                    refused(store.change(1, with_split("n"), ACT)), refused(store.read()), refused(new.read())
                )
            finally:
                own_postgresql.resume()
            state = await store.change(None, with_split("o"), ACT)
            # the change that nobody waited for is there or is not: what is there is whole
            assert state.revision == len(await store.audit()) == len(state.splits)
            assert await new.read() == state

    asyncio.run(go())


def test_closing_does_not_wait_for_a_server_that_stands_still(own_postgresql: PostgreSQL) -> None:
    async def go() -> None:
        store = PostgresqlStore(own_postgresql.database(), None, "here")
        async with store:
            await store.read()
            own_postgresql.pause()
            began = time.monotonic()
        assert time.monotonic() - began < SOON

    try:
        asyncio.run(go())
    finally:
        own_postgresql.resume()


def test_a_server_that_takes_changes_again_is_believed(postgresql: Databases, postgresql_database: str) -> None:
    """As after a failover and back: nothing of the time in between is kept."""
    name = urlsplit(postgresql_database).path[1:]

    async def go() -> None:
        async with PostgresqlStore(postgresql_database, None, "there") as before:
            await before.change(0, with_split("m"), ACT)
        postgresql.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        async with PostgresqlStore(postgresql_database, None, "here") as store:
            error = await refused(store.change(1, with_split("n"), ACT))
            assert "read-only" in error.message
            postgresql.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            assert (await store.change(1, with_split("n"), ACT)).revision == 2

    asyncio.run(go())


def test_a_network_that_swallows_everything(postgresql_database: str) -> None:
    async def body(store: PostgresqlStore, proxy: Proxy) -> None:
        await store.change(0, with_split("m"), ACT)
        proxy.silent()
        await refused(store.change(1, with_split("n"), ACT))
        await refused(store.read())
        proxy.speak()
        assert (await store.change(1, with_split("n"), ACT)).revision == 2

    through(postgresql_database, body)


def test_a_commit_whose_answer_was_lost_is_found_out(postgresql_database: str) -> None:
    async def body(store: PostgresqlStore, proxy: Proxy) -> None:
        await store.read()
        cuts = []

        def once(data: bytes) -> str:
            if b"COMMIT;" in data and not cuts:
                cuts.append(data)
                return "after"
            return ""

        proxy.cut = once
        state = await store.change(0, with_split("m"), ACT)
        assert cuts
        assert state.revision == 1
        assert await store.read() == state

    through(postgresql_database, body)


def test_a_commit_that_never_arrived_has_changed_nothing(postgresql_database: str) -> None:
    async def body(store: PostgresqlStore, proxy: Proxy) -> None:
        await store.read()
        cuts = []

        def once(data: bytes) -> str:
            if b"COMMIT;" in data and not cuts:
                cuts.append(data)
                return "before"
            return ""

        proxy.cut = once
        await refused(store.change(0, with_split("m"), ACT))
        assert cuts
        assert await store.read() == State()

    through(postgresql_database, body)


def test_of_a_commit_that_nobody_answers_for_the_message_says_so(postgresql_database: str) -> None:
    async def body(store: PostgresqlStore, proxy: Proxy) -> None:
        await store.read()

        def gone(data: bytes) -> str:
            if b"COMMIT;" in data:
                proxy.silent()
                return "after"
            return ""

        proxy.cut = gone
        error = await refused(store.change(0, with_split("m"), ACT))
        assert "whether revision 1 was written will be known when it is back" in error.message
        proxy.cut = lambda data: ""
        proxy.speak()
        assert (await store.read()).revision == 1

    through(postgresql_database, body)


def test_a_client_that_hangs_in_a_change_does_not_keep_others_waiting(
    postgresql: Databases, postgresql_database: str
) -> None:
    async def body(store: PostgresqlStore, proxy: Proxy) -> None:
        async with PostgresqlStore(postgresql_database, None, "there") as other:
            await other.read()

            def stuck(state: State) -> State:
                proxy.silent()
                return state

            await refused(store.change(None, stuck, ACT))
            assert (await other.change(None, with_split("m"), ACT)).revision == 1

    through(postgresql_database, body)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"path": "/nowhere"}, 'database "nowhere" does not exist'),
        ({"query": "sslmode=sometimes"}, "sslmode"),
    ],
)
def test_what_a_person_must_change(postgresql: Databases, changed: dict[str, str], message: str) -> None:
    url = urlsplit(postgresql.url)._replace(**changed).geturl().replace("sluice@", "sluice:pass-word@")

    async def go() -> None:
        async with PostgresqlStore(url, None, "here") as store:
            error = await refused(store.read())
            assert isinstance(error, Unusable), error
            assert message in error.message
            assert "pass-word" not in f"{error.message} {error.__cause__!r}"

    asyncio.run(go())


def test_without_rights_to_make_a_schema_the_message_says_so(postgresql: Databases, postgresql_database: str) -> None:
    role = f"poor_{urlsplit(postgresql_database).path[1:]}"
    postgresql.sql(f"CREATE ROLE {role} LOGIN")

    async def go() -> None:
        async with PostgresqlStore(postgresql_database.replace("//sluice@", f"//{role}@"), None, "here") as store:
            error = await refused(store.read())
            assert isinstance(error, Unusable)
            assert "permission denied" in error.message
            # an administrator made the schema: no other right is needed
            postgresql.sql(f"CREATE SCHEMA sluice AUTHORIZATION {role}", postgresql_database)
            assert await store.read() == State()

    asyncio.run(go())
    postgresql.sql(f"DROP OWNED BY {role}; DROP ROLE {role}", postgresql_database)
