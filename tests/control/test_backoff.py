from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.backoff import HEALTHY, KILLED, MOST, MOST_AFTER_KILL, Crashes


def _row(cause: str, served: float, count: int) -> list[float]:
    crashes, delays = Crashes(), []
    for _ in range(count):
        crashes = crashes.crashed(cause, served)
        delays.append(crashes.delay(served))
    return delays


def test_the_first_is_replaced_at_once_and_a_row_ever_later() -> None:
    assert _row("killed by SIGSEGV", 1.0, 5) == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert _row("killed by SIGSEGV", 0.0, 30)[-1] == MOST


def test_who_is_killed_from_outside_comes_back_soon_however_often() -> None:
    assert max(_row(KILLED, 1.0, 30)) == MOST_AFTER_KILL


def test_who_is_killed_before_it_serves_may_be_killed_for_what_it_loads() -> None:
    assert _row(KILLED, 0.0, 30)[-1] == MOST


def test_another_cause_and_a_healthy_life_begin_a_new_row() -> None:
    crashes = Crashes().crashed("a", 1.0).crashed("a", 1.0)
    assert crashes.row == 2
    assert crashes.crashed("b", 1.0) == Crashes("b", 1)
    assert crashes.crashed("a", HEALTHY) == Crashes("a", 1)


@given(st.lists(st.tuples(st.sampled_from(["a", KILLED]), st.floats(0, 100))))
def test_no_delay_is_beyond_its_bounds(lives: list[tuple[str, float]]) -> None:
    crashes = Crashes()
    for cause, served in lives:
        crashes = crashes.crashed(cause, served)
        assert 0 <= crashes.delay(served) <= MOST
        assert crashes.row >= 1
