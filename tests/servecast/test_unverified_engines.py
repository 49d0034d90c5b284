"""TensorRT-LLM and the policies of the literature: read, filled, simulated, and said to be so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servecast.domain import deployment, workload
from servecast.errors import InfeasibleError, InputError, UnsupportedError
from servecast.loading import loads
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import ReferenceName, ReferencePolicy, TrtllmPolicy
from servecast.question import question
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from tests.command import assert_refused, run, write
from tests.servecast.minimal import FIXED, faults

VERSIONS = {"trtllm": "1.0", "reference": "0.32"}
ENGINES = pytest.mark.parametrize("engine", VERSIONS)


def text(engine: str, options: str = "") -> str:
    head, _, rest = FIXED.partition("engine:")
    section = f"deployment: {{{options}}}\n" if options else ""
    load = rest[rest.index("workload:") :]
    return f'{head}engine: {{name: {engine}, version: "{VERSIONS[engine]}"}}\n{section}{load}'


def deployed(engine: str, options: str = "") -> Deployment:
    return deployment(loads(text(engine, options)))


def test_tensorrt_llm_left_alone_has_the_documented_defaults() -> None:
    found = deployed("trtllm")
    assert (found.max_num_seqs, found.max_num_batched_tokens, found.block_size) == (2048, 8192, 32)
    assert found.max_model_len == 131072
    assert found.policy == TrtllmPolicy("GUARANTEED_NO_EVICT", False, False)
    assert found.schedules_ahead
    assert found.num_gpu_blocks_override is not None
    # Nine tenths of 80 GiB less 16 GB of weights and 3 GB of buffers: 4 MiB a block of 32 tokens.
    assert 13_500 < found.num_gpu_blocks_override < 14_500


def test_tensorrt_llms_options_reach_the_deployment() -> None:
    found = deployed(
        "trtllm",
        "max_seq_len: 4096, max_batch_size: 600, max_num_tokens: 512, tokens_per_block: 64,"
        " max_tokens: 40000, capacity_scheduler_policy: MAX_UTILIZATION,"
        " enable_chunked_prefill: true, disable_overlap_scheduler: true, kv_cache_dtype: fp8",
    )
    assert (found.max_model_len, found.max_num_seqs) == (4096, 512)
    assert found.num_gpu_blocks_override == 625
    assert found.policy == TrtllmPolicy("MAX_UTILIZATION", True, True)
    assert not found.schedules_ahead


def test_a_length_that_the_cache_does_not_hold_is_cut_or_refused() -> None:
    assert deployed("trtllm", "max_tokens: 40000").max_model_len == 40000
    with pytest.raises(InputError, match=r"max_seq_len 50,000 is longer than the KV cache"):
        deployed("trtllm", "max_tokens: 40000, max_seq_len: 50000")
    large = text("trtllm").replace("Llama-3.1-8B", "Llama-3.1-70B")
    with pytest.raises(InfeasibleError, match="no room for a KV cache"):
        deployment(loads(large))


def test_a_cache_smaller_than_a_block_is_refused() -> None:
    with pytest.raises(InputError, match="max_tokens 20 is less than a block of 32 tokens"):
        deployed("trtllm", "max_tokens: 20")


def test_a_cache_of_several_pools_is_refused_by_name() -> None:
    windowed = text("trtllm").replace("meta-llama/Llama-3.1-8B-Instruct", "openai/gpt-oss-20b")
    with pytest.raises(UnsupportedError, match="full attention alone"):
        deployment(loads(windowed))


@pytest.mark.parametrize(
    ("policy", "tokens", "block"), [("static", 8320, 1), ("orca", 8320, 1), ("sarathi", 512, 16)]
)
def test_a_reference_policy_has_the_limits_of_its_paper(
    policy: ReferenceName, tokens: int, block: int
) -> None:
    found = deployed("reference", f"policy: {policy}, max_model_len: 8192")
    assert found.policy == ReferencePolicy(policy)
    assert (found.max_num_seqs, found.max_num_batched_tokens) == (128, tokens)
    assert found.block_size == block


@pytest.mark.parametrize(
    ("engine", "option", "words"),
    [
        ("trtllm", "max_num_seqs: 64", ["vLLM's name", "`max_batch_size`"]),
        ("trtllm", "max_model_len: 64", ["`max_seq_len`"]),
        ("trtllm", "gpu_memory_utilization: 0.9", ["`kv_cache_free_gpu_memory_fraction`"]),
        ("trtllm", "enable_block_reuse: true", ["block reuse of TensorRT-LLM", "false"]),
        ("trtllm", "capacity_scheduler_policy: STATIC_BATCH", ["STATIC_BATCH", "MAX_UTIL"]),
        ("trtllm", "pp_size: 2", ["pipeline parallelism", "not modelled yet"]),
        ("trtllm", "max_beam_width: 4", ["beam search"]),
        ("trtllm", "max_seq_len: 200000", ["131072 or less"]),
        ("reference", "policy: fcfs", ["`fcfs`", "orca"]),
        ("reference", "max_num_seq: 4", ["did you mean `max_num_seqs`"]),
    ],
)
def test_what_is_not_modelled_is_told_by_name(engine: str, option: str, words: list[str]) -> None:
    told = faults(text(engine, option))
    name = option.partition(":")[0]
    assert list(told) == [f"deployment.{name}"]
    for word in words:
        assert word in told[f"deployment.{name}"]


@ENGINES
def test_an_unknown_release_names_the_known_one(engine: str) -> None:
    told = faults(text(engine).replace(f'"{VERSIONS[engine]}"', '"9.9"'))
    assert set(told) == {"engine.version"}
    assert VERSIONS[engine] in told["engine.version"]


@ENGINES
def test_a_dump_reads_back_as_the_same_scenario(engine: str) -> None:
    scenario = loads(text(engine, "tensor_parallel_size: [1, 2]").replace("gpus: 1", "gpus: 2"))
    assert loads(scenario.dump()) == scenario
    assert set(scenario.space().open) == {"tensor_parallel_size"}


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("trtllm", ""),
        ("trtllm", "capacity_scheduler_policy: MAX_UTILIZATION"),
        ("trtllm", "enable_chunked_prefill: true"),
        *(("reference", f"policy: {name}, max_model_len: 8192") for name in ("static", "orca")),
        ("reference", "policy: sarathi"),
    ],
)
def test_the_answer_says_that_nothing_was_laid_beside_it(
    engine: str, options: str, tmp_path: Path
) -> None:
    path = write(tmp_path, text(engine, options))
    told = run("simulate", path)
    assert (told.code, "unverified: " in told.out) == (0, True)
    choice = options.partition(",")[0] if "polic" in options else "GUARANTEED_NO_EVICT"
    assert choice.replace(": ", " ") in told.out
    answer = json.loads(run("simulate", path, "--json").out)
    assert "never laid beside" in answer["unverified"]
    assert answer["requests"] == 5


def test_an_engine_that_was_run_is_not_called_unverified(tmp_path: Path) -> None:
    path = write(tmp_path, FIXED)
    assert "unverified" not in run("simulate", path).out
    assert json.loads(run("simulate", path, "--json").out)["unverified"] is None


def test_pausing_takes_in_more_than_reserving_where_memory_is_short() -> None:
    """Of 60 requests that may come to 1,000 tokens each, 20 fit to the end of 20,000."""
    few = "max_tokens: 20000, max_seq_len: 1024"
    load = "input_tokens: 100, output_tokens: 900, requests: 60, concurrency: 60"
    ran: dict[str, Result] = {}
    for policy in ("GUARANTEED_NO_EVICT", "MAX_UTILIZATION"):
        changed = text("trtllm", f"{few}, capacity_scheduler_policy: {policy}").replace(
            "input_tokens: 100, output_tokens: 10, requests: 5, rate: 720/min", load
        )
        scenario = loads(changed)
        ran[policy] = simulate(deployment(scenario), workload(scenario))
    reserving, pausing = ran["GUARANTEED_NO_EVICT"], ran["MAX_UTILIZATION"]
    assert (reserving.preemptions, reserving.truncated) == (0, 0)
    assert pausing.preemptions > 0
    assert pausing.ttft.p50 < reserving.ttft.p50
    assert pausing.output_tokens == reserving.output_tokens == 60 * 900


@ENGINES
def test_what_cannot_be_done_is_refused_with_the_next_command(engine: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="not searched yet") as refused:
        question(loads(text(engine)), trials=1)
    assert "servecast simulate" in str(refused.value.hint)
    path = write(tmp_path, text(engine))
    assert_refused(run("emulate", path), 2, f"engine `{engine}` is not emulated", "simulate it")
    assert_refused(run("memory", path), 2, "not laid out", "servecast simulate")
