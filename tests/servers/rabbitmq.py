"""RabbitMQ, of the test run's own or somebody's: queues that come and go with a test."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp
import psutil
from servers.server import Server, answers, free_port, installed, until

PROGRAMS = Path("/usr/lib/rabbitmq/bin")


class Queues:
    """A broker by its URL, `amqp://user:password@host:port/vhost`."""

    #: whether a test may stop it, kill it or pause it
    own = False

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def channel(self, **given: Any) -> Iterator[amqp.Channel]:
        """Of py-amqp; publishes are confirmed."""
        parts = urlsplit(self.url)
        connection = amqp.Connection(
            f"{parts.hostname}:{parts.port or 5672}", unquote(parts.username or "guest"),
            unquote(parts.password or "guest"), virtual_host=unquote(parts.path[1:]) or "/", confirm_publish=True,
            read_timeout=30, **given,
        )  # fmt: skip
        connection.connect()
        try:
            yield connection.channel()
        finally:
            connection.close()

    def queue(self, name: str = "", **arguments: Any) -> str:
        """Declares a durable one, and returns its name. arguments: `type="quorum"` is `x-queue-type`."""
        name = name or f"t-{token_hex(6)}"
        given = {f"x-{key.replace('_', '-').replace('type', 'queue-type')}": value for key, value in arguments.items()}
        with self.channel() as channel:
            channel.queue_declare(name, durable=True, auto_delete=False, arguments=given)
        return name

    def delete(self, *names: str) -> None:
        with self.channel() as channel:
            for name in names:
                channel.queue_delete(name)

    def publish(self, queue: str, bodies: Sequence[bytes], exchange: str = "", **properties: Any) -> None:
        with self.channel() as channel:
            for body in bodies:
                channel.basic_publish(amqp.Message(body, delivery_mode=2, **properties), exchange, queue)

    def depth(self, queue: str) -> int:
        """Messages that are ready: those that a consumer holds do not count."""
        with self.channel() as channel:
            ready: int = channel.queue_declare(queue, passive=True).message_count
            return ready

    def take(self, queue: str) -> list[amqp.Message]:
        """All that are ready, and away with them."""
        messages = []
        with self.channel() as channel:
            while (message := channel.basic_get(queue, no_ack=True)) is not None:
                messages.append(message)
        return messages

    def drain(self, queue: str) -> list[bytes]:
        """The bodies of all messages, until none comes for a moment, and away with them: for many, faster than `take`.
        How many there are, a quorum queue tells late."""
        with self.channel() as channel:
            first = channel.basic_get(queue, no_ack=True)
            if first is None:
                return []
            bodies = [_bytes(first.body)]
            consumer = channel.basic_consume(queue, no_ack=True, callback=lambda m: bodies.append(_bytes(m.body)))
            with contextlib.suppress(TimeoutError):
                while True:
                    channel.connection.drain_events(timeout=0.3)
            channel.basic_cancel(consumer)
        return bodies

    def bodies(self, queue: str) -> list[bytes]:
        return [_bytes(message.body) for message in self.take(queue)]


class RabbitMQ(Server, Queues):
    """Takes `guest` on 127.0.0.1. The Erlang port mapper that it starts serves all nodes of a host, and stays."""

    user = "rabbitmq"
    own = True
    plugins: tuple[str, ...] = ()
    #: settings that have no name outside of Erlang
    advanced = "[]."

    def __init__(self, **options: str) -> None:
        """options: settings of the server, with `__` for a dot, as in consumer_timeout="5000"."""
        Server.__init__(self)
        self.port = free_port()
        self.tls_port = free_port()
        self._dist_port = free_port()
        self.options = {"disk_free_limit.absolute": "1MB"} | {k.replace("__", "."): v for k, v in options.items()}
        Queues.__init__(self, f"amqp://guest:guest@127.0.0.1:{self.port}/")

    def prepare(self) -> None:
        installed(PROGRAMS / "rabbitmq-server")
        lines = [f"{name} = {value}" for name, value in self.options.items()]
        (self.folder / "rabbitmq.conf").write_text("\n".join([*lines, ""]))
        (self.folder / "advanced.config").write_text(self.advanced)
        (self.folder / "plugins").write_text(f"[{','.join(self.plugins)}].")

    def command(self) -> Sequence[str]:
        return [str(PROGRAMS / "rabbitmq-server")]

    def environment(self) -> Mapping[str, str]:
        here = str(self.folder)
        return {
            "HOME": here,
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": here,
            "RABBITMQ_LOG_BASE": here,
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{here}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def ready(self) -> bool:
        if not answers(self.port):
            return False
        try:
            with self.channel():
                return True
        except (OSError, amqp.AMQPError):
            return False

    def control(self, *command: str) -> None:
        """rabbitmqctl; it takes seconds."""
        self.run(str(PROGRAMS / "rabbitmqctl"), "-q", *command)

    def stop(self, number: int | None = None) -> None:
        processes = self._processes()
        if number is not None:
            _signal(processes, number)
        super().stop(number)
        until(lambda: not any(map(_lives, processes)), what="the end of RabbitMQ's processes")

    def pause(self) -> None:
        """Connections that are open stand still too."""
        _signal(self._processes(), signal.SIGSTOP)

    def resume(self) -> None:
        _signal(self._processes(), signal.SIGCONT)

    def _processes(self) -> list[psutil.Process]:
        """The Erlang machine below the script."""
        return psutil.Process(self.process.pid).children(recursive=True) if self.process else []


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body
