"""vLLM's own executors are recorded, and what was recorded prices the same run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servecast.primitives.cost_file import read_costs
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, ModelSpec
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from servecast.timewarp import recorder, vllm_engine
from servecast.timewarp.emulate import emulate
from servecast.timewarp.mode import Mode
from servecast.timewarp.recorded_cost import RecordedCost
from servecast.timewarp.recorded_step_cost import RecordedStepCost
from servecast.timewarp.recorded_steps import recorded_steps, recorded_tables
from servecast.timewarp.recorder_times import RecorderTimes
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_executor import executor_class
from servecast.traces.workload import Workload
from tests.emulated_options import options
from tests.timewarp.emulated_cases import PLAIN, poisson
from tests.timewarp.recorded_server import WARM_UP

pytestmark = pytest.mark.engine(name="vllm")

ROOT = Path(__file__).parents[2]
STEPPING = Mode(stepping=True)
TINY = replace(
    PLAIN,
    model=ModelSpec(
        name="tiny",
        architecture="LlamaForCausalLM",
        hidden=256,
        vocab=1024,
        tie_embeddings=False,
        max_model_len=2048,
        weights_dtype=Dtype.BF16,
        layers=(LayerGroup(4, Attention(4, 2, 64), DenseFfn(512)),),
        source="test",
    ),
    max_num_seqs=16,
    max_num_batched_tokens=512,
    block_size=32,
    num_gpu_blocks_override=501,
)


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def recorded(path: Path, monkeypatch: pytest.MonkeyPatch, workload: Workload) -> Result:
    """A run of vLLM on a virtual device whose executor is recorded, on the virtual clock."""

    def recording(serving: Serving) -> type[object]:
        clock = serving.device.clock
        times = RecorderTimes(clock.now_ns, lambda: 0)

        def virtual(*real: object) -> RecorderTimes:
            return times

        monkeypatch.setattr(recorder, "RecorderTimes", virtual)
        return recorder.recording_class(executor_class(serving), path)

    monkeypatch.setattr(vllm_engine, "executor_class", recording)
    cost = CompiledStepCost(PLAIN, RooflineSource())
    result = emulate(PLAIN, workload, options(PLAIN, workload), cost, STEPPING).result
    monkeypatch.undo()
    return result


def assert_close(one: Result, other: Result) -> None:
    """Means of TTFT and of whole requests within a thousandth."""
    for column in ("ttft_ns", "e2e_ns"):
        mine, theirs = (np.asarray(getattr(each.records, column)) for each in (one, other))
        assert mine.mean() == pytest.approx(theirs.mean(), rel=0.001)


def test_recorded_steps_price_the_run_that_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, traffic = tmp_path / "steps.csv", poisson(60, 8.0)
    real = recorded(path, monkeypatch, traffic)
    tables = recorded_tables(read_costs(path), device="h100_sxm")
    assert tables[0].key.version == "0.32.0"
    cost = RecordedStepCost(*tables)
    assert_close(simulate(PLAIN, traffic, cost=cost), real)
    assert_close(emulate(PLAIN, traffic, options(PLAIN, traffic), cost).result, real)


def server(folder: Path, path: Path, count: int, rate: float) -> subprocess.Popen[str]:
    """vLLM on this machine's CPU beside an installed servecast, recording."""
    pytest.importorskip("compressed_tensors")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = folder / "site" / "servecast-0.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: servecast\nVersion: 0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (found / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    paths = [str(folder / "site"), str(ROOT), *filter(None, sys.path)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "SERVECAST_RECORD": str(path),
        "OMP_NUM_THREADS": "1",
    }
    script = Path(__file__).with_name("recorded_server.py")
    model = folder / "tiny"
    model.mkdir()
    return subprocess.Popen(
        [sys.executable, str(script), str(model), str(count), str(rate)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
def test_a_real_cpu_server_is_recorded_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    with server(tmp_path, path, 40, 2.0) as process:
        said = json.loads(process.communicate()[0].splitlines()[-1])
    arrive, first, last = (np.array(said[name]) for name in ("arrive", "first", "last"))
    outputs = np.array(said["outputs"], dtype=np.int64)
    traffic = Workload(
        name="recorded",
        arrival_ns=np.rint(arrive * 1e9).astype(np.int64),
        prompt_tokens=np.array(said["prompts"], dtype=np.int64),
        output_tokens=outputs,
        max_tokens=outputs,
    )
    steps = list(recorded_steps(path))[WARM_UP:]
    fitted = RecordedStepCost(*recorded_tables(read_costs(path), device="cpu", model="tiny"))
    cost = RecordedCost((step.duration_ns for step in steps), fitted)
    replay = emulate(TINY, traffic, options(TINY, traffic), cost, STEPPING)
    assert replay.steps == len(steps)
    ttft_s = np.asarray(replay.result.records.ttft_ns) / 1e9
    e2e_s = np.asarray(replay.result.records.e2e_ns) / 1e9
    for replayed_s, heard_s in ((ttft_s, first - arrive), (e2e_s, last - arrive)):
        # A millisecond is for clients that hear of their tokens late on a busy machine.
        assert replayed_s.mean() == pytest.approx(heard_s.mean(), rel=0.01, abs=1e-3)


@pytest.mark.slow
def test_a_server_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    process = server(tmp_path, path, 10_000, 50.0)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if path.exists() and path.read_bytes().count(b"\n") > 200:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list(recorded_steps(path))) >= 99
    assert [len(table) > 0 for table in read_costs(path)] == [True, True]
