from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from gateway.core.errors import InvalidArgument
from gateway.pipeline.crashpoint import POINTS, CrashPoint


@pytest.mark.parametrize("text", ["nowhere", "after-read:0", "after-read:x", "after-read:-1", ":2"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(InvalidArgument, match="SLUICE_CRASH_AT"):
        CrashPoint.read({"SLUICE_CRASH_AT": text})


def test_unset_is_none() -> None:
    assert CrashPoint.read({}) is None
    assert CrashPoint.read({"SLUICE_CRASH_AT": ""}) is None


@pytest.mark.parametrize("point", POINTS)
def test_the_process_dies_at_the_nth_pass(point: str) -> None:
    program = (
        "from gateway.pipeline.crashpoint import crash\n"
        "for n in range(9):\n"
        "    print(n, flush=True)\n"
        f"    crash.reach({point!r})\n"
        "    crash.reach('elsewhere')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"SLUICE_CRASH_AT": f"{point}:3"}, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.split() == ["0", "1", "2"]
