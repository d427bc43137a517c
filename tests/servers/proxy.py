"""A TCP proxy in the test's own event loop: the network between a client and a server, to be cut at a chosen byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit


class Proxy:
    """`url` is the server's with the proxy's port in its place.

    `silent()` swallows everything from now on, both ways and on new connections too; `speak()` ends that: what was
    swallowed is lost, so the connections of that time are closed. `cut` sees what clients send, and says what is to
    become of it: "" to pass it on, "before" to close the connection instead, "after" to close it once it was sent,
    without the server's answer.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.url = ""
        self.cut: Callable[[bytes], str] = lambda data: ""
        self.connections = 0
        self._silent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user, at, _ = self._url.netloc.rpartition("@")
        self.url = self._url._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.close_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def silent(self) -> None:
        self._silent = True

    def speak(self) -> None:
        self._silent = False
        self.close_all()

    def close_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            upstream, to_server = await asyncio.open_connection(self._url.hostname, self._url.port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, to_server}
        self._writers |= pair
        for task in (
            asyncio.create_task(self._pump(reader, to_server, pair, self._rule)),
            asyncio.create_task(self._pump(upstream, writer, pair, lambda data: "")),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _rule(self, data: bytes) -> str:
        return self.cut(data)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        pair: set[asyncio.StreamWriter],
        rule: Callable[[bytes], str],
    ) -> None:
        try:
            while data := await source.read(65536):
                if self._silent:
                    continue
                verdict = rule(data)
                if verdict != "before":
                    target.write(data)
                    await target.drain()
                if verdict:
                    break
            else:
                if self._silent:
                    # not even that the other side has gone is to be seen
                    await asyncio.Event().wait()
        except OSError:
            pass
        finally:
            for writer in pair:
                writer.transport.close() if writer is target else writer.transport.abort()
            self._writers -= pair
