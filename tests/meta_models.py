"""What tests of vLLM's own model classes share: a class built without weights, and its cache."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue import accelerator
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import ModelSpec
from servecast.timewarp.arrivals import OpenLoop
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.foreign import foreign
from servecast.timewarp.meta_model import MetaModel, build_meta_model
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_engine import parse, write_model
from servecast.timewarp.vllm_executor import executor_class
from servecast.timewarp.vllm_platform import present
from tests.constant_cost import ConstantStepCost

GPU: Accelerator = accelerator("h200_sxm")
MEMORY = 80 * 2**30


@dataclass(frozen=True)
class Built:
    """A model as vLLM builds it, and the blocks that vLLM then makes of some memory."""

    model: MetaModel
    num_blocks: int
    groups: list[tuple[str, int]]
    block_sizes: list[int]
    concurrency: float
    """Requests of full length that it says fit at once."""


def deployed(spec: ModelSpec) -> Deployment:
    return Deployment(
        model=spec,
        accelerator=GPU,
        engine="vllm",
        engine_version="0.32.0",
        weights_dtype=Dtype.BF16,
        kv_cache_dtype=Dtype.BF16,
        max_model_len=2048,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
    )


def engine_config(spec: ModelSpec, ranks: int, *options: str) -> Any:
    """vLLM's configuration for a model on the GPU, as its own parser makes it."""
    present(GPU)
    arguments = foreign("vllm.engine.arg_utils").EngineArgs
    parser = arguments.add_cli_args(foreign("vllm.utils.argparse_utils").FlexibleArgumentParser())
    serving = Serving(VirtualDevice(VirtualClock(), ConstantStepCost(1)), OpenLoop(iter(())))
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), deployed(spec))
        words = ["--model", folder, "--skip-tokenizer-init", "--max-model-len", "2048"]
        words += ["--tensor-parallel-size", str(ranks), "--block-size", "16"]
        words += options or ["--no-enable-prefix-caching"]
        chosen = arguments.from_cli_args(parse(parser, words))
        chosen.distributed_executor_backend = executor_class(serving)
        return chosen.create_engine_config()


def built(spec: ModelSpec, ranks: int, *options: str) -> Built:
    config = engine_config(spec, ranks, *options)
    meta = build_meta_model(config)
    layouts = foreign("vllm.v1.attention.backends.utils")
    layouts.resolve_kv_cache_layout(config, [["LBNHC"]], list(meta.specs.values()))
    cutting = foreign("vllm.v1.core.kv_cache_utils")
    (cut,) = cutting.get_kv_cache_configs(config, [dict(meta.specs)], [MEMORY])
    specs = [group.kv_cache_spec for group in cut.kv_cache_groups]
    layers = [len(group.layer_names) for group in cut.kv_cache_groups]
    return Built(
        meta,
        cut.num_blocks,
        list(zip([type(spec).__name__ for spec in specs], layers, strict=True)),
        [spec.block_size for spec in specs],
        cutting.get_max_concurrency_for_kv_cache_config(config, cut),
    )
