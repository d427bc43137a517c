"""The oracle proves something only if it catches what it is for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from oracle import Ledger, Result, Verdict

FACTORS = {"1": 2.0, "2": -3.0}


def compute(version: str, features: Sequence[float]) -> float:
    return FACTORS[version] * sum(features)


def ledger(count: int = 60, poison: int = 0) -> Ledger:
    made = Ledger()
    for n in range(count):
        made.produce(f"r{n}", f"k{n % 7}", [n, 1.0], poison=bool(poison) and n % poison == 0)
    return made


def answers(found: Ledger) -> list[Result]:
    return [
        Result(entry.id, version, compute(version, entry.features))
        for n, entry in enumerate(found.entries.values())
        if not entry.poison
        for version in [str(1 + n % 2)]
    ]


def judged(change: Callable[[list[Result]], None] = lambda _: None, dead: Sequence[str] = ()) -> Verdict:
    found = ledger()
    results = answers(found)
    change(results)
    return found.judge(results, dead, compute)


def test_everything_once_and_right_is_exact() -> None:
    verdict = judged()
    assert verdict.exact
    assert str(verdict) == "of 60 records: each one once"


def test_poison_belongs_to_the_dead_letters() -> None:
    found = ledger(poison=10)
    dead = [entry.id for entry in found.entries.values() if entry.poison]
    assert found.judge(answers(found), dead, compute).exact
    assert found.judge(answers(found), dead[1:], compute).lost == ["r0"]


def test_catches_loss() -> None:
    verdict = judged(lambda results: results.remove(results[17]))
    assert verdict.lost == ["r17"]
    assert not verdict.sound


def test_catches_a_repeat_which_is_sound_and_not_exact() -> None:
    verdict = judged(lambda results: results.extend(results[50:53]))
    assert verdict.duplicated == {"r50": 1, "r51": 1, "r52": 1}
    assert verdict.sound
    assert not verdict.exact


def test_catches_a_record_that_is_result_and_dead_letter() -> None:
    verdict = judged(dead=["r3"])
    assert verdict.duplicated == {"r3": 1}
    assert verdict.buried == ["r3"]
    assert not verdict.sound


def test_catches_what_is_out_of_order_within_its_key() -> None:
    def swap(results: list[Result]) -> None:
        results[7], results[14] = results[14], results[7]  # both of k0

    assert judged(swap).disordered == ["r7"]


def test_order_between_keys_is_free() -> None:
    def shuffle(results: list[Result]) -> None:
        lanes: dict[int, list[Result]] = {}
        for n, result in enumerate(results):
            lanes.setdefault(n % 7, []).append(result)
        random.Random(4).shuffle(keys := list(lanes))
        results[:] = [result for key in keys for result in lanes[key]]

    assert judged(shuffle).exact


def test_a_repeat_is_no_disorder() -> None:
    verdict = judged(lambda results: results.insert(40, results[5]))
    assert (verdict.duplicates, verdict.disordered) == (1, [])


def test_catches_a_score_that_its_version_does_not_give() -> None:
    def spoil(results: list[Result]) -> None:
        results[11] = Result("r11", "1", results[11].score)  # version 2 gave it
        results[12] = Result("r12", "1", results[12].score * 1.001)
        results[13] = Result("r13", "9", results[13].score)

    assert judged(spoil).wrong == ["r11", "r12", "r13"]


def test_catches_what_nobody_produced_and_poison_that_was_scored() -> None:
    found = ledger(poison=10)
    results = [*answers(found), Result("r0", "1", 2.0), Result("ghost", "1", 0.0)]
    dead = [entry.id for entry in found.entries.values() if entry.poison][1:]
    verdict = found.judge(results, dead, compute)
    assert verdict.foreign == ["ghost"]
    assert verdict.unnoticed == ["r0"]
    assert not verdict.sound


def test_tells_what_came_again_from_another_version() -> None:
    verdict = judged(lambda results: results.append(Result("r4", "2", compute("2", [4, 1.0]))))
    assert (verdict.divided, verdict.duplicated, verdict.wrong) == (["r4"], {"r4": 1}, [])
    assert judged(lambda results: results.append(results[4])).divided == []


def test_without_a_claim_of_order_none_is_asked_for() -> None:
    found = ledger()
    results = answers(found)[::-1]
    assert found.judge(results, [], compute, ordered=False).exact
    assert found.judge(results, [], compute).disordered


@pytest.mark.parametrize("seed", range(20))
def test_every_single_fault_is_caught(seed: int) -> None:
    chance = random.Random(seed)
    at = chance.randrange(60)

    def fault(results: list[Result]) -> None:
        match chance.randrange(3):
            case 0:
                del results[at]
            case 1:
                results.append(results[at])
            case _:
                results[at] = Result(results[at].id, results[at].version, results[at].score + 1)

    assert not judged(fault).exact
