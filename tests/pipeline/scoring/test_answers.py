"""A batch is asked of a model in the pieces that it takes, and by halves where it refuses one."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper
from pipeline.plant import on_loop
from pipeline.scoring.site import ALL_VERSIONS, answers, batch, record, site
from small_models import model


def checked(limit: int) -> bytes:
    """y = x, and fails for the whole batch where a value is no index into so many."""
    return model(
        [
            helper.make_node("Constant", [], ["table"], value_floats=[0.0] * limit),
            helper.make_node("Cast", ["x"], ["index"], to=7),
            helper.make_node("Gather", ["table", "index"], ["zero"]),
            helper.make_node("Add", ["x", "zero"], ["y"]),
        ],
        {"x": ("FP32", ["n", 4])},
        {"y": ("FP32", ["n", 4])},
    )


@pytest.mark.parametrize("inline", [0.0, 1.0])
@on_loop
async def test_a_model_takes_pieces_of_its_largest_batch(tmp_path: Path, inline: float) -> None:
    async with site(tmp_path, "max_batch_size: 7\n" + ALL_VERSIONS, inline_limit=inline) as there:
        scored = await there.scorer().score(batch([record(n) for n in range(1000)]))
        assert answers(scored) == [(n, 5.0 * n) for n in range(1000)]
        assert there.manager.present("m")["5"].statistics.success_count == 143


@pytest.mark.parametrize("inline", [0.0, 1.0])
@on_loop
async def test_what_the_model_refuses_is_found_by_halves(tmp_path: Path, inline: float) -> None:
    config = "dynamic_batching { }\n" + ALL_VERSIONS + "\nmax_batch_size: 512"
    async with site(tmp_path, config, {"1": checked(1000)}, inline_limit=inline) as there:
        values = [record(n) for n in range(500)]
        for n in (0, 77, 78, 499):
            values[n] = record(n, b=5000)
        scored = await there.scorer().score(batch(values))
        assert sorted(scored.errors) == [0, 77, 78, 499]
        assert [n for n, _ in answers(scored)] == [n for n in range(500) if n not in scored.errors]
        assert all(y == n for n, y in answers(scored))


@on_loop
async def test_a_model_without_a_batch_axis_is_asked_record_by_record(tmp_path: Path) -> None:
    content = model([helper.make_node("Neg", ["x"], ["y"])], {"x": ("FP32", [4])}, {"y": ("FP32", [4])})
    async with site(tmp_path, "max_batch_size: 0", {"1": content}) as there:
        scored = await there.scorer().score(batch([record(n) for n in range(200)]))
        assert answers(scored) == [(n, -1.0 * n) for n in range(200)]


@on_loop
async def test_a_first_axis_of_one_is_no_batch(tmp_path: Path) -> None:
    content = model([helper.make_node("Neg", ["x"], ["y"])], {"x": ("FP32", [1, 4])}, {"y": ("FP32", [1, 4])})
    async with site(tmp_path, "max_batch_size: 0", {"1": content}) as there:
        scored = await there.scorer().score(batch([record(n) for n in range(5)]))
        assert answers(scored) == [(n, -1.0 * n) for n in range(5)]
