"""Which database a URL means."""

from __future__ import annotations

from pathlib import Path

import pytest
from sql_database import Database

from adapters.sql.address import Address
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Transient


def test_a_url_says_where_and_as_whom() -> None:
    address = Address.of("postgresql://ann:s%40cret@DB.example/shop?sslmode=require")
    assert (address.host, address.port, address.database) == ("db.example", 5432, "shop")
    assert (address.user, address.password(), address.options["sslmode"]) == ("ann", "s@cret", "require")
    assert address.domain == "postgresql://db.example:5432/shop"
    assert "s@cret" not in repr(address)
    assert Address.of("mysql+asyncmy://u@h:1/d").domain == Address.of("mariadb://v@h:1/d").domain
    assert Address.of("sqlite:////a/b.db").domain == "sqlite:///a/b.db"
    assert Address.of("sqlite:///b.db").domain == f"sqlite://{Path.cwd() / 'b.db'}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("oracle://h/d", "'oracle' is none of mariadb, mysql"),
        ("postgresql://h", "no database"),
        ("postgresql://h:x/d", "Port could not be cast"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql://h/d?sslmod=verify-full", r"'\?sslmod=' is no parameter for postgresql; it has sslmode, sslroot"),
        ("postgresql://h/d?sslmode=verify_full", "sslmode is 'verify_full', expected one of disable, allow, prefer"),
        (
            "postgresql://h/d?sslmode=require&sslrootcert=ca.pem",
            "sslrootcert goes with sslmode=verify-ca or verify-full",
        ),
        ("mariadb://h/d?sslmode=verify-full", r"'\?sslmode=' is no parameter for mariadb; it has ssl, ssl_ca"),
        ("mariadb://h/d?ssl=yes", "ssl is 'yes', expected one of true, false"),
        ("mariadb://h/d?ssl=false&ssl_ca=ca.pem", "ssl=false does not go with files"),
        ("mariadb://h/d?ssl_cert=c.pem", "ssl_cert goes with ssl_ca"),
        ("sqlite:///a.db?mode=ro", "no parameter for sqlite; it has none"),
    ],
)
def test_a_url_that_means_none_is_refused(url: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        Address.of(url)


def test_a_password_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    address = Address.of("mysql://u@h/d", str(file))
    with pytest.raises(Transient, match="password_file"):
        address.password()
    file.write_text("one\n")
    assert address.password() == "one"
    file.write_text("two")
    assert address.password() == "two"


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    import asyncio

    path = tmp_path / "none.db"
    source = Database("sqlite", None, f"sqlite:///{path}").input("lease")  # type: ignore[arg-type]
    with pytest.raises(Transient, match="unable to open"):
        asyncio.run(source.connect())
    assert not path.exists()
