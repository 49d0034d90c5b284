"""The benchmark sends what was simulated."""

from __future__ import annotations

import dataclasses
import json
from argparse import Namespace
from pathlib import Path

import pytest

from servecast.search.emit import emit
from servecast.simulator.slo import parse_slo
from servecast.traces.prefixes import prefixes
from tests.emitted_cases import BLOCKS, DEPLOYMENT, WORKLOAD, bench_words

OBJECTIVES = (
    "ttft:p99.9 < 500ms",
    "ttft:p50 < 300ms",
    "tpot:mean < 40ms",
    "itl:p99 < 60ms",
    "e2e:p95 < 12.5s",
    "attainment > 99%",
)


def test_the_requests_are_those_that_were_simulated(tmp_path: Path) -> None:
    emit(DEPLOYMENT, BLOCKS, WORKLOAD, tmp_path / "1", why="")
    lines = (tmp_path / "1" / "requests.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"timestamp": 0.0, "input_length": 100, "output_length": 10, "hash_ids": [0]},
        {"timestamp": 0.25, "input_length": 2000, "output_length": 1, "hash_ids": [1]},
        {"timestamp": 3.000000001, "input_length": 300, "output_length": 16384, "hash_ids": [2]},
    ]


def test_prompts_begin_alike_where_they_were_simulated_so(tmp_path: Path) -> None:
    shared = dataclasses.replace(WORKLOAD, prefixes=prefixes(64, [[5, 6], [5, 6, 9], []]))
    emit(DEPLOYMENT, BLOCKS, shared, tmp_path / "1", why="")
    lines = (tmp_path / "1" / "requests.jsonl").read_text().splitlines()
    first, second, third = (json.loads(line)["hash_ids"] for line in lines)
    assert (first, second[:3]) == ([5, 6], [5, 6, 9])
    assert [len(ids) for ids in (first, second, third)] == [2, 32, 5]  # of 100, 2000, 300 tokens
    own = [*second[3:], *third]
    assert len(set(own)) == len(own)
    assert min(own) > 9
    sent = bench_words(tmp_path / "1")
    assert sent[sent.index("--timed-trace-chunk-hash-size") + 1] == "64"


def test_the_benchmark_replays_arrivals_and_holds_requests_to_the_objectives(
    tmp_path: Path,
) -> None:
    emit(
        DEPLOYMENT,
        BLOCKS,
        WORKLOAD,
        tmp_path / "1",
        why="",
        slos=[parse_slo(line) for line in OBJECTIVES],
    )
    sent = bench_words(tmp_path / "1")
    assert "--self-timed" in sent
    assert sent[sent.index("--num-prompts") + 1] == "3"
    assert sent[sent.index("--timed-trace-chunk-hash-size") + 1] == "2000"
    assert sent[sent.index("--metric-percentiles") + 1] == "50,90,95,99,99.9"
    goodput = sent.index("--goodput")
    assert sent[goodput + 1 : goodput + 5] == ["ttft:300", "tpot:40", "e2el:12500", "--save-result"]


def test_a_closed_loop_is_sent_so_many_at_a_time(tmp_path: Path) -> None:
    closed = dataclasses.replace(WORKLOAD, concurrency=8, think_ns=1_500_000_000)
    emit(DEPLOYMENT, BLOCKS, closed, tmp_path / "1", why="")
    sent = bench_words(tmp_path / "1")
    assert "--no-self-timed" in sent
    assert sent[sent.index("--max-concurrency") + 1] == "8"
    assert "think for 1.5 s" in (tmp_path / "1" / "why.md").read_text()


@pytest.mark.engine(name="vllm")
def test_the_engines_own_client_draws_the_simulated_requests(tmp_path: Path) -> None:
    datasets = pytest.importorskip("vllm.benchmarks.datasets.datasets")
    parser = pytest.importorskip("vllm.utils.argparse_utils").FlexibleArgumentParser()
    pytest.importorskip("vllm.benchmarks.serve").add_cli_args(parser)
    emit(DEPLOYMENT, BLOCKS, WORKLOAD, tmp_path / "1", why="")
    options: Namespace = parser.parse_args(bench_words(tmp_path / "1"))
    options.dataset_path = str(tmp_path / "1" / "requests.jsonl")

    class Tokenizer:
        """Enough of a tokenizer for the client to draw tokens from."""

        all_special_ids = (0,)

        def get_vocab(self) -> dict[str, int]:
            return {f"token {i}": i for i in range(1000)}

    drawn = datasets.TimedTrace(**vars(options)).sample(Tokenizer(), num_requests=3)
    assert [request.timestamp for request in drawn] == [0.0, 0.25, 3.000000001]
    assert [request.prompt_len for request in drawn] == [100, 2000, 300]
    assert [request.expected_output_len for request in drawn] == [10, 1, 16384]
    assert len({tuple(request.prompt[:16]) for request in drawn}) == 3
