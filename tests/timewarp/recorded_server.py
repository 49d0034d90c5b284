"""vLLM on the CPU with a tiny random model, serving requests that come at their times.

Run by a test: `python recorded_server.py FOLDER REQUESTS RATE`. The last line that it prints is a
JSON object with the requests, and the seconds at which each had its first and last token.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from servecast.timewarp.foreign import foreign

WARM_UP = 20
"""Tokens of a request that is served before the others: as many steps."""

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "num_hidden_layers": 4,
    "vocab_size": 1024,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}


def engine(folder: Path) -> Any:
    """vLLM's own engine on its own CPU executor."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder.joinpath("config.json").write_text(json.dumps(MODEL), encoding="utf-8")
    arguments = foreign("vllm").EngineArgs(
        model=str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        enforce_eager=True,
        dtype="bfloat16",
        max_model_len=2048,
        max_num_seqs=16,
        max_num_batched_tokens=512,
        block_size=32,
        num_gpu_blocks_override=501,
        enable_prefix_caching=False,
    )
    return foreign("vllm.v1.engine.llm_engine").LLMEngine.from_engine_args(arguments)


class Server:
    """Feeds the engine and notes when tokens come."""

    def __init__(self, folder: Path) -> None:
        self._engine = engine(folder)
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def add(self, name: str, prompt: int, output: int) -> None:
        params = foreign("vllm").SamplingParams(
            max_tokens=output, ignore_eos=True, detokenize=False
        )
        self._engine.add_request(name, {"prompt_token_ids": [7] * prompt}, params)

    @property
    def is_busy(self) -> bool:
        return bool(self._engine.has_unfinished_requests())

    def step(self) -> None:
        for output in self._engine.step():
            name, now = output.request_id.split("-")[0], time.monotonic()
            if output.outputs[0].token_ids:
                self.first.setdefault(name, now)
            if output.finished:
                self.last[name] = now


def main(folder: Path, count: int, rate: float) -> None:
    """Serve and print."""
    rng = np.random.default_rng(5)
    arrive = np.cumsum(rng.exponential(1 / rate, count)).tolist()
    prompts, outputs = rng.integers(20, 700, count).tolist(), rng.integers(5, 80, count).tolist()
    server = Server(folder)
    server.add("w", 300, WARM_UP)
    while server.is_busy:
        server.step()
    begun, sent = time.monotonic(), 0
    while sent < count or server.is_busy:
        while sent < count and begun + arrive[sent] <= time.monotonic():
            server.add(str(sent), prompts[sent], outputs[sent])
            sent += 1
        if server.is_busy:
            server.step()
        else:
            time.sleep(max(0.0, begun + arrive[sent] - time.monotonic()))
    names = [str(index) for index in range(count)]
    said = {"arrive": arrive, "prompts": prompts, "outputs": outputs}
    said["first"] = [server.first[name] - begun for name in names]
    said["last"] = [server.last[name] - begun for name in names]
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
