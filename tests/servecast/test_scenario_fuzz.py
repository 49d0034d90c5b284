"""Whatever is written, a scenario loads and reads back from its dump, or the user is told why."""

from __future__ import annotations

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.errors import ServecastError
from servecast.loading import loads
from servecast.scenario import Scenario
from tests.servecast.minimal import FIXED

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.just("auto") | st.integers(1, 4),
        "quantization": st.sampled_from(["bf16", "fp8", ["bf16", "fp8"]]),
        "kv_cache_dtype": st.sampled_from(["auto", "fp8"]),
        "max_model_len": st.integers(1, 131072),
        "max_num_seqs": st.lists(st.integers(1, 512), min_size=1, max_size=3, unique=True),
        "gpu_memory_utilization": st.floats(0.01, 1.0),
        "routing": st.sampled_from(
            ["round_robin", "central_queue", "power_of_two", "prefix_affinity"]
        ),
        "num_gpu_blocks_override": st.none() | st.integers(1, 10**6),
    },
)


@given(
    OPTIONS,
    st.floats(1e-3, 1e6),
    st.lists(
        st.sampled_from(["ttft:p95 < 0.5s", "e2e:max<=3min", "goodput > 7.25/s"]), unique=True
    ),
    st.lists(
        st.sampled_from(["gpu_hours", "cost", "tpot:p99", "throughput"]), min_size=1, unique=True
    ),
)
@settings(max_examples=50, deadline=None)
def test_dump_reads_back_as_the_same_scenario(
    options: dict[str, object], rate: float, slo: list[str], objective: list[str]
) -> None:
    scenario = Scenario.model_validate(
        {
            "model": "meta-llama/Llama-3.1-8B",
            "hardware": {"gpu": "h100_sxm", "gpus": 8, "usd_per_gpu_hour": 2.99},
            "engine": {"version": "0.32"},
            "deployment": options,
            "workload": {"synthetic": "chat", "requests": 9, "rate": rate},
            "slo": ["e2e:p50 < 1h", *slo],
            "objective": objective,
        }
    )
    assert loads(scenario.dump()) == scenario


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["auto", "12/s", "ttft:p95 < 1s", "h100_sxm", "~x", ".", "a\0b", "9" * 300])
)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3)
)


KNOWN = [
    *Scenario.model_fields,
    *("gpu", "gpus", "usd_per_gpu_hour", "version", "max_num_seqs", "quantization", "replicas"),
    *("speculation", "method", "acceptance", "num_speculative_tokens", "speculative_config"),
    *("rate", "synthetic", "trace", "requests", "think", "cv", "seed"),
]


def loads_or_tells(text: str) -> None:
    try:
        scenario = loads(text)
    except ServecastError:
        return
    assert loads(scenario.dump()) == scenario


@given(st.text(st.sampled_from("ab:[]{},&*!|>'\"%@` \n\t-?#~1.")))
@settings(max_examples=200, deadline=None)
def test_any_text_loads_or_tells(text: str) -> None:
    loads_or_tells(text)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_scenario_with_anything_anywhere_loads_or_tells(data: st.DataObject) -> None:
    document = yaml.safe_load(FIXED)
    section = data.draw(st.sampled_from([None, "hardware", "engine", "deployment", "workload"]))
    fields = document if section is None else document[section]
    for key in data.draw(st.lists(st.sampled_from(KNOWN) | st.text(max_size=5), max_size=3)):
        fields[key] = data.draw(VALUES)
    loads_or_tells(yaml.safe_dump(document))
