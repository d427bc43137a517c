"""Files in, files out, as the runner does it: enough of it to be killed at each of its system calls.

Run as a program with a folder: one JSON object a line says what a kill at the n-th call has left, for each n.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.files import FilesInput, FilesOutput, FilesSink, FilesSource
from gateway.core.stream import Batch, Context, Credit, DeadLetter, Rows

CALLS = ("pwrite", "fsync", "fdatasync", "ftruncate", "rename", "open", "unlink", "mkdir")


async def copy(folder: Path, rows: int = 3, **settings: Any) -> None:
    """Each record in capitals; one that begins with `bad` becomes a dead letter. Ends with the last file."""
    out = FilesSink(FilesOutput(path=str(folder / "out"), name="{stem}.out"), Context("p"))
    context = Context("p", positions=out, state=str(folder / "state"))
    given: dict[str, Any] = {"pattern": "*.txt", "stable_seconds": 0, "follow": False, "order": "name"} | settings
    inp = FilesSource(FilesInput(path=str(folder / "in"), **given), context)
    await out.connect()
    await inp.connect()
    while (read := await inp.read(Credit(rows, 1 << 20))) is not None:
        batch, token = read
        bad = [at for at in range(len(batch)) if at in batch.faults or batch.values[at].startswith(b"bad")]
        good = batch.take([at for at in range(len(batch)) if at not in bad])
        results = Batch(good.ids, [value.upper() for value in good.values])
        dead = [DeadLetter(batch[at], batch.faults.get(at, "bad"), token.lane, str(token.position)) for at in bad]
        await out.write(Rows(results, token), dead)
        await inp.ack(token)
    await inp.close()
    await out.close()


def lay(folder: Path) -> None:
    """Three files, of which two have the same content."""
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.txt").write_text("".join(f"{'bad' if n == 4 else 'a'}{n}\n" for n in range(8)))
    (folder / "in" / "b.txt").write_text("bad0\nb1\nbad2")
    (folder / "in" / "c.txt").write_text("bad0\nb1\nbad2")


def found(folder: Path) -> dict[str, Any]:
    """What others see: names that are not hidden, and what is in them."""
    seen = {}
    for name in ("in", "in/done", "out", "out/dead"):
        files = sorted((folder / name).glob("[!.]*")) if (folder / name).exists() else []
        seen[name] = {file.name: file.read_text() for file in files if file.is_file()}
    for name, text in seen.get("out/dead", {}).items():
        seen["out/dead"][name] = [json.loads(line)["value"] for line in text.splitlines()]
    return seen


def killed_at(number: int, torn: bool) -> None:
    """Before the n-th call; `torn`: in the middle of the n-th write."""
    count = 0

    def wrap(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                if torn:
                    call(given[0], bytes(given[1])[: len(given[1]) // 2], given[2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **named)

        return counted

    for name in CALLS[: 1 if torn else None]:
        setattr(os, name, wrap(name, getattr(os, name)))


def child(folder: Path, number: int, torn: bool) -> bool:
    """Whether it came to its end."""
    pid = os.fork()
    if pid == 0:
        if number:
            killed_at(number, torn)
        asyncio.run(copy(folder))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


def main(base: Path) -> None:
    for torn in (False, True):
        number, ended = 0, False
        while not ended:
            number += 1
            folder = base / f"{number}-{torn}"
            lay(folder)
            ended = child(folder, number, torn)
            partly = found(folder)
            again = child(folder, 0, False)
            print(json.dumps({"call": number, "torn": torn, "again": again, "partly": partly, "after": found(folder)}))
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
