"""The audit trail of a process that runs beside the gateway."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Unpack

from gateway.control.caller import Caller, act
from gateway.core.errors import SluiceError
from gateway.store.view import Notebook

logger = logging.getLogger("sluice.control")


class Beside:
    """A `Note`. Where the store is gone it is in the log alone, since what was done is done."""

    def __init__(self, view: Notebook) -> None:
        self._view: Final = view

    async def __call__(
        self, action: str, target: str, detail: Mapping[str, object] | None = None, **by: Unpack[Caller]
    ) -> None:
        entry = act(by, action, target, **(detail or {}))
        said = f"{action} {target}, by {entry.actor} from {entry.origin}"
        try:
            await self._view.note(entry)
        except SluiceError as error:
            logger.warning("%s, is not in the audit trail: %s", said, error.message)
        else:
            logger.info("%s", said)
