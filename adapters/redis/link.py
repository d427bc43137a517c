"""A connection to a server, and its errors as the pipeline's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.redis.settings import Server
from gateway.core.errors import SluiceError
from gateway.core.stream import Transient

#: an error's code → what is to be done about it
_HINTS: Final = {
    "NOGROUP": "the consumer group is gone, and is made again",
    "READONLY": "it is a replica: name the primary in `url`",
    "MOVED": "it is a node of a cluster that does not have this key; clusters are not followed",
    "CROSSSLOT": "in a cluster the streams of input and output have to be of one slot: {tag} in both names",
    "OOM": "make room, or raise its maxmemory",
    "MISCONF": "it cannot write its disk",
    "NOPERM": "its ACL has to let this user do that",
}
#: RuntimeError is uvloop's, of a connection that is closed already
_FAILURES: Final = (exceptions.RedisError, OSError, RuntimeError)


class Link:
    """A client, made anew at each connect. It repeats nothing: that is the runner's."""

    def __init__(self, settings: Server) -> None:
        self.place: Final = settings.place()
        self.name: Final = f"Redis stream '{settings.stream}'"
        self._settings: Final = settings
        self._client: Any = None  # redis-py's types are of all its protocols at once

    @property
    def client(self) -> Any:
        if self._client is None:
            raise Transient(f"{self.name} is not connected")
        return self._client

    async def renew(self) -> Any:
        await self.close()
        given, parts = self._settings, urlsplit(self._settings.url)
        with self.doing("connecting to"):
            self._client = Redis(
                host=parts.hostname or "", port=parts.port or 6379, db=int(self.place.rpartition("/")[2]),
                username=unquote(parts.username or "") or None, password=unquote(parts.password or "") or None,
                socket_timeout=given.timeout_seconds, socket_connect_timeout=given.timeout_seconds, protocol=2,
                retry=Retry(NoBackoff(), 0), **(given.tls.arguments() if parts.scheme == "rediss" else {}),
            )  # fmt: skip
            await self._client.ping()
        return self._client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(*_FAILURES):
                await client.aclose()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        task, failed = asyncio.current_task(), None
        wishes = task.cancelling() if task else 0
        try:
            yield
        except _FAILURES as error:
            failed = error
        if task and task.cancelling() > wishes:
            raise asyncio.CancelledError from failed  # Python 3.11's wait_for, which redis-py uses, may lose it
        if failed:
            raise _failure(failed, f"{what} {self.name} at {self.place}") from failed


def _failure(error: Exception, what: str) -> SluiceError:
    text = str(error) or type(error).__name__
    code = getattr(error, "status_code", None) or text.partition(" ")[0]
    if "The user executing the script" in text:
        code = "NOPERM"
    return Transient(f"{what}: {text}" + (f": {_HINTS[code]}" if code in _HINTS else ""))
