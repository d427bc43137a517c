"""Tensors whose data is not in the model's file: where it may be, and whether it is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG

from gateway.core.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class External:
    """A tensor whose data is in another file: `length` bytes of it from `offset` on."""

    tensor: str
    location: str
    offset: int
    length: int


def check(model: str, externals: Iterable[External], folder: Path) -> None:
    """Raises InvalidArgument, naming the file `model`, tensor and file, for data that is not a file of its own in
    `folder`.

    Links are resolved. A file with a second hard link is refused: it may be anyone's.
    """
    root = folder.resolve()
    sizes: dict[str, int] = {}
    for item in externals:
        where = f"external data of tensor '{item.tensor}' in {model}: '{item.location}'"
        if item.location not in sizes:
            sizes[item.location] = _size(item.location, root, where)
        if sizes[item.location] < item.offset + item.length:
            found, expected = sizes[item.location], item.offset + item.length
            raise InvalidArgument(f"{where} has {found} bytes, expected at least {expected}")


def _size(location: str, root: Path, where: str) -> int:
    """Bytes of the file at `location` in `root`. Raises InvalidArgument where it must not be read."""
    path = PurePosixPath(location)
    # onnxruntime takes this name for an address in its own memory
    if not location or "\0" in location or "_ORT_MEM_ADDR_" in location:
        raise InvalidArgument(f"{where} is not the name of a file")
    if path.is_absolute() or ".." in path.parts:
        raise InvalidArgument(f"{where} is not a relative path inside the version's folder")
    try:
        target = (root / location).resolve(strict=True)
        status = target.stat()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is a circle of links"
        raise InvalidArgument(f"{where} cannot be read: {reason}") from error
    if not target.is_relative_to(root):
        raise InvalidArgument(f"{where} is a link that leads out of the version's folder")
    if not S_ISREG(status.st_mode):
        raise InvalidArgument(f"{where} is not a regular file")
    if status.st_nlink > 1:
        raise InvalidArgument(f"{where} has {status.st_nlink} hard links, expected 1: it may be anyone's file")
    return status.st_size
