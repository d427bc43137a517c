"""A model in several versions with its dataplane, and records for a scorer of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from small_models import affine

from gateway.codecs.records.columns import Decoder, Encoder, Field
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.jsonencoder import JsonEncoder
from gateway.codecs.records.mapping import Entry, Mapping, Pick
from gateway.core.stream import Batch
from gateway.dataplane import Dataplane
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.engine import onnx_engine
from gateway.models.manager import Manager
from gateway.models.onnx import Runtime
from gateway.models.repository import Repository
from gateway.pipeline.scoring.scorer import Scorer
from gateway.routing.split import Splits

NAMES = ("a", "b", "c", "d")


MAPPING = Mapping([Entry("x", tuple(Pick(name) for name in NAMES))])


ALL_VERSIONS = "version_policy { all {} }"


class Site:
    def __init__(self, models: Path, policy: BatchPolicy) -> None:
        self.pool = ThreadPoolExecutor(8)
        self.manager = Manager(Repository(models), onnx_engine(Runtime(1), self.pool, policy), mode="explicit")
        self.splits = Splits()
        self.dataplane = Dataplane(self.manager, self.splits)

    def scorer(self, version: str = "", encoder: Encoder | None = None, decoder: Decoder | None = None) -> Scorer:
        _, signature = self.dataplane.resolve("m", version, "")
        return Scorer(
            self.dataplane,
            "m",
            version,
            decoder or JsonDecoder((*MAPPING.fields(signature), Field("id"))),
            MAPPING,
            encoder or JsonEncoder({"id": "id", "y": "y[0]", "version": "$version", "model": "$model"}),
            signature=signature,
        )


@asynccontextmanager
async def site(
    folder: Path, config: str = ALL_VERSIONS, models: dict[str, bytes] | None = None, **policy: Any
) -> AsyncIterator[Site]:
    """`m` in versions 2, 3 and 5, which multiply by their number."""
    for version, content in (models or {n: affine(int(n)) for n in ("2", "3", "5")}).items():
        (folder / "m" / version).mkdir(parents=True)
        (folder / "m" / version / "model.onnx").write_bytes(content)
    (folder / "m" / "config.pbtxt").write_text(config)
    there = Site(folder, BatchPolicy(**policy))
    await there.manager.reconcile()
    await there.manager.load("m")
    try:
        yield there
        assert {handle.pins for handle in there.manager.present("m").values()} <= {0}
    finally:
        await there.manager.close()
        there.pool.shutdown()


def record(n: int, **fields: Any) -> bytes:
    return json.dumps({"id": n, "a": n, "b": 1, "c": 1, "d": 1} | fields).encode()


def batch(values: Sequence[bytes | None], keys: Sequence[bytes | None] = (), headers: Sequence[Any] = ()) -> Batch:
    return Batch([f"in/{n}" for n in range(len(values))], values, keys, headers)


def answers(scored: Any) -> list[tuple[int, float]]:
    found = [json.loads(value) for value in scored.batch.values]
    return [(one["id"], one["y"]) for one in found]
