from __future__ import annotations

from math import isclose
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.traces.arrivals import Gamma, Poisson
from servecast.traces.lengths import LengthModel
from servecast.traces.presets import PRESETS, preset
from servecast.traces.readers import read, read_lengths
from servecast.traces.statistics import statistics
from servecast.traces.synthesize import synthesize

MEAN_AND_PERCENTILES = 0.05
"""Relative tolerance of every mean, p50 and p95 against the published figure."""
CORRELATION = 0.05
"""Absolute tolerance of Pearson's correlation."""

# Input mean, p50, p95, output mean, p50, p95, correlation: as the data's publishers' files have it.
PUBLISHED = {
    "chat": (1154.7, 1020, 4083, 211.1, 129, 451, -0.112),
    "code": (2047.8, 1469, 7303.3, 27.9, 13, 90, 0.001),
    "sharegpt": (121.9, 72, 432, 1210.9, 1311, 2201, 0.168),
    "summarization": (2588.1, 2730, 3813, 291.4, 167, 736.2, -0.463),
    "reasoning": (803.8, 901.5, 1312, 4043.4, 2194, 13854.1, -0.338),
    "long_context": (12035.1, 6909, 39550.5, 342.6, 350, 698, 0.072),
    "rag": (9428.6, 10112, 15831.2, 684.7, 753, 1048, -0.152),
}


def figures(lengths: LengthModel) -> tuple[float, ...]:
    inputs, outputs = lengths.draw(200_000, np.random.default_rng(11))
    return figures_of(inputs, outputs)


def figures_of(inputs: np.ndarray, outputs: np.ndarray) -> tuple[float, ...]:
    marginals = [
        figure
        for tokens in (inputs, outputs)
        for figure in (tokens.mean(), *np.percentile(tokens, [50, 95]))
    ]
    return (*marginals, np.corrcoef(inputs, outputs)[0, 1])


def missed(
    found: tuple[float, ...],
    published: tuple[float, ...],
    *,
    relative: float = 0.0,
    absolute: float = 0.0,
) -> list[tuple[float, float]]:
    """The pairs of found and published figure that lie further apart than allowed."""
    return [
        (one, other)
        for one, other in zip(found, published, strict=True)
        if not isclose(one, other, rel_tol=relative, abs_tol=absolute)
    ]


def test_every_preset_is_held_to_published_figures() -> None:
    assert set(PUBLISHED) == set(PRESETS)
    assert all(name == shape.name for name, shape in PRESETS.items())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_follows_its_published_lengths(name: str) -> None:
    found = figures(PRESETS[name].lengths)
    assert missed(found[:-1], PUBLISHED[name][:-1], relative=MEAN_AND_PERCENTILES) == []
    assert missed(found[-1:], PUBLISHED[name][-1:], absolute=CORRELATION) == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("chat", "azure2023_conv.csv.gz"),
        ("code", "azure2023_code.csv.gz"),
        ("summarization", "lengths_arxiv_summarization.csv.gz"),
        ("reasoning", "lengths_mlperf_deepseek_r1.csv.gz"),
        ("long_context", "mooncake_conversation.jsonl.gz"),
    ],
)
def test_the_published_figures_are_those_of_the_data(data_dir: Path, name: str, file: str) -> None:
    pairs = read_lengths(data_dir / "traces" / file)
    found = figures_of(pairs.input_tokens, pairs.output_tokens)
    assert missed(found, PUBLISHED[name], absolute=0.06) == []


def test_chat_answers_are_bimodal_like_the_trace() -> None:
    _, outputs = PRESETS["chat"].lengths.draw(100_000, np.random.default_rng(2))
    counts, _ = np.histogram(outputs, bins=[60, 120, 180, 240, 300, 360, 420, 480])
    valley = int(np.argmin(counts))
    assert 2 <= valley <= 4
    assert counts[valley] < 0.25 * counts[0]
    assert counts[valley] < 0.25 * counts[5]


def test_reasoning_is_cut_where_the_benchmark_cuts_it() -> None:
    _, outputs = PRESETS["reasoning"].lengths.draw(100_000, np.random.default_rng(2))
    assert outputs.max() == 32_768
    assert isclose((outputs == 32_768).mean(), 0.011, abs_tol=0.002)


def test_code_bursts_like_the_trace_within_a_second(data_dir: Path) -> None:
    trace = statistics(read(data_dir / "traces" / "azure2023_code.csv.gz")).arrivals
    assert trace is not None
    made = statistics(synthesize("code", 300_000, rate_per_s=trace.rate_per_s, seed=4)).arrivals
    assert made is not None
    second, _, minute = (window.index_of_dispersion for window in made.windows)
    assert isclose(second, trace.windows[0].index_of_dispersion, rel_tol=0.1)
    assert minute < 0.3 * trace.windows[2].index_of_dispersion  # the departure `source` admits


def test_only_code_is_bursty_and_azures_shapes_are_credited() -> None:
    assert PRESETS["code"].arrivals == Gamma(cv=4.7)
    assert {name for name, shape in PRESETS.items() if shape.arrivals != Poisson()} == {"code"}
    credited = {name for name, shape in PRESETS.items() if "CC-BY-4.0" in shape.attribution}
    assert credited == {"chat", "code"}
    assert all(shape.source for shape in PRESETS.values())


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(InputError, match="preset `chta` is unknown") as caught:
        preset("chta")
    assert "did you mean `chat`?" in (caught.value.hint or "")
    assert "servecast trace synthesize" in (caught.value.hint or "")
