"""Results as messages, each confirmed by the broker."""

from __future__ import annotations

import re
import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from itertools import takewhile
from typing import Any, Final

from pamqp import commands

from adapters.rabbitmq import dead_letter, properties
from adapters.rabbitmq.frames import END
from adapters.rabbitmq.link import Link
from adapters.rabbitmq.publication import Publication
from adapters.rabbitmq.settings import RabbitInput, RabbitOutput
from adapters.rabbitmq.wire import CHANNEL, Wire
from gateway.core.crashpoint import crash
from gateway.core.stream import Context, DataError, DeadLetter, Headers, Rows, Sink, Transient

#: bytes that are handed to the connection at once
CHUNK: Final = 256 << 10
#: batches that failed and are tried again, at most
REMEMBERED: Final = 64
CORRELATION: Final = f"{properties.PREFIX}correlation_id"
REPLY_TO: Final = f"{properties.PREFIX}reply_to"

_TOO_LARGE: Final = re.compile(r"message size \d+ is larger than (?:configured )?max size (\d+)")
_CONTENT: Final = struct.Struct(">BHIHHQ").pack
_FRAME: Final = struct.Struct(">BHI").pack
_END: Final = bytes((END,))


class RabbitSink:
    """An Output. A write returns when the broker has confirmed each of its messages: it is in its queues, and on the
    disk where the queue is durable or a quorum has it.

    A result that no queue takes is never lost: where a fixed queue or exchange is meant, that is waited for; where the
    queue of someone who asked is gone, it is that record's error.
    """

    def __init__(self, settings: RabbitOutput, context: Context) -> None:
        settings.check()
        self._settings: Final = settings
        self._link: Final = Link(settings)
        self._mode: Final = 2 if settings.persistent else 1
        self._content_type: Final = settings.content_type.encode()
        self._default: Final = _method(settings.exchange, settings.routing_key.encode())
        self._next = 1
        #: sequence number → whose it is, and its row there; in their order
        self._open: dict[int, tuple[Publication, int]] = {}
        #: bytes of the largest body that the broker takes; 0: it has not said
        self._largest = 0
        #: of a batch that failed, and is tried again: ids of those that the broker has
        self._had: Final[OrderedDict[tuple[str, int, str], set[str]]] = OrderedDict()

    @property
    def sink(self) -> Sink:
        name = (
            f"exchange '{self._settings.exchange}'"
            if self._settings.exchange
            else f"queue '{self._settings.routing_key}'"
        )
        return Sink("the queue of who asks" if self._settings.reply else name, durable=self._settings.persistent)

    async def connect(self) -> None:
        settings = self._settings
        wire = await self._link.renew()
        self._next = 1
        if settings.exchange:
            await wire.call(commands.Exchange.Declare(0, settings.exchange, passive=True))
        elif settings.routing_key:
            arguments: Any = {"x-queue-type": settings.queue_type} if settings.declare else {}
            await wire.call(
                commands.Queue.Declare(
                    0, settings.routing_key, passive=not settings.declare, durable=True, arguments=arguments
                )
            )
        await wire.call(commands.Confirm.Select())
        wire.on_confirm = self._confirm
        wire.on_return = self._return
        wire.on_lost = self._lose

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        if self._settings.dead_letters == "record":
            await self._write_letters(Rows(dead_letter.records(rows.batch), rows.source))
        else:
            await self._publish(rows)

    async def _write_letters(self, rows: Rows) -> None:
        """One whose asker is gone goes where those of no asker go: there is nobody else to tell of it."""
        while True:
            try:
                return await self._publish(rows)
            except DataError as error:
                at = error.record
                asked = at >= 0 and bool(rows.batch.headers) and _property(rows.batch.headers[at], REPLY_TO)
                if not (self._settings.reply and asked):
                    raise
                headers = list(rows.batch.headers)
                headers[at] = tuple(header for header in headers[at] if header[0] != REPLY_TO)
                rows = Rows(replace(rows.batch, headers=headers), rows.source)

    async def _publish(self, rows: Rows) -> None:
        wire, batch = self._link.wire, rows.batch
        key = rows.source.lane, rows.source.epoch, repr(rows.source.position)
        had = self._had.get(key, set())
        wanted = [at for at, name in enumerate(batch.ids) if name not in had] if had else range(len(batch))
        if not wanted:
            self._had.pop(key, None)
            return
        routes = self._routes(rows, wanted)
        publication = Publication(batch.ids, dict(zip(wanted, routes, strict=True)))
        try:
            await wire.writable()
            for messages in self._messages(rows, wire.frame_max, publication):
                wire.send(messages)
                await wire.writable()
            if crash is not None:
                crash.reach("before-commit")
            await self._confirmed(wire, publication)
            self._judge(rows, publication)
        except BaseException:
            publication.give_up()
            self._remember(key, batch.ids, publication)
            raise
        self._had.pop(key, None)

    @property
    def held(self) -> str:
        """Waited for here, and not by another try: what was published on a connection that the broker has stopped to
        read comes out of it later, and would be there twice."""
        return self._link.blocked

    async def _confirmed(self, wire: Wire, publication: Publication) -> None:
        """Raises Transient."""
        limit = self._settings.confirm_seconds
        while not await publication.over(limit):
            if not wire.blocked_within(limit):
                await self._link.close()
                raise Transient(f"the broker has not confirmed a batch within {limit:g} s")

    async def close(self) -> None:
        await self._link.close()

    def _routes(self, rows: Rows, wanted: Sequence[int]) -> Sequence[bytes]:
        """The method that publishes each. Raises DataError for one that leads nowhere, or is larger than the broker
        takes, before anything is sent."""
        if self._largest:
            for at in wanted:
                if (size := len(rows.batch.values[at] or b"")) > self._largest:
                    raise DataError(f"it has {size} bytes, the broker takes {self._largest} (max_message_size)", at)
        if not self._settings.reply:
            return [self._default] * len(wanted)
        found = []
        fixed = self._settings.routing_key or self._settings.exchange
        for at in wanted:
            reply_to = _property(rows.batch.headers[at], REPLY_TO) if rows.batch.headers else b""
            if not (reply_to or fixed):
                raise DataError("it names no reply_to, and there is no routing_key for those that name none", at)
            found.append(_method("", reply_to) if reply_to else self._default)
        return found

    def _messages(self, rows: Rows, frame_max: int, publication: Publication) -> Iterator[bytes]:
        """Whole messages, about a chunk at a time. Each chunk is to be sent before anything else is."""
        batch = rows.batch
        parts: list[bytes] = []
        size = 0
        for at, method in publication.routes.items():
            headers = batch.headers[at] if batch.headers else ()
            head = properties.build(
                headers,
                mode=self._mode,
                content_type=self._content_type,
                correlation_id=_property(headers, CORRELATION) if headers else b"",
                # what is not the answer itself leaves it to who comes next
                reply_to=_property(headers, REPLY_TO) if headers and method is self._default else b"",
                message_id=_short(batch.ids[at].encode()),
                timestamp=batch.timestamps[at] // 1000 if batch.timestamps else 0,
            )
            if len(head) > frame_max - 20:
                if parts:
                    yield b"".join(parts)
                raise DataError(f"its headers have {len(head)} bytes, the broker takes {frame_max - 20}", at)
            message = _message(method, head, batch.values[at] or b"", frame_max)
            parts.append(message)
            size += len(message)
            self._open[self._next] = publication, at
            self._next += 1
            if size > CHUNK:
                yield b"".join(parts)
                parts, size = [], 0
        if parts:
            yield b"".join(parts)

    def _judge(self, rows: Rows, publication: Publication) -> None:
        """Raises DataError, Transient where not all of it is where it should be."""
        if publication.rejected:
            raise Transient(
                f"the broker refused {len(publication.rejected)} messages: a queue is full, or its node failed"
            )
        for at, reason in sorted(publication.unroutable.items()):
            reply_to = _property(rows.batch.headers[at], REPLY_TO) if rows.batch.headers else b""
            if self._settings.reply and reply_to:
                raise DataError(f"nobody waits for the reply at '{reply_to.decode('utf-8', 'replace')}': {reason}", at)
            where = f"exchange '{self._settings.exchange}', routing key '{self._settings.routing_key}'"
            raise Transient(f"no queue takes what is published to {where}: {reason}")

    def _remember(self, key: tuple[str, int, str], ids: Sequence[str], publication: Publication) -> None:
        """A second try is for those that the broker does not have. Ids that two records share tell nothing."""
        if len(set(ids)) == len(ids):
            self._had.setdefault(key, set()).update(ids[at] for at in publication.confirmed)
            if len(self._had) > REMEMBERED:
                self._had.popitem(last=False)

    def _confirm(self, tag: int, multiple: bool, taken: bool) -> None:
        numbers = list(takewhile(tag.__ge__, self._open)) if multiple else [tag]
        for number in numbers:
            found = self._open.pop(number, None)
            if found is not None:
                found[0].settle(found[1], taken)

    def _return(self, reason: str, exchange: bytes, routing_key: bytes, head: bytes) -> None:
        """Comes before the confirm of that message, and tells which it was by its id and where it was to go."""
        name, route = properties.parse(head).message_id, _method(exchange.decode(), routing_key)
        for publication, at in self._open.values():
            other = at in publication.unroutable or publication.routes[at] != route
            if not other and _short(publication.ids[at].encode()) == name:
                publication.unroutable[at] = reason
                return

    def _lose(self, error: Transient) -> None:
        # It does not say at which message: the next try knows. Another life of the broker may have another limit.
        limit = _TOO_LARGE.search(error.message)
        self._largest = int(limit[1]) if limit else 0
        found, self._open = self._open, {}
        for publication in {id(one): one for one, _ in found.values()}.values():
            publication.fail(error)


