"""`make chaos`: every pipeline under every fault, judged by the oracle; and the oracle itself by broken pipelines.

`python -m chaos [--faults N] [--seed N] [--pipelines a,b] [--controls a,b]`; the same seed gives the same faults. Exit
code 1 where a record was lost, scored wrongly, out of order where order is claimed, or there twice where that is
excluded, and where a negative control is not caught.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from chaos.controls import CONTROLS, caught
from chaos.faults import faults_of
from chaos.pipelines import PIPELINES, Pipeline, Servers
from chaos.records import Scores
from chaos.round import Round, schedule, table

from loadtests.models import make


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    options.add_argument("--faults", type=int, default=200)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options.add_argument("--pipelines", default=",".join(PIPELINES))
    options.add_argument("--only", default="", help="names of faults, by commas")
    options.add_argument("--controls", default=",".join(CONTROLS), help="negative controls, by commas")
    given = options.parse_args()
    print(f"seed {given.seed}", flush=True)
    began = time.monotonic()
    good = True
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-chaos-")))
        make(folder)
        scores = Scores(folder / "tree")
        servers = Servers(stack)
        names = [name for name in given.pipelines.split(",") if name]
        for number, name in enumerate(names):
            count = given.faults // len(names) + (number < given.faults % len(names))
            good &= torment(
                PIPELINES[name](servers, _made(folder / name)), folder, scores, count, given.seed, given.only
            )
        for name in filter(None, given.controls.split(",")):
            good &= caught(CONTROLS[name], servers, folder, scores, given.seed)
    print(f"{'good' if good else 'NOT GOOD'}, {time.monotonic() - began:.0f} s, seed {given.seed}")
    return 0 if good else 1


def torment(pipeline: Pipeline, folder: Path, scores: Scores, count: int, seed: int, only: str = "") -> bool:
    """Prints a table of its faults; whether it kept what it claims."""
    chance = random.Random(f"{seed} {pipeline.name}")
    faults = faults_of(pipeline)
    if only:
        faults = {name: fault for name, fault in faults.items() if name in only.split(",")}
    stuck = ""
    began = time.monotonic()
    with Round(pipeline, folder / "tree", folder / f"{pipeline.name}-state") as round_:
        for name in schedule(list(faults), count, chance):
            if not round_.strike(name, faults[name], chance):
                stuck = f"after '{name}' {pipeline.waiting()} records did not come out"
                break
    verdict = round_.verdict(scores)
    rows: list[tuple[object, ...]] = [("fault", "times", "in vain", "lost", "duplicated", "out of order", "wrong")]
    wrong = [*verdict.wrong, *verdict.buried, *verdict.unnoticed]
    kinds = [round_.sent.by_round(ids) for ids in (verdict.lost, verdict.duplicated, verdict.disordered, wrong)]
    for name in faults:
        rounds = [number for number, fault in round_.tally.rounds.items() if fault == name]
        sums = [sum(counts[number] for number in rounds) for counts in kinds]
        rows.append((name, round_.tally.struck[name], round_.tally.missed[name], *sums))
    good = not stuck and round_.keeps(verdict)
    claim = "exactly once" if pipeline.exactly_once else "at least once"
    print(
        f"\n{pipeline.name} ({claim}{', order per key' if pipeline.ordered else ''}): {'good' if good else 'NOT GOOD'},"
        f" {len(round_.sent)} records, {time.monotonic() - began:.0f} s\n{table(rows)}",
        flush=True,
    )
    if not good:
        print("\n".join([stuck, str(verdict), round_.logs()]), flush=True)
    return good


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
