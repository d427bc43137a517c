"""Says what became of records: a ledger of what was produced, against what came out.

Every record is a result or a dead letter. How many are neither, how many came twice, which came out of order within
their key, and which scores are not what the version that they name computes: that is the verdict.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: version and features → the score
Compute = Callable[[str, Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it was produced. `number` counts within its key, from 0."""

    id: str
    key: str
    number: int
    features: tuple[float, ...]
    poison: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A record as it came out."""

    id: str
    version: str
    score: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ids of records, each list in the order of the ledger but for `foreign`, which nobody has produced.

    duplicated  id → how often it came beyond the first time, results and dead letters together
    disordered  came out behind a later one of their key; a repeat of what had come before is no disorder
    divided     came more than once, and from different versions: where a split changed meanwhile, that is no fault
    buried      dead letters that are no poison, and `unnoticed` poison that was scored
    """

    produced: int
    lost: list[str] = field(default_factory=list)
    duplicated: Mapping[str, int] = field(default_factory=dict)
    disordered: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    buried: list[str] = field(default_factory=list)
    unnoticed: list[str] = field(default_factory=list)
    divided: list[str] = field(default_factory=list)

    @property
    def duplicates(self) -> int:
        return sum(self.duplicated.values())

    @property
    def sound(self) -> bool:
        """At least once, in order, and right."""
        return not (self.lost or self.disordered or self.wrong or self.foreign or self.buried or self.unnoticed)

    @property
    def exact(self) -> bool:
        return self.sound and not self.duplicates

    def __str__(self) -> str:
        parts = {
            "lost": self.lost,
            "duplicated": list(self.duplicated),
            "out of order": self.disordered,
            "wrong": self.wrong,
            "foreign": self.foreign,
            "buried": self.buried,
            "unnoticed": self.unnoticed,
            "of two versions": self.divided,
        }
        told = [f"{len(ids)} {name} ({', '.join(ids[:5])})" for name, ids in parts.items() if ids]
        return f"of {self.produced} records: {'; '.join(told) or 'each one once'}"


class Ledger:
    """What was produced. Written down before it is sent: a record that nobody has written down cannot be missed."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._numbers: Counter[str] = Counter()

    def produce(self, id: str, key: str, features: Sequence[float], *, poison: bool = False) -> Entry:
        assert id not in self.entries
        entry = Entry(id, key, self._numbers[key], tuple(features), poison)
        self._numbers[key] += 1
        self.entries[id] = entry
        return entry

    def judge(
        self, results: Iterable[Result], dead: Iterable[str], compute: Compute, *, ordered: bool = True
    ) -> Verdict:
        """`results` in the order in which they came out, as far as those of one key are concerned."""
        results = list(results)
        dead = list(dead)
        seen = Counter(result.id for result in results)
        seen.update(dead)
        wrong = {r.id for r in results if r.id in self.entries and self._is_wrong(r, compute)}
        late = self._late(results) if ordered else set()
        scored = {result.id for result in results}
        named = Counter(name for name, _ in {(result.id, result.version) for result in results})
        return Verdict(
            len(self.entries),
            [name for name in self.entries if not seen[name]],
            {name: seen[name] - 1 for name in self.entries if seen[name] > 1},
            [name for name in self.entries if name in late],
            [name for name in self.entries if name in wrong],
            [name for name in seen if name not in self.entries],
            [name for name in dict.fromkeys(dead) if name in self.entries and not self.entries[name].poison],
            [name for name, entry in self.entries.items() if entry.poison and name in scored],
            [name for name in self.entries if named[name] > 1],
        )

    def _is_wrong(self, result: Result, compute: Compute) -> bool:
        try:
            expected = compute(result.version, self.entries[result.id].features)
        except LookupError:  # there is no such version
            return True
        return not math.isclose(result.score, expected, rel_tol=1e-5, abs_tol=1e-6)

    def _late(self, results: Sequence[Result]) -> set[str]:
        newest: dict[str, int] = defaultdict(lambda: -1)
        came: set[str] = set()
        late = set()
        for result in results:
            entry = self.entries.get(result.id)
            if entry is None or result.id in came:
                continue
            came.add(result.id)
            if entry.number < newest[entry.key]:
                late.add(result.id)
            newest[entry.key] = max(newest[entry.key], entry.number)
        return late
