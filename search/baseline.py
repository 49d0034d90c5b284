"""What a recommendation is measured against: the engine's defaults, or what the user runs today."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.search.answers import Answer
from servecast.search.engine_defaults import defaults
from servecast.search.evaluator import Evaluator
from servecast.search.sglang_defaults import left_alone
from servecast.search.space import Candidate, memory_of, refuse_unsearched
from servecast.simulator.objective import Objective


@dataclass(frozen=True, slots=True)
class Baseline:
    """A deployment to compare with, and what it is called."""

    name: str
    answer: Answer
    omits: tuple[str, ...] = ()
    """What the real engine would do in its place, and the simulation leaves out."""


def default_candidate(like: Deployment, gpus: int) -> Candidate | None:
    """The engine's own limits on the fewest tensor-parallel ranks that hold the model.

    None where the defaults fit on no number of GPUs within the budget, or are not known.
    """
    size = 1
    while size <= min(gpus, like.accelerator.link.domain):
        deployment = left_alone(like, size) if like.engine == "sglang" else _by_default(like, size)
        found = None if deployment is None else fixed_candidate(deployment, gpus)
        if found is not None:
            return found
        size *= 2
    return None


def _by_default(like: Deployment, tensor_parallel_size: int) -> Deployment | None:
    """One replica with vLLM's own limits, or None where they are not known."""
    try:
        known = defaults(like.engine, like.engine_version, like.accelerator)
        limits = known.limits(max_model_len=like.max_model_len)
    except InputError:
        return None
    return replace(
        like,
        replicas=1,
        tensor_parallel_size=tensor_parallel_size,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        gpu_memory_utilization=known.gpu_memory_utilization,
        num_gpu_blocks_override=None,
        long_prefill_token_threshold=0,
        speculation=None,
    )


def fixed_candidate(deployment: Deployment, gpus: int) -> Candidate | None:
    """A deployment as a candidate of its own, or None where the engine would not start it."""
    try:
        refuse_unsearched(deployment)
        memory = memory_of(deployment)
    except InputError:
        return None
    if memory.shortfall() is not None:
        return None
    most = max(deployment.replicas, gpus // deployment.gpus_per_replica)
    return Candidate({"baseline": repr(deployment)}, deployment, memory, most)


def gain(best: Answer, other: Answer, objective: Objective) -> float | None:
    """How many times better the best is than the other by an objective; None where undefined."""
    mine, theirs = best.values[0], other.values[0]
    if not (mine > 0 and theirs > 0) or theirs == float("inf"):
        return None
    return theirs / mine if objective.direction == "minimise" else mine / theirs


def evaluate_default(evaluator: Evaluator, like: Deployment, gpus: int) -> Baseline | None:
    """The engine's defaults, at a number of replicas found by the same rule as the candidates'."""
    candidate = default_candidate(like, gpus)
    if candidate is None:
        return None
    answer = evaluator.baseline(candidate)
    return Baseline(f"{like.engine} defaults", answer)
