"""onnxruntime, and nothing of it outside of this file."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.core.errors import DeadlineExceeded, Internal, InvalidArgument, SluiceError, Unavailable
from gateway.core.servable import RunOptions
from gateway.core.signature import Signature
from gateway.core.tensor import BFLOAT16, Array
from gateway.models.config import ModelConfig, TensorConfig, Threading
from gateway.models.declaration import Declared, derive, read_labels, unbatched
from gateway.models.graph import Graph
from gateway.models.memory import trim
from gateway.models.threads import make_pool
from gateway.models.warmup import agrees, fastest, sample

# Before it is loaded: the official builds report to their maker from then on, with a thread and a cache on disk.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

logger = logging.getLogger("sluice.models")

#: names of outputs, inputs, options → the outputs
Run = Callable[[Sequence[str], Mapping[str, Array], Any], list[Array]]

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
        graph = Graph.read(path)
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
            raise InvalidArgument(f"{path.name} cannot be loaded: {_cleaned(error, path.parent)}") from error
        signature = _signature(session, graph, config, folder)
        model = OnnxModel(signature, _runner(session, signature, config), self._pool.options)
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
            raise _translated(error) from error

    def run_options(self) -> RunOptions:
        options: RunOptions = ort.RunOptions()
        return options

    def close(self) -> None:
        """Frees the model. Whoever calls knows that no run is left."""
        self._run = _closed
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


def _runner(session: Any, signature: Signature, config: ModelConfig) -> Run:
    specs = (*signature.inputs.values(), *signature.outputs.values())
    run: Run = session._sess.run
    if any(spec.datatype.name == "BF16" for spec in specs):
        for spec in signature.inputs.values():
            if spec.datatype.name == "BYTES":
                raise InvalidArgument(f"input '{spec.name}' is BYTES beside BF16, which onnxruntime takes from C only")
        run = _Values(session)
    shapes = {wish.name: wish for wish in (*config.inputs, *config.outputs) if wish.reshape is not None}
    return _Reshaped(run, shapes, batch=bool(config.max_batch_size)) if shapes else run


class _Values:
    """Runs a model with BF16, which onnxruntime neither takes from numpy nor gives to it: by way of OrtValues."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(self, outputs: Sequence[str], inputs: Mapping[str, Array], options: Any) -> list[Array]:
        feeds = {name: self._value(array) for name, array in inputs.items()}
        return [self._array(value) for value in self._session.run_with_ort_values(outputs, feeds, options)]

    def _value(self, array: Array) -> Any:
        array = np.asarray(array, order="C")
        if array.dtype == BFLOAT16:
            return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view("<u2"), 16)
        return ort.OrtValue.ortvalue_from_numpy(array)

    def _array(self, value: Any) -> Array:
        if value.data_type() != "tensor(bfloat16)":
            array: Array = value.numpy()
            return array
        copy = np.empty(value.shape(), BFLOAT16)
        ctypes.memmove(copy.ctypes.data, value.data_ptr(), copy.nbytes)
        return copy


class _Reshaped:
    """Runs a model whose tensors clients see in other shapes (`reshape` of config.pbtxt)."""

    def __init__(self, run: Run, wishes: Mapping[str, TensorConfig], *, batch: bool) -> None:
        self._run = run
        self._wishes = wishes
        self._batch = batch

    def __call__(self, outputs: Sequence[str], inputs: Mapping[str, Array], options: Any) -> list[Array]:
        feeds = {
            name: self._shaped(array, self._wishes[name], inward=True) if name in self._wishes else array
            for name, array in inputs.items()
        }
        arrays = self._run(outputs, feeds, options)
        return [
            self._shaped(array, self._wishes[name], inward=False) if name in self._wishes else array
            for name, array in zip(outputs, arrays, strict=True)
        ]

    def _shaped(self, array: Array, wish: TensorConfig, *, inward: bool) -> Array:
        before, after = (wish.dims, wish.reshape or ()) if inward else (wish.reshape or (), wish.dims)
        batch, shape = (array.shape[:1], array.shape[1:]) if self._batch else ((), array.shape)
        free = iter([size for size, declared in zip(shape, before, strict=True) if declared == -1])
        return array.reshape(batch + tuple(next(free) if size == -1 else size for size in after))


def _closed(outputs: Sequence[str], inputs: Mapping[str, Array], options: Any) -> list[Array]:
    raise Unavailable("the model was unloaded")


# ---------------------------------------------------------------------------------------------------- errors

_STATUS: Final = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_NODE: Final = re.compile(
    r"^Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ", re.S
)
#: where in the runtime's source, and in which function, a check failed; with or without the check itself
_ENFORCED: Final = re.compile(
    r"^/\S+:\d+ .*? was false\.?\s*(?=\S)|^/\S+:\d+ [^()]*\(.*?\)(?: const)?(?: \[with [^\]]*\])? ", re.S
)
_FOLDERS: Final = re.compile(r"/(?:[^\s/:'\"]+/)+")
#: Fail and RuntimeException cover everything; these words mean that a kernel refused what it was given.
_DATA: Final = re.compile(
    r"shape|dim|rank|ax[ei]s|broadcast|ind(?:ex|ices)|bound|range|size|length|element|mismatch|must|expect|invalid"
    r"|cast|parse|convert|negative|missing",
    re.I,
)
_RESOURCES: Final = re.compile(r"bad_alloc|allocat", re.I)


def _cleaned(error: BaseException, folder: Path | None = None) -> str:
    """The runtime's message without its codes, its source's file names and our folders."""
    text = _STATUS.sub("", str(error)).strip()
    if folder is not None:
        text = text.replace(f"{folder}/", "")
    node = _NODE.match(text)
    text = text[node.end() :] if node else text
    text = _FOLDERS.sub("", _ENFORCED.sub("", text)).strip() or type(error).__name__
    return f"{node[1]} node '{node[2]}': {text}" if node else text


def _translated(error: Exception) -> SluiceError:
    if isinstance(error, SluiceError):
        return error
    text = str(error)
    if "terminate flag" in text:
        return DeadlineExceeded("the run was terminated at its limit of time")
    if isinstance(error, UnicodeEncodeError):
        return InvalidArgument("an element of a BYTES input is not valid Unicode")
    in_node = "returned while running" in text
    if "INVALID_ARGUMENT" in text or (in_node and _DATA.search(text) and not _RESOURCES.search(text)):
        return InvalidArgument(_cleaned(error))
    return Internal(f"the model failed: {_cleaned(error)}")


def runtime_name() -> str:
    """Of a process that has a Runtime."""
    return f"onnxruntime {ort.__version__}"
