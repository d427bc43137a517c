"""A state as rows of tables, and back: what the stores have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gateway.core.errors import NotFound
from gateway.store.contract import ApiKey, DesiredModel, DesiredSplit, State

_json = msgspec.json

Row = Sequence[Any]
#: by table
Rows = Mapping[str, Iterable[Row]]


def text(value: Any) -> str:
    """As JSON."""
    return _json.encode(value).decode()


class Kind(NamedTuple):
    """One mapping of a `State`, and the table of the same name.

    columns   the first is the key of the mapping
    cells     a value → what is in the other columns
    value     the other columns → the value
    """

    name: str
    columns: tuple[str, ...]
    cells: Callable[[Any], tuple[Any, ...]]
    value: Callable[..., Any]


KINDS: Final = (
    Kind(
        "models",
        ("name", "loaded", "generation", "config", "files"),
        lambda m: (m.loaded, m.generation, m.config, text(m.files)),
        lambda loaded, generation, config, files: DesiredModel(bool(loaded), generation, config, _json.decode(files)),
    ),
    Kind(
        "splits",
        ("model", "salt", "arms"),
        lambda s: (s.salt, text(s.arms)),
        lambda salt, arms: DesiredSplit(salt, _json.decode(arms, type=tuple[tuple[str, float], ...])),
    ),
    Kind("labels", ("model", "labels"), lambda labels: (text(labels),), _json.decode),
    Kind(
        "keys",
        ("id", "name", "digest", "allow", "created", "expires"),
        lambda k: (k.name, k.digest, text(k.allow), k.created, k.expires),
        lambda name, digest, allow, created, expires: ApiKey(
            name, digest, _json.decode(allow, type=tuple[tuple[str, str], ...]), created, expires
        ),
    ),
)


class Change(NamedTuple):
    """What to do to a table: the keys of rows that go, and whole rows that are new or other than they were."""

    kind: Kind
    gone: list[str]
    rows: list[tuple[Any, ...]]


def state_of(revision: int, rows: Rows) -> State:
    return State(revision, **{kind.name: _mapping(kind, rows[kind.name]) for kind in KINDS})


def changes(old: State, new: State) -> Iterator[Change]:
    """Only the rows that differ."""
    for kind in KINDS:
        was, now = getattr(old, kind.name), getattr(new, kind.name)
        rows = [(key, *kind.cells(value)) for key, value in now.items() if was.get(key) != value]
        yield Change(kind, [key for key in was if key not in now], rows)


def new_blobs(new: State, have: set[str], given: Mapping[str, bytes]) -> tuple[dict[str, bytes], set[str]]:
    """Those to write, and those that no model refers to any more. Raises NotFound where one is nowhere."""
    wanted = {digest for model in new.models.values() for digest in model.files.values()}
    for digest in wanted - have - given.keys():
        raise NotFound(f"a model refers to the blob {digest}, which is not in the control state")
    return {digest: given[digest] for digest in sorted(wanted - have)}, have - wanted


def _mapping(kind: Kind, rows: Iterable[Row]) -> dict[str, Any]:
    return {row[0]: kind.value(*row[1:]) for row in sorted(rows, key=lambda row: str(row[0]))}
