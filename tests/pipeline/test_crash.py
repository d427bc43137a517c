"""kill -9 at every named place, with records in flight, and a restart: what comes out is exact, says the oracle."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from oracle import Ledger, Result
from streaming import Place, Running

from gateway.core.crashpoint import POINTS

FACTORS = {"1": 2.0, "2": 3.0}
STREAM = """\
input: {files: {path: in, stable_seconds: 0, follow: false}}
decode: {format: json}
map: {x: [a, b, c, {field: d, default: 0}]}
model: affine
encode: {format: json, fields: {id: id, y: 'y[0]', version: $version}}
output: {files: {path: out}}
batching: {rows: 40, rows_in_flight: 160}
guarantee: exactly once
"""


def compute(version: str, features: Sequence[float]) -> float:
    return FACTORS[version] * features[0]


def weights(place: Place, first: int) -> None:
    arms = f"{{weights: {{'1': {first}, '2': {100 - first}}}}}"
    (place.folder / "sluice.yaml").write_text(f"models: models\nsplits: {{affine: {arms}}}\n")


def forget_lease(place: Place) -> None:
    """The next process would wait until it is sure that the one before is dead; here that is known."""
    for file in (place.folder / ".sluice").glob("leases.db*"):
        file.unlink()


@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_lost_and_nothing_twice(tmp_path: Path, point: str) -> None:
    place, ledger = Place(tmp_path), Ledger()
    (place.folder / "double.yaml").write_text(STREAM)
    for number in range(3):
        lines = []
        for n in range(number * 200, number * 200 + 200):
            entry = ledger.produce(str(n), str(number), [float(n)], poison=n % 9 == 4)
            lines.append(json.dumps({"id": n, "a": n, "b": 0, "c": 0}) if not entry.poison else f"{{broken {n}")
        place.feed(f"{number}.jsonl", lines)
    for turn, passes in enumerate(("2", "5")):
        # who answers changes between the crash and the restart; each result says who it was
        weights(place, 50 if turn else 10)
        died = Running(place, "double.yaml", SLUICE_CRASH_AT=f"{point}:{passes}")
        assert died.process.wait(60) == -signal.SIGKILL, died.text()
        forget_lease(place)
    ended = Running(place, "double.yaml")
    assert ended.process.wait(60) == 0, ended.text()
    results = [Result(str(one["id"]), one["version"], one["y"]) for one in place.results()]
    dead = [letter["value"].removeprefix("{broken ") for letter in place.dead()]
    verdict = ledger.judge(results, dead, compute)
    assert verdict.exact, verdict
    assert {result.version for result in results} == {"1", "2"}
    assert all(letter["attempts"] == 1 for letter in place.dead())
