"""The page at ``/metrics``: plain numbers that others keep, put into Prometheus's text when it is scraped.

`NAMES` lists every metric; docs/operating.md explains each of them, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gateway.telemetry.metrics import control, loads, ports, process, splits, triton, versions
from gateway.telemetry.metrics.exposition import Page, labelled
from gateway.telemetry.metrics.loads import Loads
from gateway.telemetry.metrics.ports import GrpcSample
from gateway.telemetry.metrics.splits import SplitSample
from gateway.telemetry.metrics.versions import VersionSample

_PARTS: Final = (versions, triton, splits, loads, ports, process, control)

#: every metric and its help
NAMES: Final[Mapping[str, str]] = {family.name: family.help for part in _PARTS for family in part.FAMILIES}


class Metrics:
    """Everything that is scraped. Belongs to the event loop's thread, where the numbers are written as well.

    versions   those that are or were loaded; of one that is named twice the last counts
    loads      added to by whoever loads
    splits     the arms of the splits
    wire       counters of the HTTP wire, by the names that ports.py has for them; no others
    grpc       None where there is no gRPC port
    denied     (port, reason) → requests
    build      values for `sluice_build_info`: version, python, runtime
    """

    def __init__(
        self,
        versions: Callable[[], Iterable[VersionSample]],
        *,
        loads: Loads | None = None,
        splits: Callable[[], Iterable[SplitSample]] = tuple,
        wire: Callable[[], Mapping[str, int]] = dict,
        grpc: Callable[[], GrpcSample | None] = lambda: None,
        denied: Callable[[], Mapping[tuple[str, str], int]] = dict,
        build: Mapping[str, str] | None = None,
    ) -> None:
        self._versions = versions
        self._splits = splits
        self._wire = wire
        self._grpc = grpc
        self._denied = denied
        self._build = build or {}
        self._loads = loads or Loads()

    def render(self) -> bytes:
        """The whole page, of `CONTENT_TYPE`."""
        return self.collect().render()

    def collect(self) -> Page:
        page = Page()
        samples = {(s.model, s.version): s for s in self._versions()}
        of_version = [(labelled(versions.VERSION, key), s) for key, s in sorted(samples.items())]
        versions.write(page, of_version)
        triton.write(page, of_version)
        splits.write(page, self._splits())
        loads.write(page, self._loads)
        ports.write_wire(page, self._wire())
        ports.write_grpc(page, self._grpc())
        ports.write_denied(page, self._denied())
        process.write_build(page, self._build)
        process.write_process(page)
        return page
