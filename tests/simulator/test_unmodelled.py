"""What the simulator refuses by name, since it would have to ignore it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.catalogue import model
from servecast.primitives.deployment import Deployment
from servecast.primitives.model import MoeFfn
from servecast.primitives.policy import SglangPolicy
from servecast.primitives.speculation import Speculation
from servecast.simulator.unmodelled import refuse_unmodelled
from tests.toy_deployments import DENSE, FULL, toy_deployment

CHUNKED = replace(DENSE, model=model("llama-4-scout"))
RANKS = replace(
    toy_deployment((2, FULL, MoeFfn(experts=8, experts_per_token=2, width=512))),
    data_parallel_size=2,
    enable_expert_parallel=True,
)
NGRAM = Speculation("ngram", 2, (0.6, 0.4))
BY_BATCH = replace(NGRAM, num_speculative_tokens_per_batch_size=((1, 8, 2), (9, 64, 1)))
SGLANG = replace(DENSE, engine="sglang", speculation=NGRAM)
MIXED = SglangPolicy(enable_mixed_chunk=True)


@pytest.mark.parametrize(
    ("deployment", "named"),
    [
        (replace(DENSE, pipeline_parallel_size=2, speculation=NGRAM), "over pipeline stages"),
        (replace(DENSE, engine="transformers", speculation=NGRAM), "of transformers"),
        (
            replace(SGLANG, policy=MIXED),
            "beside enable_mixed_chunk",
        ),
        (replace(SGLANG, speculation=BY_BATCH), "sglang by num_speculative_tokens_per_batch_size"),
        (replace(DENSE, engine="trtllm", pipeline_parallel_size=2), "pipeline_parallel_size 2"),
        (replace(DENSE, data_parallel_size=2), "engines of their own"),
        (replace(RANKS, engine="sglang"), "data_parallel_size 2"),
        (replace(RANKS, pipeline_parallel_size=2), "pipeline_parallel_size beside"),
        (replace(RANKS, kv_offloading_size=1.0), "kv_offloading_size beside"),
        (replace(RANKS, speculation=NGRAM), "of data-parallel ranks"),
        (
            replace(RANKS, enable_expert_parallel=False, expert_imbalance=1.2),
            "expert_imbalance changes nothing",
        ),
        (
            replace(RANKS, data_parallel_size=1, all2all_backend="deepep_low_latency"),
            "all2all_backend deepep_low_latency changes nothing",
        ),
        (replace(DENSE, engine="sglang", async_scheduling=True), "async_scheduling of sglang"),
        (replace(CHUNKED, enable_prefix_caching=True), "attends within chunks"),
        (
            replace(DENSE, engine="transformers", scheduling_policy="priority"),
            "scheduling_policy of transformers",
        ),
        (
            replace(DENSE, engine="reference", enable_prefix_caching=True),
            "enable_prefix_caching of reference",
        ),
    ],
)
def test_what_no_engine_can_express_is_refused_by_name(deployment: Deployment, named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        refuse_unmodelled(deployment)


@pytest.mark.parametrize(
    "deployment",
    [
        replace(DENSE, pipeline_parallel_size=2),
        replace(DENSE, speculation=NGRAM),
        replace(SGLANG, enable_prefix_caching=True),
        CHUNKED,
        replace(DENSE, engine="trtllm", speculation=Speculation("ngram", 0, ())),
        replace(RANKS, all2all_backend="deepep_low_latency", expert_imbalance=1.2),
    ],
    ids=["stages", "drafts", "sglang drafts", "chunks", "no drafts", "ranks"],
)
def test_what_is_modelled_is_not_refused(deployment: Deployment) -> None:
    refuse_unmodelled(deployment)
