"""What a result says in its headers: who answered. Those of the record travel on, a trace's ``traceparent`` say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.stream import Batch, Headers
from gateway.core.tensor import Array

MODEL_HEADER: Final = "sluice-model"
VERSION_HEADER: Final = "sluice-version"
#: how often a record has failed, on one that was put back
ATTEMPTS_HEADER: Final = "sluice-attempts"

_OURS: Final = frozenset({MODEL_HEADER, VERSION_HEADER, ATTEMPTS_HEADER})


def stamped(batch: Batch, model: str, versions: Array) -> Sequence[Headers]:
    """The headers of the results of these records; `versions` are of `str`, one a record."""
    answered: list[str] = versions.tolist()
    stamps = {version: _stamp(model, version) for version in set(answered)}
    if not batch.headers:
        # one tuple for all of them, but where a split has shared them out
        return [*stamps.values()] * len(answered) if len(stamps) == 1 else [stamps[version] for version in answered]
    return [bare(found) + stamps[version] for found, version in zip(batch.headers, answered, strict=True)]


def _stamp(model: str, version: str) -> Headers:
    return (MODEL_HEADER, model.encode()), (VERSION_HEADER, version.encode())


def bare(headers: Headers) -> Headers:
    """Without what another pipeline has stamped."""
    for name, _ in headers:
        if name in _OURS:
            return tuple(pair for pair in headers if pair[0] not in _OURS)
    return headers


def attempts(headers: Headers) -> int:
    """How often a record has failed before: 0 where it does not say so."""
    for name, value in headers:
        if name == ATTEMPTS_HEADER:
            return int(value) if value.isdigit() and len(value) < 10 else 0
    return 0