def redrive(settings: RabbitInput, context: Context) -> RabbitSink:
    """Puts messages back into the queue that they were read from."""
    return RabbitSink(
        RabbitOutput(
            url=settings.url,
            password_file=settings.password_file,
            tls=settings.tls,
            heartbeat_seconds=settings.heartbeat_seconds,
            connect_seconds=settings.connect_seconds,
            routing_key=settings.queue,
        ),
        context,
    )


def _property(headers: Headers, name: str) -> bytes:
    for key, value in headers:
        if key == name:
            return value[:255]
    return b""


def _short(text: bytes) -> bytes:
    """As a short string; a longer one by its digest."""
    return text if len(text) <= 255 else sha256(text).hexdigest().encode()


@lru_cache(1024)
def _method(exchange: str, routing_key: bytes) -> bytes:
    """The frame of basic.publish, mandatory."""
    name = exchange.encode()
    body = b"\0\x3c\0\x28\0\0%c%b%c%b\x01" % (len(name), name, len(routing_key), routing_key)
    return _FRAME(1, CHANNEL, len(body)) + body + _END


def _message(method: bytes, head: bytes, body: bytes, frame_max: int) -> bytes:
    """All frames of a message; `head` is its properties from the flags on."""
    size = len(body)
    header = _CONTENT(2, CHANNEL, 12 + len(head), 60, 0, size)
    most = frame_max - 8
    if size <= most:
        return b"".join(
            (method, header, head, _END, _FRAME(3, CHANNEL, size), body, _END) if size else (method, header, head, _END)
        )
    parts = [method, header, head, _END]
    for at in range(0, size, most):
        part = body[at : at + most]
        parts += (_FRAME(3, CHANNEL, len(part)), part, _END)
    return b"".join(parts)
