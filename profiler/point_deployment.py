"""What a point's labels mean: its deployment and launch, with labels repaired and blanks filled."""

from __future__ import annotations

from typing import NamedTuple

from servecast.errors import UnsupportedError
from servecast.primitives import catalogue
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.memory_priors import has_experts
from servecast.primitives.model import ModelSpec
from servecast.profiler.label_repairs import NODE, Layout, layout
from servecast.profiler.launch import Launch
from servecast.profiler.launch_facts import launch_of
from servecast.profiler.silicon_points import SiliconPoint

SLACK_TOKENS = 256
"""Scripts set the model length a little above prompt and output."""
VLLM_VERSION = "0.18"
"""Where a row names none: the commonest of the sample's."""


class Served(NamedTuple):
    """How the replicas of a point were cut and started."""

    deployment: Deployment
    launch: Launch
    cut: Layout


def deployment_of(point: SiliconPoint) -> Served:
    """That of an aggregated point; UnsupportedError for what is not modelled."""
    if point.mode == "disagg":
        raise UnsupportedError("a disaggregated row has the deployments of two pools")
    served = replica_of(point)
    if served.cut.gpus > NODE:
        raise UnsupportedError(
            f"{served.cut.gpus} GPUs are more than the {NODE} of a node: launch scripts span nodes "
            "with disaggregated servers alone, whatever the label says"
        )
    return served


def replica_of(point: SiliconPoint) -> Served:
    """The same of one replica, over as many nodes as it takes."""
    if point.pp_size > 1:
        raise UnsupportedError("pipeline parallelism is not simulated yet")
    model = catalogue.model(point.model)
    gpu = catalogue.accelerator(point.gpu)
    cut = layout(point, has_experts=has_experts(model))
    launch = launch_of(point, model, gpu.name)
    return Served(_deployment(point, model, gpu, cut, launch), launch, cut)


def _deployment(
    point: SiliconPoint, model: ModelSpec, gpu: Accelerator, cut: Layout, launch: Launch
) -> Deployment:
    seqs = launch.max_num_seqs or cut.clients_a_rank(clients_of(point))
    version = point.engine_version or VLLM_VERSION
    return Deployment(
        model=model,
        accelerator=gpu,
        engine=point.engine,
        engine_version=version if version[:1].isdecimal() else VLLM_VERSION,
        weights_dtype=weights_dtype(point, model),
        kv_cache_dtype=launch.kv_cache_dtype,
        max_model_len=point.isl + point.osl + SLACK_TOKENS,
        max_num_seqs=min(seqs, launch.max_num_batched_tokens),
        max_num_batched_tokens=launch.max_num_batched_tokens,
        tensor_parallel_size=cut.tensor,
        data_parallel_size=cut.attention_data,
        experts_kernel=launch.experts_kernel,
        enable_expert_parallel=cut.moe_expert > 1,
        gpu_memory_utilization=launch.memory_share,
    )


def weights_dtype(point: SiliconPoint, model: ModelSpec) -> Dtype:
    """The format of the large matrices: a blank is bf16, whatever the catalogue says.

    Models published in mxfp4 alone (gpt-oss) were served in it whatever the label.
    """
    if model.weights_dtype is Dtype.MXFP4:
        return Dtype.MXFP4
    if point.precision is None:
        return Dtype.BF16
    return Dtype.NVFP4 if point.precision == "fp4" else Dtype(point.precision)


def clients_of(point: SiliconPoint) -> int:
    """Requests in flight; UnsupportedError where the row does not say."""
    if point.clients is None:
        raise UnsupportedError("neither concurrency nor batch_size is given")
    return point.clients
