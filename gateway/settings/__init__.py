"""What the operator decides: one frozen `Settings`, from a file, the environment and the command line."""

from gateway.settings.cores import granted
from gateway.settings.load import SettingsError, check_files, load
from gateway.settings.schema import (
    Batching,
    Compression,
    Limits,
    Log,
    Queue,
    Restricted,
    Settings,
    SplitSetting,
    Tls,
    Tracing,
)
from gateway.settings.token import admin_token, find_token

__all__ = [
    "Batching",
    "Compression",
    "Limits",
    "Log",
    "Queue",
    "Restricted",
    "Settings",
    "SettingsError",
    "SplitSetting",
    "Tls",
    "Tracing",
    "admin_token",
    "check_files",
    "find_token",
    "granted",
    "load",
]
