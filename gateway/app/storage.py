"""Which store the settings name."""

from __future__ import annotations

import socket
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from gateway.settings import Settings, SettingsError
from gateway.settings.location import fault
from gateway.settings.token import read_secret
from gateway.store.contract import Store
from gateway.store.sqlite import SqliteStore


def storage(settings: Settings) -> AbstractAsyncContextManager[Store]:
    """Not open yet. Raises SettingsError."""
    folder, url = Path(settings.state), settings.store
    if settings.store_file:
        url = read_secret(Path(settings.store_file), "store_file", "the store's URL")
        if wrong := fault(url):
            raise SettingsError(f"store_file: {wrong}")
    if not url:
        return SqliteStore(folder)
    try:
        # its libraries take memory and time: they are loaded where they are needed
        from gateway.store.postgresql.store import PostgresqlStore
    except ImportError as error:
        raise SettingsError("store: PostgreSQL needs an extra, install 'sluice[postgresql]'") from error
    return PostgresqlStore(url, folder, settings.machine or socket.gethostname())
