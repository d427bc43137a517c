"""A file that lies beside a model's versions and says how it is served."""

from __future__ import annotations

from pathlib import Path

from gateway.core.errors import InvalidArgument


def read(folder: Path, name: str, most: int) -> bytes | None:
    """None: the model's folder has no such file. Raises InvalidArgument that names a file which cannot be read, or has
    more than `most` bytes."""
    source = f"{folder.name}/{name}"
    try:
        with (folder / name).open("rb") as file:
            found = file.read(most + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidArgument(f"{source} cannot be read: {error.strerror}") from error
    if len(found) > most:
        raise InvalidArgument(f"{source} is over {most} bytes long")
    return found
