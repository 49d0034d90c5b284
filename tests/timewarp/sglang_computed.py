"""SGLang with a small real model, computed on this CPU: a truth to replay."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from servecast.primitives.deployment import Deployment
from servecast.timewarp import sglang_engine
from servecast.timewarp.oracle import END
from servecast.timewarp.sglang_run import SglangRun
from servecast.timewarp.sglang_seam import probe, srt
from servecast.timewarp.sglang_worker import Launcher, last_tokens
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.timewarp.sglang_cases import FLOWING, emulated

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "num_hidden_layers": 1,
    "vocab_size": sglang_engine.VOCAB,
    "torch_dtype": "bfloat16",
    "eos_token_id": END,
}


def computed(
    workload: Workload, *options: str, num_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> SglangRun:
    """The workload through SGLang and its own forward pass, timed by this thread's CPU clock."""
    probe()
    with monkeypatch.context() as patch:
        for name, module in _rotary().items():
            patch.setitem(sys.modules, name, module)
        patch.setattr(sglang_engine, "worker_class", _worker_class)
        patch.setattr(sglang_engine, "_write_model", _write_model)
        cost = ConstantStepCost(0)  # what a step takes is on the clock already
        return emulated(workload, *options, num_tokens=num_tokens, cost=cost, mode=FLOWING)


def durations_ns(run: SglangRun) -> list[int]:
    """From where SGLang looked for requests before a step to where it did after it.

    Where it waited for a request, from that one's arrival. Who arrives while the output of a step
    is worked on is thus on the same side of the boundary in a replay.
    """
    arrivals = np.sort(run.result.records.arrival_ns)
    finishes = np.sort(run.result.records.finish_ns)
    durations: list[int] = []
    last_ns = 0
    for turn_ns in run.turns_ns:
        seen = int(np.searchsorted(arrivals, last_ns, "right"))
        begin_ns = last_ns
        if seen == np.searchsorted(finishes, turn_ns, "left"):  # it was idle
            begin_ns = max(last_ns, int(arrivals[seen]))
        durations.append(turn_ns - begin_ns)
        last_ns = turn_ns
    return durations


def _worker_class(launcher: Launcher, *_: int) -> type[Any]:
    theirs = srt("managers.tp_worker").TpModelWorker

    def forward(self: Any, batch: Any, *args: Any, **named: Any) -> Any:
        result = theirs.forward_batch_generation(self, batch, *args, **named)
        said = last_tokens(launcher.launch(batch))
        result.next_token_ids = srt("managers.scheduler").torch.tensor(said)
        return result

    return type("ComputingWorker", (theirs,), {"forward_batch_generation": forward})


def _write_model(folder: Path, deployment: Deployment) -> None:
    config = {**MODEL, "max_position_embeddings": deployment.max_model_len}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _rotary() -> dict[str, ModuleType]:
    """vLLM's kernel that SGLang's CPU path asks for; tokens are scripted, so it may do nothing."""
    package, ops = ModuleType("vllm"), ModuleType("vllm._custom_ops")

    def rotary_embedding(*_: object) -> None:
        """In place of the kernel."""

    vars(ops)["rotary_embedding"] = rotary_embedding
    vars(package).update(_custom_ops=ops, __path__=[])
    return {"vllm": package, "vllm._custom_ops": ops}
