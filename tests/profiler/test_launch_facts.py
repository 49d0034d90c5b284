"""How servers were started: what scripts say, and what stands where none does."""

from __future__ import annotations

import pytest

from servecast.primitives import catalogue
from servecast.primitives.dtype import Dtype
from servecast.profiler.launch import Launch
from servecast.profiler.launch_facts import launch_of
from tests.profiler.silicon_rows import point


def launch(**cells: str) -> Launch:
    row = point(**cells)
    return launch_of(row, catalogue.model(row.model), catalogue.accelerator(row.gpu).name)


def test_scripted_rows_have_the_flags_of_their_script() -> None:
    found = launch()
    assert (found.max_num_batched_tokens, found.kv_cache_dtype) == (8192, Dtype.FP8)
    assert found.schedules_ahead
    assert found.host.overlaps
    eager = launch(gpu="B200-180GB")
    assert eager.host.eager_step_s > 0, "prompts ran without CUDA graphs there"


def test_a_blank_version_is_a_new_one_and_an_old_one_schedules_between_steps() -> None:
    kimi = {"model": "moonshotai/Kimi-K2.5", "precision": "int4"}
    assert launch(**kimi, engine_version="").schedules_ahead
    old = launch(**kimi, engine_version="0.12.0")
    assert not old.schedules_ahead
    assert old.host.overlapped_step_s == 0.0


def test_sglang_polls_less_often_with_many_clients() -> None:
    deepseek = {"model": "deepseek-ai/DeepSeek-R1", "gpu": "B200-180GB", "engine": "sglang"}
    found = launch(**deepseek, precision="fp4")
    assert [found.recv_interval(clients) for clients in (8, 16)] == [10, 30]
    assert launch().recv_interval(64) == 1


def test_scripts_name_the_kernel_of_4_bit_experts() -> None:
    gptoss = {"model": "openai/gpt-oss-120b", "precision": "fp4"}
    assert launch(**gptoss).experts_kernel == "marlin"
    assert launch(**gptoss, gpu="B200-180GB").experts_kernel == "mxfp8"
    assert launch(**gptoss, gpu="B200-180GB", engine="trtllm").experts_kernel == "mxfp8"
    assert launch().experts_kernel == ""


def test_prompts_of_eager_engines_take_the_host_s_time() -> None:
    deepseek = {"model": "deepseek-ai/DeepSeek-R1", "gpu": "B200-180GB", "precision": "fp8"}
    eager = launch(**deepseek, engine="sglang").host.eager_step_s
    assert eager == pytest.approx(61 * 2.3e-3)
    plain = launch(**deepseek, engine="trtllm", engine_version="1.1.0rc2.post2")
    assert plain.host.eager_step_s == eager
    captured = {"osl": "1024", "engine_version": "1.2.0rc6.post2", "concurrency": "64"}
    assert launch(**deepseek, engine="trtllm", **captured).host.eager_step_s < 0.6 * eager


def test_attention_ranks_of_tensorrt_llm_wait_for_each_other() -> None:
    deepseek = {"model": "deepseek-ai/DeepSeek-R1", "gpu": "B200-180GB", "precision": "fp4"}
    rows = deepseek | {"engine": "trtllm", "attention_dp_size": "8", "tp_size": "1"}
    wait = launch(**rows, engine_version="1.2.0rc6.post2").batch_wait
    assert wait is not None
    assert (wait.batch_wait_timeout_iters, wait.enough_requests) == (30, 2)
    drafting = launch(**rows, engine_version="1.2.0rc6.post3")
    assert drafting.draft_tokens == 1
    assert drafting.batch_wait is not None
    assert drafting.batch_wait.batch_wait_timeout_iters == 52, "1.75 tokens a step"


def test_tensorrt_llm_has_room_for_a_prompt_beside_all_decodes() -> None:
    own = {"engine": "trtllm", "date": "", "image": "", "isl": "15000", "concurrency": "64"}
    assert launch(**own).max_num_batched_tokens == 15168
    held = launch(engine="trtllm", gpu="B200-180GB", osl="1024", tp_size="4")
    assert held.batch_wait is not None
    assert launch(engine="trtllm", gpu="B200-180GB", osl="1024").batch_wait is None


def test_own_sweeps_have_their_own_defaults() -> None:
    found = launch(date="", image="")
    assert (found.max_num_batched_tokens, found.schedules_ahead) == (2048, False)
    assert found.kv_cache_dtype is Dtype.BF16
