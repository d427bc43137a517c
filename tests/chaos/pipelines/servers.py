"""The servers of a run, each with a proxy before it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from chaos.disk import Disk
from chaos.proxy import Proxy
from servers.kafka import Kafka
from servers.postgresql import PostgreSQL
from servers.rabbitmq import RabbitMQ
from servers.redis import Redis
from servers.server import answers, free_port


class ProxiedKafka(Kafka):
    """Workers reach it through a proxy, everybody else directly."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(transaction_abort_timed_out_transaction_cleanup_interval_ms="500")
        proxy.target = free_port()
        self.options["listeners"] += f",PROXIED://127.0.0.1:{proxy.target}"
        self.options["advertised.listeners"] += f",PROXIED://127.0.0.1:{proxy.port}"
        self.options["listener.security.protocol.map"] += ",PROXIED:PLAINTEXT"
        self._proxied = proxy.target

    def ready(self) -> bool:
        return super().ready() and answers(self._proxied)


class Servers:
    """Each is started when the first pipeline asks for it, and has a proxy before it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._started: dict[str, tuple[Any, Proxy]] = {}

    def kafka(self) -> tuple[ProxiedKafka, Proxy]:
        return self._start("kafka", ProxiedKafka)

    def postgresql(self) -> tuple[PostgreSQL, Proxy]:
        return self._start("postgresql", lambda proxy: _aimed(PostgreSQL(), proxy))

    def rabbitmq(self) -> tuple[RabbitMQ, Proxy]:
        return self._start("rabbitmq", lambda proxy: _aimed(RabbitMQ(), proxy))

    def redis(self) -> tuple[Redis, Proxy]:
        return self._start("redis", lambda proxy: _aimed(Redis(), proxy))

    def disk(self, path: Path) -> Disk | None:
        """Makes the folder; one that cannot be filled up where nothing may be mounted."""
        disk = self._stack.enter_context(Disk(path))
        return disk if disk.mounted else None

    def _start(self, name: str, make: Any) -> Any:
        if name not in self._started:
            proxy = self._stack.enter_context(Proxy())
            self._started[name] = self._stack.enter_context(make(proxy)), proxy
        return self._started[name]


def _aimed(server: Any, proxy: Proxy) -> Any:
    proxy.target = server.port
    return server


def through(url: str, proxy: Proxy | None) -> str:
    """The same address, by way of the proxy."""
    assert proxy is not None
    return url.replace(f":{proxy.target}/", f":{proxy.port}/")
