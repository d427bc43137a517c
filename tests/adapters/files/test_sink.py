from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from servers.server import until

from adapters.files import FilesInput, FilesOutput, FilesSink, FilesSource, adapter
from gateway.core.errors import InvalidArgument
from gateway.core.stream import (
    Batch,
    Context,
    Credit,
    DataError,
    DeadLetter,
    Delivery,
    Fenced,
    Message,
    Rows,
    Token,
    Transient,
    guarantee,
)


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[FilesSink]:
    sink = FilesSink(FilesOutput(path=str(folder), **settings), Context("p"))
    await sink.connect()
    try:
        yield sink
    finally:
        await sink.close()


def rows(*values: bytes, lane: str = "l", epoch: int = 1, position: Any = None) -> Rows:
    return Rows(Batch([str(n) for n in range(len(values))], values), Token(lane, epoch, position))


def contents(folder: Path) -> list[bytes]:
    """Of what others see."""
    return [path.read_bytes() for path in sorted(folder.glob("[!.]*")) if path.is_file()]


def test_appended_records_are_seen_at_once_and_a_new_file_begins_when_one_is_full(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, rotate_bytes=6) as sink:
            await sink.write(rows(b"1", b"2"))
            assert contents(tmp_path) == [b"1\n2\n"]
            await sink.write(rows(b"3", lane="other"))
            await sink.write(rows(b"4"))
            assert contents(tmp_path) == [b"1\n2\n3\n", b"4\n"]

    asyncio.run(run())
    assert [path.name for path in tmp_path.rglob("*.journal")] == []


def test_files_that_appear_when_they_are_whole_appear_also_when_nothing_more_comes(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, growing=False, rotate_seconds=0.2) as sink:
            await sink.write(rows(b"1"))
            assert contents(tmp_path) == []
            await asyncio.to_thread(until, lambda: contents(tmp_path) == [b"1\n"])
            await sink.write(rows(b"2"))
        assert sorted(contents(tmp_path)) == [b"1\n", b"2\n"]

    asyncio.run(asyncio.wait_for(run(), 20))


