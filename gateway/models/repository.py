"""The models folder: `<root>/<model>/<version>/model.onnx`, as Triton reads it.

The root and a model's folder may be links, which the operator made to say where models lie. Below a model's folder a
link is followed only to what lies in the root or in that model's folder: models are often brought by others than
those who run the server.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

from gateway.core.errors import InvalidArgument, NotFound, Unavailable
from gateway.models.config.modelyaml import YAML_FILE
from gateway.models.config.pbtxt import CONFIG_FILE
from gateway.models.names import check_model, is_model, is_version

#: folders in a version's folder, one in the other
MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What lay in a model's folder when it was looked at.

    versions      version → fingerprint of all files in its folder
    fingerprint   of the files beside the versions: configs, label files, warm-up data
    root          what links may lead into, besides the folder itself
    error         why it could not be looked at; empty otherwise
    late          versions that were put there after the model was loaded: for those who name them, the policy
                  knows nothing of them
    """

    name: str
    path: Path
    versions: Mapping[str, str]
    fingerprint: str
    root: Path
    error: str = ""
    late: frozenset[str] = frozenset()

    def resolve(self, path: Path) -> Path:
        """The real path of a regular file below the folder.

        Raises InvalidArgument, naming the path from the model's folder on, where it leads out or is no such file.
        """
        shown = path.relative_to(self.path.parent)
        try:
            real = path.resolve(strict=True)
            mode = real.stat().st_mode
        except (OSError, RuntimeError) as error:
            raise InvalidArgument(f"'{shown}' is not there, or is a link to nowhere") from error
        if not any(real.is_relative_to(home) for home in (self.path.resolve(), self.root.resolve())):
            raise InvalidArgument(f"'{shown}' is a link that leads out of the model repository")
        if not stat.S_ISREG(mode):
            raise InvalidArgument(f"'{shown}' is not a regular file")
        return real

    def model_file(self, version: str, filename: str) -> Path:
        """The path of a version's model, links not followed. `filename` may also be a folder that holds a file
        of that name, as Triton takes it where a model has external data.

        Raises InvalidArgument as `resolve` does.
        """
        path = self.path / version / filename
        if path.is_dir():
            path = path / Path(filename).name
        self.resolve(path)
        return path


class Repository:
    """Reads; keeps nothing. Every method may block on the disk, so none belongs on the event loop."""

    def __init__(self, root: Path) -> None:
        self.root: Final = root

    def names(self) -> set[str]:
        """The models, without a look at their versions. Raises Unavailable where the root cannot be read."""
        return {name for name, path in self._folders() if _is_model_folder(path)}

    def scan(self) -> dict[str, ModelFolder]:
        """Raises Unavailable where the root cannot be read. A model that vanishes meanwhile is left out."""
        found = {}
        for name, path in self._folders():
            folder = read_folder(name, path, self.root)
            if folder is not None:
                found[name] = folder
        return found

    def model(self, name: str) -> ModelFolder:
        """Raises InvalidArgument for what cannot be a model's name, NotFound where there is no such folder."""
        path = self.root / check_model(name)
        folder = read_folder(name, path, self.root) if path.is_dir() else None
        if folder is None:
            raise NotFound(f"failed to load '{name}': there is no such model in the repository")
        if folder.error:
            raise Unavailable(f"failed to load '{name}': {folder.error}")
        return folder

    def _folders(self) -> Iterator[tuple[str, Path]]:
        try:
            with os.scandir(self.root) as entries:
                for entry in entries:
                    if is_model(entry.name) and entry.is_dir():
                        yield entry.name, Path(entry.path)
        except OSError as error:
            raise Unavailable(f"the model repository cannot be read: {error.strerror}") from error


def read_folder(name: str, path: Path, root: Path) -> ModelFolder | None:
    """None where it is no model's: it has neither a version nor a config, or is gone."""
    versions = {}
    beside = blake2b(digest_size=16)
    configured = False
    try:
        with os.scandir(path) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return ModelFolder(name, path, {}, "", root, f"its folder cannot be read: {error.strerror}")
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if is_version(entry.name) and entry.is_dir():
            versions[entry.name] = fingerprint(entry.path)
            continue
        configured = configured or entry.name in (CONFIG_FILE, YAML_FILE)
        beside.update(_stamp(entry.path, entry.name))
        if entry.is_dir(follow_symlinks=False):
            # label files and warm-up data lie at most one folder down
            for line in _walk(entry.path, 1):
                beside.update(line)
    if not versions and not configured:
        return None
    return ModelFolder(name, path, versions, beside.hexdigest(), root)


Snapshot = Mapping[str, ModelFolder]


def settled(accepted: Snapshot, before: Snapshot, now: Snapshot) -> dict[str, ModelFolder]:
    """What of the newest look at the repository can be trusted: a change counts once two looks agree on it.

    A folder that is being copied to changes from one look to the next, and is taken as it was accepted last. Pure.
    """
    result = {}
    folder: ModelFolder | None
    for name in {*accepted, *before, *now}:
        found = now.get(name)
        if found is not None and found.error:
            folder = accepted.get(name, found)  # a disk that hiccups takes no model away
        elif before.get(name) == found:
            folder = found
        else:
            folder = _settled_folder(accepted.get(name), before.get(name), now.get(name))
        if folder is not None:
            result[name] = folder
    return result


def _settled_folder(
    accepted: ModelFolder | None, before: ModelFolder | None, now: ModelFolder | None
) -> ModelFolder | None:
    if before is None or now is None:
        return accepted
    if before.fingerprint == now.fingerprint:
        base = now
    elif accepted is not None:
        base = accepted
    else:
        return None  # its config is still being written
    known = accepted.versions if accepted is not None else {}
    versions = {}
    for version in {*known, *before.versions, *now.versions}:
        same = before.versions.get(version) == now.versions.get(version)
        found = (now.versions if same else known).get(version)
        if found is not None:
            versions[version] = found
    return replace(base, versions=versions)


def fingerprint(folder: str) -> str:
    """Changes whenever a file below the folder is added, taken away, replaced or written to.

    Of each file its path, modification time, size and inode count, of a link those of what it leads to.
    """
    digest = blake2b(digest_size=16)
    for line in _walk(folder, MAX_DEPTH):
        digest.update(line)
    return digest.hexdigest()


def _walk(folder: str, depth: int) -> Iterator[bytes]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield f"{folder}: {error.errno}\n".encode("utf-8", "surrogateescape")
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if depth > 1:
                yield from _walk(entry.path, depth - 1)
        else:
            yield _stamp(entry.path, entry.path)


def _stamp(path: str, name: str) -> bytes:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path for each file of a large repository is felt
    except OSError as error:
        line = f"{name}\0{error.errno}\n"
    else:
        folder = stat.S_ISDIR(found.st_mode)
        line = f"{name}\n" if folder else f"{name}\0{found.st_mtime_ns} {found.st_size} {found.st_ino}\n"
    return line.encode("utf-8", "surrogateescape")


def _is_model_folder(path: Path) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(
                entry.name in (CONFIG_FILE, YAML_FILE) or (is_version(entry.name) and entry.is_dir())
                for entry in entries
            )
    except OSError:
        return False
