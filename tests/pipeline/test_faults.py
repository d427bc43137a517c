"""Whatever fails, in whatever order: what comes out is what the guarantee says. The seeds are hypothesis's."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline.plant import Plant, policy

from adapters.memory import Faults
from gateway.core.stream import Delivery

#: of calls that fail
rates = st.sampled_from([0.0, 0.02, 0.1])
seeds = st.integers(0, 1 << 30)
input_faults = st.builds(Faults, seed=seeds, connect=rates, read=rates, acknowledge=rates, fence=rates)
output_faults = st.builds(
    Faults,
    seed=seeds,
    connect=rates,
    write=rates,
    unknown=st.sampled_from([0.0, 0.02, 0.1]),
    refuse=st.sampled_from(["", '"r1']),
    anonymous=st.booleans(),
)
abilities = st.sampled_from(["plain", "idempotent", "stores_offsets", "transactional"])
batchings = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 30),
        "rows_in_flight": st.integers(1, 120),
        "bytes_in_flight": st.sampled_from([1, 200, 1 << 20]),
        "ahead": st.integers(0, 3),
        "linger": st.sampled_from([0.0, 0.001]),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(abilities, st.booleans(), input_faults, output_faults, rates, batchings, st.integers(1, 4), st.integers(1, 3))
def test_the_guarantee_holds(
    ability: str,
    own_letters: bool,
    reading: Faults,
    writing: Faults,
    burying: float,
    batching: dict[str, Any],
    lanes: int,
    parts: int,
) -> None:
    bound = ability in ("stores_offsets", "transactional")
    plant = Plant(
        ability=ability,
        dead_letters=own_letters and bound,
        reading=reading,
        writing=writing,
        burying=Faults(seed=1, write=burying, connect=burying),
    )
    plant.put(120, keys=9, lanes=lanes, poison=17)
    if writing.refuse:
        # the output refuses r1, r10, r100…
        for name in plant.ledger.entries:
            if name.startswith("r1"):
                object.__setattr__(plant.ledger.entries[name], "poison", True)
    runner = plant.runner(policy(lanes=1 if bound else parts, **batching))

    async def whole() -> None:
        async with asyncio.timeout(20):
            await runner.run()

    asyncio.run(whole())
    verdict = plant.verdict()
    status = runner.status()
    plant.close()
    assert verdict.sound, verdict
    assert status.state == "finished"
    assert status.in_flight == 0
    if runner.guarantee.delivery is Delivery.EXACTLY_ONCE:
        assert verdict.exact, verdict
    if not (reading.fence or reading.acknowledge or reading.read or writing.unknown):
        # nothing was in doubt: nothing is written twice
        assert verdict.exact, verdict
