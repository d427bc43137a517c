import asyncio
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.errors import Unavailable
from gateway.store.contract import Act, DesiredSplit, State
from gateway.store.sqlite import SqliteStore
from gateway.store.sqlite.migrations import STEPS

ACT = Act("ann", "127.0.0.1", "split.set", "m")


def read(folder: Path) -> State:
    async def go() -> State:
        async with SqliteStore(folder) as store:
            return await store.read()

    return asyncio.run(go())


def change(folder: Path) -> State:
    split = DesiredSplit("s", (("1", 1.0),))

    async def go() -> State:
        async with SqliteStore(folder) as store:
            return await store.change(None, lambda state: replace(state, splits={"m": split}), ACT)

    return asyncio.run(go())


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    assert change(tmp_path) == read(tmp_path)


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    async def go() -> None:
        async with SqliteStore(tmp_path / "a" / "state") as store:
            await store.change(None, lambda state: state, ACT)
            folder = tmp_path / "a" / "state"
            assert {f.name for f in folder.iterdir()} >= {"control.db", "control.db-wal", "lock"}
            assert {f.stat().st_mode & 0o777 for f in folder.iterdir()} == {0o600}
            assert folder.stat().st_mode & 0o777 == 0o700

    asyncio.run(go())


WRITER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from gateway.store.contract import Act, DesiredSplit
from gateway.store.sqlite.migrations import STEPS
from gateway.store.sqlite import SqliteStore

def to(number):
    return lambda state: replace(
        state, splits={"m": DesiredSplit("s", (("1", float(number)),))}, labels={"m": {"stable": str(number)}}
    )

async def main():
    async with SqliteStore(Path(sys.argv[1])) as store:
        revision = (await store.read()).revision
        while True:
            revision += 1
            await store.change(revision - 1, to(revision), Act("t", "", "set", "m", {"to": revision}))
            sys.stdout.write(f"{revision}\\n")
            sys.stdout.flush()

asyncio.run(main())
"""


def test_a_kill_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(8):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        # unbuffered: a reader with a buffer of its own would hand over what os.read comes past in the wrong order
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as writer:
            assert writer.stdout
            # until it is at work, then at any moment of the next commits
            lines = [writer.stdout.readline()]
            until = time.monotonic() + chance.random() * 0.05
            while (left := until - time.monotonic()) > 0 and select.select([writer.stdout], [], [], left)[0]:
                lines.append(os.read(writer.stdout.fileno(), 1 << 16))
            writer.send_signal(signal.SIGKILL)
            lines.append(writer.stdout.read())
        numbers = [int(number) for number in b"".join(lines).split()]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        acknowledged = numbers[-1]
        state = read(tmp_path)
        assert acknowledged <= state.revision <= acknowledged + 1
        assert state.labels == {"m": {"stable": str(state.revision)}}
        assert state.splits["m"].arms == (("1", float(state.revision)),)

    async def trail() -> list[int]:
        async with SqliteStore(tmp_path) as store:
            return [entry.after for entry in reversed(await store.audit(limit=10**6))]

    assert asyncio.run(trail()) == list(range(1, read(tmp_path).revision + 1))


def test_a_second_gateway_on_the_folder_is_told_so(tmp_path: Path) -> None:
    async def go() -> str:
        async with SqliteStore(tmp_path):
            with pytest.raises(Unavailable) as raised:
                await SqliteStore(tmp_path).__aenter__()
            return raised.value.message

    assert asyncio.run(go()) == (
        f"state folder '{tmp_path}' is in use by another gateway (process {os.getpid()});"
        " stop it, or name another folder with --state or SLUICE_STATE"
    )
    read(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written: Not a directory; name another one"):
        read(tmp_path / "file" / "state")


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_text("not a database at all " * 100)
    with pytest.raises(Unavailable, match=r"control.db': file is not a database"):
        read(tmp_path)


def test_a_store_of_a_newer_sluice_is_left_alone(tmp_path: Path) -> None:
    change(tmp_path)
    with sqlite3.connect(tmp_path / "control.db") as connection:
        connection.execute("INSERT INTO migrations VALUES (99, 0)")
    connection.close()
    with pytest.raises(Unavailable, match="schema 99, this Sluice knows 2: it was written by a newer one"):
        read(tmp_path)


def test_a_store_of_the_release_before_is_brought_forward(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "control.db") as connection:
        connection.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, at REAL NOT NULL)")
        connection.execute("INSERT INTO migrations VALUES (1, 0)")
        for statement in STEPS[0]:
            connection.execute(statement)
        connection.execute("UPDATE revision SET value = 5")
        connection.execute("""INSERT INTO labels VALUES ('m', '{"stable":"1"}')""")
    connection.close()
    assert read(tmp_path) == State(5, {}, {}, {"m": {"stable": "1"}})
    assert change(tmp_path).revision == 6


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is not open"):
        asyncio.run(SqliteStore(tmp_path).read())
