from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.security.origin import Origins

TRUSTED = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),  # what stands before it anybody may have written
        ("10.0.0.1", "1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "1.2.3.4, junk", "10.0.0.1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("1.1.1.1", "2.2.2.2", "1.1.1.1"),  # no proxy of ours
        ("", "2.2.2.2", ""),
    ],
)
def test_where_a_caller_is(peer: str, forwarded: str, found: str) -> None:
    assert Origins(TRUSTED).of(peer, forwarded) == found


@given(st.text(max_size=60))
def test_without_trust_nothing_is_believed(forwarded: str) -> None:
    assert Origins().of("10.0.0.1", forwarded) == "10.0.0.1"


@given(st.text("0123456789.:, []%a", max_size=60))
def test_whatever_is_said_the_answer_is_an_address(forwarded: str) -> None:
    found = Origins(TRUSTED).of("10.0.0.1", forwarded)
    assert found == "10.0.0.1" or found in forwarded or ":" in found
