"""Streams tried out: on some records of their inputs, and on those of their tests. Nothing is written."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gateway.app.scoring import scoring
from gateway.app.storage import view
from gateway.codecs.records.columns import Decoder
from gateway.core.errors import Unavailable
from gateway.core.stream import Batch, Credit, Message
from gateway.dataplane import Dataplane
from gateway.pipeline.declared import build
from gateway.pipeline.declared.cases import Case
from gateway.pipeline.declared.checking import target
from gateway.pipeline.declared.comparing import differences
from gateway.pipeline.declared.formats import reader
from gateway.pipeline.declared.problem import Problem
from gateway.pipeline.declared.spec import Stream
from gateway.pipeline.scoring.scored import Scored
from gateway.pipeline.scoring.scorer import Scorer
from gateway.settings import Settings

Tried = tuple[str, Message, bytes | None, str]

#: bytes that are read at most at once
NBYTES = 64 << 20


async def tried(settings: Settings, streams: Sequence[Stream], count: int, wait: float) -> AsyncIterator[Tried]:
    """The stream, a record, its result, and why it has none. The inputs are read under another name than the streams',
    so that those that run are not disturbed. Raises SluiceError."""
    async with view(settings) as decided, scoring(settings, streams, decided) as engine:
        for stream in streams:
            scorer = _scorer(stream, engine.dataplane)
            aside = replace(stream, name=f"{stream.name}.dry-run")
            with tempfile.TemporaryDirectory() as folder:
                for batch in await _read(aside, Path(folder), count, wait):
                    for message, value, reason in _results(batch, await scorer.score(batch)):
                        yield stream.name, message, value, reason


async def _read(stream: Stream, folder: Path, count: int, wait: float) -> list[Batch]:
    """As many as come in that time; they are not acknowledged, and come again for whom they are."""
    source = build.input_of(stream, folder)
    found: list[Batch] = []
    rows = 0
    try:
        async with asyncio.timeout(wait + 30):
            await source.connect()
        try:
            async with asyncio.timeout(wait):
                while rows < count:
                    read = await source.read(Credit(count - rows, NBYTES))
                    if read is None:
                        break
                    if len(read[0]):
                        found.append(read[0])
                        rows += len(read[0])
        except TimeoutError:
            pass
    except TimeoutError as error:
        raise Unavailable(f"{source.source.name} does not answer") from error
    finally:
        await source.close()
    return found


def _results(batch: Batch, scored: Scored) -> list[tuple[Message, bytes | None, str]]:
    values = dict(zip(scored.rows, scored.batch.values, strict=True))
    return [(batch[row], values.get(row), scored.errors.get(row, "")) for row in range(len(batch))]


async def tested(
    settings: Settings, streams: Sequence[Stream], cases: Mapping[str, Sequence[Case]]
) -> AsyncIterator[tuple[str, str, list[Problem]]]:
    """The stream, the case, and what differs. The settings alone say which version answers, not the control state."""
    async with scoring(settings, streams) as engine:
        for stream in streams:
            scorer, read = _scorer(stream, engine.dataplane), _reader(stream, engine.dataplane)
            for case in cases[stream.name]:
                yield stream.name, case.name, differences(case, await scorer.score(case.batch), read)


def _scorer(stream: Stream, dataplane: Dataplane) -> Scorer:
    return build.scorer(stream, dataplane, dataplane.resolve(stream.model.name, stream.model.version, "")[1])


def _reader(stream: Stream, dataplane: Dataplane) -> Decoder | None:
    """What takes results apart, None where they are JSON."""
    signature = dataplane.resolve(stream.model.name, stream.model.version, "")[1]
    return reader(stream.encode, target(stream, signature))
