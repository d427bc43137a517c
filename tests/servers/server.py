"""A real server of another system, of the test run's own: its folder, its ports, its process."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

#: seconds that a server has to become ready; the machine may be busy
START_LIMIT = 60.0


class Missing(Exception):
    """The server is not installed here; tests/servers/install brings it."""


class Server:
    """Base of the servers. A subclass says what to run, and when it is ready.

    `start` and `stop` may be called again and again with the same folder and ports: a test restarts it in the middle.
    """

    #: the user that runs it where the tests run as root, "" for the one who runs them
    user = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"sluice-{type(self).__name__.lower()}-"))
        if self._identity():
            shutil.chown(self.folder, self.user, self.user)
        self.process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Once, before the first start. Raises Missing."""

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {}

    def ready(self) -> bool:
        raise NotImplementedError

    #: how it is asked to end
    stop_signal = signal.SIGTERM

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=os.environ | self.environment(), stdout=log, stderr=log, **self._identity()
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        end = time.monotonic() + START_LIMIT
        while not self.ready():
            assert self.process is not None
            assert self.process.poll() is None, f"it ended:\n{self.log()}"
            assert time.monotonic() < end, f"it did not become ready:\n{self.log()}"
            time.sleep(0.05)

    def stop(self, number: int | None = None) -> None:
        """By `number`, else by the server's own signal; returns when the process is gone."""
        if self.process is None:
            return
        self.process.send_signal(self.stop_signal if number is None else number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """It takes connections, and answers nothing, until `resume`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def run(self, *command: str, **options: Any) -> None:
        """A command of the preparation, as the server's user."""
        done = subprocess.run(
            command, capture_output=True, timeout=START_LIMIT, env=os.environ | self.environment(),
            **self._identity(), **options,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)}:\n{(done.stdout + done.stderr).decode(errors='replace')}"

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-5000:] if path.exists() else ""

    def __enter__(self) -> Server:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _identity(self) -> dict[str, Any]:
        if not self.user or os.getuid() != 0:
            return {}
        try:
            pwd.getpwnam(self.user)
        except KeyError:
            raise Missing(f"there is no user '{self.user}'") from None
        return {"user": self.user, "group": self.user, "extra_groups": [], "cwd": "/"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def installed(command: str | Path) -> str:
    """The command's path. Raises Missing."""
    found = shutil.which(str(command))
    if found is None:
        raise Missing(f"{command} is not installed: tests/servers/install brings it")
    return found


def until(check: Callable[[], bool], limit: float = 30.0, what: str = "it") -> None:
    """Waits for what another process does."""
    end = time.monotonic() + limit
    while not check():
        assert time.monotonic() < end, f"{what} did not happen within {limit:g} s"
        time.sleep(0.02)
