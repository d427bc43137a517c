"""Makes a version ready to serve, and frees it again: threads, files and memory. TensorFlow Serving's Loader."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gateway.core.errors import Internal, InvalidArgument, SluiceError
from gateway.core.observe import Statistics
from gateway.core.servable import Executable, Servable, ServableId
from gateway.models.config import ModelConfig, VersionPolicy
from gateway.models.config.modelyaml import YAML_FILE, apply_yaml
from gateway.models.config.pbtxt import CONFIG_FILE, read_config
from gateway.models.handle import Handle
from gateway.models.repository import ModelFolder

logger = logging.getLogger("sluice.models")


def silent(model: str, seconds: float | None) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs models, given by the composition root.

    load    the model's file and config → what computes; called in a thread
    warm    runs it until it is warm, and measures; called in a thread. What it returns goes to `serve`
    serve   makes it answer requests; called on the event loop. Closing the servable closes the executable

    told    hears of each load, on the event loop: the model, and the seconds that it took, None where it failed

    The first three raise SluiceError where the model is to blame.
    """

    load: Callable[[Path, ModelConfig], Executable]
    warm: Callable[[Executable, ModelConfig], Any]
    serve: Callable[[Executable, ModelConfig, Statistics, Any], Servable]
    told: Callable[[str, float | None], None] = silent


class Loader:
    """Loads in a few threads of its own, so that many models at once starve nothing."""

    def __init__(self, engine: Engine, threads: int = 2) -> None:
        self._engine = engine
        self._pool: Final = ThreadPoolExecutor(threads, thread_name_prefix="sluice-load")

    async def load(self, folder: ModelFolder, version: str, config: ModelConfig, statistics: Statistics) -> Handle:
        """A version, warm, that nobody can acquire yet. Raises SluiceError."""
        try:
            loop = asyncio.get_running_loop()
            opened = await loop.run_in_executor(self._pool, self._open, folder, version, config)
            executable, config, warmed, seconds = opened
            try:
                servable = self._engine.serve(executable, config, statistics, warmed)
            except BaseException:
                await asyncio.to_thread(executable.close)
                raise
        except SluiceError:
            self._engine.told(folder.name, None)
            raise
        except Exception as error:
            self._engine.told(folder.name, None)
            logger.exception("%s/%s failed to load", folder.name, version)
            raise Internal(f"{type(error).__name__}; the server's log has the reason") from error
        self._engine.told(folder.name, seconds)
        logger.info("%s/%s is loaded, in %.3f s", folder.name, version, seconds)
        return Handle(ServableId(folder.name, version), servable, statistics, config)

    def _open(
        self, folder: ModelFolder, version: str, config: ModelConfig
    ) -> tuple[Executable, ModelConfig, Any, float]:
        """What computes, its config, what `warm` returned, and the seconds that it took."""
        began = time.monotonic()
        config = _with_files(folder, config)
        executable = self._engine.load(folder.model_file(version, config.filename), config)
        try:
            warmed = self._engine.warm(executable, config)
            return executable, config, warmed, time.monotonic() - began
        except BaseException:
            executable.close()
            raise

    async def free(self, handle: Handle) -> None:
        """Waits for the requests that pin it, then closes it."""
        await handle.drained()
        try:
            await handle.servable.close()
        except Exception:
            logger.exception("%s/%s failed to close", *handle.id)

    def close(self) -> None:
        self._pool.shutdown(wait=False)


def read(folder: ModelFolder, override: ModelConfig | None) -> ModelConfig:
    """The config of a model: the override or else its config.pbtxt, and above it its model.yaml. Blocks.

    Raises InvalidArgument that names the file.
    """
    if folder.error:
        raise InvalidArgument(folder.error)
    for name in (CONFIG_FILE, YAML_FILE):
        path = folder.path / name
        if path.exists() or path.is_symlink():
            folder.resolve(path)
    config = read_config(folder.path) if override is None else replace(override, name=folder.name)
    return apply_yaml(folder.path, config)


def essence(config: ModelConfig) -> ModelConfig:
    """What of a config an instance is made with: a change in the rest needs no new one."""
    return replace(config, labels={}, policy=VersionPolicy(), declared=None)


def has_files(config: ModelConfig) -> bool:
    """It names label files or warm-up data, so that a change in those is a change of the model."""
    return any(tensor.label_file for tensor in config.outputs) or any(
        value.file for sample in config.warmup for value in sample.inputs.values()
    )


def _with_files(folder: ModelFolder, config: ModelConfig) -> ModelConfig:
    """Looks where the files that a config names really lie; warm-up data by its whole path from here on."""
    for tensor in (*config.inputs, *config.outputs):
        if tensor.label_file:
            folder.resolve(folder.path / tensor.label_file)
    warmup = tuple(
        replace(
            sample,
            inputs={
                name: replace(value, file=str(folder.resolve(folder.path / value.file))) if value.file else value
                for name, value in sample.inputs.items()
            },
        )
        for sample in config.warmup
    )
    return replace(config, warmup=warmup)
