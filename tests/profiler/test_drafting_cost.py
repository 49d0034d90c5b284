"""Steps that verify drafts: dearer than plain ones, and shared by more tokens."""

from __future__ import annotations

import pytest

from servecast.primitives.batch import Batch, Group
from servecast.primitives.host_time import HostTime
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.profiler.drafting_cost import ACCEPTANCE, DraftingStepCost, expected_yield
from tests.toy_deployments import DENSE

PLAIN = CompiledStepCost(DENSE, RooflineSource(), HostTime(1e-3, 0.0))
DRAFTING = DraftingStepCost(PLAIN, 3)


def test_a_step_yields_a_token_and_each_draft_that_all_before_it_led_to() -> None:
    assert expected_yield(0) == 1.0
    assert expected_yield(3) == pytest.approx(1 + ACCEPTANCE + ACCEPTANCE**2 + ACCEPTANCE**3)


def test_no_drafts_cost_what_plain_steps_do() -> None:
    none = DraftingStepCost(PLAIN, 0).decode_run(4)
    assert none.run_ns(100, 50) == pytest.approx(PLAIN.decode_run(4).run_ns(100, 50), rel=1e-6)


def test_a_token_costs_its_share_of_the_verifying_step() -> None:
    context = 200
    verified = PLAIN.step(Batch((Group(4, 8, 8 * context, 0, True),)))
    draft_ns = 3 / DENSE.model.num_layers * PLAIN.decode_run(8).run_ns(0, 1)
    step_ns = verified.device_ns + verified.host_ns + draft_ns
    token_ns = DRAFTING.decode_run(8).run_ns(context, 1)
    assert token_ns == pytest.approx(step_ns / expected_yield(3), rel=1e-4)


def test_decodes_beside_a_prompt_are_verified_too() -> None:
    prompt = Group(100, 1, 0)
    beside = DRAFTING.step(Batch((Group(1, 8, 800, 0, True), prompt)))
    assert beside == PLAIN.step(Batch((Group(4, 8, 800, 0, True), prompt)))
