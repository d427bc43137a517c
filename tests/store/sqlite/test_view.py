from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.core.errors import NotFound, Unavailable
from gateway.store.contract import Act, DesiredModel, DesiredSplit, State
from gateway.store.sqlite.store import FILE, SqliteStore
from gateway.store.sqlite.view import SqliteView

ACT = Act("me", "here", "split.set", "m")


def split(state: State) -> State:
    return replace(state, splits={"m": DesiredSplit("m", (("1", 1.0),))})


def test_it_follows_a_gateway_that_comes_and_goes(tmp_path: Path) -> None:
    async def main() -> None:
        view = SqliteView(tmp_path / "a folder?#")
        assert await view.read() == State()
        for turn in (1, 2):
            async with SqliteStore(tmp_path / "a folder?#") as store:
                written = await store.change(None, split, ACT)
                assert written.revision == turn
                assert await view.read() == written
            assert await view.read() == written

    asyncio.run(main())


def test_blobs(tmp_path: Path) -> None:
    async def main() -> None:
        data = b"model"
        digest = sha256(data).hexdigest()
        models = {"m": DesiredModel(True, 1, "", {"1/model.onnx": digest})}
        async with SqliteStore(tmp_path) as store:
            await store.change(None, lambda state: replace(state, models=models), ACT, {digest: data})
        assert await SqliteView(tmp_path).blob(digest) == data
        with pytest.raises(NotFound):
            await SqliteView(tmp_path).blob("none")

    asyncio.run(main())


def test_what_is_noted_beside_a_gateway_takes_no_revision(tmp_path: Path) -> None:
    note = Act("key:ann", "admin 10.0.0.1", "stream.pause", "s", {"reason": "r"})

    async def main() -> None:
        await SqliteView(tmp_path).note(note)  # where no gateway ever was
        assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
        async with SqliteStore(tmp_path) as store:
            written = await store.change(None, split, ACT)
            await SqliteView(tmp_path).note(note)
            assert await store.read() == written
            written = await store.change(written.revision, split, ACT)
            entries = [(entry.before, entry.after, entry.act) for entry in await store.audit()]
        assert entries == [(1, 2, ACT), (1, 1, note), (0, 1, ACT), (0, 0, note)]

    asyncio.run(main())


def test_a_note_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(Unavailable, match="control state"):
        asyncio.run(SqliteView(tmp_path).note(ACT))


def test_what_is_no_control_state(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"x" * 5000)
    with pytest.raises(Unavailable, match="control state"):
        asyncio.run(SqliteView(tmp_path).read())
