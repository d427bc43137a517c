"""What a broker sends, frame by frame.

Format: AMQP 0-9-1, sections 2.3 and 4.2; RabbitMQ's extension basic.nack.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pamqp import frame
from pamqp.exceptions import PAMQPException

from adapters.rabbitmq.settings import Address
from gateway.core.stream import Transient

END: Final = 0xCE
#: bytes of a frame that we ask for
FRAME: Final = 131072

_HEAD: Final = struct.Struct(">BHI")
_METHOD: Final = struct.Struct(">I").unpack_from
_TAG: Final = struct.Struct(">Q").unpack_from
_SIZE: Final = struct.Struct(">Q").unpack_from

_DELIVER: Final = 60 << 16 | 60
_RETURN: Final = 60 << 16 | 50
ACKED: Final = 60 << 16 | 80
_NACKED: Final = 60 << 16 | 120


class Delivery(NamedTuple):
    """A message as it came: `head` is what its method has behind the consumer's tag, `properties` from the flags on."""

    tag: int
    head: bytes
    properties: bytes
    body: bytes

    @property
    def routing_key(self) -> bytes:
        at = 9  # the tag, and whether it was delivered before
        at += 1 + self.head[at]
        return self.head[at + 1 : at + 1 + self.head[at]]


class Frames(asyncio.Protocol):
    """What happens for each message (a delivery, a confirm, a return) is read here by hand, and told to `on_…`;
    everything else goes by pamqp to `_rare`. What cannot be read ends the connection (`_lose`)."""

    def __init__(self, address: Address) -> None:
        self.on_delivery: Callable[[Delivery], None] = ignore
        #: tag, whether those before it are meant, too, and whether the broker has it
        self.on_confirm: Callable[[int, bool, bool], None] = ignore
        #: reason, exchange, routing key, and the message's properties
        self.on_return: Callable[[str, bytes, bytes, bytes], None] = ignore
        self._address: Final = address
        self._loop: Final = asyncio.get_running_loop()
        self._rest = b""
        self._method: tuple[int, bytes] | None = None
        self._properties = b""
        self._body: list[bytes] = []
        self._left = 0
        self._frame_max = FRAME
        self._heard = self._loop.time()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        head = _HEAD.unpack_from
        while size - at >= 8:
            kind, channel, length = head(data, at)
            stop = at + 7 + length
            if length > self._frame_max or kind not in (1, 2, 3, 8):
                self._refuse(data[at : at + 8])
                return
            if stop >= size:
                break
            if data[stop] != END:
                self._refuse(data[at : at + 8])
                return
            try:
                self._take(kind, channel, data, at + 7, stop)
            except (struct.error, IndexError, ValueError, KeyError, PAMQPException) as error:
                self._lose(Transient(f"{self._address} sent a frame that cannot be read: {error}"))
                return
            at = stop + 1
        self._rest = data[at:]

    def _take(self, kind: int, channel: int, data: bytes, at: int, stop: int) -> None:
        if kind == 3:
            self._body.append(data[at:stop])
            self._left -= stop - at
            if self._left <= 0:
                self._complete()
        elif kind == 2:
            (self._left,) = _SIZE(data, at + 4)
            self._properties = data[at + 12 : stop]
            if not self._left:
                self._complete()
        elif kind == 1:
            (method,) = _METHOD(data, at)
            if method in (_DELIVER, _RETURN):
                self._method = method, data[at + 4 : stop]
                self._body = []
            elif method in (ACKED, _NACKED):
                (tag,) = _TAG(data, at + 4)
                self.on_confirm(tag, bool(data[at + 12] & 1), method == ACKED)
            else:
                self._rare(frame.unmarshal(data[at - 7 : stop + 1])[2])

    def _complete(self) -> None:
        """A message is here with all of its body."""
        if self._method is None:
            raise ValueError("content without a method")
        method, arguments = self._method
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._method, self._body = None, []
        if method == _DELIVER:
            head = arguments[1 + arguments[0] :]
            (tag,) = _TAG(head)
            self.on_delivery(Delivery(tag, head, self._properties, body))
        else:
            reason, at = _short(arguments, 2)
            exchange, at = _short(arguments, at)
            key, _ = _short(arguments, at)
            self.on_return(reason.decode("utf-8", "replace"), exchange, key, self._properties)

    def _refuse(self, data: bytes) -> None:
        if data.startswith(b"AMQP"):
            self._lose(Transient(f"{self._address} speaks another version of AMQP than 0.9.1"))
        else:
            self._lose(Transient(f"{self._address} does not speak AMQP: it sent {data!r}"))

    def _rare(self, method: Any) -> None:
        raise NotImplementedError

    def _lose(self, error: Transient) -> None:
        raise NotImplementedError


def _short(data: bytes, at: int) -> tuple[bytes, int]:
    """A short string, and where it ends."""
    end = at + 1 + data[at]
    return data[at + 1 : end], end


def ignore(*_: Any) -> None:
    pass
