from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.core.errors import InvalidArgument, Unavailable
from gateway.core.infer import InferRequest, InferResponse, Outcome
from gateway.core.observe import Statistics
from gateway.core.servable import ServableId
from gateway.core.signature import Signature
from gateway.models.batchpolicy import BatchPolicy
from gateway.models.config import ModelConfig, QueuePolicy
from gateway.models.cost import UNKNOWN
from gateway.models.engine import batch_policy, onnx_engine
from gateway.models.handle import Handle
from gateway.models.onnx import Runtime

DEFAULTS = BatchPolicy(max_rows=32, max_requests=100, max_bytes=1000, inline_limit=0.001)
BATCHED, PLAIN = Signature([], [], batched=True), Signature([], [])


def test_without_a_config_the_defaults_are_the_policy() -> None:
    assert batch_policy(ModelConfig(), BATCHED, DEFAULTS) == DEFAULTS
    assert batch_policy(ModelConfig(), PLAIN, DEFAULTS).merge is False


def test_a_config_says_how_it_is_served() -> None:
    config = ModelConfig(
        batching=False,
        max_delay=0.5,
        instances=3,
        run_limit=2.0,
        queue=QueuePolicy(max_requests=7, timeout=1.5, allow_timeout_override=False),
    )
    found = batch_policy(config, Signature([], [], batched=True, max_batch_size=8), DEFAULTS)
    assert (found.merge, found.max_rows, found.delay, found.instances) == (False, 8, 0.5, 3)
    assert (found.max_requests, found.timeout, found.allow_timeout, found.run_limit) == (7, 1.5, False, 2.0)
    # what it does not speak of stays as it is
    assert (found.max_bytes, found.inline_limit) == (1000, 0.001)


def test_from_a_file_to_an_answer(tmp_path: Path, make: Any) -> None:
    async def scenario() -> None:
        pool = ThreadPoolExecutor(4)
        engine = onnx_engine(Runtime(1), pool, DEFAULTS)
        path = make.save(make.linear(4, 2), tmp_path / "1")
        executable = engine.load(path, ModelConfig())
        learned = engine.warm(executable, ModelConfig())
        cost, growth = learned
        assert cost.predict(4) < UNKNOWN
        assert growth.limit >= 1
        statistics = Statistics()
        servable = engine.serve(executable, ModelConfig(), statistics, learned)
        handle = Handle(ServableId("m", "1"), servable, statistics, ModelConfig())
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        request = InferRequest("m", "1", "", {"x": np.ones((3, 4), np.float32)})
        request.handle = handle
        servable.submit(request, lambda _, outcome: done.set_result(outcome))
        outcome = await done
        assert isinstance(outcome, InferResponse)
        assert outcome.outputs["y"].shape == (3, 2)
        await servable.close()
        with pytest.raises(Unavailable, match="unloaded"):
            executable.run({"x": np.ones((1, 4), np.float32)}, ["y"])
        pool.shutdown()

    asyncio.run(scenario())


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    engine = onnx_engine(Runtime(1), ThreadPoolExecutor(1), DEFAULTS)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(b"\x08\x08garbage")
    with pytest.raises(InvalidArgument):
        engine.load(tmp_path / "1" / "model.onnx", ModelConfig())
