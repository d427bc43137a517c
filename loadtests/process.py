"""A process under measurement: started on one core, watched through /proc together with its children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent
SERVER_CORE = 0
LOAD_CORE = 1
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """``with`` starts and ends it. What it prints goes to the file `log`, if one is named."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: str = "",
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        pipes: bool = False,
        cores: str = str(SERVER_CORE),
    ) -> None:
        self.name = name
        #: seconds from the start until `ready`, a URL, was answered with 200
        self.startup = 0.0
        self._command = ["taskset", "-c", cores, *command]
        self._ready = ready
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(env or {})}
        self._log = log
        self._pipe = subprocess.PIPE if pipes else subprocess.DEVNULL

    def __enter__(self) -> Self:
        began = time.perf_counter()
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self._log.open("ab")) if self._log else subprocess.DEVNULL
            self.popen = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=self._pipe,
                stdout=subprocess.PIPE if self._pipe == subprocess.PIPE else log,
                stderr=log,
                text=True,
                bufsize=1,
            )
        if self._ready:
            try:
                self._wait(began + 30)
            except BaseException:
                self.__exit__(None, None, None)
                raise
            self.startup = time.perf_counter() - began
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()

    def ask(self, line: str) -> str:
        """One line in, one line out."""
        assert self.popen.stdin
        assert self.popen.stdout
        self.popen.stdin.write(line + "\n")
        answer = self.popen.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended instead of answering {line}")
        return answer

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of the process and its children, the ended ones included."""
        total = 0
        for pid in self._tree():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
        return total / _TICKS

    def memory(self) -> tuple[float, float]:
        """PSS and RSS in MB (10⁶ bytes). PSS divides what several processes map: let few run."""
        pss = rss = 0
        for pid in self._tree():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name == "Pss":
                    pss += int(rest.split()[0])
                elif name == "Rss":
                    rss += int(rest.split()[0])
        return pss * 1024 / 1e6, rss * 1024 / 1e6

    def threads(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.popen.pid}/task").iterdir())

    def _tree(self) -> list[int]:
        found, waiting = [], [self.popen.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        return found

    def _wait(self, deadline: float) -> None:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(self._ready, timeout=5) as reply:
                if reply.status == 200:
                    return
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.popen.returncode}; {self._told()}")
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{self.name} was not ready after 30 s; {self._told()}")
            time.sleep(0.002)

    def _told(self) -> str:
        text = self._log.read_text()[-2000:] if self._log and self._log.exists() else ""
        return f"it said: {text}" if text else "it said nothing"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
