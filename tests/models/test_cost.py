from hypothesis import given
from hypothesis import strategies as st

from gateway.models.cost import UNKNOWN, Cost, Growth


def test_nothing_is_known_before_the_first_run() -> None:
    assert Cost().predict(1) == UNKNOWN


def test_cost_grows_in_proportion_beyond_what_was_measured() -> None:
    cost = Cost()
    cost.record(30, 10_000)
    assert cost.predict(30) == cost.predict(17) == 10_000
    assert cost.predict(30 * 1024) == 10_000 * 1024
    assert cost.predict(2) == UNKNOWN


def test_one_preempted_run_changes_little_and_a_slower_model_is_learned() -> None:
    cost = Cost()
    for _ in range(10):
        cost.record(30, 10_000)
    cost.record(30, 50_000_000)
    assert cost.predict(30) < 15_000
    for _ in range(200):
        cost.record(30, 1_000_000)
    assert cost.predict(30) > 900_000


def test_a_model_that_was_thought_slow_during_a_stall_is_soon_known_better() -> None:
    cost = Cost()
    for _ in range(500):
        cost.record(30, 5_000_000)
    for ns in (10_000, 5_000_000) * 20:
        cost.record(30, ns)
    assert cost.predict(30) < 100_000


def test_two_long_runs_in_a_row_are_believed() -> None:
    cost = Cost()
    for ns in (10_000, 10_000, 1_000_000_000, 1_000_000_000):
        cost.record(30, ns)
    assert cost.predict(30) > 90_000_000


@given(st.lists(st.tuples(st.integers(0, 2**70), st.floats(1, 1e12)), max_size=20), st.integers(0, 2**70))
def test_any_size_has_a_cost(runs: list[tuple[int, float]], elements: int) -> None:
    cost = Cost()
    for size, ns in runs:
        cost.record(size, ns)
    assert cost.predict(elements) > 0


def _after(most: int, ns_of: dict[int, float]) -> Growth:
    growth = Growth(most)
    for rows, ns in ns_of.items():
        growth.record(rows, ns)
    return growth


def test_a_batch_grows_while_rows_per_second_do() -> None:
    assert _after(64, {n: 3e6 + 0.3e6 * n for n in (1, 2, 4, 8, 16, 32, 64)}).limit == 64


def test_a_model_that_gains_nothing_is_not_batched() -> None:
    assert _after(64, {n: 1e6 * n for n in (1, 2, 4, 8)}).limit == 1


def test_a_batch_stops_growing_where_the_gain_ends() -> None:
    assert _after(64, {1: 4e6, 2: 4.1e6, 4: 4.4e6, 8: 8.8e6, 16: 17.6e6}).limit == 4


def test_the_next_size_is_tried_when_it_was_not_measured() -> None:
    assert Growth(64).limit == 1
    assert _after(64, {1: 1e6}).limit == 2
    assert _after(64, {1: 1e6, 2: 1.1e6}).limit == 4


def test_a_size_that_was_given_up_is_tried_again_now_and_then() -> None:
    growth = _after(8, {1: 1e6, 2: 2e6})
    limits = []
    for _ in range(1024):
        growth.record(1, 1e6)
        limits.append(growth.limit)
    assert limits.count(2) == 2


@given(st.integers(1, 100), st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1e12)), max_size=50))
def test_the_limit_stays_in_bounds(most: int, runs: list[tuple[int, float]]) -> None:
    growth = Growth(most)
    for rows, ns in runs:
        growth.record(rows, ns)
        assert 1 <= growth.limit <= most
