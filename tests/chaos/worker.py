"""A stream worker as an operator starts it, which may be told where to kill itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

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

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def died_by_itself(self, limit: float) -> bool:
        """Whether it killed itself within so many seconds, as it was told."""
        assert self.process is not None
        try:
            return self.process.wait(limit) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False

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
