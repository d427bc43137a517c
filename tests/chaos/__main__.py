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
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sluice-chaos-") as made:
        outcomes = _outcomes(given, Path(made))
    reports = [outcome for outcome in outcomes if isinstance(outcome, Report)]
    good = all(outcome.good if isinstance(outcome, Report) else outcome for outcome in outcomes)
    whole = given.faults >= FAULTS and set(given.pipelines) == set(PIPELINES) and not given.only
    good &= conclude(Summary.of(reports), given.faults if whole else 0)
    spent = time.monotonic() - began
    print(f"{verdict(good)}, seed {given.seed}, {spent:.0f} s, of processors {_cpu():.0f} s")
    return 0 if good else 1


def _options() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    options = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    options.add_argument("--faults", type=int, default=FAULTS)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options.add_argument("--pipelines", type=names, default=list(PIPELINES))
    options.add_argument("--only", type=names, default=[], help="names of faults, by commas")
    options.add_argument("--controls", type=names, default=list(CONTROLS), help="negative controls, by commas")
    options.add_argument("--together", type=int, default=4, help="pipelines at the same time")
    return options.parse_args()


def _outcomes(given: argparse.Namespace, folder: Path) -> list[Report | bool]:
    """Of the controls, and of each pipeline. Most of a round is waiting, for a server that starts or a session that
    ends: several run at the same time."""
    scores = Scores(make(folder))
    over = threading.Event()
    with ThreadPoolExecutor(given.together) as pool:
        jobs: dict[Future[Report | bool], str] = {
            pool.submit(judge_the_judge, given.controls, folder, scores, given.seed): "controls"
        }
        for number, name in enumerate(given.pipelines):
            count = given.faults // len(given.pipelines) + (number < given.faults % len(given.pipelines))
            jobs[pool.submit(torment, name, folder, scores, count, given.seed, given.only, over)] = name
        try:
            return list(_told(jobs))
        except BaseException:
            # servers are to be stopped, and what was mounted is to be taken away
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _told(jobs: Mapping[Future[Report | bool], str]) -> Iterator[Report | bool]:
    """As they end. One that fails is no reason not to hear of the others."""
    for job in as_completed(jobs):
        try:
            outcome = job.result()
        except Exception as error:  # noqa: BLE001 - a harness that fails has shown nothing
            print(f"\n{jobs[job]}: NOT GOOD: {type(error).__name__}: {error}", flush=True)
            yield False
            continue
        if isinstance(outcome, Report):
            print(f"\n{outcome}", flush=True)
        yield outcome


def torment(
    name: str, folder: Path, scores: Scores, count: int, seed: int, only: Sequence[str], over: threading.Event
) -> Report:
    """With servers of its own; when it is `over`, no other fault begins."""
    stuck = ""
    with ExitStack() as stack:
        made = folder / name
        made.mkdir()
        pipeline = PIPELINES[name](Servers(stack), made)
        faults = faults_of(pipeline)
        if only:
            faults = {name: fault for name, fault in faults.items() if name in only}
        began = time.monotonic()
        with Round(pipeline, folder / "tree", folder / f"{name}-state") as round_:
            for number, fault in enumerate(schedule(list(faults), count, random.Random(f"{seed} {name}"))):
                if over.is_set():
                    break
                if not round_.insist(fault, faults[fault], random.Random(f"{seed} {name} {number}")):
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
    hits = [(point, summary.hits(point)) for point in POINTS]
    if any(times for _, times in hits):
        print(f"\n{aligned([('crash point', 'times with records in flight'), *hits])}")
    print()
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
