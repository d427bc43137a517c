"""What every `gateway.store.contract.Store` does. A new implementation is one more case of `make`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import Conflict, NotFound
from gateway.store.contract import Act, ApiKey, DesiredModel, DesiredSplit, Mutation, State, Store
from gateway.store.postgresql.store import PostgresqlStore
from gateway.store.sqlite import SqliteStore

Make = Callable[[Path], AbstractAsyncContextManager[Store]]

ACT = Act("ann", "127.0.0.1", "split.set", "fraud", {"weights": {"1": 90, "2": 10.5}})
SPLIT = DesiredSplit("salt", (("2", 10.5), ("1", 90.0)))


@pytest.fixture(scope="session", params=["sqlite-file", "sqlite-memory", "postgresql"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a store that nobody has used yet. Takes a folder that is its own."""
    if request.param == "sqlite-file":
        yield lambda folder: SqliteStore(folder / "state")
    elif request.param == "sqlite-memory":
        yield lambda folder: SqliteStore(None)
    else:
        server, made = request.getfixturevalue("postgresql"), []

        def one(folder: Path) -> PostgresqlStore:
            made.append(server.database())
            return PostgresqlStore(made[-1], folder / "state", "here")

        yield one
        for url in made:
            server.drop(url)


@pytest.fixture
def run(make: Make, tmp_path: Path) -> Callable[[Callable[[Store], Awaitable[Any]]], Any]:
    def run(body: Callable[[Store], Awaitable[Any]]) -> Any:
        async def go() -> Any:
            async with make(tmp_path) as store:
                return await body(store)

        return asyncio.run(go())

    return run


Run = Callable[[Callable[[Store], Awaitable[Any]]], Any]


def with_split(model: str, split: DesiredSplit) -> Mutation:
    return lambda state: replace(state, splits={**state.splits, model: split})


def test_a_new_store_is_empty_at_revision_0(run: Run) -> None:
    assert run(lambda store: store.read()) == State()
    assert run(lambda store: store.audit()) == []


def test_what_was_changed_is_read_and_the_order_of_arms_is_kept(run: Run) -> None:
    async def body(store: Store) -> None:
        state = await store.change(0, with_split("fraud", SPLIT), ACT)
        assert state == State(1, {}, {"fraud": SPLIT}, {})
        assert await store.read() == state
        assert list((await store.read()).splits["fraud"].arms) == [("2", 10.5), ("1", 90.0)]

    run(body)


def test_everything_that_a_state_holds_comes_back(run: Run) -> None:
    wanted = State(
        0,
        {"a": DesiredModel(True, 7, '{"max_batch_size": 4}'), "b": DesiredModel(False)},
        {"a": SPLIT, "c": DesiredSplit("", ())},
        {"a": {"stable": "1", "kanarie ü": "2"}, "b": {}},
        {"1a": ApiKey("ann", "ff00", (("infer", "churn-*"), ("read", "*")), 1.75e9, 1.8e9), "2b": ApiKey("bob", "")},
    )

    async def body(store: Store) -> None:
        assert await store.change(None, lambda state: wanted, ACT) == replace(wanted, revision=1)
        assert await store.read() == replace(wanted, revision=1)
        assert await store.change(1, lambda state: State(), ACT) == State(2)
        assert await store.read() == State(2)

    run(body)


def test_a_change_based_on_an_old_revision_is_refused_and_leaves_no_trace(run: Run) -> None:
    async def body(store: Store) -> None:
        await store.change(0, with_split("fraud", SPLIT), ACT)
        with pytest.raises(Conflict, match="at revision 1, not 0"):
            await store.change(0, lambda state: State(), ACT)
        assert (await store.read()).splits == {"fraud": SPLIT}
        assert len(await store.audit()) == 1

    run(body)


