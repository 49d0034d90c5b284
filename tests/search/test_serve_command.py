"""Understanding the command that a user starts the engine with today."""

from __future__ import annotations

from typing import Any

import pytest

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.dtype import Dtype
from servecast.search.engine_defaults import EngineDefaults
from servecast.search.serve_command import parse
from servecast.search.vllm_options import SHORT_FORMS, VLLM_OPTIONS

DEFAULTS = EngineDefaults("0.32.0", 1024, 8192, "test")


def test_what_is_not_set_is_left_to_the_engine() -> None:
    command = parse("vllm serve Qwen/Qwen3-8B")
    assert command.model == "Qwen/Qwen3-8B"
    assert command.max_num_seqs is None
    assert command.max_model_len is None
    assert command.enable_prefix_caching is None
    assert command.unmodelled == ()


def test_limits_are_read_in_every_spelling() -> None:
    command = parse(
        "vllm serve m -tp 4 --max_num_seqs=64 --max-num-batched-tokens 4096 --block-size 32 "
        "--gpu-memory-utilization .85 --num-gpu-blocks-override 1000 -ep"
    )
    assert command.tensor_parallel_size == 4
    assert command.max_num_seqs == 64
    assert command.max_num_batched_tokens == 4096
    assert command.block_size == 32
    assert command.gpu_memory_utilization == 0.85
    assert command.num_gpu_blocks_override == 1000
    assert command.enable_expert_parallel is True
    assert command.unmodelled == ()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("8k", 8000), ("8K", 8192), ("1M", 2**20), ("25.6k", 25600), ("16384", 16384)],
)
def test_a_small_unit_is_decimal_and_a_capital_one_binary(text: str, tokens: int) -> None:
    command = parse(f"vllm serve m --max-model-len {text} --max-num-batched-tokens={text}")
    assert command.max_model_len == tokens
    assert command.max_num_batched_tokens == tokens


@pytest.mark.parametrize(
    "option",
    [
        "--max-num-seqs 8k",
        "--max-num-batched-tokens 1.5K",
        "--block-size 0",
        "-tp two",
        "--gpu-memory-utilization 90",
        "--gpu-memory-utilization 0",
    ],
)
def test_a_value_that_vllm_refuses_names_option_value_and_rule(option: str) -> None:
    with pytest.raises(InputError, match=rf"is `{option.split()[-1]}`; it must be") as refused:
        parse(f"vllm serve m {option}")
    assert refused.value.hint is not None


def test_the_last_of_two_equal_options_holds() -> None:
    assert parse("vllm serve m --max-num-seqs 8 -tp 2 --max-num-seqs 16").max_num_seqs == 16


def test_a_unique_beginning_of_an_option_will_do() -> None:
    assert parse("vllm serve m --tensor-par 2").tensor_parallel_size == 2


def test_the_module_form_takes_the_model_by_option() -> None:
    command = parse("python3 -m vllm.entrypoints.openai.api_server --model m --max-num-seqs 8")
    assert (command.model, command.max_num_seqs) == ("m", 8)


def test_a_script_line_with_variables_continuations_and_redirection_is_read() -> None:
    command = parse(
        "CUDA_VISIBLE_DEVICES=0,1 VLLM_LOGGING_LEVEL=DEBUG nohup /opt/bin/vllm serve m \\\n"
        "  --max-num-seqs 8 \\\n  -tp 2 > server.log 2>&1 &"
    )
    assert command.visible_gpus == 2
    assert (command.max_num_seqs, command.tensor_parallel_size) == (8, 2)
    assert command.unmodelled == ()


def test_a_docker_command_is_read_from_its_image_on() -> None:
    command = parse(
        "docker run --gpus all -v ~/.cache:/root/.cache -e VLLM_USE_DEEP_GEMM=1 --env HF_TOKEN=x "
        "-p 8000:8000 --ipc=host vllm/vllm-openai:v0.32.0 --model m --max-num-seqs 8"
    )
    assert (command.model, command.max_num_seqs, command.image_tag) == ("m", 8, "v0.32.0")
    assert command.unmodelled == ("VLLM_USE_DEEP_GEMM=1",)


def test_formats_are_translated() -> None:
    assert parse("vllm serve m").weights_dtype is None
    assert parse("vllm serve m --dtype half").weights_dtype is Dtype.FP16
    fp8 = parse("vllm serve m --dtype bfloat16 -q fp8 --kv-cache-dtype fp8_e4m3")
    assert (fp8.weights_dtype, fp8.kv_cache_dtype) == (Dtype.FP8, Dtype.FP8)
    auto = parse("vllm serve m --dtype auto --kv-cache-dtype auto")
    assert (auto.weights_dtype, auto.kv_cache_dtype) == (None, None)
    assert fp8.unmodelled == auto.unmodelled == ()


