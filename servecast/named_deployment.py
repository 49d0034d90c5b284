"""One deployment by the engine's own options, without a scenario around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from servecast.checks import weights_dtype
from servecast.errors import InputError, unknown
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.search.engine_defaults import defaults
from servecast.search.vllm_formats import KV_CACHE_DTYPES, QUANTIZATIONS


@dataclass(frozen=True, slots=True)
class NamedDeployment:
    """A model on a kind of GPU and the options that somebody set; None is the engine's default."""

    model: str
    gpu: str | None = None
    engine_version: str = "0.32"
    tensor_parallel_size: int = 1
    data_parallel_size: int = 1
    enable_expert_parallel: bool = False
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    block_size: int | None = None
    gpu_memory_utilization: float | None = None
    num_gpu_blocks_override: int | None = None

    def set_options(self) -> list[str]:
        """The options that differ from their defaults, by name."""
        return [
            field.name for field in fields(self)[1:] if getattr(self, field.name) != field.default
        ]

    def deployment(self) -> Deployment:
        """What the engine would be started with; InputError for what it would refuse."""
        if self.gpu is None:
            raise InputError(
                f"the GPU for model `{self.model}` is not given, and no scenario has this path",
                hint="add for example `--gpu h100_sxm`; `servecast gpus` lists them",
            )
        spec, device = model(self.model), accelerator(self.gpu)
        engine = defaults("vllm", self.engine_version, device)
        length = self.max_model_len or spec.max_model_len
        if length > spec.max_model_len:
            raise InputError(
                f"max_model_len {length:,} is longer than {spec.name} allows",
                hint=f"set --max-model-len to {spec.max_model_len} or less",
            )
        limits = engine.limits(
            max_model_len=length,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
        )
        weights = _named("quantization", self.quantization, _WEIGHTS)
        kv_cache = None if self.kv_cache_dtype == "auto" else self.kv_cache_dtype
        return Deployment(
            model=spec,
            accelerator=device,
            engine="vllm",
            engine_version=self.engine_version,
            weights_dtype=weights_dtype(spec, weights),
            kv_cache_dtype=_named("kv_cache_dtype", kv_cache, KV_CACHE_DTYPES) or Dtype.BF16,
            max_model_len=length,
            max_num_seqs=limits.max_num_seqs,
            max_num_batched_tokens=limits.max_num_batched_tokens,
            tensor_parallel_size=self.tensor_parallel_size,
            data_parallel_size=self.data_parallel_size,
            enable_expert_parallel=self.enable_expert_parallel,
            block_size=self.block_size or engine.block_size,
            gpu_memory_utilization=self.gpu_memory_utilization or engine.gpu_memory_utilization,
            num_gpu_blocks_override=self.num_gpu_blocks_override,
        )


_WEIGHTS = {**{str(dtype): dtype for dtype in Dtype}, **QUANTIZATIONS}


def _named(option: str, name: str | None, known: Mapping[str, Dtype]) -> Dtype | None:
    if name is not None and name not in known:
        command = "leave it out for the checkpoint's own"
        raise unknown(option, name, known, command=command)
    return None if name is None else known[name]
