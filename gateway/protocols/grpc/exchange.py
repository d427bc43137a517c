"""One call: its messages out of the stream's data, its reply into it, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.codecs.compression import Decompressor
from gateway.core.errors import DeadlineExceeded, InvalidArgument, SluiceError, TooLarge, Unavailable, Unsupported
from gateway.protocols.grpc.head import Head
from gateway.protocols.grpc.reply import CODED_HEAD, CODINGS, GOOD, HEAD, coded_message, message, trailers
from gateway.protocols.http2.connection import Connection
from gateway.protocols.http2.stream import Stream

if TYPE_CHECKING:
    from gateway.protocols.grpc.server import CallService

#: bytes before a message: whether it is compressed, and its length
PREFIX: Final = 5
#: bytes of a decompressed message that are made on the event loop; what is larger, a thread makes
BRIEF: Final = 256 << 10


class Call(Stream):
    """A subclass takes messages and says how the call is answered.

    limit     bytes of a message, decompressed or not
    patient   the caller may take all the time it wants for its messages
    """

    patient = False

    __slots__ = (
        "_awaits",
        "_busy",
        "_chunks",
        "_complete_told",
        "_have",
        "_headed",
        "_need",
        "_since",
        "_withheld",
        "head",
        "limit",
        "over",
        "service",
    )

    def __init__(self, service: CallService, connection: Connection, number: int, head: Head, limit: int) -> None:
        super().__init__(connection, number)
        self.service = service
        self.head = head
        self.limit = limit
        #: nothing more is sent
        self.over = False
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 0
        self._since = service.now
        self._withheld = 0
        self._headed = False
        self._complete_told = False
        #: a message is being decompressed
        self._busy = False
        #: it is not known yet who calls
        self._awaits = False

    # ---- for subclasses

    def on_message(self, body: bytes) -> None:
        raise NotImplementedError

    def on_complete(self) -> None:
        """The caller has said everything."""
        raise NotImplementedError

    def takes(self) -> bool:
        """Whether a further message may come now; `go_on` once it may again."""
        return True

    def on_over(self) -> None:
        """The call is over, in one way or another: frees what it holds. Called once."""

    def reply(self, body: bytes, *, last: bool = False) -> None:
        """Sends a message; the `last` one ends the call well."""
        if self.over:
            return
        service = self.service
        head = b"" if self._headed else HEAD
        self._headed = True
        coding = service.coding
        if coding and coding in self.head.accepts:
            head = head and CODED_HEAD[coding]
            framed = coded_message(body, coding) if len(body) >= service.min_compressed else message(body)
        else:
            framed = b"\0" + len(body).to_bytes(4, "big") + body
        if last:
            self.send(head, framed, GOOD)
            self._end()
        else:
            self.send(head, framed)

    def finish(self) -> None:
        """Ends the call well."""
        if not self.over:
            self.send(b"" if self._headed else HEAD, b"", GOOD)
            self._end()

    def fail(self, error: SluiceError) -> None:
        if not self.over:
            self.send(b"", b"", trailers(error, alone=not self._headed))
            self._end()

    def hold(self, looked: asyncio.Future[None], look: Callable[[], None]) -> None:
        """Takes no message before the issuer's keys were looked at; then `look` raises what the call is answered, or
        lets it go on."""

        def decide(_: object) -> None:
            self._awaits = False
            try:
                look()
            except SluiceError as error:
                self.fail(error)
            else:
                self.go_on()

        self._awaits = True
        looked.add_done_callback(decide)

    def _ready(self) -> bool:
        return not self._awaits and self.takes()

    def go_on(self) -> None:
        """Messages that had to wait are taken."""
        if self._withheld:
            withheld, self._withheld = self._withheld, 0
            self.consumed(withheld)
        self._take()

    # ---- the stream's side

    def on_data(self, data: bytes) -> None:
        if self.over:
            return
        size = len(data)
        if not self._chunks and size >= PREFIX and not data[0] and not self._busy and self._ready():
            length = int.from_bytes(data[1:PREFIX], "big")
            if length == size - PREFIX and length <= self.limit:
                self.consumed(size)
                self.on_message(data[PREFIX:])
                return
        if not self._chunks:
            self._since = self.service.now
        self._chunks.append(data)
        self._have += size
        self.service.held += size
        if self.service.held > self.service.most_held:
            self.fail(Unavailable("the server holds as many bytes of requests as it may", retry_after=1.0))
            return
        if self._ready():
            self.consumed(size)
        else:
            self._withheld += size
        self._take()

    def on_end(self) -> None:
        if not self.over and not self._busy and self._ready():
            self._complete()

    def on_lost(self) -> None:
        self._end()

    def sweep(self, now: float) -> None:
        limits = self.service.limits
        waits_for_us = self.ended or self._busy or not self._ready()
        if self.over or waits_for_us or (self.patient and not self._chunks):
            self._since = now
        elif now - self._since > limits.patience + self._have / limits.min_rate:
            self.fail(DeadlineExceeded("the call's message arrives too slowly"))

    def _take(self) -> None:
        """All messages that are complete and may come now."""
        while self._chunks and not self._busy and not self.over and self._ready():
            if self._have < max(PREFIX, self._need):
                return
            held = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks = [held]
            if not self._need:
                length = int.from_bytes(held[1:PREFIX], "big")
                if held[0] > 1:
                    self.fail(InvalidArgument(f"a message begins with {held[0]}, expected 0 or 1"))
                    return
                if length > self.limit:
                    self.fail(TooLarge(f"the message has {length} bytes, the limit is {self.limit}"))
                    return
                self._need = PREFIX + length
                continue
            body, rest, need = held[PREFIX : self._need], held[self._need :], self._need
            self._chunks, self._need = [rest] if rest else [], 0
            self._have -= need
            self.service.held -= need
            self._since = self.service.now
            if held[0]:
                self._decompress(body)
            else:
                self.on_message(body)
        if self.ended and not self.over and not self._busy and self._ready():
            self._complete()

    def _complete(self) -> None:
        if self._complete_told:
            return
        self._complete_told = True
        if self._chunks:
            self.fail(InvalidArgument("the call ends in the middle of a message"))
        else:
            self.on_complete()

    def _decompress(self, body: bytes) -> None:
        coding = self.head.encoding
        if coding not in CODINGS:
            self.fail(
                Unsupported(
                    f"message coding '{coding.decode('latin-1') or 'none'}' is not known, expected gzip or deflate"
                )
                if coding
                else InvalidArgument("a message is compressed, but the call names no 'grpc-encoding'")
            )
            return
        try:
            decompressor = Decompressor(coding, self.limit)
            plain = decompressor.feed(body, BRIEF)
        except SluiceError as error:
            self.fail(error)
            return
        if decompressor.finished:
            self.on_message(plain)
        else:
            self._busy = True
            self.service.spawn(self._decompress_rest(decompressor))

    async def _decompress_rest(self, decompressor: Decompressor) -> None:
        try:
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(self.service.threads, decompressor.rest)
        except SluiceError as error:
            self.fail(error)
            return
        finally:
            self._busy = False
        if not self.over:
            self.on_message(body)
            self._take()

    def _end(self) -> None:
        if self.over:
            return
        self.over = True
        self.service.held -= self._have
        self._chunks, self._have = [], 0
        self.on_over()
