from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline import policy
from gateway.pipeline.breaker import Breaker


def breaker(share: float = 0.5, window: int = 100) -> Breaker:
    return Breaker(policy.Breaker(share=share, window=window))


def test_a_few_dead_letters_pass() -> None:
    found = breaker()
    assert [found.judge(10, 5, "x") for _ in range(50)] == [""] * 50


def test_too_many_trip_it_and_say_why() -> None:
    found = breaker()
    assert not found.judge(99, 99, "no x")  # not a whole window yet
    reason = found.judge(10, 10, "field 'x' is missing")
    assert reason == "109 of the last 109 records are at fault, the limit is 50%; the last one: field 'x' is missing"
    assert found.trips == 1


def test_it_looks_back_at_the_window_only() -> None:
    found = breaker()
    for _ in range(10):
        assert not found.judge(10, 0, "")
    assert not [reason for _ in range(5) if (reason := found.judge(10, 10, "x"))]
    assert found.judge(10, 10, "x")


def test_a_probe_decides_alone() -> None:
    found = breaker()
    assert found.judge(200, 200, "x")
    found.probe()
    assert found.judge(1, 1, "x")
    found.probe()
    assert not found.judge(3, 1, "x")
    assert not found.judge(50, 50, "x")  # closed: what was before is forgotten


def test_who_resumes_by_hand_lets_a_window_pass() -> None:
    found = breaker()
    assert found.judge(200, 200, "x")
    found.pardon()
    assert not found.judge(60, 60, "x")
    assert not found.judge(60, 60, "x")
    assert found.judge(100, 100, "x")


def test_what_the_output_refuses_counts() -> None:
    found = breaker()
    assert not found.judge(100, 0, "")
    reasons = [found.refused("too long") for _ in range(51)]
    assert reasons[:50] == [""] * 50
    assert "51 of the last 100" in reasons[50]


def test_a_share_of_1_is_never() -> None:
    found = breaker(share=1.0)
    assert not found.judge(1000, 1000, "x")
    assert not found.refused("x")


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=60))
def test_it_trips_when_and_only_when_the_window_is_over_the_limit(batches: list[tuple[int, int]]) -> None:
    found = breaker()
    seen: list[tuple[int, int]] = []
    for rows, dead in batches:
        dead = min(rows, dead)
        seen.append((rows, dead))
        while sum(r for r, _ in seen[1:]) >= 100:
            seen.pop(0)
        total = sum(r for r, _ in seen)
        expected = total >= 100 and sum(d for _, d in seen) > total / 2
        assert bool(found.judge(rows, dead, "x")) == expected
        if expected:
            seen.clear()
