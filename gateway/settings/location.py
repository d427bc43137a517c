"""Where the control state is, as settings say it: a URL, which may hold a password."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

SCHEMES: Final = ("postgresql", "postgres")


def fault(url: str) -> str:
    """What is wrong with the URL, "" for nothing. Repeats nothing of it that could be a password."""
    scheme, colon, _ = url.partition("://")
    if not colon or scheme not in SCHEMES:
        found = f"'{scheme[:20]}://…'" if colon and scheme.isidentifier() else "something else"
        return (
            f"expected postgresql://user@host:port/database, or nothing for SQLite in the state folder; found {found}"
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        return "expected a host name or address in the URL, found brackets that do not match"
    if "@" in url and "@" not in parts.netloc:
        return "expected %23, %2F and %3F for '#', '/' and '?' in user name and password, found them as they are"
    hosts = parts.netloc.rpartition("@")[2]
    if not hosts and "host" not in parse_qs(parts.query):
        return "expected a host in the URL, found none"
    for host in hosts.split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
            return f"expected a port from 1 to 65535, found '{port[:20]}'"
    return ""
