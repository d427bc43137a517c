"""A worker's process: a fresh interpreter, never a fork of one that has threads."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

#: serving: has the listeners; stream: has none
Role = Literal["serving", "stream"]

MODULES: Final[Mapping[Role, str]] = {"serving": "gateway.app.worker", "stream": "gateway.app.streamworker"}


async def spawn(
    role: Role,
    slot: int | None,
    channel: socket.socket,
    slots: Sequence[Sequence[socket.socket]] = (),
    memory: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    """It inherits its end of the channel, `memory` (file descriptors), and the listening sockets of all slots: which of
    them it is to be in, where `slot` does not say so yet, and all else, it is told through the channel.

    In a session of its own: what a terminal sends to whoever runs in it is the supervisor's to hear.
    """
    groups = [[channel.fileno(), *memory], *([each.fileno() for each in group] for group in slots)]
    texts = [role, "-" if slot is None else str(slot), *(",".join(map(str, group)) for group in groups)]
    # what this process imports from, that one does too, and nothing because it lies in the working directory
    paths = (path or str(Path.cwd()) for path in sys.path)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", MODULES[role], *texts,
        stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        pass_fds=[number for group in groups for number in group],
        start_new_session=True,
    )  # fmt: skip


def death(code: int) -> str:
    """How a process ended, in words that name the cause."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
