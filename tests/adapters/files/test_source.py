from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.files import FilesInput, FilesRedrive, FilesSource
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, Context, Credit, Fenced, Rows, Token, Transient

WIDE = Credit(1000, 1 << 20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def make(folder: Path, **settings: Any) -> FilesSource:
    given: dict[str, Any] = {"stable_seconds": 0, "poll_seconds": 0.01, "follow": False, "order": "name"} | settings
    return FilesSource(FilesInput(path=str(folder), **given), Context("p", state=str(folder.parent / "state")))


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[FilesSource]:
    source = make(folder, **settings)
    await source.connect()
    try:
        yield source
    finally:
        await source.close()


async def all_of(source: FilesSource, credit: Credit = WIDE) -> list[tuple[Batch, Token]]:
    reads = []
    while (read := await source.read(credit)) is not None:
        reads.append(read)
        await source.ack(read[1])
    return reads


def values(reads: list[tuple[Batch, Token]]) -> list[bytes]:
    return [value for batch, _ in reads for value in batch.values]


async def drained(folder: Path, credit: Credit = WIDE, **settings: Any) -> list[bytes]:
    async with opened(folder, **settings) as source:
        return values(await all_of(source, credit))


def test_whole_files_one_after_the_other_and_away_with_them(folder: Path) -> None:
    (folder / "b.txt").write_bytes(b"3\n4")
    (folder / "a.txt").write_bytes(b"1\r\n\n2\n\n\n")
    for name in (".hidden", "x.tmp", "x.part", "x~", "x.csv"):
        (folder / name).write_bytes(b"no\n")
    (folder / "sub.txt").mkdir()
    (folder / "link.txt").symlink_to("/etc/hostname")
    (folder / os.fsdecode(b"\xff.txt")).write_bytes(b"no\n")
    (folder / ("x" * 200 + ".txt")).write_bytes(b"no\n")
    os.mkfifo(folder / "fifo.txt")
    assert asyncio.run(drained(folder, pattern="*.txt")) == [b"1", b"2", b"3", b"4"]
    assert sorted(path.name for path in (folder / "done").iterdir()) == ["a.txt", "b.txt"]


def test_ids_are_of_the_content_and_go_on_across_reads(folder: Path) -> None:
    (folder / "a").write_bytes(b"".join(b"%d\n" % n for n in range(10)))

    async def run() -> list[tuple[Batch, Token]]:
        async with opened(folder) as source:
            return await all_of(source, Credit(4, 1 << 20))

    reads = asyncio.run(run())
    assert [len(batch) for batch, _ in reads] == [4, 4, 2]
    ids = [name for batch, _ in reads for name in batch.ids]
    digest = ids[0].split("/")[0]
    assert ids == [f"{digest}/{n}" for n in range(10)]
    assert [token.position["end"] for _, token in reads] == [False, False, True]


def test_the_same_content_is_read_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a").write_bytes(b"1\n")
    (folder / "b").write_bytes(b"1\n")

    async def run() -> None:
        async with opened(folder) as source:
            assert values(await all_of(source)) == [b"1"]
            assert source.repeated == 1
        (folder / "c").write_bytes(b"1\n")  # also after a restart
        async with opened(folder) as source:
            assert await all_of(source) == []
            assert source.repeated == 1

    asyncio.run(run())
    assert "'b' in" in caplog.text
    assert "has the content of 'a'" in caplog.text
    assert not [path for path in folder.iterdir() if path.is_file()]


def test_a_repeat_is_not_judged_before_the_first_is_done_with(folder: Path) -> None:
    (folder / "a").write_bytes(b"1\n")
    (folder / "b").write_bytes(b"1\n")

    async def run() -> None:
        async with opened(folder, follow=True) as source:
            read = await source.read(WIDE)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(source.read(WIDE), 0.2)
            assert source.repeated == 0
        # as after a crash: nothing was acknowledged
        assert await drained(folder) == [b"1"]
        assert read is not None

    asyncio.run(run())
    assert not [path for path in folder.iterdir() if path.is_file()]


def test_the_same_content_is_read_again_where_that_is_wanted(folder: Path) -> None:
    for _ in range(2):
        (folder / "a").write_bytes(b"1\n")
        (folder / "b").write_bytes(b"1\n")
        assert asyncio.run(drained(folder, same_content="read")) == [b"1", b"1"]


def test_a_file_that_grows_is_left_alone_until_it_stands_still(folder: Path) -> None:
    async def run() -> None:
        async with opened(folder, follow=True, stable_seconds=0.3) as source:
            reading = asyncio.create_task(source.read(WIDE))
            with (folder / "a").open("wb") as file:
                for n in range(20):
                    file.write(b"%d\n" % n)
                    file.flush()
                    await asyncio.sleep(0.03)
            read = await asyncio.wait_for(reading, 20)
            assert read is not None
            assert len(read[0]) == 20

    asyncio.run(run())


def test_a_marker_says_that_a_file_is_whole(folder: Path) -> None:
    async def run() -> None:
        (folder / "a").write_bytes(b"1\n")
        async with opened(folder, marker=".ok", stable_seconds=99) as source:
            assert await source.read(WIDE) is None
            (folder / "a.ok").touch()
            read = await source.read(WIDE)
            assert read is not None
            await source.ack(read[1])
            assert not (folder / "a.ok").exists()
            assert (folder / "done" / "a").exists()

    asyncio.run(run())


def test_a_file_that_changes_while_it_is_read_is_not_trusted(folder: Path) -> None:
    async def run() -> None:
        (folder / "a").write_bytes(b"1\n2\n")
        async with opened(folder) as source:
            assert await source.read(Credit(1, 1 << 20)) is not None
            with (folder / "a").open("ab") as file:
                file.write(b"3\n")
            with pytest.raises(Transient, match="changed while it was read"):
                await source.read(WIDE)

    asyncio.run(run())


def test_a_read_that_is_cancelled_loses_no_record(folder: Path) -> None:
    (folder / "a").write_bytes(b"".join(b"%d\n" % n for n in range(500)))

    async def run() -> None:
        async with opened(folder) as source:
            found: list[bytes] = []
            for turns in range(40):
                task = asyncio.create_task(source.read(Credit(10, 1 << 20)))
                for _ in range(turns % 4):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    read = await task
                except asyncio.CancelledError:
                    continue
                if read is None:
                    break
                found += read[0].values
            found += values(await all_of(source))
            assert found == [b"%d" % n for n in range(500)]

    asyncio.run(run())


def test_what_was_not_acknowledged_comes_again(folder: Path) -> None:
    (folder / "a").write_bytes(b"1\n2\n3\n")
    (folder / "b").write_bytes(b"4\n")

    async def run() -> None:
        async with opened(folder) as source:
            first = await source.read(Credit(1, 1 << 20))
            assert first is not None
            await source.ack(first[1])
            assert await source.read(Credit(1, 1 << 20)) is not None
            await source.connect()  # as after an error
            read = await source.read(WIDE)
            assert read is not None
            assert read[0].values == [b"2", b"3"]
            with pytest.raises(Fenced, match="epoch 1 of"):
                await source.ack(first[1])
        assert await drained(folder) == [b"2", b"3", b"4"]

    asyncio.run(run())


def test_two_of_them_are_told_apart(folder: Path) -> None:
    (folder / "a").write_bytes(b"1\n2\n")

    async def run() -> None:
        async with opened(folder) as old, opened(folder) as new:
            read = await old.read(WIDE)
            assert read is not None
            with pytest.raises(Fenced, match="another process has taken over"):
                await old.ack(read[1])
            assert values(await all_of(new)) == [b"1", b"2"]

    asyncio.run(run())


def test_a_half_read_file_that_comes_back_goes_on(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a").write_bytes(b"1\n2\n")
    (folder / "b").write_bytes(b"3\n")

    async def run() -> None:
        async with opened(folder) as source:
            first = await source.read(Credit(1, 1 << 20))
            assert first is not None
            await source.ack(first[1])
        (folder / "a").rename(folder.parent / "a")
        assert await drained(folder) == [b"3"]
        (folder.parent / "a").rename(folder / "a")
        assert await drained(folder) == [b"2"]

    asyncio.run(run())
    assert "was read to byte 2 and is gone" in caplog.text


def test_kept_and_deleted(folder: Path) -> None:
    (folder / "a").write_bytes(b"1\n")
    assert asyncio.run(drained(folder, after="keep")) == [b"1"]
    assert asyncio.run(drained(folder, after="keep")) == []
    assert (folder / "a").exists()
    (folder / "b").write_bytes(b"2\n")
    assert asyncio.run(drained(folder, after="delete")) == [b"2"]
    assert list(folder.iterdir()) == []


def test_broken_records_are_faults_and_nothing_else_is_lost(folder: Path) -> None:
    async def run(data: bytes, **settings: Any) -> list[tuple[bytes | None, str]]:
        (folder / f"f{len(list(folder.parent.rglob('f*')))}").write_bytes(data)
        async with opened(folder, after="delete", **settings) as source:
            return [(v, b.faults.get(at, "")[:30]) for b, _ in await all_of(source) for at, v in enumerate(b.values)]

    long = b"x" * 200_000
    ended = "the file ends in the middle of"
    assert asyncio.run(run(b"aaabbbc", records="fixed", length=3)) == [(b"aaa", ""), (b"bbb", ""), (b"c", ended)]
    rdw = b"\0\6\0\0ab"
    assert asyncio.run(run(rdw + b"\0\x09\0\0c", records="rdw")) == [(b"ab", ""), (b"c", ended)]
    assert asyncio.run(run(rdw + b"\0\0\0\0" + rdw, records="rdw")) == [
        (b"ab", ""), (b"\0\0\0\0" + rdw, "at byte 6 of 16: the record de")
    ]  # fmt: skip
    assert asyncio.run(run(b"1\n" + long + b"\n\n2", max_record_bytes=100_000)) == [
        (b"1", ""), (long[: 64 << 10], "at byte 2: it is longer than m"), (b"2", "")
    ]  # fmt: skip
    assert asyncio.run(run(long, records="whole", max_record_bytes=100_000)) == [
        (long[: 64 << 10], "at byte 0 of 200000: it is lon")
    ]
    assert asyncio.run(run(b"all\nof\nit", records="whole")) == [(b"all\nof\nit", "")]
    assert asyncio.run(run(b"\n\n")) == []
    assert list(folder.iterdir()) == []


def test_what_is_redriven_is_read_though_its_content_was_before(folder: Path) -> None:
    async def run() -> None:
        (folder / "a.txt").write_bytes(b"1\n")
        assert await drained(folder, pattern="*.txt") == [b"1"]
        settings = FilesInput(path=str(folder), pattern="*.txt")
        redrive = FilesRedrive(settings, Context("p"))
        await redrive.connect()
        for _ in range(2):
            await redrive.write(Rows(Batch(["x"], [b"1"]), Token("", 0)))
        await redrive.close()
        assert await drained(folder, pattern="*.txt", stable_seconds=99) == [b"1", b"1"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"records": "fixed"}, "files.length is 0 and files.records is 'fixed'"),
        ({"length": 5}, "files.length is 5"),
        ({"records": "rdw", "quote": '"'}, "files.quote goes with lines"),
        ({"records": "fixed", "length": 9, "max_record_bytes": 8}, "beyond max_record_bytes"),
    ],
)
def test_settings_that_do_not_go_together(folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        make(folder, **settings)


def test_a_folder_that_is_not_there(folder: Path) -> None:
    with pytest.raises(Transient, match="No such file"):
        asyncio.run(drained(folder / "nowhere"))
    with pytest.raises(InvalidArgument, match="another file system"):
        asyncio.run(drained(folder, done="/dev/shm"))


def test_lag(folder: Path) -> None:
    async def run() -> None:
        async with opened(folder, after="keep") as source:
            (folder / "a").write_bytes(b"1\n")
            os.utime(folder / "a", (1e9, 1e9))
            (lag,) = (await source.lag()).values()
            assert lag.seconds is not None
            assert lag.seconds > 1e8
            await all_of(source)
            (lag,) = (await source.lag()).values()
            assert lag.seconds == 0

    asyncio.run(run())
