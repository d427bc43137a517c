"""`sluice streams run`, and what is asked of it while it runs: files in, files out, in real processes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import signal

import httpx
import pytest
from gateways import running as serving
from servers.server import free_port, until
from streaming import Place, Running, running

from gateway.store.contract import Act
from gateway.store.sqlite import SqliteStore


def trail(place: Place) -> list[Act]:
    """The audit trail of the state folder, the oldest first."""

    async def read() -> list[Act]:
        async with SqliteStore(place.folder / ".sluice") as store:
            return [entry.act for entry in reversed(await store.audit())]

    return asyncio.run(read())


def test_records_flow_until_sigterm(place: Place) -> None:
    with running(place) as process:
        place.feed("a.jsonl", [*place.records(1, 1000), "broken"])
        until(lambda: len(place.results()) == 1000, what="1000 results")
        place.feed("b.jsonl", place.records(1001, 5))
        until(lambda: len(place.results()) == 1005, what="5 more")
        assert [result["id"] for result in place.results()] == list(range(1, 1006))
        assert all(result["y"] == 3.0 * result["id"] for result in place.results())
        (dead,) = place.dead()
        assert dead["value"] == "broken"
        assert process.stop() == 0
        log = process.text()
    assert "stream double: exactly once: folder" in log
    assert "stopping: nothing more is read, what is in flight is finished" in log
    assert log.rstrip().endswith("stopped")


def test_list_show_pause_resume_and_redrive(place: Place) -> None:
    with running(place) as process:
        place.feed("a.jsonl", [*place.records(1, 3), "broken"])
        until(lambda: len(place.results()) == 3, what="3 results")
        header, row = process.sluice("list").stdout.splitlines()
        assert header.split()[:5] == ["stream", "state", "read", "written", "dead"]
        assert row.split()[:5] == ["double", "running", "4", "3", "1"]
        assert "exactly once" in row
        assert "guarantee" in process.sluice("show", "double").stdout
        assert process.sluice("show", "doubel").stderr == (
            "sluice: there is no stream 'doubel', did you mean 'double'?\n"
        )
        paused = process.sluice("pause", "double", "--reason", "month's end", "--json")
        assert json.loads(paused.stdout)["reason"] == "month's end"
        process.await_state("paused")
        place.feed("b.jsonl", place.records(4, 1))
        redriven = process.sluice("redrive", "double", "--json")
        assert json.loads(redriven.stdout) == {"records": 1, "left": 0}
        assert process.view()["state"] == "paused"
        assert place.dead() == []
        assert len(place.results()) == 3
        resumed = process.sluice("resume", "double", "--json")
        assert json.loads(resumed.stdout)["state"] in ("starting", "running")
        until(lambda: len(place.results()) == 4, what="the fourth result")
        until(lambda: len(place.dead()) == 1, what="the dead letter again")
        assert place.dead()[0]["value"] == "broken"
        assert process.sluice("pause", "doubel").returncode == 1
    found = [(each.target, each.action, each.detail) for each in trail(place)]
    assert found == [
        ("double", "stream.pause", {"reason": "month's end"}),
        ("double", "stream.redrive", {"records": 1, "left": 0}),
        ("double", "stream.resume", {}),
    ]
    assert {(each.actor, each.origin) for each in trail(place)} == {("admin", "admin 127.0.0.1")}


def test_a_pause_survives_a_restart(place: Place) -> None:
    with running(place) as process:
        assert process.sluice("pause", "double").returncode == 0
    place.feed("a.jsonl", place.records(1, 1))
    with running(place) as process:
        process.await_state("paused")
        assert process.view()["reason"] == "paused by an operator"
        assert process.view()["records"]["read"] == 0
        assert process.sluice("resume", "double").returncode == 0
        until(lambda: len(place.results()) == 1, what="the result")


def test_metrics_and_the_token(place: Place) -> None:
    with running(place) as process:
        place.feed("a.jsonl", place.records(1, 7))
        until(lambda: process.view()["records"]["acknowledged"] == 7, what="7 records")
        page = httpx.get(f"{process.url}/metrics").text
        assert 'sluice_stream_records_total{stream="double",outcome="written"} 7' in page
        assert 'sluice_stream_state{stream="double",state="running"} 1' in page
        assert 'sluice_rows_total{model="affine",version="2"} 7' in page
        port = str(process.port)
        denied = place.sluice("list", "--token", "wrong", SLUICE_STREAMS_PORT=str(free_port()), SLUICE_ADMIN_PORT=port)
        assert (denied.returncode, "another admin token" in denied.stderr) == (1, True), denied.stderr
        for path in ("", "/double"):
            assert httpx.get(f"{process.url}/admin/v1/streams{path}").status_code == 401


def test_a_stream_that_is_wrong_starts_nothing(place: Place) -> None:
    place.stream("wrong", "affine", "guarantee: exactly\n")
    process = Running(place, "double.yaml", "wrong.yaml")
    assert process.process.wait(30) == 2
    assert "wrong.yaml:7: guarantee: found 'exactly'" in process.text()
    assert not (place.folder / "out").exists()


def test_it_ends_when_its_inputs_have_ended(place: Place) -> None:
    text = (place.folder / "double.yaml").read_text().replace("{path: in,", "{path: in, follow: false,")
    (place.folder / "double.yaml").write_text(text)
    place.feed("a.jsonl", place.records(1, 10))
    process = Running(place, "double.yaml")
    assert process.process.wait(30) == 0
    assert len(place.results()) == 10


@pytest.mark.parametrize("point", ["after-read:3", "before-write:2", "after-write:4", "after-ack:2"])
def test_killed_in_the_middle_no_record_is_lost_or_twice(place: Place, point: str) -> None:
    place.stream("double", "affine", "batching: {rows: 50}\n")
    process = Running(place, "double.yaml", SLUICE_CRASH_AT=point)
    place.feed("a.jsonl", [line for n in range(0, 500, 10) for line in [*place.records(n, 10), "broken"]])
    assert process.process.wait(60) == -signal.SIGKILL
    with running(place):
        until((place.folder / "in" / "done" / "a.jsonl").exists, what="the file's end")
    assert [result["id"] for result in place.results()] == list(range(500))
    assert len(place.dead()) == 50


def test_a_second_process_stands_by_and_takes_over(place: Place) -> None:
    with running(place) as first:
        first.await_state("running")
        with running(place) as second:
            assert second.view()["state"] == "standby"
            assert second.sluice("redrive", "double").stderr.startswith(
                "sluice: stream 'double' does not run in this process: it is standby"
            )
            place.feed("a.jsonl", place.records(1, 5))
            until(lambda: len(place.results()) == 5, what="5 results")
            assert second.view()["records"]["read"] == 0
            assert first.stop() == 0
            second.await_state("running")
            place.feed("b.jsonl", place.records(6, 5))
            until(lambda: len(place.results()) == 10, what="10 results")
            assert second.view()["epoch"] == 2


def test_one_that_was_stopped_past_its_lease_writes_nothing_when_it_goes_on(place: Place) -> None:
    place.stream("double", "affine", "batching: {rows: 5}\n")
    with running(place) as first, running(place) as second:
        first.await_state("running")
        place.feed("a.jsonl", place.records(0, 3000))
        until(lambda: first.view()["records"]["written"] > 20, what="some records")
        _stop_between_entries(first, place)
        # the lease runs out, and the other one goes on where the first was
        until((place.folder / "in" / "done" / "a.jsonl").exists, 60, what="the file's end")
        assert 0 < second.view()["records"]["written"] < 3000
        first.process.send_signal(signal.SIGCONT)
        first.await_state("standby")
    assert [result["id"] for result in place.results()] == list(range(3000))
    assert "the lease is lost" in first.text()


def test_reload_takes_up_what_changed_and_nothing_else(place: Place) -> None:
    (place.folder / "streams").mkdir()
    for name in ("kept", "double", "gone"):
        place.stream(name)
        text = (place.folder / f"{name}.yaml").read_text()
        (place.folder / "streams" / f"{name}.yaml").write_text(
            text.replace("path: in", f"path: in-{name}") if name != "double" else text
        )
        (place.folder / f"in-{name}").mkdir()
    with running(place, "streams") as process:
        place.feed("a.jsonl", place.records(1, 3))
        until(lambda: len(place.results()) == 3, what="3 results")
        double, new = place.folder / "streams" / "double.yaml", place.folder / "streams" / "new.yaml"
        good = double.read_text()
        assert process.sluice("reload").stdout == "nothing has changed\n"
        double.write_text(good.replace("affine", "none"))
        refused = process.sluice("reload")
        assert (refused.returncode, refused.stderr) == (
            2, "sluice: streams/double.yaml:4: model: there is no model 'none' in 'models', which has 'affine'\n",
        )  # fmt: skip
        assert process.view()["state"] == "running"
        double.write_text("# with the other version\n" + good.replace("affine", "{name: affine, version: 1}"))
        (place.folder / "in-new").mkdir()
        new.write_text(good.replace("path: in", "path: in-new"))
        (place.folder / "streams" / "gone.yaml").unlink()
        done = process.sluice("reload", "--json")
        assert json.loads(done.stdout) == {"added": ["new"], "changed": ["double"], "removed": ["gone"]}
        place.feed("b.jsonl", place.records(4, 2))
        until(lambda: len(place.results()) == 5, what="2 more results")
        assert [result["version"] for result in place.results()] == ["2", "2", "2", "1", "1"]
        assert process.view("kept")["epoch"] == 1
        assert process.view("double")["epoch"] == 2
        assert process.sluice("show", "gone").returncode == 1
        new.unlink()
        process.process.send_signal(signal.SIGHUP)
        until(lambda: "reloaded: 0 added, 0 changed, 1 removed" in process.text(), what="the reload")
    found = [(each.actor, each.origin, each.action, each.target, each.detail["removed"]) for each in trail(place)]
    assert found == [
        ("admin", "admin 127.0.0.1", "stream.reload", "*", []),
        ("admin", "admin 127.0.0.1", "stream.reload", "*", ["gone"]),
        ("signal", "SIGHUP", "stream.reload", "*", ["new"]),
    ]


def test_labels_that_are_set_elsewhere_are_followed(place: Place) -> None:
    place.stream("double", "{name: affine, version: chosen}")
    (place.folder / "sluice.yaml").write_text("labels: {affine: {chosen: 1}}\n")
    with (
        running(place) as process,
        serving(
            place.folder / "models",
            place.folder / ".sluice",
            grpc_port="off",
            config=str(place.folder / "sluice.yaml"),
        ) as server,
    ):
        place.feed("a.jsonl", place.records(1, 1))
        until(lambda: [result["version"] for result in place.results()] == ["1"], what="version 1's answer")
        token = (place.folder / ".sluice" / "admin-token").read_text().strip()
        reply = httpx.put(
            f"{server.admin}/admin/v1/labels/affine", json={"chosen": "2"},
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        assert reply.status_code == 200
        until(lambda: "revision 1 of the control state is in force" in process.text(), what="following")
        place.feed("b.jsonl", place.records(2, 1))
        until(lambda: [result["version"] for result in place.results()] == ["1", "2"], what="version 2's answer")


def _stop_between_entries(process: Running, place: Place) -> None:
    """In the middle of an entry it has the journal's lock, and the other one would wait for it with a message."""
    (lock,) = (place.folder / "out" / ".sluice" / "double").glob("*.lock")

    def stopped() -> bool:
        process.process.send_signal(signal.SIGSTOP)
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                process.process.send_signal(signal.SIGCONT)
                return False
        return True

    until(stopped, what="a stop between two entries")
