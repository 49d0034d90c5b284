"""What a masked step of transformers costs, and what is read of the loop from a run's steps."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives.batch import Batch, Group
from servecast.primitives.roofline import RooflineSource
from servecast.timewarp.transformers_calibration import fit_loop_time, launch_s
from servecast.timewarp.transformers_cost import LoopTime, MaskedStepCost, work_of
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.timewarp.transformers_steps import Part, Step, batch_of
from tests.toy_deployments import DENSE

NO_LOOP = LoopTime(0.0, 0.0, 0.0, 0.0, 0.0)
LOOP = LoopTime(2e-4, 3e-5, 1e-6, 1e-7, 1e-9)


def cost(loop: LoopTime = NO_LOOP, started_s: float = 0.0) -> MaskedStepCost:
    return MaskedStepCost(DENSE, RooflineSource(), loop, started_s)


def decode(sequences: int, context: int) -> Batch:
    return Batch((Group(1, sequences, sequences * context, 0, True),))


def steps(started_ns: int = 0) -> list[Step]:
    """Steps of random parts that take what `LOOP` and the kernels say, and `started_ns` more."""
    rng = np.random.default_rng(0)
    found: list[Step] = []
    for _ in range(200):
        contexts = rng.integers(1, 500, rng.integers(1, 20)).tolist()
        parts = [Part(at, 1, past, True, True) for at, past in enumerate(contexts)]
        parts.append(Part(99, int(rng.integers(2, 100)), 0, False, True))
        batch = batch_of(parts, lambda _: 0)
        device_ns = cost().step(batch).device_ns + started_ns
        host_s = float(LOOP.seconds(np.array(work_of(batch))))
        end_ns = device_ns + round(host_s * 1e9)
        found.append(Step(0, end_ns, device_ns, tuple(parts), (), False))
    return found


def test_parts_become_a_decode_group_and_chunks() -> None:
    parts = [Part(0, 7, 3, False, True), Part(1, 1, 5, True, True), Part(2, 1, 9, True, True)]
    assert batch_of(parts, lambda contexts: len(contexts)) == Batch(
        (Group(1, 2, 14, 2, True), Group(7, 1, 3))
    )


def test_every_query_is_laid_over_the_keys_of_all() -> None:
    assert work_of(decode(4, 99)) == (1.0, 4.0, 4.0, 400.0, 1600.0)
    together = cost().step(decode(8, 4000)).device_ns - cost().step(decode(8, 100)).device_ns
    alone = cost().step(decode(1, 4000)).device_ns - cost().step(decode(1, 100)).device_ns
    assert together > 8 * alone


def test_starting_kernels_and_the_loop_come_on_top() -> None:
    plain, whole = cost().step(decode(2, 10)), cost(LOOP, 0.001).step(decode(2, 10))
    assert (whole.device_ns, plain.host_ns) == (plain.device_ns + 1_000_000, 0)
    assert whole.host_ns == round((2e-4 + 2 * 3e-5 + 2e-6 + 22e-7 + 44e-9) * 1e9)


def test_a_decode_run_is_its_steps() -> None:
    priced, step = cost(LOOP, 0.001), cost(LOOP, 0.001).step(decode(3, 50))
    assert priced.decode_run(3).run_ns(50, 1) == step.device_ns + step.host_ns


def test_the_loop_and_the_starts_are_found_again_in_steps() -> None:
    assert astuple(fit_loop_time(steps())) == pytest.approx(astuple(LOOP), rel=0.01)
    assert launch_s(steps(started_ns=700_000), cost()) == pytest.approx(7e-4)


def test_no_coefficient_is_negative() -> None:
    shrinking = [
        Step(0, step.device_ns + 10**6 // len(step.parts), step.device_ns, step.parts, (), False)
        for step in steps()
    ]
    assert min(astuple(fit_loop_time(shrinking))) >= 0.0


def test_a_short_run_fits_no_loop() -> None:
    with pytest.raises(InputError, match="10 steps are too few"):
        fit_loop_time(steps()[:10])


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_blocks", 0), ("page_size", 3), ("safety_margin", 1.5), ("scheduler_type", "lifo")],
)
def test_options_that_transformers_refuses_are_refused(name: str, value: object) -> None:
    given: dict[str, object] = {
        "num_blocks": 8, "max_batch_tokens": 64, "max_requests_per_batch": 4
    }  # fmt: skip
    with pytest.raises(InputError, match=str(value)):
        TransformersOptions(**{**given, name: value})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
