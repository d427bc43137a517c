"""Adapters by name: entry points of the group ``sluice.adapters``, ours and others' alike, imported when used."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from gateway.core.errors import InvalidArgument, NotFound, Unsupported
from gateway.core.stream import Adapter
from gateway.pipeline.declared.problem import nearest

GROUP: Final = "sluice.adapters"

#: our own package, whose extras are named after the adapters
_OWN: Final = "sluice"
#: packages that are not named as the extra that brings them
_EXTRAS: Final = {"asyncpg": "postgresql", "asyncmy": "mariadb"}


@cache
def _points() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        # an adapter of another package may not take the place of ours
        if point.name not in found or _package(point) == _OWN:
            found[point.name] = point
    return dict(sorted(found.items()))


def names() -> list[str]:
    """Every adapter that is installed; what it needs may not be."""
    return list(_points())


def ours() -> list[str]:
    """Those of this package; others have docs of their own."""
    return [name for name, point in _points().items() if _package(point) == _OWN]


@cache
def adapter(name: str) -> Adapter:
    """Raises NotFound for an unknown name, Unsupported where a package is missing, InvalidArgument for no adapter."""
    point = _points().get(name)
    if point is None:
        raise NotFound(f"there is no adapter '{name}'{nearest(name, names())}")
    try:
        module = point.load()
    except ImportError as error:
        raise Unsupported(missing(name, error, _package(point))) from error
    except Exception as error:
        raise InvalidArgument(f"adapter '{name}' cannot be loaded: {type(error).__name__}: {error}") from error
    found = getattr(module, "adapter", module)
    if not isinstance(found, Adapter):
        raise InvalidArgument(f"adapter '{name}' is {point.value}, which has no `adapter` of the type Adapter")
    return found


def missing(name: str, error: ImportError, package: str = _OWN) -> str:
    """What to install."""
    needed = (error.name or "").partition(".")[0]
    what = f"needs the package {needed}, which is not installed" if needed else f"cannot be imported ({error})"
    extra = f"{_OWN}[{_EXTRAS.get(needed, name)}]" if package == _OWN else package
    return f"adapter '{name}' {what}: pip install '{extra}'"


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else ""
