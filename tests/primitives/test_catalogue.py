"""Accelerators of the catalogue: found by the names people type, figures as published."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from importlib.resources import files
from math import isclose
from pathlib import Path
from typing import Any

import pytest
import yaml

from servecast.errors import InputError
from servecast.primitives.catalogue import accelerator, accelerators
from servecast.primitives.dtype import Dtype

GIB = 2**30


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def number(cell: str) -> float | None:
    return float(cell) if cell else None


def raw(name: str) -> dict[str, Any]:
    text = files("servecast.primitives").joinpath("data", name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_the_short_name_is_the_form_that_most_people_rent() -> None:
    assert accelerator("h100").name == "h100_sxm"
    assert accelerator("a100").name == "a100_sxm_80gb"
    assert accelerator("h200") is accelerator("H200-SXM-141GB")


def test_case_and_separators_do_not_matter() -> None:
    assert accelerator("RTX 4090") is accelerator("rtx_4090") is accelerator("RTX4090")


@pytest.mark.parametrize("device", accelerators(), ids=lambda device: device.name)
def test_an_accelerator_is_named_and_described_usably(device: Any) -> None:
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", device.name)
    assert accelerator(device.name) is device
    assert device.memory_bytes > 4e9
    assert device.bw_bytes_per_s > 5e10
    assert device.peak_flops(Dtype.BF16) > 1e12
    assert device.peak_flops(Dtype.INT4) == device.peak_flops(Dtype.BF16)
    assert (device.link.domain > 1) <= (device.link.bw_bytes_per_s > 0)
    assert device.source


def test_the_figures_are_those_of_the_published_table(data_dir: Path) -> None:
    table = rows(data_dir / "hardware" / "accelerators.csv")
    assert len(table) == 37
    for row in table:
        device = accelerator(row["name"])
        assert device.vendor == row["vendor"], row["name"]
        assert device.kind == row["class"], row["name"]
        assert isclose(device.bw_bytes_per_s, float(row["mem_bw_tb_s"]) * 1e12)
        assert device.tdp_w == number(row["tdp_w"])
        for dtype, column in (
            (Dtype.BF16, "bf16_tflops_dense"),
            (Dtype.FP8, "fp8_tflops_dense"),
            (Dtype.INT8, "int8_tops_dense"),
            (Dtype.MXFP4, "fp4_tflops_dense"),
        ):
            if row["name"] == "Phone-NPU-class" and dtype is Dtype.BF16:
                continue  # the table has only its int8 rate; the catalogue guesses half of it
            expected = (number(row[column]) or 0.0) * 1e12
            assert isclose(device.flops.get(dtype, 0.0), expected), (row["name"], dtype)
        if row["scaleup_gb_s_unidir"]:
            assert device.link.bw_bytes_per_s == float(row["scaleup_gb_s_unidir"]) * 1e9
            assert device.link.domain == int(row["scaleup_domain"])
        network = number(row["scaleout_gbit_s"])
        assert device.network_bytes_per_s == (network * 1e9 / 8 if network else None), row["name"]
        # A driver reports the nominal size in binary units, less what it keeps and what ECC takes.
        nominal_bytes = float(row["mem_gb"]) * 1e9
        assert 0.97 * nominal_bytes < device.memory_bytes < 1.075 * nominal_bytes, row["name"]


@pytest.mark.parametrize(
    ("logged", "name"),
    [
        ("H100-80G", "h100_sxm"),
        ("A100-40G", "a100_sxm_40gb"),
        ("RTX3090", "rtx_3090"),
        ("RTX4090", "rtx_4090"),
        ("MI300X", "mi300x"),
        ("B300-class 267.69 GiB", "b300_sxm"),
        ("94.97 GiB card", "rtx_pro_6000_server"),
    ],
)
def test_memory_is_what_the_driver_reports_in_start_up_logs(
    data_dir: Path, logged: str, name: str
) -> None:
    logs = rows(data_dir / "groundtruth" / "vllm_kv_capacity_logs.csv")
    totals = [row["gpu_total_gib"] for row in logs if row["gpu"] == logged]
    assert f"{accelerator(name).memory_bytes / GIB:.2f}" in totals


@pytest.mark.parametrize(("typed", "near"), [("h200_sxn", "h200_sxm"), ("h200x", "h200")])
def test_an_unknown_accelerator_names_a_neighbour_and_the_next_command(
    typed: str, near: str
) -> None:
    with pytest.raises(InputError, match=f"`{typed}` is unknown") as caught:
        accelerator(typed)
    assert f"`{near}`" in str(caught.value.hint)
    assert "servecast gpus" in str(caught.value.hint)


# The files ---------------------------------------------------------------------------------------


def test_no_name_stands_for_two_things() -> None:
    for file, section in (("accelerators.yaml", "accelerators"), ("models.yaml", "models")):
        names = [
            known
            for name, entry in raw(file)[section].items()
            for known in (name, *entry.get("aliases", ()), *entry.get("quantized", ()))
        ]
        assert sorted(set(names)) == sorted(names)


def test_entries_have_only_keys_that_are_read() -> None:
    devices, specs = raw("accelerators.yaml"), raw("models.yaml")
    device_keys = {
        "aliases", "vendor", "kind", "memory_gib", "memory_gb", "bandwidth_tb_per_s", "tflops",
        "link", "network_gbit_per_s", "host_gb_per_s", "tdp_w", "idle_w", "usd_per_hour",
        "confidence", "sources",
    }  # fmt: skip
    spec_keys = {
        "aliases", "quantized", "architecture", "hidden", "vocab", "tie_embeddings",
        "max_model_len", "weights", "mtp_layers", "layers", "source", "note", "confidence",
    }  # fmt: skip
    parts = {"attention", "latent", "gated_delta", "mamba", "kimi_delta", "dense", "moe"}
    for entry in devices["accelerators"].values():
        assert entry.keys() <= device_keys
        assert ("memory_gib" in entry) != ("memory_gb" in entry)
    for entry in specs["models"].values():
        assert entry.keys() <= spec_keys
        for group in entry["layers"]:
            assert group.keys() <= {"count"} | parts
    used = {key for entry in devices["accelerators"].values() for key in entry["sources"]}
    assert used == devices["sources"].keys()
    assert {e["source"] for e in specs["models"].values()} == specs["sources"].keys()


def test_looking_up_a_name_does_not_pay_for_reading_foreign_files() -> None:
    code = (
        "import sys; from servecast.primitives.catalogue import accelerator, model;"
        "model('llama-3.1-8b'); accelerator('h100');"
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
