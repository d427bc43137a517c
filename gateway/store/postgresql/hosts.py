"""The servers that a URL names: each is tried by itself, so that a silent one keeps nobody from the next."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg

#: seconds to connect to one, which a server that is there takes a few milliseconds for
CONNECT_LIMIT: Final = 2.0

#: what asyncpg raises; the last of them for a server that takes no changes, where another one may
DRIVERS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.exceptions.InternalClientError)
#: … and what comes from below it, or from a URL that contradicts itself
FAILURES: Final = (*DRIVERS, OSError, TimeoutError, ValueError)


class Hosts:
    """In the URL's order, but for the last good one, which comes first.

    url       libpq's
    settings  of the session, by name; what the URL says wins
    """

    def __init__(self, url: str, settings: dict[str, str]) -> None:
        given = parse_qs(urlsplit(url).query)
        self._urls = _each(url)
        self._options: dict[str, Any] = {
            "server_settings": {name: value for name, value in settings.items() if name not in given}
        }
        if len(self._urls) > 1 and "target_session_attrs" not in given:
            self._options["target_session_attrs"] = "read-write"

    async def connect(self) -> asyncpg.Connection:
        """Raises one of `FAILURES`: what the only one said, or the last of several."""
        last = len(self._urls) - 1
        for at, url in enumerate(self._urls):
            try:
                connection = await asyncpg.connect(url, timeout=CONNECT_LIMIT, **self._options)
            except FAILURES:
                if at == last:
                    raise
                continue
            self._urls = [url, *self._urls[:at], *self._urls[at + 1 :]]
            return connection
        raise AssertionError("a URL names one server at least")


def _each(url: str) -> list[str]:
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    return [parts._replace(netloc=f"{user}{at}{host}").geturl() for host in hosts.split(",")]
