from __future__ import annotations

from math import isclose
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.traces.lengths import (
    Bell,
    EmpiricalLengths,
    FixedLengths,
    LengthModel,
    LognormalLengths,
)
from servecast.traces.readers import read_lengths

PAIRS = EmpiricalLengths(np.array([10, 20, 30]), np.array([300, 200, 100]))
WIDE = LognormalLengths((Bell(1, 1000, 0.8, 200, 0.5, 0.6),))
MIXED = LognormalLengths(
    (Bell(3, 100, 0.1, 1000, 0.1), Bell(1, 5000, 0.1, 10, 0.1)), (90, 5000), (5, 1000)
)
MODELS: list[LengthModel] = [FixedLengths(1024, 128), WIDE, MIXED, PAIRS]


def drawn(model: LengthModel, requests: int) -> tuple[np.ndarray, np.ndarray]:
    return model.draw(requests, np.random.default_rng(7))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_every_model_draws_whole_tokens_within_its_declared_limit(model: LengthModel) -> None:
    inputs, outputs = drawn(model, 1000)
    assert inputs.dtype == outputs.dtype == np.int64
    assert len(inputs) == len(outputs) == 1000
    assert min(inputs.min(), outputs.min()) >= 1
    assert outputs.max() <= model.max_output_tokens


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_more_requests_begin_with_the_same_ones(model: LengthModel) -> None:
    few, many = drawn(model, 10), drawn(model, 1000)
    assert [column[:10].tolist() for column in many] == [column.tolist() for column in few]


def test_one_bell_has_the_stated_medians_spreads_and_correlation() -> None:
    inputs, outputs = (np.log(tokens) for tokens in drawn(WIDE, 200_000))
    assert isclose(np.exp(np.median(inputs)), 1000, rel_tol=0.01)
    assert isclose(np.exp(np.median(outputs)), 200, rel_tol=0.01)
    assert isclose(inputs.std(), 0.8, rel_tol=0.01)
    assert isclose(outputs.std(), 0.5, rel_tol=0.01)
    assert isclose(np.corrcoef(inputs, outputs)[0, 1], 0.6, abs_tol=0.01)


def test_a_mixture_shares_by_weight_clips_and_keeps_pairs_together() -> None:
    inputs, outputs = drawn(MIXED, 100_000)
    short = inputs < 1000
    assert isclose(short.mean(), 0.75, abs_tol=0.01)
    assert outputs[short].min() > 500
    assert outputs[~short].max() < 50
    assert (inputs.min(), inputs.max(), outputs.max()) == (90, 5000, 1000)


def test_empirical_pairs_are_never_parted() -> None:
    inputs, outputs = drawn(PAIRS, 1000)
    assert set(zip(inputs.tolist(), outputs.tolist(), strict=True)) == {
        (10, 300),
        (20, 200),
        (30, 100),
    }


def test_published_pairs_keep_their_correlation(data_dir: Path) -> None:
    pairs = read_lengths(data_dir / "traces" / "lengths_arxiv_summarization.csv.gz")
    inputs, outputs = drawn(pairs, 100_000)
    assert isclose(np.corrcoef(inputs, outputs)[0, 1], -0.463, abs_tol=0.02)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 100, 1, 100, 1, 0), "weight is 0"),
        ((1, 0, 1, 100, 1, 0), "input_median is 0"),
        ((1, 100, -1, 100, 1, 0), "input_sigma is -1, and must be from 0 to 10"),
        ((1, 100, 1, float("nan"), 1, 0), "output_median is nan"),
        ((1, 100, 1, 100, 11, 0), "output_sigma is 11"),
        ((1, 100, 1, 100, 1, 1.5), "correlation is 1.5, and must be from -1 to 1"),
    ],
)
def test_a_bell_out_of_range_names_value_and_rule(
    values: tuple[float, float, float, float, float, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Bell(*values)


def test_lengths_out_of_range_name_value_and_rule() -> None:
    with pytest.raises(InputError, match="output_tokens is 0, and must lie within 1 to"):
        FixedLengths(10, 0)
    with pytest.raises(InputError, match=r"input_range is 9 to 3, .* the lower end first"):
        LognormalLengths((Bell(1, 5, 0, 5, 0),), (9, 3))
    with pytest.raises(InputError, match="at least one bell"):
        LognormalLengths(())
    with pytest.raises(InputError, match="2 inputs and 1 outputs"):
        EmpiricalLengths(np.array([1, 2]), np.array([1]))
    with pytest.raises(InputError, match="input_tokens is 0 to 2"):
        EmpiricalLengths(np.array([0, 2]), np.array([1, 1]))
