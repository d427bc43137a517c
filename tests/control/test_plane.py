import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import Conflict, InvalidArgument, NotFound, Unavailable
from gateway.settings import SplitSetting
from gateway.store.contract import Act, DesiredSplit, State

Start = Callable[..., Any]
Gateway = Any
Put = Callable[..., None]

BY: dict[str, Any] = {"actor": "ann", "origin": "test"}


def run(start: Start, body: Callable[[Gateway], Awaitable[Any]], **given: Any) -> Any:
    async def go() -> Any:
        async with start(**given) as gateway:
            return await body(gateway)

    return asyncio.run(go())


def test_a_split_loads_what_it_names_and_shares_the_traffic(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        assert await gateway.answers("m") == "3"
        assert gateway.ready("m") == ["3"]
        desired = await gateway.plane.set_split("m", [("1", 75), ("2", 25)], **BY)
        assert desired.revision == 1
        assert desired.splits["m"] == DesiredSplit("m", (("1", 75), ("2", 25)))
        assert gateway.ready("m") == ["1", "2", "3"]
        shares = await gateway.shares("m")
        assert set(shares) == {"1", "2"}
        assert 120 < shares["1"] < 180

    run(start, body)


def test_it_is_there_after_a_restart_with_the_same_keys(start: Start) -> None:
    async def first(gateway: Gateway) -> list[str]:
        await gateway.plane.set_split("m", [("1", 50), ("2", 50)], **BY)
        await gateway.plane.set_labels("m", {"canary": "1"}, **BY)
        return [await gateway.answers("m", key=str(key)) for key in range(50)]

    async def second(gateway: Gateway) -> list[str]:
        assert gateway.plane.desired.revision == 2
        assert await gateway.answers("m", "canary") == "1"
        return [await gateway.answers("m", key=str(key)) for key in range(50)]

    assert run(start, first) == run(start, second)


def test_what_a_split_no_longer_names_is_unloaded(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        await gateway.plane.set_split("m", [("1", 1), ("2", 1)], **BY)
        await gateway.plane.set_split("m", [("2", 1)], **BY)
        assert gateway.ready("m") == ["2", "3"]
        await gateway.plane.clear_split("m", **BY)
        assert gateway.ready("m") == ["3"]
        assert await gateway.answers("m") == "3"
        with pytest.raises(NotFound, match="no split of 'm' was set"):
            await gateway.plane.clear_split("m", **BY)

    run(start, body)


def test_a_version_that_is_not_there_is_refused_with_those_that_are(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        plane = gateway.plane
        await plane.set_labels("m", {"stable": "2"}, **BY)
        with pytest.raises(NotFound, match="the split of 'm': no version '9', there are: 1, 2, 3, stable"):
            await plane.set_split("m", [("1", 1), ("9", 1)], **BY)
        with pytest.raises(NotFound, match="no label 'canary', there are"):
            await plane.set_split("m", [("canary", 1)], **BY)
        with pytest.raises(NotFound, match="the labels of 'm': no version '9'"):
            await plane.set_labels("m", {"x": "9"}, **BY)
        with pytest.raises(NotFound, match="Request for unknown model: 'nope' is not found"):
            await plane.set_split("nope", [("1", 1)], **BY)
        with pytest.raises(InvalidArgument, match="model name"):
            await plane.set_split("../m", [("1", 1)], **BY)
        with pytest.raises(InvalidArgument, match="all zero"):
            await plane.set_split("m", [("1", 0)], **BY)
        assert plane.desired.revision == 1
        assert gateway.ready("m") == ["2", "3"]

    run(start, body)


def test_a_version_that_cannot_be_loaded_is_refused_with_the_reason_and_nothing_changes(start: Start, put: Put) -> None:
    put("m", 2, b"no model at all")
    put("m", 9)

    async def body(gateway: Gateway) -> None:
        await gateway.plane.set_split("m", [("1", 1)], **BY)
        with pytest.raises(Unavailable, match=r"version 2 of 'm' is there, but not ready: model.onnx is"):
            await gateway.plane.set_split("m", [("3", 1), ("2", 1)], **BY)
        assert gateway.plane.desired.splits["m"].arms == (("1", 1),)
        assert gateway.ready("m") == ["1", "9"]
        assert await gateway.shares("m", 20) == {"1": 20}
        assert (await gateway.store.read()).revision == 1

    run(start, body)


def test_labels_work_where_versions_do_and_move(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        plane = gateway.plane
        await plane.set_labels("m", {"stable": "1", "canary": "2"}, **BY)
        assert await gateway.answers("m") == "1"
        await plane.set_split("m", [("stable", 1), ("canary", 1)], **BY)
        assert set(await gateway.shares("m")) == {"1", "2"}
        await plane.set_labels("m", {"canary": "3"}, whole=False, **BY)
        assert set(await gateway.shares("m")) == {"1", "3"}
        assert plane.desired.labels["m"] == {"stable": "1", "canary": "3"}
        with pytest.raises(InvalidArgument, match="label 'canary' cannot go: the split of 'm' names it"):
            await plane.set_labels("m", {"canary": None}, whole=False, **BY)
        with pytest.raises(InvalidArgument, match="label 'stable' cannot go"):
            await plane.clear_labels("m", **BY)
        await plane.clear_split("m", **BY)
        await plane.clear_labels("m", **BY)
        assert await gateway.answers("m") == "3"
        assert gateway.ready("m") == ["3"]

    run(start, body)


def test_what_the_settings_say_holds_until_something_is_set(start: Start) -> None:
    given: dict[str, Any] = {
        "splits": {"m": SplitSetting({"1": 1})},
        "labels": {"m": {"canary": "2"}},
    }

    async def first(gateway: Gateway) -> None:
        assert await gateway.shares("m", 10) == {"1": 10}
        assert await gateway.answers("m", "canary") == "2"
        with pytest.raises(NotFound, match="those of the settings are changed there"):
            await gateway.plane.clear_split("m", **BY)
        await gateway.plane.set_split("m", [("3", 1)], **BY)
        await gateway.plane.set_labels("m", {}, **BY)

    async def second(gateway: Gateway) -> None:
        assert await gateway.shares("m", 10) == {"3": 10}
        with pytest.raises(NotFound):
            await gateway.answers("m", "canary")
        await gateway.plane.clear_split("m", **BY)
        await gateway.plane.clear_labels("m", **BY)
        assert await gateway.shares("m", 10) == {"1": 10}
        assert await gateway.answers("m", "canary") == "2"

    run(start, first, **given)
    run(start, second, **given)


def test_settings_that_win_no_more_and_splits_without_their_version_are_logged(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    given: dict[str, Any] = {"splits": {"m": SplitSetting({"1": 1, "9": 1})}}

    async def first(gateway: Gateway) -> None:
        assert await gateway.shares("m", 10) == {"1": 10}
        await gateway.plane.set_split("m", [("3", 1)], **BY)

    async def second(gateway: Gateway) -> None:
        pass

    run(start, first, **given)
    assert "the split of 'm' names 9, which is not ready" in caplog.text
    run(start, second, **given)
    assert "the split of 'm' is kept in the control state and wins over the settings" in caplog.text


def test_a_change_based_on_an_old_revision_is_refused_before_anything_is_loaded(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        await gateway.plane.set_split("m", [("1", 1)], expected=0, **BY)
        with pytest.raises(Conflict, match="at revision 1, not 0"):
            await gateway.plane.set_split("m", [("2", 1)], expected=0, **BY)
        assert gateway.ready("m") == ["1", "3"]
        await gateway.plane.set_split("m", [("2", 1)], expected=1, **BY)

    run(start, body)


def test_when_somebody_else_has_written_theirs_is_followed_and_the_change_is_made_on_top(start: Start) -> None:
    theirs = DesiredSplit("x", (("1", 1.0),))

    async def body(gateway: Gateway) -> None:
        act = Act("bob", "elsewhere", "split.set", "m")
        await gateway.store.change(0, lambda state: replace(state, splits={"m": theirs}), act)
        with pytest.raises(Conflict):
            await gateway.plane.set_split("m", [("2", 1)], **BY, expected=0)
        assert gateway.plane.desired.splits == {"m": theirs}
        assert await gateway.shares("m", 10) == {"1": 10}
        assert "2" not in gateway.ready("m")
        await gateway.store.change(1, lambda state: replace(state, splits={}), act)
        # decided on nothing in particular: it is checked and made anew on what the other left
        desired = await gateway.plane.set_split("m", [("2", 1)], **BY)
        assert desired.revision == gateway.plane.in_force == 3
        assert await gateway.shares("m", 10) == {"2": 10}

    run(start, body)


def test_changes_at_the_same_time_take_turns_and_all_of_them_are_kept(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        plane = gateway.plane
        await asyncio.gather(
            *(plane.set_labels("m", {f"l{i}": str(i % 3 + 1)}, whole=False, **BY) for i in range(12)),
            plane.set_split("other", [("1", 1)], **BY),
        )
        assert plane.desired.revision == 13
        assert len(plane.desired.labels["m"]) == 12
        assert await gateway.store.read() == plane.state

    run(start, body)


def test_a_caller_that_goes_away_leaves_nothing_half_done(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        change = asyncio.create_task(gateway.plane.set_split("m", [("1", 1)], **BY))
        await asyncio.sleep(0)
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
        await gateway.plane.close()
        assert (await gateway.store.read()).revision == gateway.plane.desired.revision == 1
        assert await gateway.shares("m", 10) == {"1": 10}

    run(start, body)


def test_a_store_that_fails_changes_nothing(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        await gateway.plane.set_split("m", [("1", 1)], **BY)
        await gateway.store.__aexit__(None, None, None)
        with pytest.raises(Unavailable, match="is not open"):
            await gateway.plane.set_split("m", [("2", 1)], **BY)
        assert await gateway.shares("m", 10) == {"1": 10}
        assert gateway.ready("m") == ["1", "3"]

    run(start, body)


def test_loading_outside_explicit_mode_is_refused(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        for change in (gateway.plane.load_model, gateway.plane.unload_model):
            with pytest.raises(Unavailable, match="explicit model load / unload is not allowed"):
                await change("m", **BY)
        assert gateway.plane.desired.revision == 0

    run(start, body)


def test_in_explicit_mode_what_was_loaded_is_loaded_again_after_a_restart(
    start: Start, times: Callable[[float], bytes]
) -> None:
    config = json.dumps({"version_policy": {"specific": {"versions": [1]}}})
    files = {"7/model.onnx": times(7)}

    async def first(gateway: Gateway) -> None:
        assert gateway.ready("m") == gateway.ready("other") == []
        await gateway.plane.load_model("m", config, **BY)
        await gateway.plane.load_model("other", "{}", files, **BY)
        assert await gateway.answers("m") == "1"
        assert await gateway.answers("other") == "7"
        # what came with the load call can be named as well
        await gateway.plane.set_labels("other", {"stable": "7"}, **BY)

    async def second(gateway: Gateway) -> None:
        assert await gateway.answers("m") == "1"
        assert await gateway.answers("other", "stable") == "7"
        await gateway.plane.load_model("m", **BY)
        assert await gateway.answers("m") == "3"
        await gateway.plane.unload_model("other", **BY)
        with pytest.raises(Unavailable):
            await gateway.answers("other")

    async def third(gateway: Gateway) -> None:
        assert await gateway.answers("m") == "3"
        assert gateway.ready("other") == []

    for body in (first, second, third):
        run(start, body, control_mode="explicit")


def test_models_that_the_settings_load_at_start(start: Start) -> None:
    async def first(gateway: Gateway) -> None:
        assert await gateway.answers("m") == "3"
        assert await gateway.answers("other") == "1"
        await gateway.plane.unload_model("m", **BY)

    async def second(gateway: Gateway) -> None:
        assert gateway.ready("m") == []
        assert await gateway.answers("other") == "1"

    run(start, first, control_mode="explicit", load=("*",))
    run(start, second, control_mode="explicit", load=("*",))


def test_a_load_that_fails_is_not_written(start: Start, put: Put) -> None:
    put("broken", 1, b"no model")

    async def body(gateway: Gateway) -> None:
        for model, error in (("broken", InvalidArgument), ("absent", NotFound)):
            with pytest.raises(error, match="failed to load"):
                await gateway.plane.load_model(model, **BY)
        with pytest.raises(NotFound, match="failed to unload 'absent'"):
            await gateway.plane.unload_model("absent", **BY)
        assert gateway.plane.state == State()
        assert await gateway.plane.audit() == []

    run(start, body, control_mode="explicit")


def test_a_model_that_fails_at_start_keeps_nothing_else_from_starting(
    start: Start, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def first(gateway: Gateway) -> None:
        await gateway.plane.load_model("m", **BY)
        await gateway.plane.load_model("other", **BY)

    async def second(gateway: Gateway) -> None:
        assert await gateway.answers("m") == "3"
        assert "failed to load 'other'" in caplog.text
        [status] = [s for s in gateway.manager.index() if s.name == "other"]
        assert status.state == "UNAVAILABLE"
        assert status.reason

    run(start, first, control_mode="explicit")
    (models / "other" / "1" / "model.onnx").write_bytes(b"spoilt")
    run(start, second, control_mode="explicit")


def test_a_split_may_be_set_before_its_model_is_loaded(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        await gateway.plane.set_split("m", [("1", 1)], **BY)
        await gateway.plane.load_model("m", **BY)
        assert await gateway.shares("m", 10) == {"1": 10}

    run(start, body, control_mode="explicit")


def test_the_trail_says_what_was_asked_for(start: Start) -> None:
    async def body(gateway: Gateway) -> None:
        await gateway.plane.set_split("m", [("1", 1)], **BY)
        await gateway.plane.set_labels("m", {"stable": "1"}, **BY)
        found = [(e.before, e.after, e.act) for e in await gateway.plane.audit()]
        assert found == [
            (1, 2, Act("ann", "test", "labels.set", "m", {"labels": {"stable": "1"}})),
            (0, 1, Act("ann", "test", "split.set", "m", {"weights": {"1": 1}, "salt": "m"})),
        ]

    run(start, body)


def test_a_process_that_is_behind_follows_a_whole_snapshot(start: Start) -> None:
    """As a worker does, that is given what another process wrote."""

    async def body(gateway: Gateway) -> None:
        await gateway.plane.load_model("m", **BY)
        await gateway.plane.set_split("m", [("1", 1)], **BY)
        old = gateway.plane.state
        await gateway.follower.follow(replace(old, revision=5, splits={"m": DesiredSplit("m", (("2", 1.0),))}))
        assert await gateway.shares("m", 10) == {"2": 10}
        assert gateway.ready("m") == ["2", "3"]
        await gateway.follower.follow(State(6, {"m": replace(old.models["m"], loaded=False, generation=6)}))
        assert gateway.ready("m") == []
        assert gateway.splits == {}

    run(start, body, control_mode="explicit")
