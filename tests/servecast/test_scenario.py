"""A scenario that loads: what it holds, what it leaves open, and that its dump is itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.loading import builtin, load, loads, template
from servecast.traffic import SyntheticTraffic
from tests.servecast.minimal import FIXED, changed, faults


def test_a_fixed_scenario_opens_nothing() -> None:
    scenario = loads(FIXED)
    assert scenario.space().is_fixed
    assert scenario.space().size == 1
    assert isinstance(scenario.workload, SyntheticTraffic)
    assert scenario.workload.rate == 12.0
    assert str(scenario.slo[0]) == "ttft:p95 < 500ms"
    assert str(scenario.objective[0]) == "cost"


def test_lists_and_ranges_are_choices_and_a_list_of_one_is_none() -> None:
    scenario = loads(
        changed(
            "{max_num_seqs: 64}",
            "{max_num_seqs: [64, 128], block_size: [16], replicas: auto, "
            "max_num_batched_tokens: {from: 2048, to: 8192, step: 3072}, "
            "gpu_memory_utilization: {from: 0.8, to: 0.9, step: 0.05}}",
        )
    )
    space = scenario.space()
    assert space.open == {
        "max_num_seqs": (64, 128),
        "max_num_batched_tokens": (2048, 5120, 8192),
        "gpu_memory_utilization": (0.8, 0.85, 0.9),
    }
    assert (space.size, space.is_fixed, space.auto_replicas) == (18, False, True)


def test_gpu_and_engine_version_are_dimensions_too() -> None:
    text = changed(
        "gpu: h100_sxm, gpus: 1, usd_per_gpu_hour: 2.5",
        "gpu: [h100_sxm, h200_sxm], gpus: 1, usd_per_gpu_hour: {h100_sxm: 2, h200_sxm: 3}",
    )
    scenario = loads(text.replace('"0.32"', '["0.32", "0.32.0"]'))
    assert set(scenario.space().open) == {"gpu", "engine_version"}
    chosen = scenario.at({"gpu": "h200_sxm", "engine_version": "0.32.0"})
    assert chosen.space().is_fixed
    assert (chosen.hardware.gpu, chosen.engine.version) == (("h200_sxm",), ("0.32.0",))


def test_a_point_must_be_in_the_space_and_complete() -> None:
    scenario = loads(changed("max_num_seqs: 64", "max_num_seqs: [64, 128], block_size: [16, 32]"))
    with pytest.raises(InputError, match="leaves block_size open"):
        scenario.at({"max_num_seqs": 64})
    with pytest.raises(InputError, match="`65` is not one of 64, 128"):
        scenario.at({"max_num_seqs": 65, "block_size": 16})
    with pytest.raises(InputError, match="not an open choice") as told:
        scenario.at({"max_num_seq": 64, "block_size": 16})
    assert "`max_num_seqs`" in (told.value.hint or "")


def test_a_trace_starts_at_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("arrival_s,input_tokens,output_tokens\n0,10,5\n")
    start = FIXED.index("workload")
    text = FIXED[:start] + "workload: {trace: trace.csv}\n"
    (tmp_path / "my service.yaml").write_text(text)
    scenario = load(tmp_path / "my service.yaml")
    assert scenario.name == "my-service"
    assert scenario.workload.model_dump()["trace"] == str((tmp_path / "trace.csv").resolve())
    assert loads(scenario.dump()) == scenario
    told = faults(text.replace("trace.csv", "trcae.csv"), tmp_path)
    assert "there is no file" in told["workload.trace"]


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match="not UTF-8"):
        load(tmp_path / "binary.yaml")


def test_the_built_in_scenario_and_the_template_load_and_round_trip() -> None:
    for scenario in (builtin(), loads(template())):
        assert loads(scenario.dump()) == scenario
        assert not scenario.space().is_fixed
    assert builtin().deployment.quantization == ("bf16",)
