"""Ports that start and stop together, and what the settings say of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Protocol

from gateway.protocols.http.listener import TlsFiles
from gateway.protocols.http.service import Limits
from gateway.settings import Settings


class Port(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def start(stack: AsyncExitStack, *ports: Port) -> None:
    """They stop together: each may take as long as its clients may."""
    for port in ports:
        await port.start()
    stack.push_async_callback(_stop_all, ports)


async def _stop_all(ports: Iterable[Port]) -> None:
    async with asyncio.TaskGroup() as group:
        for port in ports:
            group.create_task(port.stop())


def limits(settings: Settings) -> Limits:
    given = settings.limits
    return Limits(
        head_bytes=given.header_bytes,
        head_count=given.header_count,
        url_bytes=given.url_bytes,
        json_bytes=given.json_body,
        binary_bytes=given.binary_body,
        load_bytes=settings.load_body,
        head_timeout=given.header_timeout,
        body_timeout=given.body_timeout,
        idle_timeout=given.idle_timeout,
        pipelined=given.pipelined,
        connections=given.connections,
    )


def tls(settings: Settings) -> TlsFiles | None:
    files = settings.tls
    if not files.cert:
        return None
    return TlsFiles(
        cert=files.cert,
        key=files.key,
        client_ca=files.client_ca if files.client_auth != "none" else "",
        client_required=files.client_auth == "required",
    )
