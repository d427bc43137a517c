"""All workers, as one that follows: what the control plane asks is asked of each of them.

Those that die meanwhile are left out: their successors are given the snapshot. One that does not answer when the
others have is killed, so that no change waits for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any, Final

from gateway.control.channel import Gone
from gateway.control.desired import merge
from gateway.control.member import Member
from gateway.control.spool import Spool
from gateway.core.errors import SluiceError, Unavailable
from gateway.models.served import ServedFolder
from gateway.settings import Settings
from gateway.store.contract import ApiKey, State

logger = logging.getLogger("sluice.control")

#: a worker may take so many times as long as the first one that answered
SLOWER: Final = 4


class Fleet:
    """A `Following`. `members` are the workers that answer requests or did, until they end: each has the state that
    this has. Who joins does so in the control plane's turn.

    keys   takes up the API keys of each snapshot, for this process
    """

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        keys: Callable[[Mapping[str, ApiKey]], None] = lambda keys: None,
    ) -> None:
        self._take_keys = keys
        self._settings = settings
        self.spool = spool
        self._numbers = count(1)
        self.members: list[Member] = []
        self.state = State()
        self.desired = merge(settings, self.state)

    def _take(self, state: State) -> None:
        self.state, self.desired = state, merge(self._settings, state)
        self._take_keys(state.keys)

    async def start(self, state: State) -> None:
        """Nobody is there yet."""
        self._take(state)

    async def follow(self, state: State) -> None:
        self._take(state)
        await self._put_in_force("follow", {"state": state})

    def troubles(self) -> Mapping[str, str]:
        return {model: why for member in self.members for model, why in member.troubles.items()}

    async def must_exist(self, model: str, names: Iterable[str], what: str) -> None:
        await self.any("must_exist", {"model": model, "names": list(names), "what": what})

    async def must_be_known(self, model: str) -> None:
        await self.any("must_be_known", {"model": model})

    async def hold(self, model: str, state: State) -> None:
        _raise_first(await self.all("hold", {"model": model, "state": state}))

    async def publish(self, state: State) -> None:
        self._take(state)
        await self._put_in_force("publish", {"state": state})

    async def release(self, model: str) -> None:
        await self.all("release", {"model": model})

    async def prepare(self, model: str, override: str | None, files: Mapping[str, bytes] | None) -> int:
        number = next(self._numbers)
        async with self.spool.put(files or {}) as paths:
            body = {"number": number, "model": model, "override": override, "files": paths}
            answers = await self.all("prepare", body)
        if not answers:
            raise _nobody()
        try:
            _raise_first(answers)
        except SluiceError:
            await self.discard(number)
            raise
        return number

    async def discard(self, prepared: int) -> None:
        await self.all("discard", {"number": prepared})

    async def publish_model(self, prepared: int, state: State) -> None:
        self._take(state)
        await self._put_in_force("publish_model", {"number": prepared, "state": state})

    async def look(self, folders: Mapping[str, ServedFolder]) -> None:
        """What of the repository is to be served, where it is followed: loaded by all, and then published."""
        for what, body in (("look", folders), ("publish_look", None)):
            for member, answer in (await self.all(what, body)).items():
                if isinstance(answer, SluiceError):
                    logger.error("worker %d could not follow: %s", member.slot, answer.message)
                    member.kill(f"could not {what.partition('_')[0]}")

    async def _put_in_force(self, what: str, body: Any) -> None:
        """It is written, so it holds: who fails is replaced by one that begins with it."""
        for member, answer in (await self.all(what, body)).items():
            if isinstance(answer, SluiceError):
                logger.error("worker %d could not follow: %s", member.slot, answer.message)
                member.kill(f"could not {what.partition('_')[0]}")
            else:
                member.revision, member.troubles = self.state.revision, answer

    async def all(self, what: str, body: Any = None) -> dict[Member, Any]:
        """What each member answers or raises, without those that ended before they did either."""
        began = asyncio.get_running_loop().time()
        tasks = {asyncio.create_task(_answer(member, what, body)): member for member in self.members}
        if not tasks:
            return {}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            elapsed = asyncio.get_running_loop().time() - began
            patience = max(self._settings.worker_timeout, SLOWER * elapsed)
            _, late = await asyncio.wait(tasks, timeout=patience)
            for task in late:
                tasks[task].kill(f"did not answer '{what}'")
            if late:
                await asyncio.wait(late)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        answers = {member: task.result() for task, member in tasks.items() if not isinstance(task.result(), Gone)}
        # what goes wrong in one that has said goodbye meanwhile goes wrong for nobody
        return {m: a for m, a in answers.items() if m in self.members or not isinstance(a, SluiceError)}

    async def any(self, what: str, body: Any = None) -> Any:
        """What one of them answers. Raises what it raised, Unavailable where there is none."""
        for member in list(self.members):
            answer = await _answer(member, what, body)
            if isinstance(answer, Gone):
                continue
            if isinstance(answer, SluiceError):
                raise answer
            return answer
        raise _nobody()


async def _answer(member: Member, what: str, body: Any) -> Any:
    """The answer, or the error as a value."""
    try:
        return await member.call(what, body)
    except SluiceError as error:
        return error


def _raise_first(answers: Mapping[Member, Any]) -> None:
    for answer in answers.values():
        if isinstance(answer, SluiceError):
            raise answer


def _nobody() -> Unavailable:
    return Unavailable("no worker is up, try again", retry_after=1.0)
