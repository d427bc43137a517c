"""The systems of the demo: those that an address is given for, and those that are installed on this machine.

The latter are started for the demo alone: their data in its folder, their ports free ones, their end with its.
"""

from __future__ import annotations

import base64
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from gateway.core.errors import Unavailable

#: seconds
START: Final = 60.0
STOP: Final = 20.0


class System:
    """``with`` starts it and ends it. `address` is what streams are told; `installed` is asked first."""

    name: ClassVar[str]
    #: where it is looked for, for whoever has it elsewhere
    sought: ClassVar[str] = ""
    #: who runs it where the demo runs as root, "" for whoever runs the demo
    user: ClassVar[str] = ""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = ""
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def installed() -> bool:
        raise NotImplementedError

    def prepare(self, folder: Path) -> None:
        """Once, before it is started."""

    def command(self, folder: Path) -> Sequence[str]:
        raise NotImplementedError

    def environment(self, folder: Path) -> Mapping[str, str]:
        return {}

    def settle(self) -> None:
        """Once, when it takes connections."""

    def __enter__(self) -> Self:
        # short, for a socket's path may not be long
        self._folder = Path(tempfile.mkdtemp(prefix=f"sluice-demo-{self.name}-"))
        if identity := self._identity():
            shutil.chown(self._folder, identity["user"], identity["group"])
        try:
            self.prepare(self._folder)
            with (self._folder / "log").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603
                    self.command(self._folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
                    env=os.environ | self.environment(self._folder), **self._identity(),
                )  # fmt: skip
            self._await_port()
            self.settle()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, *command: str, given: str | None = None) -> None:
        """Raises Unavailable with the last line of what it said."""
        done = subprocess.run(  # noqa: S603
            command, input=given, capture_output=True, text=True, timeout=START, check=False,
            env=os.environ | self.environment(self._folder), **self._identity(),
        )  # fmt: skip
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise Unavailable(
                f"{self.name}: {Path(command[0]).name} failed: {lines[-1] if lines else 'it said nothing'}"
            )

    def _await_port(self) -> None:
        end = time.monotonic() + START
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                ended = self._process is not None and self._process.poll() is not None
                if ended or time.monotonic() > end:
                    last = (self._folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
                    raise Unavailable(f"{self.name} does not start: {''.join(last) or 'it said nothing'}") from None
                time.sleep(0.1)
            else:
                return

    def _identity(self) -> dict[str, Any]:
        if not self.user or os.getuid() != 0:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": [], "cwd": "/"}


class PostgreSQL(System):
    name = "postgresql"
    user = "postgres"

    @staticmethod
    def programs() -> str:
        return next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)), "")  # noqa: PTH207

    @staticmethod
    def installed() -> bool:
        return bool(PostgreSQL.programs()) and _has_user(PostgreSQL.user)

    def prepare(self, folder: Path) -> None:
        self.address = f"postgresql://sluice@127.0.0.1:{self.port}/postgres"
        self.run(f"{self.programs()}/initdb", "-D", str(folder / "data"), "-U", "sluice", "-A", "trust", "--no-sync")

    def command(self, folder: Path) -> Sequence[str]:
        given = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
        options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        return [f"{self.programs()}/postgres", "-D", str(folder / "data"), *options]

    def settle(self) -> None:
        end = time.monotonic() + START
        while True:  # it takes connections before it answers
            try:
                self.sql("SELECT 1")
            except Unavailable:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return

    def sql(self, text: str) -> None:
        self.run(f"{self.programs()}/psql", "-qX", "-v", "ON_ERROR_STOP=1", self.address, given=text)


class RabbitMQ(System):
    name = "rabbitmq"
    user = "rabbitmq"
    _PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"

    @staticmethod
    def installed() -> bool:
        return Path(RabbitMQ._PROGRAM).exists() and _has_user(RabbitMQ.user)

    def prepare(self, folder: Path) -> None:
        self.address = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        (folder / "rabbitmq.conf").write_text("disk_free_limit.absolute = 1MB\n")
        (folder / "plugins").write_text("[].")

    def command(self, folder: Path) -> Sequence[str]:
        return [self._PROGRAM]

    def environment(self, folder: Path) -> Mapping[str, str]:
        return {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"demo{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
        }


class Kafka(System):
    """Of a distribution in KAFKA_HOME, or of the jars that this project's tests install."""

    name = "kafka"
    sought = "java and KAFKA_HOME, /opt/kafka or /usr/share/kafka"

    @staticmethod
    def jars() -> str:
        for folder in (os.environ.get("KAFKA_HOME", ""), "/opt/kafka", "/usr/share/kafka"):
            if folder and (Path(folder) / "libs").is_dir():
                return f"{folder}/libs/*"
        tests = Path(".servers/kafka").absolute()
        return f"{tests}/*" if (tests / ".ready").exists() else ""

    @staticmethod
    def installed() -> bool:
        return bool(shutil.which("java") and Kafka.jars())

    def prepare(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{self.port}"
        controller = f"127.0.0.1:{free_port()}"
        options = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAIN://{self.address},CONTROLLER://{controller}",
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAIN",
            "log.dirs": str(folder / "data"),
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "true",
            "num.partitions": "2",
        }
        (folder / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in options.items()))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(folder / "server.properties")]
        self.run(*self._java("64m"), *tool)

    def command(self, folder: Path) -> Sequence[str]:
        return [*self._java("384m"), "kafka.Kafka", str(folder / "server.properties")]

    def _java(self, heap: str) -> list[str]:
        found = shutil.which("java") or "java"
        return [
            found, f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", self.jars(),
        ]  # fmt: skip


SYSTEMS: Final[tuple[type[System], ...]] = (PostgreSQL, RabbitMQ, Kafka)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _has_user(name: str) -> bool:
    if os.getuid() != 0:
        return True
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
