"""The files that a load call brings along, in a private temporary folder for as long as they are served."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

from gateway.core.errors import InvalidArgument
from gateway.models.names import check_model
from gateway.models.repository import ModelFolder, read_folder

PREFIX: Final = "sluice-"
#: no model is called so
OWNER: Final = ".owner"


class Staged:
    """A model's folder made of files in memory. Blocks on the disk.

    `digest` is of names and contents: the same files brought again are no change.
    """

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        """`files`: path in the model's folder, as `1/model.onnx`, with or without `file:` before it → content.

        Raises InvalidArgument for a path that leads out of the folder, or where there is no version among them.
        """
        check_model(name)
        self.digest = _digest(files)
        checked = {_checked(path): content for path, content in files.items()}
        self._home = Path(tempfile.mkdtemp(prefix=PREFIX))  # mode 0700
        self._owned = -1
        try:
            self._owned = _own(self._home)
            self.folder = self._write(name, checked)
        except BaseException:
            self.remove()
            raise

    def _write(self, name: str, files: Mapping[tuple[str, ...], bytes]) -> ModelFolder:
        top = self._home / name
        for parts, content in files.items():
            path = top.joinpath(*parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except OSError as error:
                raise InvalidArgument(
                    f"failed to load '{name}': file '{'/'.join(parts)}' cannot be written: {error.strerror}"
                ) from error
        folder = read_folder(name, top, self._home)
        if folder is None or not folder.versions:
            raise InvalidArgument(
                f"failed to load '{name}': no file is in a version's folder, expected one such as 'file:1/model.onnx'"
            )
        return folder

    def remove(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        if self._owned >= 0:
            os.close(self._owned)
            self._owned = -1


def sweep() -> int:
    """Removes what processes that were killed have left behind; returns how many folders. Blocks on the disk.

    Whose owner lives is locked by him, and what has no such lock is somebody else's.
    """
    removed = 0
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if home.is_symlink() or home.stat().st_uid != os.geteuid():
                continue
            owned = os.open(home / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(home, ignore_errors=True)
            removed += 1
        finally:
            os.close(owned)
    return removed


def _own(home: Path) -> int:
    """A lock that the kernel gives up when this process dies. It has its name from when on it is held: so that nobody
    finds it free before."""
    number, made = tempfile.mkstemp(dir=home, prefix=".")
    fcntl.flock(number, fcntl.LOCK_EX)
    Path(made).rename(home / OWNER)
    return number


def _checked(path: str) -> tuple[str, ...]:
    parts = tuple(path.removeprefix("file:").split("/"))
    if {"", ".", ".."} & set(parts) or not path.isprintable() or "\\" in path or len(parts) > 8:
        raise InvalidArgument(
            f"failed to load: file {path[:80]!r} is refused, expected a path inside the model's folder"
        )
    return parts


def _digest(files: Mapping[str, bytes]) -> str:
    digest = blake2b(digest_size=16)
    for path, content in sorted(files.items()):
        name = path.encode("utf-8", "surrogatepass")
        digest.update(b"%d %d\n" % (len(name), len(content)))
        digest.update(name)
        digest.update(content)
    return digest.hexdigest()
