import pytest

from gateway.core.errors import PermissionDenied, SluiceError, Unsupported
from gateway.protocols.oip.access import Gate


@pytest.mark.parametrize("refusal", [PermissionDenied, Unsupported])
def test_a_group_that_is_off_says_what_opens_it(refusal: type[SluiceError]) -> None:
    gate = Gate("the repository API", "restricted.repository", "off", refusal)
    assert gate.off
    error = gate.refused()
    assert type(error) is refusal
    assert error.message == "the repository API is off: setting 'restricted.repository' opens it ('token' or 'open')"


def test_one_that_wants_the_token_says_how_to_send_it() -> None:
    gate = Gate("the repository API", "restricted.repository", "token")
    assert not gate.off
    assert gate.unknown().code == "UNAUTHENTICATED"
    assert "send 'Authorization: Bearer <token>' (setting 'restricted.repository' is 'token')" in gate.unknown().message
