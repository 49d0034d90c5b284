"""The benchmark client's workload."""

from __future__ import annotations

from servecast.profiler.benchmark_client import benchmark_workload


def test_ten_prompts_a_client_within_the_range_of_lengths() -> None:
    found = benchmark_workload(64, 1000, 100, exact=False)
    assert (len(found), found.concurrency) == (640, 64)
    assert (int(found.prompt_tokens.min()), int(found.prompt_tokens.max())) >= (800, 990)
    assert int(found.prompt_tokens.max()) <= 1000
    assert 80 <= int(found.output_tokens.min()) <= int(found.output_tokens.max()) <= 100
    assert abs(float(found.prompt_tokens.mean()) - 900) < 10


def test_own_sweeps_have_exact_lengths_and_the_same_row_the_same_prompts() -> None:
    exact = benchmark_workload(4, 1000, 100, exact=True)
    assert set(exact.prompt_tokens.tolist()) == {1000}
    again = [benchmark_workload(8, 512, 64, exact=False).prompt_tokens.tolist() for _ in range(2)]
    assert again[0] == again[1]
