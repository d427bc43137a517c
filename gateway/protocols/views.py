"""What the admin port shows: models as they are, splits and labels as they are desired."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from gateway.control.desired import Desired
from gateway.core.errors import NotFound, Unavailable
from gateway.core.tensor import TensorSpec
from gateway.models.manager import Handle, Manager, VersionStatus
from gateway.store.contract import AuditEntry

View = dict[str, Any]


class Inventory(Protocol):
    """What models there are, in this process or in all workers."""

    async def models(self) -> list[View]:
        """Those of the repository that nobody loaded, too; as of the last look where it cannot be read now."""
        ...

    async def model(self, name: str) -> View:
        """With its inputs and outputs, where a version is ready. Raises NotFound."""
        ...


class LocalInventory:
    """`desired` tells what is desired now."""

    def __init__(self, manager: Manager, desired: Callable[[], Desired]) -> None:
        self._manager = manager
        self._desired = desired

    async def models(self) -> list[View]:
        with suppress(Unavailable):
            await self._manager.refresh()
        return models_view(self._manager, self._desired())

    async def model(self, name: str) -> View:
        return model_view(self._manager, self._desired(), name)


def models_view(manager: Manager, desired: Desired) -> list[View]:
    by_model: dict[str, list[VersionStatus]] = {}
    for status in manager.index():
        by_model.setdefault(status.name, []).append(status)
    return [_model(manager, desired, name, statuses) for name, statuses in sorted(by_model.items())]


def model_view(manager: Manager, desired: Desired, model: str) -> View:
    """With its inputs and outputs, where a version is ready. Raises NotFound."""
    statuses = [status for status in manager.index() if status.name == model]
    if not statuses:
        raise NotFound(f"Request for unknown model: '{model}' is not found")
    view = _model(manager, desired, model, statuses)
    handles = _ready(manager, model)
    if handles:
        signature = handles[max(handles, key=int)].servable.signature
        view["inputs"] = _tensors(signature.inputs.values())
        view["outputs"] = _tensors(signature.outputs.values())
        view["batched"] = signature.batched
        view["max_batch_size"] = signature.max_batch_size
    return view


def split_view(desired: Desired, model: str) -> View:
    split = desired.splits[model]
    return {
        "revision": desired.revision,
        "model": model,
        "weights": dict(split.arms),
        "salt": split.salt,
        "source": "settings" if ("split", model) in desired.from_settings else "api",
    }


def audit_view(entry: AuditEntry) -> View:
    return {
        "id": entry.id,
        "at": moment(entry.at),
        "actor": entry.act.actor,
        "origin": entry.act.origin,
        "action": entry.act.action,
        "target": entry.act.target,
        "before": entry.before,
        "after": entry.after,
        "detail": entry.act.detail,
    } | ({"machine": entry.machine} if entry.machine else {})


def moment(seconds: float) -> str:
    """Seconds since the epoch, as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _model(manager: Manager, desired: Desired, model: str, statuses: Iterable[VersionStatus]) -> View:
    handles = _ready(manager, model)
    labels = {
        name: handle.id.version
        for name, handle in sorted(manager.present(model).items())
        if name and name != handle.id.version
    } if handles else {}  # fmt: skip
    view: View = {
        "name": model,
        "versions": [_version(status, handles.get(status.version), labels) for status in statuses if status.version],
        "labels": labels | dict(desired.labels.get(model, {})),
    }
    if reason := next((status.reason for status in statuses if not status.version and status.reason), ""):
        view["reason"] = reason
    if model in desired.splits:
        view["split"] = dict(desired.splits[model].arms)
    return view


def _version(status: VersionStatus, handle: Handle | None, labels: dict[str, str]) -> View:
    view: View = {
        "version": status.version,
        "state": status.state,
        "labels": [label for label, version in labels.items() if version == status.version],
    }
    if status.reason:
        view["reason"] = status.reason
    if handle:
        view["succeeded"] = handle.statistics.success_count
        view["failed"] = handle.statistics.fail_count
        view["pending"] = handle.servable.pending()
    return view


def _ready(manager: Manager, model: str) -> dict[str, Handle]:
    try:
        present = manager.present(model)
    except NotFound:
        return {}
    return {key: handle for key, handle in present.items() if key == handle.id.version}


def _tensors(specs: Iterable[TensorSpec]) -> list[View]:
    return [{"name": s.name, "datatype": s.datatype.name, "shape": list(s.shape)} for s in specs]
