"""The admin token: from the settings, or one that the first start makes and keeps in the state folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from gateway.settings.load import SettingsError
from gateway.settings.schema import Settings

FILE: Final = "admin-token"


def admin_token(settings: Settings) -> str:
    """The server's. The state folder must exist, and be this process's own. Raises SettingsError."""
    if token := find_token(settings):
        return token
    path = Path(settings.state) / FILE
    token = secrets.token_urlsafe(32)
    fresh = path.with_suffix(".new")
    try:
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "w") as stream:
            stream.write(token + "\n")
        fresh.replace(path)
    except OSError as error:
        raise SettingsError(f"state: the admin token cannot be written to '{path}': {error.strerror}") from error
    return token


def find_token(settings: Settings) -> str:
    """What a command of this machine presents; "" where there is none to be found. Raises SettingsError."""
    if settings.admin_token:
        return settings.admin_token
    if settings.admin_token_file:
        token = read_secret(Path(settings.admin_token_file), "admin_token_file", "the admin token")
        if not token:
            raise SettingsError(f"admin_token_file: expected a token in '{settings.admin_token_file}', found none")
        return token
    path = Path(settings.state) / FILE
    return read_secret(path, "state", "the admin token") if path.exists() else ""


def read_secret(path: Path, key: str, what: str) -> str:
    """A file's only line. Raises SettingsError."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"{key}: {what} cannot be read from '{path}': {reason}") from error
