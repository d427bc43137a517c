"""Negative controls: pipelines that are broken on purpose, each under the fault that shows it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chaos.broken import TAKING_OVER, WRITING
from chaos.faults import CRASHES, OTHERS
from chaos.faults.fault import Fault
from chaos.gate import Gate
from chaos.pipelines.kafka import KafkaAtLeastOnce, KafkaExactlyOnce, KafkaToPostgreSQL
from chaos.pipelines.pipeline import Pipeline
from chaos.pipelines.servers import Servers
from chaos.records import Scores
from chaos.round import Round

#: rounds in which the mistake must show
ROUNDS: Final = 4
#: seconds for a worker to come to a gate, or to get on from there
_LIMIT: Final = 30.0


def outlives(round_: Round, chance: random.Random) -> bool:
    """A worker stands still before it commits; when another has taken over and done it all, it goes on."""
    writing = Gate(round_.state, WRITING)
    in_flight = _stopped_at(writing, round_)
    round_.second.start()
    round_.settled()
    _go_on(writing, round_)
    round_.second.end()
    return in_flight


def commits_in_between(round_: Round, chance: random.Random) -> bool:
    """The same, but it goes on, and commits, while the other is taking over."""
    writing, taking_over = Gate(round_.state, WRITING), Gate(round_.state, TAKING_OVER)
    in_flight = _stopped_at(writing, round_)
    taking_over.close()
    round_.second.start()
    in_flight &= taking_over.holds(_LIMIT)
    _go_on(writing, round_)
    taking_over.open()
    round_.settled()
    round_.second.end()
    return in_flight


def _stopped_at(gate: Gate, round_: Round) -> bool:
    """Whether the worker came there with records in flight."""
    gate.close()
    round_.send()
    stopped = gate.holds(_LIMIT)
    round_.worker.stop()
    return stopped and round_.in_flight()


def _go_on(gate: Gate, round_: Round) -> None:
    gate.open()
    round_.worker.go_on()
    gate.passed(_LIMIT)


class Patient(KafkaExactlyOnce):
    request_timeout = 30


def patient(document: dict[str, Any]) -> dict[str, Any]:
    """No time runs out before the mistake has shown, however busy the machine is."""
    return document | {"errors": document["errors"] | {"stalled": 60, "settle": 20}}


@dataclass(frozen=True, slots=True)
class Control:
    """`mistake` is one of chaos.broken."""

    mistake: str
    pipeline: type[Pipeline]
    fault: Fault


CONTROLS: Final = {
    control.mistake: control
    for control in (
        Control("acknowledges-before-it-writes", KafkaAtLeastOnce, CRASHES["crash before-write"]),
        Control("commits-past-a-failed-row", KafkaAtLeastOnce, OTHERS["kill -9"]),
        Control("does-not-fence-by-partition", Patient, Fault(outlives)),
        Control("reads-the-offset-before-it-fences", Patient, Fault(commits_in_between)),
        Control("leaves-the-epoch-out", KafkaToPostgreSQL, Fault(outlives)),
    )
}


def caught(control: Control, servers: Servers, folder: Path, scores: Scores, seed: int) -> tuple[bool, str]:
    """Whether the oracle found the mistake, and in which round and how. That records do not come out is no catch."""
    chance = random.Random(f"{seed} {control.mistake}")
    made, state = folder / control.mistake, folder / f"{control.mistake}-state"
    made.mkdir()
    pipeline = control.pipeline(servers, made)
    command = ("-m", "chaos.broken", control.mistake, str(state))
    with Round(pipeline, folder / "tree", state, command, patient) as round_:
        for number in range(1, ROUNDS + 1):
            if not round_.strike(control.mistake, control.fault, chance):
                break
            verdict = round_.verdict(scores)
            if not round_.keeps(verdict):
                return True, f"control {control.mistake}: caught in round {number}: {verdict}"
    return False, f"control {control.mistake}: NOT CAUGHT in {number} rounds\n{round_.logs()}"
