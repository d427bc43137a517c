"""The credentials that the document names are those that are in force."""

from __future__ import annotations

import pytest

from gateway.protocols.oip.access import FREE, INFER, READ, Gate, Need
from gateway.protocols.rest.openapi.demand import Demand
from gateway.security.guard import Guard
from gateway.security.policy import Policies, Policy

EITHER = [{"bearer": []}, {"key": []}]
LOAD = Need("load", Gate("the repository API", "restricted.repository", "token"))


def test_an_open_gateway_wants_the_token_where_a_setting_says_so() -> None:
    demand = Demand(Guard("t0ken"))
    assert demand.of(INFER) == demand.of(FREE) == demand.of(Need("load", Gate("x", "y", "open"))) == []
    assert demand.of(LOAD) == EITHER


def test_a_closed_one_wants_credentials_but_for_what_anybody_may() -> None:
    demand = Demand(Guard("t0ken", Policies([Policy("anonymous", ("read",), ("public-*",))])))
    assert demand.of(FREE) == []
    assert demand.of(READ) == [*EITHER, {}]
    assert demand.of(INFER) == demand.of(LOAD) == demand.of(Need("load", Gate("x", "y", "open"))) == EITHER


@pytest.mark.parametrize("closed", [True, False])
def test_certificates(closed: bool) -> None:
    guard = Guard("t0ken", Policies([Policy("key:ann", ("infer",))] if closed else []))
    either = [*EITHER, {"certificate": []}] if closed else []
    assert Demand(guard, "optional").of(INFER) == either
    required = Demand(guard, "required")
    both = [{"bearer": [], "certificate": []}, {"key": [], "certificate": []}]
    assert required.of(INFER) == [*(both if closed else []), {"certificate": []}]
    assert required.of(FREE) == [{"certificate": []}]


def test_schemes() -> None:
    assert set(Demand(Guard()).schemes()) == {"bearer", "key"}
    found = Demand(Guard(), "required", "https://id.example").schemes()
    assert found["key"] == {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": found["key"]["description"],
    }
    assert found["bearer"]["description"] == "An API key, a token of https://id.example or the admin token."
    assert found["certificate"]["type"] == "mutualTLS"
