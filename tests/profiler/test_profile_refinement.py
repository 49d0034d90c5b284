"""Where further points go: to the line whose points predict each other worst."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from servecast.primitives.cost_table import TableKey, cost_table
from servecast.profiler.probe import Probe
from servecast.profiler.probe_lines import left_out_errors
from servecast.profiler.refinement import Refinement
from tests.profiler.probe_cases import H200

GEMM = TableKey("gemm", H200.name, "bf16", "servecast", "1")
DECODE = TableKey("decode_attention", H200.name, "bf16", "servecast", "1", "kv=bf16")
SIZES = (1, 4, 16, 64, 256, 1024, 4096)


def product(m: int, n: int = 4096) -> Probe:
    return Probe(GEMM, (m, n, 4096))


def decode(batch: int, context: int) -> Probe:
    return Probe(DECODE, (batch, context, 16, 8, 128, 0))


def refined(law: Callable[[int], float], spread: float = 0.0) -> Refinement:
    refinement = Refinement(H200)
    for m in SIZES:
        refinement.add(product(m), law(m), spread)
    return refinement


def jump(m: int) -> float:
    return 5e-6 if m <= 300 else 40e-6


def test_a_line_that_predicts_itself_needs_nothing() -> None:
    assert refined(lambda m: 5e-6).next() == []


def test_the_next_point_lies_beside_a_jump() -> None:
    refinement = refined(jump)
    (probe,) = refinement.next()
    assert 64 < probe.sizes["m"] < 4096


def test_points_close_in_on_a_jump() -> None:
    refinement = refined(jump)
    measured: list[int] = []
    while probes := refinement.next():
        for probe in probes:
            m = probe.sizes["m"]
            measured.append(m)
            refinement.add(probe, jump(m), 0.0)
        assert len(measured) < 60
    below = max(m for m in (*SIZES, *measured) if m <= 300)
    above = min(m for m in (*SIZES, *measured) if m > 300)
    assert above / below <= 1.25
    assert len(set(measured)) == len(measured)


def test_the_worst_line_comes_first() -> None:
    refinement = refined(lambda m: 5e-6 if m <= 300 else 7e-6)
    for m in SIZES:
        refinement.add(product(m, n=1024), jump(m), 0.0)
    (probe,) = refinement.next()
    assert probe.sizes["n"] == 1024


def test_of_equal_errors_the_wider_gap_comes_first() -> None:
    refinement = Refinement(H200)
    for m in (1, 64, 80, 96, 1024):
        refinement.add(product(m), 5e-6 if m <= 80 else 40e-6, 0.0)
    (probe,) = refinement.next()
    assert 96 < probe.sizes["m"] < 1024


def test_noise_is_not_chased() -> None:
    wobble = {m: 5e-6 * (1.1 if place % 2 else 1.0) for place, m in enumerate(SIZES)}
    assert refined(wobble.__getitem__, spread=0.0).next()
    assert refined(wobble.__getitem__, spread=0.2).next() == []


def test_what_was_refused_is_not_asked_again() -> None:
    refinement = refined(jump)
    seen: set[Probe] = set()
    while probes := refinement.next():
        assert not seen & set(probes)
        seen |= set(probes)
        for probe in probes:
            refinement.refuse(probe)
    assert seen


def test_two_points_are_not_trusted_alone() -> None:
    refinement = Refinement(H200)
    refinement.add(product(1), 5e-6, 0.0)
    refinement.add(product(4096), 50e-6, 0.0)
    assert refinement.next() == [product(64)]


def test_a_new_row_of_a_grid_has_the_columns_of_its_neighbours() -> None:
    refinement = Refinement(H200)
    contexts = (128, 1024, 8192, 65536)
    for batch in (1, 4, 16, 64, 256):
        for context in contexts[:3] if batch == 64 else contexts:
            refinement.add(decode(batch, context), 5e-6 * (1 if batch < 40 else 9), 0.0)
    probes = refinement.next()
    assert {probe.sizes["batch"] for probe in probes} == {32}
    assert [probe.sizes["context_tokens"] for probe in probes] == [128, 1024, 8192]


def test_errors_of_a_table_are_those_of_its_lines() -> None:
    points = np.array([product(m).point for m in SIZES])
    flat = cost_table(GEMM, points, np.full(len(SIZES), 5e-6))
    assert left_out_errors(flat, H200) == pytest.approx(np.zeros(len(SIZES) - 2), abs=1e-12)
    stepped = cost_table(GEMM, points, np.array([jump(m) for m in SIZES]))
    assert np.abs(left_out_errors(stepped, H200)).max() > 0.5


def test_a_table_that_is_not_profiled_has_no_errors() -> None:
    key = TableKey("all_reduce", H200.name, "bf16", "nccl", "2")
    table = cost_table(key, np.array([[1024, 2], [2048, 2]]), np.array([1e-5, 2e-5]))
    assert len(left_out_errors(table, H200)) == 0