def test_a_mutation_that_raises_changes_nothing(run: Run) -> None:
    def fails(state: State) -> State:
        raise ZeroDivisionError

    async def body(store: Store) -> None:
        with pytest.raises(ZeroDivisionError):
            await store.change(None, fails, ACT)
        assert await store.read() == State()
        assert (await store.change(0, with_split("m", SPLIT), ACT)).revision == 1

    run(body)


def test_of_changes_at_the_same_time_one_wins(run: Run) -> None:
    async def body(store: Store) -> None:
        changes = (store.change(0, with_split(f"m{i}", SPLIT), ACT) for i in range(10))
        results = await asyncio.gather(*changes, return_exceptions=True)
        assert sum(isinstance(result, State) for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 9
        assert len((await store.read()).splits) == 1

    run(body)


def test_without_an_expected_revision_all_of_them_do(run: Run) -> None:
    async def body(store: Store) -> None:
        await asyncio.gather(*(store.change(None, with_split(f"m{i}", SPLIT), ACT) for i in range(10)))
        state = await store.read()
        assert (state.revision, len(state.splits)) == (10, 10)

    run(body)


def test_the_trail_says_who_did_what_and_pages_backwards(run: Run) -> None:
    async def body(store: Store) -> None:
        for i in range(5):
            await store.change(i, with_split(f"m{i}", SPLIT), replace(ACT, target=f"m{i}"))
        newest = await store.audit(limit=2)
        assert [(entry.before, entry.after, entry.act.target) for entry in newest] == [
            (4, 5, "m4"),
            (3, 4, "m3"),
        ]
        assert newest[0].act == replace(ACT, target="m4")
        assert newest[0].at >= newest[1].at > 1.6e9
        older = await store.audit(limit=100, before=newest[-1].id)
        assert [entry.act.target for entry in older] == ["m2", "m1", "m0"]

    run(body)


def test_blobs_live_as_long_as_a_model_refers_to_them(run: Run) -> None:
    data = b"\0onnx" * 1000
    digest = sha256(data).hexdigest()
    model = DesiredModel(True, 1, "{}", {"1/model.onnx": digest})

    async def body(store: Store) -> None:
        with pytest.raises(NotFound):
            await store.change(None, lambda state: State(models={"m": model}), ACT)
        assert await store.read() == State()
        await store.change(None, lambda state: State(models={"m": model}), ACT, {digest: data, "other": b""})
        assert await store.blob(digest) == data
        with pytest.raises(NotFound):
            await store.blob("other")
        await store.change(None, lambda state: replace(state, labels={"m": {"a": "1"}}), ACT)
        assert await store.blob(digest) == data
        await store.change(None, lambda state: State(), ACT)
        with pytest.raises(NotFound):
            await store.blob(digest)

    run(body)


names = st.text(min_size=1, max_size=5)
states = st.builds(
    State,
    st.just(0),
    st.dictionaries(names, st.builds(DesiredModel, st.booleans(), st.integers(0, 9), st.text()), max_size=3),
    st.dictionaries(
        names,
        st.builds(
            DesiredSplit,
            st.text(max_size=4),
            st.lists(st.tuples(names, st.floats(0, 1e6)), max_size=3).map(tuple),
        ),
        max_size=3,
    ),
    st.dictionaries(names, st.dictionaries(names, names, max_size=2), max_size=3),
    st.dictionaries(
        names,
        st.builds(
            ApiKey,
            names,
            names,
            st.lists(st.tuples(names, names), max_size=2).map(tuple),
            st.floats(0, 1e10),
            st.floats(0, 1e10),
        ),
        max_size=3,
    ),
)


@settings(max_examples=25, deadline=None)
@given(sequence=st.lists(states, max_size=4))
def test_any_sequence_of_states(make: Make, sequence: list[State], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")

    async def body() -> None:
        async with make(folder) as store:
            for revision, wanted in enumerate(sequence, 1):
                await store.change(revision - 1, lambda state, wanted=wanted: wanted, ACT)
                assert await store.read() == replace(wanted, revision=revision)

    asyncio.run(body())
