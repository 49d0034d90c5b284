"""KV blocks in host memory in a scenario: stated, simulated, said, refused and emitted."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest

from servecast.domain import deployment
from servecast.emulation import run as emulated
from servecast.errors import UnsupportedError
from servecast.loading import loads
from servecast.primitives.catalogue import model
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.roofline import RooflineSource
from servecast.search.serve_command import parse
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.unmodelled import refuse_unmodelled
from servecast.timewarp.mode import Mode
from tests.command import run
from tests.emitted_cases import BLOCKS, DEPLOYMENT, WORKLOAD
from tests.servecast.minimal import changed, faults

TIER = "kv_offloading_size: 40, enable_prefix_caching: true"
PLAIN = "max_num_seqs: 64"


def conversation(path: Path) -> None:
    """Long prompts that come twice; between the two come others that fill the GPU's cache."""
    rows: list[str] = []
    for place in range(60):
        names = range(1000 * (place % 30), 1000 * (place % 30) + 250)
        row = {"arrival_s": place * 2, "input_tokens": 4010, "output_tokens": 4}
        rows.append(json.dumps({**row, "hash_ids": list(names), "block_tokens": 16}))
    path.write_text("\n".join(rows) + "\n")


def scenario(options: str, trace: Path) -> str:
    text = changed(PLAIN, f"{PLAIN}, num_gpu_blocks_override: 3000, {options}")
    start, end = text.index("workload"), text.index("slo")
    return f"{text[:start]}workload: {{trace: {trace}}}\n{text[end:]}"


def test_what_came_from_the_host_is_said(tmp_path: Path) -> None:
    trace, path = tmp_path / "t.jsonl", tmp_path / "s.yaml"
    conversation(trace)
    path.write_text(scenario(f"max_model_len: 8192, {TIER}", trace))
    said = run("simulate", str(path)).out
    assert "kv_offloading_size 40.0" in said
    assert "host memory: 49.9% of prompt tokens loaded" in said
    answer = run("simulate", str(path), "--json").json
    assert answer["host_share"] == pytest.approx(0.499, abs=1e-3)
    assert 0 < answer["host_loaded_bytes"] <= answer["host_stored_bytes"]
    assert answer["deployment"]["kv_offloading_size"] == 40


@pytest.mark.parametrize("option", ["host_gb_per_s: 20", "kv_loads: if_faster"])
def test_what_is_about_no_memory_is_a_fault(option: str) -> None:
    name = option.split(":")[0]
    assert "state kv_offloading_size" in faults(changed(PLAIN, option))[f"deployment.{name}"]


def test_how_it_is_stated_is_how_it_is_deployed() -> None:
    text = changed(PLAIN, f"{PLAIN}, {TIER}, host_gb_per_s: 20.5, kv_loads: if_faster")
    served = deployment(loads(text))
    stated = (served.kv_offloading_size, served.host_gb_per_s, served.kv_loads)
    assert stated == (40, 20.5, "if_faster")


TIERED = dataclasses.replace(DEPLOYMENT, kv_offloading_size=12.5, enable_prefix_caching=True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"enable_prefix_caching": False}, "without enable_prefix_caching"),
        ({"async_scheduling": True}, "beside async_scheduling"),
        ({"pipeline_parallel_size": 2}, "beside pipeline stages"),
        ({"scheduling_policy": "priority"}, "beside scheduling_policy"),
        ({"long_prefill_token_threshold": 100}, "beside long_prefill_token_threshold"),
        ({"model": model("google/gemma-3-27b-it")}, "several kinds of blocks"),
        ({"engine": "sglang"}, "kv_offloading_size of sglang"),
        ({"engine": "reference", "enable_prefix_caching": False}, "kv_offloading_size of ref"),
    ],
)
def test_beside_what_it_is_not_modelled_it_is_refused(
    changes: dict[str, object], named: str
) -> None:
    served = dataclasses.replace(TIERED, **changes)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match=named):
        refuse_unmodelled(served)


def command(served: Deployment) -> str:
    return shlex.join(["vllm", "serve", "m", *words(arguments(served, BLOCKS))])


def test_the_emitted_size_is_read_back() -> None:
    read = parse(command(TIERED))
    assert (read.kv_offloading_size, read.unmodelled) == (12.5, ())
    assert "--kv-offloading" not in command(DEPLOYMENT)
    assert parse(command(DEPLOYMENT)).kv_offloading_size is None


def test_a_rule_that_vllm_does_not_have_is_not_emitted() -> None:
    with pytest.raises(UnsupportedError, match="kv_loads if_faster is no option of vLLM"):
        arguments(dataclasses.replace(TIERED, kv_loads="if_faster"), BLOCKS)


@pytest.mark.engine(name="vllm")
def test_the_engine_understands_the_size() -> None:
    parser_class = pytest.importorskip("vllm.utils.argparse_utils").FlexibleArgumentParser
    cli = pytest.importorskip("vllm.entrypoints.launchers.cli_args")
    started = cli.make_arg_parser(parser_class()).parse_args(
        ["m", *words(arguments(TIERED, BLOCKS))]
    )
    assert (started.kv_offloading_size, started.kv_offloading_backend) == (12.5, "native")


@pytest.mark.engine(name="vllm")
def test_it_is_not_emulated_yet() -> None:
    pytest.importorskip("vllm")
    with pytest.raises(UnsupportedError, match="kv_offloading_size is not emulated"):
        emulated(TIERED, WORKLOAD, RooflineSource(), HostTime(), Mode())
