"""Ids that are made when somebody asks."""

from __future__ import annotations

import pytest

from adapters.kafka.ids import Ids


def test_they_are_read_as_a_list_is() -> None:
    ids = Ids("t/0/", range(5, 9))
    assert list(ids) == ["t/0/5", "t/0/6", "t/0/7", "t/0/8"]
    assert len(ids) == 4
    assert (ids[0], ids[-1]) == ("t/0/5", "t/0/8")
    assert list(ids[1:3]) == ["t/0/6", "t/0/7"]
    assert "t/0/6" in ids
    assert "t/0/9" not in ids
    with pytest.raises(IndexError):
        ids[4]


def test_offsets_that_have_gaps() -> None:
    ids = Ids("a/b/", [3, 10, 4000000000])
    assert list(ids) == ["a/b/3", "a/b/10", "a/b/4000000000"]
    assert list(ids[1:]) == ["a/b/10", "a/b/4000000000"]
