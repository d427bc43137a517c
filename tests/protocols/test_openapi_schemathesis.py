"""The OpenAPI document against the server that publishes it: no crash, and no reply that it does not have.

schemathesis makes the requests, those that the document allows and those that it does not, hypothesis drives it.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.schemas  # what `from_url` would import later, in the middle of a test
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_reply_is_as_documented(server: Any, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{server.rest}/v2/openapi.json")
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        # a path can only be unknown: what can be wrong is a body
        if mode is GenerationMode.POSITIVE or operation.body:
            _check(operation, mode)


def _check(operation: Any, mode: GenerationMode) -> None:
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def replies(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    replies()
