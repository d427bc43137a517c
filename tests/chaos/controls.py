"""Negative controls: pipelines that are broken on purpose, each under the fault that shows it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.faults import CRASHES, OTHERS, Fault
from chaos.pipelines import KafkaAtLeastOnce, KafkaExactlyOnce, KafkaToPostgreSQL, Pipeline, Servers
from chaos.records import Scores
from chaos.round import Round

#: rounds in which the mistake must show
ROUNDS: Final = 8


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
        Control("does-not-fence-by-partition", KafkaExactlyOnce, OTHERS["stands still"]),
        Control("reads-the-offset-before-it-fences", KafkaExactlyOnce, OTHERS["stands still"]),
        Control("leaves-the-epoch-out", KafkaToPostgreSQL, OTHERS["stands still"]),
    )
}


def caught(control: Control, servers: Servers, folder: Path, scores: Scores, seed: int) -> bool:
    """Prints in which round the oracle found the mistake, or that it did not."""
    chance = random.Random(f"{seed} {control.mistake}")
    made = folder / control.mistake
    made.mkdir()
    pipeline = control.pipeline(servers, made)
    command = ("-m", "chaos.broken", control.mistake)
    with Round(pipeline, folder / "tree", folder / f"{control.mistake}-state", command) as round_:
        for number in range(1, ROUNDS + 1):
            if not round_.strike(control.mistake, control.fault, chance):
                break
            verdict = round_.verdict(scores)
            if not round_.keeps(verdict):
                print(f"control {control.mistake}: caught in round {number}: {verdict}", flush=True)
                return True
    print(f"control {control.mistake}: NOT CAUGHT in {ROUNDS} rounds\n{round_.logs()}", flush=True)
    return False
