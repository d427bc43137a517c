"""Every call of the protocol besides inference, built once and given to each transport."""

from __future__ import annotations

from collections.abc import Callable

from gateway.codecs.sharedmemory import Regions
from gateway.core.errors import Unsupported
from gateway.models.manager import Manager
from gateway.protocols.oip.access import Gate
from gateway.protocols.oip.logsettings import Logging
from gateway.protocols.oip.metadata import Metadata, opened
from gateway.protocols.oip.peers import Peers
from gateway.protocols.oip.repository import Control, ModelRepository
from gateway.protocols.oip.sharedmemory import SystemSharedMemory
from gateway.protocols.oip.statistics import Counted, ModelStatistics
from gateway.protocols.oip.trace import Trace
from gateway.settings.schema import Restricted
from gateway.telemetry.tracing import Tracer


class Calls:
    """The nouns, each with its calls.

    ready        whether the server takes traffic
    restricted   who may make the calls that change the server
    regions      the shared memory that inference reads, None where it is off
    tracer       None where tracing is off
    peers        the other processes, None where there are none
    counted      what all processes counted, None where this one is all
    """

    def __init__(
        self,
        manager: Manager,
        control: Control,
        *,
        ready: Callable[[], bool],
        restricted: Restricted,
        regions: Regions | None = None,
        tracer: Tracer | None = None,
        peers: Peers | None = None,
        counted: Counted | None = None,
    ) -> None:
        repository = Gate("the repository API", "restricted.repository", restricted.repository)
        memory = Gate("system shared memory", "restricted.shared_memory", restricted.shared_memory, Unsupported)
        logging = Gate("changing log settings", "restricted.logging", restricted.logging)
        trace = Gate("changing trace settings", "restricted.trace", restricted.trace)
        traced = ("trace",) if tracer is not None and restricted.trace != "off" else ()
        self.manager = manager
        self.metadata = Metadata(manager, ready, opened(restricted) + traced)
        self.statistics = ModelStatistics(manager, counted)
        self.repository = ModelRepository(manager, control, repository, load_files=restricted.load_files, peers=peers)
        self.memory = SystemSharedMemory(regions or Regions(max_regions=0), memory, peers, control.note)
        self.logging = Logging(logging, peers, control.note)
        self.trace = Trace(manager, trace, tracer, peers, control.note)
