from __future__ import annotations

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidArgument
from gateway.security.grant import NOTHING, Grant, Rights, compiled, parse_grant


def test_grants_as_they_are_written() -> None:
    assert parse_grant("infer:churn-*") == Grant("infer", "churn-*")
    assert parse_grant("read") == Grant("read", "*")
    assert parse_grant("load:a:b") == Grant("load", "a:b")


@pytest.mark.parametrize("text", ["", "fly", "infer:", "INFER:x", "infer: \n", "infer:a/b", "infer:" + "x" * 256, ":x"])
def test_what_is_no_grant(text: str) -> None:
    with pytest.raises(InvalidArgument, match="expected"):
        parse_grant(text)


def test_rights() -> None:
    rights = Rights([Grant("infer", "churn-*"), Grant("infer", "fraud"), Grant("read")])
    assert rights.may("infer", "churn-2")
    assert rights.may("infer", "fraud")
    assert not rights.may("infer", "fraud2")
    assert not rights.may("infer", "xchurn-2")
    assert not rights.may("load", "fraud")
    assert rights.may_some("infer")
    assert not rights.may_all("infer")
    assert rights.may_all("read")
    assert not rights.may_some("admin")


def test_admin_holds_every_other_action() -> None:
    rights = Rights([Grant("admin", "a")])
    assert all(rights.may(action, "a") for action in ("infer", "read", "load", "split", "admin"))
    assert not any(rights.may_all(action) for action in ("infer", "read", "load", "split", "admin"))
    assert not rights.may("infer", "b")


def test_nothing() -> None:
    assert not NOTHING.may_some("read")
    assert not NOTHING.may("infer", "")


@given(st.text("ab*?", max_size=8), st.text("ab\n", max_size=8))
def test_patterns_are_those_of_a_shell_without_brackets(pattern: str, name: str) -> None:
    expected = re.fullmatch(fnmatch.translate(pattern), name) is not None
    assert (compiled([pattern]).fullmatch(name) is not None) == expected


@given(st.text("a[]!-\\^$.|(){}+", min_size=1, max_size=8))
def test_everything_else_is_what_it_is(text: str) -> None:
    assert compiled([text]).fullmatch(text)
    assert not compiled([text]).fullmatch(text + "a")


def test_a_pattern_of_many_stars_costs_no_time() -> None:
    pattern = compiled(["*a" * 20 + "*b"])
    began = time.process_time()
    assert not pattern.fullmatch("a" * 5000)
    assert time.process_time() - began < 1.0
