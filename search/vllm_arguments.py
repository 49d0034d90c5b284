"""The options that start vLLM exactly as it was simulated: every emitted file uses these."""

from __future__ import annotations

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.search.engine_defaults import check_budget, engine_release
from servecast.search.vllm_formats import Argument, kv_cache_argument, weights_arguments

_NOT_SIMULATED: tuple[Argument, ...] = (("--enable-chunked-prefill", None),)
"""What the simulated scheduler does and leaves out, said outright whatever the defaults."""


def arguments(deployment: Deployment, num_gpu_blocks: int) -> list[Argument]:
    """The options of `vllm serve` for one replica, without model, host and port.

    `num_gpu_blocks` is the engine's own total: vLLM keeps one block of it for itself (the null
    block), so a cache simulated with n usable blocks is n + 1 here. InputError where it
    contradicts the deployment's own `num_gpu_blocks_override`, or where vLLM would not start with
    these limits; UnsupportedError for an engine, a version or an accelerator that nothing can be
    emitted for.
    """
    _check(deployment, num_gpu_blocks)
    d = deployment
    return [
        ("--tensor-parallel-size", str(d.tensor_parallel_size)),
        *_other_parallelism(d),
        *weights_arguments(d.model.weights_dtype, d.weights_dtype),
        kv_cache_argument(d.kv_cache_dtype),
        ("--max-model-len", str(d.max_model_len)),
        ("--max-num-seqs", str(d.max_num_seqs)),
        ("--max-num-batched-tokens", str(d.max_num_batched_tokens)),
        ("--gpu-memory-utilization", str(d.gpu_memory_utilization)),
        ("--block-size", str(d.block_size)),
        ("--num-gpu-blocks-override", str(num_gpu_blocks)),
        (f"--{'' if d.enable_prefix_caching else 'no-'}enable-prefix-caching", None),
        (f"--{'' if d.async_scheduling else 'no-'}async-scheduling", None),
        *_NOT_SIMULATED,
        ("--scheduling-policy", d.scheduling_policy),
        *_long_prefills(d),
        *_host_tier(d),
        *_speculation(d),
    ]


def words(options: list[Argument]) -> list[str]:
    """The options as the separate words of an argument vector."""
    return [word for name, value in options for word in (name, value) if word is not None]


def _long_prefills(deployment: Deployment) -> list[Argument]:
    threshold = deployment.long_prefill_token_threshold
    if not threshold:
        return []
    adaptive = deployment.long_prefill_token_threshold_adaptive
    options: list[Argument] = [("--long-prefill-token-threshold", str(threshold))]
    return [*options, *[("--long-prefill-token-threshold-adaptive", None)] * adaptive]


def _host_tier(deployment: Deployment) -> list[Argument]:
    size_gib = deployment.kv_offloading_size
    return [] if size_gib is None else [("--kv-offloading-size", f"{size_gib:g}")]


def _other_parallelism(deployment: Deployment) -> list[Argument]:
    chosen: list[Argument] = []
    if deployment.pipeline_parallel_size > 1:
        chosen.append(("--pipeline-parallel-size", str(deployment.pipeline_parallel_size)))
    if deployment.data_parallel_size > 1:
        chosen.append(("--data-parallel-size", str(deployment.data_parallel_size)))
        chosen.append(("--api-server-count", "1"))  # one front end knows the load of all ranks
    if deployment.enable_expert_parallel:
        chosen.append(("--enable-expert-parallel", None))
    if deployment.all2all_backend != "allgather_reducescatter":
        chosen.append(("--all2all-backend", deployment.all2all_backend))
    return chosen


def _speculation(deployment: Deployment) -> list[Argument]:
    drafting = deployment.drafting
    return [] if drafting is None else [("--speculative-config", drafting.config())]


def _check(deployment: Deployment, num_gpu_blocks: int) -> None:
    engine_release(deployment.engine, deployment.engine_version)
    check_budget(deployment.max_num_seqs, deployment.max_num_batched_tokens)
    accelerator = deployment.accelerator
    if accelerator.vendor.lower() != "nvidia":
        raise UnsupportedError(
            f"files for `{accelerator.name}` ({accelerator.vendor}) are not emitted yet"
            "\n  known: NVIDIA GPUs",
            hint="read the limits from the report and start the engine by hand",
        )
    if deployment.kv_loads != "always":
        raise UnsupportedError(
            f"kv_loads {deployment.kv_loads} is no option of vLLM, which loads all that it finds",
            hint="simulate it, or leave kv_loads out",
        )
    known = deployment.num_gpu_blocks_override
    if known is not None and known != num_gpu_blocks:
        raise InputError(
            f"the deployment fixes num_gpu_blocks_override at {known}, {num_gpu_blocks} is given",
            hint="emit the number of blocks that was simulated",
        )
