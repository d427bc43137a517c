"""One stream in one process: under its lease if it needs one, paused or not, until it is stopped or has ended."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gateway.core.errors import NotFound, SluiceError, Unavailable, Unsupported
from gateway.core.signature import Signature
from gateway.core.stream import Context
from gateway.dataplane import Dataplane
from gateway.pipeline.declared import build
from gateway.pipeline.declared.spec import Stream
from gateway.pipeline.hosting import metrics
from gateway.pipeline.hosting.lease import Lease
from gateway.pipeline.limited import Limited
from gateway.pipeline.policy import Breaker, Errors, Policy
from gateway.pipeline.redrive import Redriver
from gateway.pipeline.runner import Runner
from gateway.pipeline.status import Status
from gateway.store.leases import Leases

logger = logging.getLogger("sluice.streams")

#: seconds between two tries of what is not there yet
PAUSE: Final = 1.0
#: what a pause is remembered by, in the stream's own folder; its content is the reason
PAUSED: Final = "paused"


class Station:
    """Belongs to the event loop. `owner` names this process in leases, which last so many seconds unless renewed."""

    def __init__(
        self, stream: Stream, dataplane: Dataplane, state: Path, leases: Leases, owner: str, lasts: float = 10.0
    ) -> None:
        """Raises StreamError where its connectors cannot be."""
        self.stream: Final = stream
        self.name: Final = stream.name
        self._dataplane = dataplane
        self._state = state
        self._folder: Final = build.folder_of(stream, state)
        found = build.parts(stream, state)
        self.guarantee: Final = found.guarantee
        self.order: Final = found.order
        self._shared: Final = found.input.source.shared
        self._names: Final = {
            "input": found.input.source.name,
            "output": found.output.sink.name,
            "dead_letters": found.dead.sink.name if found.dead else f"{found.output.sink.name}, with the results",
        }
        self._keeps: Final = found.dead is None
        self._lease: Final = Lease(leases, f"stream/{stream.name}", owner, lasts)
        self._leases = leases
        self._runner: Runner | None = None
        self._last: Status | None = None
        self._task: asyncio.Task[object] | None = None
        self._reason = ""
        self._stopping = False
        self._turn: Final = asyncio.Lock()

    # ---- its life

    async def run(self) -> None:
        """Returns when it was stopped, or its input has ended."""
        while not self._stopping:
            self._task = asyncio.ensure_future(self._work() if self._shared else self._lease.hold(self._work))
            try:
                await asyncio.wait([self._task])
            finally:
                if not self._task.done():
                    self._task.cancel()
                    await asyncio.wait([self._task])
            if self._task.cancelled():
                continue
            if error := self._task.exception():
                await self._failed(error)
            elif self._last is not None and self._last.state == "finished":
                return

    def stop(self) -> None:
        """Reads no more; what is in flight is done with, within the stream's `drain` seconds."""
        self._stopping = True
        if self._runner is not None:
            self._runner.drain()
        elif self._task is not None:
            self._task.cancel()

    async def _failed(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            raise error
        self._reason = error.message if isinstance(error, SluiceError) else f"{type(error).__name__}: {error}"
        if isinstance(error, SluiceError):
            logger.error("stream %s cannot run: %s", self.name, error.message)
        else:
            logger.error("stream %s failed", self.name, exc_info=error)
        for _ in range(10):
            if not self._stopping:
                await asyncio.sleep(PAUSE)

    async def _work(self) -> None:
        signature = await self._signature()
        runner = build.runner(self.stream, build.parts(self.stream, self._state), self._dataplane, signature)
        self._reason = ""
        paused = self._paused()
        if paused:
            runner.pause(paused)
        self._runner = runner
        if self._stopping:
            runner.drain()
        try:
            await runner.run()
        finally:
            self._last = runner.status()
            self._runner = None

    async def _signature(self) -> Signature:
        """Waits for the model."""
        model = self.stream.model
        while True:
            try:
                return self._dataplane.resolve(model.name, model.version, "")[1]
            except (NotFound, Unavailable) as error:
                if not self._reason:
                    logger.warning("stream %s waits for its model: %s", self.name, error.message)
                self._reason = f"model: {error.message}"
            await asyncio.sleep(PAUSE)

    # ---- from outside

    @property
    def here(self) -> bool:
        """Whether this process runs it; else it stands by, or waits."""
        return self._runner is not None

    def pause(self, reason: str) -> None:
        """Until it is resumed, also over a restart."""
        reason = reason or "paused by an operator"
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / PAUSED).write_text(reason, encoding="utf-8")
        if self._runner is not None:
            self._runner.pause(reason)

    def resume(self) -> None:
        (self._folder / PAUSED).unlink(missing_ok=True)
        if self._runner is not None:
            self._runner.resume()

    def _paused(self) -> str:
        with suppress(OSError, UnicodeDecodeError):
            return (self._folder / PAUSED).read_text(encoding="utf-8") or "paused"
        return ""

    async def redrive(self, limit: int | None) -> dict[str, int]:
        """Puts dead letters back to where their records were read; the stream pauses meanwhile. Returns how many, and
        how many could not be. Raises Unsupported, Unavailable."""
        async with self._turn:
            runner = self._runner
            if runner is None:
                raise Unavailable(f"stream '{self.name}' does not run in this process: it is {self.state}")
            back = self._redriving(limit)
            paused = runner.status().state in ("paused", "pausing")
            try:
                if not paused:
                    runner.pause("its dead letters are put back")
                await self._at_rest(runner)
                await back.run()
            finally:
                if not paused:
                    runner.resume()
        done = back.status()
        return {"records": done.written, "left": done.dead}

    def _redriving(self, limit: int | None) -> Runner:
        """What cannot be put back goes to files below `redrive`."""
        connector = self.stream.output if self._keeps else build.dead_letters(self.stream, self._state)
        back = self.stream.input.adapter.redrive
        if back is None:
            raise Unsupported(f"adapter '{self.stream.input.adapter.name}' cannot put records back")
        if connector.adapter.letters is None:
            raise Unsupported(f"adapter '{connector.adapter.name}' does not give dead letters back")
        folder = self._folder / "redrive"
        context = Context(f"{self.name}.redrive", None, str(folder))
        letters = connector.adapter.letters(connector.settings, replace(context, pipeline=self.name), self._keeps)
        left = build.files(folder / "dead")
        return Runner(
            context.pipeline,
            letters if limit is None else Limited(letters, limit),
            back.open(self.stream.input.settings, context),
            left.door.open(left.settings, context),
            Redriver(),
            # what is no letter goes aside, however much there is of it: nobody would see the pause
            Policy(errors=Errors(breaker=Breaker(share=1.0))),
        )

    async def _at_rest(self, runner: Runner) -> None:
        """So that its connectors are closed, and files of dead letters are whole."""
        while True:
            if self._runner is not runner:
                raise Unavailable(f"stream '{self.name}' ended meanwhile")
            if runner.status().state == "paused":
                return
            await asyncio.sleep(0.02)

    # ---- what an operator sees

    @property
    def state(self) -> str:
        if self._runner is not None:
            return self._runner.status().state
        if self._last is not None and (self._stopping or self._last.state == "finished"):
            return self._last.state
        if self._reason:
            return "waiting"
        return "starting" if self._shared or self._lease.epoch else "standby"

    def status(self) -> Status:
        if self._runner is not None:
            return self._runner.status()
        return self._last or Status(
            name=self.name, state="starting", reason=self._reason, guarantee=str(self.guarantee)
        )

    def sample(self) -> dict[str, Any]:
        """For `metrics.write`."""
        return {"name": self.name, "state": self.state, "status": self.status()}

    def view(self) -> dict[str, Any]:
        """Fit for JSON."""
        status = self.status()
        model = self.stream.model
        return {
            "name": self.name,
            "file": self.stream.places.file,
            "state": self.state,
            "reason": status.reason if self._runner is not None else self._reason,
            "guarantee": str(self.guarantee),
            "order": self.order,
            **self._names,
            "model": model.name,
            "version": model.version,
            "here": self.here,
            "epoch": self._lease.epoch,
            "records": {
                name: getattr(status, name)
                for name in ("read", "scored", "written", "dead", "acknowledged", "skipped", "suppressed", "dropped")
            },
            "lag": {"records": metrics.records(status.lag), "seconds": metrics.seconds(status.lag)},
            "in_flight": {"records": status.in_flight, "bytes": status.in_flight_bytes, "oldest": status.oldest},
            "last_progress": status.progress,
            "retries": status.retries,
            "reconnects": status.reconnects,
            "lanes": {lane: {"records": lag.records, "seconds": lag.seconds} for lane, lag in status.lag.items()},
        }
