"""PostgreSQL claim → score → update: what a row costs a stream, beside the same SQL without a model.

T with 30 columns in and two out. Each contender is a process of its own beside the server, on the same two cores. The
bare loop claims, and writes constants into the same columns: with one connection, and with as many as the stream has.

`python -m loadtests.streams_sql [--rounds N] [--rows N]`; SLUICE_TEST_POSTGRESQL=url takes a server that is there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop

from loadtests.models import make
from loadtests.records import features
from loadtests.report import Figure, Report

ROOT: Final = Path(__file__).parents[1]
RECORDS: Final = 100_000
CLAIMS: Final = 2


def _told(cpu: float, begin: float) -> None:
    spent, wall = time.process_time() - cpu, time.perf_counter() - begin
    print(json.dumps({"cpu": spent * 1e6 / RECORDS, "rate": RECORDS / wall}))


async def sluice(given: argparse.Namespace) -> None:
    """The pipeline as a stream worker runs it."""
    import msgspec

    from adapters.sql import adapter
    from gateway.codecs.records.mapping import Entry, Mapping, Pick
    from gateway.codecs.records.table import TableDecoder, TableEncoder
    from gateway.core.stream import Context
    from gateway.pipeline.policy import Batching, Policy
    from gateway.pipeline.runner import Runner
    from gateway.pipeline.scoring.scorer import Scorer

    assert adapter.input is not None
    assert adapter.output is not None
    names = [f"f{i}" for i in range(30)]
    source = {"url": given.url, "table": "claims", "columns": names, "claims": CLAIMS, "rows": given.rows}
    sink = {"url": given.url, "mode": "update", "mark_failed": True}
    incoming = adapter.input.open(msgspec.convert(source, adapter.input.settings), Context("bench"))
    output = adapter.output.open(msgspec.convert(sink, adapter.output.settings), Context("bench"))
    async with serving(given.models) as dataplane:
        _, signature = dataplane.resolve("T", "", "")
        mapping = Mapping([Entry("X", tuple(Pick(name) for name in names))])
        decoder = TableDecoder(list(mapping.fields(signature)))
        encoder = TableEncoder({"label": "output_label", "score": "output_probability[1]"})
        scorer = Scorer(dataplane, "T", "", decoder, mapping, encoder, signature=signature)
        policy = Policy(batching=Batching(rows=given.rows, rows_in_flight=10 * given.rows))
        runner = Runner("bench", incoming, output, None, scorer, policy)
        gc.collect()
        gc.freeze()
        ended = asyncio.Event()
        begun = _watch(incoming, ended)
        running = asyncio.create_task(runner.run())
        await ended.wait()
        _told(*begun)
        runner.drain(5)
        await running


def _watch(incoming: Any, ended: asyncio.Event) -> list[float]:
    """The clocks at the first read, once there was one; `ended` is set by the last acknowledgement."""
    read, ack, begun, left = incoming.read, incoming.ack, [], [RECORDS]

    async def timed_read(credit: Any) -> Any:
        if not begun:
            begun.extend((time.process_time(), time.perf_counter()))
        return await read(credit)

    async def counted_ack(token: Any) -> None:
        await ack(token)
        left[0] -= len(token.position.ids)
        if not left[0]:
            ended.set()

    incoming.read, incoming.ack = timed_read, counted_ack
    return begun


def serving(models: Path) -> Any:
    from loadtests.streams import serving as served

    return served(models)


async def bare(given: argparse.Namespace) -> None:
    """The same SQL on asyncpg."""
    import asyncpg

    names = ", ".join(f'"f{i}"' for i in range(30))
    select = f"""SELECT {names}, "id" FROM "claims" WHERE "status" = 'new' ORDER BY "id" LIMIT {given.rows}
                 FOR UPDATE SKIP LOCKED"""  # noqa: S608
    update = """UPDATE "claims" t SET "label" = v.c1, "score" = v.c2, "status" = $4::text
                FROM unnest($1::bigint[], $2::bigint[], $3::double precision[]) AS v(c0, c1, c2) WHERE t."id" = v.c0"""
    connections = [await asyncpg.connect(given.url) for _ in range(CLAIMS if given.worker == "many" else 1)]
    for connection in connections:
        await connection.execute("SET plan_cache_mode = force_custom_plan")

    async def work(connection: Any) -> None:
        while True:
            async with connection.transaction():
                rows = await connection.fetch(select)
                if not rows:
                    return
                ids = [row[30] for row in rows]
                await connection.execute(update, ids, [1] * len(ids), [0.5] * len(ids), "done")

    gc.collect()
    gc.freeze()
    cpu, begin = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in connections))
    _told(cpu, begin)
    for connection in connections:
        await connection.close()


WORKERS: Final = {"sluice": sluice, "one": bare, "many": bare}


# ---- the server


@contextmanager
def database() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "tests"))
    from servers.postgresql import Databases, PostgreSQL

    if url := os.environ.get("SLUICE_TEST_POSTGRESQL"):
        yield Databases(url)
        return
    with PostgreSQL(shared_buffers="256MB", max_wal_size="2GB") as server:
        yield server


def fill(server: Any) -> None:
    """A table of rows that wait, as if it had just been written."""
    _, rows = features()
    columns = ", ".join(f"f{i} double precision" for i in range(30))
    lines = "\n".join("\t".join(map(repr, row)) for row in rows.tolist())
    fields = ", ".join(f"s.f{i}" for i in range(30))
    server.sql(
        f"DROP TABLE IF EXISTS claims, sample; CREATE TABLE sample (n serial, {columns});\n"  # noqa: S608
        f"COPY sample ({', '.join(f'f{i}' for i in range(30))}) FROM stdin;\n{lines}\n\\.\n"
        f"CREATE TABLE claims (id bigint PRIMARY KEY, {columns}, status text NOT NULL, label bigint, "
        "score double precision) WITH (fillfactor = 50);"
        f"INSERT INTO claims SELECT i, {fields}, 'new' FROM generate_series(1, {RECORDS}) i "
        f"JOIN sample s ON s.n = 1 + i % {len(rows)};"
        "CREATE INDEX waiting ON claims (id) WHERE status = 'new'; VACUUM ANALYZE claims; CHECKPOINT"
    )


def measure(server: Any, models: Path, worker: str, rows: int) -> dict[str, float]:
    fill(server)
    command = [sys.executable, "-m", "loadtests.streams_sql", "--worker", worker]
    command += ["--url", server.url, "--models", str(models / "tree"), "--rows", str(rows)]
    before = _spent(server)
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    if worker == "sluice":
        left = server.sql("SELECT count(*) FROM claims WHERE status <> 'done' OR score IS NULL OR label IS NULL")
        assert left == [("0",)], left
    found: dict[str, float] = json.loads(done.stdout)
    found["server"] = (_spent(server) - before) * 1e6 / RECORDS
    return found


def _spent(server: Any) -> float:
    """CPU seconds of the server, those of its processes that have ended among them."""
    if not server.own:
        return 0.0
    main = psutil.Process(server.process.pid)
    own = main.cpu_times()
    ended = own.user + own.system + own.children_user + own.children_system
    for child in main.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            ended += times.user + times.system
    return ended


def report(rounds: int, rows: int) -> Report:
    made = Report("Streams: SQL")
    found: dict[str, list[dict[str, float]]] = {worker: [] for worker in WORKERS}
    with tempfile.TemporaryDirectory() as folder, database() as server:
        make(Path(folder))
        for _ in range(rounds):
            for worker in WORKERS:
                found[worker].append(measure(server, Path(folder), worker, rows))
    rates = {worker: [each["rate"] for each in all_] for worker, all_ in found.items()}
    best = [max(one, many) for one, many in zip(rates["one"], rates["many"], strict=True)]
    ratios = [ours / other for ours, other in zip(rates["sluice"], best, strict=True)]
    against = [ours / other for ours, other in zip(rates["sluice"], rates["one"], strict=True)]
    title = f"PostgreSQL claim → T → update, 30 columns, batches of {rows}"
    made.figures += [
        Figure(title, rates["sluice"], unit="rows/s"),
        Figure("CPU of the stream", [each["cpu"] for each in found["sluice"]], unit="µs a row"),
        Figure("CPU of its server", [each["server"] for each in found["sluice"]], unit="µs a row"),
        Figure("the same SQL without a model, one connection", rates["one"], unit="rows/s"),
        Figure("CPU of that client", [each["cpu"] for each in found["one"]], unit="µs a row"),
        Figure("CPU of its server", [each["server"] for each in found["one"]], unit="µs a row"),
        Figure(f"the same SQL without a model, {CLAIMS} connections", rates["many"], unit="rows/s"),
        Figure("the stream against one connection", against),
        Figure("the stream against the better of both", ratios, 0.6),
    ]
    return made


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--rows", type=int, default=1000)
    arguments.add_argument("--results")
    arguments.add_argument("--worker", choices=WORKERS)
    arguments.add_argument("--url")
    arguments.add_argument("--models", type=Path)
    given = arguments.parse_args()
    if given.worker:
        uvloop.run(WORKERS[given.worker](given))
        return
    made = report(given.rounds, given.rows)
    print(made.table())
    if given.results:
        print(made.write(given.results))


if __name__ == "__main__":
    main()
