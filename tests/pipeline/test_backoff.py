from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Unavailable
from gateway.pipeline import policy
from gateway.pipeline.backoff import Backoff


@given(st.integers(0, 2000), st.integers(0, 1 << 30))
def test_it_doubles_up_to_the_longest_less_up_to_a_half(failures: int, seed: int) -> None:
    backoff = Backoff(policy.Backoff(initial=0.1, longest=30.0), random.Random(seed))
    backoff.failures = failures
    whole = 30.0 if failures > 60 else min(0.1 * 2**failures, 30.0)
    assert whole / 2 <= backoff.failed() <= whole
    assert backoff.failures == failures + 1


def test_success_begins_anew() -> None:
    backoff = Backoff(policy.Backoff(initial=1.0))
    for _ in range(9):
        backoff.failed()
    backoff.succeeded()
    assert backoff.failed() <= 1.0


def test_an_error_that_knows_when_is_believed_up_to_the_longest() -> None:
    backoff = Backoff(policy.Backoff(initial=0.1, longest=30.0))
    assert backoff.failed(Unavailable("", retry_after=7.0)) == 7.0
    assert backoff.failed(Unavailable("", retry_after=7000.0)) == 30.0
    assert backoff.failed(Unavailable("")) < 1.0
