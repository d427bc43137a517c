"""Rows of a table through `sluice streams`, in real processes that are killed in the middle."""

from __future__ import annotations

import signal
from pathlib import Path

from servers.server import until
from small_models import slow
from sql_database import Database
from streaming import Place, running

STREAM = """\
input: {{sql: {{url: "{url}", table: claims, mode: {mode}, poll: 0.05, rows: 20, lease: {{seconds: 2}},
              status: {{reason: reason}}}}}}
decode: {{format: columns}}
map: {{x: [x, x, x, x]}}
model: affine
encode: {{format: columns, fields: {{score: 'y[0]', version: $version}}}}
output: {{sql: {{url: "{url}", {output}}}}}
guarantee: exactly once
errors: {{backoff: {{initial: 0.05, longest: 0.5}}}}
"""


def stream(database: Database, folder: Path, output: str) -> Place:
    place = Place(folder)
    mode = "lease" if database.system == "sqlite" else "claim"
    (folder / "rows.yaml").write_text(STREAM.format(url=database.url, mode=mode, output=output))
    return place


def test_processes_that_are_killed_lose_no_row_and_score_none_twice(database: Database, tmp_path: Path) -> None:
    database.claims(1500, more=", version int")
    database.sql("UPDATE claims SET x = NULL WHERE id = 700")
    place = stream(database, tmp_path, "mode: update, mark_failed: true")
    checked = place.sluice("validate", "rows.yaml")
    assert checked.returncode == 0, checked.stderr
    assert "exactly once" in checked.stdout

    def done() -> int:
        return int(database.column("SELECT count(*) FROM claims WHERE status <> 'new'")[0])

    for goal in (200, 700, 1100):
        with running(place, "rows.yaml") as process:
            until(lambda goal=goal: done() >= goal, what=f"the scoring of {goal} rows")  # type: ignore[misc]
            process.stop(signal.SIGKILL)
    with running(place, "rows.yaml"):
        until(lambda: done() == 1500, what="the scoring of all rows")
    good = "SELECT count(*) FROM claims WHERE status = 'done' AND score = 3 * x AND version = 2 AND reason IS NULL"
    assert database.column(good) == ["1499"]
    failed = database.sql("SELECT id, reason FROM claims WHERE status = 'failed'")
    assert [row[0] for row in failed] == ["700"]
    assert "x" in failed[0][1]


def test_a_model_slower_than_the_lease_and_a_kill(database: Database, tmp_path: Path) -> None:
    """Two processes; a batch takes longer than the lease, and yet nobody takes what the other one scores, until it is
    dead."""
    database.claims(8, more=", version int, laps float DEFAULT 2000")
    place = stream(database, tmp_path, "mode: update, mark_failed: true")
    for version, factor in ((1, 2.0), (2, 3.0)):
        (place.folder / "models" / "affine" / str(version) / "model.onnx").write_bytes(slow(factor))
    text = (
        (tmp_path / "rows.yaml").read_text().replace("mode: claim", "mode: lease").replace("seconds: 2", "seconds: 1")
    )
    text = text.replace("rows: 20", "rows: 2, claims: 1").replace("[x, x, x, x]", "[x, x, x, laps]")
    (tmp_path / "rows.yaml").write_text(text)

    def done() -> int:
        return int(database.column("SELECT count(*) FROM claims WHERE status <> 'new'")[0])

    # what a model costs is learned, and this one's warm-up has no laps: on the loop its first batch would hold that up
    threads = {"SLUICE_BATCHING_INLINE_LIMIT_US": "0"}
    with running(place, "rows.yaml", **threads) as first, running(place, "rows.yaml", **threads) as second:
        until(lambda: done() >= 2, what="the scoring of 2 rows")
        until(lambda: first.view("rows")["in_flight"]["records"] > 0, what="rows of the first in flight")
        assert first.view("rows")["records"]["dropped"] == 0
        first.stop(signal.SIGKILL)
        until(lambda: done() == 8, what="the scoring of all rows", limit=120)
        until(lambda: second.view("rows")["in_flight"]["records"] == 0, what="its last acknowledgement")
        view = second.view("rows")
        assert (view["records"]["dropped"], view["records"]["read"]) == (0, view["records"]["acknowledged"])
        assert view["reconnects"] == 0
    assert database.column("SELECT count(*) FROM claims WHERE status = 'done' AND score = 3 * x") == ["8"]


def test_a_dead_letter_is_put_back_and_scored(database: Database, tmp_path: Path) -> None:
    database.claims(5)
    database.sql("CREATE TABLE scores (id bigint PRIMARY KEY, score float, version int)")
    database.sql("UPDATE claims SET x = NULL WHERE id = 3")
    place = stream(database, tmp_path, "table: scores, match: [id], dead_letters: dead")

    def scored() -> list[str]:
        return database.column("SELECT id FROM scores ORDER BY id")

    with running(place, "rows.yaml") as process:
        until(lambda: scored() == ["1", "2", "4", "5"], what="the scoring")
        until(lambda: database.column("SELECT id FROM dead") == ["3"], what="the dead letter")
        database.sql("UPDATE claims SET x = 30 WHERE id = 3")
        done = process.sluice("redrive", "rows")
        assert done.returncode == 0, done.stderr + process.text()
        until(lambda: len(scored()) == 5, what="the scoring of the record that was put back")
    assert database.column("SELECT count(*) FROM dead") == ["0"]
    assert database.column("SELECT count(*) FROM claims WHERE status = 'done'") == ["5"]


def test_a_dry_run_changes_nothing(database: Database, tmp_path: Path) -> None:
    database.claims(5, more=", version int")
    place = stream(database, tmp_path, "mode: update, mark_failed: true")
    done = place.sluice("dry-run", "rows.yaml")
    assert done.returncode == 0, done.stderr
    assert '"score":15' in done.stdout.replace(" ", "").replace(".0", "")
    assert database.column("SELECT count(*) FROM claims WHERE status = 'new' AND claimed_by IS NULL") == ["5"]
