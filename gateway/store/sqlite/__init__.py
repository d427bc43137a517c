"""The control state, and leases, in SQLite files of the state folder: for one gateway on one machine."""

from gateway.store.sqlite.leases import SqliteLeases
from gateway.store.sqlite.store import SqliteStore
from gateway.store.sqlite.view import SqliteView

__all__ = ["SqliteLeases", "SqliteStore", "SqliteView"]
