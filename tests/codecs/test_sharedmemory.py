from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.codecs.sharedmemory import Regions, RegionStatus
from gateway.core.errors import InvalidArgument, NotFound, ResourceExhausted

FOLDER = Path("/dev/shm")
SIZE = 10_000


@pytest.fixture
def key() -> Iterator[str]:
    """A client's region of SIZE bytes, 0 1 2 … 250 0 1 …"""
    path = FOLDER / f"test-{uuid4().hex}"
    path.write_bytes(bytes(i % 251 for i in range(SIZE)))
    yield path.name
    path.unlink(missing_ok=True)


@pytest.fixture
def regions(key: str) -> Regions:
    found = Regions()
    found.register("r", f"/{key}", 100, 5000)
    return found


def test_read_and_write_within_an_unaligned_extent(regions: Regions, key: str) -> None:
    assert bytes(regions.read("r", 1, 3)) == bytes([101, 102, 103])
    regions.write("r", 4997, b"xyz")
    assert (FOLDER / key).read_bytes()[5096:5101] == bytes([5096 % 251]) + b"xyz" + bytes([5100 % 251])
    assert bytes(regions.read("r", 4997, 3)) == b"xyz"
    assert len(regions.read("r", 5000, 0)) == 0


def test_what_was_read_does_not_change_any_more(regions: Regions, key: str) -> None:
    data = regions.read("r", 0, 1)
    (FOLDER / key).write_bytes(b"\xff" * SIZE)
    assert bytes(data) == bytes([100])


def test_status_and_unregister(regions: Regions, key: str) -> None:
    regions.register("s", key, 0, 1)
    status = RegionStatus("r", f"/{key}", 100, 5000)
    assert regions.status("r") == [status]
    assert regions.status() == [status, RegionStatus("s", key, 0, 1)]
    regions.unregister("r")
    regions.unregister("r")
    assert regions.status() == [RegionStatus("s", key, 0, 1)]
    regions.unregister_all()
    assert regions.status() == []
    assert (FOLDER / key).exists()


def test_a_region_that_is_not_registered(regions: Regions) -> None:
    for call in (
        lambda: regions.status("q"),
        lambda: regions.read("q", 0, 1),
        lambda: regions.write("q", 0, b""),
    ):
        with pytest.raises(NotFound, match=r"^Unable to find shared memory region: 'q'$"):
            call()


def test_a_name_is_registered_once(regions: Regions, key: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^shared memory region 'r' already in manager$"):
        regions.register("r", key, 0, 1)


@pytest.mark.parametrize(
    ("offset", "byte_size"),
    [(0, SIZE + 1), (SIZE, 1), (-1, 5), (0, 0), (0, -1), (2**63, 2**63), (True, 1), (0, 1.5), ("0", 1)],
)
def test_an_extent_outside_the_file_is_refused(key: str, offset: int, byte_size: int) -> None:
    regions = Regions()
    with pytest.raises(InvalidArgument, match="shared memory region 'r'"):
        regions.register("r", key, offset, byte_size)
    assert regions.status() == []


@pytest.mark.parametrize(
    ("offset", "byte_size"),
    [(0, 5001), (5000, 1), (-1, 1), (0, -1), (2**64, 1), (1, 2**64), (0.0, 1), (0, None)],
)
def test_reading_outside_the_region_is_refused(regions: Regions, offset: int, byte_size: int) -> None:
    with pytest.raises(InvalidArgument, match="shared memory region"):
        regions.read("r", offset, byte_size)


def test_writing_outside_the_region_is_refused(regions: Regions) -> None:
    with pytest.raises(InvalidArgument, match="Invalid offset"):
        regions.write("r", 4999, b"xy")


@pytest.mark.parametrize(
    "bad", ["", "/", "//x", ".", "..", "../etc/passwd", "a/b", "/a/b", "a\0b", "x" * 300, "\ud800"]
)
def test_a_key_is_one_path_component(bad: str) -> None:
    with pytest.raises(InvalidArgument):
        Regions().register("r", bad, 0, 1)


def test_links_folders_pipes_and_nothing_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    regions = Regions(folder=tmp_path)
    for key in ("link", "folder", "pipe", "absent"):
        with pytest.raises(InvalidArgument, match=f"^Unable to open shared memory region: '{key}'$"):
            regions.register("r", key, 0, 1)


def test_the_number_of_regions_is_limited(key: str) -> None:
    regions = Regions(max_regions=1)
    regions.register("a", key, 0, 1)
    with pytest.raises(ResourceExhausted, match="1 are registered already"):
        regions.register("b", key, 0, 1)


def test_a_sparse_region_larger_than_memory_is_not_read() -> None:
    path = FOLDER / f"test-{uuid4().hex}"
    path.touch()
    try:
        os.truncate(path, 1 << 42)
        regions = Regions(max_bytes=1000)
        regions.register("r", path.name, 0, 1 << 42)
        with pytest.raises(InvalidArgument, match="exceeds the limit of 1000 bytes"):
            regions.read("r", 0, 1 << 42)
        assert bytes(regions.read("r", 1 << 41, 2)) == b"\0\0"
    finally:
        path.unlink()


def test_a_region_that_shrinks_is_an_error_and_stays_small(regions: Regions, key: str) -> None:
    os.truncate(FOLDER / key, 150)
    assert bytes(regions.read("r", 0, 50)) == bytes(range(100, 150))
    with pytest.raises(InvalidArgument, match="shared memory region 'r' is shorter than the 5000 bytes"):
        regions.read("r", 0, 51)
    with pytest.raises(InvalidArgument, match="is shorter"):
        regions.write("r", 50, b"x")
    assert (FOLDER / key).stat().st_size == 150


def test_a_region_that_shrinks_while_it_is_read(key: str) -> None:
    """With a mapping in place of preadv, this ends the process with SIGBUS."""
    size = 1 << 22
    path = FOLDER / key
    os.truncate(path, size)
    regions = Regions()
    regions.register("r", key, 0, size)
    stop = threading.Event()

    def shrink_and_grow() -> None:
        while not stop.is_set():
            os.truncate(path, 0)
            os.truncate(path, size)

    thread = threading.Thread(target=shrink_and_grow)
    thread.start()
    shrunk = 0
    try:
        for _ in range(5000):
            if shrunk == 20:
                break
            try:
                assert len(regions.read("r", 0, size)) == size
                regions.write("r", 0, bytes(size))
            except InvalidArgument:
                shrunk += 1
    finally:
        stop.set()
        thread.join()
    assert shrunk


def test_descriptors_are_given_back(key: str) -> None:
    regions = Regions()
    before = _descriptors()
    for _ in range(20):
        regions.register("r", key, 0, 10)
        with pytest.raises(InvalidArgument):
            regions.register("s", key, 0, SIZE + 1)
        regions.unregister("r")
    assert _descriptors() == before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
