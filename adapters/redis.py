"""Redis streams, by consumer groups: exactly once between streams of one server, and as computed to elsewhere."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.core import letter, stream
from gateway.core.errors import InvalidArgument, SluiceError
from gateway.core.stream import (
    Ability,
    Batch,
    Context,
    Credit,
    DataError,
    DeadLetter,
    Door,
    Lag,
    Rows,
    Token,
    Transient,
)

logger = logging.getLogger("sluice.streams")

#: KEYS: the stream that was read, that of results, that of dead letters. ARGV: group, consumer; then for each entry its
#: id, the key that gets what follows (0: nothing; -1: the entry is only kept) and how many arguments of XADD follow.
#: An entry that another consumer has by now is left to it, with what would have been written, and returned. Nothing
#: fails half-way: types and (since Redis 7) rights are looked at first, and for any other reason a server refuses a
#: script's first write or none of them.
_SETTLE: Final = """
if redis.acl_check_cmd and ARGV[1] ~= '' and not redis.acl_check_cmd('XACK', KEYS[1], ARGV[1], '0-0') then
  return redis.error_reply("NOPERM this user may not run 'xack' on " .. KEYS[1])
end
for i = 2, 3 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= 'stream' then return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind) end
end
local lost, at = {}, 3
while at <= #ARGV do
  local id, key, more = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if id == '' or #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) > 0 then
    if key > 0 then redis.call('XADD', KEYS[key], unpack(ARGV, at + 3, at + 2 + more)) end
    if key < 0 then redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
    elseif id ~= '' then redis.call('XACK', KEYS[1], ARGV[1], id) end
  else
    lost[#lost + 1] = id
  end
  at = at + 3 + more
end
return lost
"""
#: what a server takes that nobody has told otherwise
MAX: Final = 512 << 20
Start = Literal["earliest", "latest"]
#: entries that are asked for at once
_PAGE: Final = 500
#: fields of an entry that Lua can pass on to XADD
_FIELDS: Final = 3500
_KEEP: Final = -1
_DONE: Final = 0
_RESULT: Final = 2
_LETTER: Final = 3
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
#: id, fields, how often it was delivered to a process
_Entry = tuple[str, dict[bytes, bytes], int]


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the server is known, and how it knows us. Without any of it, `rediss://` trusts the system's authorities."""

    ca: Annotated[str, Meta(description="File with the authorities to trust, in PEM.")] = ""
    certificate: Annotated[str, Meta(description="File with our certificate, in PEM.")] = ""
    key: Annotated[str, Meta(description="File with its key, in PEM.")] = ""
    verify_name: Annotated[bool, Meta(description="Whether the host's name must be in its certificate.")] = True

    def arguments(self) -> dict[str, Any]:
        """redis-py's. Raises OSError for a file that cannot be read: later its name would not be told."""
        for name in filter(None, (self.ca, self.certificate, self.key)):
            Path(name).open("rb").close()
        return {
            "ssl": True, "ssl_ca_certs": self.ca or None, "ssl_certfile": self.certificate or None,
            "ssl_keyfile": self.key or None, "ssl_check_hostname": self.verify_name,
        }  # fmt: skip


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What input and output have in common."""

    url: Annotated[str, Meta(description="`redis://user:password@host:port/database`, or `rediss://` for TLS.")]
    tls: Annotated[Tls, Meta(description="For `rediss://`.")] = Tls()
    timeout_seconds: Annotated[float, Meta(description="How long the server may take to answer.", gt=0)] = 30.0
    stream: Annotated[str, Meta(description="The stream's key.", min_length=1)]
    body: Annotated[str, Meta(description="The field that is the record; others are headers.", min_length=1)] = "body"

    def place(self) -> str:
        """Host, port and database: what a transaction spans. Raises InvalidArgument, without the password."""
        shown = self.url.rpartition("@")[2].partition("?")[0]
        try:
            parts = urlsplit(self.url)
            port = parts.port or 6379
        except ValueError as error:
            raise InvalidArgument(f"redis.url: '{shown}': {error}") from error
        database = parts.path.strip("/") or "0"
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.query or not database.isdecimal():
            raise InvalidArgument(f"redis.url: '{shown}', expected redis://user:password@host:port/database")
        return f"{parts.hostname}:{port}/{database}"


class RedisInput(Server, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream that a consumer group reads."""

    key: Annotated[str, Meta(description="The field that is the record's key.")] = ""
    group: Annotated[str, Meta(description="The consumer group; the pipeline's name. Made where it is missing.")] = ""
    consumer: Annotated[str, Meta(description="This process in the group, from restart to restart; host/pipeline.")] = (
        ""
    )
    start: Annotated[Start, Meta(description="Whether a new group is given what is there already.")] = "earliest"
    claim_seconds: Annotated[float, Meta(description="Entries of who was silent for so long are taken over.", gt=0)] = (
        60.0
    )
    max_deliveries: Annotated[int, Meta(description="Deliveries, of which more make a dead letter. 0: any.", ge=0)] = 0


class RedisOutput(Server, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream that results are added to."""

    maxlen: Annotated[int, Meta(description="About how many entries the stream keeps. 0: all.", ge=0)] = 0
    record_bytes: Annotated[
        int, Meta(description="As the server's proto-max-bulk-len: more is a dead letter.", ge=1)
    ] = MAX
    dead_letters: Annotated[str, Meta(description="A stream for dead letters, in the transaction of the results.")] = ""
    fsync: Annotated[bool, Meta(description="Demand of the server `appendonly yes` and `appendfsync always`.")] = False


class Held:
    """The position of a token: the entries that a consumer has. Whoever settles them says so."""

    def __init__(self, place: str, stream: str, group: str, consumer: str, ids: Iterable[str]) -> None:
        self.place, self.stream, self.group, self.consumer = place, stream, group, consumer
        self.ids: Final = dict.fromkeys(ids)
        self.settled = False

    def __str__(self) -> str:
        return "..".join({next(iter(self.ids), ""): None, next(reversed(self.ids), ""): None})

    async def settle(self, client: Any, words: Sequence[Any], results: str = "", letters: str = "") -> None:
        """words: those of _SETTLE. Of keys that are not used, ACLs and clusters hear nothing."""
        keys = [self.stream, results or self.stream, letters or self.stream]
        lost = await client.register_script(_SETTLE)(keys, [self.group, self.consumer, *words])
        if lost:
            logger.warning("%d entries of stream '%s' were taken over by another consumer", len(lost), self.stream)


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


class RedisSource:
    """An Input of one lane, the stream. Its epoch counts connections; who has an entry, the group knows."""

    def __init__(self, settings: RedisInput, context: Context) -> None:
        self._link: Final = Link(settings)
        self._settings: Final = settings
        self._group: Final = settings.group or context.pipeline
        self._consumer: Final = settings.consumer or f"{socket.gethostname()}/{context.pipeline}"
        self._epoch = 0
        #: where to go on with the entries that this consumer had before; "" when all of them are read
        self._behind = ""
        self._inbox: deque[_Entry] = deque()
        #: entries that are read and not settled; those of earlier connections, whose delivery is counted already
        self._open: dict[str, None] = {}
        self._before: dict[str, None] = {}
        self._sweep = 0.0
        #: entries that are asked for; at most so many, and how large the largest of late was
        self._rows, self._most, self._largest = 1, 4, 1
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def source(self) -> stream.Source:
        return stream.Source(self._link.name, f"redis://{self._link.place}", stable_ids=True, shared=True)

    async def connect(self) -> None:
        await self.close()
        client = await self._link.renew()
        with self._link.doing("making a consumer group of"):
            await self._make_group(client)
        self._epoch += 1
        self._behind, self._sweep = "-", time.monotonic()
        self._tasks["keep"] = asyncio.create_task(self._keep(client))

    async def _make_group(self, client: Any) -> None:
        start = "$" if self._settings.start == "latest" and not self._epoch else "0"
        try:
            await client.xgroup_create(self._settings.stream, self._group, start, mkstream=True)
        except exceptions.NoPermissionError:
            return  # it may be there; else reading says so
        except exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            return
        if self._epoch:
            text = "%s: the consumer group '%s' was lost, and its position with it: it begins with what is there now"
            logger.warning(text, self._link.name, self._group)

    async def close(self) -> None:
        tasks, self._tasks = [*self._tasks.values()], {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._before |= self._open
        self._open.clear()
        self._inbox.clear()
        await self._link.close()

    async def read(self, credit: Credit) -> tuple[Batch, Token]:
        while not self._inbox:
            if "fetch" not in self._tasks:
                self._rows = max(1, min(credit.rows, credit.nbytes // self._largest, self._most))
                # what comes is this consumer's, whether the read is cancelled or not
                self._tasks["fetch"] = asyncio.create_task(self._fetch(self._link.client))
            await asyncio.wait((self._tasks["fetch"],))
            with self._link.doing("reading"):
                self._tasks.pop("fetch").result()
        taken: list[_Entry] = []
        size = 0
        while self._inbox and len(taken) < credit.rows and size < credit.nbytes:
            taken.append(self._inbox.popleft())
            size += _size(taken[-1][1])
        return self._batch(taken), Token(self._settings.stream, self._epoch, self._held(entry[0] for entry in taken))

    def _held(self, ids: Iterable[str]) -> Held:
        return Held(self._link.place, self._settings.stream, self._group, self._consumer, ids)

    async def ack(self, token: Token) -> None:
        held: Held = token.position
        if token.epoch != self._epoch:
            raise stream.Fenced(f"{self._link.name} was connected anew, its entries come again")
        if not held.settled:
            with self._link.doing("acknowledging entries of"):
                await held.settle(self._link.client, [word for name in held.ids for word in (name, _DONE, 0)])
        for name in held.ids:
            self._open.pop(name, None)

    async def lag(self) -> Mapping[str, Lag]:
        client, name = self._link.client, self._settings.stream
        with self._link.doing("asking for the lag of"):
            groups = {found["name"].decode(): found for found in await client.xinfo_groups(name)}
            group = groups.get(self._group, {})
            if group.get("lag") is None:  # before Redis 7, or entries were deleted
                return {name: Lag()}
            waiting = await client.xrange(name, b"(" + group["last-delivered-id"], "+", 1)
        oldest = [entry[0] for entry in [*self._inbox][:1]] or [entry.decode() for entry, _ in waiting]
        age = max(0.0, time.time() - _milliseconds(oldest[0]) / 1000) if oldest else 0.0
        return {name: Lag(group["lag"] + len(self._inbox), age)}

    async def _keep(self, client: Any) -> None:
        """Signs of life for what is in flight, that nobody takes it over while a model or an output is slow."""
        while True:
            await asyncio.sleep(self._settings.claim_seconds / 3)
            with suppress(Transient), self._link.doing("keeping entries of"):
                await self._held(()).settle(client, [word for name in self._open for word in (name, _KEEP, 0)])

    async def _fetch(self, client: Any) -> None:
        """What this consumer had, then what others have left behind, then what is new."""
        given, now = self._settings, time.monotonic()
        if self._behind:
            self._behind = await self._claim(client, self._behind, self._consumer, 0)
            if not self._behind:
                self._before.clear()
        elif now >= self._sweep:
            after = "-"
            while after and not self._inbox:
                after = await self._claim(client, after, None, round(given.claim_seconds * 1000))
            self._sweep = now if after else now + given.claim_seconds / 2
        else:
            block = max(1, round(1000 * min(self._sweep - now, given.timeout_seconds / 2)))
            names = {given.stream: ">"}
            for _, found in await client.xreadgroup(self._group, self._consumer, names, count=self._rows, block=block):
                self._take(found, {})

    async def _claim(self, client: Any, after: str, consumer: str | None, idle: int) -> str:
        """A page of those that were delivered and not acknowledged. After which one the next begins, "": there is none.

        A delivery to another process counts, one to another connection of this one does not."""
        name, counts = self._settings.stream, dict[str, int]()
        page = await client.xpending_range(name, self._group, after, "+", self._rows, consumer, idle or None)
        for found in page:
            entry = found["message_id"].decode()
            if entry not in self._open:
                counts[entry] = found["times_delivered"] + (entry not in self._before)
        for count in {*counts.values()}:
            ids = [entry for entry in counts if counts[entry] == count]
            self._take(await client.xclaim(name, self._group, self._consumer, idle, ids, retrycount=count), counts)
        self._inbox = deque(sorted(self._inbox, key=lambda entry: [int(part) for part in entry[0].split("-")]))
        return "(" + page[-1]["message_id"].decode() if len(page) == self._rows else ""

    def _take(self, found: Sequence[tuple[bytes | None, dict[bytes, bytes]]], counts: Mapping[str, int]) -> None:
        if found:
            # nobody tells the size of what waits: it is felt for
            self._most, self._largest = min(_PAGE, 4 * len(found)), max(1, self._largest // 2)
        for name, fields in found:
            if name is not None:  # before Redis 7: it was deleted
                entry = name.decode()
                self._open[entry] = None
                self._before.pop(entry, None)
                self._inbox.append((entry, fields, counts.get(entry, 1)))
                self._largest = max(self._largest, _size(fields))

    def _batch(self, taken: Sequence[_Entry]) -> Batch:
        given, most = self._settings, self._settings.max_deliveries
        body, key = given.body.encode(), given.key.encode()
        faults = {row: f"it has no field '{given.body}'" for row, entry in enumerate(taken) if body not in entry[1]}
        for row, (_, _, count) in enumerate(taken):
            if most and count > most:
                faults[row] = f"it was delivered {count} times and never acknowledged; max_deliveries is {most}"
        return Batch(
            [f"{given.stream}/{name}" for name, _, _ in taken],
            [fields.get(body) for _, fields, _ in taken],
            [fields.get(key) for _, fields, _ in taken] if key else (),
            [
                tuple((name.decode("utf-8", "replace"), value) for name, value in fields.items() if name != body)
                for _, fields, _ in taken
            ],
            [_milliseconds(name) for name, _, _ in taken],
            faults,
        )


class RedisSink:
    """An Output. Results of entries of the same server are written, and these acknowledged, by one script."""

    def __init__(self, settings: RedisOutput, context: Context, *, named: bool = True) -> None:
        """named: entries get the fields `id` and `key` of the record that they answer"""
        self._link: Final = Link(settings)
        self._settings: Final = settings
        self._named: Final = named

    @property
    def sink(self) -> stream.Sink:
        given, able = self._settings, frozenset({Ability.TRANSACTIONAL, Ability.PLAIN})
        place = f"redis://{self._link.place}"
        return stream.Sink(self._link.name, able, place, given.fsync, bool(given.dead_letters))

    async def connect(self) -> None:
        client = await self._link.renew()
        if self._settings.fsync:
            with self._link.doing("asking for the persistence of"):
                found = await client.config_get("append*")
            if (found.get("appendonly"), found.get("appendfsync")) != ("yes", "always"):
                told = ", ".join(f"{name} {found.get(name)}" for name in ("appendonly", "appendfsync"))
                raise Transient(
                    f"{self._link.name}: `fsync` is demanded, which needs appendonly yes, appendfsync always;"
                    f" {self._link.place} has {told}"
                )

    async def write(self, rows: Rows, dead: Sequence[DeadLetter] = ()) -> None:
        given, held = self._settings, rows.source.position
        if not isinstance(held, Held) or held.place != self._link.place:
            held = Held(self._link.place, given.stream, "", "", ())
        left = dict(held.ids)
        words: list[Any] = []
        limit = ("MAXLEN", "~", given.maxlen) if given.maxlen else ()
        for row, name in enumerate(rows.batch.ids):
            words += _words(name, left, _RESULT, [*limit, "*", *self._fields(rows.batch, row)])
        for found in dead:
            words += _words(found.message.id, left, _LETTER, ["*", given.body, letter.encode(found)])
        for name in left:
            words += (name, _DONE, 0)
        with self._link.doing("writing to"):
            await held.settle(self._link.client, words, given.stream, given.dead_letters)
        held.settled = True

    def _fields(self, batch: Batch, row: int) -> list[Any]:
        """Raises DataError for what a server would not take."""
        message, most = batch[row], self._settings.record_bytes
        own = {self._settings.body: message.value}
        if self._named:
            own |= {"id": message.id.encode(), "key": message.key}
        found = [pair for pair in message.headers if pair[0] not in own]
        found += [(name, value) for name, value in own.items() if value is not None]
        if len(found) > _FIELDS:
            raise DataError(f"it has {len(found)} fields, expected at most {_FIELDS}", row)
        if any(len(value) > most for _, value in found):
            raise DataError(f"it has {max(len(value) for _, value in found)} bytes, record_bytes is {most}", row)
        return [part for pair in found for part in pair]

    async def close(self) -> None:
        await self._link.close()


class RedisLetters:
    """An Input of the dead letters that are there when it is connected first. Acknowledging deletes them."""

    def __init__(self, settings: RedisOutput, context: Context, kept: bool) -> None:
        self._stream: Final = settings.dead_letters if kept else settings.stream
        self._body: Final = settings.body.encode()
        self._link: Final = Link(settings)
        self._after, self._last = "-", ""
        self.source: Final = stream.Source(f"Redis stream '{self._stream}'", stable_ids=True, ordered=True)

    async def connect(self) -> None:
        client = await self._link.renew()
        with self._link.doing("looking for dead letters of"):
            newest = await client.xrevrange(self._stream, count=1)
        self._after, self._last = "-", self._last or (newest[0][0].decode() if newest else "0-0")

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        with self._link.doing("reading dead letters of"):
            found = await self._link.client.xrange(self._stream, self._after, self._last, min(credit.rows, 100))
        if not found:
            return None
        ids = [name.decode() for name, _ in found]
        self._after = f"({ids[-1]}"
        return Batch(ids, [fields.get(self._body) for _, fields in found]), Token(self._stream, 0, ids)

    async def ack(self, token: Token) -> None:
        with self._link.doing("deleting dead letters of"):
            await self._link.client.xdel(self._stream, *token.position)

    async def close(self) -> None:
        await self._link.close()


def _redrive(settings: RedisInput, context: Context) -> RedisSink:
    given = RedisOutput(
        url=settings.url, tls=settings.tls, timeout_seconds=settings.timeout_seconds, stream=settings.stream,
        body=settings.body,
    )  # fmt: skip
    return RedisSink(given, context, named=False)


def _words(name: str, left: dict[str, None], key: int, more: Sequence[Any]) -> list[Any]:
    """Of _SETTLE: what is written for a record, and, where it is one of those that are left, that it is done."""
    entry = name.rpartition("/")[2]
    if entry in left:
        del left[entry]
    else:
        entry = ""
    return [entry, key, len(more), *more]


def _milliseconds(entry: str) -> int:
    return int(entry.partition("-")[0])


def _size(fields: Mapping[bytes, bytes]) -> int:
    return sum(map(len, fields)) + sum(map(len, fields.values()))


adapter = stream.Adapter(
    "redis",
    "Redis streams by consumer groups: exactly once between streams of one server",
    input=Door(RedisInput, RedisSource),
    output=Door(RedisOutput, RedisSink),
    redrive=Door(RedisInput, _redrive),
    letters=RedisLetters,
)
