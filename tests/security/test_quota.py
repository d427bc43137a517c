from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ResourceExhausted, TooLarge
from gateway.security import cells
from gateway.security.cells import REQUESTS, ROWS, WAYS, Cells
from gateway.security.identity import ANONYMOUS, Identity
from gateway.security.quota import Bucket, Quota, Quotas, Rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def one(rate: Rate) -> tuple[Bucket, Clock]:
    clock, cells = Clock(), Cells.own()
    return Bucket(cells, ROWS, cells.tag("key:ann"), rate, clock), clock


def test_a_burst_then_the_rate() -> None:
    bucket, clock = one(Rate.of(10, 5))
    for _ in range(5):
        bucket.take(1)
    with pytest.raises(ResourceExhausted, match="quota of rows: 10 a second") as refused:
        bucket.take(1)
    assert refused.value.retry_after == pytest.approx(0.1)
    clock.now += 0.1
    bucket.take(1)
    with pytest.raises(ResourceExhausted):
        bucket.take(1)
    clock.now += 100
    for _ in range(5):
        bucket.take(1)
    with pytest.raises(ResourceExhausted):
        bucket.take(1)


def test_what_is_refused_costs_nothing() -> None:
    bucket, clock = one(Rate.of(1, 10))
    bucket.take(8)
    for _ in range(100):
        with pytest.raises(ResourceExhausted):
            bucket.take(5)
    clock.now += 3
    bucket.take(5)


def test_more_than_the_burst_never_passes_and_is_told_so() -> None:
    bucket, _ = one(Rate.of(10, 100))
    with pytest.raises(TooLarge, match="101 rows at once exceed this client's burst of 100: send fewer"):
        bucket.take(101)
    bucket.take(100)


def test_a_cell_that_another_client_took_is_not_taken_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "SETS", 1)
    shared, clock = Cells.own(), Clock()
    rate = Rate.of(1, 10)
    ann = Bucket(shared, REQUESTS, 1, rate, clock)
    ann.take(1)
    others = [Bucket(shared, REQUESTS, 2 + i, rate, clock) for i in range(WAYS)]
    for other in others:
        other.take(10)
        with pytest.raises(ResourceExhausted):
            other.take(1)
    ann.take(10)  # it was forgotten, and makes another one be forgotten


def passes(bucket: Bucket, cost: int, rate: Rate) -> bool:
    """And if not, why, and when it will."""
    if cost > rate.burst:
        with pytest.raises(TooLarge):
            bucket.take(cost)
        return False
    try:
        bucket.take(cost)
    except ResourceExhausted as refused:
        return not (refused.retry_after or 0) > 0
    return True


@given(
    st.floats(0.5, 1000),
    st.integers(0, 500),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 100)), max_size=60),
)
def test_no_more_than_the_rate_and_one_burst_ever_passes(
    per_second: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    rate = Rate.of(per_second, burst)
    bucket, clock = one(rate)
    passed, began = 0, clock.now
    for wait, cost in asked:
        clock.now += wait
        if passes(bucket, cost, rate):
            passed += cost
    assert passed <= rate.burst + (clock.now - began + 1e-5) * per_second


# ---- clients


def names(*given: str) -> Identity:
    return Identity(given)


def test_the_first_that_fits_is_a_clients_own() -> None:
    quotas = Quotas([Quota("key:a*", Rate.of(1, 1), Rate.of(0, 0)), Quota("*", Rate.of(2, 2), Rate.of(5, 5))])
    meter = quotas.meter(names("key:ann"))
    assert meter is not None
    assert meter.rows is None
    other = quotas.meter(names("jwt:x", "jwt-group:y"))
    assert other is not None
    assert other.rows is not None
    assert Quotas([Quota("key:*", Rate.of(1, 1), Rate.of(0, 0))]).meter(ANONYMOUS) is None


def left(quotas: Quotas, identity: Identity, address: str = "") -> int:
    """How many requests pass."""
    meter = quotas.meter(identity, address)
    assert meter is not None
    assert meter.requests is not None
    for passed in range(100):
        try:
            meter.requests.take(1)
        except ResourceExhausted:
            return passed
    raise AssertionError("no limit")


def test_a_client_has_one_quota_whoever_asks_for_it() -> None:
    quotas = Quotas([Quota("*", Rate.of(0.001, 3), Rate.of(0, 0))])
    assert left(quotas, names("key:ann")) == 3
    assert left(quotas, names("key:ann")) == 0
    assert left(quotas, names("key:bob")) == 3


def test_a_group_gives_each_of_its_members_a_quota() -> None:
    quotas = Quotas([Quota("jwt-group:ml", Rate.of(0.001, 1), Rate.of(0, 0))])
    assert [left(quotas, names(name, "jwt-group:ml")) for name in ("jwt:a", "jwt:b", "jwt:a")] == [1, 1, 0]


def test_a_name_in_two_groups_is_counted_by_each_quota_for_itself() -> None:
    slow, fast = Quota("jwt-group:slow", Rate.of(0.001, 1), Rate.of(0, 0)), Quota("*", Rate.of(0.1, 5), Rate.of(0, 0))
    quotas = Quotas([slow, fast])
    assert left(quotas, names("jwt:ann", "jwt-group:slow")) == 1
    assert left(quotas, names("jwt:ann")) == 5
    assert left(quotas, names("jwt:ann", "jwt-group:slow")) == 0


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:0:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "unix", False),
    ],
)
def test_nobody_is_told_apart_by_address(first: str, second: str, same: bool) -> None:
    quotas = Quotas([Quota("anonymous", Rate.of(0.001, 1), Rate.of(0, 0))])
    assert left(quotas, ANONYMOUS, first) == 1
    assert left(quotas, ANONYMOUS, second) == (0 if same else 1)
