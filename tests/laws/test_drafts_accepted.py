"""Laws of acceptance: the textbook's mean, means kept by any spread, and published curves.

The curves are acceptance lengths of InferenceX's `golden_al_distribution` (SemiAnalysisAI,
Apache-2.0): vLLM on B300, SPEED-Bench coding, by the number of drafts from 1 to 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.acceptance import constant, decaying, tokens_per_step
from servecast.primitives.request_rates import request_rates, widest_spread
from servecast.primitives.speculation import Speculation

CURVES = {
    "deepseek-v4-pro-0813 dspark": (1.84, 2.51, 3.01, 3.36, 3.61, 3.77, 3.73, 3.47),
    "deepseek-v4-pro mtp": (1.79, 2.27, 2.49, 2.54, 2.55, 2.55, 2.54, 2.58),
    "deepseek-v4-pro mtp, not thinking": (1.92, 2.61, 2.97, 3.00, 3.10, 3.16, 3.00, 3.11),
    "kimi-k2.5 eagle3": (1.83, 2.43, 2.88, 3.24, 3.46, 3.62, 3.71, 3.77),
    "kimi-k2.5 eagle3, not thinking": (1.80, 2.33, 2.75, 3.06, 3.25, 3.43, 3.46, 3.51),
    "kimi-k3 dspark": (1.85, 2.51, 3.00, 3.36, 3.62, 3.75, 3.84, 4.00),
    "minimax-m3 eagle3": (1.78, 2.38, 2.83, 3.11, 3.35, 3.45, 3.53, 3.74),
    "minimax-m3 eagle3, not thinking": (1.84, 2.52, 2.93, 3.41, 3.59, 3.57, 3.85, 4.06),
    "qwen3.5-397b mtp": (1.93, 2.73, 3.39, 3.97, 4.41, 4.80, 5.04, 5.21),
    "qwen3.5-397b mtp, not thinking": (1.92, 2.70, 3.33, 3.83, 4.20, 4.48, 4.73, 4.71),
}
FITTED_TO = 4


@given(rate=st.floats(0.0, 0.99), drafts=st.integers(0, 16))
def test_a_constant_rate_brings_the_textbooks_tokens(rate: float, drafts: int) -> None:
    expected = (1 - rate ** (drafts + 1)) / (1 - rate)
    assert tokens_per_step(constant(rate, drafts)) == pytest.approx(expected)


@given(rate=st.floats(0.0, 1.0), drafts=st.integers(1, 6))
@settings(derandomize=True)
def test_draws_bring_as_many_tokens_on_average(rate: float, drafts: int) -> None:
    drafting = Speculation("ngram", drafts, constant(rate, drafts))
    drawn = np.array([drafting.accepted(0, position) for position in range(2000)])
    error = 5 * drafts / np.sqrt(len(drawn))
    assert 1 + drawn.mean() == pytest.approx(tokens_per_step(drafting.acceptance), abs=error)


@given(
    means=st.lists(st.floats(0.02, 0.98), min_size=1, max_size=4).map(
        lambda chances: tuple(sorted(chances, reverse=True))
    ),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 3),
)
@settings(derandomize=True)
def test_a_spread_between_requests_keeps_every_mean(
    means: tuple[float, ...], share: float, seed: int
) -> None:
    spread = share * widest_spread(means[0])
    own = np.array([request_rates(means, spread, seed, request) for request in range(2000)])
    assert (np.diff(own, axis=1) <= 0).all()
    assert ((own >= 0) & (own <= 1)).all()
    error = 5 * own.std(axis=0) / np.sqrt(len(own)) + 1e-6
    assert (np.abs(own.mean(axis=0) - means) < error).all()
    assert own[:, 0].std() == pytest.approx(spread, rel=0.15)


def test_requests_that_differ_spread_the_steps_that_equal_ones_take() -> None:
    def steps(spread: float) -> list[int]:
        drafting = Speculation("ngram", 4, constant(0.674, 4), request_spread=spread)
        return [_steps(drafting, request, 128) for request in range(400)]

    alike, unequal = np.array(steps(0.0)), np.array(steps(0.19))
    assert np.percentile(unequal, 95) > 1.3 * np.percentile(alike, 95)
    assert unequal.mean() > alike.mean()  # slow requests take more steps than fast ones save


def _steps(drafting: Speculation, request: int, tokens: int) -> int:
    position = steps = 0
    while position < tokens:
        position += 1 + drafting.accepted(request, position)
        steps += 1
    return steps


def _fitted(lengths: Sequence[float]) -> tuple[float, float]:
    """The first chance and the decay that come closest to acceptance lengths from 1 draft on."""

    def error(parameters: tuple[float, float]) -> float:
        chances = decaying(*parameters, len(lengths))
        found = [tokens_per_step(chances[: drafts + 1]) for drafts in range(len(lengths))]
        return float(np.square(np.array(found) - lengths).sum())

    grid = product(np.arange(0.6, 1.0, 0.005), np.arange(0.5, 1.05, 0.005))
    return min(((float(first), float(decay)) for first, decay in grid), key=error)


def test_two_parameters_follow_published_curves_where_one_rate_does_not() -> None:
    decay_errors, rate_errors = list[float](), list[float]()
    for lengths in CURVES.values():
        chances = decaying(*_fitted(lengths[:FITTED_TO]), len(lengths))
        for drafts in range(FITTED_TO + 1, len(lengths) + 1):
            found = tokens_per_step(chances[:drafts])
            decay_errors.append(abs(found / lengths[drafts - 1] - 1))
        at_one = constant(lengths[0] - 1, len(lengths))
        rate_errors.append(tokens_per_step(at_one) / lengths[-1] - 1)
    assert np.mean(decay_errors) < 0.05
    assert np.mean(rate_errors) > 0.25
