"""Dead letters of folders, given back: those kept with results, and those that a folder is for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from adapters.files import adapter
from gateway.core import letter
from gateway.core.stream import Batch, Context, Credit, DeadLetter, Message, Rows, Token


def dead(number: int) -> DeadLetter:
    return DeadLetter(Message(f"r{number}", b"\xff%d" % number, b"k"), "why", "lane", "here", 1)


def settings(path: Path) -> object:
    assert adapter.output is not None
    return adapter.output.settings(path=str(path))


async def given_back(path: Path, state: Path, kept: bool, *, most: int = 1000) -> list[str]:
    """The ids of all letters, read in batches of `most`."""
    assert adapter.letters is not None
    source = adapter.letters(settings(path), Context("p", None, str(state)), kept)
    found: list[str] = []
    await source.connect()
    try:
        while (read := await source.read(Credit(most, 1 << 20))) is not None:
            batch, token = read
            found += [letter.decode(value or b"").message.id for value in batch.values]
            await source.ack(token)
    finally:
        await source.close()
    return found


async def written(path: Path, count: int, kept: bool) -> None:
    assert adapter.output is not None
    output = adapter.output.open(settings(path), Context("p"))
    letters = [dead(number) for number in range(count)]
    await output.connect()
    if kept:
        await output.write(Rows(Batch([], []), Token("lane", 1)), letters)
    else:
        values = [letter.encode(one) for one in letters]
        await output.write(Rows(Batch([one.message.id for one in letters], values), Token("lane", 1)))
    await output.close()


def test_letters_of_a_folder_that_is_for_them(tmp_path: Path) -> None:
    async def go() -> None:
        await written(tmp_path / "dead", 3, kept=False)
        assert await given_back(tmp_path / "dead", tmp_path / "s", kept=False, most=2) == ["r0", "r1", "r2"]
        assert await given_back(tmp_path / "dead", tmp_path / "s", kept=False) == []
        assert not list((tmp_path / "dead").glob("*.jsonl"))

    asyncio.run(go())


def test_letters_that_are_kept_with_results_and_no_results_among_them(tmp_path: Path) -> None:
    async def go() -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "results.jsonl").write_text("{}\n")
        await written(tmp_path / "out", 2, kept=True)
        assert await given_back(tmp_path / "out", tmp_path / "s", kept=True) == ["r0", "r1"]
        assert (tmp_path / "out" / "results.jsonl").exists()

    asyncio.run(go())


def test_part_of_them_goes_on_where_it_ended(tmp_path: Path) -> None:
    async def go() -> None:
        await written(tmp_path / "dead", 5, kept=False)
        assert adapter.letters is not None
        for first in (0, 2):
            source = adapter.letters(settings(tmp_path / "dead"), Context("p", None, str(tmp_path / "s")), False)
            await source.connect()
            batch, token = await source.read(Credit(2, 1 << 20))
            assert [letter.decode(value).message.id for value in batch.values] == [f"r{first}", f"r{first + 1}"]
            await source.ack(token)
            await source.close()
        assert await given_back(tmp_path / "dead", tmp_path / "s", kept=False) == ["r4"]

    asyncio.run(go())


def test_where_there_never_was_one(tmp_path: Path) -> None:
    assert asyncio.run(given_back(tmp_path / "none", tmp_path / "s", kept=True)) == []
