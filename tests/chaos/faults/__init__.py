"""What is done to a pipeline while records are in flight, by name."""

from __future__ import annotations

from typing import Final

from chaos.faults.deaths import crash_at, delivered_again, kill, split_changes
from chaos.faults.fault import CRASH, Fault
from chaos.faults.load import disk_full, members_change, slow_model
from chaos.faults.network import MODES, cut, hang, network
from chaos.faults.server import dies, in_commit, restarts
from chaos.faults.stops import stand_still, stop_at
from chaos.pipelines.pipeline import Pipeline

from gateway.core.crashpoint import POINTS

#: the place that only those outputs pass that commit
_COMMIT: Final = "before-commit"

CRASHES: Final = {f"{CRASH}{point}": Fault(crash_at(point)) for point in POINTS}
OTHERS: Final = {
    "kill -9": Fault(kill, 2),
    "split changes": Fault(split_changes, 2),
    "stands still": Fault(stand_still, 3),
    "stops before-write": Fault(stop_at("before-write"), 3),
    "members change": Fault(members_change, 8),
    "slow model": Fault(slow_model, 4),
}
COMMIT: Final = {f"stops {_COMMIT}": Fault(stop_at(_COMMIT), 3)}
SERVER: Final = {
    "server restarts": Fault(restarts, 4),
    "server dies": Fault(dies, 4),
    "server dies in commit": Fault(in_commit, 4),
}
NETWORK: Final = {
    **{f"network {mode}": Fault(network(mode), 4) for mode in MODES},
    "network reset": Fault(cut, 6),
    "network hangs": Fault(hang, 4),
}
AGAIN: Final = {"delivered again": Fault(delivered_again)}
DISK: Final = {"disk full": Fault(disk_full)}


def faults_of(pipeline: Pipeline) -> dict[str, Fault]:
    found = CRASHES | OTHERS
    if not pipeline.commits:
        found = {name: fault for name, fault in found.items() if name != f"{CRASH}{_COMMIT}"}
    elif not pipeline.locks:
        found |= COMMIT
    if pipeline.sites:
        found |= SERVER | NETWORK
    if pipeline.repeats:
        found |= AGAIN
    if pipeline.disk is not None:
        found |= DISK
    return found
