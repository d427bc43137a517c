"""`sluice streams` as an operator types it: files in, files out, in real processes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import Server
from gateways import running as serving
from servers.server import until
from streaming import Place, Running, environment, running

from gateway.cli import run as sluice
from gateway.store.contract import Act
from gateway.store.sqlite import SqliteStore


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def trail(place: Place) -> list[Act]:
    """The audit trail of the state folder, the oldest first."""

    async def read() -> list[Act]:
        async with SqliteStore(place.folder / ".sluice") as store:
            return [entry.act for entry in reversed(await store.audit())]

    return asyncio.run(read())


class TestChecks:
    def test_a_good_stream_says_what_holds(self, place: Place) -> None:
        done = place.sluice("validate", "double.yaml")
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.split("\n")
        assert lines[0] == "double (double.yaml): good"
        assert lines[1] == "  model      affine, version 2"
        assert lines[2] == "  writes     id (the record's id), y (the model's y[0]), version (the model's $version)"
        assert lines[3].startswith("  guarantee  exactly once: folder")
        assert lines[4].startswith("  order      records of a key stay in the order")
        assert not (place.folder / ".sluice").exists()
        assert not (place.folder / "out").exists()

    def test_several_problems_are_lines_and_exit_code_2(self, place: Place) -> None:
        place.stream("double", "affin", "guarantee: exactly once\nlanes: 2\n")
        place.stream("more", "{name: affine, version: canary}", "dead_letters: {files: {path: dead}}\nlanes: x\n")
        done = place.sluice("validate", "double.yaml", "more.yaml")
        assert done.returncode == 2
        assert done.stderr.split("\n")[:1] == [
            "sluice: more.yaml:8: lanes: found 'x', expected an integer from 1 to 256"
        ]
        place.stream(
            "more", "{name: affine, version: canary}", "guarantee: exactly once\ndead_letters: {memory: {topic: t}}\n"
        )
        found = place.sluice("validate", "double.yaml", "more.yaml").stderr.split("\n")
        assert found[0] == "sluice: double.yaml:4: model: there is no model 'affin' in 'models', which has 'affine'"
        assert found[1].startswith("sluice: double.yaml:8: lanes: lanes is 2, expected 1: ")
        assert (
            found[2] == "sluice: more.yaml:4: model.version: model 'affine' has no label 'canary', there are '1', '2'"
        )
        assert found[3].startswith("sluice: more.yaml:7: guarantee: 'exactly once' is demanded, what holds is at least")
        assert found[4:] == [""]

    def test_labels_of_the_settings_count(self, place: Place) -> None:
        place.stream("double", "{name: affine, version: canary}")
        (place.folder / "sluice.yaml").write_text("labels: {affine: {canary: 1}}\nstreams: [double.yaml]\n")
        assert "affine, version 1\n" in place.sluice("validate").stdout

    def test_the_models_of_a_gateway_that_runs(self, place: Place) -> None:
        place.stream("more", "{name: affine, version: 7}")
        with serving(place.folder / "models", place.folder / "state", grpc_port="off") as server:
            (place.folder / "models").rename(place.folder / "elsewhere")
            done = place.sluice("validate", "double.yaml", "--url", server.rest)
            assert "affine, version 2\n" in done.stdout.replace("1, 2", "2"), done.stderr
            refused = place.sluice("validate", "more.yaml", "--url", server.rest)
            assert refused.returncode == 2
            assert refused.stderr.startswith(f"sluice: more.yaml:4: model.version: {server.rest}: ")
            (place.folder / "elsewhere").rename(place.folder / "models")

    def test_a_dry_run_changes_nothing(self, place: Place) -> None:
        place.feed("a.jsonl", [*place.records(1, 2), "broken"])
        done = place.sluice("dry-run", "double.yaml", "--json", "-n", "3")
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [json.loads(line["out"]) for line in lines[:2]] == [
            {"id": n, "y": 3.0 * n, "version": "2"} for n in (1, 2)
        ]
        assert lines[2]["in"] == "broken"
        assert "it is no JSON object" in lines[2]["dead"]
        assert (place.folder / "in" / "a.jsonl").exists()
        assert not (place.folder / "out").exists()
        assert place.sluice("dry-run", "double.yaml", "-n", "1").stdout.endswith('/0  {"id":1,"y":3.0,"version":"2"}\n')
        assert place.sluice("dry-run", "double.yaml", "-n", "9", "--wait", "0.2").stdout.count("\n") == 3

    def test_tests_beside_a_stream(self, place: Place) -> None:
        assert place.sluice("test", "double.yaml").stdout.startswith("FAILED  double: it has no tests, expected")
        tests = place.folder / "double.test.yaml"
        tests.write_text("""
