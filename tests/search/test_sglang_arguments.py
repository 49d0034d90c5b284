"""What is emitted for SGLang is what was simulated."""

from __future__ import annotations

import dataclasses
import shlex
from argparse import ArgumentParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.policy import SglangPolicy
from servecast.search.emit import emit
from servecast.search.sglang_arguments import arguments
from tests import emitted_cases
from tests.emitted_cases import WORKLOAD

PAGES = 30_000
SGLANG = dataclasses.replace(
    emitted_cases.DEPLOYMENT,
    engine="sglang",
    engine_version="0.5.23",
    num_gpu_blocks_override=PAGES,
    block_size=16,
    enable_prefix_caching=False,
    policy=SglangPolicy("lpm", 0.3, enable_mixed_chunk=True, disable_overlap_schedule=True),
)
PLAIN = dataclasses.replace(
    SGLANG,
    weights_dtype=Dtype.BF16,
    kv_cache_dtype=Dtype.BF16,
    enable_prefix_caching=True,
    policy=SglangPolicy(),
    replicas=2,
)
EXPECTED = {
    "--context-length": "16384",
    "--max-running-requests": "192",
    "--chunked-prefill-size": "6144",
    "--page-size": "16",
    "--max-total-tokens": "480000",
    "--tp-size": "2",
    "--mem-fraction-static": "0.9",
}


def commands(deployment: Deployment, folder: Path) -> list[list[str]]:
    """The words that start an engine, in each of the files."""
    emit(deployment, PAGES, WORKLOAD, folder, why="")
    script = (folder / "serve.sh").read_text().replace("\\\n", " ")
    start = script[script.index("python3 -m sglang.launch_server") :].splitlines()[0]
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    pods, _ = yaml.safe_load_all((folder / "k8s.yaml").read_text())
    pod = pods["spec"]["template"]["spec"]["containers"][0]
    service = compose["services"]["replica-0"]
    assert service["image"] == pod["image"] == "lmsysorg/sglang:v0.5.23"
    return [
        shlex.split(start.rstrip(" &")),
        [*service["entrypoint"], *service["command"]],
        [*pod["command"], *pod["args"]],
    ]


@pytest.mark.parametrize("deployment", [SGLANG, PLAIN], ids=["all said", "defaults"])
def test_every_file_has_the_same_limits(deployment: Deployment, tmp_path: Path) -> None:
    for words in commands(deployment, tmp_path / "1"):
        assert words[:5] == ["python3", "-m", "sglang.launch_server", "--model-path", words[4]]
        found = dict(pairwise(words))
        assert EXPECTED.items() <= found.items()
        assert found["--host"] == "0.0.0.0", "clients are not on the host"
        assert "--port" in words


def test_what_is_switched_off_or_on_is_said() -> None:
    flags = {name for name, value in arguments(SGLANG, PAGES) if value is None}
    assert flags == {
        "--disable-radix-cache",
        "--enable-mixed-chunk",
        "--disable-overlap-schedule",
    }
    said = dict(arguments(SGLANG, PAGES))
    assert said["--schedule-policy"] == "lpm"
    assert said["--schedule-conservativeness"] == "0.3"
    assert said["--quantization"] == "fp8"
    assert said["--kv-cache-dtype"] == "fp8_e4m3"
    assert not {name for name, value in arguments(PLAIN, PAGES) if value is None}


@pytest.mark.parametrize(
    ("change", "pages", "message"),
    [
        ({"engine_version": "0.4.9"}, PAGES, "SGLang 0.4.9 was not checked"),
        ({}, 100, "the deployment states 30000 pages, 100 are given"),
        ({"weights_dtype": Dtype.NVFP4}, PAGES, "does not serve a checkpoint in bf16 as nvfp4"),
        ({"kv_cache_dtype": Dtype.NVFP4}, PAGES, "no option of SGLang is known"),
    ],
)
def test_what_cannot_be_emitted_is_refused(
    change: dict[str, Any], pages: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        arguments(dataclasses.replace(SGLANG, **change), pages)


def test_a_gpu_of_another_vendor_is_refused() -> None:
    other = dataclasses.replace(SGLANG.accelerator, vendor="AMD", name="mi300x")
    with pytest.raises(UnsupportedError, match="mi300x"):
        arguments(dataclasses.replace(SGLANG, accelerator=other), PAGES)


@pytest.mark.engine(name="sglang")
@pytest.mark.parametrize("deployment", [SGLANG, PLAIN], ids=["all said", "defaults"])
def test_sglangs_own_parser_reads_the_limits_that_were_simulated(
    deployment: Deployment, tmp_path: Path
) -> None:
    from servecast.timewarp.sglang_seam import srt

    parser = ArgumentParser(allow_abbrev=False)
    srt("server_args").ServerArgs.add_cli_args(parser)
    policy = deployment.policy
    assert isinstance(policy, SglangPolicy)
    for words in commands(deployment, tmp_path / "1"):
        read = parser.parse_args(["8000" if "$" in word else word for word in words[3:]])
        assert read.max_total_tokens == PAGES * deployment.block_size
        assert read.page_size == deployment.block_size
        assert read.context_length == deployment.max_model_len
        assert read.max_running_requests == deployment.max_num_seqs
        assert read.chunked_prefill_size == deployment.max_num_batched_tokens
        assert read.tp_size == deployment.tensor_parallel_size
        assert read.mem_fraction_static == deployment.gpu_memory_utilization
        assert read.disable_radix_cache != deployment.enable_prefix_caching
        assert read.schedule_policy == policy.schedule_policy
        assert read.schedule_conservativeness == policy.schedule_conservativeness
        assert read.enable_mixed_chunk == policy.enable_mixed_chunk
        assert read.disable_overlap_schedule == policy.disable_overlap_schedule
