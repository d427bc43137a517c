"""`make chaos`: every pipeline under every fault, judged by the oracle; and the oracle itself by broken pipelines.

`python -m chaos [--faults N] [--seed N] [--pipelines a,b] [--controls a,b]`; the same seed gives the same faults. Exit
code 1 where a record was lost, scored wrongly, out of order where order is claimed, or there twice where that is
excluded; where a negative control is not caught; and, of a run of all faults, where a crash point was not hit often
enough with records in flight.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from chaos.controls import CONTROLS, caught
from chaos.faults import faults_of
from chaos.models import make
from chaos.pipelines import PIPELINES
from chaos.pipelines.servers import Servers
from chaos.records import Scores
from chaos.report import Report, Summary, aligned, report, table, verdict
from chaos.round import TRIES, Round, schedule

from gateway.core.crashpoint import POINTS

FAULTS: Final = 200
#: times that each crash point is to be hit in a run of so many faults
HITS: Final = 10


def main() -> int:
    given = _options()
    print(f"seed {given.seed}", flush=True)
    began = time.monotonic()
    names = [name for name in given.pipelines.split(",") if name]
    with tempfile.TemporaryDirectory(prefix="sluice-chaos-") as made, ThreadPoolExecutor(given.together) as pool:
        folder = Path(made)
        scores = Scores(make(folder))
        # most of a round is waiting, for a server that starts or a session that ends: several run at the same time
        controls = [name for name in given.controls.split(",") if name]
        jobs: list[Future[Report | bool]] = [pool.submit(judge_the_judge, controls, folder, scores, given.seed)]
        for number, name in enumerate(names):
            count = given.faults // len(names) + (number < given.faults % len(names))
            jobs.append(pool.submit(torment, name, folder, scores, count, given.seed, given.only))
        outcomes = list(_told(jobs))
    reports = [outcome for outcome in outcomes if isinstance(outcome, Report)]
    good = all(outcome.good if isinstance(outcome, Report) else outcome for outcome in outcomes)
    whole = given.faults if given.faults >= FAULTS and len(names) == len(PIPELINES) and not given.only else 0
    good &= conclude(Summary.of(reports), whole)
    spent = time.monotonic() - began
    print(f"{verdict(good)}, seed {given.seed}, {spent:.0f} s, of processors {_cpu():.0f} s")
    return 0 if good else 1


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    options.add_argument("--faults", type=int, default=FAULTS)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options.add_argument("--pipelines", default=",".join(PIPELINES))
    options.add_argument("--only", default="", help="names of faults, by commas")
    options.add_argument("--controls", default=",".join(CONTROLS), help="negative controls, by commas")
    options.add_argument("--together", type=int, default=4, help="pipelines at the same time")
    return options.parse_args()


def _told(jobs: list[Future[Report | bool]]) -> Iterator[Report | bool]:
    """As they end. One that fails is no reason not to hear of the others."""
    for job in as_completed(jobs):
        try:
            outcome = job.result()
        except Exception as error:  # noqa: BLE001 - a harness that fails has shown nothing
            print(f"\nNOT GOOD: {type(error).__name__}: {error}", flush=True)
            yield False
            continue
        if isinstance(outcome, Report):
            print(f"\n{outcome}", flush=True)
        yield outcome


def torment(name: str, folder: Path, scores: Scores, count: int, seed: int, only: str = "") -> Report:
    """With servers of its own."""
    chance = random.Random(f"{seed} {name}")
    stuck = ""
    with ExitStack() as stack:
        made = folder / name
        made.mkdir()
        pipeline = PIPELINES[name](Servers(stack), made)
        faults = faults_of(pipeline)
        if only:
            faults = {name: fault for name, fault in faults.items() if name in only.split(",")}
        began = time.monotonic()
        with Round(pipeline, folder / "tree", folder / f"{name}-state") as round_:
            for fault in schedule(list(faults), count, chance):
                if not round_.insist(fault, faults[fault], chance):
                    stuck = f"after '{fault}' {pipeline.waiting()} records did not come out"
                    break
        return report(round_, round_.verdict(scores), time.monotonic() - began, stuck)


def judge_the_judge(names: list[str], folder: Path, scores: Scores, seed: int) -> bool:
    """Whether the oracle finds every mistake."""
    good = True
    with ExitStack() as stack:
        servers = Servers(stack)
        for name in names:
            found, told = caught(CONTROLS[name], servers, folder, scores, seed)
            print(f"\n{told}", flush=True)
            good &= found
    return good


def conclude(summary: Summary, wanted: int) -> bool:
    """Whether there were faults enough, with records in flight; 0 of a run that is not whole."""
    print(f"\nall pipelines: {summary.faults} faults, {summary.records} records\n{table(summary.lines)}")
    rows = [("crash point", "times with records in flight"), *((point, summary.hits(point)) for point in POINTS)]
    print(f"\n{aligned(rows)}\n")
    rare = [point for point in POINTS if summary.hits(point) < HITS] if wanted else []
    if rare:
        print(f"hit fewer than {HITS} times: {', '.join(rare)}")
    if summary.faults < wanted:
        print(f"{wanted - summary.faults} of {wanted} faults met no record in flight in {TRIES} tries")
    if wanted and "disk full" not in summary.lines:
        print("not covered: a full disk, because nothing may be mounted here")
    return not rare and summary.faults >= wanted


def _cpu() -> float:
    """Seconds, with those of processes that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


if __name__ == "__main__":
    sys.exit(main())
