"""What is emitted is what was simulated."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.search.emit import emit
from servecast.search.serve_command import parse
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.slo import parse_slo
from servecast.traces.workload import Workload
from tests.emitted_cases import (
    BLOCKS,
    DEPLOYMENT,
    H100,
    MODEL,
    TWO,
    WORKLOAD,
    assert_same_limits,
    bench_words,
    start_command,
)


def manifests(folder: Path) -> tuple[Any, Any, Any]:
    """The compose file, and the Deployment and Service of Kubernetes."""
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    deployment, service = yaml.safe_load_all((folder / "k8s.yaml").read_text())
    return compose, deployment, service


@pytest.mark.parametrize("deployment", [DEPLOYMENT, TWO], ids=["one", "two"])
def test_every_file_starts_the_same_limits(deployment: Deployment, tmp_path: Path) -> None:
    emit(deployment, BLOCKS, WORKLOAD, tmp_path / "1", why="Cheapest.")
    compose, kubernetes, _ = manifests(tmp_path / "1")
    pod = kubernetes["spec"]["template"]["spec"]["containers"][0]
    engines = [name for name in compose["services"] if name != "router"]
    assert len(engines) == deployment.replicas == kubernetes["spec"]["replicas"]
    commands = [start_command(tmp_path / "1"), shlex.join([*pod["command"], *pod["args"]])]
    for name in engines:
        service = compose["services"][name]
        commands.append(shlex.join([*service["entrypoint"], *service["command"]]))
    for text in commands:
        command = parse(text)
        assert command.model == MODEL.name
        assert_same_limits(command, deployment, BLOCKS)


def test_a_limit_that_is_simulated_otherwise_is_refused(tmp_path: Path) -> None:
    fixed = dataclasses.replace(DEPLOYMENT, num_gpu_blocks_override=500)
    with pytest.raises(InputError, match="num_gpu_blocks_override at 500, 501 is given"):
        emit(fixed, 501, WORKLOAD, tmp_path / "1", why="")
    assert emit(fixed, 500, WORKLOAD, tmp_path / "1", why="")


def test_replicas_have_ports_and_gpus_of_their_own(tmp_path: Path) -> None:
    emit(TWO, BLOCKS, WORKLOAD, tmp_path / "1", why="")
    compose, kubernetes, service = manifests(tmp_path / "1")
    script = (tmp_path / "1" / "serve.sh").read_text()
    assert "replica 0,1 8001\nreplica 2,3 8002\n" in script
    devices = [
        compose["services"][name]["deploy"]["resources"]["reservations"]["devices"][0]
        for name in ("replica-0", "replica-1")
    ]
    assert [device["device_ids"] for device in devices] == [["0", "1"], ["2", "3"]]
    pod = kubernetes["spec"]["template"]["spec"]["containers"][0]
    assert pod["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert service["spec"]["selector"] == kubernetes["spec"]["selector"]["matchLabels"]


def test_the_routers_take_turns_over_all_replicas(tmp_path: Path) -> None:
    emit(TWO, BLOCKS, WORKLOAD, tmp_path / "1", why="")
    compose, _, _ = manifests(tmp_path / "1")
    inline = compose["configs"]["router"]["content"]
    plain = (tmp_path / "1" / "nginx.conf").read_text()
    assert "server replica-0:8000" in inline
    assert "server replica-1:8000" in inline
    assert "server 127.0.0.1:8001" in plain
    assert "server 127.0.0.1:8002" in plain
    for text in (inline, plain):
        assert "least_conn" not in text
        assert "worker_processes 1;" in text
        assert "$" not in text


def test_one_queue_for_all_becomes_fewest_in_flight_and_says_so(tmp_path: Path) -> None:
    central = dataclasses.replace(TWO, routing="central_queue")
    emit(central, BLOCKS, WORKLOAD, tmp_path / "1", why="")
    assert "least_conn;" in (tmp_path / "1" / "nginx.conf").read_text()
    assert "One queue before all replicas was simulated" in (tmp_path / "1" / "why.md").read_text()


def test_a_single_replica_needs_no_router(tmp_path: Path) -> None:
    paths = emit(DEPLOYMENT, BLOCKS, WORKLOAD, tmp_path / "1", why="")
    compose, _, _ = manifests(tmp_path / "1")
    assert list(compose["services"]) == ["replica-0"]
    assert compose["services"]["replica-0"]["ports"] == ["8000:8000"]
    assert "nginx.conf" not in {path.name for path in paths}


@pytest.mark.parametrize("deployment", [DEPLOYMENT, TWO], ids=["one", "two"])
def test_scripts_are_executable_and_bash_accepts_them(
    deployment: Deployment, tmp_path: Path
) -> None:
    paths = emit(deployment, BLOCKS, WORKLOAD, tmp_path / "1", why="")
    scripts = [path for path in paths if path.suffix == ".sh"]
    assert {path.name for path in scripts} == {"serve.sh", "verify.sh"}
    for path in scripts:
        assert path.stat().st_mode & 0o111 == 0o111
        subprocess.run(["bash", "-n", path], check=True)


def test_a_hostile_model_name_stays_one_word_everywhere(tmp_path: Path) -> None:
    name = 'my models/$(x) "y" & z'
    emit(TWO, BLOCKS, WORKLOAD, tmp_path / "1", why="", model=name)
    compose, kubernetes, _ = manifests(tmp_path / "1")
    assert parse(start_command(tmp_path / "1")).model == name
    assert compose["services"]["replica-0"]["command"][0].replace("$$", "$") == name
    assert kubernetes["spec"]["template"]["spec"]["containers"][0]["args"][0] == name
    assert kubernetes["metadata"]["name"] == "x-y-z"
    words_sent = bench_words(tmp_path / "1")
    assert words_sent[words_sent.index("--model") + 1] == name


def test_why_says_the_reason_the_limits_and_the_datas_origin(tmp_path: Path) -> None:
    emit(DEPLOYMENT, BLOCKS, WORKLOAD, tmp_path / "1", why="Cheapest of 12.")
    text = (tmp_path / "1" / "why.md").read_text()
    assert "Cheapest of 12." in text
    assert "| `--num-gpu-blocks-override` | `4001` |" in text
    assert "A publisher, CC-BY-4.0" in text


def test_files_of_an_earlier_deployment_are_replaced_and_others_kept(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "1"
    emit(TWO, BLOCKS, WORKLOAD, folder, why="first")
    (folder / "measured.json").write_text("{}")
    paths = emit(DEPLOYMENT, BLOCKS, WORKLOAD, folder, why="second")
    assert {path.name for path in folder.iterdir()} == {
        "measured.json",
        *(path.name for path in paths),
    }
    assert "second" in (folder / "why.md").read_text()
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "transformers"}, "engine `transformers` is not simulated yet"),
        ({"engine_version": "0.6"}, r"vLLM 0\.6 was not checked"),
        ({"kv_cache_dtype": Dtype.INT8}, "KV cache in int8 cannot be started"),
        ({"weights_dtype": Dtype.INT4}, "cannot load weights published in bf16 as int4"),
        ({"max_num_batched_tokens": 128}, "128 must not be below max_num_seqs 192"),
        ({"accelerator": dataclasses.replace(H100, vendor="AMD")}, "are not emitted yet"),
    ],
)
def test_what_cannot_be_emitted_is_refused_and_nothing_is_written(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    deployment = dataclasses.replace(DEPLOYMENT, **change)
    with pytest.raises(InputError, match=message) as refused:
        emit(deployment, BLOCKS, WORKLOAD, tmp_path / "1", why="")
    assert refused.value.hint is not None
    assert list(tmp_path.iterdir()) == []


def test_an_empty_workload_is_refused(tmp_path: Path) -> None:
    none = np.array([], dtype=np.int64)
    with pytest.raises(InputError, match="workload `empty` has no requests"):
        emit(DEPLOYMENT, BLOCKS, Workload("empty", none, none, none, none), tmp_path / "1", why="")


@pytest.mark.engine(name="vllm")
@pytest.mark.parametrize("deployment", [DEPLOYMENT, TWO], ids=["one", "two"])
def test_the_engines_own_parsers_understand_the_files(
    deployment: Deployment, tmp_path: Path
) -> None:
    parser_class = pytest.importorskip("vllm.utils.argparse_utils").FlexibleArgumentParser
    serve = pytest.importorskip("vllm.entrypoints.launchers.cli_args").make_arg_parser(
        parser_class()
    )
    bench = parser_class()
    pytest.importorskip("vllm.benchmarks.serve").add_cli_args(bench)
    emit(deployment, BLOCKS, WORKLOAD, tmp_path / "1", why="", slos=[parse_slo("ttft:p95 < 500ms")])
    started = serve.parse_args(["m", *words(arguments(deployment, BLOCKS))])
    for field in ("max_model_len", "max_num_seqs", "max_num_batched_tokens", "block_size"):
        assert getattr(started, field) == getattr(deployment, field)
    assert started.num_gpu_blocks_override == BLOCKS
    assert started.gpu_memory_utilization == deployment.gpu_memory_utilization
    assert (started.quantization, started.kv_cache_dtype) == ("fp8_per_tensor", "fp8")
    switches = (started.enable_prefix_caching, started.async_scheduling)
    assert switches == (False, False)
    sent = bench.parse_args(bench_words(tmp_path / "1"))
    assert (sent.dataset_name, sent.num_prompts, sent.self_timed) == ("timed_trace", 3, True)
    assert sent.goodput == ["ttft:500"]
