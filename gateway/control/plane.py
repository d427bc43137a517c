"""The one writer of the desired state.

Every mutation takes the same way: check, prepare, write, publish. What is prepared (versions loaded, warm and pinned)
is seen by no request. What is written, by compare-and-set and together with its audit line, is the truth from then
on. Publishing swaps pointers in memory and cannot fail. So a mutation that fails has changed nothing, and a process
that dies between two steps finds the truth in the store when it starts again. What follows may be this process, or
every worker of a fleet.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final, Unpack

from gateway.control.caller import Caller, act
from gateway.control.desired import (
    Desired,
    check_labels,
    find_keys,
    new_labels,
    new_split,
    overruled,
    with_key,
    with_labels,
    with_model,
    with_split,
    without_keys,
)
from gateway.control.following import Following
from gateway.control.peers import Contact, Peers
from gateway.control.turns import Turns
from gateway.core.errors import InvalidArgument, NotFound, SluiceError
from gateway.security.grant import parse_grant
from gateway.security.key import Key, is_name, new_key
from gateway.settings import Settings
from gateway.store.contract import Act, ApiKey, AuditEntry, Mutation, SharedStore, State, Store

logger = logging.getLogger("sluice.control")


class ControlPlane:
    """Belongs to the event loop. Mutations run one after the other, and to their end even if the caller goes away.

    Each takes a `Caller` as keywords, and returns what is desired from now on. It raises Conflict where the revision
    that the caller expected is not the newest any more.
    """

    def __init__(self, store: Store, follower: Following, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._follower: Final = follower
        self.turns: Final = Turns(store, follower)
        self._started = time.time()
        #: the other gateways, where there may be some
        self.peers: Final = Peers(store, self) if isinstance(store, SharedStore) else None

    @property
    def mode(self) -> str:
        return self._settings.control_mode

    @property
    def state(self) -> State:
        """What was set, as it is in the store."""
        return self._follower.state

    @property
    def desired(self) -> Desired:
        """What is in force: the settings, and above them what was set."""
        return self._follower.desired

    @property
    def in_force(self) -> int:
        """The revision that all workers have acknowledged."""
        return self.turns.in_force

    @property
    def contact(self) -> Contact:
        """With the store."""
        return self.peers.contact if self.peers else Contact(True, self._started, self.in_force)

    async def start(self) -> None:
        """Takes up what the settings and the store say, and loads it. A model that fails is in the log and in the
        index, and keeps nothing else from starting. Raises Unavailable where store or repository cannot be read; a
        store that is shared is waited for."""
        state = await (self.peers.first() if self.peers else self._store.read())
        for line in overruled(self._settings, state):
            logger.warning("%s", line)
        await self.turns.take(self._follower.start(state))
        if self.peers:
            self.peers.start()

    async def catch_up(self, *, again: bool = False) -> None:
        """Follows the store, where it has moved without this gateway; back, too, as after a restore.

        again   tries once more what could not be served, even if the store has not moved
        """

        async def work() -> None:
            if not await self.turns.catch_up() and again:
                await self._follower.follow(self.state)

        await self.turns.take(work())

    def troubles(self) -> Mapping[str, str]:
        """Model → why it is not served here as it is desired."""
        return self._follower.troubles()

    async def everywhere(self, revision: int, limit: float, model: str = "") -> None:
        """As `Peers.everywhere`; a gateway without others has in force what it answered."""
        if self.peers:
            await self.peers.everywhere(revision, limit, model)

    async def audit(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        return await self._store.audit(limit, before)

    async def close(self) -> None:
        """Waits for what is under way."""
        if self.peers:
            await self.peers.close()
        await self.turns.finished()

    async def load_model(
        self,
        model: str,
        override: str | None = None,
        files: Mapping[str, bytes] | None = None,
        **by: Unpack[Caller],
    ) -> Desired:
        """Loads a model, or loads it anew. `override` is a ModelConfig as JSON, `files` are by path in its folder.

        Raises Unavailable outside explicit mode, and what the model raises: what was served before is served still.
        """
        digests, blobs = await asyncio.to_thread(_digested, files or {})

        async def work() -> None:
            prepared = await self._follower.prepare(model, override, files)
            try:
                entry = act(by, "model.load", model, config=override, files=digests)
                state = await self.turns.write(with_model(model, True, override or "", digests), entry, blobs)
            except BaseException:
                await self._follower.discard(prepared)
                raise
            await self._follower.publish_model(prepared, state)

        return await self.turns.change(by, work)

    async def unload_model(self, model: str, **by: Unpack[Caller]) -> Desired:
        """Raises Unavailable outside explicit mode, NotFound where there is no such model."""

        async def work() -> None:
            await self._follower.must_be_known(model)
            state = await self.turns.write(with_model(model, False), act(by, "model.unload", model))
            await self._follower.follow(state)

        return await self.turns.change(by, work)

    async def set_split(
        self, model: str, weights: Iterable[tuple[str, float]], salt: str | None = None, **by: Unpack[Caller]
    ) -> Desired:
        """Weights by version or label. Without a salt the one before stays, at first it is the model's name.

        Raises InvalidArgument for weights that cannot be, NotFound for a version that is not there and names those
        that are, Unavailable where one is there but cannot be loaded.
        """
        given = list(weights)

        async def work() -> None:
            split = new_split(model, given, salt, self.desired.splits.get(model))
            await self._follower.must_exist(model, [name for name, _ in split.arms], f"the split of '{model}'")
            entry = act(by, "split.set", model, weights=dict(split.arms), salt=split.salt)
            await self._set(model, with_split(model, split), entry)

        return await self.turns.change(by, work)

    async def clear_split(self, model: str, **by: Unpack[Caller]) -> Desired:
        """Forgets what was set, so that the settings count again. Raises NotFound where nothing was set."""

        async def work() -> None:
            if model not in self.state.splits:
                raise _nothing("split", model, model in self.desired.splits)
            await self._set(model, with_split(model, None), act(by, "split.clear", model))

        return await self.turns.change(by, work)

    async def set_labels(
        self, model: str, labels: Mapping[str, str | None], *, whole: bool = True, **by: Unpack[Caller]
    ) -> Desired:
        """These labels and no others (`whole`), or laid over the others, where None takes one away.

        Raises as `set_split`, and InvalidArgument where the split names a label that would be gone.
        """

        async def work() -> None:
            old = self.desired.labels.get(model, {})
            new = new_labels(old, labels, whole)
            await self._follower.must_exist(model, new.values(), f"the labels of '{model}'")
            check_labels(model, old, new, self.desired.splits.get(model))
            await self._set(model, with_labels(model, new), act(by, "labels.set", model, labels=new))

        return await self.turns.change(by, work)

    async def clear_labels(self, model: str, **by: Unpack[Caller]) -> Desired:
        """Forgets what was set, so that the settings count again. Raises as `set_labels` and `clear_split` do."""

        async def work() -> None:
            if model not in self.state.labels:
                raise _nothing("labels", model, model in self.desired.labels)
            old, new = self.desired.labels[model], self._settings.labels.get(model, {})
            check_labels(model, old, new, self.desired.splits.get(model))
            await self._set(model, with_labels(model, None), act(by, "labels.clear", model))

        return await self.turns.change(by, work)

    async def note(
        self, action: str, target: str, detail: Mapping[str, object] | None = None, **by: Unpack[Caller]
    ) -> None:
        """A line of the trail for what was done and is no part of the desired state. It takes a revision; where the
        store is gone it is in the log alone, since what was done is done."""
        entry = act(by, action, target, **(detail or {}))

        async def work() -> None:
            await self._follower.publish(await self.turns.write(lambda state: state, entry))

        try:
            await self.turns.change({"actor": entry.actor, "origin": entry.origin}, work)
        except SluiceError as error:
            logger.warning(
                "%s %s, by %s from %s, is not in the audit trail: %s",
                action, target, entry.actor, entry.origin, error.message,
            )  # fmt: skip

    async def create_key(self, name: str, allow: Iterable[str], expires: float = 0.0, **by: Unpack[Caller]) -> Key:
        """The key with its secret, which nobody can tell again. `allow` as ``infer:churn-*``; `expires` in seconds
        since the epoch, 0 for never. A second key of the same name is the same client's. Raises InvalidArgument."""
        grants = tuple((grant.action, grant.models) for grant in map(parse_grant, allow))
        key, now = new_key(), time.time()
        if not is_name(name):
            raise InvalidArgument(f"name: expected up to 63 letters, digits, '.', '_' or '-', found '{name[:80]}'")
        if expires and expires <= now:
            raise InvalidArgument("expires: expected a time to come, found one that has passed")
        kept = ApiKey(name, key.digest, grants, now, expires)

        async def work() -> None:
            told = [f"{action}:{models}" for action, models in grants]
            entry = act(by, "key.create", name, id=key.id, allow=told, expires=expires or None)
            await self._follower.publish(await self.turns.write(with_key(key.id, kept), entry))

        await self.turns.change(by, work)
        return key

    async def revoke_key(self, which: str, **by: Unpack[Caller]) -> Desired:
        """By its id, or all keys of a name; in force everywhere when it returns. Raises NotFound."""

        async def work() -> None:
            gone = find_keys(self.state, which)
            entry = act(by, "key.revoke", self.state.keys[gone[0]].name, ids=gone)
            await self._follower.publish(await self.turns.write(without_keys(gone, time.time()), entry))

        return await self.turns.change(by, work)

    async def _set(self, model: str, mutation: Mutation, entry: Act) -> None:
        """A change of a split or of labels."""
        try:
            await self._follower.hold(model, mutation(self.state))
            await self._follower.publish(await self.turns.write(mutation, entry))
        finally:
            await self._follower.release(model)


def _digested(files: Mapping[str, bytes]) -> tuple[dict[str, str], dict[str, bytes]]:
    """Path → digest, and digest → content."""
    digests = {path: sha256(content).hexdigest() for path, content in files.items()}
    return digests, {digests[path]: content for path, content in files.items()}


def _nothing(what: str, model: str, in_settings: bool) -> NotFound:
    hint = "; those of the settings are changed there" if in_settings else ""
    return NotFound(f"no {what} of '{model}' was set{hint}")
