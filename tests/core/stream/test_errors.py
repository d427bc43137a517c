from __future__ import annotations

import pytest

from gateway.core.errors import Internal, InvalidArgument, NotFound, SluiceError, TooLarge, Unavailable
from gateway.core.stream import DataError, Fenced, OutcomeUnknown, Transient, at_fault


@pytest.mark.parametrize("error", [InvalidArgument(""), DataError(""), TooLarge(""), Internal("")])
def test_what_a_record_can_be_blamed_for(error: SluiceError) -> None:
    assert at_fault(error)


@pytest.mark.parametrize("error", [Transient(""), Fenced(""), OutcomeUnknown(""), NotFound(""), Unavailable("")])
def test_what_it_cannot(error: SluiceError) -> None:
    assert not at_fault(error)
