"""Each engine's options under its own names: read, filled with its defaults, or refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from servecast.domain import deployment
from servecast.errors import InfeasibleError, UnsupportedError
from servecast.loading import loads
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import SglangPolicy, TransformersPolicy
from servecast.question import question
from servecast.search.vllm_arguments import arguments
from servecast.timewarp.sglang_options import server_words
from servecast.timewarp.transformers_options import TransformersOptions
from tests.command import assert_refused, run, write
from tests.servecast.minimal import FIXED, faults

VERSIONS = {"sglang": "0.5.23", "transformers": "5.23"}


def text(engine: str, options: str = "") -> str:
    head, _, rest = FIXED.partition("engine:")
    section = f"deployment: {{{options}}}\n" if options else ""
    workload = rest[rest.index("workload:") :]
    return f'{head}engine: {{name: {engine}, version: "{VERSIONS[engine]}"}}\n{section}{workload}'


def deployed(engine: str, options: str = "") -> Deployment:
    return deployment(loads(text(engine, options)))


def test_sglangs_own_choices_are_told_and_priced_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, text("sglang", "disable_overlap_schedule: [true, false]"), "own.yaml")
    told = run("recommend", "own.yaml")
    assert told.code == 0, told.err
    assert "schedule_policy fcfs\n" in told.out
    runner_up = told.out.partition("SLO slack\n")[2].splitlines()[0]
    assert "disable_overlap_schedule true" in runner_up
    told = run("simulate", "own.yaml", "--set", "disable_overlap_schedule=true")
    assert "schedule_policy fcfs · disable_overlap_schedule true\n" in told.out


def test_sglang_left_alone_has_the_defaults_of_its_source_on_an_h100() -> None:
    found = deployed("sglang")
    assert (found.engine, found.engine_version) == ("sglang", "0.5.23")
    assert (found.max_num_batched_tokens, found.block_size) == (8192, 1)
    assert found.enable_prefix_caching
    assert found.max_model_len == 131072
    assert found.policy == SglangPolicy("fcfs", 1.0, False, False)
    assert found.max_num_seqs == 2048
    assert found.num_gpu_blocks_override is not None
    # 80 GiB less what is reserved, and the weights of 8.03 billion parameters: 131,072 B a token.
    assert 380_000 < found.num_gpu_blocks_override < 440_000


def test_transformers_left_alone_has_the_defaults_of_its_configuration() -> None:
    found = deployed("transformers")
    assert (found.max_num_batched_tokens, found.max_num_seqs) == (8192, 1024)
    assert (found.block_size, found.enable_prefix_caching) == (256, True)
    assert found.policy == TransformersPolicy("fifo", None)
    assert found.num_gpu_blocks_override is not None
    assert 1_600 < found.num_gpu_blocks_override < 1_900


def test_sglangs_options_reach_its_command_line() -> None:
    found = deployed(
        "sglang",
        "context_length: 4096, max_running_requests: 32, chunked_prefill_size: 512, page_size: 16,"
        " max_total_tokens: 40000, disable_radix_cache: true, schedule_policy: lpm,"
        " schedule_conservativeness: 0.5, enable_mixed_chunk: true, disable_overlap_schedule: true",
    )
    words = server_words(found, found.num_gpu_blocks_override or 0)
    said = dict(zip(words, [*words[1:], ""], strict=True))
    assert said["--context-length"] == "4096"
    assert said["--max-running-requests"] == "32"
    assert said["--chunked-prefill-size"] == "512"
    assert said["--page-size"] == "16"
    assert said["--max-total-tokens"] == "40000"
    assert said["--schedule-policy"] == "lpm"
    assert said["--schedule-conservativeness"] == "0.5"
    flags = {"--disable-radix-cache", "--enable-mixed-chunk", "--disable-overlap-schedule"}
    assert flags <= set(words)
    assert not flags & set(server_words(deployed("sglang"), 1000))


def test_transformers_options_reach_its_configuration() -> None:
    found = deployed(
        "transformers",
        "page_size: 64, num_blocks: 900, max_batch_tokens: 512, max_requests_per_batch: 600,"
        " scheduler_type: prefill_first, safety_margin: 0.25, allow_block_sharing: false",
    )
    assert TransformersOptions.of(found, found.num_gpu_blocks_override or 0) == TransformersOptions(
        num_blocks=900,
        max_batch_tokens=512,
        max_requests_per_batch=512,  # as transformers cuts it
        page_size=64,
        scheduler_type="prefill_first",
        safety_margin=0.25,
        allow_block_sharing=False,
    )


def test_more_ranks_more_pool_and_a_smaller_share_a_smaller_pool() -> None:
    def pool(options: str) -> int:
        scenario = loads(text("sglang", options).replace("gpus: 1", "gpus: 8"))
        return deployment(scenario).num_gpu_blocks_override or 0

    one, two = pool("max_running_requests: 8"), pool("tensor_parallel_size: 2")
    assert two > 2 * one
    assert pool("mem_fraction_static: 0.5, max_running_requests: 8") < one


def test_a_pool_without_room_is_infeasible() -> None:
    for engine, options in (("sglang", "mem_fraction_static: 0.1"), ("transformers", "")):
        large = text(engine, options).replace("Llama-3.1-8B", "Llama-3.1-70B")
        with pytest.raises(InfeasibleError, match="KV"):
            deployment(loads(large))


@pytest.mark.parametrize(
    ("engine", "option", "words"),
    [
        ("sglang", "max_num_seqs: 64", ["vLLM's name", "`max_running_requests`"]),
        ("sglang", "max_num_batched_tokens: 64", ["`chunked_prefill_size`"]),
        ("transformers", "max_num_seqs: 64", ["`max_requests_per_batch`"]),
        ("transformers", "block_size: 64", ["`page_size`"]),
        ("sglang", "dp_size: 2", ["data parallelism", "not modelled yet"]),
        ("sglang", "speculative_algorithm: EAGLE", ["with its acceptance", "`speculation: {"]),
        ("sglang", "enable_hierarchical_cache: true", ["hierarchical caching"]),
        ("sglang", "schedule_policy: random", ["`random`", "lpm"]),
        ("sglang", "chunked_prefill_sise: 64", ["did you mean `chunked_prefill_size`"]),
        ("sglang", "context_length: 200000", ["131072 or less"]),
        ("transformers", "cpu_offload_space: 4", ["offloading"]),
        ("transformers", "use_async_batching: true", ["asynchronous batching", "false"]),
        ("transformers", "tensor_parallel_size: 2", ["tensor parallelism", "1"]),
        ("transformers", "page_size: 2", ["`2`", "4"]),
        ("transformers", "scheduler_type: lifo", ["`lifo`", "fifo"]),
        ("transformers", "safety_margin: 1.5", ["`1.5`"]),
    ],
)
def test_what_an_engine_has_not_or_we_do_not_emulate_is_told_by_name(
    engine: str, option: str, words: list[str]
) -> None:
    told = faults(text(engine, option))
    name = option.partition(":")[0]
    assert list(told) == [f"deployment.{name}"]
    for word in words:
        assert word in told[f"deployment.{name}"]


@pytest.mark.parametrize("engine", VERSIONS)
def test_an_unknown_release_names_the_known_one_and_the_options_are_still_read(engine: str) -> None:
    told = faults(text(engine, "page_size: 0").replace(f'"{VERSIONS[engine]}"', '"9.9"'))
    assert set(told) == {"engine.version", "deployment.page_size"}
    assert "9.9 is not known" in told["engine.version"]
    assert VERSIONS[engine] in told["engine.version"]


@pytest.mark.parametrize("engine", VERSIONS)
def test_a_dump_reads_back_as_the_same_scenario(engine: str) -> None:
    scenario = loads(text(engine, "page_size: [16, 64]"))
    assert loads(scenario.dump()) == scenario
    assert set(scenario.space().open) == {"page_size"}
    assert deployment(scenario, {"page_size": 64}).block_size == 64


@pytest.mark.parametrize("engine", VERSIONS)
def test_the_memory_verb_refuses_engines_whose_ledger_is_not_known(
    engine: str, tmp_path: Path
) -> None:
    told = run("memory", write(tmp_path, text(engine)))
    assert_refused(told, 2, "not laid out", "servecast simulate")


def test_transformers_is_not_searched_and_the_next_command_is_named() -> None:
    scenario = loads(text("transformers"))
    with pytest.raises(UnsupportedError, match="not searched yet") as refused:
        question(scenario, trials=1)
    assert "servecast simulate" in str(refused.value.hint)
    with pytest.raises(UnsupportedError, match="engine `transformers`"):
        arguments(replace(deployment(scenario), num_gpu_blocks_override=None), 100)


def test_sglang_is_searched_and_its_start_command_is_not_read() -> None:
    scenario = loads(text("sglang", "chunked_prefill_size: [2048, 8192]"))
    assert set(question(scenario, trials=1).space.dimensions) == {"chunked_prefill_size"}
    with pytest.raises(UnsupportedError, match="not read from a start command yet"):
        question(scenario, trials=1, current="python3 -m sglang.launch_server --model-path m")
