"""Redis, of the test run's own or somebody's: streams that come and go with a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from redis import Redis as Client
from redis import exceptions
from servers.server import Server, answers, free_port, installed


class Streams:
    """A server by its URL, `redis://user:password@host:port/database`."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def client(self) -> Iterator[Any]:
        with Client.from_url(self.url, protocol=2) as client:
            yield client

    def name(self) -> str:
        return f"t-{token_hex(6)}"

    def add(self, stream: str, values: Sequence[bytes], **fields: str) -> list[str]:
        """An entry each, with the field `body`; their ids."""
        with self.client() as client, client.pipeline(transaction=False) as pipe:
            for value in values:
                pipe.xadd(stream, {"body": value, **fields})
            return [name.decode() for name in pipe.execute()]

    def entries(self, stream: str) -> list[dict[str, bytes]]:
        """The fields of each, in their order."""
        with self.client() as client:
            return [{name.decode(): value for name, value in fields.items()} for _, fields in client.xrange(stream)]

    def bodies(self, stream: str) -> list[bytes]:
        return [fields["body"] for fields in self.entries(stream)]

    def pending(self, stream: str, group: str) -> list[tuple[str, str, int]]:
        """Id, consumer and deliveries of the entries that nobody has acknowledged."""
        with self.client() as client:
            return [
                (found["message_id"].decode(), found["consumer"].decode(), found["times_delivered"])
                for found in client.xpending_range(stream, group, "-", "+", 100_000)
            ]

    def delete(self, *streams: str) -> None:
        with self.client() as client:
            client.delete(*streams)


class Redis(Server, Streams):
    """Has each write on its disk before it answers: by `everysec` a kill may lose what was confirmed."""

    def __init__(self, *options: str) -> None:
        """options: those of the command line, behind ours"""
        Server.__init__(self)
        self.port = free_port()
        self.options = options
        Streams.__init__(self, f"redis://127.0.0.1:{self.port}/0")

    def prepare(self) -> None:
        installed("redis-server")

    def command(self) -> Sequence[str]:
        return [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--appendonly", "yes", "--appendfsync", "always", "--save", "", *self.options,
        ]  # fmt: skip

    def ready(self) -> bool:
        if not answers(self.port):
            return False
        try:
            with self.client() as client:
                return bool(client.ping())
        except (exceptions.RedisError, OSError):
            return False
