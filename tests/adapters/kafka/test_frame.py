from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from adapters.kafka.frame import FrameProtocol

BLOB = os.urandom(3_000_000)
SIZE = struct.Struct(">i")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As many bytes as are asked for, behind their number; of a negative number half, and then the end."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            (count,) = SIZE.unpack(await reader.readexactly(4))
            if count < 0:
                writer.write(SIZE.pack(-count) + BLOB[: -count // 2])
                break
            writer.write(SIZE.pack(count) + BLOB[:count])
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """As aiokafka connects."""
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        reader = asyncio.StreamReader(limit=65536, loop=loop)
        closed = loop.create_future()
        protocol = FrameProtocol(closed, reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, *server.sockets[0].getsockname())
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        yield reader, writer
        writer.close()
        await closed


async def frame(reader: asyncio.StreamReader) -> bytes:
    (count,) = SIZE.unpack(await reader.readexactly(4))
    return await reader.readexactly(count)


async def sizes() -> None:
    async with connected() as (reader, writer):
        wanted = [10, 65_535, 3_000_000, 65_536, 5, 200_000, 3_000_000]
        for count in wanted:
            writer.write(SIZE.pack(count))
            found = await frame(reader)
            assert type(found) is bytes
            assert found == BLOB[:count]
        # and all that are on their way at the same time
        writer.write(b"".join(map(SIZE.pack, wanted)))
        for count in wanted:
            assert await frame(reader) == BLOB[:count]


async def end() -> None:
    async with connected() as (reader, writer):
        writer.write(SIZE.pack(-2_000_000))
        with pytest.raises(asyncio.IncompleteReadError):
            await frame(reader)


async def nonsense() -> None:
    """What HTTP says, read as a size, is a gigabyte."""
    async with connected() as (reader, writer):
        (size,) = SIZE.unpack(b"HTTP")
        writer.write(SIZE.pack(-size))
        tracemalloc.start()
        try:
            with pytest.raises(asyncio.IncompleteReadError):
                await frame(reader)
            assert tracemalloc.get_traced_memory()[1] < 10 * len(BLOB)
        finally:
            tracemalloc.stop()


async def cancelled() -> None:
    async with connected() as (reader, writer):
        writer.write(SIZE.pack(100_000))
        (count,) = SIZE.unpack(await reader.readexactly(4))
        waiting = asyncio.create_task(reader.readexactly(2 * count))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("case", [sizes, end, nonsense, cancelled])
def test_frames_of_any_size(run: Callable[[Awaitable[None]], None], case: Callable[[], Awaitable[None]]) -> None:
    run(case())