cases:
  - name: good
    in: ['{"id": 1, "a": 2, "b": 0, "c": 0}', '{}']
    out: [{fields: {id: 1, y: 6}}]
    dead: [{record: 2, reason: "'a' is missing"}]
  - name: bad
    in: ['{"id": 1, "a": 2, "b": 0, "c": 0}']
    out: [{fields: {y: 7}}]
""")
        done = place.sluice("test", "double.yaml")
        assert done.returncode == 1
        assert done.stdout == (
            "good    double: good\n"
            "FAILED  double: bad\n"
            "    double.test.yaml:9: out[0] (of record 1): field 'y' is 6.0, expected 7\n"
        )
        assert done.stderr == "2 tests, 1 failed\n"
        tests.write_text(tests.read_text().replace("y: 7", "y: 6"))
        done = place.sluice("test", "double.yaml")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 tests, 0 failed")

    def test_results_that_are_not_json_are_compared_by_field_too(self, place: Place) -> None:
        text = (place.folder / "double.yaml").read_text()
        fields = "fields: {id: id, y: 'y[0]'}"
        for encode in (
            f"{{format: csv, {fields}}}",
            f"{{format: fixed, layout: {{id: {{start: 0, width: 4}}, y: {{start: 4, width: 9, scale: 2}}}}, {fields}}}",
        ):
            (place.folder / "double.yaml").write_text(
                "\n".join(f"encode: {encode}" if line.startswith("encode") else line for line in text.split("\n"))
            )
            (place.folder / "double.test.yaml").write_text(
                'in: [\'{"id": "7", "a": 2.5, "b": 0, "c": 0}\']\nout: [{fields: {id: "7", y: 7.5}}]'
            )
            done = place.sluice("test", "double.yaml")
            assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("streams validate", "no streams: name their files, or folders of them, or set `streams` in the settings"),
            ("streams validate no.yaml", "no.yaml: cannot be read: No such file or directory"),
            ("streams validate s.yaml --set a", "--set: expected KEY=VALUE, found 'a'"),
            ("streams list --admin-url http://127.0.0.1:1", "no answer from http://127.0.0.1:1"),
        ],
    )
    def test_wrong_use(
        self, line: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert sluice(line.split()) in (1, 2)
        assert says in capsys.readouterr().err


class TestRun:
    def test_records_flow_until_sigterm(self, place: Place) -> None:
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

    def test_list_show_pause_resume_and_redrive(self, place: Place) -> None:
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
            assert process.sluice("resume", "double").returncode == 0
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

    def test_a_pause_survives_a_restart(self, place: Place) -> None:
        with running(place) as process:
            assert process.sluice("pause", "double").returncode == 0
        place.feed("a.jsonl", place.records(1, 1))
        with running(place) as process:
            process.await_state("paused")
            assert process.view()["reason"] == "paused by an operator"
            assert process.view()["records"]["read"] == 0
            assert process.sluice("resume", "double").returncode == 0
            until(lambda: len(place.results()) == 1, what="the result")

    def test_metrics_and_the_token(self, place: Place) -> None:
        with running(place) as process:
            place.feed("a.jsonl", place.records(1, 7))
            until(lambda: process.view()["records"]["acknowledged"] == 7, what="7 records")
            page = httpx.get(f"{process.url}/metrics").text
            assert 'sluice_stream_records_total{stream="double",outcome="written"} 7' in page
            assert 'sluice_stream_state{stream="double",state="running"} 1' in page
            assert 'sluice_rows_total{model="affine",version="2"} 7' in page
            for path in ("", "/double"):
                assert httpx.get(f"{process.url}/admin/v1/streams{path}").status_code == 401

    def test_a_stream_that_is_wrong_starts_nothing(self, place: Place) -> None:
        place.stream("wrong", "affine", "guarantee: exactly\n")
        process = Running(place, "double.yaml", "wrong.yaml")
        assert process.process.wait(30) == 2
        assert "wrong.yaml:7: guarantee: found 'exactly'" in process.text()
        assert not (place.folder / "out").exists()

    def test_it_ends_when_its_inputs_have_ended(self, place: Place) -> None:
        text = (place.folder / "double.yaml").read_text().replace("{path: in,", "{path: in, follow: false,")
        (place.folder / "double.yaml").write_text(text)
        place.feed("a.jsonl", place.records(1, 10))
        process = Running(place, "double.yaml")
        assert process.process.wait(30) == 0
        assert len(place.results()) == 10

    @pytest.mark.parametrize("point", ["after-read:3", "before-write:2", "after-write:4", "after-ack:2"])
    def test_killed_in_the_middle_no_record_is_lost_or_twice(self, place: Place, point: str) -> None:
        place.stream("double", "affine", "batching: {rows: 50}\n")
        process = Running(place, "double.yaml", SLUICE_CRASH_AT=point)
        place.feed("a.jsonl", [line for n in range(0, 500, 10) for line in [*place.records(n, 10), "broken"]])
        assert process.process.wait(60) == -signal.SIGKILL
        with running(place):
            until((place.folder / "in" / "done" / "a.jsonl").exists, what="the file's end")
        assert [result["id"] for result in place.results()] == list(range(500))
        assert len(place.dead()) == 50

    def test_a_second_process_stands_by_and_takes_over(self, place: Place) -> None:
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

    def test_one_that_was_stopped_past_its_lease_writes_nothing_when_it_goes_on(self, place: Place) -> None:
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

    def test_reload_takes_up_what_changed_and_nothing_else(self, place: Place) -> None:
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

    def test_labels_that_are_set_elsewhere_are_followed(self, place: Place) -> None:
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


class TestServe:
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_streams_of_the_settings_run_in_a_process_of_their_own(self, place: Place, workers: str) -> None:
        streams = place.absolute("double")
        state = place.folder / ".sluice"
        with serving(place.folder / "models", state, streams=streams, workers=workers, grpc_port="off") as server:
            place.feed("a.jsonl", [*place.records(1, 5), "broken"])
            until(lambda: len(place.results()) == 5, what="5 results")
            token = (state / "admin-token").read_text().strip()
            with httpx.Client(base_url=server.admin, headers={"Authorization": f"Bearer {token}"}) as admin:
                (worker,) = _streaming(admin)
                assert (worker["slot"], worker["state"], worker["restarts"]) == (0, "ready", 0)
                assert (worker["pid"], worker["streams"]) == (_stream_workers(server.process.pid)[0], ["double"])
                assert worker["memory"] > 0
                view = admin.get("/admin/v1/streams").json()["streams"][0]
                assert (view["name"], view["state"], view["epoch"]) == ("double", "running", 1)
                assert 'sluice_stream_records_total{stream="double",worker="0",outcome="read"} 6' in (
                    admin.get("/metrics").text
                )
                assert admin.get("/admin/v1/streams/none").status_code == 404
                assert admin.post("/admin/v1/streams/double/redrive", json={}).json() == {"records": 1, "left": 0}
                assert admin.post("/admin/v1/streams/double/pause", json={"reason": "r"}).json()["reason"] == "r"
                assert admin.post("/admin/v1/streams/double/resume", json={}).status_code == 200
                assert admin.post("/admin/v1/reload-streams").json() == {"added": [], "changed": [], "removed": []}
                assert admin.post("/admin/v1/streams/none/pause", json={}).status_code == 404
                assert httpx.post(f"{server.admin}/admin/v1/streams/double/pause", json={}).status_code == 401
                entries = admin.get("/admin/v1/audit").json()["entries"]
                assert [(each["action"], each["target"], each["detail"]) for each in reversed(entries)] == [
                    ("stream.redrive", "double", {"records": 1, "left": 0}),
                    ("stream.pause", "double", {"reason": "r"}),
                    ("stream.resume", "double", {}),
                    ("stream.reload", "*", {"added": [], "changed": [], "removed": []}),
                ]
                assert {(each["actor"], each["origin"]) for each in entries} == {("admin", "admin 127.0.0.1")}
                assert "denied: POST /admin/v1/streams/double/pause" in server.log()
                (pid,) = _stream_workers(server.process.pid)
                os.kill(pid, signal.SIGKILL)
                place.feed("b.jsonl", place.records(6, 5))
                # the lease of who was killed runs out first
                until(lambda: len(place.results()) == 10, what="10 results of its successor")
                assert admin.get("/admin/v1/streams/double").json()["epoch"] == 2
                (successor,) = _streaming(admin)
                assert successor["pid"] != pid
                assert (successor["restarts"], successor["streams"]) == (1, ["double"])
                sluice = [sys.executable, "-m", "gateway.cli", "workers", "list", "--admin-url", server.admin]
                told = subprocess.run([*sluice, "--token", token], capture_output=True, text=True, check=True).stdout
                (line,) = (line for line in told.splitlines() if " stream " in line)
                assert line.split()[:4] == ["0", "stream", str(successor["pid"]), "ready"]
                assert line.endswith("double")

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_process_that_hangs_is_killed_and_replaced(self, place: Place, workers: str) -> None:
        """It is there and its socket is open: only its silence tells."""
        state = place.folder / ".sluice"
        chosen = {"workers": workers, "grpc_port": "off", "worker_timeout": "1", "streams_lease": "1"}
        with serving(place.folder / "models", state, streams=place.absolute("double"), **chosen) as server:
            place.feed("a.jsonl", place.records(1, 5))
            until(lambda: len(place.results()) == 5, what="5 results")
            (pid,) = _stream_workers(server.process.pid)
            assert _metric(server, 'sluice_stream_workers{state="ready"}') == 1
            os.kill(pid, signal.SIGSTOP)
            place.feed("b.jsonl", place.records(6, 5))
            until(lambda: len(place.results()) == 10, what="10 results of its successor")
            assert pid not in _stream_workers(server.process.pid)
            assert "stream worker 0: silent for 1 s; its successor starts now" in server.log()
            assert _metric(server, 'sluice_stream_worker_restarts_total{cause="silent for 1 s"}') == 1
            assert httpx.get(f"{server.admin}/readyz").json()["troubles"] == ["stream worker 0: silent for 1 s"]
        assert [result["id"] for result in place.results()] == list(range(1, 11))

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_what_streams_score_is_counted_with_what_requests_do(self, place: Place, workers: str) -> None:
        state = place.folder / ".sluice"
        chosen = {"workers": workers, "grpc_port": "off", "streams_lease": "1"}
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
        with serving(place.folder / "models", state, streams=place.absolute("double"), **chosen) as server:
            place.feed("a.jsonl", place.records(1, 5))
            until(lambda: len(place.results()) == 5, what="5 results")
            reply = httpx.post(f"{server.rest}/v2/models/affine/versions/2/infer", json=body)
            assert reply.status_code == 200, reply.text
            before, succeeded = _rows(server), _succeeded(server, state)
            assert before == [6.0] * 3
            (pid,) = _stream_workers(server.process.pid)
            os.kill(pid, signal.SIGKILL)
            until(lambda: pid not in _stream_workers(server.process.pid), what="its end")
            # it had told of them
            assert (_rows(server), _succeeded(server, state)) == (before, succeeded)
            place.feed("b.jsonl", place.records(6, 5))
            until(lambda: len(place.results()) == 10, what="10 results")
            assert _rows(server) == [11.0] * 3
            assert _succeeded(server, state) > succeeded
            assert _metric(server, 'sluice_version_loaded{model="affine",version="2"}') == 1
            assert 'process_resident_memory_bytes{process="stream-0"}' in httpx.get(f"{server.admin}/metrics").text

    def test_one_that_hangs_does_not_keep_the_gateway_from_ending(self, place: Place) -> None:
        state = place.folder / ".sluice"
        chosen = {"grpc_port": "off", "worker_timeout": "1", "drain_delay": "0"}
        with serving(place.folder / "models", state, streams=place.absolute("double"), **chosen) as server:
            (pid,) = _stream_workers(server.process.pid)
            os.kill(pid, signal.SIGSTOP)
            server.process.terminate()
            assert server.process.wait(20) == 0

    def test_a_stream_that_is_wrong_keeps_the_gateway_from_starting(self, place: Place) -> None:
        place.stream("double", "none")
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "serve"], capture_output=True, text=True, timeout=60,
            cwd=place.folder,
            env=environment(
                SLUICE_STREAMS="double.yaml", SLUICE_HTTP_PORT="0", SLUICE_ADMIN_PORT="0", SLUICE_GRPC_PORT="off"
            ),
        )  # fmt: skip
        assert done.returncode == 2
        assert "double.yaml:4: model: there is no model 'none' in 'models'" in done.stderr


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


def _metric(server: Server, sample: str) -> float:
    """0 where there is no such sample."""
    lines = httpx.get(f"{server.admin}/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} ")), 0.0)


def _rows(server: Server) -> list[float]:
    """How many version 2 scored, as three readers are told."""
    at = '{model="affine",version="2"}'
    (stats,) = httpx.get(f"{server.rest}/v2/models/affine/versions/2/stats").json()["model_stats"]
    counted = [_metric(server, f"{name}{at}") for name in ("sluice_rows_total", "nv_inference_count")]
    return [*counted, float(stats["inference_count"])]


def _succeeded(server: Server, state: Path) -> int:
    """Requests of version 2, a batch of a stream among them, as an operator is told."""
    headers = {"Authorization": f"Bearer {(state / 'admin-token').read_text().strip()}"}
    view = httpx.get(f"{server.admin}/admin/v1/models/affine", headers=headers).json()
    return sum(each["succeeded"] for each in view["versions"] if each["version"] == "2")


def _streaming(admin: httpx.Client) -> list[dict[str, Any]]:
    """The processes that run streams, as an operator sees them."""
    views = admin.get("/admin/v1/workers").raise_for_status().json()["workers"]
    return [view for view in views if view["role"] == "stream"]


def _stream_workers(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"streamworker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
