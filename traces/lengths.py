"""Length models: how long prompts and answers are, drawn as pairs.

Pairs and not two marginals, because input and output lengths of real traffic are correlated,
either way (from -0.46 for arXiv summaries to +0.29 for news summaries).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.traces.quantities import MAX_TOKENS
from servecast.traces.workload import Ints

_SMALLEST = 1e-9
_MAX_SIGMA = 10.0


class LengthModel(Protocol):
    """A source of length pairs, asked once per workload."""

    def draw(self, requests: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Input and output tokens of `requests` requests, all at least 1.

        More requests from the same generator state begin with the same ones.
        """
        ...

    @property
    def max_output_tokens(self) -> int:
        """The longest output that can be drawn: what a client declares as max_tokens."""
        ...


@dataclass(frozen=True, slots=True)
class FixedLengths:
    """Every request alike."""

    input_tokens: int
    output_tokens: int

    def __post_init__(self) -> None:
        _require_range("input_tokens", (self.input_tokens, self.input_tokens))
        _require_range("output_tokens", (self.output_tokens, self.output_tokens))

    @property
    def max_output_tokens(self) -> int:
        return self.output_tokens

    def draw(self, requests: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        return (
            np.full(requests, self.input_tokens, np.int64),
            np.full(requests, self.output_tokens, np.int64),
        )


@dataclass(frozen=True, slots=True)
class Bell:
    """One lognormal cloud of requests: the logarithms of both lengths are jointly normal.

    `weight` is its share among the bells of a model, `correlation` that of the logarithms.
    """

    weight: float
    input_median: float
    input_sigma: float
    output_median: float
    output_sigma: float
    correlation: float = 0.0

    def __post_init__(self) -> None:
        _require_between("weight", self.weight, _SMALLEST, MAX_TOKENS)
        _require_between("input_median", self.input_median, _SMALLEST, MAX_TOKENS)
        _require_between("input_sigma", self.input_sigma, 0, _MAX_SIGMA)
        _require_between("output_median", self.output_median, _SMALLEST, MAX_TOKENS)
        _require_between("output_sigma", self.output_sigma, 0, _MAX_SIGMA)
        _require_between("correlation", self.correlation, -1, 1)


@dataclass(frozen=True, slots=True)
class LognormalLengths:
    """Lognormal lengths, or a mixture of several such bells, rounded and clipped to ranges."""

    bells: tuple[Bell, ...]
    input_range: tuple[int, int] = (1, MAX_TOKENS)
    output_range: tuple[int, int] = (1, MAX_TOKENS)

    def __post_init__(self) -> None:
        if not self.bells:
            raise InputError("lognormal lengths need at least one bell", hint="add a `Bell`")
        _require_range("input_range", self.input_range)
        _require_range("output_range", self.output_range)

    @property
    def max_output_tokens(self) -> int:
        return self.output_range[1]

    def draw(self, requests: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        bells, inputs, outputs = rng.spawn(3)
        table: NDArray[np.float64] = np.array([astuple(bell) for bell in self.bells], np.float64)
        ends = np.cumsum(table[:, 0])
        draws = bells.random(requests) * float(ends[-1])
        of: NDArray[np.intp] = np.searchsorted(ends[:-1], draws, side="right")
        _, input_median, input_sigma, output_median, output_sigma, rho = table.T
        shared = inputs.standard_normal(requests)
        own = outputs.standard_normal(requests)
        own = rho[of] * shared + np.sqrt(1.0 - rho**2)[of] * own
        return (
            _tokens(input_median[of], input_sigma[of] * shared, self.input_range),
            _tokens(output_median[of], output_sigma[of] * own, self.output_range),
        )


@dataclass(frozen=True, slots=True, eq=False)
class EmpiricalLengths:
    """Measured pairs, drawn whole and with replacement, so that their correlation survives."""

    input_tokens: Ints
    output_tokens: Ints

    def __post_init__(self) -> None:
        rows = len(self.input_tokens)
        if not rows or rows != len(self.output_tokens):
            raise InputError(
                f"length pairs are {rows} inputs and {len(self.output_tokens)} outputs, "
                "and must be as many, at least one",
                hint="give one output for each input",
            )
        _require_range("input_tokens", _span(self.input_tokens))
        _require_range("output_tokens", _span(self.output_tokens))

    @property
    def max_output_tokens(self) -> int:
        return int(self.output_tokens.max())

    def draw(self, requests: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        rows = rng.integers(len(self.input_tokens), size=requests)
        return self.input_tokens[rows], self.output_tokens[rows]


def _tokens(
    median: NDArray[np.float64], log_offset: NDArray[np.float64], bounds: tuple[int, int]
) -> Ints:
    return np.clip(np.rint(median * np.exp(log_offset)), *bounds).astype(np.int64)


def _span(tokens: Ints) -> tuple[int, int]:
    return int(tokens.min()), int(tokens.max())


def _require_range(name: str, bounds: tuple[int, int]) -> None:
    low, high = bounds
    if not 1 <= low <= high <= MAX_TOKENS:
        shown = f"{low}" if low == high else f"{low} to {high}"
        raise InputError(
            f"{name} is {shown}, and must lie within 1 to {MAX_TOKENS} tokens, the lower end first",
            hint="a request has at least one token each way",
        )


def _require_between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InputError(
            f"{name} is {value:g}, and must be from {least:g} to {most:g}",
            hint="medians are tokens, sigmas and the correlation those of the logarithms",
        )
