"""Which database a URL means, and as whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway.core.errors import InvalidArgument
from gateway.core.stream import Transient

SYSTEMS = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mariadb": "mariadb",
    "mysql": "mariadb",
    "sqlite": "sqlite",
}
#: parameters of a URL, and what they may be; () is any text
OPTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "postgresql": {
        "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
        "sslrootcert": (),
        "sslcert": (),
        "sslkey": (),
    },
    "mariadb": {"ssl": ("true", "false"), "ssl_ca": (), "ssl_cert": (), "ssl_key": ()},
    "sqlite": {},
}
PORTS = {"postgresql": 5432, "mariadb": 3306}


@dataclass(frozen=True, slots=True)
class Address:
    """`system` is postgresql, mariadb or sqlite; `database` a name, or SQLite's file."""

    system: str
    host: str = ""
    port: int = 0
    database: str = ""
    user: str = ""
    secret: str = field(default="", repr=False)
    password_file: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """What a transaction can span. Nothing secret is in it."""
        if self.system == "sqlite":
            return f"sqlite://{Path(self.database).resolve()}"
        return f"{self.system}://{self.host}:{self.port}/{self.database}"

    def password(self) -> str:
        """Read anew each time, so that it may change. Raises Transient."""
        if not self.password_file:
            return self.secret
        try:
            return Path(self.password_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Transient(f"password_file {self.password_file}: {error}") from error

    @staticmethod
    def of(url: str, password_file: str = "") -> Address:
        parts = urlsplit(url)
        system = SYSTEMS.get(parts.scheme.partition("+")[0])
        if system is None:
            raise InvalidArgument(f"url: '{parts.scheme}' is none of {', '.join(sorted(SYSTEMS))}")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        _check(system, options)
        if system == "sqlite":
            # As in SQLAlchemy: three slashes and a path from here, four and one from the root.
            path = unquote(parts.path[1:])
            if parts.netloc or not path or path == ":memory:":
                raise InvalidArgument(f"url: '{url}' names no file; expected sqlite:///path/to/file")
            return Address(system, database=path, options=options)
        try:
            port = parts.port or PORTS[system]
        except ValueError as error:
            raise InvalidArgument(f"url: {error}") from error
        database = unquote(parts.path[1:])
        if not database:
            raise InvalidArgument(f"url: no database; expected {parts.scheme}://user@host:{port}/database")
        return Address(
            system,
            (parts.hostname or "localhost").lower(),
            port,
            database,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            password_file,
            options,
        )


def _check(system: str, options: Mapping[str, str]) -> None:
    """One that nobody knows would be passed over, and the connection be as open as without it.

    Raises InvalidArgument.
    """
    known = OPTIONS[system]
    for name, value in options.items():
        if name not in known:
            raise InvalidArgument(f"url: '?{name}=' is no parameter for {system}; it has {', '.join(known) or 'none'}")
        if known[name] and value not in known[name]:
            raise InvalidArgument(f"url: {name} is '{value}', expected one of {', '.join(known[name])}")
    files = [name for name in ("sslrootcert", "sslcert", "sslkey") if name in options]
    if files and options.get("sslmode") not in ("verify-ca", "verify-full"):
        raise InvalidArgument(f"url: {files[0]} goes with sslmode=verify-ca or verify-full, which check it")
    if options.get("ssl") == "false" and len(options) > 1:
        raise InvalidArgument("url: ssl=false does not go with files for it")
    if system == "mariadb" and "ssl_cert" in options and "ssl_ca" not in options and "ssl" not in options:
        raise InvalidArgument("url: ssl_cert goes with ssl_ca, or with ssl=true for the system's authorities")
