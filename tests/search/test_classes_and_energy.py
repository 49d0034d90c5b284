"""SLOs of classes bind like any other, and energy is made small like any price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from servecast.search.estimated import floors
from servecast.search.recommend import recommend
from servecast.search.replay import bench_arguments
from servecast.simulator.slo import parse_slo
from servecast.traces.classes import Classes
from servecast.traces.workload import Workload
from tests.search_cases import BASE, candidate, evaluator, question, slos, space, workload
from tests.toy_deployments import DEVICE

KNOWN = replace(BASE, accelerator=replace(DEVICE, name="h100_toy", vendor="NVIDIA"))
METERED = replace(KNOWN, accelerator=replace(KNOWN.accelerator, idle_w=100.0, tdp_w=500.0))


def with_classes() -> Workload:
    """Short prompts that must not wait, and long ones that may."""
    traffic = workload(requests=200, rate=9)
    names = np.where(traffic.prompt_tokens < 200, "short", "long")
    return replace(traffic, classes=Classes.of(names.tolist()))


def test_the_slo_of_one_class_decides_and_its_band_is_of_that_class() -> None:
    traffic, choices = with_classes(), space(KNOWN, tensor_parallel_size=[1, 2])
    loose = recommend(question(choices, traffic, "short: ttft:p95 < 5s"))
    assert loose.best is not None
    assert loose.best.result is not None
    (reached,) = loose.reached
    assert reached.value == loose.best.result.of_class("short").latency("ttft", "p95")
    assert reached.value < loose.best.result.of_class("long").latency("ttft", "p95")
    tighter = f"short: ttft:p95 < {reached.value * 800:.6f}ms"
    tight = recommend(question(choices, traffic, tighter))
    assert tight.best is not None
    assert (loose.best.deployment.gpus, tight.best.deployment.gpus) == (1, 2)


def test_the_floor_of_all_prompts_rules_nothing_out_for_a_class() -> None:
    one = candidate(KNOWN)
    asked = evaluator(with_classes(), "short: ttft:p95 < 1ms")
    priced = asked.estimate([one], [1])
    assert floors(priced, parse_slo("ttft:p95 < 1ms")) is not None
    assert floors(priced, parse_slo("short: ttft:p95 < 1ms")) is None
    assert asked.answer(one).rung == "simulate"


def test_the_benchmark_s_goodput_has_no_limits_of_classes() -> None:
    lines = slos("short: ttft:p95 < 50ms", "ttft:p95 < 2s")
    words = dict((clause[0], clause[1:]) for clause in bench_arguments(with_classes(), "m", lines))
    assert words["--goodput"] == ("ttft:2000",)


def test_the_least_energy_is_not_the_most_gpus() -> None:
    choices = space(METERED, tensor_parallel_size=[1, 2, 4])
    found = recommend(
        question(choices, workload(requests=200), "ttft:p95 < 2s", objective=["energy"])
    )
    assert found.best is not None
    values = {a.deployment.gpus: a.values[0] for a in found.answers if a.is_feasible}
    assert found.best.values[0] == min(values.values())
    assert values[max(values)] > found.best.values[0]
    assert found.best.result is not None
    assert found.best.values[0] == found.best.result.wh()
