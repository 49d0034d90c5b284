"""What the simulator would have to ignore of a deployment, and so refuses."""

from __future__ import annotations

from servecast.errors import UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import ledger
from servecast.primitives.model import Attention
from servecast.primitives.pipeline import stage_deployments
from servecast.primitives.speculation import Speculation


def refuse_unmodelled(deployment: Deployment) -> None:
    """Raise UnsupportedError, by name, for what the simulator would have to ignore."""
    _refuse_others_options(deployment)
    _refuse_ranks(deployment)
    _refuse_drafts(deployment)
    _refuse_chunks(deployment)


def _refuse_others_options(deployment: Deployment) -> None:
    """UnsupportedError for vLLM's options on another engine, whose scheduler would not see them."""
    engine = deployment.engine
    caches = engine in ("vllm", "sglang", "transformers")
    are_set = {
        "async_scheduling": deployment.async_scheduling,
        "scheduling_policy": deployment.scheduling_policy != "fcfs",
        "long_prefill_token_threshold": deployment.long_prefill_token_threshold > 0,
        "enable_prefix_caching": deployment.enable_prefix_caching and not caches,
    }
    for option, is_set in are_set.items():
        if is_set and engine != "vllm":
            raise UnsupportedError(
                f"{option} of {engine} is not simulated", hint=f"leave {option} at its default"
            )


def _refuse_ranks(deployment: Deployment) -> None:
    """UnsupportedError for a replica of several engines, for another engine's pipeline than vLLM's,
    and for stages that have no price."""
    if deployment.data_parallel_size > 1:
        raise _above_one("data_parallel_size", deployment.data_parallel_size)
    if deployment.pipeline_parallel_size > 1 and deployment.engine != "vllm":
        raise _above_one("pipeline_parallel_size", deployment.pipeline_parallel_size)
    stage_deployments(deployment)


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
    if deployment.engine != "vllm":
        return f"of {deployment.engine}"
    if deployment.pipeline_parallel_size > 1:
        return "over pipeline stages"
    groups = ledger(deployment).geometry.groups
    if any(group.kind == "state" for group in groups):
        return f"of {deployment.model.name}, which has recurrent layers,"
    finds_hidden = drafting.uses_hidden_states and deployment.enable_prefix_caching
    if finds_hidden and len(groups) > 1:
        return f"by {drafting.method} beside a prefix cache of several kinds of layers"
    return None
