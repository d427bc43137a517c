"""The versions that a route is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.models.manager import Handle, Manager


@contextmanager
def pinned(manager: Manager, model: str, version: str) -> Iterator[Handle]:
    """One version, which stays loaded meanwhile. Raises NotFound, Unavailable."""
    handle = manager.acquire(model, version)
    try:
        yield handle
    finally:
        handle.release()


def numbers(manager: Manager, model: str) -> list[str]:
    """The versions of `model` that are ready, in numeric order."""
    return sorted((key for key, handle in manager.present(model).items() if key == handle.id.version), key=int)


def ready_models(manager: Manager) -> list[str]:
    """The models with a version that is ready, by name."""
    return sorted({status.name for status in manager.index() if status.state == "READY"})
