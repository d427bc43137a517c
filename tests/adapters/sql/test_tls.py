"""PostgreSQL and MariaDB over TLS: whose certificate is trusted, whose name has to be in it, and who comes with one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.fixtures import serving
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL
from sql_database import Database, through

from gateway.core.stream import Transient


def take(server: PostgreSQL | MariaDB, certificates: Path, name: str) -> None:
    """A certificate and its key, where the server has them, for it to read alone."""
    for source, target in ((f"{name}.pem", "server.pem"), (f"{name}.key", "server.key"), ("ca.pem", "ca.pem")):
        file = server.folder / target
        shutil.copy(certificates / source, file)
        file.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(file, server.user, server.user)


class SecurePostgreSQL(PostgreSQL):
    certificates = Path()

    def prepare(self) -> None:
        super().prepare()
        take(self, self.certificates, "server")
        folder = self.folder
        self.options |= {
            "ssl": "on",
            "ssl_cert_file": f"{folder}/server.pem",
            "ssl_key_file": f"{folder}/server.key",
            "ssl_ca_file": f"{folder}/ca.pem",
        }
        # over TLS alone, but for the tests' own client
        (folder / "data" / "pg_hba.conf").write_text(
            "hostssl all client 127.0.0.1/32 cert\n"
            "hostssl all tls 127.0.0.1/32 trust\n"
            "host all sluice 127.0.0.1/32 trust\n"
        )

    def reload(self) -> None:
        self.sql("SELECT pg_reload_conf()")


class SecureMariaDB(MariaDB):
    certificates = Path()

    def prepare(self) -> None:
        super().prepare()
        take(self, self.certificates, "server")
        folder = self.folder
        self.options |= {
            "ssl_cert": f"{folder}/server.pem",
            "ssl_key": f"{folder}/server.key",
            "ssl_ca": f"{folder}/ca.pem",
        }

    def reload(self) -> None:
        self.sql("FLUSH SSL")


class Secure:
    """`url` takes what a URL says of TLS, beside who comes; `present` changes the server's certificate."""

    def __init__(self, server: SecurePostgreSQL | SecureMariaDB, system: str, made: str) -> None:
        self.server = server
        self.system = system
        self.plain = made

    def url(self, options: str, user: str = "tls") -> str:
        return f"{self.plain.replace('//sluice', f'//{user}').replace('127.0.0.1', 'localhost')}?{options}"

    def present(self, certificates: Path, name: str) -> None:
        take(self.server, certificates, name)
        self.server.reload()

    def trusting(self, authority: Path | str) -> str:
        if self.system == "postgresql":
            return f"sslmode=verify-full&sslrootcert={authority}"
        return f"ssl_ca={authority}"


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def secure(request: pytest.FixtureRequest, certificates: Path) -> Iterator[Secure]:
    if request.param == "postgresql":
        SecurePostgreSQL.certificates = certificates
        with serving("postgresql", SecurePostgreSQL) as server:
            assert isinstance(server, SecurePostgreSQL)
            made = server.database()
            server.sql("CREATE USER tls SUPERUSER; CREATE USER client SUPERUSER")
            yield Secure(server, "postgresql", made)
        return
    SecureMariaDB.certificates = certificates
    with serving("mariadb", SecureMariaDB) as maria:
        assert isinstance(maria, SecureMariaDB)
        made = maria.database()
        for user, needs in (("tls", "SSL"), ("client", "SUBJECT '/CN=client'")):
            maria.sql(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'sluice' REQUIRE {needs}")
            maria.sql(f"GRANT ALL ON *.* TO {user}@'127.0.0.1'")
        yield Secure(maria, "mariadb", made)


def passes(secure: Secure, url: str) -> None:
    """Rows are read and written."""
    plain = Database(secure.system, secure.server, secure.plain)
    plain.claims(3)
    try:
        there = Database(secure.system, secure.server, url)

        async def go() -> None:
            source, sink = there.input("claim"), there.output()
            await through(source, sink)

        asyncio.run(go())
        assert plain.column("SELECT count(*) FROM claims WHERE status = 'done' AND score = 10 * x") == ["3"]
    finally:
        plain.sql("DROP TABLE claims")


def refusal(secure: Secure, url: str) -> str:
    async def go() -> str:
        source = Database(secure.system, secure.server, url).input("claim")
        with pytest.raises(Transient) as refused:
            await source.connect()
        await source.close()
        return refused.value.message

    return asyncio.run(go())


def test_a_server_that_is_known_is_trusted(secure: Secure, certificates: Path) -> None:
    passes(secure, secure.url(secure.trusting(certificates / "ca.pem")))


def test_a_server_of_another_authority_is_not(secure: Secure, certificates: Path) -> None:
    for options in (
        secure.trusting(certificates / "stranger.pem"),
        # the system's authorities do not know it either
        "sslmode=verify-full" if secure.system == "postgresql" else "ssl=true",
    ):
        assert "certificate verify failed" in refusal(secure, secure.url(options))


def test_a_server_of_another_name_is_not(secure: Secure, certificates: Path) -> None:
    url = secure.url(secure.trusting(certificates / "ca.pem"))
    secure.present(certificates, "other")
    try:
        said = refusal(secure, url)
        assert "localhost" in said, said
        assert "mismatch" in said or "not valid for 'localhost'" in said, said
        if secure.system == "postgresql":
            # the name does not matter to this one
            passes(secure, url.replace("verify-full", "verify-ca"))
    finally:
        secure.present(certificates, "server")
    passes(secure, url)


def test_a_file_that_is_not_there_is_named(secure: Secure, certificates: Path) -> None:
    name = "sslrootcert" if secure.system == "postgresql" else "ssl_ca"
    assert f"url: {name} '/nowhere' cannot be used: " in refusal(secure, secure.url(secure.trusting("/nowhere")))


def test_a_certificate_of_its_own(secure: Secure, certificates: Path) -> None:
    names = ("sslcert", "sslkey") if secure.system == "postgresql" else ("ssl_cert", "ssl_key")
    trusting = secure.trusting(certificates / "ca.pem")
    own = f"{trusting}&{names[0]}={certificates / 'client.pem'}&{names[1]}={certificates / 'client.key'}"
    passes(secure, secure.url(own, "client"))
    assert "client" in refusal(secure, secure.url(trusting, "client"))
    wrong = own.replace("client.key", "ca.key")
    assert f"url: {names[0]} '{certificates / 'client.pem'}' cannot be used" in refusal(
        secure, secure.url(wrong, "client")
    )


def test_a_server_that_wants_tls_says_so_to_who_comes_without(secure: Secure) -> None:
    said = refusal(secure, secure.url("sslmode=disable" if secure.system == "postgresql" else "ssl=false"))
    assert "no encryption" in said or "Access denied" in said, said
