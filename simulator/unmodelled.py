"""What the simulator would have to ignore of a deployment, and so refuses."""

from __future__ import annotations

from servecast.errors import UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import ledger
from servecast.primitives.memory_priors import has_experts
from servecast.primitives.model import Attention
from servecast.primitives.pipeline import stage_deployments
from servecast.primitives.policy import SglangPolicy
from servecast.primitives.speculation import Speculation


def refuse_unmodelled(deployment: Deployment) -> None:
    """Raise UnsupportedError, by name, for what the simulator would have to ignore."""
    _refuse_others_options(deployment)
    _refuse_ranks(deployment)
    _refuse_without_exchange(deployment)
    _refuse_drafts(deployment)
    _refuse_chunks(deployment)
    _refuse_host_tier(deployment)


def _refuse_others_options(deployment: Deployment) -> None:
    """UnsupportedError for vLLM's options on another engine, whose scheduler would not see them."""
    engine = deployment.engine
    caches = engine in ("vllm", "sglang", "transformers")
    are_set = {
        "async_scheduling": deployment.async_scheduling,
        "scheduling_policy": deployment.scheduling_policy != "fcfs",
        "long_prefill_token_threshold": deployment.long_prefill_token_threshold > 0,
        "enable_prefix_caching": deployment.enable_prefix_caching and not caches,
        "kv_offloading_size": deployment.kv_offloading_size is not None,
    }
    for option, is_set in are_set.items():
        if is_set and engine != "vllm":
            raise UnsupportedError(
                f"{option} of {engine} is not simulated", hint=f"leave {option} at its default"
            )


def _refuse_ranks(deployment: Deployment) -> None:
    """UnsupportedError for another engine's ranks or pipeline than vLLM's, and for stages that have
    no price."""
    if deployment.data_parallel_size > 1:
        _refuse_data_ranks(deployment)
    if deployment.pipeline_parallel_size > 1 and deployment.engine != "vllm":
        raise _above_one("pipeline_parallel_size", deployment.pipeline_parallel_size)
    stage_deployments(deployment)


def _refuse_data_ranks(deployment: Deployment) -> None:
    """UnsupportedError for data-parallel ranks of which it is not known how they step together."""
    ranks = deployment.data_parallel_size
    if deployment.engine != "vllm":
        raise _above_one("data_parallel_size", ranks)
    if not has_experts(deployment.model):
        raise UnsupportedError(
            f"data_parallel_size {ranks} of {deployment.model.name}, which has no experts, are "
            "engines of their own behind one address",
            hint=f"set data_parallel_size to 1 and replicas to {ranks * deployment.replicas}",
        )
    beside = {
        "pipeline_parallel_size": deployment.pipeline_parallel_size > 1,
        "kv_offloading_size": deployment.kv_offloading_size is not None,
    }
    for option, is_set in beside.items():
        if is_set:
            raise UnsupportedError(
                f"{option} beside data_parallel_size {ranks} is not simulated yet",
                hint=f"leave {option} at its default, or set data_parallel_size to 1",
            )


def _refuse_without_exchange(deployment: Deployment) -> None:
    """UnsupportedError for how experts are reached where there is nothing to choose."""
    deals_out = deployment.enable_expert_parallel
    if deployment.expert_imbalance != 1.0 and not deals_out:
        raise UnsupportedError(
            "expert_imbalance changes nothing without enable_expert_parallel: every rank has a "
            "part of each expert",
            hint="set enable_expert_parallel to true, or leave expert_imbalance out",
        )
    exchanges = deals_out and deployment.data_parallel_size > 1
    if deployment.all2all_backend != "allgather_reducescatter" and not exchanges:
        raise UnsupportedError(
            f"all2all_backend {deployment.all2all_backend} changes nothing: it is for experts "
            "dealt out over data-parallel ranks",
            hint="set enable_expert_parallel to true and data_parallel_size above 1, or leave it"
            " out",
        )


def _above_one(option: str, size: int) -> UnsupportedError:
    return UnsupportedError(
        f"{option} {size} is not simulated yet", hint=f"set {option} to 1, or use replicas"
    )


def _refuse_chunks(deployment: Deployment) -> None:
    """UnsupportedError for a prefix cache of chunked attention, which counts whole chunks behind a
    request as computed."""
    mixers = [group.mixer for group in deployment.model.layers]
    chunked = any(isinstance(mixer, Attention) and mixer.chunked for mixer in mixers)
    if chunked and deployment.engine == "vllm" and deployment.enable_prefix_caching:
        raise UnsupportedError(
            f"prefix caching of {deployment.model.name}, which attends within chunks, is not "
            "simulated yet",
            hint="set enable_prefix_caching to false, or run it by `servecast emulate`",
        )


def _refuse_drafts(deployment: Deployment) -> None:
    """UnsupportedError for drafts where it is not known who is scheduled with them, and when."""
    where = deployment.drafting and _unknown_drafts(deployment, deployment.drafting)
    if where:
        raise UnsupportedError(
            f"speculative decoding {where} is not simulated yet",
            hint="leave `speculation` out, or what it stands beside",
        )


def _unknown_drafts(deployment: Deployment, drafting: Speculation) -> str | None:
    """In words, where such drafts are not modelled; None where they are."""
    if deployment.engine == "sglang":
        return _unknown_sglang_drafts(deployment, drafting)
    if deployment.engine != "vllm":
        return f"of {deployment.engine}"
    if deployment.pipeline_parallel_size > 1:
        return "over pipeline stages"
    if deployment.data_parallel_size > 1:
        return "of data-parallel ranks"
    groups = ledger(deployment).geometry.groups
    if any(group.kind == "state" for group in groups):
        return f"of {deployment.model.name}, which has recurrent layers,"
    finds_hidden = drafting.uses_hidden_states and deployment.enable_prefix_caching
    if finds_hidden and len(groups) > 1:
        return f"by {drafting.method} beside a prefix cache of several kinds of layers"
    return None


def _unknown_sglang_drafts(deployment: Deployment, drafting: Speculation) -> str | None:
    """The same for SGLang."""
    if drafting.num_speculative_tokens_per_batch_size:
        return "of sglang by num_speculative_tokens_per_batch_size"
    if isinstance(deployment.policy, SglangPolicy) and deployment.policy.enable_mixed_chunk:
        return "of sglang beside enable_mixed_chunk"
    return None


def _refuse_host_tier(deployment: Deployment) -> None:
    """UnsupportedError for KV blocks in host memory where no engine that skips can serve."""
    if deployment.kv_offloading_size is None:
        return
    beside = _beside_host_tier(deployment)
    if beside is not None:
        raise UnsupportedError(
            f"kv_offloading_size {beside} is not simulated yet",
            hint="leave kv_offloading_size out, or what it stands beside",
        )


def _beside_host_tier(deployment: Deployment) -> str | None:
    """In words, beside what such a tier is not modelled; None where it is."""
    if not deployment.enable_prefix_caching:
        return "without enable_prefix_caching"
    beside = {
        "async_scheduling": deployment.async_scheduling,
        "pipeline stages": deployment.pipeline_parallel_size > 1,
        "speculation": deployment.drafting is not None,
        "scheduling_policy": deployment.scheduling_policy != "fcfs",
        "long_prefill_token_threshold": deployment.long_prefill_token_threshold > 0,
    }
    for option, is_there in beside.items():
        if is_there:
            return f"beside {option}"
    if not ledger(deployment).geometry.is_uniform:
        return f"of {deployment.model.name}, whose KV cache has several kinds of blocks,"
    return None
