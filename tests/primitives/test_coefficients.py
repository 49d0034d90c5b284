"""The sets that ship are few numbers within physical bounds, and their defaults change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.coefficient_file import read_file
from benchmarks.coefficient_problem import UNKNOWNS
from benchmarks.fit_coefficients import MOST
from servecast.primitives import catalogue
from servecast.primitives.calibration import Calibration
from servecast.primitives.coefficients import Coefficients, CostKind, shipped
from servecast.primitives.corrected_source import CorrectedSource, corrected, default_source
from servecast.primitives.dtype import Dtype
from servecast.primitives.host_time import HostTime
from servecast.primitives.operations import DecodeAttention, Gemm, MoeExperts, Operation
from servecast.primitives.roofline import RooflineSource

H100, B200 = (catalogue.accelerator(name) for name in ("h100_sxm", "b200_sxm"))
ROOFLINE = RooflineSource()
PROMPT = Gemm(16384.0, 8192, 8192, Dtype.BF16)
DECODE = DecodeAttention(8, 4096.0, 32, 8, 128, 128, Dtype.BF16)

KINDS: tuple[CostKind, ...] = ("roofline", "tables")


@pytest.mark.parametrize("kind", KINDS)
def test_what_ships_is_few_numbers_within_their_bounds_with_a_report(kind: CostKind) -> None:
    file, found = read_file(kind), shipped(kind)
    assert file.costs == kind
    assert len(file.coefficients) <= MOST
    known = {each.name: each for each in UNKNOWNS}
    for name, fitted in file.coefficients.items():
        assert getattr(found, name) == fitted["value"]
        assert (fitted["low"], fitted["high"]) == (known[name].low, known[name].high)
        assert fitted["low"] <= fitted["value"] <= fitted["high"]
        assert fitted["spread"] >= 0
    for name in known.keys() - file.coefficients.keys():
        assert getattr(found, name) == getattr(Coefficients(), name)


@pytest.mark.parametrize("kind", KINDS)
def test_what_ships_is_no_worse_on_groups_that_took_no_part(kind: CostKind) -> None:
    score = read_file(kind).fit.score
    assert score["in-sample"] <= score["left out"] <= score["defaults"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_group_of_the_fit_has_a_set_without_it(kind: CostKind) -> None:
    file = read_file(kind)
    assert len(file.left_out) == file.fit.groups
    for found in file.left_out_sets().values():
        changed = {n for n in found.__slots__ if getattr(found, n) != getattr(Coefficients(), n)}
        assert changed <= file.coefficients.keys()


def test_host_time_without_being_told_is_what_ships() -> None:
    found = shipped("roofline")
    assert HostTime() == HostTime(found.vllm_step_s, found.sequence_s)
    assert Calibration().host == HostTime()


def test_each_engine_has_a_loop_of_its_own() -> None:
    c = Coefficients(1.0, 2.0, 3.0, 4.0)
    assert c.step_s("vllm", is_asynchronous=False) == 1.0
    assert c.step_s("vllm", is_asynchronous=True) == 2.0
    assert c.step_s("sglang", is_asynchronous=True) == 3.0
    assert c.step_s("trtllm", is_asynchronous=True) == 4.0


def factor(operation: Operation, coefficients: Coefficients, device: str = "h100_sxm") -> float:
    accelerator = catalogue.accelerator(device)
    cost = CorrectedSource(ROOFLINE, coefficients).cost(operation, accelerator)
    return float(cost.seconds / ROOFLINE.cost(operation, accelerator).seconds)


def test_the_defaults_correct_nothing() -> None:
    assert corrected(ROOFLINE, Coefficients()) is ROOFLINE
    assert factor(PROMPT, Coefficients()) == 1.0
    hosts_alone = Coefficients(vllm_step_s=9e-3)
    assert corrected(ROOFLINE, hosts_alone) is ROOFLINE


def test_factors_scale_prompts_and_decodes_apart() -> None:
    slow_prompts, slow_decodes = (
        Coefficients(compute_factor=2.0),
        Coefficients(bandwidth_factor=2.0),
    )
    assert factor(PROMPT, slow_prompts) > 1.8
    assert factor(DECODE, slow_prompts) < 1.1
    assert factor(DECODE, slow_decodes) > 1.9


def test_blackwell_and_experts_have_factors_of_their_own() -> None:
    experts = MoeExperts(65536.0, 128, 128, 8, 4096, 1536, 3, Dtype.BF16)
    for operation, found in ((PROMPT, 1.0), (experts, 1.5)):
        only_experts = Coefficients(experts_compute_factor=1.5)
        assert factor(operation, only_experts) == pytest.approx(found, abs=0.1)
    blackwell = Coefficients(blackwell_compute_factor=1.5)
    assert factor(PROMPT, blackwell) == 1.0
    assert factor(PROMPT, blackwell, "b200_sxm") > 1.4


def test_a_users_own_calibration_takes_the_place_of_what_ships() -> None:
    own = replace(Calibration(), compute_factor=2.0)
    cost = default_source(own).cost(PROMPT, H100).seconds
    assert cost > 1.8 * ROOFLINE.cost(PROMPT, H100).seconds
    as_shipped = corrected(ROOFLINE, shipped("roofline")).cost(PROMPT, B200)
    assert default_source().cost(PROMPT, B200) == as_shipped
