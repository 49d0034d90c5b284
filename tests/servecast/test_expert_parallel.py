"""Data-parallel ranks with experts: in a scenario, in its verbs, in the emitted options."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from servecast.api import simulate
from servecast.domain import deployment
from servecast.emulators import started_vllm
from servecast.errors import UnsupportedError
from servecast.faults import ScenarioError
from servecast.loading import load
from servecast.primitives.memory import ledger
from servecast.search.serve_command import parse
from servecast.search.space import refuse_unsearched
from servecast.search.vllm_arguments import arguments, words
from servecast.timewarp.mode import Mode
from tests.command import run
from tests.emitted_cases import BLOCKS, DEPLOYMENT, WORKLOAD

SCENARIO = """
model: Qwen/Qwen3-30B-A3B
hardware: {{gpu: h100_sxm, gpus: 8}}
engine: {{name: vllm, version: "0.32"}}
deployment:
  data_parallel_size: {ranks}
  enable_expert_parallel: true
  max_model_len: 4096
  max_num_seqs: 64
  max_num_batched_tokens: 2048
{more}
workload: {{synthetic: fixed, input_tokens: 200, output_tokens: 20, requests: 40, rate: 20/s}}
slo: ["ttft:p95 < 500ms"]
objective: goodput
"""
EMITTED = dataclasses.replace(DEPLOYMENT, data_parallel_size=4, enable_expert_parallel=True)


def written(folder: Path, ranks: int = 4, *more: str) -> Path:
    path = folder / "scenario.yaml"
    lines = "\n".join(f"  {line}" for line in more)
    path.write_text(SCENARIO.format(ranks=ranks, more=lines), encoding="utf-8")
    return path


def test_a_scenario_states_ranks_and_how_experts_are_reached(tmp_path: Path) -> None:
    backend = "all2all_backend: deepep_low_latency"
    found = deployment(load(written(tmp_path, 4, backend, "expert_imbalance: 1.3")))
    assert (found.data_parallel_size, found.enable_expert_parallel, found.gpus) == (4, True, 4)
    assert (found.all2all_backend, found.expert_imbalance) == ("deepep_low_latency", 1.3)


def test_ranks_take_gpus_of_the_budget(tmp_path: Path) -> None:
    automatic = deployment(load(written(tmp_path, 4, "replicas: auto")))
    assert (automatic.replicas, automatic.gpus) == (2, 8)
    with pytest.raises(ScenarioError, match=r"needs 16 GPUs, more than hardware\.gpus 8"):
        load(written(tmp_path, 4, "replicas: 2", "tensor_parallel_size: 2"))


def test_more_ranks_serve_and_an_uneven_load_serves_later(tmp_path: Path) -> None:
    even = simulate(load(written(tmp_path, 4)))
    uneven = simulate(load(written(tmp_path, 4, "expert_imbalance: 4.0")))
    assert len(even.records) == len(uneven.records) == 40
    assert uneven.tpot.mean > even.tpot.mean
    assert even.energy is None  # of ranks that wait for each other it is not known


def test_simulate_says_how_many_ranks(tmp_path: Path) -> None:
    said = run("simulate", str(written(tmp_path, 2)))
    assert said.code == 0
    assert "1 replica of 2 × h100_sxm" in said.out
    assert "expert parallel" in said.out
    assert "data_parallel_size 2" in said.out


def test_memory_shows_one_rank() -> None:
    model = ("memory", "Qwen/Qwen3-30B-A3B", "--gpu", "h100_sxm", "--json")
    alone = run(*model).json
    ranks = run(*model, "--data-parallel-size", "8", "--enable-expert-parallel").json
    assert (alone["gpus"], ranks["gpus"]) == (1, 8)
    assert ranks["bytes_per_block"] == alone["bytes_per_block"]
    assert ranks["num_gpu_blocks"] > 3 * alone["num_gpu_blocks"]


def test_experts_are_dealt_out_and_attention_is_not(tmp_path: Path) -> None:
    """Qwen3-30B-A3B: 48 layers of 128 experts of 768, bf16."""
    two, four = (deployment(load(written(tmp_path, ranks))) for ranks in (2, 4))
    less = ledger(two).weights_bytes - ledger(four).weights_bytes
    assert less == 48 * (128 // 2 - 128 // 4) * 3 * 2048 * 768 * 2
    assert ledger(two).geometry == ledger(four).geometry


def test_what_is_not_searched_nor_emulated_says_so(tmp_path: Path) -> None:
    found = deployment(load(written(tmp_path)))
    with pytest.raises(UnsupportedError, match="data_parallel_size 4 is not searched"):
        refuse_unsearched(found)
    with pytest.raises(UnsupportedError, match="data_parallel_size 4 is not emulated"):
        started_vllm(found, WORKLOAD, list, Mode())


def test_the_emitted_options_are_read_back() -> None:
    command = parse(shlex.join(["vllm", "serve", "m", *words(arguments(EMITTED, BLOCKS))]))
    assert (command.data_parallel_size, command.enable_expert_parallel) == (4, True)


@pytest.mark.engine(name="vllm")
def test_the_engine_understands_them() -> None:
    parser_class = pytest.importorskip("vllm.utils.argparse_utils").FlexibleArgumentParser
    cli = pytest.importorskip("vllm.entrypoints.launchers.cli_args")
    chosen = dataclasses.replace(EMITTED, all2all_backend="deepep_low_latency")
    started = cli.make_arg_parser(parser_class()).parse_args(
        ["m", *words(arguments(chosen, BLOCKS))]
    )
    assert (started.data_parallel_size, started.enable_expert_parallel) == (4, True)
    assert (started.all2all_backend, started.api_server_count) == ("deepep_low_latency", 1)
