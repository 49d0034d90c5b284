"""The coefficients that ship: the engines' host time and corrections of device times.

Two sets, one for costs from measured tables and one for the roofline. The files are written by
`python -m benchmarks.fit_coefficients`; docs/accuracy.md says what they are worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

CostKind = Literal["roofline", "tables"]
"""What prices a step's operations."""

FOLDER = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One set. The defaults are what is taken for granted before any fit."""

    vllm_step_s: float = 1.5e-3
    """Host time that a step of vLLM leaves exposed with synchronous scheduling."""
    vllm_async_step_s: float = 0.3e-3
    """The same where the next step is scheduled while the device computes."""
    sglang_step_s: float = 0.8e-3
    trtllm_step_s: float = 0.5e-3
    sequence_s: float = 10e-6
    """Exposed host time a sequence and step, of every engine."""
    bandwidth_factor: float = 1.0
    """On the time of work bound by bandwidth: most of a decode step."""
    compute_factor: float = 1.0
    """On the time of work bound by FLOPs: most of a long prompt."""
    blackwell_compute_factor: float = 1.0
    """The same again, on devices with 4-bit matrix hardware."""
    experts_compute_factor: float = 1.0
    """The same again, on the products of experts."""

    def step_s(self, engine: str, *, is_asynchronous: bool) -> float:
        """Exposed host seconds a step; engines without a loop of their own here have vLLM's."""
        if engine == "sglang":
            return self.sglang_step_s
        if engine == "trtllm":
            return self.trtllm_step_s
        return self.vllm_async_step_s if is_asynchronous else self.vllm_step_s

    @property
    def corrects_device(self) -> bool:
        """Whether any device time is scaled."""
        own = (self.bandwidth_factor, self.compute_factor)
        return {*own, self.blackwell_compute_factor, self.experts_compute_factor} != {1.0}


@cache
def shipped(kind: CostKind) -> Coefficients:
    """The set that ships for these costs; what its fit did not keep has its default."""
    text = coefficients_path(kind).read_text(encoding="utf-8")
    kept: dict[str, dict[str, float]] = yaml.safe_load(text)["coefficients"]
    return Coefficients(**{name: fitted["value"] for name, fitted in kept.items()})


def coefficients_path(kind: CostKind) -> Path:
    """Where a set's file lies."""
    return FOLDER / f"coefficients_{kind}.yaml"
