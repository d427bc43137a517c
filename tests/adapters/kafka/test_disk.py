"""A broker whose disk is full while a stream runs. It dies of that, as Kafka does; the stream waits for it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from types import TracebackType

import pytest
from contract.stands import run
from copying import copying
from kafka_sides import Sides
from servers.fixtures import serving
from servers.kafka import Kafka

COUNT = 3000


class Cramped(Kafka):
    """On a file system of its own, which `fill` fills."""

    def __init__(self) -> None:
        super().__init__(
            log_segment_bytes="2000000", log_index_size_max_bytes="4096", offsets_topic_segment_bytes="1048576"
        )  # fmt: skip
        self.disk = self.folder / "data"
        self.mounted = False

    def prepare(self) -> None:
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", self.disk]
        self.mounted = not subprocess.run(mount, capture_output=True, check=False).returncode
        if not self.mounted:
            pytest.skip("no file system can be mounted here")
        super().prepare()

    def fill(self) -> None:
        """To the last byte."""
        zeros = ["dd", "if=/dev/zero", f"of={self.disk / 'hog'}", "bs=4k"]
        assert "No space" in subprocess.run(zeros, capture_output=True, check=False, text=True).stderr

    def relieve(self) -> None:
        (self.disk / "hog").unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.disk], check=True)
        super().__exit__(kind, error, trace)


@pytest.fixture(scope="module")
def cramped() -> Iterator[Cramped]:
    with serving("kafka", Cramped) as broker:
        yield broker


@pytest.mark.parametrize("exactly", [True, False])
def test_a_full_disk_is_waited_for(cramped: Cramped, exactly: bool) -> None:
    sides = Sides(cramped.address)
    source, target = cramped.create(2), cramped.create(2)
    values: list[bytes | None] = [b"%d" % n + b" " * 500 for n in range(COUNT)]
    cramped.write(source, values, values)

    async def test() -> None:
        out = sides.output(target, transactions=exactly, request_timeout=3.0)
        inp = sides.input(source, out if exactly else None, request_timeout=3.0)
        async with copying(inp, out) as copier:
            await copier.until(lambda: copier.runner.status().acknowledged > 0, "the first batch")
            cramped.fill()
            broker = cramped.process
            assert broker is not None
            await copier.until(lambda: broker.poll() is not None, "the broker's end")
            assert copier.runner.status().acknowledged < COUNT
            await copier.waits(r"(in|out)put: .*127\.0\.0\.1")
            cramped.relieve()
            await asyncio.to_thread(cramped.start)
            await copier.copies(COUNT)
        assert copier.dead() == {}

    run(test)
    found = [int(value or b"") for _, value, _ in cramped.read(target)]
    assert set(found) == set(range(COUNT))
    assert len(found) <= COUNT + (0 if exactly else 200)
    cramped.delete(source, target)
