"""What input and output do with a connection: make one, to whichever node is there, and make it again."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from adapters.rabbitmq.settings import Broker
from adapters.rabbitmq.wire import Wire
from gateway.core.stream import Transient


class Link:
    """Belongs to the event loop."""

    def __init__(self, settings: Broker) -> None:
        self._settings: Final = settings
        self._addresses: Final = settings.addresses()
        self._tries: Final = count()
        self._wire: Wire | None = None

    @property
    def wire(self) -> Wire:
        """Raises Transient where there is none, or none any more."""
        if self._wire is None:
            raise Transient(f"not connected to {self._addresses[0]}")
        self._wire.check()
        return self._wire

    @property
    def blocked(self) -> str:
        """Why the broker takes no messages at present; "" where it does, or there is none."""
        return self._wire.blocked if self._wire is not None else ""

    async def renew(self) -> Wire:
        """A new connection; the one before is closed. Raises Transient."""
        await self.close()
        address = self._addresses[next(self._tries) % len(self._addresses)]
        if self._settings.password_file:
            address = replace(address, password=await asyncio.to_thread(_password, self._settings.password_file))
        self._wire = Wire(self._settings, address)
        await self._wire.open()
        return self._wire

    async def close(self) -> None:
        if self._wire is not None:
            wire, self._wire = self._wire, None
            await wire.close()


def _password(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Transient(f"rabbitmq.password_file: '{path}' cannot be read: {error}") from error
