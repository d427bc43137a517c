from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.core.errors import PermissionDenied, ResourceExhausted, Unauthenticated
from gateway.security import guard as module
from gateway.security.guard import Guard, require
from gateway.security.identity import Identity
from gateway.security.key import Key, new_key
from gateway.security.policy import Policies, Policy
from gateway.security.quota import Quota, Quotas, Rate
from gateway.security.refusal import Expired, Missing, Revoked
from gateway.store.contract import ApiKey

CERT = Identity(("cert:edge", "cert:spiffe://mesh/edge"))


def kept(key: Key, *allow: tuple[str, str], name: str = "ann", expires: float = 0.0) -> ApiKey:
    return ApiKey(name, key.digest, allow, time.time(), expires)


class Tokens:
    """One that everybody believes."""

    def identify(self, token: bytes) -> Identity | None:
        return Identity(("jwt:bob", "jwt-group:ml")) if token == b"a.b.c" else None


def test_open_as_long_as_nothing_says_otherwise() -> None:
    guard = Guard("t0ken")
    assert not guard.closed
    assert not guard.active
    for token in (b"", b"whatever", b"sluice_x"):
        principal = guard.identify(token)
        assert principal.name == "anonymous"
        require(principal, "infer", "m")
        require(principal, "read")
        with pytest.raises(Missing):
            require(principal, "load", "m")
    assert guard.identify(b"", CERT).name == "cert:edge"
    require(guard.identify(b"t0ken"), "admin")


@pytest.mark.parametrize(
    "how",
    [{"policies": Policies([Policy("key:x", ("infer",))])}, {"tokens": Tokens()}],
)
def test_closed_by_whatever_says_who_may(how: dict[str, Any]) -> None:
    guard = Guard("t0ken", **how)
    assert guard.closed
    assert guard.active
    for action in ("infer", "read", "load"):
        with pytest.raises(Missing):
            require(guard.identify(b""), action, "m")
    with pytest.raises(PermissionDenied):
        require(guard.identify(b"", CERT), "infer", "m")
    with pytest.raises(Unauthenticated):
        guard.identify(b"whatever")
    require(guard.identify(b"t0ken"), "admin")


def test_quotas_alone_close_nothing() -> None:
    guard = Guard("", None, Quotas([Quota("*", Rate.of(1, 1), Rate.of(0, 0))]))
    assert guard.active
    assert not guard.closed
    first = guard.identify(b"", None, "10.0.0.1")
    first.take_request()
    with pytest.raises(ResourceExhausted):
        guard.identify(b"junk", None, "10.0.0.1").take_request()  # junk is no way round a quota


def test_a_key_closes_the_gateway_and_its_revocation_does_not_open_it() -> None:
    guard, key = Guard(), new_key()
    guard.follow({key.id: kept(key, ("infer", "churn-*"))})
    assert guard.closed
    principal = guard.identify(key.text.encode())
    require(principal, "infer", "churn-1")
    with pytest.raises(PermissionDenied) as there:
        require(principal, "read", "churn-1")
    assert there.value.message == "'key:ann' may not 'read' with model 'churn-1'"
    assert guard.holds(principal)
    guard.follow({key.id: ApiKey("ann", "", (), 0.0, time.time())})
    assert guard.closed
    assert not guard.holds(principal)
    with pytest.raises(Revoked):
        guard.identify(key.text.encode())
    with pytest.raises(Missing):
        require(guard.identify(b""), "infer", "churn-1")


def test_the_same_keys_again_ask_nobody_anew() -> None:
    guard, key = Guard(), new_key()
    guard.follow({key.id: kept(key)})
    epoch = guard.epoch
    guard.follow(dict(guard._keyring.records))
    assert guard.epoch == epoch


def test_who_was_let_in_goes_when_the_time_comes() -> None:
    now = [time.time()]
    guard, key = Guard(clock=lambda: now[0]), new_key()
    guard.follow({key.id: kept(key, ("infer", "*"), expires=now[0] - 1)})
    with pytest.raises(Expired):
        guard.identify(key.text.encode())
    guard.follow({key.id: kept(key, ("infer", "*"), expires=now[0] + 60)})
    principal = guard.identify(key.text.encode())
    assert guard.holds(principal)
    now[0] += 61
    assert not guard.holds(principal)


def test_policies_add_up_over_every_name_of_a_caller() -> None:
    policies = Policies(
        [
            Policy("jwt:bob", ("infer",), ("a",)),
            Policy("jwt-group:m*", ("load",), ("b-?",)),
            Policy("cert:spiffe://mesh/*", ("read",)),
            Policy("anonymous", ("infer",), ("demo",)),
            Policy("*", ("read",), ("public-*",)),
            Policy("key:*", ("split",)),
        ]
    )
    guard = Guard("", policies, None, Tokens())
    bob = guard.identify(b"a.b.c").rights
    assert bob.may("infer", "a")
    assert bob.may("load", "b-1")
    assert bob.may("read", "public-x")
    assert not bob.may("infer", "demo")
    assert not bob.may("split", "a")
    edge = guard.identify(b"", CERT).rights
    assert edge.may("read", "anything")
    assert not edge.may("infer", "demo")
    nobody = guard.identify(b"").rights
    assert nobody.may("infer", "demo")
    assert nobody.may("read", "public-x")
    assert not nobody.may("read", "demo")


def test_a_token_goes_before_a_certificate_and_a_wrong_one_is_not_made_good_by_it() -> None:
    guard = Guard("t", Policies([Policy("cert:*", ("infer",)), Policy("anonymous", ("infer",))]), None, Tokens())
    assert guard.identify(b"a.b.c", CERT).name == "jwt:bob"
    with pytest.raises(Unauthenticated):
        guard.identify(b"x.y.z", CERT)


def test_what_is_of_no_one_model() -> None:
    guard = Guard(
        "", Policies([Policy("jwt:bob", ("read", "admin"), ("a",)), Policy("cert:edge", ("admin",))]), None, Tokens()
    )
    bob = guard.identify(b"a.b.c")
    require(bob, "read")
    with pytest.raises(PermissionDenied):
        require(bob, "admin")
    require(bob, "admin", some=True)
    require(guard.identify(b"", CERT), "admin")


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    keys = [new_key() for _ in range(30)]
    guard = Guard()
    guard.follow({key.id: kept(key) for key in keys})
    for key in keys:
        assert guard.identify(key.text.encode()).name == "key:ann"
    assert len(guard._known) == 10
