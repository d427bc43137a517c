"""The account of a run: what adds up, and what does not count."""

from __future__ import annotations

from chaos.__main__ import conclude
from chaos.report import Line, Report, Summary, table

from gateway.core.crashpoint import POINTS


def _report(lines: dict[str, Line], good: bool = True) -> Report:
    return Report("p", good, "exactly once", 100, 1.0, lines)


def test_faults_of_all_pipelines_add_up_and_those_in_vain_do_not_count() -> None:
    crash = "crash after-read"
    summary = Summary.of(
        [_report({crash: Line(2, 1, lost=3), "kill -9": Line(1)}), _report({crash: Line(1, 4, repeated=7, bound=9)})]
    )
    assert (summary.faults, summary.records, summary.hits("after-read"), summary.hits("after-ack")) == (4, 200, 3, 0)
    assert summary.lines[crash] == Line(3, 5, lost=3, repeated=7, bound=9)
    assert table(summary.lines).splitlines()[-1].split() == ["all", "4", "5", "3", "0", "7", "9", "0", "0"]


def test_a_whole_run_has_to_hit_every_crash_point_often_enough() -> None:
    often = {f"crash {point}": Line(10) for point in POINTS}
    rarely = often | {f"crash {POINTS[3]}": Line(9, 50)}
    assert conclude(Summary.of([_report(often)]), 80)
    assert not conclude(Summary.of([_report(rarely)]), 79)
    assert conclude(Summary.of([_report(rarely)]), 0)


def test_a_whole_run_has_all_the_faults_that_were_wanted() -> None:
    lines = {f"crash {point}": Line(10) for point in POINTS}
    assert not conclude(Summary.of([_report(lines)]), 81)
    assert conclude(Summary.of([_report(lines | {"kill -9": Line(1)})]), 81)
