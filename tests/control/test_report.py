from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.report import Report, Tally, add, pack
from gateway.core.observe import Statistics
from gateway.core.servable import ServableId
from gateway.telemetry.metrics import Family, Page

COUNTER = Family("served_total", "counter", "Served.")
SECONDS = Family("spent_seconds_total", "counter", "Spent.")
WAITING = Family("waiting", "gauge", "Waiting.")
LOADED = Family("loaded", "gauge", "Loaded.", joined="most")
MEMORY = Family("memory", "gauge", "Memory.", joined="each")


def _statistics(count: int) -> Statistics:
    found = Statistics()
    for number in range(count):
        found.executed(number % 3 + 1, 1, 2, 3)
    found.success_count, found.last_inference, found.failures["BACKEND"] = count, count * 10, count
    found.latency[3] = count
    return found


def _report(count: int, seconds: float = 0.0) -> Report:
    """Through the wire, as it comes."""
    page = Page()
    samples = ((COUNTER, count), (SECONDS, seconds), (WAITING, count), (LOADED, 1), (MEMORY, count))
    for family, value in samples:
        page.family(family)
        page.sample(family.name, "", value)
    report = Report(1, count, [("m", "1", pack(_statistics(count)))], page.families, {})
    return msgspec.convert(msgspec.msgpack.decode(msgspec.msgpack.encode(report)), Report)


def _shown(tally: Tally) -> dict[str, Any]:
    return {f"{name}{at}": value for _, samples in tally.page(Page()).families for name, at, value in samples}


def test_what_is_packed_is_added_up() -> None:
    total = Statistics()
    for count in (3, 4):
        add(total, msgspec.msgpack.decode(msgspec.msgpack.encode(pack(_statistics(count))), strict=False))
    assert pack(total)[0] == [7, 0, 0, 0, 0, 0, 0, 0, 0, 7]
    assert total.last_inference == 40
    assert total.failures["BACKEND"] == 7
    assert total.latency[3] == 7
    assert {rows: batch.count for rows, batch in total.batches.items()} == {1: 3, 2: 2, 3: 2}
    assert total.batches[1].infer_ns == 6


def test_each_process_adds_its_part() -> None:
    tally = Tally()
    tally.heard(1, "worker-0", _report(3))
    tally.heard(2, "worker-1", _report(4))
    assert _shown(tally) == {
        "served_total": 7,
        "spent_seconds_total": 0.0,
        "waiting": 7,
        "loaded": 1,
        'memoryprocess="worker-0"': 3,
        'memoryprocess="worker-1"': 4,
    }
    assert tally.statistics()[ServableId("m", "1")].success_count == 7


def test_who_has_ended_still_counts_but_waits_for_nothing() -> None:
    tally = Tally()
    tally.heard(1, "worker-0", _report(3))
    tally.ended(1)
    tally.ended(1)
    assert _shown(tally) == {"served_total": 3, "spent_seconds_total": 0.0}
    tally.heard(2, "worker-0", _report(2))
    assert _shown(tally)["served_total"] == 5
    assert _shown(tally)["waiting"] == 2
    assert tally.statistics()[ServableId("m", "1")].success_count == 5


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 5), st.floats(0, 1e6)), max_size=40))
def test_no_reader_sees_a_counter_decrease(events: list[tuple[int, bool, int, float]]) -> None:
    """Whatever processes report, and whoever of them ends: each counts up from nothing."""
    tally = Tally()
    lives: dict[int, tuple[int, float]] = {}
    before = (0, 0.0, 0)
    for slot, ends, more, seconds in events:
        if ends:
            tally.ended(slot)
            lives.pop(slot, None)
        else:
            count, spent = lives.get(slot, (0, 0.0))
            lives[slot] = count + more, spent + seconds
            tally.heard(slot, f"worker-{slot}", _report(*lives[slot]))
        shown = _shown(tally)
        statistics = tally.statistics().get(ServableId("m", "1"), Statistics())
        now = (shown.get("served_total", 0), shown.get("spent_seconds_total", 0.0), statistics.success_count)
        assert all(new >= old for old, new in zip(before, now, strict=True))
        before = now
