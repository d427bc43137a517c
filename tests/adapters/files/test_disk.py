"""A disk that is full in the middle of a run, with the real pipeline."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.server import until
from streaming import Place, running


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    path = tmp_path / "out"
    path.mkdir()
    if os.getuid() != 0 or subprocess.call(["mount", "-t", "tmpfs", "-o", "size=200k", "none", path]):
        pytest.skip("no file system can be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def test_a_full_disk_is_waited_for(tmp_path: Path, disk: Path) -> None:
    place = Place(tmp_path)
    count = 20_000
    place.feed("a.jsonl", [*place.records(0, count), "broken"])
    with running(place) as process:
        until(lambda: "No space left" in process.view()["reason"], what="the full disk")
        until(lambda: process.view()["state"] == "waiting", what="waiting for the next try")
        assert place.results() == []
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        until((tmp_path / "in" / "done" / "a.jsonl").exists, what="the end of the file")
    assert [one["id"] for one in place.results()] == list(range(count))
    assert [one["value"] for one in place.dead()] == ["broken"]
