"""A server that asks who is there, as those of others do: TLS, passwords, certificates."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from servers.fixtures import serving
from servers.postgresql import PostgreSQL

from gateway.core.errors import Unavailable
from gateway.store.contract import State, Unusable
from gateway.store.postgresql.store import PostgresqlStore

RULES = """
host    all sluice 127.0.0.1/32 trust
hostssl all locked 127.0.0.1/32 scram-sha-256
hostssl all client 127.0.0.1/32 cert
"""


@pytest.fixture(scope="module")
def guarded(certificates: Path) -> Iterator[PostgreSQL]:
    class Guarded(PostgreSQL):
        def prepare(self) -> None:
            super().prepare()
            for name in ("server.pem", "server.key", "ca.pem"):
                copy = self.folder / name
                shutil.copyfile(certificates / name, copy)
                copy.chmod(0o600)
                if self._identity():
                    shutil.chown(copy, self.user, self.user)
            (self.folder / "data" / "pg_hba.conf").write_text(RULES)
            files = {"cert": "server.pem", "key": "server.key", "ca": "ca.pem"}
            self.options |= {f"ssl_{kind}_file": str(self.folder / name) for kind, name in files.items()}
            self.options["ssl"] = "on"

    with serving("postgresql", Guarded) as server:
        assert isinstance(server, PostgreSQL)
        server.sql("CREATE ROLE locked LOGIN PASSWORD 'p@ss/word'; CREATE ROLE client LOGIN")
        yield server


@pytest.fixture
def database(guarded: PostgreSQL) -> Iterator[str]:
    """Host, port and name of one that both may use."""
    url = guarded.database()
    guarded.sql(f"GRANT CREATE ON DATABASE {url.rpartition('/')[2]} TO locked, client")
    yield url.partition("@")[2]
    guarded.drop(url)


def read(url: str) -> State:
    async def go() -> State:
        async with PostgresqlStore(url, None, "here") as store:
            return await store.read()

    # the gateway's own loop; asyncio's ends here at once, and takes a connection in its TLS farewell for forgotten
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(go())


def refused(url: str) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        read(url)
    assert "word" not in caught.value.message.replace("password authentication", "")
    return caught.value


def test_a_password_over_tls_to_whom_the_certificate_names(database: str, certificates: Path) -> None:
    wanted = f"sslmode=verify-full&sslrootcert={certificates}/ca.pem"
    assert read(f"postgresql://locked:p%40ss%2Fword@{database}?{wanted}") == State()


def test_a_wrong_password(database: str) -> None:
    error = refused(f"postgresql://locked:otherword@{database}?sslmode=require")
    assert isinstance(error, Unusable)
    assert 'password authentication failed for user "locked"' in error.message


def test_without_tls_where_it_is_demanded(database: str) -> None:
    error = refused(f"postgresql://locked:p%40ss%2Fword@{database}?sslmode=disable")
    assert isinstance(error, Unusable)
    assert "no encryption" in error.message


def test_a_server_that_somebody_else_vouches_for(database: str, certificates: Path) -> None:
    wanted = f"sslmode=verify-full&sslrootcert={certificates}/stranger.pem"
    error = refused(f"postgresql://locked:p%40ss%2Fword@{database}?{wanted}")
    assert isinstance(error, Unusable)
    assert "certificate verify failed" in error.message


def test_a_certificate_for_a_password(database: str, certificates: Path) -> None:
    wanted = f"sslmode=verify-full&sslrootcert={certificates}/ca.pem"
    card = f"&sslcert={certificates}/client.pem&sslkey={certificates}/client.key"
    assert read(f"postgresql://client@{database}?{wanted}{card}") == State()
    assert isinstance(refused(f"postgresql://client@{database}?{wanted}"), Unusable)
