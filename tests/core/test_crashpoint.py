from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from gateway.core.crashpoint import POINTS, CrashPoint
from gateway.core.errors import InvalidArgument


@pytest.mark.parametrize(
    "text",
    ["nowhere", "after-read:0", "after-read:x", "after-read:-1", ":2", "after-read:1:TERM", "after-read:1:STOP:2"],
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(InvalidArgument, match="SLUICE_CRASH_AT"):
        CrashPoint.read({"SLUICE_CRASH_AT": text})


def test_unset_is_none() -> None:
    assert CrashPoint.read({}) is None
    assert CrashPoint.read({"SLUICE_CRASH_AT": ""}) is None


def start(place: str) -> subprocess.Popen[str]:
    point = place.partition(":")[0]
    program = (
        "from gateway.core.crashpoint import crash\n"
        "for n in range(9):\n"
        "    print(n, flush=True)\n"
        f"    crash.reach({point!r})\n"
        "    crash.reach('elsewhere')\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program], env={"SLUICE_CRASH_AT": place}, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("place", [*(f"{point}:3" for point in POINTS), "after-read:3:KILL"])
def test_the_process_dies_at_the_nth_pass(place: str) -> None:
    with start(place) as process:
        told, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert told.split() == ["0", "1", "2"]


def test_the_process_stands_still_at_the_nth_pass_and_goes_on() -> None:
    with start("after-read:3:STOP") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        told, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert told.split() == [str(n) for n in range(9)]