def test_what_a_simulation_may_ignore_is_not_mentioned() -> None:
    command = parse(
        "vllm serve m --host 0.0.0.0 --port 8000 --served-model-name a b --api-key secret "
        "--trust-remote-code --no-enable-log-requests --hf-token --chat-template t.jinja "
        "--no-enable-prefix-caching --no-async-scheduling --enable-chunked-prefill "
        "--scheduling-policy fcfs -pp 1 --scheduler-reserve-full-isl --no-enable-lora"
    )
    assert command.unmodelled == ()


def test_what_changes_the_schedule_and_is_not_modelled_is_named() -> None:
    command = parse(
        "vllm serve m --enable-prefix-caching --async-scheduling --no-enable-chunked-prefill "
        "--scheduling-policy priority -pp 2 -dp 4 --enforce-eager --kv-cache-dtype fp8_inc "
        "--max-model-len auto --no-scheduler-reserve-full-isl -O3"
    )
    assert command.unmodelled == (
        "--async-scheduling",
        "--no-enable-chunked-prefill",
        "--pipeline-parallel-size 2",
        "--data-parallel-size 4",
        "--enforce-eager",
        "--kv-cache-dtype fp8_inc",
        "--max-model-len auto",
        "--no-scheduler-reserve-full-isl",
        "--optimization-level 3",
    )
    assert (command.pipeline_parallel_size, command.data_parallel_size) == (2, 4)
    assert command.max_model_len is None


def test_what_goes_first_and_how_far_is_read() -> None:
    command = parse(
        "vllm serve m --scheduling-policy priority --long-prefill-token-threshold 512 "
        "--long-prefill-token-threshold-adaptive"
    )
    assert command.scheduling_policy == "priority"
    assert command.long_prefill_token_threshold == 512
    assert command.long_prefill_token_threshold_adaptive
    assert command.unmodelled == ()
    off = parse("vllm serve m --long-prefill-token-threshold 0")
    assert (off.scheduling_policy, off.long_prefill_token_threshold) == (None, 0)


def test_a_policy_that_vllm_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="lottery") as error:
        parse("vllm serve m --scheduling-policy lottery")
    assert "fcfs, priority" in error.value.message


def test_the_engines_own_defaults_are_named_where_the_command_is_silent() -> None:
    silent = parse("vllm serve m --enforce-eager").not_simulated(DEFAULTS)
    assert silent == (
        "--enforce-eager",
        "--enable-prefix-caching (the default of vLLM 0.32.0)",
        "--async-scheduling (the default of vLLM 0.32.0)",
    )
    off = parse("vllm serve m --no-enable-prefix-caching --no-async-scheduling")
    assert off.not_simulated(DEFAULTS) == ()


def test_an_unknown_option_names_its_nearest_neighbour() -> None:
    with pytest.raises(InputError, match="option `--max-num-sequences` is not one of") as refused:
        parse("vllm serve m --max-num-sequences 8")
    assert refused.value.hint is not None
    assert "`--max-num-seqs`" in refused.value.hint


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sglang serve m", "does not start a vLLM server"),
        ("", r"command `\(empty\)` does not start"),
        ("vllm serve --max-num-seqs 8", "names no model"),
        ("vllm serve m --max-num-seqs", "option `--max-num-seqs` takes a value and none follows"),
        ("vllm serve m --dtype bf16", "option `--dtype` is `bf16`"),
        ("vllm serve m --enable-chunked-prefill False", "argument `False` is not expected"),
        ("vllm serve 'm", "the command cannot be read"),
    ],
)
def test_a_command_that_cannot_be_understood_says_why(command: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        parse(command)
    assert refused.value.hint is not None


def test_options_hidden_in_a_file_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"`--config serve\.yaml` hides options"):
        parse("vllm serve m --config serve.yaml")


@pytest.mark.engine(name="vllm")
def test_the_table_of_options_is_that_of_the_engines_own_parser() -> None:
    arities: dict[Any, str] = {None: "value", 0: "flag", "+": "list", "?": "optional"}
    parser = pytest.importorskip("vllm.utils.argparse_utils").FlexibleArgumentParser()
    pytest.importorskip("vllm.entrypoints.launchers.cli_args").make_arg_parser(parser)
    expected: dict[str, str] = {}
    short: dict[str, str] = {}
    for action in parser._actions:
        names = [name for name in action.option_strings if not name.startswith("--no-")]
        if not names or "--help" in names:
            continue
        name = next(name for name in names if name.startswith("--"))
        expected[name] = arities[action.nargs]
        short |= {other: name for other in names if other != name}
    assert {name: option.arity for name, option in VLLM_OPTIONS.items()} == expected
    assert short | {"-O": "--optimization-level"} == SHORT_FORMS
