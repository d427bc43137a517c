"""PostgreSQL, of the test run's own or somebody's: databases that come and go with a test."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import psutil
from servers.server import Server, free_port, installed, until

PROGRAMS = Path("/usr/lib/postgresql/15/bin")


class Databases:
    """A server by its URL, `postgresql://user@host:port/database`."""

    #: whether a test may stop it, kill it or pause it
    own = False

    def __init__(self, url: str) -> None:
        self.url = url

    def database(self) -> str:
        """Creates an empty one, and returns its URL."""
        name = f"t_{token_hex(6)}"
        self.sql(f"CREATE DATABASE {name}")
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop(self, url: str) -> None:
        """With whoever is still connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def sql(self, statement: str, url: str = "") -> list[tuple[str, ...]]:
        """Runs it in the database of `url`, and returns its rows as text; NULL is empty."""
        command = [installed(PROGRAMS / "psql"), url or self.url, *["-XqAt", "-v", "ON_ERROR_STOP=1"]]
        done = subprocess.run(
            [*command, "-F", "\x1f", "-R", "\x1e"],
            input=statement, capture_output=True, text=True, timeout=60, env=os.environ | {"PGCONNECT_TIMEOUT": "30"},
        )  # fmt: skip
        assert done.returncode == 0, f"{statement}\n{done.stderr}"
        text = done.stdout.removesuffix("\n")
        return [tuple(row.split("\x1f")) for row in text.split("\x1e")] if text else []


class PostgreSQL(Server, Databases):
    """Takes everybody on 127.0.0.1 without a password, as the superuser `sluice`.

    Without fsync, because it need not outlive the machine: it may be killed all the same.
    """

    user = "postgres"
    own = True
    #: fast shutdown: it does not wait for clients to leave
    stop_signal = signal.SIGINT

    def __init__(self, **options: str) -> None:
        """options: settings of the server by name, as in max_connections="20"."""
        Server.__init__(self)
        self.port = free_port()
        self.options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "port": str(self.port),
            "fsync": "off",
            "wal_level": "logical",
            "max_connections": "100",
            "shared_buffers": "32MB",
            "autovacuum": "off",
        } | options
        Databases.__init__(self, f"postgresql://sluice@127.0.0.1:{self.port}/sluice")

    def prepare(self) -> None:
        self.run(
            installed(PROGRAMS / "initdb"), "-D", str(self.folder / "data"), "-U", "sluice", "-A", "trust",
            "-E", "UTF8", "--locale", "C", "--no-sync", "--no-instructions",
        )  # fmt: skip

    def command(self) -> Sequence[str]:
        settings = [part for name, value in self.options.items() for part in ("-c", f"{name}={value}")]
        return [str(PROGRAMS / "postgres"), "-D", str(self.folder / "data"), *settings]

    def start(self) -> None:
        super().start()
        if not self.sql("SELECT 1 FROM pg_database WHERE datname = 'sluice'", self._maintenance):
            self.sql("CREATE DATABASE sluice", self._maintenance)

    def ready(self) -> bool:
        check = [PROGRAMS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        return subprocess.run(check).returncode == 0

    def stop(self, number: int | None = None) -> None:
        children = self._children()
        super().stop(number)
        if number == signal.SIGKILL:
            # They notice only after a while that they are orphans, and a new server would not start beside them.
            self._signal(children, number)
        until(lambda: not any(map(_lives, children)), what="the end of PostgreSQL's processes")

    def pause(self) -> None:
        """Connections that are open stand still too. New ones are taken by the kernel, and nobody says a word."""
        super().pause()
        self._signal(self._children(), signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(self._children(), signal.SIGCONT)
        super().resume()

    @property
    def _maintenance(self) -> str:
        return urlsplit(self.url)._replace(path="/postgres").geturl()

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True) if self.process else []

    @staticmethod
    def _signal(processes: list[psutil.Process], number: int) -> None:
        for process in processes:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue


def _lives(process: Any) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
