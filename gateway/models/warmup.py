"""Runs that are made before a version is published: the probe of its batch axis, warm-up, first measurements."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Sequence
from math import prod
from pathlib import Path
from random import Random
from typing import Final, Literal, Protocol

import numpy as np

from gateway.core.errors import InvalidArgument, SluiceError
from gateway.core.servable import Executable
from gateway.core.signature import Signature
from gateway.core.tensor import BFLOAT16, Array, DataType
from gateway.models.config import ModelConfig, Warmup, WarmupInput
from gateway.models.memory import trim

logger = logging.getLogger("sluice.models")

Kind = Literal["zero", "random"]

#: how far rows that were run together may be from the same rows run apart: a matrix product adds up in another order
TOLERANCE: Final = {"FP64": 1e-9, "FP32": 1e-4, "FP16": 1e-2, "BF16": 5e-2}
MEASURE_SECONDS: Final = 0.3
MOST_ROWS: Final = 64


class Recorder(Protocol):
    """A model's Cost, by the elements of all inputs, or its Growth, by rows."""

    def record(self, size: int, ns: float, /) -> None: ...


def sample(signature: Signature, rows: int, kind: Kind = "zero") -> dict[str, Array]:
    """Inputs with `rows` rows where the signature is batched; every other free dimension is 1.

    An integer without dimensions is 1: it is a size or a step, and onnxruntime dies of some that are 0 (STFT).
    """
    inputs = {}
    rng = Random(17)  # noqa: S311 - nothing secret
    for name, spec in signature.inputs.items():
        shape = [1 if size < 0 else size for size in spec.shape]
        if signature.batched:
            shape[0] = rows
        array = _filled(spec.datatype, shape, kind, rng)
        inputs[name] = np.ones_like(array) if not shape and array.dtype.kind in "iu" else array
    return inputs


def agrees(executable: Executable) -> bool:
    """Whether rows give the same together as apart, so that requests may be merged along dim 0.

    Tried with random data and with zeros. A model that rolls dice or refuses the random data does not agree; zeros
    may be invalid for it.
    """
    signature = executable.signature
    try:
        if not _same(executable, sample(signature, 4, "random"), 4):
            return False
    except SluiceError as error:
        logger.debug("the probe of the batch axis failed: %s", error.message)
        return False
    try:
        return _same(executable, sample(signature, 2, "zero"), 2)
    except SluiceError:
        return True


def _same(executable: Executable, inputs: dict[str, Array], rows: int) -> bool:
    """Compares all rows with the first one and the others, and checks that dim 0 of every output counts them."""
    names = executable.signature.output_names
    together = executable.run(inputs, names)
    first = executable.run({name: array[:1] for name, array in inputs.items()}, names)
    others = executable.run({name: array[1:] for name, array in inputs.items()}, names)
    return all(
        whole.shape[:1] == (rows,)
        and one.shape == (1, *whole.shape[1:])
        and rest.shape == (rows - 1, *whole.shape[1:])
        and _equal(whole, np.concatenate((one, rest)))
        for whole, one, rest in zip(together, first, others, strict=True)
    )


def warm(executable: Executable, config: ModelConfig) -> None:
    """Runs the samples that the config declares, else one of zeros.

    Raises InvalidArgument that names the sample which failed. Zeros that nobody declared may be invalid for the
    model: that is logged only.
    """
    signature = executable.signature
    for declared in config.warmup:
        try:
            inputs = _declared(declared, signature)
            signature.check(inputs)
            for _ in range(declared.count):
                executable.run(inputs, signature.output_names)
        except SluiceError as error:
            raise InvalidArgument(f"warm-up '{declared.name}' failed: {error.message}") from error
    if not config.warmup:
        try:
            executable.run(sample(signature, 1), signature.output_names)
        except SluiceError as error:
            logger.info("the model does not take zeros for a warm-up: %s", error.message)


def measure(executable: Executable, cost: Recorder, growth: Recorder) -> None:
    """First figures, of warm runs: one row, then powers of two as long as that takes `MEASURE_SECONDS` in all."""
    _measure(executable, cost, growth)
    trim()


