"""SGLang's defaults on a GPU: by hand, and beside its own resolution of its options."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from servecast.primitives import catalogue
from servecast.search import sglang_defaults as ours
from servecast.timewarp.installation import INSTALLATIONS
from servecast.timewarp.sglang_options import server_arguments
from servecast.timewarp.sglang_seam import replaced, srt
from tests.timewarp.sglang_cases import DEPLOYMENT

GPUS = ("h100_sxm", "h200_sxm", "b200_sxm", "l40s", "l4")
FEW = 32
"""Sequences in SGLang's largest decode graph on a CPU, where the comparison is made."""


def share(gpu: str, running: int | None = None, ranks: int = 1) -> float:
    device = catalogue.accelerator(gpu)
    return ours.mem_fraction_static(
        device,
        chunk_tokens=ours.chunked_prefill_size(device),
        max_running_requests=running,
        tensor_parallel_size=ranks,
        is_latent=False,
    )


def test_the_share_is_what_activations_graphs_and_ranks_leave() -> None:
    total_mib = catalogue.accelerator("h100_sxm").memory_bytes / 2**20
    reserved_mib = 512 + 1.5 * 8192 + 128 + 2 * 256 + 8 * 58
    assert share("h100_sxm") == round(1 - reserved_mib / total_mib, 3)
    assert share("h100_sxm", ranks=8) < share("h100_sxm") < share("h100_sxm", running=8)


def test_requests_at_once_follow_from_the_pool_within_bounds() -> None:
    assert ours.max_running_requests(400_000, 131_072, None) == 2048
    assert ours.max_running_requests(400_000, 100_000, None) == 2048
    assert ours.max_running_requests(4_000_000, 1_000_000, None) == 2048
    assert ours.max_running_requests(600_000, 100_000, None) == 3072
    assert ours.max_running_requests(9_000_000, 8_192, None) == 4096
    assert ours.max_running_requests(1_000, 8_192, None) == 500
    assert ours.max_running_requests(1_000, 8_192, 64) == 64


@pytest.mark.engine(name="sglang")
@pytest.mark.parametrize("gpu", GPUS)
def test_they_are_those_that_sglang_resolves(gpu: str, tmp_path: Path) -> None:
    if not INSTALLATIONS["sglang"].is_tested:
        pytest.skip("no tested release of SGLang is installed")
    model = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
             "num_attention_heads": 1, "num_hidden_layers": 1, "vocab_size": 64}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(model), encoding="utf-8")
    device = catalogue.accelerator(gpu)
    deployment = dataclasses.replace(DEPLOYMENT, accelerator=device)
    words = ("--max-total-tokens", "40000", "--max-running-requests", str(FEW))
    graphs: Any = srt("model_executor.cuda_graph_config")
    as_on_a_gpu = (graphs, "default_prefill_backend", lambda: graphs.Backend.BREAKABLE)
    with replaced(as_on_a_gpu):
        arguments = server_arguments(words, deployment, tmp_path)
    found = srt("arg_groups.overrides").resolved_view(arguments)
    assert found.chunked_prefill_size == ours.chunked_prefill_size(device)
    assert found.mem_fraction_static == share(gpu, running=FEW)
