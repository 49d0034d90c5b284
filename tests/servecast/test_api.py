"""The verbs for Python give what the command line gives, and nothing is loaded before its use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import servecast
from servecast.errors import UnsupportedError
from servecast.timewarp.installation import INSTALLATIONS
from tests.command import FIXED
from tests.engine_scenarios import SCENARIOS

SMALL = """
model: meta-llama/Llama-3.1-8B-Instruct
hardware: {gpu: h100_sxm, gpus: 1, usd_per_gpu_hour: 2.99}
engine: {name: vllm, version: "0.32"}
deployment: {max_model_len: 4096, max_num_seqs: [16, 64], max_num_batched_tokens: 2048}
workload: {synthetic: fixed, input_tokens: 256, output_tokens: 32, requests: 100, rate: 5/s}
slo: ["ttft:p95 < 1s"]
"""


def test_a_scenario_is_simulated_at_a_choice() -> None:
    result = servecast.simulate(servecast.loads(SMALL), {"max_num_seqs": 16})
    assert result.deployment.max_num_seqs == 16
    assert len(result.records) == 100


def test_a_scenario_is_answered() -> None:
    answer = servecast.recommend(servecast.loads(SMALL))
    assert answer.best is not None
    assert answer.best.is_feasible


def test_an_open_choice_is_named() -> None:
    with pytest.raises(servecast.ServecastError, match="max_num_seqs"):
        servecast.simulate(servecast.loads(SMALL))


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(getattr(servecast, name) is not None for name in servecast.__all__)
    with pytest.raises(AttributeError, match="emulat"):
        _ = servecast.emulat


def test_importing_the_package_loads_no_room() -> None:
    code = "import sys, servecast; print([m for m in sys.modules if m.startswith('servecast.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_emulate_wants_the_engine_that_the_scenario_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(INSTALLATIONS["vllm"]), "found", None)
    with pytest.raises(UnsupportedError, match="vLLM is not installed"):
        servecast.emulate(servecast.loads(FIXED))


@pytest.mark.engine(name="transformers")
def test_emulate_says_what_simulate_says() -> None:
    pytest.importorskip("transformers")
    scenario = servecast.loads(SCENARIOS["transformers"])
    emulation = servecast.emulate(scenario)
    finish_ns = servecast.simulate(scenario).records.finish_ns
    assert emulation.result.records.finish_ns.tolist() == finish_ns.tolist()
