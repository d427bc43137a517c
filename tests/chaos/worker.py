"""A stream worker as an operator starts it, which may be told where to kill itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from gateway.core.crashpoint import VARIABLE

#: where this package lies, whose broken streams are processes of their own
TESTS = Path(__file__).parents[1]


class Worker:
    """One process of `sluice streams run`.

    command  what runs it; a negative control has one of its own
    """

    def __init__(
        self, file: Path, models: Path, settings: Path, state: Path, command: tuple[str, ...], log: str
    ) -> None:
        self._file, self._models, self._settings, self._state, self._command = file, models, settings, state, command
        self.process: subprocess.Popen[bytes] | None = None
        self.log = state / log

    def start(self, crash: str = "") -> None:
        """Unless it runs."""
        if self.alive:
            return
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TESTS), environment.get("PYTHONPATH", ""))))
        if crash:
            environment[VARIABLE] = crash
        options = ["--config", str(self._settings), "--models", str(self._models), "--state", str(self._state)]
        options += ["--set", "streams_port=0"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self._command, "streams", "run", str(self._file), *options],
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def runs(self) -> bool:
        """It is alive, and does not stand still."""
        return self.alive and self.process is not None and _status(self.process.pid) != psutil.STATUS_STOPPED

    def stop(self) -> None:
        """Returns when it stands still: the signal alone is no promise."""
        self._send(signal.SIGSTOP)
        while self.runs:
            time.sleep(0.001)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def died_by_itself(self, limit: float) -> bool:
        """Whether it killed itself within so many seconds, as it was told."""
        assert self.process is not None
        try:
            return self.process.wait(limit) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False

    def stopped_by_itself(self, limit: float) -> bool:
        """Whether it stands still within so many seconds, as it was told."""
        assert self.process is not None
        end = time.monotonic() + limit
        while self.runs:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return self.alive

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        if self.alive:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process = None


def _status(pid: int) -> str:
    """Of a process that may be about to go."""
    try:
        return str(psutil.Process(pid).status())
    except psutil.NoSuchProcess:
        return ""
