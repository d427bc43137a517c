"""Says what lies in the repository, as far as it can be trusted. TensorFlow Serving's Source."""

from __future__ import annotations

import asyncio

from gateway.models.repository import ModelFolder, Repository, Snapshot, settled


class Source:
    """names   the models that the last look saw

    Every method raises Unavailable if the repository cannot be read; nothing is changed then.
    """

    def __init__(self, repository: Repository) -> None:
        self.names: set[str] = set()
        self._repository = repository
        self._seen: Snapshot = {}
        self._accepted: dict[str, ModelFolder] = {}
        self._turn = asyncio.Lock()

    async def model(self, name: str) -> ModelFolder:
        """Raises InvalidArgument for what cannot be a name, NotFound."""
        folder = await asyncio.to_thread(self._repository.model, name)
        self.names.add(name)
        return folder

    async def refresh(self) -> None:
        self.names = await asyncio.to_thread(self._repository.names)

    async def everything(self) -> Snapshot:
        """All there is, at once: for the start, when nothing is served that could be spoiled."""
        found = await asyncio.to_thread(self._repository.scan)
        self.names = set(found)
        self._seen = self._accepted = found
        return found

    async def look(self) -> Snapshot:
        """What this look and the one before agree on: a folder that is being copied to changes in between."""
        async with self._turn:
            found = await asyncio.to_thread(self._repository.scan)
            self.names = set(found)
            self._accepted = settled(self._accepted, self._seen, found)
            self._seen = found
            return self._accepted
