from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.security import cells
from gateway.security.cells import REQUESTS, ROWS, WAYS, Cells, create

#: claims a cell and dies at once, or when it holds the lock
CHILD = """
import fcntl, os, signal, sys
from gateway.security.cells import REQUESTS, Cells
shared = Cells.shared(int(sys.argv[1]))
at = shared.claim(shared.tag("key:ann"), named=True)
shared.times[at + REQUESTS] += 10
if sys.argv[2] == "locked":
    fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX)
print("there", flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def segment() -> Iterator[int]:
    number = create()
    yield number
    os.close(number)


def child(segment: int, how: str) -> None:
    with living(segment, how):
        pass


@contextmanager
def living(segment: int, how: str) -> Iterator[None]:
    """Until the block's end."""
    command = [sys.executable, "-c", CHILD, str(segment), how]
    with subprocess.Popen(command, pass_fds=[segment], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        yield
    assert process.returncode == -9


def test_all_processes_see_one_cell(segment: int) -> None:
    shared = Cells.shared(segment)
    tag = shared.tag("key:ann")
    at = shared.claim(tag, named=True)
    shared.times[at + REQUESTS] = 5.0
    child(segment, "free")
    assert shared.times[at + REQUESTS] == 15.0, "who is killed leaves what it counted"
    again = Cells.shared(segment)
    assert again.tag("key:ann") == tag
    assert again.claim(tag, named=True) == at


def test_the_lock_is_freed_by_the_death_of_who_has_it(segment: int) -> None:
    shared = Cells.shared(segment)
    child(segment, "locked")
    assert shared.claim(shared.tag("key:bob"), named=True) > 0


def test_who_stands_still_with_the_lock_stops_nobody(segment: int) -> None:
    shared = Cells.shared(segment)
    with living(segment, "locked"):
        at = shared.claim(shared.tag("key:bob"), named=True)
        assert shared.tags[at] == shared.tag("key:bob")


def test_tags_differ_from_server_to_server(segment: int) -> None:
    assert Cells.own().tag("key:ann") != Cells.own().tag("key:ann") != Cells.shared(segment).tag("key:ann")


def test_those_without_a_name_do_not_crowd_out_those_with_one() -> None:
    own = Cells.own()
    tag = own.tag("key:ann")
    at = own.claim(tag, named=True)
    own.times[at + ROWS] = 1.0
    for i in range(40_000):
        own.claim(own.tag(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"), named=False)
    assert own.tags[at] == tag


def test_who_will_be_forgotten_soonest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "SETS", 1)
    own = Cells.own()
    found = [own.claim(number, named=True) for number in range(1, WAYS + 1)]
    assert len(set(found)) == WAYS
    for i, at in enumerate(found):
        own.times[at + REQUESTS] = 100.0 + i
        own.times[at + ROWS] = 300.0 - i
    assert own.claim(1, named=True) == found[0]
    newcomer = own.claim(99, named=True)
    assert newcomer == found[-1], "it is the longer of the two that counts"
    assert (own.tags[newcomer], own.times[newcomer + REQUESTS], own.times[newcomer + ROWS]) == (99, 0.0, 0.0)


def test_pages_that_nobody_is_in_take_no_memory(segment: int) -> None:
    shared = Cells.shared(segment)
    for i in range(10):
        shared.claim(shared.tag(f"key:{i}"), named=True)
    assert os.fstat(segment).st_blocks * 512 <= 32 * os.sysconf("SC_PAGE_SIZE")
    assert "sluice-quotas" in Path(f"/proc/self/fd/{segment}").readlink().name
