"""What goes wrong around transformers' loop ends in one error that says so, and never hangs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from servecast.errors import InputError, ServecastError, UnsupportedError
from servecast.primitives.batch import Batch, StepTime
from servecast.timewarp.transformers_execution import Priced, Replayed
from servecast.timewarp.transformers_models import hollow_model
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.timewarp.transformers_run import (
    TransformersRun,
    emulate_transformers,
    serve_transformers,
)
from servecast.timewarp.transformers_seam import bell_of, require_seam
from servecast.timewarp.transformers_steps import Part
from servecast.timewarp.transformers_texts import own_texts
from tests.constant_cost import ConstantStepCost
from tests.timewarp.transformers_cases import ROOMY, STEP_NS, TINY, at_once, cramped
from tests.toy_deployments import WINDOWED

pytestmark = pytest.mark.engine(name="transformers")


class OddCost(ConstantStepCost):
    """A cost whose steps are `step`."""

    def __init__(self, step: StepTime) -> None:
        super().__init__(STEP_NS)
        self._odd = step

    def step(self, batch: Batch) -> StepTime:
        return self._odd


class Broken(Priced):
    """An execution that fails at its third step."""

    steps = 0

    def run(self, parts: Sequence[Part], forward: Callable[[], None]) -> int:
        self.steps += 1
        if self.steps == 3:
            raise RuntimeError("the device fell over")
        return super().run(parts, forward)


def emulated(options: TransformersOptions, *lengths: tuple[int, int]) -> TransformersRun:
    cost = ConstantStepCost(STEP_NS)
    return emulate_transformers(options, at_once(*lengths), cost, model=TINY.spec)


def test_an_engine_that_raises_in_the_middle_is_reported_with_its_step() -> None:
    broken = Broken(ConstantStepCost(STEP_NS))
    with pytest.raises(ServecastError, match="failed at step 2: the device fell over"):
        serve_transformers(hollow_model(), ROOMY, at_once((10, 9)), 4096, broken, own_texts)


@pytest.mark.parametrize("odd", [float("nan"), -1, 0.5])
@pytest.mark.parametrize("is_host", [False, True])
def test_a_cost_that_is_no_duration_is_refused(odd: float, is_host: bool) -> None:
    step = StepTime(0, odd) if is_host else StepTime(odd, 0)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=f"of a step is {odd} ns"):
        emulate_transformers(ROOMY, at_once((10, 9)), OddCost(step), model=TINY.spec)


def test_a_request_that_no_cache_can_hold_ends_the_run() -> None:
    with pytest.raises(ServecastError, match="No requests can be scheduled") as caught:
        emulated(cramped(blocks=4), (10, 3), (100, 3))
    assert "num_blocks" in (caught.value.hint or "")


def test_a_replay_of_other_requests_says_so() -> None:
    steps = emulated(ROOMY, (10, 3)).steps
    with pytest.raises(InputError, match="had 3 steps, and this one has more"):
        serve_transformers(
            hollow_model(), ROOMY, at_once((10, 4)), 4096, Replayed(steps), own_texts
        )


def test_models_with_layers_of_another_kind_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"full attention; `toy` has other"):
        emulate_transformers(ROOMY, at_once((10, 3)), ConstantStepCost(1), model=WINDOWED.model)


def test_a_release_with_other_names_is_refused_naming_them() -> None:
    with pytest.raises(UnsupportedError, match="`input_queue`, `background_thread_status`"):
        require_seam(object())
    with pytest.raises(UnsupportedError, match="`_wake_up_loop`"):
        bell_of(object())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
