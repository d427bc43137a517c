"""The public keys of an issuer: looked at in the background, kept through outages, looked at anew when they rotate."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from gateway.core.errors import Unavailable

logger = logging.getLogger("sluice.security")

#: bits of an RSA key
SMALLEST: Final = 2048
#: keys of one issuer
MOST: Final = 100
#: seconds to the next look after one that failed
RETRY: Final = 5.0

_EC_OF: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class PublicKey(NamedTuple):
    """`id` "" where the issuer gave none, `algorithm` "" where it leaves that to the token."""

    id: str
    algorithm: str
    key: RSAKey | ECKey | OKPKey

    def takes(self, algorithm: str) -> bool:
        """Whether it is the kind of key that the algorithm signs with."""
        if self.algorithm and self.algorithm != algorithm:
            return False
        if algorithm[:2] in ("RS", "PS"):
            return isinstance(self.key, RSAKey)
        if algorithm[:2] == "ES":
            return isinstance(self.key, ECKey) and self.key.curve_name == _EC_OF[algorithm]
        return isinstance(self.key, OKPKey) and self.key.curve_name == "Ed25519"


class Jwks:
    """`async with` looks at the keys from then on.

    read       the document; raises Unavailable
    refresh    seconds between two looks
    cooldown   the least seconds between two looks of which tokens are the cause
    changed    called when other keys are there than before
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[bytes]],
        *,
        refresh: float = 300.0,
        cooldown: float = 10.0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.changed = changed
        self._read = read
        self._refresh = refresh
        self._cooldown = cooldown
        self._keys: tuple[PublicKey, ...] = ()
        self._document: Any = None
        self._asked = asyncio.Event()
        self._looked: asyncio.Future[None] | None = None
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._tell()

    @property
    def known(self) -> bool:
        """Whether the keys were ever read."""
        return bool(self._keys)

    def find(self, id: str, algorithm: str) -> list[PublicKey]:
        """Those that may have signed a token: with its key's id, or where it names none, all that fit."""
        return [key for key in self._keys if key.takes(algorithm) and (not id or key.id == id)]

    def look(self) -> asyncio.Future[None] | None:
        """Asks for a look, out of turn: done when it is over, however it ended. None: not yet again."""
        loop = asyncio.get_running_loop()
        if self._looked is None:
            if loop.time() < self._next or self._task is None:
                return None
            self._looked = loop.create_future()
            self._asked.set()
        return self._looked

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._asked.clear()
            if self._looked is None:
                self._looked = loop.create_future()
            try:
                good = await self._take()
            except Exception:
                logger.exception("the issuer's keys cannot be read")
                good = False
            finally:
                self._next = loop.time() + self._cooldown
                self._tell()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh if good else min(self._refresh, RETRY)):
                    await self._asked.wait()

    async def _take(self) -> bool:
        try:
            document = json.loads(await self._read())
            keys = tuple(read_keys(document))
            if not keys:
                raise Unavailable("no key in it can be used")
        except (Unavailable, ValueError, RecursionError) as error:
            kept = "those from before are kept" if self._keys else "there are none"
            logger.warning("the issuer's keys cannot be read, %s: %s", kept, error)
            return False
        if document != self._document:
            self._document, self._keys = document, keys
            self.changed()
        return True

    def _tell(self) -> None:
        waiting, self._looked = self._looked, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


def read_keys(document: Any) -> list[PublicKey]:
    """The keys of a JWK set (RFC 7517) that verify signatures; others are passed over. Raises Unavailable."""
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise Unavailable("expected a JWK set, {'keys': […]}")
    return [key for entry in entries[:MOST] if isinstance(entry, dict) and (key := _read_key(entry)) is not None]


def _read_key(entry: dict[str, Any]) -> PublicKey | None:
    key_id, algorithm = entry.get("kid", ""), entry.get("alg", "")
    if entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use", "sig") != "sig":
        return None
    if not isinstance(key_id, str) or not isinstance(algorithm, str):
        return None
    if len(str(entry.get("n", ""))) * 6 < SMALLEST and entry["kty"] == "RSA":
        return None
    try:
        key = import_key(entry)
        if isinstance(key, RSAKey) and key.public_key.key_size < SMALLEST:
            return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return PublicKey(key_id, algorithm, key) if isinstance(key, RSAKey | ECKey | OKPKey) else None
