"""The records that are sent: rows of real data, now and then poison, and what each version says of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from chaos.models import SLOW
from oracle import Ledger, Result, Verdict

from gateway.models.onnx.reader import read_graph
from loadtests.records import features

COLUMNS: Final = tuple(f"f{n}" for n in range(30))
KEYS: Final = 17
#: one in so many is poison
POISON: Final = 500


@dataclass(frozen=True, slots=True)
class Record:
    """`poison` can never be scored; a `slow` one takes the model some seconds."""

    id: int
    poison: bool
    slow: bool = False

    @property
    def key(self) -> str:
        return f"k{self.id % KEYS}"

    @property
    def features(self) -> tuple[float, ...]:
        row = _ROWS[self.id % len(_ROWS)]
        return (SLOW, *row[1:]) if self.slow else row

    @property
    def row(self) -> dict[str, Any]:
        return {"id": self.id, "k": self.key, **dict(zip(COLUMNS, self.features, strict=True))}

    @property
    def json(self) -> bytes:
        """Broken in the middle, where it is poison."""
        text = json.dumps(self.row).encode()
        return text[: len(text) // 2] if self.poison else text


class Sent:
    """What was sent, and in which round."""

    def __init__(self) -> None:
        self.round = 0
        self.ledger: Final = Ledger()
        self._rounds: list[int] = []

    def __len__(self) -> int:
        return len(self._rounds)

    def next(self, count: int, *, poison: bool = False, slow: bool = False) -> list[Record]:
        """`poison`, `slow`: one of these is, whatever their numbers."""
        first = len(self)
        middle = first + count // 2
        records = [
            Record(n, n % POISON == POISON - 1 or (poison and n == middle), slow and n == middle + 1)
            for n in range(first, first + count)
        ]
        for record in records:
            self.ledger.produce(str(record.id), record.key, record.features, poison=record.poison)
        self._rounds += [self.round] * count
        return records

    def judge(self, results: Iterable[Result], dead: Sequence[str], scores: Scores, *, ordered: bool) -> Verdict:
        return self.ledger.judge(results, dead, scores, ordered=ordered)

    def round_of(self, id_: str) -> int:
        return self._rounds[int(id_)]

    def by_round(self, ids: Iterable[str]) -> Counter[int]:
        """How many of these records were sent in which round."""
        return Counter(map(self.round_of, ids))


class Scores:
    """What each version should say, computed offline."""

    def __init__(self, models: Path) -> None:
        self._scores: dict[str, Any] = {}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        known = [*_ROWS, *((SLOW, *row[1:]) for row in _ROWS)]
        rows = np.array(known, np.float32)
        for folder in sorted((models / "T").iterdir()):
            model = read_graph(folder / "model.onnx").without_zipmap() or (folder / "model.onnx").read_bytes()
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            column = session.run(["output_probability"], {"X": rows})[0][:, 1]
            self._scores[folder.name] = dict(zip(known, column.tolist(), strict=True))

    def __call__(self, version: str, row: Sequence[float]) -> float:
        """Raises LookupError."""
        score: float = self._scores[version][tuple(row)]
        return score


_ROWS: Final = [tuple(map(float, row)) for row in features()[1][:569]]