def test_dead_letters_share_the_transaction(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as sink:
            letter = DeadLetter(Message("7", b"\xff"), "no", "l", "7")
            await sink.write(rows(b"1"), [letter])
            (line,) = contents(tmp_path / "dead")
            assert json.loads(line)["value"] == {"base64": "/w=="}

    asyncio.run(run())


def test_a_position_is_kept_with_the_results(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as sink:
            assert await sink.take_over("l") == (1, None)
            await sink.write(rows(b"1", position=41))
            await sink.write(rows(position=42))
            assert await sink.take_over("other") == (1, None)
        async with opened(tmp_path) as sink:
            assert await sink.take_over("l") == (2, 42)
            await sink.write(rows(b"2", epoch=2, position=43))
            with pytest.raises(Fenced, match="epoch 1 of 'l' is over, it is 2"):
                await sink.write(rows(b"no", position=43))
        assert contents(tmp_path) == [b"1\n", b"2\n"]

    asyncio.run(run())


def test_the_old_owner_is_fenced(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as old, opened(tmp_path) as new:
            await old.take_over("l")
            await old.write(rows(b"1", position=1))
            assert await new.take_over("l") == (2, 1)
            with pytest.raises(Fenced, match="another process has taken over"):
                await old.write(rows(b"no", position=2))
            await new.write(rows(b"2", epoch=2, position=2))
        assert contents(tmp_path) == [b"1\n2\n"]

    asyncio.run(run())


def test_what_a_killed_process_has_left_is_cut_and_ended(tmp_path: Path) -> None:
    """The child writes a record, then a half one as a crash in the middle of a write leaves it."""
    pid = os.fork()
    if pid == 0:
        sink = FilesSink(FilesOutput(path=str(tmp_path), growing=False), Context("p"))

        async def die() -> None:
            await sink.connect()
            await sink.write(rows(b"1"))
            (part,) = named(tmp_path, ".*.part")
            with part.open("ab") as file:
                file.write(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(die())
        os._exit(1)
    os.waitpid(pid, 0)
    assert contents(tmp_path) == []

    async def run() -> None:
        async with opened(tmp_path):
            assert contents(tmp_path) == [b"1\n"]
        assert [path.name for path in (tmp_path / ".sluice" / "p").iterdir()] == []

    asyncio.run(run())


def test_files_that_were_taken_away_from_a_killed_process_are_not_missed(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        sink = FilesSink(FilesOutput(path=str(tmp_path)), Context("p"))

        async def die() -> None:
            await sink.connect()
            await sink.write(rows(b"1"))
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(die())
        os._exit(1)
    os.waitpid(pid, 0)
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()

    async def run() -> None:
        async with opened(tmp_path) as sink:
            await sink.write(rows(b"2"))
        assert contents(tmp_path) == [b"2\n"]

    asyncio.run(run())


def test_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, growing=False) as one, opened(tmp_path, growing=False) as two:
            await one.write(rows(b"1"))
            await two.connect()
            await two.write(rows(b"2"))
            assert contents(tmp_path) == []
            await one.write(rows(b"3"))
        assert sorted(contents(tmp_path)) == [b"1\n3\n", b"2\n"]

    asyncio.run(run())


def named(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of 64 kB, where we may make one; else a limit on the size of files."""
    path.mkdir()
    if os.getuid() == 0 and not subprocess.call(["mount", "-t", "tmpfs", "-o", "size=64k", "none", path]):
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", path], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("owned", [True, False])
def test_a_full_disk_loses_and_repeats_nothing(tmp_path: Path, owned: bool) -> None:
    big = b"x" * 20_000

    async def run(disk: Path) -> int:
        async with opened(disk, growing=True) as sink:
            if owned:
                await sink.take_over("l")
            await sink.write(rows(b"first", position=0))
            at = 0
            with pytest.raises(Transient, match=r"No space left|too large"):  # noqa: PT012
                while at < 9:
                    at += 1
                    await sink.write(rows(big, position=at))
            with pytest.raises(Transient):
                await sink.write(rows(big, position=at))
            assert contents(disk) == [b"first\n" + (big + b"\n") * (at - 1)]
            await sink.write(rows(b"small", position=at))
        return at

    with small_disk(tmp_path / "disk"):
        at = asyncio.run(run(tmp_path / "disk"))
        assert contents(tmp_path / "disk") == [b"first\n" + (big + b"\n") * (at - 1) + b"small\n"]


def test_a_result_that_was_cut_is_not_written_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as sink:
            await sink.take_over("f")
            position = {"file": "d", "name": "a.txt", "offset": 1, "ordinal": 1, "end": False}
            await sink.write(rows(b"1", lane="f", position=position))
            (part,) = named(tmp_path, ".*.part")
            os.truncate(part, 1)
        async with opened(tmp_path) as sink:
            with pytest.raises(Transient, match="has 1 bytes, and its journal says 2"):
                await sink.take_over("f")

    asyncio.run(run())


def test_a_name_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"theirs")

    async def run() -> None:
        async with opened(tmp_path) as sink:
            await sink.take_over("f")
            position = {"file": "0123456789", "name": "a.txt", "offset": 1, "ordinal": 1, "end": True}
            await sink.write(rows(b"1", lane="f", position=position))
        assert (tmp_path / "a.jsonl").read_bytes() == b"theirs"
        assert (tmp_path / "a-01234567-1.jsonl").read_bytes() == b"1\n"

    asyncio.run(run())


def test_a_long_journal_is_written_anew(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as sink:
            await sink.take_over("l")
            for at in range(30):
                await sink.write(rows(b"%d" % at, position={"at": at, "much": "x" * 100_000}))
            (journal,) = named(tmp_path / ".sluice" / "p", "*.journal")
            assert journal.stat().st_size < 1 << 20
        async with opened(tmp_path) as sink:
            _, position = await sink.take_over("l")
            assert position["at"] == 29

    asyncio.run(run())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "results"}, "the same for each file"),
        ({"name": "{stem}/x"}, "without '/'"),
        ({"name": ".{stem}"}, "hidden"),
        ({"name": "{who}"}, "cannot be filled in"),
        ({"records": "fixed"}, "files.length is 0"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        FilesSink(FilesOutput(path=str(tmp_path), **settings), Context("p"))


def test_a_record_that_does_not_fit_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, records="fixed", length=2) as sink:
            with pytest.raises(DataError, match="has 3 bytes, expected 2") as error:
                await sink.write(rows(b"ab", b"abc"))
            assert error.value.record == 1

    asyncio.run(run())


@pytest.mark.parametrize("kept", [True, False])
def test_letters_are_given_back_but_for_files_that_others_write(tmp_path: Path, kept: bool) -> None:
    assert adapter.letters is not None
    settings = FilesOutput(path=str(tmp_path))
    letter = DeadLetter(Message("7", b"x"), "no", "l", "7")

    async def write(sink: FilesSink) -> None:
        await (sink.write(rows(), [letter]) if kept else sink.write(rows(b"letter")))

    async def read() -> int:
        assert adapter.letters is not None
        source = adapter.letters(settings, Context("p.redrive", state=str(tmp_path / ".state")), kept)
        await source.connect()
        count = 0
        while (read := await source.read(Credit(10, 1 << 20))) is not None:
            count += len(read[0])
            await source.ack(read[1])
        await source.close()
        return count

    async def run() -> None:
        assert await read() == 0
        for _ in range(2):  # the same letters again are other letters
            async with opened(tmp_path) as sink:
                await write(sink)
            async with opened(tmp_path) as living:
                await write(living)
                assert await read() == 1
                await write(living)
            assert await read() == 2
        assert contents(tmp_path / "dead") == [] if kept else contents(tmp_path) == []

    asyncio.run(run())


def test_files_to_files_is_exactly_once(tmp_path: Path) -> None:
    sink = FilesSink(FilesOutput(path=str(tmp_path)), Context("p")).sink
    source = FilesSource(FilesInput(path=str(tmp_path)), Context("p")).source
    assert guarantee(source, sink).delivery is Delivery.EXACTLY_ONCE
    assert sink.dead_letters


def test_what_a_full_disk_keeps_from_being_ended_is_ended_by_the_next(tmp_path: Path) -> None:
    async def fill(disk: Path) -> None:
        async with opened(disk, growing=False) as sink:
            await sink.write(rows(b"1"))
            with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
                while file.write(bytes(4096)) == 4096:
                    pass
            with pytest.raises(Transient):
                await sink.write(rows(b"x" * 9000))

    async def end(disk: Path) -> None:
        async with opened(disk, growing=False):
            pass

    with small_disk(tmp_path / "disk"):
        asyncio.run(fill(tmp_path / "disk"))
        (tmp_path / "disk" / "ballast").unlink()
        asyncio.run(end(tmp_path / "disk"))
        assert contents(tmp_path / "disk") == [b"1\n"]
