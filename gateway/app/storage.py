"""Which store the settings name."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

from gateway.settings import Settings, SettingsError
from gateway.settings.location import fault
from gateway.settings.token import read_secret
from gateway.store.contract import Store
from gateway.store.leases import Leases
from gateway.store.sqlite import SqliteLeases, SqliteStore, SqliteView
from gateway.store.view import Notebook


def storage(settings: Settings) -> AbstractAsyncContextManager[Store]:
    """Not open yet. Raises SettingsError."""
    folder, url = Path(settings.state), _url(settings)
    if not url:
        return SqliteStore(folder)
    with _postgresql():
        # its libraries take memory and time: they are loaded where they are needed
        from gateway.store.postgresql.store import PostgresqlStore
    return PostgresqlStore(url, folder, _machine(settings))


def leases(settings: Settings) -> AbstractAsyncContextManager[Leases]:
    """Of streams, beside a gateway that has the state folder's lock. Raises SettingsError."""
    url = _url(settings)
    if not url:
        return SqliteLeases.open(Path(settings.state))
    with _postgresql():
        from gateway.store.postgresql.leases import PostgresqlLeases
    return PostgresqlLeases.open(url, _machine(settings))


@asynccontextmanager
async def view(settings: Settings) -> AsyncIterator[Notebook]:
    """The control state beside a gateway that writes it. Raises SettingsError."""
    url = _url(settings)
    if not url:
        yield SqliteView(Path(settings.state))
        return
    with _postgresql():
        from gateway.store.postgresql.store import PostgresqlStore
    async with PostgresqlStore(url, None, _machine(settings)) as store:
        yield store


def _url(settings: Settings) -> str:
    """ "" for SQLite in the state folder."""
    if not settings.store_file:
        return settings.store
    url = read_secret(Path(settings.store_file), "store_file", "the store's URL")
    if wrong := fault(url):
        raise SettingsError(f"store_file: {wrong}")
    return url


def _machine(settings: Settings) -> str:
    return settings.machine or socket.gethostname()


@contextmanager
def _postgresql() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise SettingsError("store: PostgreSQL needs an extra, install 'sluice[postgresql]'") from error
