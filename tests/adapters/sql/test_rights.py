"""A user that may not any more, in the middle of a run: the stream waits, says for what, and goes on when it may again.

Each row is then scored once: results are appended, where a repeat would be seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL
from sql_database import Database
from sql_stream import Stream, complete, tables

ROWS = 100


@pytest.fixture(params=["postgresql", "mariadb"])
def own(request: pytest.FixtureRequest) -> Iterator[Database]:
    server: PostgreSQL | MariaDB = request.getfixturevalue(f"own_{request.param}")
    url = server.database()
    yield Database(request.param, server, url)
    server.drop(url)


LEAVE = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'guest'"
GUEST = "guest@'127.0.0.1'"
RIGHTS = {
    "postgresql": "GRANT SELECT, UPDATE ON claims TO guest; GRANT INSERT ON scores TO guest",
    "mariadb": f"GRANT SELECT, UPDATE ON claims TO {GUEST}; GRANT INSERT ON scores TO {GUEST}",
}
CREATE = {
    "postgresql": "CREATE ROLE guest LOGIN PASSWORD 'old'; " + RIGHTS["postgresql"],
    "mariadb": f"CREATE USER {GUEST} IDENTIFIED BY 'old'; " + RIGHTS["mariadb"],
}
DROP = {
    "postgresql": f"ALTER ROLE guest NOLOGIN; {LEAVE}; DROP OWNED BY guest; DROP ROLE guest",
    "mariadb": f"DROP USER {GUEST}; KILL USER {GUEST}",
}
#: system → what is done, how it is undone, and what the stream says meanwhile
TROUBLES: dict[str, dict[str, tuple[str, str, str]]] = {
    "revoked": {
        "postgresql": ("REVOKE INSERT ON scores FROM guest", RIGHTS["postgresql"], "permission denied"),
        "mariadb": (f"REVOKE INSERT ON scores FROM {GUEST}", RIGHTS["mariadb"], "INSERT command denied"),
    },
    "password": {
        "postgresql": (f"ALTER ROLE guest PASSWORD 'new'; {LEAVE}", "SELECT 1", "password authentication failed"),
        "mariadb": (f"ALTER USER {GUEST} IDENTIFIED BY 'new'; KILL USER {GUEST}", "SELECT 1", "Access denied"),
    },
    "dropped": {
        "postgresql": (DROP["postgresql"], CREATE["postgresql"], "authentication failed"),
        "mariadb": (DROP["mariadb"], CREATE["mariadb"], "Access denied"),
    },
    "connections": {
        "postgresql": (
            f"ALTER ROLE guest CONNECTION LIMIT 1; {LEAVE}", "ALTER ROLE guest CONNECTION LIMIT -1",
            "too many connections",
        ),
        "mariadb": (
            f"ALTER USER {GUEST} WITH MAX_USER_CONNECTIONS 1; KILL USER {GUEST}",
            f"ALTER USER {GUEST} WITH MAX_USER_CONNECTIONS 0",
            "max_user_connections",
        ),
    },
    "read only": {
        "postgresql": (
            f"ALTER ROLE guest SET default_transaction_read_only = on; {LEAVE}",
            "ALTER ROLE guest RESET default_transaction_read_only",
            "read-only transaction",
        ),
        "mariadb": ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0", "read-only"),
    },
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_user_that_may_not_any_more(own: Database, tmp_path: Path, trouble: str) -> None:
    tables(own, ROWS)
    if isinstance(own.server, PostgreSQL):
        access = own.server.folder / "data" / "pg_hba.conf"
        if "guest" not in (text := access.read_text()):
            access.write_text("host all guest 127.0.0.1/32 scram-sha-256\n" + text)
        own.sql("SELECT pg_reload_conf()")
    own.sql(CREATE[own.system])
    password = tmp_path / "password"
    password.write_text("old")
    guest = Database(own.system, own.server, own.url.replace("sluice:sluice@", "guest@").replace("sluice@", "guest@"))
    harm, mend, says = TROUBLES[trouble][own.system]

    async def go() -> None:
        secret = {"password_file": str(password)}
        async with Stream(guest, secret, secret, held=2) as stream:
            await stream.held()
            await asyncio.to_thread(own.sql, harm)
            stream.model.open.set()
            await stream.waits(says)
            await asyncio.to_thread(own.sql, mend)
            if trouble == "password":
                password.write_text("new")
            await stream.acknowledged(ROWS)

    try:
        asyncio.run(go())
    finally:
        own.sql(DROP[own.system])
    assert complete(own, ROWS)
