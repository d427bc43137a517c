from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ResourceExhausted, TooLarge
from gateway.security import quota
from gateway.security.identity import ANONYMOUS, Identity
from gateway.security.quota import Bucket, Quota, Quotas, Rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def one(rate: Rate, share: float = 1.0) -> tuple[Bucket, Clock]:
    clock = Clock()
    return Bucket("rows", rate, share, clock), clock


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


def test_a_share_lets_a_large_request_pass_and_keeps_the_rate() -> None:
    bucket, clock = one(Rate.of(100, 100), share=0.25)
    bucket.take(100)  # four times what this process has: it waits for the debt to be paid
    with pytest.raises(ResourceExhausted) as refused:
        bucket.take(1)
    assert refused.value.retry_after == pytest.approx((75 + 1) / 25)
    clock.now += 3
    with pytest.raises(ResourceExhausted):
        bucket.take(1)
    clock.now += 0.05
    bucket.take(1)


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
    st.sampled_from([1.0, 0.5, 0.25]),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 100)), max_size=60),
)
def test_no_more_than_the_rate_and_one_burst_ever_passes(
    per_second: float, burst: int, share: float, asked: list[tuple[float, int]]
) -> None:
    rate = Rate.of(per_second, burst)
    bucket, clock = one(rate, share)
    passed, began, largest = 0, clock.now, 0
    for wait, cost in asked:
        clock.now += wait
        if passes(bucket, cost, rate):
            passed += cost
            largest = max(largest, cost)
    size = max(1.0, rate.burst * share)
    assert passed <= size + (clock.now - began) * per_second * share + largest + 1e-6


# ---- clients


def names(*given: str) -> Identity:
    return Identity(given)


def test_the_first_that_fits_is_a_clients_own() -> None:
    quotas = Quotas([Quota("key:a*", Rate.of(1, 1), Rate.of(0, 0)), Quota("*", Rate.of(2, 2), Rate.of(5, 5))])
    meter = quotas.meter(names("key:ann"))
    assert meter is not None
    assert meter.rows is None
    assert quotas.meter(names("key:ann")) is meter
    assert quotas.meter(names("key:abe")) is not meter
    other = quotas.meter(names("jwt:x", "jwt-group:y"))
    assert other is not None
    assert other.rows is not None
    assert Quotas([Quota("key:*", Rate.of(1, 1), Rate.of(0, 0))]).meter(ANONYMOUS) is None


def test_a_group_gives_each_of_its_members_a_quota() -> None:
    quotas = Quotas([Quota("jwt-group:ml", Rate.of(1, 1), Rate.of(0, 0))])
    first, second = quotas.meter(names("jwt:a", "jwt-group:ml")), quotas.meter(names("jwt:b", "jwt-group:ml"))
    assert first is not second


def test_nobody_is_told_apart_by_address() -> None:
    quotas = Quotas([Quota("anonymous", Rate.of(1, 1), Rate.of(0, 0))])
    assert quotas.meter(ANONYMOUS, "10.0.0.1") is quotas.meter(ANONYMOUS, "10.0.0.1")
    assert quotas.meter(ANONYMOUS, "10.0.0.1") is not quotas.meter(ANONYMOUS, "10.0.0.2")


def test_clients_that_come_and_go_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MOST", 100)
    quotas = Quotas([Quota("*", Rate.of(1, 1), Rate.of(0, 0))])
    kept = quotas.meter(names("key:ann"))
    for i in range(1000):
        quotas.meter(ANONYMOUS, f"10.0.{i // 256}.{i % 256}")
    assert len(quotas._nameless) == 100
    assert quotas.meter(names("key:ann")) is kept, "those without a name do not crowd out those with one"
