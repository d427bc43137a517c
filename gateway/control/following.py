"""What a control plane needs of those who follow it: of one process, or of a fleet of workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from gateway.control.desired import Desired
from gateway.store.contract import State


class Following(Protocol):
    """Belongs to the event loop, and to one caller at a time.

    `hold` loads what a new state will need, which no request sees; `publish` puts it in force, swapping pointers in
    memory, and cannot fail; `release` lets go of what is no longer needed, or was held in vain. `follow` is all three
    for a whole snapshot. `prepare` and then `publish_model` or `discard` are one load.
    """

    @property
    def state(self) -> State: ...

    @property
    def desired(self) -> Desired: ...

    async def start(self, state: State) -> None:
        """The first snapshot. Raises Unavailable where the repository cannot be read; a model that fails to load is
        in the log and in the index, and keeps nothing else from starting."""
        ...

    async def follow(self, state: State) -> None:
        """Whatever was skipped between the snapshot before and this one. Fails as `start` does."""
        ...

    def troubles(self) -> Mapping[str, str]:
        """Model → why it is not served as it is desired; in some process at least."""
        ...

    async def must_exist(self, model: str, names: Iterable[str], what: str) -> None:
        """Versions or labels. Raises NotFound that names those that are there."""
        ...

    async def must_be_known(self, model: str) -> None:
        """Raises NotFound for a model that is neither loaded nor in the repository, Unavailable outside explicit
        mode."""
        ...

    async def hold(self, model: str, state: State) -> None:
        """Loads the versions of `model` that `state` names, beside those that are named now.

        Raises Unavailable where one of them is there but not ready; unless the model is not loaded at all, in
        explicit mode: then they come with it.
        """
        ...

    async def publish(self, state: State) -> None: ...

    async def release(self, model: str) -> None:
        """What cannot be let go now goes with the next change."""
        ...

    async def prepare(self, model: str, override: str | None, files: Mapping[str, bytes] | None) -> Any:
        """Loads a model, unseen, and holds its turn until `publish_model` or `discard`. Raises what the model
        raises, and Unavailable outside explicit mode."""
        ...

    async def discard(self, prepared: Any) -> None: ...

    async def publish_model(self, prepared: Any, state: State) -> None: ...
