from __future__ import annotations

from typing import Any

import pytest

from gateway.security.certificate import of_peer

SUBJECT = ((("countryName", "DE"),), (("commonName", "edge"),))


@pytest.mark.parametrize(
    ("certificate", "names"),
    [
        (
            {"subject": SUBJECT, "subjectAltName": (("DNS", "edge.example"), ("URI", "spiffe://mesh/edge"))},
            ("cert:edge", "cert:edge.example", "cert:spiffe://mesh/edge"),
        ),
        ({"subject": SUBJECT}, ("cert:edge",)),
        ({"subject": SUBJECT, "subjectAltName": (("DNS", "edge"),)}, ("cert:edge",)),
        ({"subject": (), "subjectAltName": (("DNS", "a"), ("DirName", ((("x", "y"),),)))}, ("cert:a",)),
        ({"subject": ((("commonName", "a\nb"),),), "subjectAltName": (("DNS", "c"),)}, ("cert:c",)),
    ],
)
def test_whom_it_names(certificate: dict[str, Any], names: tuple[str, ...]) -> None:
    found = of_peer(certificate)
    assert found is not None
    assert found.names == names


@pytest.mark.parametrize("certificate", [None, {}, {"subject": ()}, {"subject": ((("commonName", ""),),)}])
def test_one_that_was_not_verified_or_names_nobody(certificate: dict[str, Any] | None) -> None:
    assert of_peer(certificate) is None
