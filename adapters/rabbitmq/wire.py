"""One connection to a broker with one channel, by AMQP 0.9.1 on the event loop.

What happens for each message (a delivery, a publish, a confirm) is read and written by hand, in frames.py, here and in
sink.py; everything else goes by pamqp. A client library takes ten times as long a message.

Format: AMQP 0-9-1, sections 2.3 and 4.2; RabbitMQ's extensions: basic.nack, confirm.select, consumer_cancel_notify,
connection.blocked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Callable
from math import inf
from typing import Any, Final, cast

from pamqp import commands, frame
from pamqp.base import Frame

from adapters.rabbitmq.frames import ACKED, END, FRAME, Frames, ignore
from adapters.rabbitmq.settings import Address, Broker
from gateway import __version__
from gateway.core.stream import Transient

logger = logging.getLogger("sluice.rabbitmq")

CHANNEL: Final = 1

_ACK: Final = struct.Struct(">BHIIQBB").pack
_BEAT: Final = b"\x08\0\0\0\0\0\0\xce"


class Wire(Frames):
    """Belongs to the event loop. `lost` says why it is no more; everything then raises that."""

    def __init__(self, settings: Broker, address: Address) -> None:
        super().__init__(address)
        self._settings: Final = settings
        self.lost: Transient | None = None
        #: why the broker takes no messages at present
        self.blocked = ""
        self._relieved = -inf
        self.on_lost: Callable[[Transient], None] = ignore
        self._transport: asyncio.Transport | None = None
        self._turn: Final = asyncio.Lock()
        self._answer: asyncio.Future[Frame] | None = None
        self._gone: Final[asyncio.Future[None]] = self._loop.create_future()
        self._writable: asyncio.Future[None] | None = None
        self._unblocked: asyncio.Future[None] | None = None
        self._heartbeat = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._spoke = self._heard

    async def open(self) -> None:
        """Connects, logs in and opens the channel. Raises Transient."""
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                await self._connect()
                await self._log_in()
                await self.call(commands.Channel.Open())
        except TimeoutError as error:
            lost = Transient(f"{self._address} did not answer within {self._settings.connect_seconds:g} s")
            self._lose(lost)
            raise lost from error
        except OSError as error:
            lost = Transient(f"{self._address} cannot be connected to: {error.strerror or error}")
            self._lose(lost)
            raise lost from error

    async def call(self, method: Frame) -> Frame:
        """Its answer. Raises Transient, with the broker's own words where it closes the channel instead."""
        async with self._turn:
            self.check()
            self._answer = self._loop.create_future()
            try:
                self.send(frame.marshal(method, 0 if isinstance(method, _OF_CONNECTION) else CHANNEL))
                async with asyncio.timeout(self._settings.connect_seconds):
                    return await self._answer
            except TimeoutError as error:
                self._lose(Transient(f"{self._address} did not answer within {self._settings.connect_seconds:g} s"))
                raise Transient(f"{self._address} did not answer {method.name}") from error
            finally:
                self._answer = None

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
            self._spoke = self._loop.time()

    def acknowledge(self, tag: int) -> None:
        """That delivery, and all before it."""
        self.check()
        self.send(_ACK(1, CHANNEL, 13, ACKED, tag, 1, END))

    def check(self) -> None:
        if self.lost is not None:
            raise Transient(self.lost.message) from self.lost

    @property
    def frame_max(self) -> int:
        return self._frame_max

    async def writable(self) -> None:
        """Waits while too much that was sent has not left yet, or the broker takes no messages."""
        while (obstacle := self._writable or self._unblocked) is not None:
            await asyncio.shield(obstacle)
        self.check()

    def blocked_within(self, seconds: float) -> bool:
        """Whether the broker took no messages at some time of the last seconds."""
        return bool(self.blocked) or self._loop.time() - self._relieved < seconds

    def hold(self, still: bool) -> None:
        """Stops reading, so that the broker stops sending; and goes on."""
        if self._transport is not None and not self._transport.is_closing():
            if still:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    async def close(self) -> None:
        if self._transport is None:
            return
        try:
            if self.lost is None:
                with contextlib.suppress(TimeoutError, Transient):
                    async with asyncio.timeout(2):
                        await self.call(commands.Connection.Close(200, "done", 0, 0))
        finally:  # also for who is cancelled meanwhile
            self._lose(Transient("the connection was closed"))
        await self._gone

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no such type
        self._transport.set_write_buffer_limits(high=1 << 20)

    def connection_lost(self, error: Exception | None) -> None:
        self._lose(Transient(f"the connection to {self._address} is lost{f': {error}' if error else ''}"))
        if self._timer is not None:
            self._timer.cancel()
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _rare(self, method: Any) -> None:
        match method:
            case commands.Connection.Close() | commands.Channel.Close():
                self.send(_CLOSE_OK[type(method)])
                what = "the connection" if isinstance(method, commands.Connection.Close) else "the channel"
                self._lose(Transient(f"{self._address} closed {what}: {method.reply_code} {method.reply_text}"))
            case commands.Basic.Cancel():
                self._lose(
                    Transient(
                        f"{self._address} cancelled the consumer: its queue was deleted, or moved to another node"
                    )
                )
            case commands.Connection.Blocked():
                self.blocked = f"{self._address} takes no messages: {method.reason or 'low on resources'}"
                logger.warning("%s", self.blocked)
                self._unblocked = self._unblocked or self._loop.create_future()
            case commands.Connection.Unblocked():
                logger.info("%s takes messages again", self._address)
                self._unblock()
            case commands.Channel.Flow():
                self.send(frame.marshal(commands.Channel.FlowOk(method.active), CHANNEL))
            case Frame():
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(method)

    def _unblock(self) -> None:
        self.blocked = ""
        self._relieved = self._loop.time()
        if self._unblocked is not None and not self._unblocked.done():
            self._unblocked.set_result(None)
        self._unblocked = None

    def _lose(self, error: Transient) -> None:
        """Says once to everybody who waits that it is over."""
        if self.lost is None:
            self.lost = error
            if self._timer is not None:
                self._timer.cancel()
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(error)
            self.resume_writing()
            self._unblock()
            self.on_lost(error)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            # a broker that stands still does not take what is left to be sent
            self._timer = self._loop.call_later(2, self._transport.abort)

    async def _connect(self) -> None:
        address = self._address
        context = self._settings.tls.context() if address.secure else None
        await self._loop.create_connection(
            lambda: self, address.host, address.port, ssl=context, server_hostname=address.host if context else None
        )

    async def _log_in(self) -> None:
        self.check()
        self._answer = self._loop.create_future()
        self.send(b"AMQP\0\0\x09\x01")
        start: Any = await self._answer
        self._answer = None
        mechanism, response = "PLAIN", f"\0{self._address.user}\0{self._address.password}"
        if self._settings.tls.certificate and "EXTERNAL" in str(start.mechanisms).split():
            mechanism, response = "EXTERNAL", ""
        client: Any = {
            "product": "sluice",
            "version": __version__,
            "capabilities": {
                "authentication_failure_close": True,
                "basic.nack": True,
                "connection.blocked": True,
                "consumer_cancel_notify": True,
                "publisher_confirms": True,
            },
        }
        tune: Any = await self.call(commands.Connection.StartOk(client, mechanism, response, "en_US"))
        self._frame_max = min(tune.frame_max or FRAME, FRAME)
        wanted = self._settings.heartbeat_seconds
        beat = min(wanted, tune.heartbeat) if tune.heartbeat else wanted
        self.send(frame.marshal(commands.Connection.TuneOk(1, self._frame_max, beat), 0))
        await self.call(commands.Connection.Open(self._address.vhost))
        if beat:
            self._heartbeat = float(beat)
            self._beat()

    def _beat(self) -> None:
        now = self._loop.time()
        reading = self._transport is not None and self._transport.is_reading()
        if reading and now - self._heard > 2 * self._heartbeat:
            self._lose(Transient(f"{self._address} was silent for {now - self._heard:.0f} s"))
            return
        if now - self._spoke >= self._heartbeat / 2:
            self.send(_BEAT)
        self._timer = self._loop.call_later(self._heartbeat / 3, self._beat)


_OF_CONNECTION: Final = (
    commands.Connection.StartOk,
    commands.Connection.TuneOk,
    commands.Connection.Open,
    commands.Connection.Close,
)
_CLOSE_OK: Final = {
    commands.Connection.Close: frame.marshal(commands.Connection.CloseOk(), 0),
    commands.Channel.Close: frame.marshal(commands.Channel.CloseOk(), CHANNEL),
}
