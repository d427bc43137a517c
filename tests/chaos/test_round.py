"""The schedule of a run: the same seed gives the same faults, and every crash point has its share."""

from __future__ import annotations

import random
from collections import Counter

from chaos.__main__ import FAULTS, HITS
from chaos.faults import CRASHES, NETWORK, OTHERS, SERVER
from chaos.faults.fault import CRASH
from chaos.pipelines import PIPELINES
from chaos.round import schedule

EVERY = [*CRASHES, *OTHERS, *SERVER, *NETWORK]


def test_a_seed_is_repeatable() -> None:
    assert schedule(EVERY, 32, random.Random(1)) == schedule(EVERY, 32, random.Random(1))
    assert schedule(EVERY, 32, random.Random(1)) != schedule(EVERY, 32, random.Random(2))


def test_two_of_three_are_crashes_each_as_often_as_the_others() -> None:
    for count in (32, 33, 200):
        found = Counter(schedule(EVERY, count, random.Random(count)))
        assert found.total() == count
        crashes = [found[name] for name in CRASHES]
        others = [times for name, times in found.items() if not name.startswith(CRASH)]
        assert sum(crashes) == count * 2 // 3
        assert max(crashes) - min(crashes) <= 1
        assert max(others) - min(others) <= 1


def test_a_whole_run_hits_each_place_often_enough_whatever_the_seed() -> None:
    share = FAULTS // len(PIPELINES)
    for seed in range(50):
        hits: Counter[str] = Counter()
        for pipeline in PIPELINES.values():
            places = [name for name in CRASHES if pipeline.commits or not name.endswith("before-commit")]
            hits.update(schedule([*places, *OTHERS, *SERVER, *NETWORK], share, random.Random(seed)))
        assert min(hits[name] for name in CRASHES) >= HITS


def test_one_kind_alone_makes_the_whole() -> None:
    assert Counter(schedule(list(CRASHES), 16, random.Random(1))) == dict.fromkeys(CRASHES, 2)
    assert len(schedule(["kill -9"], 5, random.Random(1))) == 5
