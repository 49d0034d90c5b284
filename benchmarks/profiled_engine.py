"""A real engine, transformers' continuous batching, beside its forecast from a profile.

Models have their true sizes and random weights. The engine's own work around the model, which no
kernel's time has in it, is fitted to a run of a narrow model of as many layers on another load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np

from benchmarks.table import Row
from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention, DenseFfn, ModelSpec
from servecast.simulator.result import Result
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.transformers_calibration import fit_loop_time, launch_s
from servecast.timewarp.transformers_cost import MaskedStepCost
from servecast.timewarp.transformers_execution import Computed, Execution
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.timewarp.transformers_run import (
    TransformersRun,
    emulate_transformers,
    serve_transformers,
)
from servecast.timewarp.transformers_seam import transformers
from servecast.timewarp.transformers_steps import Part, Step
from servecast.timewarp.transformers_texts import own_texts, small_texts
from servecast.traces.workload import Workload

NARROW = 64
"""Width of the model whose kernels take next to nothing: what is left is the loop, and starts."""
PAGE = 16
FORMATS = {Dtype.BF16: "bfloat16", Dtype.FP32: "float32"}


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests of one length, so many at a time."""

    prompt_tokens: int
    output_tokens: int
    concurrency: int
    requests: int

    def workload(self) -> Workload:
        """As columns; outputs vary by a quarter, so that requests do not end together."""
        names = np.arange(self.requests)
        outputs = self.output_tokens - names % (self.output_tokens // 4 + 1)
        prompts = np.full(self.requests, self.prompt_tokens, dtype=np.int64)
        zeros = np.zeros(self.requests, dtype=np.int64)
        return Workload(str(self), zeros, prompts, outputs, outputs, self.concurrency)

    def between(self) -> Load:
        """Another load of the same range, to learn from."""
        concurrency = max(self.concurrency * 2 // 3, 1)
        prompt_tokens, output_tokens = self.prompt_tokens * 3 // 4, self.output_tokens * 5 // 4
        return Load(prompt_tokens, output_tokens, concurrency, self.requests)

    def __str__(self) -> str:
        return f"{self.prompt_tokens} in, {self.output_tokens} out, {self.concurrency} at a time"

    def options(self) -> TransformersOptions:
        """Room for as many requests as are under way, and half as many again."""
        blocks = -(-(self.prompt_tokens + self.output_tokens) // PAGE) + 1
        tokens = max(2 * self.prompt_tokens, self.concurrency)
        return TransformersOptions(
            num_blocks=max(blocks * self.concurrency * 3 // 2, 8),
            max_batch_tokens=tokens,
            max_requests_per_batch=min(self.concurrency, tokens),
            page_size=PAGE,
        )


class OnDevice:
    """An execution that waits for the device and reads the wall clock."""

    def __init__(self, synchronize: Callable[[], object]) -> None:
        self.clock = VirtualClock(scale=1.0, cpu_ns=time.perf_counter_ns)
        self._synchronize = synchronize

    def run(self, parts: Sequence[Part], forward: Callable[[], None]) -> int:
        """Compute the step; the device's nanoseconds, its starts included."""
        start_ns = self.clock.now_ns()
        forward()
        self._synchronize()
        return self.clock.now_ns() - start_ns


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine on one device in one format, and what forecasts price its kernels with."""

    backend: str
    device: Accelerator
    dtype: Dtype
    source: CostSource

    def rows(self, spec: ModelSpec, loads: Sequence[Load]) -> Iterator[Row]:
        """For each load TTFT, TPOT and throughput: measured, forecast, and how far that is off."""
        served = self._deployment(spec)
        cost = self._learnt(spec, loads)
        model = self._model(spec)
        for load in loads:
            measured = self._run(model, spec, load)
            forecast = emulate_transformers(load.options(), load.workload(), cost, model=spec)
            pair = (measured.result(served, cost), forecast.result(served, cost))
            yield {"model": spec.name, "load": str(load), **_compared(*pair)}

    def _learnt(self, spec: ModelSpec, loads: Sequence[Load]) -> MaskedStepCost:
        """The profile's kernels with the loop of a narrow model under a load of its own."""
        narrow = narrowed(spec)
        steps: list[Step] = []
        model = self._model(narrow)
        for load in loads:
            steps += self._run(model, narrow, load.between()).steps
        loop, kernels = fit_loop_time(steps), self._deployment(narrow)
        starts_s = launch_s(steps, MaskedStepCost(kernels, self.source, loop))
        return MaskedStepCost(self._deployment(spec), self.source, loop, starts_s)

    def _run(self, model: object, spec: ModelSpec, load: Load) -> TransformersRun:
        """The load on the model, after a few requests of it."""
        few = replace(load, output_tokens=4, requests=min(3, load.requests))
        texts = small_texts(own_texts, spec.vocab)
        for each in (few, load):
            options, workload = load.options(), each.workload()
            longest = load.prompt_tokens + load.output_tokens
            run = serve_transformers(model, options, workload, longest, self._execution(), texts)
        return run

    def _execution(self) -> Execution:
        if self.backend == "cpu":
            return Computed()
        return OnDevice(import_module("torch").cuda.synchronize)

    def _model(self, spec: ModelSpec) -> object:
        """A Llama of these sizes with random weights."""
        torch, package = import_module("torch"), transformers()
        kind = getattr(torch, FORMATS[self.dtype])
        with torch.device(self.backend):
            made = package.LlamaForCausalLM._from_config(llama_config(spec), dtype=kind)
        return made.eval()

    def _deployment(self, spec: ModelSpec) -> Deployment:
        kind, tokens = self.dtype, spec.max_model_len
        return Deployment(spec, self.device, "transformers", "", kind, kind, tokens, 1, tokens)


def llama_config(spec: ModelSpec) -> object:
    """transformers' configuration of a plain decoder; UnsupportedError for another model."""
    (group, *others) = spec.layers
    mixer, ffn = group.mixer, group.ffn
    if others or not isinstance(mixer, Attention) or not isinstance(ffn, DenseFfn):
        raise UnsupportedError(f"`{spec.name}` is no plain decoder")
    return transformers().LlamaConfig(
        hidden_size=spec.hidden,
        intermediate_size=ffn.width,
        num_hidden_layers=group.count,
        num_attention_heads=mixer.heads,
        num_key_value_heads=mixer.kv_heads,
        head_dim=mixer.head_dim,
        vocab_size=spec.vocab,
        max_position_embeddings=spec.max_model_len,
        attn_implementation="sdpa",
    )


def narrowed(spec: ModelSpec) -> ModelSpec:
    """As many layers, each next to nothing."""
    group, attention, width = spec.layers[0], Attention(1, 1, NARROW), DenseFfn(NARROW)
    layer = replace(group, mixer=attention, ffn=width)
    name = f"{group.count} layers of {NARROW}"
    return replace(spec, name=name, hidden=NARROW, vocab=NARROW, layers=(layer,))


def _compared(measured: Result, forecast: Result) -> dict[str, float]:
    """Medians and throughput of both, with how far the forecast is off."""
    found: dict[str, float] = {}
    for name, unit, of in METRICS:
        one, other = (of(result) for result in (measured, forecast))
        found |= {f"{name}{unit}": one, f"{name} off %": (other / one - 1) * 100}
    return found


METRICS: tuple[tuple[str, str, Callable[[Result], float]], ...] = (
    ("TTFT", " ms", lambda result: result.ttft.p50 * 1e3),
    ("TPOT", " ms", lambda result: result.tpot.p50 * 1e3),
    ("tokens", "/s", lambda result: result.throughput),
)
