import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidArgument
from gateway.pipeline.declared.substitution import substituted

ENVIRON = {"A": "1", "SECRET": "se${A}cret", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain $A $ {A} $", "plain $A $ {A} $"),
        ("x${A}y${A}", "x1y1"),
        ("${SECRET}", "se${A}cret"),
        ("${NONE:-else}", "else"),
        ("${EMPTY:-}", ""),
        ("${A:-else}", "1"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
    ],
)
def test_variables_and_the_escape(text: str, value: str) -> None:
    assert substituted(text, ENVIRON) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a ${NONE}", "found ${NONE}, but the environment has no variable NONE"),
        ("${EMPTY}", "found ${EMPTY}, but the environment has no variable EMPTY"),
        ("${A", "found '${A', expected the name of a variable as in ${NAME}; $${ stands for the characters themselves"),
        ("${a b}", "found '${a b}', expected the name of a variable"),
        ("${}", "found '${}', expected"),
    ],
)
def test_what_cannot_be_replaced_is_told_without_any_value(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        substituted(text, ENVIRON)
    assert raised.value.message.startswith(says)
    assert "cret" not in raised.value.message


@given(st.text(), st.dictionaries(st.sampled_from(["A", "B_1"]), st.text(min_size=1)))
def test_anything_is_replaced_or_refused(text: str, environ: dict[str, str]) -> None:
    try:
        found = substituted(text, environ)
    except InvalidArgument:
        return
    if "${" not in text:
        assert found == text


@given(st.text())
def test_what_is_escaped_comes_out_as_it_was(text: str) -> None:
    # a $ before ${ would be taken as part of the escape
    if "$${" not in text:
        assert substituted(text.replace("${", "$${"), {}) == text
