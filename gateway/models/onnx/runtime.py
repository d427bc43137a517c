"""onnxruntime's sessions: how models are opened, on which threads, and run."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gateway.core.errors import InvalidArgument, SluiceError
from gateway.core.servable import RunOptions
from gateway.core.signature import Signature
from gateway.core.tensor import Array
from gateway.models.config import ModelConfig, Threading
from gateway.models.memory import trim
from gateway.models.onnx.declaration import Declared, derive, read_labels, unbatched
from gateway.models.onnx.failure import cleaned, translated
from gateway.models.onnx.graph import Graph
from gateway.models.onnx.reader import read_graph
from gateway.models.onnx.runner import Run, closed, runner
from gateway.models.threads import make_pool
from gateway.models.warmup import agrees, fastest, sample

# Before it is loaded: the official builds report to their maker from then on, with a thread and a cache on disk.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

logger = logging.getLogger("sluice.models")

#: a model whose file is smaller is tried in the caller's thread alone, and stays there if a row takes less time
SMALL_BYTES: Final = 8 << 20
BRIEF_NS: Final = 1_000_000

FATAL: Final = 4  # what goes wrong is raised, so that the runtime has nothing to print

#: the module onnxruntime, which the first Runtime imports, once the pool is there
ort: Any = None


@dataclass(frozen=True, slots=True)
class _Pool:
    """What the process's first Runtime made."""

    threads: int
    only: bool  # no model may have threads of its own beside it
    # A run without options builds its own each time: 4.9 µs instead of 4.3 for the smallest model.
    options: Any


_pool: _Pool | None = None


class Runtime:
    """Loads models.

    threads     1: a model computes in the thread of the caller. More: in that and one pool for all models of the
                process, whose threads sleep between runs and whose number stays what it is. A model that is measured
                as brief computes in the caller's thread alone; one whose config asks for threads has those instead,
                which spin during its runs only. onnxruntime makes the pool once, so the first Runtime of the process
                decides.
                Where onnxruntime is not one that threads.py knows: with more than 1 the pool's threads spin for up to
                50 ms after each run that they had a part in, and what a model's config asks for is ignored.
    providers   onnxruntime's execution providers, in order of preference

    Raises InvalidArgument for a provider that this build does not have.
    """

    def __init__(self, threads: int, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        self._pool = _share_pool(threads)
        available = ort.get_available_providers()
        for name in providers:
            if name not in available:
                raise InvalidArgument(
                    f"execution provider '{name}' is not in this onnxruntime, which has {', '.join(available)}"
                )
        self._providers = list(providers)

    def load(self, path: Path, config: ModelConfig) -> OnnxModel:
        """Opens `<models>/<name>/<version>/model.onnx`; blocks for as long as that takes.

        Raises InvalidArgument where the model or its config is wrong.
        """
        folder = path.parents[len(Path(config.filename).parts)]
        graph = read_graph(path)
        graph.check_external(path.parent)
        spliced = graph.without_zipmap()
        shares = self._pool.threads > 1 and not self._pool.only and config.threading == Threading()
        if shares and path.stat().st_size < SMALL_BYTES:
            # waking the pool costs more than it gives: a small tree took 11 µs instead of 5
            alone = self._open(path, graph, spliced, replace(config, threading=Threading(intra_op=1)), folder)
            if _is_brief(alone):
                return alone
            alone.close()
        return self._open(path, graph, spliced, config, folder)

    def _open(self, path: Path, graph: Graph, spliced: bytes | None, config: ModelConfig, folder: Path) -> OnnxModel:
        options = self._options(folder.name, config.threading)
        if spliced is not None and graph.externals:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        try:
            session = ort.InferenceSession(
                str(path) if spliced is None else spliced, options, self._providers, enable_fallback=0
            )
        except Exception as error:
            raise InvalidArgument(f"{path.name} cannot be loaded: {cleaned(error, path.parent)}") from error
        signature = _signature(session, graph, config, folder)
        model = OnnxModel(signature, runner(session, signature, config), self._pool.options)
        del session, spliced
        if config.max_batch_size is None and signature.batched and not agrees(model):
            logger.info("%s: its rows depend on each other, it is served without batching", folder.name)
            model.signature = unbatched(signature)
        trim()
        return model

    def _options(self, name: str, threading: Threading) -> Any:
        options = ort.SessionOptions()
        options.log_severity_level = FATAL
        # Memory goes back to the C library after each run: with an arena a convnet holds 46 MB more, patterns are kept
        # for every shape ever seen, and neither made any model measurably faster.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if self._pool.threads > 1 and (self._pool.only or threading == Threading()):
            if threading != Threading():
                logger.warning("%s: its own threads are ignored, all models share %d", name, self._pool.threads)
            options.use_per_session_threads = False
            return options
        options.intra_op_num_threads = threading.intra_op or 1
        options.inter_op_num_threads = threading.inter_op or 1
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if threading.inter_op > 1:
            options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        return options


def _is_brief(model: OnnxModel) -> bool:
    try:
        return fastest(model, sample(model.signature, 1), time.perf_counter() + 0.05) < BRIEF_NS
    except SluiceError:
        return False


class OnnxModel:
    """An Executable (core/servable.py)."""

    __slots__ = ("_options", "_run", "signature")

    def __init__(self, signature: Signature, run: Run, options: Any) -> None:
        self.signature = signature
        self._run = run
        self._options = options

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], options: Any = None) -> list[Array]:
        """The runtime's own method, without `InferenceSession.run` round it: 4.3 µs instead of 6.3 for the smallest
        model."""
        try:
            return self._run(outputs, inputs, options or self._options)
        except Exception as error:
            raise translated(error) from error

    def run_options(self) -> RunOptions:
        options: RunOptions = ort.RunOptions()
        return options

    def close(self) -> None:
        """Frees the model. Whoever calls knows that no run is left."""
        self._run = closed
        trim()


def _share_pool(threads: int) -> _Pool:
    """Imports onnxruntime and makes the process's pool at the first call."""
    global _pool, ort  # noqa: PLW0603 both are the process's
    threads = max(threads, 1)
    if _pool is None:
        # before the import, which is why that is here
        quiet = threads == 1 or make_pool(threads)
        ort = importlib.import_module("onnxruntime")
        ort.disable_telemetry_events()
        ort.set_default_logger_severity(FATAL)
        if not quiet:
            ort.set_global_thread_pool_sizes(threads, 1)
        _pool = _Pool(threads, not quiet, ort.RunOptions())
    elif _pool.threads != threads:
        logger.warning("the process's onnxruntime pool has %d threads already, not %d", _pool.threads, threads)
    return _pool


def _signature(session: Any, graph: Graph, config: ModelConfig, folder: Path) -> Signature:
    # the runtime shows no shape and the shape of a scalar alike
    scalars = {value.name for value in (*graph.inputs, *graph.outputs) if value.shape == ()}

    def declared(node: Any) -> Declared:
        dims = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape or ())
        return Declared(node.name, node.type, dims if dims or node.name in scalars else None)

    labels = {
        zipmap.output: zipmap.classes
        for zipmap in graph.zipmaps
        if zipmap.classes != tuple(map(str, range(len(zipmap.classes))))
    }
    return derive(
        [declared(node) for node in session.get_inputs()],
        [declared(node) for node in session.get_outputs()],
        config,
        labels | read_labels(folder, config.outputs),
    )


def runtime_name() -> str:
    """Of a process that has a Runtime."""
    return f"onnxruntime {ort.__version__}"
