"""What a store of the control state is. Every implementation passes tests/contract/test_store.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, runtime_checkable

from gateway.core.errors import Unavailable


@dataclass(frozen=True, slots=True)
class DesiredModel:
    """What explicit control asked of a model.

    generation   the revision at which it was last loaded anew; a server that has an older one loads it again
    config       the override of its configuration as the JSON that the load call brought, "" for none
    files        the files that the load call brought: path in the model's folder → SHA-256 of a blob
    """

    loaded: bool
    generation: int = 0
    config: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DesiredSplit:
    """A traffic split as an operator set it: versions or labels with their weights, in order."""

    salt: str
    arms: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A client's key, without its secret.

    name      whose it is; several keys of one name are one client, as while one of them is being replaced
    digest    SHA-256 of the secret in hex; empty once the key was revoked
    allow     (action, pattern of models) that this key may do beside what policies of the settings say
    created   seconds since the epoch
    expires   the same, or when it was revoked; 0 for never
    """

    name: str
    digest: str
    allow: tuple[tuple[str, str], ...] = ()
    created: float = 0.0
    expires: float = 0.0

    @property
    def revoked(self) -> bool:
        return not self.digest


@dataclass(frozen=True, slots=True)
class State:
    """Everything desired, whole, as of one revision. Revision 0 is the empty state of a new store.

    models, splits   by model
    labels           model → label → version; an empty mapping says that there are to be none
    keys             by the public part of the key, its id
    """

    revision: int = 0
    models: Mapping[str, DesiredModel] = field(default_factory=dict)
    splits: Mapping[str, DesiredSplit] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    keys: Mapping[str, ApiKey] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Act:
    """Who does what, and from where: for the audit trail. `detail` is what was asked for, fit for JSON."""

    actor: str
    origin: str
    action: str
    target: str
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the trail. `at` is seconds since the epoch; `before` and `after` are revisions.

    machine   whose gateway was asked, where several share the store
    """

    id: int
    at: float
    before: int
    after: int
    act: Act
    machine: str = ""


#: seconds of silence after which a gateway counts as dead
LIVE_FOR: Final = 10.0


@dataclass(frozen=True, slots=True)
class Machine:
    """A gateway that shares the store, as it last said itself.

    revision   in force in all of its workers
    troubles   model → why it is not served there as it is desired
    silence    seconds since it said so, by the store's clock
    live       whether that is so short that it counts as running
    """

    name: str
    program: str
    revision: int
    troubles: Mapping[str, str]
    silence: float
    live: bool


Mutation = Callable[[State], State]


class Unusable(Unavailable):
    """The store is there, and somebody must change something before it can be used: waiting does not help."""


class Store(Protocol):
    """Used from one event loop; `async with` opens and closes it. All raise Unavailable when it is gone."""

    async def read(self) -> State: ...

    async def change(
        self, expected: int | None, mutation: Mutation, act: Act, blobs: Mapping[str, bytes] | None = None
    ) -> State:
        """Writes `mutation(state)`, its audit line and the blobs it refers to, or nothing; returns it.

        mutation   pure; what it returns as revision is not looked at: the new one is the old one plus 1
        expected   the revision that the caller decided on; None: whichever is the newest
        blobs      by SHA-256; those that no model refers to any more are dropped

        When it returns, the change is on disk. When it raises, nothing has changed.
        Raises Conflict where `expected` is not the newest, and whatever `mutation` raises.
        """
        ...

    async def blob(self, digest: str) -> bytes:
        """Raises NotFound."""
        ...

    async def audit(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """The newest entries first; `before` is the id to go on from."""
        ...

    async def __aenter__(self) -> Store: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Channel(Protocol):
    """How one gateway and the others hear of each other. All raise Unavailable; then it is of no use any more."""

    async def tell(self, revision: int, troubles: Mapping[str, str]) -> int:
        """Says what is in force here, for as long as it is said again; returns the store's newest revision."""
        ...

    async def leave(self) -> None:
        """Says that this gateway ends, so that nobody waits for it."""
        ...


@runtime_checkable
class SharedStore(Store, Protocol):
    """One that several gateways have in common."""

    def channel(self, heard: Callable[[], None]) -> AbstractAsyncContextManager[Channel]:
        """`heard` is called, soon, when somebody changed something or said that it is in force, and when the
        connection is gone; not always: a look now and then is needed too."""
        ...

    async def machines(self) -> list[Machine]:
        """Those that say something, by name."""
        ...
