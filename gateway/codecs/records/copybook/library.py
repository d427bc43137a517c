"""Where COPY finds its texts: the copybook's own folder, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.core.errors import InvalidArgument

#: suffixes that a COPY leaves out
_SUFFIXES: Final = frozenset({"", ".cpy", ".cbl", ".cob", ".cobol", ".copy", ".inc", ".txt"})
#: bytes of one text; more is no copybook
_MOST: Final = 4 << 20


class Library:
    """Raises InvalidArgument for what is not there, is there twice, or lies elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder

    def read(self, name: str) -> tuple[str, str]:
        """The file and its text. Capitals do not matter, nor does a suffix that is left out."""
        found = self._find(name)
        try:
            with found.open("rb") as file:
                data = file.read(_MOST + 1)
        except OSError as error:
            raise InvalidArgument(f"file '{found}' cannot be read: {error.strerror}") from error
        if len(data) > _MOST:
            raise InvalidArgument(f"file '{found}' has more than {_MOST} bytes, expected a copybook")
        return found.name, data.decode("utf-8", "replace")

    def _find(self, name: str) -> Path:
        if "/" in name or "\\" in name or "\0" in name or name.startswith("."):
            raise InvalidArgument(f"COPY names '{name}', expected a file in the copybook's folder, by its name alone")
        try:
            files = sorted(self._folder.iterdir())
        except OSError as error:
            raise InvalidArgument(f"folder '{self._folder}' cannot be read: {error.strerror}") from error
        wanted = name.lower()
        found = [file for file in files if file.name.lower() == wanted] or [
            file for file in files if file.stem.lower() == wanted and file.suffix.lower() in _SUFFIXES
        ]
        if len(found) != 1:
            what = f"has {', '.join(file.name for file in found)}" if found else "has no such file"
            raise InvalidArgument(f"COPY names '{name}', but '{self._folder}' {what}: expected one, '{wanted}.cpy' say")
        if found[0].resolve().parent != self._folder.resolve():
            raise InvalidArgument(f"COPY names '{name}', but '{found[0]}' is a link to elsewhere, expected a file")
        return found[0]