def _measure(executable: Executable, cost: Recorder, growth: Recorder) -> None:
    signature = executable.signature
    limit = min(signature.max_batch_size or MOST_ROWS, MOST_ROWS) if signature.batched else 1
    kind: Kind = "random"
    end = time.perf_counter() + MEASURE_SECONDS
    rows = 1
    while rows <= limit:
        inputs = sample(signature, rows, kind)
        try:
            ns = fastest(executable, inputs, end)
        except SluiceError as error:
            if kind == "zero":
                logger.info(
                    "the model takes neither random numbers nor zeros, so it is measured in use: %s", error.message
                )
                return
            kind = "zero"
            continue
        cost.record(sum(array.size for array in inputs.values()), ns)
        if signature.batched:
            growth.record(rows, ns)
        if time.perf_counter() + 3 * ns / 1e9 > end:
            return
        rows *= 2


def fastest(executable: Executable, inputs: dict[str, Array], end: float) -> int:
    """Nanoseconds of the fastest of up to ten runs, of fewer where time is up."""
    names = executable.signature.output_names
    fastest = 1 << 62
    for i in range(10):
        if i and time.perf_counter() > end:
            break
        begin = time.perf_counter_ns()
        executable.run(inputs, names)
        fastest = min(fastest, time.perf_counter_ns() - begin)
    return fastest


def _filled(datatype: DataType, shape: Sequence[int], kind: Kind, rng: Random) -> Array:
    """Random integers are 0 and 1, as they may be indices; random strings are digits, as they may be parsed."""
    name = datatype.name
    if kind == "zero":
        array: Array = np.full(shape, "", object) if name == "BYTES" else np.zeros(shape, datatype.dtype)
        return array
    # numpy.random would do, and takes 3 MB of memory for ever
    floats: Array = np.frombuffer(rng.randbytes(4 * prod(shape)), "<u4").reshape(shape) / 2.0**32
    if name == "BYTES":
        return np.asarray(floats * 10).astype(int).astype(str).astype(object)
    if name not in TOLERANCE:
        return np.asarray(floats * 2).astype(int).astype(datatype.dtype)
    if name == "BF16":
        return (floats.astype("<f4").view("<u4") >> 16).astype("<u2").view(BFLOAT16)
    return floats.astype(datatype.dtype)


def _equal(whole: Array, parts: Array) -> bool:
    if whole.dtype == BFLOAT16:
        return _close(_widened(whole), _widened(parts), TOLERANCE["BF16"])
    if whole.dtype.kind == "f":
        return _close(whole, parts, TOLERANCE[f"FP{whole.dtype.itemsize * 8}"])
    return bool((whole == parts).all())


def _widened(array: Array) -> Array:
    return (array.view("<u2").astype("<u4") << 16).view("<f4")


def _close(whole: Array, parts: Array, tolerance: float) -> bool:
    finite = np.abs(whole[np.isfinite(whole)])
    largest = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(whole, parts, rtol=tolerance, atol=tolerance * largest * 0.1, equal_nan=True))


def _declared(declared: Warmup, signature: Signature) -> dict[str, Array]:
    batch = (declared.batch_size,) if signature.batched else ()
    rng = Random(17)  # noqa: S311 - nothing secret
    return {name: _given(name, given, batch, rng) for name, given in declared.inputs.items()}


def _given(name: str, given: WarmupInput, batch: tuple[int, ...], rng: Random) -> Array:
    dims = tuple(1 if size < 0 else size for size in given.dims)
    if not given.file:
        return _filled(given.datatype, (*batch, *dims), given.data, rng)
    try:
        content = Path(given.file).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"the data of input '{name}' cannot be read: {error.strerror}") from error
    row = _parsed(name, content, given.datatype, prod(dims)).reshape(dims)
    return np.broadcast_to(row, (*batch, *dims)).copy()


def _parsed(name: str, content: bytes, datatype: DataType, count: int) -> Array:
    if datatype.name != "BYTES":
        if len(content) != count * datatype.itemsize:
            raise InvalidArgument(
                f"the data of input '{name}' has {len(content)} bytes, expected {count * datatype.itemsize}"
            )
        return np.frombuffer(content, datatype.dtype)
    texts: list[str] = []
    at = 0
    try:
        while at < len(content):
            (length,) = struct.unpack_from("<I", content, at)
            if at + 4 + length > len(content):
                raise InvalidArgument(f"the data of input '{name}' ends within an element")
            texts.append(content[at + 4 : at + 4 + length].decode())
            at += 4 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the data of input '{name}' is not a list of lengths and UTF-8 texts") from error
    if len(texts) != count:
        raise InvalidArgument(f"the data of input '{name}' has {len(texts)} elements, expected {count}")
    return np.array(texts, object)
