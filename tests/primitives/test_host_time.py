"""The time of engines' own loops: what is hidden behind the device, and what never is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.primitives.coefficients import shipped
from servecast.primitives.host_time import HostTime
from servecast.primitives.policy import TrtllmPolicy
from tests.toy_deployments import DENSE


def test_tensorrt_llm_hides_work_where_its_overlap_is_on_and_exposes_it_where_it_is_off() -> None:
    ahead = replace(DENSE, engine="trtllm", policy=TrtllmPolicy())
    between = replace(ahead, policy=TrtllmPolicy(disable_overlap_scheduler=True))
    hidden, exposed = HostTime.of(ahead), HostTime.of(between)
    assert hidden.step_s == shipped("roofline").trtllm_step_s
    assert (hidden.overlaps, exposed.overlaps) == (True, False)
    assert exposed.step_s == pytest.approx(hidden.step_s + hidden.overlapped_step_s)
    assert exposed.sequence_s == hidden.sequence_s + hidden.overlapped_sequence_s


def test_a_reference_policy_has_the_host_time_of_vllm() -> None:
    assert HostTime.of(replace(DENSE, engine="reference")) == HostTime.of(DENSE) == HostTime()
