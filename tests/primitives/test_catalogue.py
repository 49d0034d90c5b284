"""The catalogue finds accelerators and models by the names people type, as published."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from servecast.errors import InputError
from servecast.primitives.catalogue import accelerator, accelerators, model, models
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import (
    Attention,
    LatentAttention,
    LinearAttention,
    ModelSpec,
    MoeFfn,
)

GIB = 2**30

ACCELERATOR_OF = {  # names of the published table that the catalogue's rule does not fold
    "A100-SXM-40GB": "a100_sxm_40gb",
    "A100-PCIe-80GB": "a100_pcie_80gb",
    "RTX-PRO-6000-SE": "rtx_pro_6000_server",
    "CPU-i9-13900K": "cpu_i9_13900k",
}
LEFT_OUT = {  # models of the published table that layers of the catalogue cannot state
    "deepseek-ai/DeepSeek-V4-Flash": "keys and values compressed 4 and 128 times",
    "deepseek-ai/DeepSeek-V4-Pro": "keys and values compressed 4 and 128 times",
    "MiniMaxAI/MiniMax-M3": "grouped attention over the blocks of keys that an indexer picks",
}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def number(cell: str) -> float | None:
    return float(cell) if cell else None


def raw(name: str) -> dict[str, Any]:
    text = files("servecast.primitives").joinpath("data", name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def kv_bytes_per_token(spec: ModelSpec) -> int:
    """Of all layers in bf16, windows ignored, as the published table counts."""
    total = 0
    for group in spec.layers:
        match group.mixer:
            case Attention() as a:
                total += group.count * a.kv_heads * (a.head_dim + a.value_dim) * 2
            case LatentAttention() as a:
                total += group.count * a.latent_dim * 2
            case _:
                pass
    return total


# Accelerators ------------------------------------------------------------------------------------


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
        device = accelerator(ACCELERATOR_OF.get(row["name"], row["name"]))
        assert device.vendor == row["vendor"], row["name"]
        assert device.kind == row["class"], row["name"]
        assert device.bw_bytes_per_s == pytest.approx(float(row["mem_bw_tb_s"]) * 1e12)
        assert device.tdp_w == number(row["tdp_w"])
        for dtype, column in (
            (Dtype.BF16, "bf16_tflops_dense"),
            (Dtype.FP8, "fp8_tflops_dense"),
            (Dtype.INT8, "int8_tops_dense"),
            (Dtype.MXFP4, "fp4_tflops_dense"),
        ):
            if row["name"] == "Phone-NPU-class" and dtype is Dtype.BF16:
                continue  # the table has only its int8 rate; the catalogue guesses half of it
            tflops = number(row[column])
            expected = None if tflops is None else pytest.approx(tflops * 1e12)
            assert device.flops.get(dtype) == expected, (row["name"], dtype)
        if row["scaleup_gb_s_unidir"]:
            assert device.link.bw_bytes_per_s == float(row["scaleup_gb_s_unidir"]) * 1e9
            assert device.link.domain == int(row["scaleup_domain"])
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


def test_an_unknown_accelerator_names_a_neighbour_and_the_next_command() -> None:
    with pytest.raises(InputError, match="`h200_sxn` is unknown") as caught:
        accelerator("h200_sxn")
    assert "h200_sxm" in str(caught.value.hint)
    assert "servecast gpus" in str(caught.value.hint)


# Models ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        "meta-llama/Llama-3.1-70B-Instruct",
        "meta-llama/Meta-Llama-3.1-70B-Instruct",
        "Meta-Llama-3.1-70B",
        "llama-3.1-70b",
        "LLAMA-3.1-70B-instruct",
    ],
)
def test_people_name_the_same_model_in_many_ways(typed: str) -> None:
    assert model(typed) is model("meta-llama/Llama-3.1-70B")


def test_a_quantized_checkpoint_differs_in_name_and_weights_alone() -> None:
    base, quantized = model("Qwen/Qwen3-32B"), model("nvidia/Qwen3-32B-NVFP4")
    assert quantized.weights_dtype is Dtype.NVFP4
    assert quantized.name == "nvidia/Qwen3-32B-NVFP4"
    assert quantized.layers == base.layers
    assert quantized not in models()


def test_an_unknown_model_names_a_neighbour_and_both_ways_on() -> None:
    with pytest.raises(InputError, match=r"`Qwen/Qwen3-33B` is unknown") as caught:
        model("Qwen/Qwen3-33B")
    hint = str(caught.value.hint)
    assert "Qwen/Qwen3-3" in hint
    assert "servecast models" in hint
    assert "config.json" in hint


def test_a_model_may_be_the_path_of_a_config_or_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    keys = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "vocab_size": 1000,
        "max_position_embeddings": 2048,
    }
    (folder / "config.json").write_text(json.dumps(keys))
    assert model(str(folder)).name == "my-model"
    assert model(str(folder / "config.json")) == model(str(folder))


def test_a_path_that_does_not_exist_is_not_taken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        model(str(tmp_path / "nowhere" / "config.json"))


def test_models_of_the_published_table_are_known_but_those_left_out(data_dir: Path) -> None:
    table = rows(data_dir / "models" / "model_configs.csv")
    for row in table:
        if row["model"] in LEFT_OUT:
            with pytest.raises(InputError, match="unknown"):
                model(row["model"])
            continue
        spec = model(row["model"])
        assert spec.architecture == row["arch"]
        assert spec.hidden == int(row["hidden"]), row["model"]
        assert spec.vocab == int(row["vocab"]), row["model"]
        assert spec.num_layers == int(row["layers"] or 108), row["model"]
        assert spec.max_model_len == int(row["max_pos"]), row["model"]
        assert spec.tie_embeddings == (row["tie_embeddings"] == "True"), row["model"]
        if row["regular_arch"] == "True":
            assert kv_bytes_per_token(spec) == int(row["kv_bytes_per_token_bf16"]), row["model"]


def test_layers_of_hybrids_count_as_the_published_table_says(data_dir: Path) -> None:
    """Where it says so: kinds with counts, or a pattern of one character per layer."""
    checked = 0
    for row in rows(data_dir / "models" / "model_configs.csv"):
        stated = dict(re.findall(r"(\w+?)(?:_attention)?:(\d+)", row["layer_types"]))
        pattern = row["layer_types"].partition("hybrid ")[2]
        if pattern:
            stated = {"linear": pattern.count("M"), "full": pattern.count("*")}
        if not stated:
            continue
        found = {"sliding": 0, "full": 0, "linear": 0}
        for group in model(row["model"]).layers:
            match group.mixer:
                case Attention(window=None):
                    found["full"] += group.count
                case Attention():
                    found["sliding"] += group.count
                case LinearAttention():
                    found["linear"] += group.count
                case _:
                    pass
        assert {k: v for k, v in found.items() if v} == {k: int(v) for k, v in stated.items()}
        checked += 1
    assert checked == 13


@pytest.mark.parametrize("spec", models(), ids=lambda spec: spec.name)
def test_a_model_holds_together(spec: ModelSpec) -> None:
    assert model(spec.name) is spec
    for group in spec.layers:
        assert group.count > 0
        assert group.mixer is not None or group.ffn is not None
        if isinstance(group.mixer, Attention):
            assert group.mixer.heads % group.mixer.kv_heads == 0
            assert group.mixer.window is None or group.mixer.window < spec.max_model_len
        if isinstance(group.mixer, LatentAttention):
            assert group.mixer.index_topk is not None or group.mixer.index_heads == 0
        if isinstance(group.ffn, MoeFfn):
            assert group.ffn.experts_per_token < group.ffn.experts
    assert re.search(r"\((seen|partly|recalled|guess)\)$", spec.source)


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
        "link", "tdp_w", "usd_per_hour", "confidence", "sources",
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
