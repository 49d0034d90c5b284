"""What the simulator refuses by name, since it would have to ignore it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.catalogue import model
from servecast.primitives.deployment import Deployment
from servecast.primitives.speculation import Speculation
from servecast.simulator.unmodelled import refuse_unmodelled
from tests.toy_deployments import DENSE

CHUNKED = replace(DENSE, model=model("llama-4-scout"))
NGRAM = Speculation("ngram", 2, (0.6, 0.4))


@pytest.mark.parametrize(
    ("deployment", "named"),
    [
        (replace(DENSE, pipeline_parallel_size=2, speculation=NGRAM), "over pipeline stages"),
        (replace(DENSE, engine="sglang", speculation=NGRAM), "of sglang"),
        (replace(DENSE, engine="trtllm", pipeline_parallel_size=2), "pipeline_parallel_size 2"),
        (replace(DENSE, data_parallel_size=2), "data_parallel_size 2"),
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
        CHUNKED,
        replace(DENSE, engine="trtllm", speculation=Speculation("ngram", 0, ())),
    ],
    ids=["stages", "drafts", "chunks", "no drafts"],
)
def test_what_is_modelled_is_not_refused(deployment: Deployment) -> None:
    refuse_unmodelled(deployment)
