from __future__ import annotations

import logging

import pytest

from gateway.core.errors import InvalidArgument, PermissionDenied, ResourceExhausted, TooLarge, Unauthenticated
from gateway.security.denial import LINES, REASONS, Denials
from gateway.security.refusal import Expired, Missing, Revoked, UnknownKey


def test_counted_by_port_and_reason() -> None:
    denials = Denials()
    for error in (Missing("a"), Expired("a"), Revoked("a"), UnknownKey(None), Unauthenticated("a")):
        denials.add("rest", error)
    for error in (PermissionDenied("a"), ResourceExhausted("a"), TooLarge("a"), InvalidArgument("a")):
        denials.add("grpc", error)
    assert denials.counts == {
        ("rest", "missing"): 1,
        ("rest", "expired"): 1,
        ("rest", "revoked"): 1,
        ("rest", "unknown_key"): 1,
        ("rest", "wrong"): 1,
        ("grpc", "forbidden"): 1,
        ("grpc", "quota"): 2,
    }
    assert {reason for _, reason in denials.counts} == set(REASONS)


def test_the_log_is_told_and_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    denials = Denials(lambda: now[0])
    with caplog.at_level(logging.WARNING, "sluice.security"):
        for _ in range(LINES + 7):
            denials.add("admin", PermissionDenied("no"), "10.0.0.1", "POST /admin/v1/keys")
        denials.add("admin", PermissionDenied("no"), "10.0.0.1")
        assert len(caplog.records) == LINES
        assert caplog.records[0].getMessage() == "denied: POST /admin/v1/keys, from admin 10.0.0.1: no"
        now[0] = 61.0
        denials.add("admin", PermissionDenied("no"), "10.0.0.1", "GET /\r\nINFO forged")
        assert caplog.records[-2].getMessage() == "denied: 7 more in the minute before"
        assert caplog.records[-1].getMessage().count("\n") == 0
    assert denials.counts["admin", "forbidden"] == LINES + 9
